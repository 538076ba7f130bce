"""Datasets whose attributes, items and lengths are not what is usual: the right result, or one sentence, and no crash
after the work is done.
"""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

import deconvviz as dv
from deconvviz.data.batches import batches
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.errors import DataError, InputError
from deconvviz.experiments import probe

IMAGES = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    return dv.DeconvNet(model, preprocess=lambda image: torch.as_tensor(np.asarray(image), dtype=torch.float32))


def scanned(net, data, **options):
    return dv.scan(net, data, layers=["0"], **{"k": 2, "batch_size": 4, "progress": False} | options)


class Raising:
    """Raises whatever is done with it."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


class Items(Dataset):
    def __init__(self, items=IMAGES, **attributes):
        self.items = items
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if self.items[index] is None:
            raise OSError("it cannot be read")
        return self.items[index], index % 2


ATTRIBUTES = {
    "samples": [100, None, [1, 2, 3], [()] * 8, [torch.zeros(3)] * 8, {}, "abcdefgh", {0: ("a",)}, np.zeros((8, 2))],
    "names": [np.array(list("abcdefgh")), 5, ["cat", "dog"], [None] * 8, {0: "a"}, "abcdefgh", torch.zeros(8)],
    "classes": [10, {"cat": 0}, "ab", torch.zeros(2), iter("ab")],
    "root": [["a", "b"], 3, b"folder", "nul\0", "/"],
    "name": [3, np.array(["a", "b"]), torch.zeros(3), ""],
}


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_an_attribute_that_is_not_as_usual_is_left_aside(attribute):
    for value in [*ATTRIBUTES[attribute], Raising()]:
        data = Items(**{attribute: value})
        if attribute == "names" and type(value) is np.ndarray:
            assert name_of_item(data, 7) == "h"
            continue
        assert name_of_item(data, 7) == "7"
        assert short_name(data) == "Items"
        assert classes_of(data) == []


def test_attributes_that_are_not_as_usual_harm_no_work(net, tmp_path):
    data = Items(
        [*IMAGES[:7], None], samples=100, names=np.array(list("abcdefgh")), classes=10, root=["a", "b"], name=3
    )
    top = scanned(net, data, state=tmp_path / "state")
    assert [(one.image, one.name) for one in top.broken] == [(7, "h")]
    assert (top.count, top.provenance.dataset) == (7, "Items")
    page = dv.build_atlas(
        net, data, top, out=tmp_path / "atlas", layers=["0"], channel={"0": [0]}, progress=False, evidence=False
    )
    assert os.path.isfile(page)
    assert probe(net, data, layers=["1"], folds=2, epochs=1, progress=False).broken[0].name == "h"


def test_a_property_that_raises_is_left_aside(net):
    class Sorry(Items):
        @property
        def samples(self):
            raise ValueError("ask later")

        names = classes = root = name = samples

    assert scanned(net, Sorry([*IMAGES[:7], None])).broken[0].name == "7"
    assert classes_of(Sorry()) == []
    assert short_name(Sorry()) == "Sorry"


def test_usual_attributes_are_used():
    data = Items(samples=[(f"dir/{number}.png", 0) for number in range(8)], classes=np.array(["cat", "dog"]))
    assert name_of_item(data, 3) == "dir/3.png"
    assert classes_of(data) == ["cat", "dog"]
    assert short_name(Items(root="some/pets")) == "pets"
    assert short_name(Items(name="pets of 2012", root="some/pets")) == "pets of 2012"


# Items


class Sentences(dict):
    def __contains__(self, key):
        raise RuntimeError("ask later")


LABELS = {
    "sparse": torch.eye(2).to_sparse(),
    "meta": torch.zeros((), device="meta"),
    "infinite": float("inf"),
    "not a number": float("nan"),
    "infinite tensor": torch.tensor(torch.inf),
    "an object": object(),
    "a long number": "9" * 5000,
    "jagged": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)], layout=torch.jagged),
    "several": np.arange(3),
    "raising": Raising(),
}


SAID = {"infinite": "inf", "not a number": "nan", "infinite tensor": "inf", "a long number": "a str"}


@pytest.mark.filterwarnings("ignore::deconvviz.mining.scan.TextLabelsWarning")
@pytest.mark.parametrize("name", LABELS)
def test_a_label_that_is_no_number_is_none(net, tmp_path, name):
    items = [(image, LABELS[name]) for image in IMAGES]
    top = scanned(net, items, state=tmp_path)
    assert (top.count, top.broken) == (8, ())
    assert top.images["0"].tolist() == scanned(net, IMAGES).images["0"].tolist()
    said = f"the label of item 0 is {SAID[name]}, and labels are numbers" if name in SAID else "item 0 has no label"
    with pytest.raises(InputError, match=said):
        probe(net, items, layers=["1"], folds=2, progress=False)


UNFIT = {
    "sparse": (IMAGES[0].to_sparse(), "a tensor of layout torch.sparse_coo"),
    "meta": (IMAGES[0].to("meta"), "a tensor without numbers, on the device meta"),
    "jagged": (torch.nested.nested_tensor([IMAGES[0], IMAGES[1]], layout=torch.jagged), "a nested tensor"),
    "float8": (IMAGES[0].to(torch.float8_e4m3fn), "torch.float8_e4m3fn"),
    "complex": (IMAGES[0].to(torch.complex64), "torch.complex64"),
}


@pytest.mark.parametrize("name", UNFIT)
@pytest.mark.parametrize("state", [False, True])
def test_an_image_that_no_network_takes_is_named(net, tmp_path, name, state):
    image, kind = UNFIT[name]
    with pytest.raises(InputError) as raised:
        scanned(net, [(image, 0), (IMAGES[1], 1)], state=tmp_path if state else None)
    assert str(raised.value) == f"an image must come as a floating-point tensor (C, H, W), not {kind}"


def test_images_of_two_types_are_no_batch(net):
    with pytest.raises(InputError, match=r"images 0 and 1 are torch.float32 on cpu and torch.float64 on cpu, which ca"):
        scanned(net, [IMAGES[0], IMAGES[1].double()])


def test_an_error_that_cannot_say_what_it_is_breaks_its_item_only(net):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    class Once(Items):
        def __getitem__(self, index):
            if index == 3:
                raise Mute
            return self.items[index]

    assert [(one.image, one.reason) for one in scanned(net, Once()).broken] == [(3, "Mute")]


@pytest.mark.parametrize("labels", [np.arange(8), torch.arange(8)])
@pytest.mark.parametrize("images", [IMAGES.numpy(), IMAGES])
def test_pairs_of_arrays_are_images_and_labels(net, tmp_path, images, labels):
    expected = scanned(net, IMAGES)
    for data in ((images, labels), [(images[n], labels[n]) for n in range(8)]):
        top = scanned(net, data, state=tmp_path / str(type(data)))
        assert torch.equal(top.values["0"], expected.values["0"])
    assert len(probe(net, (images, labels % 2), layers=["1"], folds=2, epochs=1, progress=False).accuracy) == 1
    without = dv.DeconvNet(net.model)
    assert torch.equal(scanned(without, (images, labels)).values["0"], expected.values["0"])


# Lengths


class Streamed(IterableDataset):
    """An iterable that knows how much it holds."""

    def __init__(self, fails=None):
        self.fails = fails

    def __len__(self):
        return len(IMAGES)

    def __iter__(self):
        for number, image in enumerate(IMAGES):
            if number == self.fails:
                raise OSError("the line is dead")
            yield image


def test_an_iterable_with_a_length_is_read_through(net, tmp_path):
    for options in ({}, {"state": tmp_path}):
        top = scanned(net, Streamed(), **options)
        assert torch.equal(top.values["0"], scanned(net, IMAGES).values["0"])
        assert top.count == 8


def test_an_iterable_that_fails_says_where(net):
    with pytest.raises(DataError, match="the dataset cannot be read behind its first 5 items: OSError: the line is de"):
        scanned(net, Streamed(fails=5))


def test_a_length_that_cannot_be_told_is_named(net):
    class Endless(Items):
        def __len__(self):
            raise NotImplementedError("who knows")

    with pytest.raises(InputError, match="dataset Endless does not say how long it is: NotImplementedError: who knows"):
        scanned(net, Endless())
    with pytest.raises(InputError, match="a dataset of one number has no images"):
        scanned(net, np.array(3.0))


# Memory


class Many(Dataset):
    """40 million images, of which each name is looked up on its own."""

    def __init__(self):
        self.asked = []
        self.samples = self

    def __len__(self):
        return 40_000_000

    def __getitem__(self, index):
        self.asked.append(index)
        return IMAGES[index % 8], 0


def test_nothing_is_held_for_each_item_of_a_dataset():
    data, looked = Many(), []

    def wanted(number):
        looked.append(number)
        return number % 3 == 2

    tracemalloc.start()
    try:
        with batches(data, None, 4, wanted) as found:
            batch = next(found)
            assert (batch.number, batch.numbers.tolist()) == (2, [8, 9, 10, 11])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert looked == [0, 1, 2]
    assert data.asked == [8, 9, 10, 11]


def test_the_name_of_an_item_is_looked_up_alone():
    class Samples(list):
        def __iter__(self):
            raise AssertionError("all of them are read")

    data = Items(samples=Samples((f"{number}.png", 0) for number in range(8)))
    assert name_of_item(data, 5) == "5.png"
