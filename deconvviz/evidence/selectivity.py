"""Selectivity: do pictures of different units on the same image differ (Mahendran and Vedaldi, ECCV 2016)?

On each image, several channels at one position are compared, so that all units see the same pixels. The same units on
another image, and other units on another image, are the controls: what a picture shows of the image is its distance
from the last of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, WHOLE, takes
from deconvviz.errors import InputError
from deconvviz.evidence.floor import Controls, distance_from_floor
from deconvviz.evidence.limits import ALIKE, too_few
from deconvviz.evidence.methods import Attribution, Judged, chosen_methods, mean_cosine, noise
from deconvviz.evidence.metrics import cosine, enough, heatmap, mean_of_known, spearman, ssim
from deconvviz.intervals import FEWEST, STRICT_LEVEL, holm, paired_difference
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.recording.layer_names import LayerName
from deconvviz.results.evidence import Floor, Selectivity
from deconvviz.results.words import agreeing, counted

NAN = math.nan
DUPLICATE = 1e-6  # activations of two channels that are this near to one direction are the same
NUMBERS_AT_ONCE = 2**24  # activations of channels that are compared together


@takes(net=NET, count=WHOLE, methods=METHODS_OR_FUNCTIONS, progress=FLAG)
@on_the_cpu
def selectivity(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    count: int = 6,
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    progress: bool = True,
) -> Selectivity:
    """How similar the pictures of different units of a layer are on the same image.

    On each image, the units are the most active channels at the layer's strongest position. Pairs with a blank picture,
    as of silent units, are left out and counted, and so are pairs of duplicate channels, which have the same
    activations everywhere. A random picture is added as a baseline.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`.
        layer: The units' layer.
        count: Units per image.
        methods: As for `deletion`.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Selectivity`. There is no verdict on fewer than 8 images.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.
    """
    if not isinstance(count, int) or count < 2:
        raise InputError(f"count must be at least 2, to compare units, not {count!r}")
    strongest = Judged(net, inputs, layer)
    if strongest.activations.shape[1] < 2:
        raise InputError(f"layer {strongest.layer!r} has one channel, so there are no two units to compare")
    compared = [_at_one_place(strongest, n, count) for n in range(len(strongest.x))]
    pairs = [_distinct_pairs(strongest.activations, judged) for judged in compared]
    asked = {**chosen_methods(methods), "random": noise}
    found = {
        name: [_measured(strongest, n, method, compared[n], pairs[n]) for n in range(len(compared))]
        for name, method in progress_bar(asked.items(), unit="method", desc="selectivity", shown=progress)
    }
    tables = {name: Controls(*torch.tensor([each.cosines for each in rows]).T) for name, rows in found.items()}
    left_out = {name: sum(each.blank for each in rows) for name, rows in found.items()}
    every, distinct = (sum(len(part.places) * (len(part.places) - 1) // 2 for part in compared), sum(map(len, pairs)))
    return Selectivity(
        units=tuple(replace(unit, sample=n) for n, judged in enumerate(compared) for unit in judged.units),
        floors={name: table.floor() for name, table in tables.items()},
        spearman={name: mean_cosine([each.spearman for each in rows]) for name, rows in found.items()},
        ssim={name: mean_cosine([each.ssim for each in rows]) for name, rows in found.items()},
        verdict=_verdict(tables, left_out, distinct, every - distinct),
        pairs=distinct,
        blank=left_out,
        duplicates=every - distinct,
    )


class _OfImage(NamedTuple):
    """Similarities of one image's pictures: cosines in the order of `Controls`, and the number of blank pairs."""

    cosines: tuple[float, float, float]
    spearman: float
    ssim: float
    blank: int


def _distinct_pairs(activations: Tensor, judged: Judged) -> list[tuple[int, int]]:
    """The pairs of an image's units whose channels differ somewhere on the images. activations: (images, C, ...)."""
    pairs = list(itertools.combinations(range(len(judged.places)), 2))
    channels = [channel for channel, _ in judged.places]
    alike = duplicates(activations, [(channels[a], channels[b]) for a, b in pairs])
    return [pair for pair, same in zip(pairs, alike, strict=True) if not same]


def duplicates(activations: Tensor, pairs: Sequence[tuple[int, int]]) -> list[bool]:
    """Whether pairs of channels are duplicates: their activations differ by rounding and a positive factor at most.

    A silent channel is no duplicate. The device is read once.

    Args:
        activations: (N, C, *positions).
        pairs: Numbers of channels.
    """
    distinct = list(dict.fromkeys(pairs))
    of_channel = activations[:, :1].numel()
    together = max(1, NUMBERS_AT_ONCE // max(1, of_channel))
    found = []
    for start in range(0, len(distinct), together):
        index = torch.tensor(distinct[start : start + together], device=activations.device)
        first, second = (_directions(activations[:, channels]) for channels in index.unbind(1))
        distance = (first - second).square().sum(1)  # twice what the cosine lacks of 1
        found.append((distance < 2 * DUPLICATE) & first.any(1) & second.any(1))
    alike = dict(zip(distinct, torch.cat(found).tolist(), strict=True)) if found else {}
    return [alike[pair] for pair in pairs]


def _directions(maps: Tensor) -> Tensor:
    """Maps (N, C, ...) as one vector for each channel, (C, numbers), of length one; zeros stay zeros."""
    flat = maps.detach().movedim(1, 0).flatten(1)
    flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
    largest = flat.abs().amax(1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    return torch.nn.functional.normalize(flat / largest, dim=1)


def _measured(
    strongest: Judged, n: int, method: Attribution, judged: Judged, pairs: Sequence[tuple[int, int]]
) -> _OfImage:
    own = judged.pictures(method)
    same = [cosine(own[a], own[b]) for a, b in pairs]
    heats = [heatmap(picture[None])[0] for picture in own]
    unit, both = NAN, NAN
    if len(strongest.x) > 1:
        following = strongest.x[(n + 1) % len(strongest.x)]
        others = judged.pictures(method, x=following.expand_as(judged.x))
        unit = mean_of_known([cosine(a, b) for a, b in zip(own, others, strict=True)])
        both = mean_of_known([cosine(own[a], others[b]) for pair in pairs for a, b in (pair, pair[::-1])])
    return _OfImage(
        cosines=(mean_of_known(same), unit, both),
        spearman=mean_of_known([spearman(heats[a], heats[b]) for a, b in pairs]),
        ssim=mean_of_known([ssim(heats[a], heats[b]) for a, b in pairs]),
        blank=sum(map(math.isnan, same)),
    )


def _at_one_place(strongest: Judged, n: int, count: int) -> Judged:
    """The most active channels at image n's strongest position."""
    _, position = strongest.places[n]
    (channels,) = strongest_at(strongest.activations, [(n, position)], count)
    x = strongest.x[n : n + 1].expand(len(channels), -1, -1, -1)
    judged = Judged(strongest.net, x, strongest.layer, channels, position)
    # Behind joined branches channels see windows of different sizes; all are compared on what any of them sees.
    judged.boxes[..., 0], judged.boxes[..., 1] = judged.boxes[..., 0].amin(0), judged.boxes[..., 1].amax(0)
    return judged


def strongest_at(activations: Tensor, places: Sequence[tuple[int, Sequence[int]]], count: int) -> list[list[int]]:
    """The most active channels at some positions.

    Args:
        activations: (N, C, *positions).
        places: Pairs of a sample and a position.
        count: How many channels, at most.

    Returns:
        Per place the channels, the most active first.
    """
    index = torch.tensor([(sample, *position) for sample, position in places], device=activations.device)
    values = activations.movedim(1, -1)[tuple(index.unbind(1))]
    channels: list[list[int]] = values.topk(min(count, values.shape[1]), dim=1).indices.tolist()
    return channels


def _verdict(found: Mapping[str, Controls], blank: Mapping[str, int], pairs: int, duplicates: int) -> str:
    """found: per method the cosines of each image; pairs: number of pairs of different channels."""
    are = agreeing(duplicates, "is of a duplicate channel", "are of duplicate channels")
    same = f"{counted(duplicates, 'pair')} of units {are}"
    if not pairs:
        return f"{same}, and no other pair is left."
    names = [name for name in found if name != "random"]
    effects = {name: [paired_difference(values, found[name].both) for values in found[name][:2]] for name in names}
    tested = [effect for each in effects.values() for effect in each]
    rises = holm([effect.p / 2 if effect.mean > 0 else 1 - effect.p / 2 for effect in tested])  # one-sided
    likely = [p <= STRICT_LEVEL for p in rises]
    sure = dict(zip(names, zip(likely[::2], likely[1::2], strict=True), strict=True))
    said = []
    for name in names:
        image, unit = sure[name]
        include = agreeing(blank[name], "includes a blank one", "include a blank one")
        left_out = f"{blank[name]} of {counted(pairs, 'pair')} of {name} pictures {include}"
        if not enough(pairs - blank[name], pairs):
            said.append(f"{left_out}, and too few are left for a verdict")
            continue
        floor, judged = found[name].floor(), effects[name][0].size
        means = f"the picture {_means(floor, image, unit)}" if judged >= FEWEST else too_few(judged)
        without = f" ({left_out} and {agreeing(blank[name], 'is', 'are')} left out)" if blank[name] else ""
        said.append(
            f"{name} pictures of different units on one image have a cosine of {floor.other_unit}, of one unit on two "
            f"images {floor.other_image.mean:.2f}, of different units on two images {floor.both.mean:.2f}: "
            f"{means}{without}"
        )
    left = f"; {same} and left out" if duplicates else ""
    return f"{'; '.join(said)}{left}."


def _means(floor: Floor, image: bool, unit: bool) -> str:
    """What the cosines mean. image, unit: whether sharing it surely makes two pictures more alike."""
    share = distance_from_floor(floor.other_unit.mean, floor.both.mean)
    if image and share > ALIKE.limits[0]:
        return ALIKE.said(share)
    if unit:
        return ALIKE.words[0]
    if image:
        return "shows a little of the image, and is not shown to have anything of the unit"
    return "is not shown to have more of the image or of the unit than chance"
