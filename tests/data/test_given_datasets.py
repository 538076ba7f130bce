"""Datasets as people have them: loaders, arrays, lists of files, parts of datasets; against the items written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    random_split,
)

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import ImageFolder
from deconvviz.data.datasets import as_dataset
from deconvviz.data.items import label_of
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.errors import InputError
from deconvviz.images import Preprocess

COUNT = 13
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 6, 3), dtype=np.uint8)

pytestmark = pytest.mark.filterwarnings("ignore::deconvviz.data.arrays.ArrayLayoutWarning")


def strongest(model, x):
    """The strongest value of each channel of the first layer, and its image, from one plain call of the model."""
    with torch.no_grad():
        maps = model[0](x)
    values = maps.flatten(2).amax(2) if maps.ndim > 2 else maps
    return values.max(0)


def scanned(model, data, preprocess=None, **options):
    return dv.scan(
        dv.DeconvNet(model, preprocess=preprocess), data, layers=["0"], k=1, batch_size=4, progress=False, **options
    )


def agrees(top, model, x, numbered=True):
    """Whether a scan has found what one call of the model has."""
    values, images = strongest(model, x)
    assert top.count == len(x)
    assert top.broken == ()
    assert torch.allclose(top.values["0"][:, 0], values.double(), atol=1e-5)
    if numbered:
        assert top.images["0"][:, 0].tolist() == images.tolist()


MODELS = {
    "linear": (lambda: nn.Sequential(nn.Linear(5, 3)), (5,)),
    "sequences": (lambda: nn.Sequential(nn.Conv1d(2, 3, 3)), (2, 9)),
    "images": (lambda: nn.Sequential(nn.Conv2d(2, 3, 3)), (2, 6, 6)),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(2, 3, 3)), (2, 5, 5, 5)),
}


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        yield from self.items


def as_mapping(batch):
    """A batch as trainers of transformers make it."""
    return {"pixel_values": torch.stack([x for x, _ in batch]), "labels": torch.tensor([y for _, y in batch])}


def as_columns(batch):
    """A batch as detectors take it."""
    return tuple(zip(*batch, strict=True))


LOADERS = {
    "plain": lambda data, items: DataLoader(data, batch_size=8),
    "shuffled": lambda data, items: DataLoader(data, batch_size=8, shuffle=True),
    "whole batches": lambda data, items: DataLoader(data, batch_size=8, drop_last=True),
    "no batches": lambda data, items: DataLoader(data, batch_size=None),
    "mappings": lambda data, items: DataLoader(data, batch_size=8, collate_fn=as_mapping),
    "columns": lambda data, items: DataLoader(data, batch_size=8, collate_fn=as_columns),
    "lists": lambda data, items: DataLoader(data, batch_size=8, collate_fn=list),
    "streamed": lambda data, items: DataLoader(Stream(items), batch_size=8),
    "streamed mappings": lambda data, items: DataLoader(Stream(items), batch_size=8, collate_fn=as_mapping),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("way", LOADERS)
def test_a_loader_is_read_item_by_item(kind, way):
    torch.manual_seed(0)
    model, shape = MODELS[kind][0](), MODELS[kind][1]
    x, y = torch.randn(COUNT, *shape), torch.arange(COUNT) % 3
    loader = LOADERS[way](TensorDataset(x, y), [(x[n], int(y[n])) for n in range(COUNT)])
    agrees(scanned(model, loader), model, x)


def test_a_loader_that_draws_is_read_as_it_draws():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(5, 3)), torch.randn(COUNT, 5)
    top = scanned(model, DataLoader(TensorDataset(x), batch_size=2, sampler=SubsetRandomSampler([7, 2, 5])))
    agrees(top, model, x[[2, 5, 7]])
    drawn = RandomSampler(x, replacement=True, num_samples=40, generator=torch.Generator().manual_seed(3))
    expected = list(RandomSampler(x, replacement=True, num_samples=40, generator=torch.Generator().manual_seed(3)))
    agrees(scanned(model, DataLoader(TensorDataset(x), batch_size=2, sampler=drawn)), model, x[expected])


def test_a_loader_whose_batches_have_no_rows_is_named():
    loader = DataLoader(TensorDataset(torch.zeros(4, 5)), collate_fn=lambda batch: torch.zeros(7, 5))
    with pytest.raises(InputError, match=r"makes no batch of one from one item, but something of shape .7, 5"):
        scanned(nn.Sequential(nn.Linear(5, 3)), loader)


# Arrays


LAYOUTS = {
    "NHWC": (PIXELS, "array of 13 pictures (N, H, W, C)"),
    "NCHW": (np.moveaxis(PIXELS, -1, 1), "array of 13 pictures (N, C, H, W)"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_bytes_are_pictures_in_either_layout(layout, own, labelled):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    x = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255

    def to_tensor(image):  # as torchvision's ToTensor, which takes PIL images
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255

    preprocess = to_tensor if own else Preprocess(None, (0.0,) * 3, (1.0,) * 3)
    pixels, name = LAYOUTS[layout]
    top = scanned(model, (pixels, np.arange(COUNT)) if labelled else pixels, preprocess)
    agrees(top, model, x)
    assert top.provenance.dataset == name


def test_grey_bytes_are_pictures():
    torch.manual_seed(0)
    model, grey = nn.Sequential(nn.Conv2d(1, 4, 3)), PIXELS[..., 0]
    x = torch.from_numpy(grey)[:, None] / 255
    for pixels in (grey, grey[..., None], grey[:, None]):
        agrees(scanned(model, pixels, Preprocess(None, (0.0,), (1.0,))), model, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ">f4"])
@pytest.mark.parametrize("model_dtype", [torch.float32, torch.float64])
def test_numbers_are_inputs_as_tensors_are(dtype, model_dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).to(model_dtype)
    x = np.random.default_rng(1).normal(size=(COUNT, 3, 8, 6)).astype(dtype)
    inputs = torch.from_numpy(x.astype(np.float64)).to(model_dtype)
    agrees(scanned(model, x), model, inputs)
    agrees(scanned(model, list(x)), model, inputs)
    agrees(scanned(model, (x, np.arange(COUNT))), model, inputs)


# Files


@pytest.fixture
def files(tmp_path):
    paths = []
    for number, pixels in enumerate(PIXELS):
        path = tmp_path / ("cat", "dog")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
        paths.append(path)
    return paths


def test_a_list_of_paths_is_a_dataset(files):
    torch.manual_seed(0)
    model, preprocess = nn.Sequential(nn.Conv2d(3, 4, 3)), Preprocess(None, (0.0,) * 3, (1.0,) * 3)
    x = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255
    for paths in (files, tuple(map(str, files)), [(path, 1) for path in files], [{"image": path} for path in files]):
        agrees(scanned(model, paths, preprocess), model, x)
    (files[3]).write_bytes(b"no image")
    top = scanned(model, files, preprocess)
    assert [(one.image, one.name) for one in top.broken] == [(3, str(files[3]))]


# Names and classes


def test_names_and_classes_come_through_parts_of_datasets(files):
    folder = ImageFolder(files[0].parents[1])  # cat/00, cat/02, ..., dog/01, ...
    assert folder.names[8] == "dog/03.png"
    part = Subset(folder, [8, 2])
    assert [name_of_item(part, n) for n in (0, 1)] == ["dog/03.png", "cat/04.png"]
    assert classes_of(part) == ["cat", "dog"]
    assert short_name(part) == f"part of {folder.root.name}"
    first, second = random_split(folder, [5, 8], torch.Generator().manual_seed(0))
    for split in (first, second):
        assert [name_of_item(split, n) for n in range(len(split))] == [folder.names[n] for n in split.indices]
        assert classes_of(split) == ["cat", "dog"]
    both = ConcatDataset([part, first])
    assert [name_of_item(both, n) for n in (1, 2)] == ["cat/04.png", folder.names[first.indices[0]]]
    assert classes_of(both) == ["cat", "dog"]
    assert classes_of(ConcatDataset([part, TensorDataset(torch.zeros(2, 3))])) == []
    nested = as_dataset(DataLoader(Subset(both, [2]), collate_fn=list))
    assert name_of_item(nested, 0) == folder.names[first.indices[0]]
    assert classes_of(nested) == ["cat", "dog"]


CLASSES = {
    "a whole number": (3, 3),
    "of NumPy": (np.int64(3), 3),
    "a tensor": (torch.tensor(3), 3),
    "a tensor of one": (torch.tensor([3]), 3),
    "an array of one": (np.array([3]), 3),
    "true": (True, 1),
    "text": ("3", 3),
    "below 0": (-1, None),
    "a value": (34.7, None),
    "a value of NumPy": (np.float32(34.7), None),
    "a value in a tensor": (torch.tensor(34.7), None),
    "a value in an array": (np.array([34.7]), None),
    "a whole value": (34.0, None),
    "one of several": (torch.tensor([0, 1]), None),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_values_to_predict_are_no_classes(kind):
    given, expected = CLASSES[kind]
    assert label_of((torch.zeros(1), given)) == expected
    assert label_of({"image": torch.zeros(1), "label": given}) == expected


def test_classes_can_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3)), preprocess=Preprocess(None, (0.0,) * 3, (1.0,) * 3))
    data = (PIXELS, np.arange(COUNT) % 2)
    top = dv.scan(net, data, k=2, progress=False)
    page = dv.build_atlas(net, data, top, out="named", classes=["heron", "stork"], evidence=False, progress=False)
    assert "heron" in everything_in(page.parent)
    assert "heron" not in everything_in(
        dv.build_atlas(net, data, top, out="numbered", evidence=False, progress=False).parent
    )
    (tmp_path / "names.txt").write_text("\n".join(f"digit {number}" for number in range(10)))
    np.savez("x.npz", x=np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8), y=[3, 4, 5])
    assert cli.main(["atlas", "mnist", "x.npz", "--layers", "conv1", "--no-evidence", "--classes", "names.txt"]) == 0
    assert "digit 4" in everything_in(tmp_path / "atlas")
    capsys.readouterr()


def everything_in(folder):
    """The text of an atlas."""
    return "".join(path.read_text("utf-8") for path in folder.rglob("*.js*"))
