"""The registry, the styles, and what the rules do where a formula can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, RuleError, UnsupportedOperation
from deconvviz.rules import STYLES, Style, mirror

aten = torch.ops.aten
WEIGHTED = STYLES["guided"].but(rectifier="weighted")


# Styles


def one_unit(style, function, value):
    """The signal 2 sent back through a rectifier whose input was `value`."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([[[[2.0]]]]))

        def forward(self, x):
            return F.conv2d(function(x), self.weight)

    x = torch.full((1, 1, 1, 1), value)
    return dv.DeconvNet(Model(), style).project(x, "conv2d", channel=0, seed="one").pixels.item()


@pytest.mark.parametrize(
    ("style", "value", "expected"),
    [
        ("deconvnet", 3.0, 2.0),
        ("deconvnet", -3.0, 2.0),
        ("guided", 3.0, 2.0),
        ("guided", -3.0, 0.0),
        (WEIGHTED, 3.0, 2.0),
        (WEIGHTED, -3.0, 0.0),
        ("gradient", 3.0, 2.0),
        ("gradient", -3.0, 0.0),
    ],
)
def test_what_a_style_makes_of_a_rectifier(style, value, expected):
    assert one_unit(style, F.relu, value) == expected


def test_a_weighted_rectifier_passes_by_how_much_each_unit_fired():
    """Beside the root mean square of all that the rectifier reads, for each sample by itself."""

    def expected(x, signal):
        return signal.relu() * x.relu() / x.square().mean((1, 2), keepdim=True).sqrt()

    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert dv.rules.check(F.relu, x, style=WEIGHTED, against=expected).samples_apart
    assert dv.rules.check(lambda x: F.relu(0 * x - 1), x, style=WEIGHTED, against=lambda x, s: 0 * s).error == 0


def test_what_hardly_fires_adds_hardly_anything_in_a_branch_of_its_own():
    """One rectifier reads the first channel, another the next two, of which the one that fires is subtracted."""

    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 1.0, -1.0]).view(1, 3, 1, 1))

        def forward(self, x):
            return F.conv2d(torch.cat([x[:, :1].relu(), x[:, 1:].relu()], 1), self.weight)

    x = torch.tensor([2.0, 1e-4, 5.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4).contiguous()
    x[:, :, 0] = 100.0  # which the unit does not read
    net = dv.DeconvNet(Branches(), WEIGHTED)
    for window in ("auto", "full"):
        found = net.project(x, "conv2d", channel=0, position=(2, 1), seed="one", window=window).pixels[0, :, 2, 1]
        assert found.tolist() == pytest.approx([1, 1e-4 / 12.5**0.5, 0])


def test_a_weighted_rectifier_of_one_number_passes_where_it_fired():
    x = torch.tensor([[[[3.0]]], [[[-3.0]]]])
    found = dv.rules.check(
        lambda x: x.sum((1, 2, 3)).relu(),
        x.double(),
        style=WEIGHTED,
        against=lambda x, s: s.relu()[:, None, None, None] * (x > 0),
    )
    assert found.error == 0


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e18, 1e30])
def test_a_weighted_rectifier_does_not_depend_on_the_scale_of_what_fires(scale):
    first, last = nn.Conv2d(1, 4, 3, bias=False), nn.Conv2d(4, 2, 3)
    net = dv.DeconvNet(nn.Sequential(first, nn.ReLU(), last), WEIGHTED)
    x = torch.randn(2, 1, 8, 8)
    expected = net.project(x, "2", channel=0, position=(1, 2), seed="one").pixels
    with torch.no_grad():
        first.weight.mul_(scale)
    found = net.project(x, "2", channel=0, position=(1, 2), seed="one").pixels
    assert torch.allclose(found / scale, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())


@pytest.mark.parametrize(
    "function",
    [
        *(F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
        *(F.hardtanh, lambda x: F.threshold(x, 0.1, 0.0), lambda x: F.prelu(x, torch.tensor([0.3])), F.rrelu),
        *(torch.relu_, lambda x: F.leaky_relu(x, inplace=True), lambda x: F.hardswish(x, inplace=True)),
    ],
)
def test_every_rectifier_passes_a_positive_signal_and_stops_a_negative_one(function):
    assert one_unit("deconvnet", lambda x: function(x * 1), -0.7) == 2.0
    assert one_unit("deconvnet", lambda x: -function(x * 1), -0.7) == 0.0


def test_a_style_leaves_out_local_response_normalisation_or_differentiates_it():
    model = nn.Sequential(nn.LocalResponseNorm(2, alpha=1.0), nn.Conv2d(1, 1, 1, bias=False)).double()
    x = torch.tensor([[[[1.5]]]], dtype=torch.float64)
    weight = model[1].weight.item()
    value = 1.5 / (1 + 1.5**2 / 2) ** 0.75
    slope = (1 + 1.5**2 / 2) ** -0.75 - 1.5 * 0.75 * 1.5 * (1 + 1.5**2 / 2) ** -1.75
    for style, expected in (("deconvnet", weight), ("guided", weight), ("gradient", weight * slope)):
        projection = dv.DeconvNet(model, style).project(x, "1", channel=0, seed="one")
        assert projection.pixels.item() == pytest.approx(expected, rel=1e-12)
        assert not projection.provenance.linearised
    assert dv.DeconvNet(model).trace(x).activations["0"].item() == pytest.approx(value, rel=1e-12)


def test_a_style_is_checked():
    with pytest.raises(RuleError, match=r"no style 'deconv'; the styles are .*did you mean 'deconvnet'"):
        dv.DeconvNet(nn.Conv2d(1, 1, 1), "deconv")
    with pytest.raises(RuleError, match=r"chooses 'max' for overlap; the choices are 'mean', 'overwrite', 'sum'"):
        dv.DeconvNet(nn.Conv2d(1, 1, 1), STYLES["guided"].but(overlap="max"))
    with pytest.raises(RuleError, match="names the family 'colour'"):
        dv.DeconvNet(nn.Conv2d(1, 1, 1), STYLES["guided"].but(colour="blue"))
    with pytest.raises(RuleError, match=r"a style is a name or a deconvviz.Style, not int"):
        dv.DeconvNet(nn.Conv2d(1, 1, 1), 3)


def test_a_style_is_saved_with_the_result():
    style = STYLES["guided"].but(overlap="mean")
    projection = dv.DeconvNet(nn.Conv2d(1, 1, 1), style).project(torch.ones(1, 1, 2, 2), "output")
    assert projection.provenance.style == {
        "name": "guided, overlap=mean",
        "rectifier": "guided",
        "lrn": "identity",
        "overlap": "mean",
    }


# Unpooling with windows that share a switch


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        # Windows of 3, stride 2, over 0 5 1 2 9 3 0 4 1: (0 5 1) (1 2 9) (9 3 0) (0 4 1), and 9 serves two.
        ("sum", [0, 1, 0, 0, 2 + 4, 0, 0, 8, 0]),
        ("overwrite", [0, 1, 0, 0, 4, 0, 0, 8, 0]),
        ("mean", [0, 1, 0, 0, 3, 0, 0, 8, 0]),
    ],
)
@pytest.mark.parametrize("pool", [nn.MaxPool1d(3, 2), nn.MaxPool2d((1, 3), (1, 2)), nn.MaxPool3d((1, 1, 3), (1, 1, 2))])
def test_two_windows_that_share_a_switch(overlap, expected, pool):
    rank = int(type(pool).__name__[-2])
    line = torch.tensor([0.0, 5, 1, 2, 9, 3, 0, 4, 1]).view(1, 1, *[1] * (rank - 1), 9)
    convolution = getattr(nn, f"Conv{rank}d")(1, 1, [*[1] * (rank - 1), 4], bias=False)
    convolution.weight.data.copy_(torch.tensor([1.0, 2, 4, 8]).view_as(convolution.weight))
    net = dv.DeconvNet(nn.Sequential(pool, convolution), STYLES["deconvnet"].but(overlap=overlap))
    assert net.project(line, "1", channel=0, seed="one").pixels.flatten().tolist() == expected


@pytest.mark.parametrize("overlap", ["sum", "overwrite", "mean"])
def test_unpooling_against_a_loop_over_windows(overlap):
    x = torch.randn(2, 3, 11, 9, dtype=torch.float64).relu()  # with ties: windows that are all zero
    signal = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    expected = torch.zeros_like(x)
    shared = torch.zeros_like(x)
    for n, c, i, j in torch.cartesian_prod(*map(torch.arange, signal.shape)).tolist():
        window = x[n, c, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        where = int(window.flatten().argmax())  # the first in scan order
        place = (n, c, 2 * i + where // 3, 2 * j + where % 3)
        expected[place] = signal[n, c, i, j] + (0 if overlap == "overwrite" else expected[place])
        shared[place] += 1
    if overlap == "mean":
        expected /= shared.clamp(min=1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.signal = nn.Parameter(signal)

        def forward(self, x):
            return (F.max_pool2d(x, 3, 2) * self.signal).sum((1, 2, 3), keepdim=True)

    assert (shared > 1).any()
    net = dv.DeconvNet(Model(), STYLES["deconvnet"].but(overlap=overlap))
    found = net.project(x, "output", channel=0, seed="one").pixels
    assert torch.allclose(found, expected, rtol=1e-12)


# The registry


def test_a_second_rule_for_an_operation_is_refused(registry):
    with pytest.raises(RuleError, match=r"aten.neg already has a mirror \(negate\)"):
        mirror(aten.neg)(lambda op, signal: signal)
    with pytest.raises(RuleError, match=r"aten.relu already has a mirror"):
        mirror(aten.relu, when=("rectifier", "guided"))(lambda op, signal: signal)
    with pytest.raises(RuleError, match=r"aten.relu already has a mirror"):
        mirror(aten.relu, when=("colour", "blue"))(lambda op, signal: signal)


def test_a_users_rule_for_an_operation(registry):
    x = torch.tensor([[[[0.5]]]])
    model = nn.Sequential(nn.Sigmoid(), nn.Conv2d(1, 1, 1))
    weight = model[1].weight.item()
    before = dv.DeconvNet(model).project(x, "1", channel=0, seed="one")
    assert before.provenance.linearised == ("aten.sigmoid in 0",)

    @mirror(aten.sigmoid)
    def through(op, signal):
        return 10 * signal

    after = dv.DeconvNet(model).project(x, "1", channel=0, seed="one")
    assert after.pixels.item() == pytest.approx(10 * weight)
    assert after.provenance.linearised == ()


def test_a_users_rule_for_a_module_and_for_a_function(registry):
    class Doubled(nn.Module):
        def forward(self, x):
            return x * 2

    @mirror(Doubled)
    def tripled(op, signal):
        return 3 * signal

    @mirror(F.normalize)
    def untouched(op, signal):
        return signal

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.doubled, self.conv = Doubled(), nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.conv(F.normalize(self.doubled(x)))

    model = Model()
    projection = dv.DeconvNet(model).project(torch.tensor([[[[0.5]]]]), "conv", channel=0, seed="one")
    assert projection.pixels.item() == pytest.approx(3 * model.conv.weight.item())


def test_a_users_style(registry):
    @mirror(aten.relu, when=("rectifier", "absolute"))
    def absolute(op, signal):
        return signal.abs()

    style = Style("absolute", {"rectifier": "absolute", "lrn": "identity", "overlap": "sum"})
    assert one_unit(style, F.relu, -1.0) == 2.0
    assert one_unit(style, lambda x: -F.relu(x), -1.0) == 2.0


def test_a_rule_that_returns_one_signal_for_two_inputs_is_refused(registry):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.atan2(x, x * self.weight)

    mirror(aten.atan2)(lambda op, signal: signal)
    with pytest.raises(UnsupportedOperation, match=r"one signal for 2 inputs; it must return pairs"):
        dv.DeconvNet(Model()).project(torch.ones(1, 1, 1, 1), "output", channel=0)


# What cannot be walked, and what is linearised


class Steps(nn.Module):
    """A convolution, then whatever the function does, then another convolution."""

    def __init__(self, function):
        super().__init__()
        self.first, self.function, self.second = nn.Conv2d(1, 2, 3), function, nn.Conv2d(2, 2, 1)

    def forward(self, x):
        return self.second(self.function(self.first(x)))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x.argmax(1, keepdim=True).float().expand(-1, 2, -1, -1), "aten._to_copy in float"),
        (lambda x: (x > 0).float(), "aten._to_copy in float"),
        (lambda x: x.long().float(), "aten._to_copy in float"),
        (lambda x: x.argsort(1).float(), "aten._to_copy in float"),
    ],
)
def test_a_path_that_is_broken_raises_and_names_where(function, named):
    net, x = dv.DeconvNet(Steps(function)), torch.randn(1, 1, 5, 5)
    assert net.project(x, "first", channel=0).pixels.abs().sum() > 0
    with pytest.raises(UnsupportedOperation, match=f"no part of the signal reaches the input: it ends at {named}"):
        net.project(x, "second", channel=0)


def test_a_partly_broken_path_is_walked_where_it_goes_on_and_reported():
    net = dv.DeconvNet(Steps(lambda x: x + (x > 0).float()))
    provenance = net.project(torch.randn(1, 1, 5, 5), "second", channel=0).provenance
    assert provenance.stopped == ("aten._to_copy in float",)
    assert provenance.linearised == ()


def test_linearised_operations_are_listed_or_refused():
    x = torch.randn(1, 1, 5, 5)
    model = Steps(lambda x: x * torch.sigmoid(x))
    net = dv.DeconvNet(model)
    expected = ("aten.mul in mul", "aten.sigmoid in sigmoid")
    assert net.project(x, "second", channel=0).provenance.linearised == expected
    assert set(net.trace(x).linearised) == set(expected)
    assert net.project(x, "first", channel=0).provenance.linearised == ()
    assert {name: net.layers(x)[name].linearised for name in ("mul", "sigmoid", "first")} == {
        "mul": ("aten.mul",),
        "sigmoid": ("aten.sigmoid",),
        "first": (),
    }
    strict = dv.DeconvNet(model, strict=True)
    assert strict.project(x, "first", channel=0).pixels.abs().sum() > 0
    with pytest.raises(UnsupportedOperation, match=r"under strict=True no operation is linearised, but aten.mul"):
        strict.project(x, "second", channel=0)


def test_a_trace_does_not_outlive_its_weights():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    net = dv.DeconvNet(model)
    trace = net.trace(torch.ones(1, 1, 2, 2))
    with torch.no_grad():
        model[0].weight.add_(1)
    with pytest.raises(InputError, match="used in '0' was changed since this trace was recorded; trace again"):
        net.project(trace, "1", channel=0)


def test_deconvnet_keeps_switches_only():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 3, 3), nn.ReLU())
    trace = dv.DeconvNet(model).trace(torch.randn(1, 1, 12, 12), "4")
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept = [tensor for tensor in trace.tape.data.values() if tensor.data_ptr() not in own]
    assert sorted(tuple(tensor.shape) for tensor in kept) == [(1, 2, 5, 5), (1, 3, 3, 3)]
    assert [tensor.dtype for tensor in kept if tensor.shape[1] == 2] == [torch.int64]
