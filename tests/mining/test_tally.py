"""Maxima that wait and are entered together: the same results, however many wait, and whenever they are read."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.mining import state, tally


def network():
    torch.manual_seed(0)
    return dv.DeconvNet(
        nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    )


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(1)
    return torch.randn(25, 2, 8, 8).repeat_interleave(2, 0)  # each one twice: ties between images


def scanned(images, folder, **options):
    top = dv.scan(network(), images, progress=False, **{"k": 7, "batch_size": 8} | options)
    return top.save(folder / "top.safetensors").read_bytes()


@pytest.mark.parametrize("per_image", [1, 3])
def test_how_many_wait_changes_nothing(images, tmp_path, monkeypatch, per_image):
    expected = scanned(images, tmp_path, per_image=per_image)
    for waiting, merged in (((1, 1), 2**20), ((2**20, 17), 70)):
        monkeypatch.setitem(tally.WAITING, "cpu", waiting)
        monkeypatch.setitem(tally.MERGED_AT_ONCE, "cpu", merged)
        assert scanned(images, tmp_path, per_image=per_image) == expected


def test_reading_after_every_batch_changes_nothing(images, tmp_path, monkeypatch):
    expected = scanned(images, tmp_path)
    monkeypatch.setattr(state, "SECONDS", 0)
    monkeypatch.setattr(state, "SHARE", 0)
    assert scanned(images, tmp_path) == expected
    assert scanned(images, tmp_path, state=tmp_path / "state") == expected


def test_lists_and_means_are_those_of_all_maxima(images):
    top = dv.scan(network(), images, k=7, batch_size=8, progress=False)
    found = {layer: [] for layer in ("0", "2", "4")}
    model = network().model
    for layer, parts in found.items():
        model[int(layer)].register_forward_hook(lambda module, args, output, parts=parts: parts.append(output))
    with torch.no_grad():
        for batch in images.split(8):
            model(batch)
    for layer, parts in found.items():
        maxima = torch.cat(parts).flatten(2).amax(2) if layer != "4" else torch.cat(parts)
        for channel, values in enumerate(maxima.T.tolist()):
            order = sorted(range(50), key=lambda image: (-values[image], image))[:7]
            assert top.images[layer][channel].tolist() == order
            assert top.values[layer][channel].tolist() == [values[image] for image in order]
            assert float(top.statistics[layer].mean[channel]) == float(sum(map(Fraction, values)) / 50)
            assert float(top.statistics[layer].fires[channel]) == sum(value > 0 for value in values) / 50


def test_units_that_an_image_does_not_have_are_no_units():
    images = torch.randn(3, 1, 1, 1)
    model = nn.Sequential(nn.Conv2d(1, 2, 1))
    top = dv.scan(dv.DeconvNet(model), images, k=5, per_image=2, progress=False)
    assert top.images["0"][:, :3].sort(1).values.tolist() == [[0, 1, 2]] * 2
    assert top.images["0"][:, 3:].tolist() == [[-1, -1]] * 2
    assert top.positions["0"][:, 3:].tolist() == [[[-1, -1]] * 2] * 2
    assert top.values["0"][:, 3:].tolist() == [[-torch.inf] * 2] * 2


def test_the_first_image_that_is_not_finite_is_named_at_the_end():
    images = torch.ones(20, 1, 4, 4)
    images[9], images[13] = 1e30, 1e30
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)).requires_grad_(False)
    for layer in model:
        layer.weight.fill_(1e5)
    with pytest.raises(InputError, match="the activations of layer '1' are not all finite on image 9"):
        dv.scan(dv.DeconvNet(model), images, batch_size=4, progress=False)


def test_layers_of_several_types_and_sizes_share_a_scan(images):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 3).double()

        def forward(self, x):
            return self.two(self.one(x).double())

    torch.manual_seed(0)
    net, every = dv.DeconvNet(Mixed()), [image[:, : 5 + number % 4] for number, image in enumerate(images[:20])]
    top = dv.scan(net, every, layers=["one", "two"], k=3, batch_size=1, progress=False)
    with torch.no_grad():
        one = [net.model.one(image[None])[0] for image in every]
        two = [net.model.two(maps.double()) for maps in one]
    for layer, maps in (("one", one), ("two", two)):
        strongest = torch.stack([image.flatten(1).amax(1).double() for image in maps], 1)
        for channel in range(len(strongest)):
            for value, image, place in zip(
                *(part[layer][channel].tolist() for part in (top.values, top.images, top.positions)), strict=True
            ):
                assert value == float(strongest[channel, image]) == float(maps[image][channel][tuple(place)])
        assert torch.equal(top.values[layer], strongest.sort(1, descending=True).values[:, :3])


def test_a_layer_whose_channels_change_is_named():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.conv(x).flatten(1).relu()

    sizes = [torch.randn(1, 6, 6), torch.randn(1, 8, 6)]
    with pytest.raises(InputError, match="layer 'relu' has 48 channels and had 32 on earlier images; leave it out"):
        dv.scan(dv.DeconvNet(Rows()), sizes, layers=["relu"], batch_size=1, progress=False)
