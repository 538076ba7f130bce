"""Which label fits a channel: chosen on one half of the images, and scored on the other half.

The score is the area under the ROC curve of the channel's maximum: the probability that it is higher on an image with
the label than on one without, where equal values count half. Sums of ranks are integers, so that areas do not depend on
the order of images, or on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from deconvviz.intervals import FEWEST, holm
from deconvviz.mining.labelled_maxima import LabelledMaxima, random_ranks
from deconvviz.results import ChannelLabels, TopActivations
from deconvviz.roc import Measured, measured

RANKED_AT_ONCE = 2**22  # maxima that are ranked together
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
    return {name: _of_layer(name, values, halves, tested, device) for name, values in found.values.items()}


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


def _of_layer(
    layer: str, values: Tensor, halves: Sequence[LabelledHalf], names: tuple[str, ...], device: torch.device
) -> ChannelLabels:
    channels = values.shape[1]
    label = torch.full((channels,), -1)
    chosen, auc, low, high, p = torch.full((5, channels), torch.nan, dtype=torch.float64)
    choosing, asking = halves
    step = max(1, RANKED_AT_ONCE // len(values))
    for start in range(0, channels if names else 0, step):
        part = slice(start, start + step)
        maxima = values[:, part].T.contiguous()
        by_label, _ = areas_and_tails(maxima, choosing, device)
        label[part] = by_label.argmax(1)
        best = label[part, None]
        chosen[part] = by_label.gather(1, best)[:, 0]
        by_label, tails = areas_and_tails(maxima, asking, device, best)
        auc[part], p[part] = by_label.gather(1, best)[:, 0], tails
        low[part], high[part] = _ends(maxima, asking, label[part])
    sizes = asking.sizes[label] if names else torch.zeros(channels, dtype=torch.long)
    return ChannelLabels(
        layer=layer,
        names=names,
        label=label,
        auc=auc,
        low=low,
        high=high,
        p=torch.tensor(holm(p.tolist()), dtype=torch.float64),
        chosen_auc=chosen,
        images=sizes,
        held_out=len(asking.rows),
    )


def _ends(maxima: Tensor, half: LabelledHalf, label: Tensor) -> tuple[Tensor, Tensor]:
    """The ends of the intervals of the areas of each channel's label in a half, (channels,) each.

    Args:
        maxima: Of all images, (channels, n).
        half: The half.
        label: The label of each channel, (channels,).
    """
    values = maxima[:, half.rows]
    found = torch.full((4, len(maxima)), torch.nan, dtype=torch.float64)
    for chosen in label.unique():
        channels = label == chosen
        with_label = torch.zeros(len(half.rows), dtype=torch.bool)
        with_label[half.members[half.labels == chosen]] = True
        of_label = values[channels]
        found[:, channels] = torch.stack(measured(of_label[:, with_label], of_label[:, ~with_label]))
    ends = Measured(*found).areas()
    return ends.low, ends.high


def areas_and_tails(
    maxima: Tensor, half: LabelledHalf, device: torch.device, chosen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The area under the ROC curve of each channel and label in a half, and tests of one label per channel.

    Args:
        maxima: Of all images, (channels, n).
        half: The half.
        device: Where to compute.
        chosen: The label of each channel that is tested, (channels, 1).

    Returns:
        Areas, (channels, labels), and per channel the probability of such an area by chance, (channels,), on the CPU.
    """
    ranks = doubled_ranks(maxima.to(device)[:, half.rows.to(device)])
    sums = torch.zeros(half.count, len(maxima), dtype=torch.long, device=device)
    sums.index_add_(0, half.labels.to(device), ranks.T[half.members.to(device)])
    ranks, sums = ranks.cpu(), sums.T.cpu()
    count, sizes = len(half.rows), half.sizes
    areas = (sums - sizes * (sizes + 1)).double() / (2 * sizes * (count - sizes))
    if chosen is None:
        return areas, torch.ones(len(maxima), dtype=torch.float64)
    return areas, chance_of(ranks, sums.gather(1, chosen)[:, 0], sizes[chosen[:, 0]])


def doubled_ranks(values: Tensor) -> Tensor:
    """Twice the rank of each value in its row, from 1; equal values share the mean of their ranks.

    >>> doubled_ranks(torch.tensor([[0.5, 0.0, 0.0, 2.0]]))
    tensor([[6, 3, 3, 8]])
    """
    ordered, order = values.sort(dim=1)
    count = values.shape[1]
    places = torch.arange(count, device=values.device).expand_as(order)
    differs = torch.ones_like(ordered, dtype=torch.bool)
    differs[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(differs, places, 0).cummax(1).values
    ends = torch.ones_like(differs)
    ends[:, :-1] = differs[:, 1:]
    last = torch.where(ends, places, count).flip(1).cummin(1).values.flip(1)
    return torch.empty_like(order).scatter_(1, order, first + last + 2)


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
    shares = torch.zeros(len(ranks), RANK_BINS, dtype=torch.float64)
    shares.scatter_add_(1, bins, torch.full_like(bins, 1, dtype=torch.float64))
    shares /= ranks.shape[1]
    below = (torch.arange(1, RANK_BINS + 1, dtype=torch.float64) / RANK_BINS - 1)[
        :, None
    ]  # the rank as a share, minus 1
    moments = (shares @ torch.exp(below * TILTS)).log()  # (channels, tilts)
    excess = sums.double() / highest[:, 0] - sizes
    bounds = sizes[:, None] * moments - TILTS * excess[:, None]
    return bounds.amin(1).clamp(max=0).exp()
