"""Similarity of two pictures, and the confidence of a mean over images.

Pictures of all methods are compared on one scale: a *heatmap* is the absolute attribution summed over channels, divided
by its maximum. SSIM, rank correlation, edges and the bootstrap come from scikit-image and SciPy.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.errors import DependencyError
from deconvviz.intervals import CONFIDENCE

FieldRanges = tuple[
    tuple[int, int], ...
]  # per spatial axis first pixel and one past the last, as `Projection.receptive_fields`
FEWEST_IMAGES = (
    6  # images for such an interval: by chance all 5 of 5 lie above zero once in 32 times, 6 of 6 once in 64
)
RESAMPLES = 2000
WINDOW = 7  # pixels of SSIM's window


def library(name: str) -> Any:
    """Import a module of scikit-image or SciPy. Raises DependencyError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"evidence compares pictures with scikit-image, and {name!r} cannot be imported ({error}); "
            f"install it with: pip install 'deconvviz[evidence]'"
        ) from error


def heatmap(pixels: Tensor) -> Tensor:
    """Heatmaps (N, H, W) in [0, 1] of attributions (N, C, H, W): absolute sums over channels, over their maximum."""
    strength = pixels.detach().double().cpu().abs().sum(1)
    largest = strength.flatten(1).amax(1).view(-1, *[1] * (strength.ndim - 1))
    return strength / largest.clamp(min=torch.finfo(torch.float64).tiny)


def cut(heat: Tensor, box: FieldRanges | None) -> Tensor:
    """The part of a heatmap (H, W) inside a box. Outside the receptive field every picture is zero."""
    return heat if box is None else heat[tuple(slice(first, last) for first, last in box)]


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
    grey = images.detach().double().cpu().mean(1).numpy()
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


def interval(values: Sequence[float] | Tensor) -> tuple[float, float, float]:
    """The mean, and its 95 % bootstrap confidence interval over images; NaN is left out.

    The percentile interval of 2,000 resamples with a fixed seed. NaN for fewer than two images.
    """
    known: NDArray[np.float64] = np.asarray([value for value in map(float, values) if not math.isnan(value)])
    if len(known) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    if len(known) < 2:
        return mean, float("nan"), float("nan")
    bootstrap = library("scipy.stats").bootstrap(
        (known,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return mean, float(bootstrap.confidence_interval.low), float(bootstrap.confidence_interval.high)
