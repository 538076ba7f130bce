"""Synthetic pictures converge to what is planted, each as if it were alone, and the model stays as it was."""

from __future__ import annotations

import copy
import functools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.results import SyntheticPictures
from tests.helpers.pretend_device import pretending

SIDE = 16
QUIET = {"progress": False}
WEIGHTED = functools.partial(dv.synthesize, channel=[0, 1, 2], size=SIDE, **QUIET)


def planted() -> tuple[nn.Module, Tensor]:
    """A linear unit per channel that sees the whole picture, and its filters (3, 1, SIDE, SIDE): bright and dark parts.

    The picture from 0 to 1 that excites such a unit most is black where the filter is dark, and white elsewhere.
    """
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
    parts = torch.stack([rows + 0.3 * columns, 0.35 - rows.square() - columns.square(), (columns * 1.2).abs() - 0.5])
    filters = parts.sign()[:, None]
    model = nn.Sequential(nn.Conv2d(1, 3, SIDE, bias=False))
    model[0].weight.data = filters.clone()
    return model.eval(), filters


def small(channels: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()).eval()


@pytest.fixture(scope="module")
def digits() -> SyntheticPictures:
    return dv.synthesize(dv.DeconvNet(mnist_cnn()), "relu2", channel=[3, 20, 31], size=28, steps=40, **QUIET)


def test_a_picture_becomes_the_planted_filter() -> None:
    model, filters = planted()
    found = WEIGHTED(dv.DeconvNet(model), "0", steps=64)
    away = found.pictures[:, 0] - 0.5
    cosine = F.cosine_similarity(away.flatten(1), filters.flatten(1))
    assert cosine.min() > 0.9, cosine
    most = (filters > 0).sum((1, 2, 3))[:, None]  # of any picture from 0 to 1
    assert ((0.4 * most < found.activations) & (found.activations <= most)).all()


def test_pictures_excite_far_more_than_the_noise_they_begin_with_and_than_any_noise(digits: SyntheticPictures) -> None:
    net = dv.DeconvNet(mnist_cnn())
    noise = torch.rand(200, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    strongest = net.activations(noise, "relu2").maps[:, list(digits.channels)].amax((0, 2, 3))
    assert (digits.activations[:, 0] > 1.2 * strongest).all()
    assert (digits.activations > 2 * digits.started.clamp(min=0)).all()
    reached = net.activations(digits.pictures[:, 0], "relu2").maps.amax((2, 3))  # the digits need no preprocess
    torch.testing.assert_close(reached[range(3), list(digits.channels)], digits.activations[:, 0])


def test_pictures_stay_within_the_range_and_are_not_flat(digits: SyntheticPictures) -> None:
    assert digits.pictures.shape == (3, 1, 1, 28, 28)
    assert digits.pictures.min() >= 0
    assert digits.pictures.max() <= 1
    assert digits.pictures.std((-2, -1)).min() > 0.1


def test_each_picture_is_made_as_if_it_were_alone() -> None:
    net = dv.DeconvNet(small().double())
    make = functools.partial(dv.synthesize, net, "2", size=12, steps=4, variants=2, **QUIET)
    together = make(channel=[4, 1, 3])
    alone, one_by_one = make(channel=1), make(channel=[4, 1, 3], batch_size=1)
    torch.testing.assert_close(together.pictures[1], alone.pictures[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(together.pictures, one_by_one.pictures, rtol=0, atol=1e-6)
    assert (together.pictures[:, 0] - together.pictures[:, 1]).abs().amax((1, 2, 3)).min() > 0.05


def test_the_seed_alone_determines_the_picture() -> None:
    net = dv.DeconvNet(small())
    make = functools.partial(dv.synthesize, net, "2", channel=1, size=12, steps=6, **QUIET)
    first = make(random_state=3)
    torch.rand(5)
    assert torch.equal(first.pictures, make(random_state=3).pictures)
    assert not torch.equal(first.pictures, make(random_state=4).pictures)


def test_the_model_and_the_random_state_stay_as_they_were() -> None:
    model = nn.Sequential(small(), nn.BatchNorm2d(5), nn.Dropout(0.5)).train()
    model[0][0].weight.requires_grad_(False)
    model[0][2].weight.grad = torch.ones_like(model[0][2].weight)
    before, mark = copy.deepcopy(model.state_dict()), fingerprint(model)
    state = torch.get_rng_state()
    with torch.no_grad():
        dv.synthesize(dv.DeconvNet(model), "1", channel=[0, 2], size=12, steps=3, **QUIET)
        assert not torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert fingerprint(model) == mark
    assert all(torch.equal(now, before[name]) for name, now in model.state_dict().items())
    assert not model[0][0].weight.requires_grad
    assert model[0][2].weight.requires_grad
    assert torch.equal(model[0][2].weight.grad, torch.ones_like(model[0][2].weight))
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name != "0.2.weight")


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = small()[0]

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.avg_pool2d(F.relu(self.conv(x)), 2)).mean((2, 3))


def test_functional_layers_have_pictures() -> None:
    net = dv.DeconvNet(Functional().eval())
    for name in ("avg_pool2d", "relu_1"):
        found = dv.synthesize(net, name, channel=[0, 3], size=14, steps=24, **QUIET)
        assert (found.activations > found.started).all(), name
        assert found.layer == name


def test_one_position_is_excited_and_no_other_part_of_the_picture_changes() -> None:
    found = dv.synthesize(dv.DeconvNet(small(1)), "0", channel=[0, 1], position=(8, 8), size=30, steps=32, **QUIET)
    spread = (found.pictures[:, 0, 0] - found.pictures[:, 0, 0].median()).square()
    near = spread[:, 4:15, 4:15].sum((1, 2)) / spread.sum((1, 2))
    assert (near > 3 * (11 / 30) ** 2).all(), near
    assert found.position == (8, 8)
    middle = dv.synthesize(dv.DeconvNet(small(1)), "0", channel=0, position="middle", size=30, steps=1, **QUIET)
    assert middle.position == (14, 14)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    found = dv.synthesize(dv.DeconvNet(small().to(dtype)), "2", channel=[0, 1], size=12, steps=3, **QUIET)
    assert found.pictures.dtype == torch.float32
    assert found.provenance.settings["dtype"] == str(dtype).removeprefix("torch.")
    assert (found.activations > found.started).all()


def test_on_a_device_as_on_the_cpu() -> None:
    expected = dv.synthesize(dv.DeconvNet(small()), "2", channel=[0, 1], size=12, steps=3, **QUIET)
    with pretending("cuda") as device:
        found = dv.synthesize(dv.DeconvNet(small().to(device.name)), "2", channel=[0, 1], size=12, steps=3, **QUIET)
    torch.testing.assert_close(found.pictures, expected.pictures, rtol=0, atol=1e-4)


def test_the_pictures_have_the_range_of_the_data() -> None:
    seen: list[Tensor] = []
    model = small()
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach()))
    preprocess = Preprocess(12)
    black, white = (preprocess(x) for x in plain_images())
    dv.synthesize(dv.DeconvNet(model, preprocess=preprocess), "2", channel=0, steps=8, **QUIET)
    assert all(((black <= x + 1e-5) & (x <= white + 1e-5)).all() for x in seen)
    assert seen[0].shape[1:] == (3, 12, 12)
    seen.clear()
    examples = torch.tensor([-3.0, 7.0]).repeat(12, 6).expand(2, 3, 12, 12)
    dv.synthesize(dv.DeconvNet(model), "2", channel=0, examples=examples, steps=8, **QUIET)
    made = torch.cat(seen)
    assert made.min() >= -3
    assert made.max() <= 7
    assert made.min() < 1


def plain_images() -> tuple[object, object]:
    from PIL import Image

    return Image.new("RGB", (20, 20), "black"), Image.new("RGB", (20, 20), "white")


def test_pictures_of_other_numbers_of_channels() -> None:
    for channels in (1, 2, 5):
        found = dv.synthesize(dv.DeconvNet(small(channels)), "2", channel=0, size=(9, 14), steps=3, **QUIET)
        assert found.pictures.shape == (1, 1, channels, 9, 14)
        assert found.figure().axes


def test_compared_with_the_best_of_a_data_set() -> None:
    images, _ = mnist_test()
    net = dv.DeconvNet(mnist_cnn())
    top = dv.scan(net, images[:100], layers=["conv2"], k=1, progress=False)
    found = dv.synthesize(
        net, "conv2", channel=[3, 20], position="middle", examples=images[:9], top=top, steps=48, **QUIET
    )
    assert found.best is not None
    assert torch.equal(found.best, net.activations(images[:100], "conv2").maps[:, [3, 20]].amax((0, 2, 3)))
    torch.testing.assert_close(found.times, found.activations / found.best[:, None])
    assert found.verdict.startswith("2 of 2 channels of conv2 are excited more by their pictures than by any image")
    assert found.as_json()["table"][0]["times"] > 1


def test_a_channel_that_nothing_excites_is_named() -> None:
    model = small()
    model[0].bias.data[:], model[0].weight.data[1] = 0, -1.0  # the first image is never below zero
    found = dv.synthesize(dv.DeconvNet(model), "1", channel=[0, 1], size=12, steps=3, **QUIET)
    assert found.silent == (1,)
    assert "No picture excites channel 1: all that was tried leaves it silent" in found.verdict


def test_a_rectified_channel_that_faint_noise_leaves_silent_is_excited() -> None:
    model, _ = planted()
    model = nn.Sequential(*model, nn.ReLU())
    model[0].bias = nn.Parameter(-0.5 * model[0].weight.sum((1, 2, 3)).detach() - 1.0)  # below zero for faint noise
    found = WEIGHTED(dv.DeconvNet(model), "1", steps=32)
    assert found.silent == ()
    assert (found.activations > 10).all()


def test_a_result_is_saved_shown_and_drawn(digits: SyntheticPictures, tmp_path) -> None:
    again = SyntheticPictures.load(digits.save(tmp_path / "s.safetensors"))
    assert torch.equal(again.pictures, digits.pictures)
    assert again.position == "all"
    assert str(again) == str(digits)
    assert "channel  variant  activation  noise" in str(digits)
    assert math.isnan(digits.table()[0]["times"])
    assert "is not known; give a scan as top" in digits.verdict
    assert digits.as_json()["table"][1]["channel"] == 20
    assert len(digits.figure(columns=3).axes) == 1
