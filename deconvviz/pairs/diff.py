"""`diff`: two networks, channel by channel: what was kept, and what changed, vanished and appeared.

Two checkpoints, two seeds or two models see the same images. Channels are matched one to one so that the sum of the
correlations of their activations is largest. Any set of channels has a best match, so every correlation stands beside
that with the best match in untrained networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, check_counts, takes
from deconvviz.data.datasets import as_dataset
from deconvviz.data.naming import short_name
from deconvviz.data.source import Source
from deconvviz.intervals import student_tail
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.pairs.assignment import assignment
from deconvviz.pairs.correlation import RunningCorrelation, fisher_z
from deconvviz.pairs.pictures import PicturedChannel, can_be_shown, cosines, pair_pictures, pictures_of
from deconvviz.pairs.runs import Correlations, TwoRuns, run_both
from deconvviz.reading.mixed import SHOWN_UNITS
from deconvviz.recording.layer_names import Layers, layer_name, layer_names
from deconvviz.results.network_diff import LayerDiff, NetworkDiff, PairPictures


@takes(net=NET, other=NET, random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def diff(
    net: DeconvNet,
    other: DeconvNet,
    dataset: Any,
    *,
    layers: Layers | Mapping[str, str] = None,
    pictures: int = 64,
    batch_size: int = 64,
    random_state: int = 0,
    progress: bool = True,
) -> NetworkDiff:
    """Compare two networks channel by channel over a dataset.

    A channel's activation on an image is that of its strongest unit. Channels of a layer are matched one to one by the
    correlation of their activations over all images. Both networks run in one pass. So do four copies of each with
    random weights, on about a thousand of the images: a counterpart must be more alike than the match in these.

    Args:
        net: The first network, such as an earlier checkpoint.
        other: The second network.
        dataset: Images, as for `scan`. Pictures need items by number.
        layers: Layers of both networks, or a mapping from layers of the first to layers of the second. None for all
            convolutions and linear layers whose names both have.
        pictures: For how many pairs of a layer to make pictures, evenly spaced from the most to the least alike.
        batch_size: Number of images in a batch.
        random_state: Seed of the random weights.
        progress: Show progress bars.

    Returns:
        A `deconvviz.results.NetworkDiff`. There is no verdict on fewer than 8 images.

    Raises:
        InputError: If an argument does not fit, or the networks have no layer in common.
        UnknownLayerError: If a layer does not run.
        DataError: If no item can be read.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:100]
        >>> before = dv.DeconvNet(mnist_cnn(pretrained=False))
        >>> found = dv.diff(before, net, images, layers="conv2", pictures=0, progress=False)
        >>> len(found["conv2"].kept), len(dv.diff(net, net, images, layers="conv2", pictures=0, progress=False)[0].kept)
        (0, 48)
    """
    check_counts(batch_size=batch_size)
    check_counts(0, pictures=pictures)
    data = as_dataset(dataset)
    named = _layers(layers, net, other)
    source = Source(data)
    runs = run_both(
        (net, other),
        source,
        named,
        k=SHOWN_UNITS,
        batch_size=int(batch_size),
        random_state=random_state,
        progress=progress,
    )
    shape = source_shape(net, source)
    shown = pictures if all(can_be_shown(one, data, shape) for one in (net, other)) else 0
    found = []
    for number in progress_bar(range(len(runs.layers)), unit="layer", desc="channels", shown=progress):
        matched = _matched(runs.correlations[number])
        layer = _LayerPictures((net, other), data, runs, number, matched.pairs)
        found.append(_layer_diff(runs, number, matched, layer.pictures(int(shown), int(batch_size))))
    return NetworkDiff(
        networks=(_network_name(net, "before"), _network_name(other, "after")),
        dataset=short_name(data),
        images=runs.count,
        broken=runs.broken,
        layers=tuple(found),
    )


def source_shape(net: DeconvNet, source: Source) -> tuple[int, ...]:
    """The shape of the first input, () if the network takes several."""
    first = source.first(net.preprocess)
    return tuple(first.shape) if isinstance(first, Tensor) else ()


def _network_name(net: DeconvNet, role: str) -> str:
    return f"{type(net.model).__name__} ({role})"


def _layers(layers: Any, net: DeconvNet, other: DeconvNet) -> list[str] | dict[str, str] | None:
    if isinstance(layers, Mapping) and layers:
        return {layer_name(one, net.model): layer_name(two, other.model) for one, two in layers.items()}
    return layer_names(layers, net.model)


# Matching


class _Matched(NamedTuple):
    """Matched channels, the most alike first; see `LayerDiff`."""

    pairs: Tensor
    correlations: Tensor
    low: Tensor
    high: Tensor
    untrained: Tensor
    p: Tensor
    unmatched: float
    ratios: Tensor
    closest: tuple[Tensor, Tensor]


def _best(running: RunningCorrelation) -> tuple[Tensor, Tensor, Tensor]:
    """The correlations of all channels, and the rows and columns of the best matching, without constant channels."""
    found = running.correlations()
    constant = running.constant
    alive = [(~flat).nonzero().flatten() for flat in constant]
    rows, columns = assignment(found[alive[0]][:, alive[1]])
    return found, alive[0][rows], alive[1][columns]


def _matched(correlations: Correlations) -> _Matched:
    found, rows, columns = _best(correlations.own)
    order = found[rows, columns].sort(descending=True, stable=True).indices
    rows, columns = rows[order], columns[order]
    values = found[rows, columns]
    low, high = correlations.own.intervals(rows, columns, values)
    spread = correlations.own.deviations()
    matches = [_matches_of_draw(*draw) for draw in correlations.untrained]
    firsts, seconds = (torch.stack(part) for part in zip(*matches, strict=True))
    firsts, seconds = firsts[:, rows], seconds[:, columns]
    others = found.clone()
    others[rows, columns] = math.nan
    p = torch.maximum(tail_of_match(values, firsts), tail_of_match(values, seconds))
    return _Matched(
        pairs=torch.stack([rows, columns], 1),
        correlations=values,
        low=low,
        high=high,
        untrained=torch.stack([firsts, seconds]),
        p=p,
        unmatched=float(others.nanmean()),
        ratios=spread[1][columns] / spread[0][rows],
        closest=(_highest(found, 1), _highest(found, 0)),
    )


def _highest(found: Tensor, axis: int) -> Tensor:
    highest: Tensor = found.nan_to_num(nan=-torch.inf).amax(axis) if found.numel() else found.sum(axis)
    return highest.masked_fill(highest.isinf(), math.nan)


def _matches_of_draw(first: RunningCorrelation, second: RunningCorrelation) -> tuple[Tensor, Tensor]:
    """The correlation of each channel of the first and of the second network with its match in an untrained network."""
    ends = []
    for side, running in enumerate((first, second)):
        found, rows, columns = _best(running)
        values = torch.full((found.shape[side],), math.nan, dtype=torch.float64)
        values[(rows, columns)[side]] = found[rows, columns]
        ends.append(values)
    return ends[0], ends[1]


def tail_of_match(values: Tensor, draws: Tensor) -> Tensor:
    """How likely one more draw of random weights is to match so well, one-sided, by Student's t on Fisher's z.

    The spread over draws is taken to be the same for all channels of a layer.

    Args:
        values: (n,), correlations of matched channels.
        draws: (draws, n), those of the same channels with their match in untrained networks; NaN for none.

    Returns:
        (n,); NaN for a channel that no draw has a match for.
    """
    drawn = fisher_z(draws)
    counts = (~drawn.isnan()).sum(0)
    centre = drawn.nanmean(0)
    freedom = int((counts - 1).clamp(min=0).sum())
    if freedom < 1:
        return torch.full_like(values, math.nan)
    spread = math.sqrt(float((drawn - centre).square().nansum()) / freedom)
    scaled = (fisher_z(values) - centre) / (max(spread, 1e-12) * (1 + 1 / counts.clamp(min=1)).sqrt())
    tails = [_tail(t, freedom) for t in scaled.tolist()]
    return torch.tensor(tails, dtype=torch.float64)


def _tail(t: float, freedom: int) -> float:
    if math.isnan(t):
        return math.nan
    return student_tail(t, freedom) if t >= 0 else 1 - student_tail(-t, freedom)


# One layer


def _layer_diff(
    runs: TwoRuns, number: int, matched: _Matched, shown: tuple[Tensor, float, tuple[PairPictures, ...]]
) -> LayerDiff:
    names, (likeness, floor, examples) = runs.layers[number], shown
    constant = runs.correlations[number].own.constant
    return LayerDiff(
        layers=names,
        images=runs.count,
        pairs=matched.pairs,
        correlations=matched.correlations,
        low=matched.low,
        high=matched.high,
        untrained=matched.untrained,
        p=matched.p,
        unmatched=matched.unmatched,
        ratios=matched.ratios,
        cosines=likeness,
        unmatched_cosine=floor,
        fires=(runs.tops[0].statistics[names[0]].fires, runs.tops[1].statistics[names[1]].fires),
        closest=matched.closest,
        constant=(tuple(constant[0].nonzero().flatten().tolist()), tuple(constant[1].nonzero().flatten().tolist())),
        examples=examples,
    )


class _LayerPictures(NamedTuple):
    """What the pictures of a layer's pairs are made of."""

    nets: tuple[DeconvNet, DeconvNet]
    data: Any
    runs: TwoRuns
    number: int
    pairs: Tensor

    def pictures(self, shown: int, batch_size: int) -> tuple[Tensor, float, tuple[PairPictures, ...]]:
        """How alike mean projections of pairs are, (pairs,), the same of channels not matched, and some pictures."""
        pairs, names = self.pairs, self.runs.layers[self.number]
        likeness = torch.full((len(pairs),), math.nan, dtype=torch.float64)
        chosen = evenly(len(pairs), shown)
        if not chosen:
            return likeness, math.nan, ()
        found: list[dict[int, PicturedChannel]] = [
            pictures_of(net, self.data, top, name, pairs[chosen, side].tolist(), batch_size=batch_size)
            for side, (net, top, name) in enumerate(zip(self.nets, self.runs.tops, names, strict=True))
        ]
        rows = [row for row in chosen if int(pairs[row, 0]) in found[0] and int(pairs[row, 1]) in found[1]]
        one, two = ([found[side][int(pairs[row, side])] for row in rows] for side in (0, 1))
        table = cosines(one, two)
        likeness[rows] = table.diagonal()
        apart = table[~torch.eye(len(rows), dtype=torch.bool)]
        floor = float(apart.nanmean()) if len(apart) else math.nan
        return likeness, floor, tuple(pair_pictures(row, a, b) for row, a, b in zip(rows, one, two, strict=True))


def evenly(count: int, wanted: int) -> Sequence[int]:
    """At most `wanted` numbers below `count`, evenly spaced.

    >>> evenly(10, 4), evenly(3, 5), evenly(3, 0)
    ([0, 3, 6, 9], [0, 1, 2], [])
    """
    if wanted < 2 or count < 2:
        return list(range(min(count, wanted)))
    return sorted({round(place * (count - 1) / (min(wanted, count) - 1)) for place in range(min(wanted, count))})
