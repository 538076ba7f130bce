"""Samples that meet are not taken for apart; where none has an activation of its own, the batch is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz import evidence
from deconvviz.errors import InputError
from deconvviz.projection.backward import Met, keep_for, samples_apart, walk
from deconvviz.projection.sample_independence import check_alone
from deconvviz.recording.recorder import record
from deconvviz.rules import STYLES, opaque
from tests.helpers.between_convolutions import Around, Reference, error, images
from tests.helpers.code_snippets import MIXING

ALONE = "give one sample at a time"


@pytest.mark.parametrize("name", MIXING)
def test_mixed_samples_are_refused_everywhere(name):
    model, x = Around(MIXING[name]), images(4)
    net = dv.DeconvNet(model, "gradient")
    trace = net.trace(x, "d")
    for ask in (
        lambda: net.project(x, "d", channel=0),
        lambda: net.project(x, "d", channel=0, position=(1, 1), window="full"),
        lambda: net.project_units(x, "d", [(n, 0, (1, 1)) for n in range(4)]),
        lambda: net.project(trace, "d", channel=0),
        lambda: net.reconstruct(trace, "d"),
        lambda: evidence.selectivity(net, x, "d", count=2),
    ):
        with pytest.raises(InputError, match=ALONE):
            ask()
    with pytest.raises(InputError, match="mixes the samples of a batch; scan it with batch_size=1"):
        dv.scan(net, x, layers=["d"], k=1, batch_size=4, progress=False)


@pytest.mark.parametrize("name", sorted(MIXING))
def test_one_sample_of_a_model_that_mixes_them_is_right(name):
    function = MIXING[name]
    model, x = Around(function), images(1)
    reference = Reference(model, x)
    for position in ("max", (1, 1)):
        found = dv.DeconvNet(model, "gradient").project(x, "d", channel=[0, 1], position=position)
        expected = torch.stack([reference.unit(0, u.channel, u.position) for u in found.units])
        assert error(found.pixels, expected) < 1e-10
    assert error(dv.DeconvNet(model, "gradient").reconstruct(x, "d").pixels, reference.whole()) < 1e-10


class Moving(nn.Module):
    """Its batch axis swapped for time, behind or between others: nothing says so on the tape."""

    def __init__(self, kind):
        super().__init__()
        self.c, self.kind = nn.Conv2d(3, 4, 3).double(), kind
        self.lstm = nn.LSTM(4, 5).double()

    def forward(self, x):
        rows = self.c(x).mean(3).permute(2, 0, 1)  # (T, N, C)
        made, _ = self.lstm(rows)
        if self.kind == "time first":
            return made
        if self.kind == "time folded into the batch, time first":
            return made.flatten(0, 1)
        if self.kind == "time folded into the batch":
            return made.transpose(0, 1).flatten(0, 1)
        if self.kind == "batch in the middle":
            return made.unflatten(0, (2, 4)).transpose(1, 2).flatten(0, 2)
        return made.permute(2, 0, 1)


@pytest.mark.parametrize(
    "kind",
    [
        "time first",
        "time folded into the batch",
        "time folded into the batch, time first",
        "batch in the middle",
        "channels first",
    ],
)
def test_a_batch_axis_that_moves_is_followed(kind):
    torch.manual_seed(2)
    model, x = Moving(kind).eval(), images(3)
    net = dv.DeconvNet(model, "gradient")
    found = net.project(x, "output", channel=1)
    for n in range(3):
        alone = net.project(x[n : n + 1], "output", channel=1)
        assert torch.equal(found.pixels[n], alone.pixels[0])
    leaf = x.clone().requires_grad_()
    made = model(leaf)
    (expected,) = torch.autograd.grad(made, leaf, made.detach())
    assert error(net.reconstruct(x, "output").pixels, expected) < 1e-10


# Every operation that is said to keep samples apart


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def tried(function, x: torch.Tensor) -> bool:
    """Whether the library takes the samples of what a function makes for apart; asserts that they are, if so."""
    model = Around(lambda h: h)
    model.forward = function
    for style in ("gradient", "deconvnet"):
        tape = record(model, x, keep=keep_for(STYLES[style]), layers=["output"], opaque=opaque())
        layer = tape.layers["output"].value
        if layer.id not in samples_apart(tape, STYLES[style]):
            return False
        made = tape.data[layer.id]
        _agree_alone(tape, STYLES[style], layer, made)
    other = x.clone()
    other[1] = numbers(*x.shape[1:]) * 1.7 + 0.3
    torch.manual_seed(0)
    before = function(x)
    torch.manual_seed(0)
    after = function(other)
    rows = len(before) // len(x)
    changed = (before != after).flatten(1).any(1) if before.ndim > 1 else before != after
    assert not changed[:rows].any(), "the second sample changes the first"
    assert not changed[2 * rows :].any(), "the second sample changes the third"
    return True


def _agree_alone(tape, style, layer, made: torch.Tensor) -> None:
    """Units of several samples, some twice, sent back together and each alone."""
    if not made.is_floating_point():
        return
    count, rows, samples = tape.samples, len(made) // tape.samples, torch.tensor([3, 0, 3, 1, 2])
    signals = numbers(5, rows, *made.shape[1:]).abs()
    image = tape.inputs[0].id
    together = walk(tape, style, layer, signals.flatten(0, 1).clone(), samples, met=Met())[image]
    for unit, sample in enumerate(samples.tolist()):
        alone = torch.zeros_like(made).unflatten(0, (count, rows))
        alone[sample] = signals[unit]
        expected = walk(tape, style, layer, alone.flatten(0, 1), None, met=Met())[image]
        others = [n for n in range(count) if n != sample]
        assert not expected[others].any(), "a signal meets other samples"
        assert torch.allclose(together[unit], expected[sample], rtol=1e-9, atol=1e-12)


SQUARE = (4, 4, 4, 4)  # so that one axis can be taken for another
SCOPE = {
    "torch": torch,
    "F": F,
    "kernel": numbers(4, 4, 3, 3),
    "matrix": numbers(4, 4),
    "row": numbers(4),
    "stacked": numbers(12, 4),
    "fixed": numbers(*SQUARE),
    "mask": numbers(*SQUARE) > 0,
    "one": torch.zeros(1, 1, 4, 4, dtype=torch.long),
    "index": torch.randint(4, SQUARE, generator=torch.Generator().manual_seed(1)),
    "places": torch.tensor([2, 0, 3]),
}

# x and y depend on the samples, each row on its own; both are (4, 4, 4, 4).
APART = """
x.sum(1) | x.mean((1, 2)) | x.prod(2) | x.std(1) | x.var((1, 3)) | x.nansum(3) | x.logsumexp(1) | x.norm(dim=1)
x.amax((2, 3)) | x.amin(1) | torch.linalg.vector_norm(x, dim=1) | torch.aminmax(x, dim=1).max
torch.std_mean(x, 1)[0] | torch.var_mean(x, 1)[1] | x.max(1)[0] | x.min(2)[0] | x.median(1)[0] | x.nanmedian(1)[0]
x.mode(1)[0] | x.kthvalue(2, 1)[0] | x.sort(1)[0] | x.topk(2, 1)[0] | x.cumsum(1) | x.cumprod(1) | x.cummax(1)[0]
x.cummin(1)[0] | x.logcumsumexp(1) | x.softmax(1) | x.log_softmax(-1) | F.glu(x, 1) | x.flip(1) | x.roll(1, 1)
x.rot90(1, (1, 2)) | x.transpose(1, 2) | x.diagonal(0, 1, 2) | x.unfold(1, 2, 1)
torch.cross(x[:, :3], y[:, :3], dim=1) | x.select(1, 0) | x[:, 1:3] | torch.cat(x.split(1, 1)[1:], 1)
torch.cat(x.split([1, 3], 2), 2) | torch.stack(x.unbind(1)[::-1], 1) | torch.cat([x, y], 1) | torch.cat([x, fixed], 2)
torch.stack([x, y], 1) | x.gather(1, index) | x.scatter(1, index, y) | x.scatter(1, index, fixed)
x.scatter_add(2, index, y) | x.scatter_reduce(1, index, y, "amax") | x.index_select(1, places)
x.index_add(1, places, y[:, :3]) | x.index_copy(1, places, y[:, 1:]) | x.index_fill(1, places, 0.5) | x[:, places]
x.slice_scatter(y[:, :2], 1, 2) | x.select_scatter(y[:, 0], 1, 2) | x.diagonal_scatter(y[:, 0], 0, 2, 3)
torch.fft.rfft(x).real | torch.fft.irfft(torch.fft.fft(x)) | torch.fft.ifft(torch.fft.fft2(x)).imag | x + y | x * y
x / (y + 9) | x * fixed | fixed - x | x.maximum(y) | torch.where(mask, x, y) | torch.lerp(x, y, 0.3)
torch.lerp(x, y, fixed.sigmoid()) | x.clamp(-0.5, 0.5) | x.masked_fill(mask, 0.5) | torch.atan2(x, y)
torch.addcmul(x, y, fixed) | x**3 | x.abs().pow(y) | torch.hypot(x, y) | x.erf() | x * x.mean((1, 2, 3), keepdim=True)
x.mul(row) | x.sub(y, alpha=2) | torch.copysign(x, y) | x.remainder(0.7) | torch.special.xlog1py(y.abs(), x.abs())
F.conv2d(x, kernel) | F.conv_transpose2d(x, kernel) | F.conv2d(x, kernel[:, :1], groups=4)
F.conv1d(x[:, 0], kernel[..., 0]) | F.linear(x, matrix, row) | F.linear(x[:, 0, 0], matrix) | x[:, 0, 0] @ matrix
torch.addmm(row, x[:, 0, 0], matrix) | torch.addmm(matrix, x[:, 0, 0], matrix) | torch.bmm(x[:, 0], y[:, 0])
torch.bmm(x[:, 0], fixed[0]) | x @ y | torch.baddbmm(x[:, 1], x[:, 0], y[:, 0]) | x[:, 0].tril() | x.view(4, -1)
x.reshape(-1, 4, 4) * 2 | F.group_norm(x, 2) | F.group_norm(x, 2, row, row) | F.layer_norm(x, (4, 4))
F.layer_norm(x, (4,), row) | F.instance_norm(x.abs()) | F.local_response_norm(x, 2) | F.batch_norm(x, row, row.abs())
F.max_pool2d(x, 2) | F.avg_pool2d(x, 2) | F.adaptive_avg_pool2d(x, 2) | F.adaptive_max_pool2d(x, 2)
F.interpolate(x, 7) | F.interpolate(x, scale_factor=2, mode="bilinear") | F.pad(x, (1, 1, 1, 1))
F.pad(x, (1, 1, 1, 1), "reflect") | F.pixel_shuffle(x, 2) | F.unfold(x, 2)
F.fold(x.flatten(2).transpose(1, 2)[:, :16, :4], (4, 4), 2, stride=2)[:, :4] | F.relu(x) | F.gelu(x) | F.prelu(x, row)
F.rrelu(x) | F.elu(x) | F.softplus(x) | F.scaled_dot_product_attention(x, y, x)
F.scaled_dot_product_attention(x, x, y, attn_mask=x) | F.dropout(x, 0.5, True) | torch.native_dropout(x, 0.3, True)[0]
x.permute(0, 2, 3, 1) | x.expand(4, 4, 4, 4) | x.detach() + x | x.float().double() | x.clone() | x.squeeze()
x.unsqueeze(1)
"""
# What of these would pass for apart by the names of its arguments, or where one axis is as long as another.
PERHAPS = """
F.conv2d(x, x[:, :, 1:3, 1:3]) | F.conv2d(x, kernel, x.mean((1, 2, 3))) | F.conv_transpose2d(x, y)
F.linear(x, x[:, 0, 0]) | F.linear(x, matrix, x.mean((1, 2, 3))) | F.linear(x[:, 0, 0], x[:, 0, 0])
x[:, 0, 0] @ x[:, 0, 0] | x[:, 0, 0] @ y[:, 1, 1] | x[:, 0, 0].t() @ y[:, 0, 0] | matrix @ x[:, 0, 0]
x.addcmul(y, y.sum(0)) | torch.addmm(x[:, 0, 0], y[:, 0, 0], matrix) | torch.addmm(x[:, 0, 0], matrix, matrix)
torch.addmm(x[0, 0, 0], y[:, 0, 0], matrix) | torch.baddbmm(x[:, 0], fixed[0], fixed[1])
F.group_norm(x, 2, x.mean((1, 2, 3))) | F.instance_norm(x, weight=x.mean((1, 2, 3)))
F.layer_norm(x, (4,), x.mean((1, 2, 3))) | F.batch_norm(x, x.mean((1, 2, 3)), row.abs())
F.batch_norm(x, None, None, training=True) | torch.renorm(x, 2, 1, 0.5) | torch.renorm(x, 2, 0, 0.5)
torch._weight_norm(x, y.mean((0, 2, 3), keepdim=True), 1) | torch._weight_norm(x, x.mean((1, 2, 3), keepdim=True), 0)
torch.unique(x.round(), dim=1).sum() * x | x.gather(1, one) | x.scatter(1, one, y) | x.scatter_add(1, one, y)
x.gather(1, index[:2]) | x.scatter(1, index[:2], y) | x.gather(0, index) | x.scatter(0, index, y)
x.index_select(0, places) | x.index_add(0, places, y[:3]) | x.index_copy(0, places, y[1:])
x.index_fill(0, places[:1], 0.5) | x.sum() * x | x.sum(0) + x | x.mean() - x | x.max() - x | x.cumsum(0)
x.softmax(0) | x.flip(0) | x.roll(1) | x.roll(1, 0) | x.sort(0)[0] | x.topk(4, 0)[0] | x.transpose(0, 1) * 2
x.rot90(1, (0, 1)) | x.diagonal() | x.unfold(0, 4, 4) | torch.diag_embed(x[:, 0, 0], 0, 0, 1)
torch.diag_embed(x[:, 0, 0], 0, -3, 1) | torch.diag_embed(x[:, 0, 0]) | torch.cross(x[:3], y[:3], dim=0)
x.select(0, 1) + x | x[:2] | x[1:] | torch.cat([x, y], 0) | torch.stack([x, y]) | x.masked_scatter(mask, y)
x.put(places, y[0, 0, 0, :3]) | x.take(index) | x[places] | x[index[:, 0, 0, 0]] | x[:, 0][mask[:, 0, 0, 0]]
x[mask][:64].view(4, 4, 4) | torch.fft.fft(x, dim=0).real | torch.fft.fftn(x).real | x.permute(1, 0, 2, 3) * 2
x.view(2, 2, 4, 4, 4).transpose(0, 1).reshape(4, 4, 4, 4) | x.repeat(2, 1, 1, 1) | x.mT.mT * x.mean(0)
F.scaled_dot_product_attention(x[0], x[0], x[0]) * x | F.scaled_dot_product_attention(x, x, y, attn_mask=x[:, 0, 0])
F.scaled_dot_product_attention(x, y, x, dropout_p=0.4)
F.multi_head_attention_forward(x[:, 0], x[:, 0], x[:, 0], 4, 2, stacked, None, None, None, False, 0.0, matrix, None)[0]
torch.einsum("nchw,mchw->nchw", x, y) | torch.einsum("nchw,cnhw->nchw", x, y) | torch.kron(x, x[:1])
torch.tensordot(x, y, ([1, 2, 3], [1, 2, 3])) @ matrix | x.flatten() * 2 | x.reshape(8, 2, 4, 4) * 2
x[:, 0, 0].mv(row) | x[:, 0, 0].mv(x[0, 0, 0]) | torch.linalg.inv(x + 9 * torch.eye(4)) | torch.cdist(x, y)
torch.cdist(x[:, 0, 0], y[:, 0, 0]) | x[:, 0, 0].cov() | F.embedding((x > 0).long(), matrix)
torch.bmm(x[:, 0], y[0]) | F.pad(x, (0, 0, 0, 0, 0, 0, 1, 0)) | F.rrelu(x, training=True) | F.avg_pool2d(x[:, 0], 2)
F.max_pool2d(x[:, 0], 2) | F.pixel_shuffle(x[0], 2) | F.interpolate(x[:, 0], 7) | F.group_norm(x[:, 0], 2)
F.conv2d(x[:, 0], kernel[:, :, :1, :1]) | F.unfold(x[:, 0], 2)
"""


def statements(text: str) -> list[str]:
    return [part.strip() for line in text.strip().splitlines() for part in line.split(" | ")]


def evaluated(statement: str):
    def function(x: torch.Tensor) -> torch.Tensor:
        return eval(statement, SCOPE, {"x": x, "y": x.flip(3) * 0.7 + x.mean((1, 2, 3), keepdim=True)})

    return function


@pytest.mark.parametrize("statement", statements(APART))
def test_operations_that_keep_samples_apart_are_known_to(statement):
    assert tried(evaluated(statement), numbers(*SQUARE))


@pytest.mark.parametrize("statement", statements(PERHAPS))
def test_operations_that_are_taken_to_keep_samples_apart_do(statement):
    tried(evaluated(statement), numbers(*SQUARE))


class InTypes(nn.Module):
    """A network in double precision that multiplies in another type."""

    def __init__(self, dtype):
        super().__init__()
        self.c, self.d, self.dtype = nn.Conv2d(3, 4, 3).double(), nn.Conv2d(4, 2, 1).double(), dtype

    def forward(self, x):
        h = self.c(x)
        return self.d((h.to(self.dtype) * h.to(self.dtype)).double())


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-9), (torch.float32, 1e-4), (torch.float16, 1e-2)])
def test_rounding_is_that_of_the_narrowest_type_on_the_way(dtype, rounding):
    """A sample alone may differ from itself in a batch by so much, and not by a hundred times as much."""
    trace = dv.DeconvNet(InTypes(dtype), "gradient").trace(images(3), "d")
    batch = trace.activations["d"]
    check_alone(trace.tape, "d", batch, batch[:1] * (1 + rounding), 0)
    with pytest.raises(InputError, match=ALONE):
        check_alone(trace.tape, "d", batch, batch[:1] * (1 + 100 * rounding), 0)
