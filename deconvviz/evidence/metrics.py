"""Similarity of two pictures.

Signed pictures are compared by their cosine, which is zero for pictures that have nothing to do with each other. Where
pixels are ranked, a *heatmap* is the absolute attribution summed over channels, divided by its maximum. SSIM, rank
correlation and edges come from scikit-image and SciPy.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.errors import DependencyError

FieldRanges = tuple[
    tuple[int, int], ...
]  # per spatial axis first pixel and one past the last, as `Projection.receptive_fields`
WINDOW = 7  # pixels of SSIM's window


def library(name: str) -> Any:
    """Import a module of scikit-image or SciPy. Raises DependencyError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"evidence compares pictures with scikit-image, and {name!r} cannot be imported ({error}); "
            "install it with: pip install scikit-image scipy"
        ) from error


def heatmap(pixels: Tensor) -> Tensor:
    """Heatmaps (N, H, W) in [0, 1] of attributions (N, C, H, W): absolute sums over channels, over their maximum."""
    strength = pixels.detach().cpu().double().abs().sum(1)
    largest = strength.flatten(1).amax(1).view(-1, *[1] * (strength.ndim - 1))
    return strength / largest.clamp(min=torch.finfo(torch.float64).tiny)


def cut(heat: Tensor, box: FieldRanges | None) -> Tensor:
    """The part of a heatmap (H, W) inside a box. Outside the receptive field every picture is zero."""
    return heat if box is None else heat[tuple(slice(first, last) for first, last in box)]


def cosine(a: Tensor, b: Tensor) -> float:
    """The cosine of two signed pictures of one shape, in [-1, 1]; NaN if one of them is zero.

    Example:
        >>> cosine(torch.tensor([0.0, 1.0]), torch.tensor([0.0, -2.0])), cosine(torch.ones(2), torch.zeros(2))
        (-1.0, nan)
    """
    first, second = (_unit_length(picture) for picture in (a, b))
    return float(first @ second) if first.any() and second.any() else float("nan")


def _unit_length(picture: Tensor) -> Tensor:
    """A picture's numbers, of length one in float64; zeros stay zeros."""
    flat = picture.detach().cpu().double().flatten()
    flat = flat / flat.abs().max().clamp(min=torch.finfo(flat.dtype).tiny) if flat.numel() else flat
    return torch.nn.functional.normalize(flat, dim=0)


def blank(heat: Tensor) -> bool:
    """Whether a heatmap is constant, as for an empty picture."""
    return not heat.numel() or bool(heat.min() == heat.max())


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two heatmaps, in [-1, 1]; ties get their mean rank. NaN if one of them is blank."""
    if blank(a) or blank(b):
        return float("nan")
    first, second = (heat.flatten().numpy() for heat in (a, b))
    return float(library("scipy.stats").spearmanr(first, second).statistic)


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two heatmaps in [0, 1], with windows of at most 7 pixels.

    NaN if one of them is blank or too small.
    """
    metrics = library("skimage.metrics")
    side = min(WINDOW, *a.shape)
    size = side - (side + 1) % 2
    if size < 3 or blank(a) or blank(b):
        return float("nan")
    return float(metrics.structural_similarity(a.numpy(), b.numpy(), data_range=1.0, win_size=size))


def overlap(a: Tensor, b: Tensor, share: float = 0.1) -> float:
    """The share of the strongest pixels that two heatmaps have in common, in [0, 1]. NaN if one of them is blank."""
    if blank(a) or blank(b):
        return float("nan")
    count = max(1, round(share * a.numel()))
    first, second = (set(heat.flatten().topk(count).indices.tolist()) for heat in (a, b))
    return len(first & second) / count


def edges(images: Tensor) -> Tensor:
    """The edge-detector baseline: Sobel magnitude of the mean over channels, (N, 1, H, W)."""
    sobel = library("skimage.filters").sobel
    grey = images.detach().cpu().double().mean(1).numpy()
    return torch.from_numpy(np.stack([sobel(image) for image in grey]))[:, None]


def mean_of_known(values: Sequence[float]) -> float:
    """The mean without NaN; NaN if there are no other values."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def enough(judged: int, asked: int) -> bool:
    """Whether at least half of the requested images could be scored.

    Example:
        >>> enough(5, 10), enough(4, 10), enough(0, 0)
        (True, False, False)
    """
    return judged > 0 and 2 * judged >= asked
