"""Every operation's way back in every layout of memory: of what was recorded, and of the signal that arrives.

The judge is finite differences: <J v, s> by central differences against <v, J^T s> by the library. torch's own
backward is no judge here, since some of it is wrong in some layouts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.operations.registry import _RULES
from deconvviz.projection.backward import Met, keep_for, samples_apart, walk
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Tape, name_of
from deconvviz.rules import STYLES, opaque
from tests.helpers.autograd_reference import reference
from tests.helpers.operation_cases import CASES, Case, weights
from tests.helpers.small_networks import FunctionNetwork

GRADIENT = STYLES["gradient"]
_images, _volumes = (3, 4, 6, 5), (3, 4, 3, 4, 5)
_filters, _chosen = weights(4, 4), torch.tensor([0, 2, 2])
_left, _right = weights(3, 2, 6), weights(3, 6, 4)
_mean, _variance = weights(4), weights(4).abs() + 0.5
aten = torch.ops.aten


def _further() -> dict[str, Case]:
    """Operations with a rule that the other tests reach in passing, or that only other networks use."""
    pointwise = {
        **{name: getattr(F, name) for name in ("celu", "elu", "gelu", "leaky_relu", "mish", "silu", "softplus")},
        "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
        "threshold": lambda x: F.threshold(x, 0.2, 0.1),
        "detach": lambda x: x.detach() * 2,
        "alias": lambda x: aten.alias(x) * 2,
        "lift": lambda x: aten.lift_fresh(x) * 2,
        "zeroed in part": lambda x: _zeroed(x),
        "triu": lambda x: x.triu(),
        "channel shuffle of mobile networks": lambda x: aten.native_channel_shuffle(x, 2),
        "slice_scatter": lambda x: torch.slice_scatter(x, x[:, :2] * 3, 1, 1, 3),
        "select_scatter": lambda x: torch.select_scatter(x, x[:, 0] * 3, 1, 2),
        "index_copy": lambda x: x.index_copy(1, torch.tensor([0, 2]), x[:, 2:] * 3),
        "batch_norm of each": lambda x: torch.stack(
            [F.batch_norm(part[None], None, None, training=True)[0] for part in x]
        ),
        "instance_norm with weights": lambda x: F.instance_norm(x, weight=_mean, bias=_mean),
        "torch.instance_norm": lambda x: torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False),
        "batch_norm as exported": lambda x: aten._native_batch_norm_legit_no_training(
            x, _mean, _mean, _mean, _variance, 0.1, 1e-5
        )[0],
        "batch_norm without update": lambda x: aten._batch_norm_no_update(x, _mean, _mean, _mean, _variance, 0.1, 1e-5)[
            0
        ],
        "batch_norm legit": lambda x: aten._native_batch_norm_legit(
            x, _mean, _mean, _mean.clone(), _variance.clone(), False, 0.1, 1e-5
        )[0],
        "instance_norm behind a 1 x 1 convolution": lambda x: F.conv2d(F.instance_norm(x), _filters[:, :, None, None]),
        "instance_norm before tokens": lambda x: F.linear(F.instance_norm(x).flatten(2).transpose(1, 2), _filters),
    }
    found = {name: Case(function, _images) for name, function in pointwise.items()}
    found["batch_norm of volumes by the batch"] = Case(lambda x: F.batch_norm(x, None, None, training=True), _volumes)
    found["instance_norm of volumes"] = Case(lambda x: F.instance_norm(x), _volumes)
    found["instance_norm of sequences"] = Case(lambda x: F.instance_norm(x), (3, 4, 7))
    found["group_norm of volumes"] = Case(lambda x: F.group_norm(x, 2), _volumes)
    found["pad reflect 1-D"] = Case(lambda x: F.pad(x, (2, 1), mode="reflect"), (3, 4, 7))
    found["pad replicate 1-D"] = Case(lambda x: F.pad(x, (2, 1), mode="replicate"), (3, 4, 7))
    found["pad reflect 3-D"] = Case(lambda x: F.pad(x, (2, 1, 1, 1, 1, 2), mode="reflect"), _volumes)
    found["pad replicate 3-D"] = Case(lambda x: F.pad(x, (2, 1, 1, 1, 1, 2), mode="replicate"), _volumes)
    found["nearest-exact 1-D"] = Case(lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), (3, 4, 7))
    found["nearest-exact 3-D"] = Case(lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), _volumes)
    found["cubic, antialiased"] = Case(
        lambda x: F.interpolate(x, size=(3, 4), mode="bicubic", antialias=True), (3, 4, 7, 8)
    )
    found["baddbmm"] = Case(lambda x: torch.baddbmm(_left[:1, :, :4], _left[: len(x)], x), (3, 6, 4))
    found["matrix and vector"] = Case(lambda x: x @ _right[0, 0], (3, 4))
    found["dot"] = Case(lambda x: x.dot(_right[0, 0])[None], (4,))
    found["transposed"] = Case(lambda x: x.t() @ x * 2, (3, 6))
    found["grid_sample 3-D"] = Case(lambda x: F.grid_sample(x, _grid[: len(x)], align_corners=False), _volumes)
    found["taken"] = Case(lambda x: x.take(_chosen)[None], _images)
    found["scattered"] = Case(
        lambda x: torch.scatter(x, 1, _chosen[:1].expand(len(x), 1, 6, 5), x[:, 1:2] * 2), _images
    )
    found["masked_scatter"] = Case(lambda x: x.masked_scatter(_mask, x[:, :, :2] * 2), _images)
    found["index_put"] = Case(lambda x: x.index_put((torch.arange(len(x)), torch.tensor(2)), x[:, 1] * 3), _images)
    return found


def _own_statistics(sample: Tensor) -> Tensor:
    return F.batch_norm(sample[None], None, None, training=True)[0]


def _zeroed(x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1].zero_()
    return y


_grid = torch.rand(3, 2, 3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
_mask = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.7
FURTHER = _further()
# float32 on the way is too coarse for finite differences, and "view" refuses the layouts; both are tested elsewhere.
ALL = {name: case for name, case in {**CASES, **FURTHER}.items() if name not in ("to another type and back", "view")}


def layouts(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The same numbers, laid out otherwise."""
    yield "contiguous", tensor.contiguous()
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.ndim)
    if last:
        yield "channels last", tensor.contiguous(memory_format=last)
    if tensor.ndim > 2:
        yield "tokens", tensor.movedim(1, -1).contiguous().movedim(-1, 1)
        yield "transposed", tensor.transpose(-1, -2).contiguous().transpose(-1, -2)
    if tensor.ndim:
        yield "sliced", torch.cat([tensor, tensor], -1)[..., : tensor.shape[-1]]


def recorded(case: Case, x: Tensor) -> Tape:
    return record(FunctionNetwork(case.function), x, keep=keep_for(GRADIENT), layers=["output"], opaque=opaque())


def sent_back(tape: Tape, signal: Tensor, samples: Tensor | None) -> Tensor:
    return walk(tape, GRADIENT, tape.layers["output"].value, signal, samples, met=Met())[tape.inputs[0].id]


def along(case: Case, x: Tensor, v: Tensor) -> Tensor:
    """J v by central differences."""
    step = 1e-6
    with torch.no_grad():
        return (case.function(x + step * v) - case.function(x - step * v)) / (2 * step)


def pairs(case: Case, x: Tensor, signal: Tensor) -> Iterator[tuple[str, Tape, Tensor]]:
    """Recordings and signals: each layout with a contiguous partner, and both alike."""
    tape = recorded(case, x)
    for name, sent in layouts(signal):
        yield f"signal {name}", tape, sent
    yield "signal expanded", tape, signal[..., :1].expand_as(signal)
    for (name, laid_out), (other, sent) in zip(list(layouts(x))[1:], list(layouts(signal))[1:], strict=False):
        tape = recorded(case, laid_out)
        yield f"recording {name}", tape, signal
        yield f"recording {name}, signal {other}", tape, sent


def alone(case: Case) -> bool:
    """Whether the case can be given one sample: some hold constants for three."""
    try:
        with torch.no_grad():
            case.function(torch.zeros((1, *case.shape[1:]), dtype=torch.float64))
    except (RuntimeError, IndexError):
        return False
    return len(case.shape) > 1


def _names() -> list[object]:
    """All cases, but of the many settings of filters, pools and interpolation three of four among the slow tests."""
    seen: dict[str, int] = {}
    names: list[object] = []
    for name in ALL:
        family = name.split()[0].rstrip("123d")
        seen[family] = seen.get(family, -1) + 1
        many = family.startswith(("conv", "max_pool", "avg_pool", "interpolate", "pad"))
        names.append(pytest.param(name, marks=pytest.mark.slow) if many and seen[family] % 4 else name)
    return names


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", _names())
def test_signals_and_recordings_of_every_layout(name, samples):
    case = ALL[name]
    if samples == 1 and not alone(case):
        return
    generator = torch.Generator().manual_seed(len(name))
    x = torch.randn((samples, *case.shape[1:]) if len(case.shape) > 1 else case.shape, generator=generator).double()
    v = torch.randn(x.shape, generator=generator).double()
    tangent = along(case, x, v)
    if "detach" in name:
        tangent = 2 * v
    signal = torch.randn(tangent.shape, generator=generator).double()
    for what, tape, sent in pairs(case, x, signal):
        left, right = (tangent * sent).sum(), (v * sent_back(tape, sent, None)).sum()
        assert torch.isclose(left, right, rtol=1e-6, atol=1e-7 * float(tangent.norm() * sent.norm())), what


@pytest.mark.parametrize("name", _names())
def test_units_in_a_batch_of_every_layout(name):
    """The units of several samples travel together: each against finite differences of its own sample."""
    case = ALL[name]
    generator = torch.Generator().manual_seed(len(name))
    x = torch.randn(case.shape, generator=generator).double()
    tape = recorded(case, x)
    if tape.layers["output"].value.id not in samples_apart(tape, GRADIENT) or len(case.shape) < 2:
        return
    v, units = torch.randn(case.shape, generator=generator).double(), torch.tensor([2, 0, 2, 1])
    tangent = 2 * v if "detach" in name else along(case, x, v)
    rows = len(tangent) // len(x)
    tangent = tangent.unflatten(0, (len(x), rows))[units].flatten(0, 1)
    signal = torch.randn(tangent.shape, generator=generator).double()
    for what, sent in layouts(signal):
        together = sent_back(tape, sent, units)
        left = (tangent * sent).unflatten(0, (len(units), rows)).flatten(1).sum(1)
        right = (v[units] * together).flatten(1).sum(1)
        assert torch.allclose(left, right, rtol=1e-6, atol=1e-7 * float(tangent.norm() * signal.norm())), what


ELSEWHERE = {"aten.cudnn_batch_norm", "aten.miopen_batch_norm", "aten._reshape_alias"}  # other devices, other versions
COMPLEX = {f"aten.{name}" for name in ("real", "imag", "view_as_real", "view_as_complex")}
COMPLEX |= {f"aten.{name}" for name in ("_conj", "_conj_physical", "_neg_view", "resolve_conj", "resolve_neg")}
DRAWING = {"aten.native_dropout"}  # in test_random_numbers.py
ONE_DIMENSION = {"aten.avg_pool1d", "aten.adaptive_avg_pool1d"}  # run in two dimensions


def test_every_operation_that_has_a_rule_is_among_them():
    reached = {"aten._to_copy", "aten.view"}
    for case in ALL.values():
        reached |= {operation.label for operation in recorded(case, torch.randn(case.shape).double()).operations}
    known = {
        name_of(key)
        for key, rule in _RULES.items()
        if rule.mirrors and name_of(key).startswith(("aten.", "torch.nn.functional."))
    }
    assert known - reached - ELSEWHERE - COMPLEX - DRAWING - ONE_DIMENSION == set()


# Networks


def written_out(x: Tensor) -> Tensor:
    """Instance normalisation without torch's own."""
    axes = tuple(range(2, x.ndim))
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()


class WrittenOut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return written_out(x)


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("rank", [2, 3])
def test_instance_norm_behind_a_1_x_1_convolution(rank, samples, style):
    torch.manual_seed(0)
    convolution, norm = (nn.Conv2d, nn.InstanceNorm2d) if rank == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    model = nn.Sequential(convolution(3, 8, 3), norm(8), nn.ReLU(), convolution(8, 4, 1)).double()
    plain = nn.Sequential(model[0], WrittenOut(), model[2], model[3])
    x = torch.randn((samples, 3, *[9] * rank)).double()
    for memory in ("contiguous", "channels last"):
        laid_out = dict(layouts(x))[memory]
        for channels in (1, [1], [0, 2], None):
            found = dv.DeconvNet(model, style).project(laid_out, "3", channel=channels)
            expected = dv.DeconvNet(plain, style).project(x, "3", channel=channels)
            assert (found.pixels - expected.pixels).norm() <= 1e-10 * expected.pixels.norm()
        whole = dv.DeconvNet(model, style).reconstruct(laid_out, "3").pixels
        assert torch.allclose(whole, dv.DeconvNet(plain, style).reconstruct(x, "3").pixels, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", ["instance", "batch", "group"])
def test_the_reference_of_the_tests_writes_norms_out(norm):
    """Its gradient, against finite differences, where torch's own backward is given channels-last signals."""
    torch.manual_seed(0)
    made = {
        "instance": lambda: nn.InstanceNorm2d(4, affine=True),
        "batch": lambda: nn.BatchNorm2d(4, track_running_stats=False),
        "group": lambda: nn.GroupNorm(2, 4),
    }[norm]()
    model = nn.Sequential(nn.Conv2d(2, 4, 3), made, nn.Conv2d(4, 3, 1)).double().to(memory_format=torch.channels_last)
    x, unit, step = torch.randn(1, 2, 6, 6).double(), (0, 1, 2, 2), 1e-6
    _, pixels = reference(model, x, "2", [unit], "gradient")
    v = torch.randn_like(x)
    with torch.no_grad():
        activation = model(x)[unit]
        slope = (model(x + step * v)[unit] - model(x - step * v)[unit]) / (2 * step)
    assert torch.isclose((pixels * v).sum(), slope * activation, rtol=1e-6)
