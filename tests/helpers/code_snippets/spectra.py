"""Complex numbers, spectra and sound."""

# ruff: noqa: PLC3002

from __future__ import annotations

import torch

from tests.helpers.code_snippets.common import PLANE, ROW, Snippet

CODE: dict[str, Snippet] = {
    "fft filter": lambda h: torch.fft.ifft2(torch.fft.fft2(h) * PLANE).real,
    "rfft and irfft": lambda h: torch.fft.irfft2(torch.fft.rfft2(h) * PLANE[:, :4], s=h.shape[2:]),
    "fft magnitude": lambda h: torch.fft.fft2(h).abs(),
    "fft of an axis": lambda h: torch.fft.fft(h, dim=2).imag + torch.fft.fftshift(h, 3),
    "hfft": lambda h: torch.fft.hfft(h)[..., :6],
    "fftn by default": lambda h: torch.fft.fft2(h).real * torch.fft.fftfreq(6, dtype=h.dtype),
    "view_as_complex": lambda h: (
        torch.view_as_real(torch.view_as_complex(h.unflatten(1, (2, 2)).movedim(2, -1).contiguous()))
        .movedim(-1, 2)
        .flatten(1, 2)
    ),
    "torch.complex": lambda h: torch.complex(h, h.flip(2)).abs(),
    "torch.polar": lambda h: torch.polar(h.abs() + 1, h).real,
    "angle": lambda h: torch.angle(torch.complex(h, h.flip(2) + 3)),
    "z.real": lambda h: (lambda z: z.real * 2 + z.imag)(torch.fft.fft(h)),
    "z.real.mul_": lambda h: (lambda z: (z.real.mul_(2), z)[1].abs())(torch.fft.fft(h)),
    "z.imag += 1": lambda h: (lambda z: (z.imag.add_(h), z)[1].abs())(torch.fft.fft(h)),
    "z[..., 0] = 0": lambda h: (lambda z: (z[..., 0].zero_(), torch.fft.ifft(z).real)[1])(torch.fft.fft(h)),
    "stft": lambda h: (
        torch.stft(h.flatten(0, 1).flatten(1), 16, 8, window=torch.hann_window(16, dtype=h.dtype), return_complex=True)
        .abs()
        .reshape(len(h), 4, 9, 7)
    ),
    "istft": lambda h: torch.istft(
        torch.stft(h.flatten(0, 1).flatten(1), 16, 4, window=torch.hann_window(16, dtype=h.dtype), return_complex=True),
        16,
        4,
        window=torch.hann_window(16, dtype=h.dtype),
        length=48,
    ).reshape(h.shape),
    "rotary embedding": lambda h: torch.view_as_real(
        torch.view_as_complex(h.unflatten(3, (3, 2)).contiguous()) * torch.polar(torch.ones(3, dtype=h.dtype), ROW[:3])
    ).flatten(3),
}
