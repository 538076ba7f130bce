"""Images for display are taken from the device when they are read, and only those that are."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.figures import projection_image
from deconvviz.images import Preprocess
from deconvviz.results import Projection
from deconvviz.results.shown_images import ShownImages, joined
from tests.helpers.pretend_device import device_of, pretending

MEAN, STD = (0.5, 0.25, 0.75), (0.5, 0.25, 0.125)
SIDE = 12


def handle(preprocess: Any = None, device: str = "cpu") -> dv.DeconvNet:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    return dv.DeconvNet(model.to(device), preprocess=preprocess)


def pictures(count: int) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def as_input(shown: Tensor) -> Tensor:
    """What `Preprocess(None, MEAN, STD)` makes of pictures, written out."""
    return (shown - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Unlike:
    """A preprocess that cannot be undone, since it standardises each image."""

    def __call__(self, image: Image.Image) -> Tensor:
        x: Tensor = Preprocess(SIDE, (0.0,) * 3, (1.0,) * 3)(image)
        return (x - x.mean()) / x.std()


CALLS: dict[str, Callable[[dv.DeconvNet, Tensor], Any]] = {
    "windows": lambda net, x: net.project_units(x, "2", [(n, n % 2, (3, 4)) for n in range(len(x))]),
    "whole maps": lambda net, x: net.project_units(x, "2", [(n, 0, (3, 4)) for n in range(len(x))], window="full"),
    "strongest": lambda net, x: net.project(x, "2", channel=0),
    "a trace": lambda net, x: net.project(net.trace(x, "2"), "2", channel=1),
    "a reconstruction": lambda net, x: net.reconstruct(x, "2"),
}


@contextlib.contextmanager
def copies_to_the_host() -> Iterator[list[int]]:
    """How many numbers each copy from a pretended device to the host has."""
    sizes: list[int] = []
    to, cpu = Tensor.to, Tensor.cpu

    def noted(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result = to(self, *args, **kwargs)
        if device_of(self).type != "cpu" and device_of(result).type == "cpu":
            sizes.append(self.numel())
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "to", noted)
        patch.setattr(Tensor, "cpu", lambda self: cpu(self) if device_of(self).type == "cpu" else noted(self, "cpu"))
        yield sizes


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("preprocess", [None, Preprocess(None, MEAN, STD)], ids=["plain", "preprocess"])
def test_no_image_is_read_before_it_is_asked_for(call: str, preprocess: Any) -> None:
    with pretending("cuda") as device, copies_to_the_host() as sizes:
        net, x = handle(preprocess, device.name), as_input(pictures(6)).to(device.name)
        result = CALLS[call](net, x)
        assert not {x.numel(), x[0].numel()} & set(sizes)
        before = len(sizes)
        if isinstance(result, Projection):
            one = result.image(4)
            assert sizes[before:] == [x[0].numel()]
        every = result.images
        assert sizes[-1] == x.numel()
    shown = as_input(pictures(6)) if preprocess is None else pictures(6)
    torch.testing.assert_close(every, shown)
    assert every.device.type == "cpu"
    if isinstance(result, Projection):
        torch.testing.assert_close(one, shown[result.units[4].sample])


def test_what_is_copied_grows_only_with_what_is_drawn() -> None:
    made, drawn = [], []
    for units in (8, 64):
        with pretending("cuda") as device:
            net, x = handle(Preprocess(None, MEAN, STD), device.name), as_input(pictures(units)).to(device.name)
            with copies_to_the_host() as sizes, device.counted() as counts:
                projection = CALLS["windows"](net, x)
            made.append((counts.host_reads, [size for size in sizes if size >= x[0].numel()]))
            with copies_to_the_host() as sizes:
                projection_image(projection[[5, 2]])
            drawn.append(sorted(sizes))
    assert made[0] == made[1]
    assert drawn[0] == drawn[1]
    assert drawn[0][-2:] == [3 * SIDE * SIDE] * 2


def test_a_result_shows_what_the_network_got_even_if_that_is_changed_later() -> None:
    net, x = handle(Preprocess(None, MEAN, STD)), as_input(pictures(3))
    projection, reconstruction = net.project(x, "2", channel=0), net.reconstruct(x, "2")
    x.zero_()
    torch.testing.assert_close(projection.images, pictures(3))
    torch.testing.assert_close(reconstruction.images, pictures(3))
    assert projection.images is projection.images


def test_of_files_the_pictures_are_shown_also_on_a_device(tmp_path: Path) -> None:
    """Of a preprocess that cannot be undone, whose inputs are moved to the model's device."""
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, file in enumerate(files):
        Image.new("RGB", (20, 20), (200, 40 * number, 10)).save(file)
        with Image.open(file) as image:
            image.putpixel((3, 3), (0, 0, 0))
            image.save(file)
    expected = torch.stack([Preprocess(SIDE, (0.0,) * 3, (1.0,) * 3)(Image.open(file)) for file in files])
    on_the_host = handle(Unlike()).project(files, "2", channel=0)
    with pretending("cuda") as device:
        there = handle(Unlike(), device.name).project(files, "2", channel=0)
        assert (there.image(1) - expected[1]).abs().max() < 0.05
    for shown in (on_the_host.images, there.images):
        assert (shown - expected).abs().max() < 0.05


def test_parts_copies_and_files_have_the_images(tmp_path: Path) -> None:
    net, x = handle(Preprocess(None, MEAN, STD)), as_input(pictures(3))
    projection = net.project(x, "2", channel=[0, 1])
    some, both = projection[[1, 4]], Projection.concatenate([projection, net.project(x[1:], "2", channel=0)])
    assert isinstance(vars(some)["images"], ShownImages)
    assert isinstance(vars(both)["images"], ShownImages)
    assert "images=tensor of shape (5, 3, 12, 12)" in repr(both)
    torch.testing.assert_close(both.image(7), pictures(3)[2])
    torch.testing.assert_close(both.images, torch.cat([pictures(3), pictures(3)[1:]]))
    torch.testing.assert_close(some.images, pictures(3))
    assert some.images is projection.images
    for again in (copy.deepcopy(projection), pickle.loads(pickle.dumps(projection))):
        assert torch.equal(again.images, projection.images)
    saved = Projection.load(net.project(x, "2", channel=0).save(tmp_path / "p.safetensors"))
    torch.testing.assert_close(saved.images, pictures(3))


def test_images_are_numbered_as_a_tensor_numbers_them() -> None:
    numbers = torch.arange(5.0)
    parts: list[Any] = [
        numbers[:2],
        ShownImages([(3, lambda rows: numbers[2:] if rows is None else numbers[2:][rows])]),
    ]
    shown = joined(parts)
    assert isinstance(shown, ShownImages)
    assert [float(shown.one(number)) for number in range(-5, 5)] == [0, 1, 2, 3, 4] * 2
    assert shown.some(torch.tensor([4, 0])).tolist() == [4, 0]
    for number in (-6, 5):
        with pytest.raises(IndexError, match="there is no image"):
            shown.one(number)
    assert torch.equal(shown.all(), numbers)
    assert float(shown.one(3)) == 3
