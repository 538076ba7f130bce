"""How alike two pictures are, and how sure a mean over images is.

Pictures of all methods are compared on one scale: a *heatmap* is the absolute attribution summed over the channels,
divided by its largest value. SSIM, rank correlation, edges and the bootstrap are those of scikit-image and SciPy.
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

Box = tuple[
    tuple[int, int], ...
]  # per spatial axis first pixel and one past the last, as `Projection.receptive_fields`
CONFIDENCE = 0.95
FEWEST = 6  # images from which such an interval can be: all of 5 lie above zero once in 32 times by chance, of 6 in 64
RESAMPLES = 2000
WINDOW = 7  # pixels of SSIM's window


def library(name: str) -> Any:
    """A module of scikit-image or SciPy. Raises DependencyError where they are not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"evidence compares pictures with scikit-image, and {name!r} cannot be imported ({error}); "
            f"install it with: pip install 'deconvviz[evidence]'"
        ) from error


def heatmap(pixels: Tensor) -> Tensor:
    """How much each pixel counts, (N, H, W) in [0, 1], of attributions (N, C, H, W): absolute sums over channels."""
    strength = pixels.detach().double().cpu().abs().sum(1)
    largest = strength.flatten(1).amax(1).view(-1, *[1] * (strength.ndim - 1))
    return strength / largest.clamp(min=torch.finfo(torch.float64).tiny)


def cut(heat: Tensor, box: Box | None) -> Tensor:
    """The part of a heatmap (H, W) in a box: what a unit cannot see is zero in every picture, and says nothing."""
    return heat if box is None else heat[tuple(slice(first, last) for first, last in box)]


def blank(heat: Tensor) -> bool:
    """Whether a heatmap shows nothing: it is the same everywhere, as where the unit's picture is empty."""
    return not heat.numel() or bool(heat.min() == heat.max())


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two heatmaps, in [-1, 1]; ties get their mean rank. NaN where one of them is blank."""
    if blank(a) or blank(b):
        return float("nan")
    first, second = (heat.flatten().numpy() for heat in (a, b))
    return float(library("scipy.stats").spearmanr(first, second).statistic)


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two heatmaps in [0, 1], with windows of 7 pixels or as fit.

    NaN where one of them is blank, or too small to have a structure.
    """
    metrics = library("skimage.metrics")
    side = min(WINDOW, *a.shape)
    size = side - (side + 1) % 2
    if size < 3 or blank(a) or blank(b):
        return float("nan")
    return float(metrics.structural_similarity(a.numpy(), b.numpy(), data_range=1.0, win_size=size))


def overlap(a: Tensor, b: Tensor, share: float = 0.1) -> float:
    """How much of the strongest `share` of pixels two heatmaps have in common, in [0, 1]. NaN where one is blank."""
    if blank(a) or blank(b):
        return float("nan")
    count = max(1, round(share * a.numel()))
    first, second = (set(heat.flatten().topk(count).indices.tolist()) for heat in (a, b))
    return len(first & second) / count


def edges(images: Tensor) -> Tensor:
    """The edge detector that methods have to beat: Sobel magnitude of the mean over channels, (N, 1, H, W)."""
    sobel = library("skimage.filters").sobel
    grey = images.detach().double().cpu().mean(1).numpy()
    return torch.from_numpy(np.stack([sobel(image) for image in grey]))[:, None]


def mean_of_known(values: Sequence[float]) -> float:
    """The mean without NaN; NaN where there is nothing else."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def enough(judged: int, asked: int) -> bool:
    """Whether so many of what was asked could be judged that the rest may be left out: at least half.

    >>> enough(5, 10), enough(4, 10), enough(0, 0)
    (True, False, False)
    """
    return judged > 0 and 2 * judged >= asked


def interval(values: Sequence[float] | Tensor) -> tuple[float, float, float]:
    """Mean, and the ends of its confidence interval of 95 % by the bootstrap over images; NaN is left out.

    The percentile interval of 2,000 resamples, of a fixed seed. From fewer than two images there is none: NaN.
    """
    known: NDArray[np.float64] = np.asarray([value for value in map(float, values) if not math.isnan(value)])
    if len(known) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(known.mean())
    if len(known) < 2:
        return mean, float("nan"), float("nan")
    found = library("scipy.stats").bootstrap(
        (known,),
        np.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)
