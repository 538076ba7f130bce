"""Scans of networks with several inputs: pairs of images, an image and a number, dictionaries; against plain calls."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.images import Preprocess

COUNT = 10
LEFT, RIGHT = torch.rand(2, COUNT, 3, 12, 12, generator=torch.Generator().manual_seed(1))
AGES = torch.linspace(0.1, 1.0, COUNT)


class Siamese(nn.Module):
    """Compares two images."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.both = nn.Conv2d(8, 5, 1)

    def forward(self, left, right):
        return self.both(torch.cat([self.features(left).relu(), self.features(right).relu()], 1))


class WithAge(nn.Module):
    """Looks at an image, knowing a number."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(5, 3)

    def forward(self, image, age):
        return self.head(torch.cat([self.features(image).relu().mean((2, 3)), age[:, None]], 1))


def strongest(model, layer, *inputs):
    """Each channel's strongest value and its item, from one plain call with a hook."""
    kept = []
    with torch.no_grad():
        handle = model.get_submodule(layer).register_forward_hook(lambda module, given, output: kept.append(output))
        model(*inputs)
        handle.remove()
    maps = kept[-1]
    values = maps.flatten(2).amax(2) if maps.ndim > 2 else maps
    return values.max(0)


def pairs(label):
    return {
        "pairs": [(LEFT[n], RIGHT[n]) for n in range(COUNT)],
        "pairs and a label": [(LEFT[n], RIGHT[n], label) for n in range(COUNT)],
        "a pair, and a label": [((LEFT[n], RIGHT[n]), label) for n in range(COUNT)],
        "a list, and a label": [([LEFT[n], RIGHT[n]], label) for n in range(COUNT)],
        "mappings": [{"right": RIGHT[n], "left": LEFT[n], "label": label} for n in range(COUNT)],
        "a mapping, and a label": [({"right": RIGHT[n], "left": LEFT[n]}, label) for n in range(COUNT)],
        "a dataset": TensorDataset(LEFT, RIGHT, torch.full((COUNT,), label)),
        "a loader": DataLoader(TensorDataset(LEFT, RIGHT), batch_size=3),
        "a stream": ((LEFT[n], RIGHT[n]) for n in range(COUNT)),
    }


@pytest.mark.parametrize("kind", pairs(1))
@pytest.mark.parametrize("state", [False, True])
def test_pairs_of_images(tmp_path, kind, state):
    model = Siamese()
    top = dv.scan(
        dv.DeconvNet(model),
        pairs(1)[kind],
        layers=["both"],
        k=1,
        batch_size=4,
        progress=False,
        state=tmp_path if state else None,
    )
    values, items = strongest(model, "both", LEFT, RIGHT)
    assert (top.count, top.broken) == (COUNT, ())
    assert torch.allclose(top.values["both"][:, 0], values.double(), atol=1e-5)
    assert top.images["both"][:, 0].tolist() == items.tolist()


@pytest.mark.parametrize("form", ["tensors", "numbers", "NumPy", "mappings"])
def test_an_image_and_a_number(form):
    model = WithAge()
    items = {
        "tensors": [(LEFT[n], AGES[n]) for n in range(COUNT)],
        "numbers": [(LEFT[n], float(AGES[n]), 3) for n in range(COUNT)],
        "NumPy": [(LEFT[n], np.float64(AGES[n])) for n in range(COUNT)],
        "mappings": [{"image": LEFT[n], "age": float(AGES[n])} for n in range(COUNT)],
    }[form]
    net = dv.DeconvNet(model)
    top = dv.scan(net, items, layers=["features", "head"], k=1, batch_size=4, progress=False)
    for layer in ("features", "head"):
        values, numbers = strongest(model, layer, LEFT, AGES)
        assert torch.allclose(top.values[layer][:, 0], values.double(), atol=1e-5)
        assert top.images[layer][:, 0].tolist() == numbers.tolist()


def test_files_become_inputs_by_the_preprocess(tmp_path):
    pixels = (LEFT.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    paths = []
    for n in range(COUNT):
        paths.append(tmp_path / f"{n}.png")
        Image.fromarray(pixels[n]).save(paths[-1])
    model = WithAge()
    net = dv.DeconvNet(model, preprocess=Preprocess(None, (0.0,) * 3, (1.0,) * 3))
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    values, numbers = strongest(model, "head", x, AGES)
    for images in (paths, [Image.open(path) for path in paths], list(pixels)):
        items = [(image, float(age)) for image, age in zip(images, AGES, strict=True)]
        top = dv.scan(net, items, layers=["head"], k=1, batch_size=4, progress=False)
        assert torch.allclose(top.values["head"][:, 0], values.double(), atol=1e-5)
        assert top.images["head"][:, 0].tolist() == numbers.tolist()


def test_the_units_found_are_projected_to_every_input():
    model = Siamese()
    net = dv.DeconvNet(model, "gradient")
    top = dv.scan(net, [(LEFT[n], RIGHT[n]) for n in range(COUNT)], layers=["both"], k=1, progress=False)
    item, position = int(top.images["both"][2, 0]), tuple(top.positions["both"][2, 0].tolist())
    found = net.project_units((LEFT[item][None], RIGHT[item][None]), "both", [(0, 2, position)], seed="one")
    left, right = LEFT[item][None].clone().requires_grad_(), RIGHT[item][None].clone().requires_grad_()
    model(left, right)[(0, 2, *position)].backward()
    assert torch.allclose(found.pixels, left.grad, atol=1e-6)
    assert torch.allclose(next(iter(found.others.values())), right.grad, atol=1e-6)
    plt.close(found.figure())


def test_an_item_that_cannot_be_read_is_set_aside():
    items = [(LEFT[n], RIGHT[n]) for n in range(COUNT)]
    items[3] = (LEFT[3], RIGHT[3] * float("nan"))
    top = dv.scan(dv.DeconvNet(Siamese()), items, layers=["both"], k=1, progress=False)
    assert [(one.image, one.reason) for one in top.broken] == [(3, "it holds values that are NaN or infinite")]


def test_what_does_not_fit_is_named(tmp_path):
    net = dv.DeconvNet(Siamese())
    with pytest.raises(InputError, match=r"^the model takes left, right, and an item has a Tensor; give items that "):
        dv.scan(net, LEFT, progress=False)
    with pytest.raises(
        InputError, match=r"^the model takes left, right, and an item has the entries \['left', 'x'\]; "
    ):
        dv.scan(net, [{"left": LEFT[0], "x": RIGHT[0]}], progress=False)
    with pytest.raises(InputError, match="which cannot form one batch"):
        dv.scan(net, [(LEFT[0], RIGHT[0]), (LEFT[1], RIGHT[1, :, :9])], progress=False)
    items = [(LEFT[n], RIGHT[n]) for n in range(COUNT)]
    top = dv.scan(net, items, layers=["both"], k=1, progress=False)
    with pytest.raises(InputError, match="for networks of one input, and this one takes left, right; "):
        dv.build_atlas(net, items, top, out=tmp_path / "atlas", evidence=False, progress=False)
