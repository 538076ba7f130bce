"""An atlas of a scan that is of other data, of another network, or that somebody changed: refused in one sentence."""

from __future__ import annotations

import copy
import dataclasses
import re

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import DataError, InputError
from deconvviz.results import Broken, TopActivations

IMAGES = torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(0))


def net(activation=nn.ReLU):
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3), activation(), nn.Conv2d(3, 2, 3), activation()))


@pytest.fixture(scope="module")
def found():
    return dv.scan(net(), IMAGES, layers=["1", "3"], k=2, progress=False)


def atlas(top, out, data=IMAGES, given=None, **options):
    return dv.build_atlas(given or net(), data, top, out=out, progress=False, evidence=False, **options)


def test_another_dataset_of_the_same_length_is_refused_before_anything_is_written(found, tmp_path):
    with pytest.raises(InputError, match=r"in image \d the scan found [.\d]+ for channel \d of layer '1', but now "):
        atlas(found, tmp_path / "out", IMAGES.flip(0))
    assert not (tmp_path / "out").exists()


def test_a_network_with_another_activation_is_refused(found, tmp_path):
    with pytest.raises(InputError, match=r"the dataset or the network has changed; scan again"):
        atlas(found, tmp_path / "out", given=net(nn.Tanh))
    assert not (tmp_path / "out").exists()


def test_one_other_image_is_found_on_the_way(found, tmp_path):
    first = {int(found.images[layer][found.values[layer][:, 0].argmax(), 0]) for layer in found.layers}
    other = next(image for image in found.images["3"].flatten().tolist() if image not in first)
    data = IMAGES.clone()
    data[other] *= 0.5
    with pytest.raises(InputError, match=rf"in image {other} the scan found"):
        atlas(found, tmp_path / "out", data)


def test_rounding_is_no_other_network(found, tmp_path):
    rounded = net()
    for parameter in rounded.model.parameters():
        parameter.data *= 1 + 1e-4
    changed = copy.deepcopy(found)
    for layer, values in changed.values.items():
        changed.values[layer] = values * (1 + 1e-4)
    assert atlas(changed, tmp_path / "out") == tmp_path / "out" / "index.html"


def test_images_of_different_sizes_are_named(tmp_path):
    items = [IMAGES[0], IMAGES[1, :, :7], IMAGES[2]]
    top = dv.scan(net(), items, layers=["1"], k=3, batch_size=1, progress=False)
    said = "images 0 and 1 have shapes (1, 9, 9) and (1, 7, 9), but the pictures need one size; give the network"
    with pytest.raises(InputError, match=re.escape(said)):
        atlas(top, tmp_path / "out", items)


def test_an_image_that_cannot_be_read_any_more_is_named(found, tmp_path):
    class Gone(list):
        def __getitem__(self, index):
            if index > 2:
                raise OSError("the disk is gone")
            return super().__getitem__(index)

    with pytest.raises(DataError, match=r"item \d cannot be read: OSError: the disk is gone"):
        atlas(found, tmp_path / "out", Gone(IMAGES))


# What somebody changed in a file


def layers_with(**parts):
    """A change of some parts of layer 1."""

    def change(top):
        return dataclasses.replace(
            top, **{name: {**getattr(top, name), "1": made(getattr(top, name)["1"])} for name, made in parts.items()}
        )

    return change


def statistics_with(**parts):
    return layers_with(
        statistics=lambda found: dataclasses.replace(found, **{n: made(getattr(found, n)) for n, made in parts.items()})
    )


CHANGED = {
    "an image beyond the data": layers_with(images=lambda images: images + 5),
    "an image below none": layers_with(images=lambda images: images - 9),
    "no images": layers_with(images=lambda images: torch.full_like(images, -1)),
    "images of another type": layers_with(images=lambda images: images.double()),
    "fewer images": layers_with(images=lambda images: images[:2]),
    "no list": layers_with(
        images=lambda images: images[:, :0], values=lambda v: v[:, :0], positions=lambda p: p[:, :0]
    ),
    "other values": layers_with(values=lambda values: values * 2),
    "values that are no numbers": layers_with(values=lambda values: values * torch.nan),
    "values without end": layers_with(values=lambda values: values + torch.inf),
    "whole values": layers_with(values=lambda values: values.long()),
    "one value": layers_with(values=lambda values: values[0, 0]),
    "positions outside": layers_with(positions=lambda positions: positions + 100),
    "positions below 0": layers_with(positions=lambda positions: positions - 100),
    "positions of one axis": layers_with(positions=lambda positions: positions[..., :1]),
    "positions without axes": layers_with(positions=lambda positions: positions[..., 0]),
    "a list of another length": layers_with(
        values=lambda v: v[:, :1], images=lambda images: images[:, :1], positions=lambda positions: positions[:, :1]
    ),
    "fewer statistics": statistics_with(fires=lambda fires: fires[:1]),
    "statistics that are no numbers": statistics_with(mean=lambda mean: mean * torch.nan),
    "empty histograms": statistics_with(histogram=lambda histogram: histogram * 0),
    "fewer edges": statistics_with(edges=lambda edges: edges[:2]),
    "no statistics": lambda top: dataclasses.replace(top, statistics={"3": top.statistics["3"]}),
    "no positions": lambda top: dataclasses.replace(top, positions={}),
    "no layers": lambda top: dataclasses.replace(top, values={}, images={}, positions={}, statistics={}),
    "more channels": layers_with(
        values=lambda v: v.repeat(2, 1),
        images=lambda i: i.repeat(2, 1),
        positions=lambda p: p.repeat(2, 1, 1),
        statistics=lambda s: type(s)(
            **{name: one if name == "edges" else torch.cat([one] * 2) for name, one in vars(s).items()}
        ),
    ),
    "a layer that is not there": lambda top: dataclasses.replace(
        top, **{name: {"nope": getattr(top, name)["1"]} for name in ("values", "images", "positions", "statistics")}
    ),
    "broken ones that are shown": lambda top: dataclasses.replace(
        top, count=7, broken=(Broken(int(top.images["1"][0, 0]), "a", "b"),)
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_scan_that_was_changed_is_refused_in_one_sentence(found, tmp_path, name):
    top = TopActivations.load(CHANGED[name](found).save(tmp_path / "top.safetensors"))
    with pytest.raises(dv.errors.DeconvVizError) as raised:
        atlas(top, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
