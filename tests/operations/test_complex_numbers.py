"""Complex numbers on the way: pictures against central finite differences, which know nothing of conjugates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.recording.aliasing import StorageLayout, overwritten, reread

_generator = torch.Generator().manual_seed(3)


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=_generator)


MATRIX, BATCH, VECTOR, FILTERS, OTHER = (
    numbers(6, 6),
    numbers(2, 6, 6),
    numbers(6),
    numbers(2, 2, 1, 1),
    numbers(2, 6, 6),
)
TURNED = torch.tensor(1 + 0.5j, dtype=torch.complex128)  # so that no part of a number is zero
MASK = torch.rand(6, 6, generator=_generator) > 0.5
LINEAR = nn.Linear(6, 6, dtype=torch.complex128)
CONVOLUTION = nn.Conv2d(2, 2, 3, padding=1, dtype=torch.complex128)
TRANSPOSED = nn.ConvTranspose2d(2, 2, 3, padding=1, dtype=torch.complex128)


def written(place: Callable[[Tensor], Tensor], write: Callable[[Tensor], object]) -> Callable[[Tensor], Tensor]:
    """Something is written through a view; what it is a view of is read."""

    def function(z: Tensor) -> Tensor:
        held = z * 1
        write(place(held))
        return held * held

    return function


def filled(z: Tensor, constant: Tensor, place: Callable[[Tensor], Tensor], part: Tensor) -> Tensor:
    place(constant).copy_(part)
    return constant * 2j


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear layer": lambda z: LINEAR(z),
    "convolution": lambda z: CONVOLUTION(z),
    "transposed convolution": lambda z: TRANSPOSED(z),
    "imaginary unit": lambda z: 1j * z,
    "number": lambda z: z * (2 - 3j),
    "divided by a number": lambda z: z / (2 - 3j),
    "number over it": lambda z: (2 - 3j) / z,
    "number minus it": lambda z: 1j - z,
    "real number": lambda z: z * 2.5 + 1,
    "tensor of no dimensions": lambda z: z * torch.tensor(1j),
    "divided by a tensor": lambda z: z / OTHER,
    "real times imaginary": lambda z: z.real * 1j + z.imag * (2 + 1j),
    "real divided by a complex": lambda z: z.real / OTHER,
    "add, alpha": lambda z: torch.add(z, z.flip(2), alpha=1j),
    "sub, alpha": lambda z: torch.sub(z, z.flip(2), alpha=2 - 1j),
    "rsub, alpha": lambda z: torch.rsub(z, z.flip(2), alpha=2 - 1j),
    "real plus complex": lambda z: z.real + OTHER + z * 1j,
    "in place": lambda z: (z * 1).mul_(2j).div_(1 + 1j).add_(z, alpha=1j).sub_(z.flip(2), alpha=3j),
    "power spectrum": lambda z: z * z.conj(),
    "power spectrum, conjugate first": lambda z: z.conj() * z,
    "half its conjugate": lambda z: z + z.conj() * 0.5,
    "conjugate unused": lambda z: (z.conj(), z * 2)[1],
    "conjugate alone": lambda z: z.conj() * 2j,
    "conjugate twice": lambda z: z.conj().conj() * 2j + z.conj(),
    "conjugate resolved": lambda z: z.conj().resolve_conj() + z,
    "conjugate in memory": lambda z: torch.conj_physical(z) * 2j + z,
    "negative view": lambda z: z.conj().imag * 2 + z.imag,
    "negative view resolved": lambda z: z.conj().imag.resolve_neg() * 2 + z.imag,
    "adjoint matrix": lambda z: z @ z.mH,
    "adjoint of both": lambda z: z.adjoint() @ z.conj(),
    "matrix": lambda z: z @ MATRIX,
    "matrix from the left": lambda z: MATRIX.mH @ z,
    "conjugate matrix": lambda z: z.conj() @ z.mT,
    "mm": lambda z: torch.mm(z[0, 0], MATRIX)[None, None],
    "addmm": lambda z: torch.addmm(z[0, 1], z[0, 0], MATRIX, alpha=2j, beta=1 - 1j)[None, None],
    "bmm": lambda z: torch.bmm(z[0], BATCH)[None],
    "baddbmm": lambda z: torch.baddbmm(z[0], z[0], BATCH, alpha=2j, beta=1 - 1j)[None],
    "baddbmm, a constant added": lambda z: torch.baddbmm(BATCH, z[0], BATCH, alpha=2j)[None],
    "addbmm": lambda z: torch.addbmm(MATRIX, z[0], BATCH, alpha=2j)[None, None],
    "vector": lambda z: z @ VECTOR,
    "vdot": lambda z: torch.vdot(z[0, 0, 0], VECTOR).expand(1, 2, 6, 6) * z,
    "dot": lambda z: torch.dot(z[0, 0, 0], VECTOR).expand(1, 2, 6, 6) * 1j,
    "outer": lambda z: torch.outer(z[0, 0, 0], z[0, 1, 1].conj())[None, None],
    "einsum": lambda z: torch.einsum("nchw,nchv->ncwv", z, z.conj()),
    "addcmul": lambda z: torch.addcmul(z, z.flip(2), OTHER, value=2j),
    "addcdiv": lambda z: torch.addcdiv(z, z.flip(2), OTHER, value=2j),
    "lerp": lambda z: torch.lerp(z, z.flip(2), 0.3),
    "lerp by complex weights": lambda z: torch.lerp(z, z.flip(2), OTHER),
    "where": lambda z: torch.where(z.real > 0, z, z.conj()),
    "masked_fill": lambda z: z.masked_fill(MASK, 1j) * 1j,
    "cumsum": lambda z: z.cumsum(2) * 1j,
    "cumprod": lambda z: z.cumprod(2),
    "prod": lambda z: z.prod(1, keepdim=True),
    "square": lambda z: z**2,
    "complex power": lambda z: z ** (1 + 1j),
    "reciprocal": lambda z: z.reciprocal(),
    "functions": lambda z: z.exp() + z.sin() + z.tanh() + (z + 3).sqrt() + z.sigmoid() + (z + 9).log(),
    "absolute value": lambda z: z.abs() ** 2,
    "angle": lambda z: z.angle(),
    "sign": lambda z: z.sgn(),
    "norm": lambda z: z / z.norm(dim=1, keepdim=True),
    "mean": lambda z: z - z.mean() + z.sum(1, keepdim=True) * 1j,
    "variance": lambda z: z.var(1, keepdim=True) * z,
    "polar": lambda z: torch.polar(z.abs(), z.angle() * 2),
    "softmax of absolute values": lambda z: z * z.abs().softmax(-1),
    "parts": lambda z: torch.complex(z.real.tanh(), z.imag.tanh()),
    "parts as an axis": lambda z: torch.view_as_real(z * 1j).sum(-1),
    "axis as parts": lambda z: torch.view_as_complex(torch.view_as_real(z).flip(-1) * 2),
    "to real": lambda z: (z * 1j).real.to(torch.complex64).to(torch.complex128) * 0 + z.real.to(torch.complex128) * 1j,
    "rolled": lambda z: z + z.flip(-1).roll(1, -1).conj(),
    "Fourier, conjugate": lambda z: torch.fft.fft(z.conj()).conj(),
    "Fourier, halves": lambda z: torch.fft.hfft(z) + torch.fft.irfft(torch.fft.rfft(z.real, n=10) * 2j, n=10),
    "autocorrelation": lambda z: torch.fft.ifft(z * z.conj()).real,
    "stacked": lambda z: torch.stack([z, z.conj() * 1j], -1).flatten(3),
    "gathered": lambda z: z.gather(3, torch.zeros(1, 2, 6, 3, dtype=torch.long)) * 1j,
    "padded": lambda z: F.pad(z, (1, 0), value=2.0) * 1j,
    "real part written": written(lambda h: h.real, lambda part: part.mul_(2)),
    "imaginary part written": written(lambda h: h.imag[:, :, 1:3], lambda part: part.copy_(part.sin())),
    "imaginary part made": written(lambda h: h.imag, lambda part: part.copy_(part.flip(3).clone())),
    "conjugate written": written(lambda h: h.conj(), lambda part: part.mul_(2j)),
    "conjugate of a part written": written(lambda h: h[:, :, 1:3].conj(), lambda part: part.mul_(2j)),
    "negative part written": written(lambda h: h.conj().imag, lambda part: part.mul_(3)),
    "row written": written(lambda h: h[:, :, 0], lambda row: row.fill_(1j)),
    "row copied": written(lambda h: h[:, :, 0], lambda row: row.copy_(row.conj() * 2)),
    "index_put": written(lambda h: h, lambda h: h.index_put_((torch.tensor(0), torch.tensor(1)), h[0, 0] * 1j)),
    "constant filled in part": lambda z: filled(
        z, torch.zeros_like(OTHER)[None], lambda c: c[..., :3], z[..., :3] * 2j
    ),
    "constant's real part filled": lambda z: filled(z, OTHER.clone()[None], lambda c: c.real, z.imag),
    "constant's parts filled": lambda z: filled(z, OTHER.clone()[None], torch.view_as_real, torch.view_as_real(z)),
    "real copied into complex": lambda z: filled(z, OTHER.clone()[None], lambda c: c[:, 1:], z[:, 1:].real),
}


class Spectral(nn.Module):
    """Real pixels, complex numbers, real units."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.function = nn.Conv2d(1, 2, 3, dtype=torch.float64), function

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(torch.fft.fft(self.convolution(x)) * TURNED)
        return y.real + 0.3 * y.imag if y.is_complex() else y


def slopes(model: nn.Module, x: Tensor, unit: tuple[int, ...], directions: Tensor) -> Tensor:
    """How a unit changes along some directions, by central differences."""
    with torch.no_grad():
        return torch.stack([(model(x + 1e-5 * v)[unit] - model(x - 1e-5 * v)[unit]) / 2e-5 for v in directions])


def unit_of(made: Tensor) -> tuple[int, ...]:
    return tuple(min(index, size - 1) for index, size in zip((0, 1, 2, 1), made.shape, strict=False))


@pytest.mark.parametrize("name", CASES)
def test_complex_numbers(name):
    model = Spectral(CASES[name]).eval()
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        unit = unit_of(model(x))
    directions = torch.randn(4, *x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    expected = slopes(model, x, unit, directions)
    net = dv.DeconvNet(model, "gradient")
    pixels = net.project(x, "output", channel=unit[1], position=unit[2:] or None, seed="one").pixels
    found = (pixels * directions[:, 0]).flatten(1).sum(1)
    assert expected.norm() > 0
    assert (found - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize("name", ["linear layer", "number", "power spectrum", "real part written", "axis as parts"])
@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
def test_units_of_a_batch_as_alone(name, style):
    model = Spectral(lambda z: CASES[name](z.real.relu() + 1j * z.imag)).eval()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    net = dv.DeconvNet(model, style)
    together = net.project(x, "output", channel=[0, 1])
    for n in range(3):
        alone = net.project(x[n : n + 1], "output", channel=[0, 1])
        assert torch.allclose(together.pixels[2 * n : 2 * n + 2], alone.pixels, rtol=1e-10, atol=1e-12)


def test_units_of_a_complex_layer():
    """The seed is a complex activation; its picture is what the activation's square changes by, halved."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, dtype=torch.complex128), nn.Identity())
    x = torch.randn(1, 1, 6, 6, dtype=torch.complex128)
    pixels = dv.DeconvNet(model, "gradient").project(x, "1", channel=1, position=(2, 1)).pixels
    step, v = 1e-6, torch.randn_like(x)
    with torch.no_grad():
        slope = (model(x + step * v)[0, 1, 2, 1].abs() ** 2 - model(x - step * v)[0, 1, 2, 1].abs() ** 2) / (2 * step)
    assert torch.isclose((pixels.conj() * v).real.sum(), slope / 2, rtol=1e-6)


def test_a_storage_read_by_its_parts_and_conjugates():
    z = numbers(3, 4)
    root = StorageLayout.of(z)
    for view in (z.real, z.imag[:, 1:], z.conj(), z.conj().imag, torch.view_as_real(z)[1], z.mH, z[:, 2].conj()):
        assert torch.equal(reread(z, root, StorageLayout.of(view)), view)
    for place in (lambda t: t.real, lambda t: t.conj()[1:], lambda t: t.conj().imag, torch.view_as_real):
        after = z.clone()
        view = place(after)
        part = torch.randn(view.shape, dtype=view.dtype, generator=_generator)
        view.copy_(part)
        assert torch.equal(overwritten(z, part, root, StorageLayout.of(view)), after)
    assert torch.equal(reread(torch.view_as_real(z), StorageLayout.of(torch.view_as_real(z)), root), z)
