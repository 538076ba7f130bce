"""Which label fits a channel: chosen on one half of the images, and scored on the other half.

The score is the area under the ROC curve of the channel's maximum: the probability that it is higher on an image with
the label than on one without, where equal values count half. Sums of ranks are integers, so that areas do not depend on
the order of images, or on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deconvviz.intervals import FEWEST, holm
from deconvviz.mining.labelled_maxima import LabelledMaxima, random_ranks
from deconvviz.results import ChannelLabels, TopActivations
from deconvviz.roc import Measured, Ordered

RANKED_AT_ONCE = {"cpu": 2**18}  # maxima that are ranked together, so that what is counted stays in the caches
RANKED_AT_ONCE_ELSEWHERE = 2**22
RANK_BINS = 256  # of ranks, for the test
TILTS = 2.0 ** torch.arange(-2, 14, 0.5, dtype=torch.float64, device="cpu")  # of the bound, of which the best is taken


@dataclass(frozen=True)
class LabelledHalf:
    """One half of the images.

    Attributes:
        rows: Its images, as rows of maxima, (n,).
        members: Places in the half of images that have a label, (m,).
        labels: The label that each of these has, as a number below `count`; an image may be there several times.
        count: Number of labels.
    """

    rows: Tensor
    members: Tensor
    labels: Tensor
    count: int

    @property
    def sizes(self) -> Tensor:
        """Number of images of each label, (count,)."""
        return torch.bincount(self.labels, minlength=self.count)

    def on(self, device: torch.device) -> LabelledHalf:
        """The same on a device."""
        return LabelledHalf(self.rows.to(device), self.members.to(device), self.labels.to(device), self.count)


def held_out_half(images: Tensor, labels: Tensor) -> Tensor:
    """Which images are held out, (n,): of each label every second one, in a random order that is always the same."""
    order = np.lexsort((np.array(random_ranks(images), dtype=np.uint64), labels.numpy()))
    held_out = np.zeros(len(order), dtype=bool)
    sorted_labels = labels.numpy()[order]
    first = np.searchsorted(sorted_labels, sorted_labels)  # where the images of the same label begin
    held_out[order] = (np.arange(len(order)) - first) % 2 == 1
    return torch.from_numpy(held_out)


def channel_labels(
    found: LabelledMaxima, names: Sequence[str], device: torch.device, masks: Mapping[str, Tensor] | None = None
) -> dict[str, ChannelLabels]:
    """For each layer, the label that fits each channel best.

    Args:
        found: The maxima of images with labels.
        names: The names of labels by number; a label without a name is called by its number.
        device: Where to compute.
        masks: Instead of the labels in `found`, which images have each label, of which an image may have several.

    Returns:
        Nothing if no image has a label.
    """
    if not len(found.images):
        return {}
    if masks:
        called = tuple(masks)
        rows, labels = torch.stack([mask[found.images] for mask in masks.values()], 1).nonzero().unbind(1)
    else:
        kinds, labels = found.labels.unique(return_inverse=True)
        called = tuple(names[label] if label < len(names) else str(label) for label in kinds.tolist())
        rows = torch.arange(len(labels), device="cpu")
    held_out = held_out_half(found.images, found.labels)
    enough = torch.ones(len(called), dtype=torch.bool)
    for half in (~held_out, held_out):
        sizes = torch.bincount(labels[half[rows]], minlength=len(called))
        enough &= (sizes >= FEWEST) & (half.sum() - sizes >= FEWEST)
    halves = [_half(half, rows, labels, enough) for half in (~held_out, held_out)]
    tested = tuple(name for name, is_tested in zip(called, enough.tolist(), strict=True) if is_tested)
    fits = {
        name: _fit(values, halves, device) if tested else _Fit.none(values) for name, values in found.values.items()
    }
    # Intervals of all layers at once, since they take hundreds of operations, however many there are.
    measured = Measured(*(torch.cat(parts) for parts in zip(*(fit.measured for fit in fits.values()), strict=True)))
    ends = [part.split([len(fit.label) for fit in fits.values()]) for part in measured.areas()]
    return {
        name: ChannelLabels(
            layer=name,
            names=tested,
            label=fit.label,
            auc=auc,
            low=low,
            high=high,
            p=torch.tensor(holm(fit.chance.tolist()), dtype=torch.float64),
            chosen_auc=fit.chosen,
            images=halves[1].sizes[fit.label] if tested else torch.zeros(len(fit.label), dtype=torch.long),
            held_out=len(halves[1].rows),
        )
        for (name, fit), auc, low, high in zip(fits.items(), *ends, strict=True)
    }


def with_classes(top: TopActivations, classes: Sequence[str]) -> TopActivations:
    """A scan with other names of its classes, by which its channels' labels are called, too.

    A label keeps its name if it cannot be told which class it was: if several had this name, or none, as with the words
    of an open vocabulary.

    Args:
        top: The scan.
        classes: The names by number; empty for those that it has.
    """
    if not classes:
        return top
    before = list(top.classes)

    def renamed(name: str) -> str:
        number = before.index(name) if before.count(name) == 1 else -1
        if not before and name.isdecimal():
            number = int(name)  # what a label without a name is called
        return classes[number] if 0 <= number < len(classes) else name

    labels = {layer: replace(found, names=tuple(map(renamed, found.names))) for layer, found in top.labels.items()}
    return replace(top, classes=tuple(classes), labels=labels)


def _half(half: Tensor, rows: Tensor, labels: Tensor, enough: Tensor) -> LabelledHalf:
    """One half, from the images with each label, (n,) pairs, and which labels have enough."""
    kept = half[rows] & enough[labels]
    members = (half.cumsum(0) - 1)[rows[kept]]
    numbers = (enough.cumsum(0) - 1)[labels[kept]]
    return LabelledHalf(half.nonzero()[:, 0], members, numbers, int(enough.sum()))


class _Fit(NamedTuple):
    """The label that fits each channel of a layer best.

    Attributes:
        label: Its number, (channels,).
        chosen: Its area on the half on which it was chosen, (channels,).
        chance: The probability of such an area as on the other half by chance, (channels,).
        measured: The area on the other half, and what its interval needs, (channels,) each.
    """

    label: Tensor
    chosen: Tensor
    chance: Tensor
    measured: Measured

    @classmethod
    def none(cls, maxima: Tensor) -> _Fit:
        """Without labels, for a layer's maxima (n, channels)."""
        nothing = torch.full((maxima.shape[1],), torch.nan, dtype=torch.float64)
        return cls(torch.full((maxima.shape[1],), -1), nothing, nothing, Measured(nothing, nothing, nothing, nothing))


def _fit(maxima: Tensor, halves: Sequence[LabelledHalf], device: torch.device) -> _Fit:
    """The label that fits each channel of a layer best, from its maxima (n, channels)."""
    choosing, asking = (half.on(device) for half in halves)
    masks = torch.zeros(asking.count, len(asking.rows), dtype=torch.bool, device=device)
    masks[asking.labels, asking.members] = True
    parts = []
    step = max(1, RANKED_AT_ONCE.get(device.type, RANKED_AT_ONCE_ELSEWHERE) // len(maxima))
    for some in maxima.split(step, 1):
        on_device = some.to(device)
        chosen, label = areas_by_label(on_device, choosing).max(1)
        ordered = Ordered.of(on_device[asking.rows].T.contiguous())
        mask = masks[label]
        sums = torch.where(mask.gather(1, ordered.order), ordered.ranks, 0).sum(1)
        chance = chance_of(ordered.ranks, sums, asking.sizes[label])
        parts.append((label, chosen, chance, *ordered.measured(mask)))
    label, chosen, chance, *measured = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
    return _Fit(label, chosen, chance, Measured(*measured))


def areas_by_label(maxima: Tensor, half: LabelledHalf) -> Tensor:
    """The area under the ROC curve of each channel and label in a half, (channels, labels).

    Args:
        maxima: Of all images, (n, channels).
        half: The half.
    """
    ordered = Ordered.of(maxima[half.rows].T.contiguous())
    ranks = torch.empty_like(ordered.order).scatter_(1, ordered.order, ordered.ranks)
    sums = torch.zeros(half.count, len(ranks), dtype=torch.long, device=ranks.device)
    sums.index_add_(0, half.labels, ranks.T[half.members])
    count, sizes = len(half.rows), half.sizes
    return (sums.T - sizes * (sizes + 1)).double() / (2 * sizes * (count - sizes))


def chance_of(ranks: Tensor, sums: Tensor, sizes: Tensor) -> Tensor:
    """A bound on the probability that as many images, drawn at random, have such a sum of ranks or a higher one.

    By Chernoff's bound for draws with replacement, which is one for draws without it, too (Hoeffding 1963). It holds
    however many values are equal, where the normal approximation does not.

    Args:
        ranks: Doubled ranks of all images, (channels, n).
        sums: Of the images drawn, (channels,).
        sizes: Their number, (channels,).
    """
    highest = ranks.amax(1, keepdim=True)
    bins = (ranks * RANK_BINS + highest - 1) // highest - 1  # rounded up, so that the bound stays one
    shares = torch.zeros(len(ranks), RANK_BINS, dtype=torch.float64, device=ranks.device)
    shares.scatter_add_(1, bins, torch.full_like(bins, 1, dtype=torch.float64))
    shares /= ranks.shape[1]
    steps = torch.arange(1, RANK_BINS + 1, dtype=torch.float64, device=ranks.device)
    tilts = TILTS.to(ranks.device)
    tilted = torch.exp((steps / RANK_BINS - 1)[:, None] * tilts)  # the rank as a share, minus 1
    moments = (shares @ tilted).log()  # (channels, tilts)
    excess = sums.double() / highest[:, 0] - sizes
    bounds = sizes[:, None] * moments - tilts * excess[:, None]
    return bounds.amin(1).clamp(max=0).exp()
