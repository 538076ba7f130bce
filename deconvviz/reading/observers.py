"""Observers: they see a channel's pictures and pieces of images, know nothing else, and say how alike these are.

Each takes pieces, and then references, both as people see them: pieces are looked at once, and compared with one
channel's pictures of several kinds. They need no weights and no network.

- "template" slides the mean of the references over a piece: the highest correlation counts.
- "hog" compares orientations of edges (histograms of oriented gradients, Dalal and Triggs 2005) and colours.
- Any function from images (N, 3, H, W) in [0, 1] to vectors (N, D) compares directions of these vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from deconvviz.errors import InputError, did_you_mean
from deconvviz.io.restoring import Restored

Embedding = Callable[[Tensor], Tensor]  # images (N, 3, H, W) in [0, 1] to vectors (N, D)
Likeness = Callable[[Tensor], Tensor]  # references (k, C, H, W) to the likeness of pieces with them, (N,)
PieceObserver = Callable[[Tensor], Likeness]  # of pieces (N, C, H, W)

TEMPLATE_SIDE = 32  # pixels of the longer side to which a template is reduced
REACH = 8  # a template is shifted by up to the REACH-th part of each side
BLANK_NORM = 1e-4  # of a picture about its mean, below which it is blank but for rounding
ORIENTATIONS, CELLS = 8, 4  # of gradients, from 0 to 180 degrees; cells along each side


def template(pieces: Tensor) -> Likeness:
    """The highest correlation of each piece with the mean reference, over shifts.

    Both are reduced to 32 pixels, and have the mean of each of their channels removed. Zeros enter where the mean
    reference is shifted, and its norm stays that of the whole, so that far shifts are not preferred.

    Args:
        pieces: (N, C, H, W).

    Returns:
        A function from references (k, C, H, W) to (N,), from -1 to 1; 0 for a blank piece or reference.
    """
    seen = _centred(reduced(pieces, TEMPLATE_SIDE)).flatten(1)
    norms = seen.norm(dim=1)

    def likeness(references: Tensor) -> Tensor:
        mean = _centred(reduced(references, TEMPLATE_SIDE).mean(0, keepdim=True))
        shifts = torch.cat(list(_shifted(mean))).flatten(1)
        best = (seen @ shifts.T).amax(1)
        seen_well = (norms > BLANK_NORM) & (mean.norm() > BLANK_NORM)
        return torch.where(seen_well, best / (norms * mean.norm()).clamp(min=BLANK_NORM**2), 0.0)

    return likeness


def _centred(pictures: Tensor) -> Tensor:
    return pictures - pictures.mean((-2, -1), keepdim=True)


def _shifted(picture: Tensor) -> Iterator[Tensor]:
    down, right = (size // REACH for size in picture.shape[-2:])
    height, width = picture.shape[-2:]
    around = pad(picture, (right, right, down, down))
    for top in range(2 * down + 1):
        for left in range(2 * right + 1):
            yield around[..., top : top + height, left : left + width]


def hog(images: Tensor) -> Tensor:
    """Orientations of edges and colours in 4 x 4 cells: an embedding.

    Args:
        images: (N, 3, H, W) in [0, 1].

    Returns:
        (N, 176): gradients' lengths by orientation, of length about 1, and per cell the colour's distance from grey,
        which counts less in pale pictures.
    """
    grey = pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = (grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]) / 2
    down = (grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]) / 2
    length = (across**2 + down**2).sqrt()
    turn = torch.atan2(down, across).remainder(math.pi) * (ORIENTATIONS / math.pi)
    bins = torch.arange(ORIENTATIONS).view(1, -1, 1, 1)
    away = (turn - bins).abs()
    votes = (1 - torch.minimum(away, ORIENTATIONS - away)).clamp(min=0) * length  # shared by the two nearest bins
    edges = _in_cells(votes).flatten(1)
    colours = (2 * _in_cells(images) - 1).flatten(1)
    return torch.cat([_scaled(edges, 1e-3), _scaled(colours, CELLS)], 1)


def _in_cells(pictures: Tensor) -> Tensor:
    """Means of pictures (N, C, H, W) in 4 x 4 cells, as `adaptive_avg_pool2d`, which takes five times as long."""
    down, across = (_shares(size).to(pictures) for size in pictures.shape[-2:])
    return down @ pictures @ across.T


def _shares(size: int) -> Tensor:
    """What pixels of a side of `size` count in each cell, (4, size)."""
    firsts = [(cell * size // CELLS, -(-(cell + 1) * size // CELLS)) for cell in range(CELLS)]
    shares = torch.zeros(CELLS, size)
    for cell, (first, last) in enumerate(firsts):
        shares[cell, first:last] = 1 / (last - first)
    return shares


def _scaled(vectors: Tensor, small: float) -> Tensor:
    """Vectors of length about 1; those much shorter than `small` stay short."""
    lengths: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors / (lengths + small)


def comparing(embedding: Embedding, name: str) -> PieceObserver:
    """The observer that compares vectors of an embedding: a piece's mean cosine with the references."""

    def observe(pieces: Tensor) -> Likeness:
        seen = _directions(embedding, pieces, name)
        return lambda references: seen @ _directions(embedding, references, name).mean(0)

    return observe


def _directions(embedding: Embedding, pictures: Tensor, name: str) -> Tensor:
    vectors = _embedded(embedding, pictures, name)
    lengths: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors / lengths.clamp(min=1e-12)


def _embedded(embedding: Embedding, pictures: Tensor, name: str) -> Tensor:
    images = pictures if pictures.shape[1] == 3 else pictures.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    with Restored(torch.no_grad()):
        vectors: Any = embedding(images)
    good = isinstance(vectors, Tensor) and vectors.ndim == 2 and len(vectors) == len(images)
    if not good or not bool(torch.isfinite(vectors).all()):
        got = f"shape {tuple(vectors.shape)}" if isinstance(vectors, Tensor) else type(vectors).__name__
        raise InputError(
            f"observer {name!r} must return finite vectors (N, D), one per image of (N, 3, H, W), not {got} for "
            f"{len(images)} images"
        )
    found: Tensor = vectors.detach().float().cpu()
    return found


OBSERVERS: Mapping[str, PieceObserver] = {"template": template, "hog": comparing(hog, "hog")}


def chosen_observers(given: Sequence[str] | Mapping[str, Embedding] | None) -> dict[str, PieceObserver]:
    """Observers by name: known names, or a mapping from names to embeddings; None for all known ones.

    Raises:
        InputError: If there is none, or a name is unknown.
    """
    if given is None:
        return dict(OBSERVERS)
    if isinstance(given, Mapping):
        found = {name: comparing(embedding, name) for name, embedding in given.items()}
    else:
        for name in given:
            if name not in OBSERVERS:
                listed = ", ".join(map(repr, OBSERVERS))
                raise InputError(f"there is no observer {name!r}; there are {listed}{did_you_mean(name, OBSERVERS)}")
        found = {name: OBSERVERS[name] for name in given}
    if not found:
        raise InputError("there is no observer; name at least one, or give observers=None for all")
    return found


def reduced(pictures: Tensor, side: int) -> Tensor:
    """Pictures (N, C, H, W), averaged down to at most `side` pixels on the longer side."""
    height, width = pictures.shape[-2:]
    share = side / max(height, width)
    if share >= 1:
        return pictures
    size = max(1, round(height * share)), max(1, round(width * share))
    return interpolate(pictures, size, mode="area")
