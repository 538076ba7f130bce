"""Projections on windows against those on whole maps: the same numbers, inside and at the border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.models import mnist_cnn
from deconvviz.models.zfnet import ZFNet
from deconvviz.projection import backward, cropped
from tests.helpers.autograd_reference import randomised, relative_error
from tests.helpers.forced_windows import cpu_costs


def spots(shape, samples):
    """Corners, edges and the middle, in different samples and channels."""
    rows, columns = shape[2:]
    places = [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 2), (0, columns // 2), (rows // 3, columns - 1)]
    places += [(rows - 1, 0), (rows // 2 - 1, columns // 3), (rows // 3 + 1, columns // 2 + 1)]
    inside = [(row % rows, column % columns) for row, column in places]
    return [(n % samples, (3 * n) % shape[1], place) for n, place in enumerate(inside)]


def compare(net, x, layer, tolerance, used, style="deconvnet"):
    shape = net.layers(x[:1])[layer].shape
    units = spots(shape, len(x))
    whole = net.project_units(x, layer, units, window="full")
    before = len(used)
    trace = net.trace(x, layer)
    for given in (x, trace):
        found = net.project_units(given, layer, units)
        alive = whole.pixels.flatten(1).norm(dim=1) > 0
        assert torch.equal(found.pixels[~alive], whole.pixels[~alive])
        if alive.any():
            assert relative_error(found.pixels[alive], whole.pixels[alive]) <= tolerance
        for one, other in zip(found.units, whole.units, strict=True):
            assert one.activation == pytest.approx(other.activation, rel=1e-4, abs=1e-4 if tolerance > 1e-8 else 1e-9)
        assert torch.equal(found.receptive_fields, whole.receptive_fields)
        assert found.provenance == whole.provenance
    assert used[before:] == ["project_images", "project_recorded"]


def dilated_and_grouped():
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=2, dilation=2), nn.ReLU(inplace=True), nn.BatchNorm2d(8)),
        *(
            nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4),
            nn.SiLU(),
            nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        ),
        *(nn.Conv2d(12, 12, (1, 5), padding="same", groups=12), nn.Hardswish(), nn.Conv2d(12, 6, 3, padding=1)),
    )


def hourglass():
    """Down, and up by interpolation of two kinds and by transposed convolution, with a skip."""

    class Hourglass(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.deep = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
            self.up, self.last = nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1), nn.Conv2d(20, 4, 3, padding=1)
            self.wide = nn.Conv2d(4, 4, 3)

        def forward(self, x):
            one = F.relu(self.down(x))
            deep = F.relu(self.deep(one))
            two, three = F.relu(self.up(deep)), F.interpolate(deep, scale_factor=2, mode="bilinear")
            x = self.last(torch.cat([one, two, three], 1))
            return self.wide(F.pad(F.interpolate(F.leaky_relu(x), scale_factor=3), (1, 0, 2, 1)))

    return Hourglass()


NETWORKS = {
    "vgg16": (lambda: torchvision.models.vgg16(weights=None), 96, ("features.2", "features.14", "features.23")),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), 96, ("conv1", "layer1.1", "layer3.0")),
    "googlenet": (
        lambda: torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=False),
        *(96, ("conv3", "inception3b", "inception4a")),
    ),
    "densenet121": (
        lambda: torchvision.models.densenet121(weights=None),
        *(96, ("features.denseblock1", "features.denseblock3.denselayer4.conv1")),
    ),
    "squeezenet1_1": (
        lambda: torchvision.models.squeezenet1_1(weights=None),
        *(97, ("features.0", "features.6.expand3x3", "features.12")),
    ),
    "zfnet": (ZFNet, 224, ("features.conv2", "features.conv5")),
    "mnist": (mnist_cnn, 28, ("conv1", "conv2")),
    "dilated and grouped": (dilated_and_grouped, 41, ("3", "5", "8")),
    "hourglass": (hourglass, 22, ("deep", "up", "last", "wide")),
}


def built(name, precision):
    make, size, layers = NETWORKS[name]
    torch.manual_seed(1)
    model = randomised(make()).to(precision)
    return dv.DeconvNet(model), torch.randn(3, 1 if name == "mnist" else 3, size, size, dtype=precision), layers


@pytest.mark.parametrize("name", NETWORKS)
def test_windows_give_what_whole_maps_give(name, used):
    net, x, layers = built(name, torch.float64)
    for layer in layers:
        compare(net, x, layer, 1e-10, used)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_single_precision_too_but_for_ties_that_rounding_decides(name, used, monkeypatch):
    """Equal to 1e-5 wherever the switches agree; those that do not are counted."""
    net, x, layers = built(name, torch.float32)
    tapes = []
    write = cropped.write_crops

    def noted(*arguments):
        tapes.append(write(*arguments))
        return tapes[-1]

    monkeypatch.setattr(cropped, "write_crops", noted)
    flips = total = 0
    for layer in layers:
        units = spots(net.layers(x[:1])[layer].shape, len(x))
        # Seeds of one: an activation next to zero would bring its own rounding into all of its projection.
        whole = net.project_units(x, layer, units, seed="one", window="full").pixels
        trace = net.trace(x, layer)
        for unit, expected in zip(units, whole, strict=True):
            tapes.clear()
            alone, recorded = (net.project_units(given, layer, [unit], seed="one") for given in (x, trace))
            ours, theirs = tapes
            differing = sum(
                int(((ours.tape.data[key] != theirs.tape.data[key]) & inside(ours, key)).sum()) for key in ours.planes
            )
            size = float(expected.norm()) or 1.0
            assert float((recorded.pixels[0] - expected).norm()) <= 1e-5 * size
            if not differing:
                assert float((alone.pixels[0] - expected).norm()) <= 1e-5 * size
            flips, total = flips + differing, total + sum(ours.tape.data[key].numel() for key in ours.planes)
    assert flips <= 1e-4 * total, f"{flips} of {total} switches differ"


def inside(made, key):
    """Which of the switches of a crop lie in the map."""
    value, region = made.origins[key]
    return torch.from_numpy(~region.outside(value.shape))


@pytest.mark.parametrize("style", ["guided", "gradient"])
def test_every_style_on_windows(style, used):
    torch.manual_seed(2)
    model = randomised(dilated_and_grouped()).double()
    model[5] = nn.MaxPool2d(3, 2, padding=1, ceil_mode=True)
    x = torch.randn(2, 3, 40, 33, dtype=torch.float64)
    for layer in ("4", "5", "8"):
        compare(dv.DeconvNet(model, style), x, layer, 1e-10, used)


def test_seeds_of_one(used):
    torch.manual_seed(3)
    net, x = dv.DeconvNet(mnist_cnn().double()), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    units = [(1, 3, (2, 5)), (0, 7, (9, 9))]
    whole = net.project_units(x, "conv2", units, seed="one", window="full")
    for given in (x, net.trace(x, "conv2")):
        found = net.project_units(given, "conv2", units, seed="one")
        assert relative_error(found.pixels, whole.pixels) < 1e-12
        assert [unit.activation for unit in found.units] == pytest.approx([u.activation for u in whole.units])
    assert used == ["project_images", "project_recorded"]


def test_sequences_and_volumes(used):
    sounds = nn.Sequential(nn.Conv1d(2, 4, 5, padding=2), nn.ReLU(), nn.Conv1d(4, 3, 3, stride=2)).double()
    x = torch.randn(2, 2, 50, dtype=torch.float64)
    units = [(0, 1, (0,)), (1, 2, (11,)), (1, 0, (23,))]
    net = dv.DeconvNet(sounds)
    assert (
        relative_error(net.project_units(x, "2", units).pixels, net.project_units(x, "2", units, window="full").pixels)
        < 1e-12
    )
    videos = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(4, 2, 3, padding=1)
    ).double()
    x = torch.randn(2, 1, 10, 12, 14, dtype=torch.float64)
    units = [(0, 1, (0, 0, 0)), (1, 0, (4, 5, 6)), (1, 1, (2, 3, 3))]
    net = dv.DeconvNet(videos)
    whole = net.project_units(x, "3", units, window="full").pixels
    for given in (x, net.trace(x, "3")):
        assert relative_error(net.project_units(given, "3", units).pixels, whole) < 1e-12
    assert used == ["project_images"] * 2 + ["project_recorded"]


def test_a_position_for_all_samples_and_all_positions(used):
    net, x = dv.DeconvNet(mnist_cnn().double()), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    for position in ((3, 4), torch.tensor([[1, 2], [9, 0]]), "all"):
        channel = [5, 2] if position != "all" else 5  # type: ignore[comparison-overlap]
        found = net.project(x, "conv2", channel=channel, position=position)
        whole = net.project(x, "conv2", channel=channel, position=position, window="full")
        assert [(u.sample, u.channel, u.position) for u in found.units] == [
            (u.sample, u.channel, u.position) for u in whole.units
        ]
        assert torch.allclose(found.pixels, whole.pixels, atol=1e-12)
    assert used == ["project_images"] * 3
    with pytest.raises(InputError, match=r"has maps of size \(14, 14\)"):
        net.project(x, "conv2", channel=0, position=(14, 0))
    with pytest.raises(InputError, match="the window is 'auto' or 'full', not 'small'"):
        net.project(x, "conv2", channel=0, window="small")


@pytest.mark.parametrize("alone", [0, 1e30], ids=["by position", "by phase"])
@pytest.mark.parametrize(
    ("size", "factors"),
    [
        *(((5,), (2,)), ((4,), (3,)), ((6, 5), (2, 2)), ((4, 6), (3, 3)), ((3, 5), (4, 1)), ((2, 1), (5, 2))),
        ((3, 2, 4), (2, 3, 2)),
    ],
)
def test_linear_interpolation_at_every_place(size, factors, alone, used, monkeypatch):
    """Also where a window reaches over two borders of a small map."""
    cpu_costs(monkeypatch, large=alone)
    convolution, mode = {1: (nn.Conv1d, "linear"), 2: (nn.Conv2d, "bilinear"), 3: (nn.Conv3d, "trilinear")}[len(size)]
    upsampling = nn.Upsample(scale_factor=factors, mode=mode)
    layers = [convolution(1, 3, 3, padding=1), nn.ReLU(), upsampling, convolution(3, 2, 3, padding=1)]
    net, x = dv.DeconvNet(nn.Sequential(*layers).double()), torch.randn(2, 1, *size, dtype=torch.float64)
    whole = net.project(x, "3", position="all", window="full").pixels
    for given in (x, net.trace(x, "3")):
        found = net.project(given, "3", position="all").pixels
        assert float((found - whole).abs().max()) <= 1e-10 * float(whole.abs().max())
    assert used == ["project_images", "project_recorded"]


def test_running_out_of_memory_halves_the_batch(used, monkeypatch):
    net, x = dv.DeconvNet(mnist_cnn().double()), torch.rand(8, 1, 28, 28, dtype=torch.float64)
    units = [(n, n, (5, 5)) for n in range(8)]
    whole = net.project_units(x, "conv2", units, window="full")
    original = backward.walk
    sizes = []

    def limited(tape, style, layer, signal, *rest, **options):
        sizes.append(len(signal))
        if len(signal) > 2:
            raise torch.OutOfMemoryError("no room")
        return original(tape, style, layer, signal, *rest, **options)

    monkeypatch.setattr(cropped, "walk", limited)
    found = net.project_units(x, "conv2", units)
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert torch.allclose(found.pixels, whole.pixels, atol=1e-12)


# Ties


def test_ties_go_to_the_first_in_every_path(used):
    """Windows that are all zero after a ReLU are all ties, and a network of small integers has many more."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        *(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3, padding=1)),
    ).double()
    for parameter in model.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape).double()  # sums of integers are exact in any order
    x = torch.randint(-1, 2, (3, 1, 24, 24)).double()
    units = spots((1, 3, 6, 6), 3)
    whole = dv.DeconvNet(model).project_units(x, "6", units, window="full").pixels
    for precision in (torch.float64, torch.float32):
        typed = model.to(precision)
        for layout in (torch.contiguous_format, torch.channels_last):
            net, given = dv.DeconvNet(typed.to(memory_format=layout)), x.to(precision).contiguous(memory_format=layout)
            assert torch.equal(net.project_units(given, "6", units).pixels.double(), whole)
            assert torch.equal(net.project_units(net.trace(given, "6"), "6", units).pixels.double(), whole)
            assert torch.equal(net.project_units(given, "6", units, window="full").pixels.double(), whole)
            for row, unit in enumerate(units[:3]):
                alone = net.project_units(given[unit[0]][None], "6", [(0, *unit[1:])])
                assert torch.equal(alone.pixels[0].double(), whole[row])
    assert len(used) > 10


def test_near_ties_that_fall_to_the_other_side_are_few_and_counted():
    """In float32 a crop may round a sum otherwise than the whole map did, and another switch wins by one bit."""
    torch.manual_seed(4)
    model = randomised(torchvision.models.vgg11(weights=None))
    net, x = dv.DeconvNet(model), torch.randn(4, 3, 96, 96)
    units = [(n % 4, n, (n % 6, n % 5)) for n in range(48)]
    whole = net.project_units(x, "features.13", units, window="full").pixels
    found = net.project_units(x, "features.13", units).pixels
    alive = whole.flatten(1).norm(dim=1) > 0
    errors = (found - whole).flatten(1).norm(dim=1)[alive] / whole.flatten(1).norm(dim=1)[alive]
    flipped = int((errors > 1e-5).sum())
    assert flipped <= 2, f"{flipped} of {len(errors)} projections differ by a switch"
    exact = net.model.double()
    twice = dv.DeconvNet(exact)
    whole, found = (
        twice.project_units(x.double(), "features.13", units, window=window).pixels for window in ("full", "auto")
    )
    assert relative_error(found[alive], whole[alive]) < 1e-10


def test_what_is_looked_at_must_be_finite(used):
    net, x = dv.DeconvNet(mnist_cnn()), torch.rand(2, 1, 28, 28)
    x[1, 0, 20, 20] = torch.nan
    for given, units in ((x, [(1, 0, (10, 10))]), (x, [(0, 0, (1, 1)), (1, 3, (9, 11))])):
        with pytest.raises(InputError, match=r"holds (1 value that is|\d+ values that are) NaN or infinite"):
            net.project_units(given, "conv2", units)
    net.project_units(x, "conv2", [(1, 0, (1, 1))])  # whose window ends before
    with pytest.raises(InputError, match="holds 1 value that is NaN"):
        net.project_units(x, "conv2", [(1, 0, (1, 1))], window="full")
