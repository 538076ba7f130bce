"""Two networks, channel by channel: which channels have a counterpart, and which appeared, vanished or changed."""

from __future__ import annotations

import functools
import importlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from deconvviz.arguments import PATH, takes
from deconvviz.errors import InputError, did_you_mean
from deconvviz.intervals import FEWEST, LEVEL, difference_from_draws, holm
from deconvviz.results.base import Finding, kind, plain
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import agreeing, counted, in_digits, listing

ALIKE_FROM = 0.8  # a counterpart whose correlation is above this is kept, below this it is changed
SAME_CHANNEL = 0.9999  # the correlation of one channel in two copies of a network, computed in another order
SAME_SCALE = 1e-3
KEPT_PAIR, CHANGED, UNCLEAR, PARTED = "kept", "changed", "unclear", "no counterpart"
VANISHED, APPEARED, SILENT = "vanished", "appeared", "silent in both"
SENTENCES = 6  # layers of which the verdict speaks one by one


@kind
@dataclass(frozen=True, kw_only=True)
class PairPictures:
    """The strongest nine of a pair of channels, in each network; strongest first.

    Attributes:
        pair: The row in `LayerDiff.pairs`.
        patches: Per network (units, C, h, w), bytes.
        projections: Per network (units, C, h, w), bytes with zero at 128.
        names: Per network, the names of the images.
    """

    pair: int
    patches: tuple[torch.Tensor, torch.Tensor]
    projections: tuple[torch.Tensor, torch.Tensor]
    names: tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class LayerDiff(Finding):
    """The channels of a layer in two networks, matched one to one by the correlation of their activations.

    An activation is that of a channel's strongest unit on an image. Per channel there is a control: its best match
    among the channels of networks with random weights.

    Attributes:
        layers: The layer's name in each network.
        images: Number of images.
        pairs: (pairs, 2), matched channels, the most alike first. Channels that are constant in either network have
            no pair.
        correlations: (pairs,), of their activations over the images.
        low: (pairs,), lower ends of the 95 % confidence intervals; NaN where too few images activate a channel.
        high: (pairs,), upper ends.
        untrained: (2, draws, pairs), correlations of the pair's channel of either network with its match in an
            untrained copy of the other network, for each draw of random weights; NaN for none.
        p: (pairs,), how likely a match in an untrained network is to be so much alike.
        unmatched: The mean correlation of channels that are not matched with each other.
        ratios: (pairs,), standard deviation in the second network, divided by that in the first one.
        cosines: (pairs,), signed, of the mean projections of the strongest nine; NaN where there is none.
        unmatched_cosine: Its mean over channels that are not matched with each other.
        fires: Per network (channels,), the share of images on which the channel is above zero.
        closest: Per network (channels,), the highest correlation with any channel of the other one; NaN for none.
        constant: Per network, channels that are the same on all images.
        examples: Some of the pairs, with their pictures.
    """

    drawn_by = "deconvviz.figures.network_diff"

    layers: tuple[str, str]
    images: int
    pairs: torch.Tensor
    correlations: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    untrained: torch.Tensor
    p: torch.Tensor
    unmatched: float
    ratios: torch.Tensor
    cosines: torch.Tensor
    unmatched_cosine: float
    fires: tuple[torch.Tensor, torch.Tensor]
    closest: tuple[torch.Tensor, torch.Tensor]
    constant: tuple[tuple[int, ...], tuple[int, ...]]
    examples: tuple[PairPictures, ...]

    @property
    def name(self) -> str:
        """The layer, or both of its names."""
        return self.layers[0] if self.layers[0] == self.layers[1] else " / ".join(self.layers)

    @functools.cached_property
    def adjusted(self) -> tuple[float, ...]:
        """Per pair, `p` by Holm over the pairs."""
        return tuple(holm(self.p.tolist()))

    @functools.cached_property
    def states(self) -> tuple[str, ...]:
        """Per pair, "kept", "changed", "no counterpart" or "unclear".

        A counterpart is more alike than the match in an untrained network, at 5 % over all pairs. It is kept if the
        interval of its correlation lies above 0.8, and changed if it lies below. Two channels have no counterpart if
        even the unadjusted test finds nothing, and the whole interval is nearer to that match than to 0.8, on Fisher's
        z. Fewer than eight images leave everything unclear, and pairs of which fewer than 16 images activate a channel
        are unclear, too.
        """
        if self.images < FEWEST:
            return (UNCLEAR,) * len(self.pairs)
        chance = [math.atanh(min(max(r, -ALIKE_FROM), ALIKE_FROM)) for r in self.untrained.nanmean((0, 1)).tolist()]
        limits = [math.tanh((z + math.atanh(ALIKE_FROM)) / 2) for z in chance]
        rows = zip(self.adjusted, self.p.tolist(), self.low.tolist(), self.high.tolist(), limits, strict=True)
        return tuple(_state(*row) for row in rows)

    def _paired(self, state: str) -> tuple[tuple[int, int], ...]:
        both = zip(self.pairs.tolist(), self.states, strict=True)
        return tuple((one, other) for (one, other), found in both if found == state)

    @property
    def kept(self) -> tuple[tuple[int, int], ...]:
        """The pairs of channels that are nearly the same."""
        return self._paired(KEPT_PAIR)

    @property
    def changed(self) -> tuple[tuple[int, int], ...]:
        """The pairs of channels that are counterparts, and not nearly the same."""
        return self._paired(CHANGED)

    @property
    def unclear(self) -> tuple[tuple[int, int], ...]:
        """The pairs of which the images say too little."""
        return self._paired(UNCLEAR)

    @property
    def vanished(self) -> tuple[int, ...]:
        """Channels of the first network without a counterpart in the second."""
        return self._alone(0)

    @property
    def appeared(self) -> tuple[int, ...]:
        """Channels of the second network without a counterpart in the first."""
        return self._alone(1)

    def _alone(self, side: int) -> tuple[int, ...]:
        if self.images < FEWEST:
            return ()
        matched = {pair[side] for pair, found in zip(self.pairs.tolist(), self.states, strict=True) if found != PARTED}
        return tuple(n for n in range(len(self.fires[side])) if n not in matched and n not in self.constant[side])

    def table(self) -> list[dict[str, Any]]:
        """One row per pair, the most alike first, then one per channel without a counterpart."""
        rows = []
        for row, ((one, other), found) in enumerate(zip(self.pairs.tolist(), self.states, strict=True)):
            if found != PARTED:
                rows.append(self._row(one, other, found, row))
        rows += [self._row(n, None, VANISHED, None) for n in self.vanished]
        rows += [self._row(None, n, APPEARED, None) for n in self.appeared]
        rows += [self._row(n, n, SILENT, None) for n in self.constant[0] if n in self.constant[1]]
        return rows

    def _row(self, one: int | None, other: int | None, state: str, row: int | None) -> dict[str, Any]:
        nothing = math.nan
        alone = nothing
        if row is None and state != SILENT:
            alone = float(self.closest[0][one] if one is not None else self.closest[1][other or 0])
        return {
            "channel": one,
            "counterpart": other,
            "state": state,
            "correlation": alone if row is None else float(self.correlations[row]),
            "low": nothing if row is None else float(self.low[row]),
            "high": nothing if row is None else float(self.high[row]),
            "untrained": nothing if row is None else float(self.untrained[:, :, row].nanmean()),
            "p": nothing if row is None else self.adjusted[row],
            "pictures": nothing if row is None else float(self.cosines[row]),
            "fires before": nothing if one is None else float(self.fires[0][one]),
            "fires after": nothing if other is None else float(self.fires[1][other]),
        }

    @property
    def mean(self) -> float:
        """The mean correlation of matched channels."""
        return float(self.correlations.mean()) if len(self.pairs) else math.nan

    @property
    def draws(self) -> torch.Tensor:
        """(draws,), the mean correlation of matched channels for each draw of random weights."""
        return self.untrained.nanmean(2).nanmean(0)

    @property
    def chance(self) -> float:
        """The mean correlation of matched channels where one network is untrained."""
        return float(self.untrained.nanmean()) if len(self.pairs) else math.nan

    @functools.cached_property
    def p_of_layer(self) -> float:
        """How likely untrained networks are to match so well, from the mean correlation of each draw."""
        found = difference_from_draws(self.mean, self.draws)
        return math.nan if math.isnan(found.p) else found.p / 2 if found.mean > 0 else 1 - found.p / 2

    def summary(self) -> dict[str, Any]:
        """The layer in one row."""
        return {
            "layer": self.name,
            "channels": len(self.fires[0]),
            "others": len(self.fires[1]),
            "kept": len(self.kept),
            "changed": len(self.changed),
            "vanished": len(self.vanished),
            "appeared": len(self.appeared),
            "unclear": len(self.unclear),
            "correlation": self.mean,
            "untrained": self.chance,
            "unmatched": self.unmatched,
            "pictures": float(self.cosines.nanmean()) if len(self.cosines) else math.nan,
            "other pictures": self.unmatched_cosine,
        }

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "summary": plain(self.summary())}

    @functools.cached_property
    def verdict(self) -> str:  # type: ignore[override]
        """What was found, in words."""
        if self.images < FEWEST:
            return f"{self.name}: too few images to say ({self.images})."
        if not len(self.pairs):
            return f"{self.name}: no channel differs between these images in both networks."
        if same := self._same():
            return f"{self.name}: {same}."
        level = f"matched channels correlate at {self.mean:.2f}"
        if not self.kept and not self.changed and not self.p_of_layer <= LEVEL:
            return (
                f"{self.name}: no channel is shown to have a counterpart: {level}, which is the level of chance "
                f"({self.chance:.2f} with those of untrained networks)."
            )
        counts = [f"{len(self.kept)} of {counted(len(self.fires[0]), 'channel')} kept", f"{len(self.changed)} changed"]
        counts += [f"{len(self.vanished)} vanished", f"{len(self.appeared)} appeared"]
        counts += [f"{len(self.unclear)} unclear"] if self.unclear else []
        said = f"{self.name}: {listing(counts)}; {level} (untrained networks: {self.chance:.2f}; "
        said += f"channels not matched: {self.unmatched:.2f})"
        moved = [pair for pair in (*self.kept, *self.changed) if pair[0] != pair[1]]
        if moved and len(self.fires[0]) == len(self.fires[1]):
            said += f"; {counted(len(moved), 'counterpart')} {agreeing(len(moved), 'has', 'have')} another number"
        if without := int(self.low.isnan().sum()):
            pairs, have = counted(without, "pair"), agreeing(without, "has", "have")
            said += f"; {pairs} {have} no interval, since too few images activate a channel"
        return f"{said}."

    def _same(self) -> str:
        """What is to be said of layers with the same channels, or ""."""
        respond = [len(fires) - len(flat) for fires, flat in zip(self.fires, self.constant, strict=True)]
        if not len(self.pairs) or respond[0] != respond[1] or len(self.pairs) != respond[0]:
            return ""
        if float(self.correlations.min()) < SAME_CHANNEL:
            return ""
        if any(state != KEPT_PAIR for state in self.states):
            return ""
        in_order = all(one == other for one, other in self.pairs.tolist())
        said = f"the same {counted(len(self.pairs), 'channel')}"
        said += "" if in_order else " in another order"
        low, high = float(self.ratios.min()), float(self.ratios.max())
        if low < 1 - SAME_SCALE or high > 1 + SAME_SCALE:
            said += f", at another scale ({_times(low, high)} as strong)"
        return said


def _times(low: float, high: float) -> str:
    first, last = in_digits(low), in_digits(high)
    return f"{last} times" if first == last else f"{first} to {last} times"


def _state(adjusted: float, p: float, low: float, high: float, limit: float) -> str:
    if adjusted <= LEVEL:
        return KEPT_PAIR if low >= ALIKE_FROM else CHANGED if high < ALIKE_FROM else UNCLEAR
    return PARTED if p > LEVEL and high < limit else UNCLEAR


@dataclass(frozen=True, kw_only=True)
class NetworkDiff(Finding):
    """Two networks, channel by channel. It has a length and items, the layers, by number or by name.

    Attributes:
        networks: What the networks are called.
        dataset: The dataset's name.
        images: Number of images.
        broken: Items that could not be read.
        layers: One entry per pair of layers.
    """

    drawn_by = "deconvviz.figures.network_diff"

    networks: tuple[str, str]
    dataset: str
    images: int
    broken: tuple[Broken, ...]
    layers: tuple[LayerDiff, ...]

    def renamed(self, first: str, second: str) -> NetworkDiff:
        """The same with other names of the networks."""
        return replace(self, networks=(first, second))

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[LayerDiff]:
        return iter(self.layers)

    def __getitem__(self, layer: int | str) -> LayerDiff:
        if not isinstance(layer, str):
            return self.layers[layer]
        found = next((one for one in self.layers if layer in (one.layers[0], one.name)), None)
        if found is None:
            names = [one.layers[0] for one in self.layers]
            raise InputError(f"there is no layer {layer!r} in the comparison{did_you_mean(layer, names)}")
        return found

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; those of its channels are in the layer's own table."""
        return [layer.summary() for layer in self.layers]

    def as_json(self) -> dict[str, Any]:
        facts = {"networks": list(self.networks), "images": self.images, "dataset": self.dataset}
        return {
            **super().as_json(),
            **facts,
            "channels": {layer.name: layer.as_json()["table"] for layer in self.layers},
        }

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """What was found, in words."""
        said = [layer.verdict for layer in self.layers[:SENTENCES]]
        more = len(self.layers) - len(said)
        return " ".join([self.overall, *said, *([f"{counted(more, 'layer')} more in the table."] if more else [])])

    @property
    def overall(self) -> str:
        """What was found in all layers together, in a sentence."""
        total = sum(len(layer.fires[0]) for layer in self.layers)
        over = f"over {counted(self.images, 'image')}"
        if self.images < FEWEST:
            images = counted(self.images, "image")
            return f"{images} {agreeing(self.images, 'is', 'are')} too few to compare channels."
        same = [layer._same() for layer in self.layers]
        if all(same):
            order = " in another order" if any("order" in one for one in same) else ""
            scale = ", at another scale" if any("scale" in one for one in same) else ""
            return f"The networks have the same channels{order}{scale} {over}."
        kept, changed = sum(len(one.kept) for one in self.layers), sum(len(one.changed) for one in self.layers)
        if not kept + changed:
            return f"No channel of {total:,} is shown to have a counterpart {over}."
        have = agreeing(kept + changed, "has", "have")
        found = f"{kept + changed} of {counted(total, 'channel')} {have} a counterpart {over}"
        if kept + changed == 1:
            return f"{found}, {'' if kept else 'not '}nearly the same."
        alike = str(kept) if kept and changed else "none" if not kept else "both" if kept == 2 else "all"
        return f"{found}, {alike} of them nearly the same."

    @takes(path=PATH)
    def write_pages(self, path: str | os.PathLike[str]) -> Path:
        """Write an atlas of pairs: a folder with a page per layer, which shows both channels of each pair.

        The pages need no server and send nothing anywhere.

        Args:
            path: The folder. Pages of the same names are replaced.

        Returns:
            The first page, ``index.html``.
        """
        written: Path = importlib.import_module("deconvviz.figures.network_diff_pages").write(self, path)
        return written
