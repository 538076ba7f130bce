"""Filters as in Zeiler and Fergus (Section 4.1, Figure 6): their size and spatial frequencies.

>>> import torch
>>> filter_rms(torch.tensor([[[3.0, 4.0]], [[0.0, 1.0]]])).tolist()
[3.5355..., 0.7071...]
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from deconvviz.arguments import MODULE, NUMBER, takes
from deconvviz.errors import InputError
from deconvviz.io.restoring import Restored
from deconvviz.recording.layer_names import Layers, check_layers, layer_names
from deconvviz.recording.placement import where_double

BANDS = (0.15, 0.35)  # cycles per pixel: below is low, above is high; 0.5 is the highest there is
FILTERED = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@takes(model=MODULE, limit=NUMBER)
def clip_filter_rms_(model: nn.Module, limit: float = 0.1, *, layers: Layers = None) -> int:
    """Scale filters whose RMS exceeds `limit` back to it, in place, as Zeiler and Fergus did during training.

    A filter is all weights of one output channel. Call this after each optimiser step. The paper's limit of 0.1 assumes
    inputs in about [-128, 128]; smaller inputs need larger filters.

    Args:
        model: The model.
        limit: The largest RMS.
        layers: Convolutions, by name or as modules; None for all.

    Returns:
        The number of clipped filters.

    Raises:
        InputError: If the limit is not above zero, or a layer is not a convolution or computes its weights from others.
        UnknownLayerError: If a layer does not exist.

    Example:
        >>> layer = nn.Conv2d(1, 2, (1, 2))
        >>> layer.weight.data = torch.tensor([[[[3.0, 4.0]]], [[[0.5, 0.5]]]])
        >>> clip_filter_rms_(layer, limit=1.0), layer.weight.flatten(1).tolist()
        (1, [[0.8485..., 1.1313...], [0.5, 0.5]])
    """
    if not limit > 0:
        raise InputError(f"the limit of a filter's RMS is above zero, not {limit}")
    modules = dict(model.named_modules())
    if layers is None:
        chosen = {name: module for name, module in modules.items() if isinstance(module, FILTERED)}
    else:
        modules.setdefault("output", model)
        names = layer_names(layers, model) or []
        check_layers(names, modules, model)
        chosen = {name: modules[name] for name in names}
    clipped = 0
    for name, module in chosen.items():
        if not isinstance(module, FILTERED):
            raise InputError(f"layer {name!r} is a {type(module).__name__}; only filters of convolutions are clipped")
        if is_parametrized(module, "weight"):
            raise InputError(f"layer {name!r} computes its filters from other weights, so they cannot be clipped")
        with Restored(torch.no_grad()):
            rms = filter_rms(module.weight)
            over = rms > limit
            factors = torch.where(over, limit / rms, torch.ones_like(rms))
            module.weight.mul_(factors.view(-1, *[1] * (module.weight.ndim - 1)))
            clipped += int(over.sum())
    return clipped


def filter_rms(weight: Tensor) -> Tensor:
    """sqrt(mean w²) of each filter: (out,) from weights (out, in, ...)."""
    return weight.detach().flatten(1).square().mean(1).sqrt()


def frequency_bands(weight: Tensor) -> Tensor:
    """The shares of each filter's energy in low, middle and high spatial frequencies: (out, 3) from (out, in, *size).

    They come from the discrete Fourier transform of each filter over its own size, with the energy summed over input
    channels, at the frequency sqrt(sum f_i²) in cycles per pixel: low below 0.15, high above 0.35. By Parseval's
    theorem the shares sum to one; NaN for a zero filter.
    """
    energy = (
        torch.fft.fftn(where_double(weight.detach()).double(), dim=tuple(range(2, weight.ndim))).abs().square().sum(1)
    )
    band = _frequency_band(weight.shape[2:]).to(energy.device)
    shares = torch.stack([(energy * (band == number)).flatten(1).sum(1) for number in range(3)], 1)
    return shares / shares.sum(1, keepdim=True)


def bands_of_noise(size: Sequence[int]) -> Tensor:
    """What `frequency_bands` of white noise is on average, (3,): the share of frequencies in each band."""
    return torch.bincount(_frequency_band(size).flatten(), minlength=3).double() / torch.Size(size).numel()


def _frequency_band(size: Sequence[int]) -> Tensor:
    squares = [torch.fft.fftfreq(length, dtype=torch.float64).square() for length in size]
    radius = sum(frequency.view(-1, *[1] * (len(size) - 1 - axis)) for axis, frequency in enumerate(squares))
    assert isinstance(radius, Tensor)
    return torch.bucketize(radius.sqrt(), torch.tensor(BANDS, dtype=torch.float64))


def aliased_energy(maps: Tensor, stride: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The energy of maps (N, C, *size) that a stride cannot represent, and the total energy, (C,) each.

    Each map, without its mean and under a Hann window (so that its borders add no frequencies), is Fourier transformed
    to M. Taking every s_i-th position along axis i folds frequencies above 1 / (2 s_i) cycles per position onto lower
    ones, where they cannot be distinguished:

        above = sum of abs(M(f))² over f with abs(f_i) > 1 / (2 s_i) for any i,    all = sum of abs(M(f))² over all f

    A sinusoid that fits the map and is more than one frequency step away from the limit gives exactly 0 or 1. White
    noise gives 1 - 1 / (s_1 s_2).
    """
    size = maps.shape[2:]
    axes = tuple(range(2, maps.ndim))
    window, above = torch.ones((), device=maps.device), torch.zeros(size, dtype=torch.bool, device=maps.device)
    for axis, (length, step) in enumerate(zip(size, stride, strict=True)):
        along = [-1, *[1] * (len(size) - 1 - axis)]
        window = window * torch.hann_window(length, device=maps.device).view(along)
        above = above | (torch.fft.fftfreq(length, device=maps.device).abs() > 0.5 / step).view(along)
    energy = torch.fft.fftn((maps.float() - maps.float().mean(axes, keepdim=True)) * window, dim=axes).abs().square()
    energy = where_double(energy).double().sum(0)
    return (energy * above.to(energy.device)).flatten(1).sum(1), energy.flatten(1).sum(1)
