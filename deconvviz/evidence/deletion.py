"""Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421), measured on the unit's own activation.

A method ranks the pixels of the unit's receptive field. The pixels ranked first are deleted from the image step by
step, or inserted into a blank image, and the unit's activation is measured. If the method found what the unit responds
to, the activation falls or rises early.

Deviations from the paper: the activation, which is not a probability, is scaled to 1 on the whole image and 0 on the
blank one. Only the receptive field is ranked, so that no method gains from knowing where the unit looks. Pixels of
equal rank are deleted in random order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, WHOLE, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.evidence.limits import blank_pictures, too_few
from deconvviz.evidence.methods import (
    BASELINES,
    Attribution,
    ChannelPosition,
    Judged,
    chosen_methods,
    mean_score,
    noise,
)
from deconvviz.evidence.metrics import FieldRanges, cut, enough, heatmap
from deconvviz.intervals import FEWEST
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.projection.fill import Fill, fill_of
from deconvviz.projection.units import Position
from deconvviz.recording.layer_names import LayerName
from deconvviz.results.evidence import Deletion, Score
from deconvviz.results.words import agreeing, counted


@takes(net=NET, methods=METHODS_OR_FUNCTIONS, steps=WHOLE, batch_size=whole_from(1), progress=FLAG)
def deletion(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    fill: Fill = 0,
    steps: int = 16,
    batch_size: int = 32,
    progress: bool = True,
) -> Deletion:
    """Test whether the pixels that a method ranks first activate the unit.

    An edge detector and a random ranking are always added as baselines.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`; one unit is measured on each.
        layer: The unit's layer.
        channel: One channel for all images, one per image, or None for each image's strongest.
        position: As for `DeconvNet.project`.
        methods: Names or functions (`deconvviz.evidence.methods`); None for the three styles.
        fill: What replaces a deleted pixel: a number in the units of the network's input (0 is often the mean colour of
            the training images), "mean" or "blur" of the image, "black", "grey" or "white"
            (`deconvviz.projection.fill`).
        steps: Number of steps in which pixels are deleted.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Deletion`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> found = deletion(DeconvNet(mnist_cnn()), mnist_test()[0][:8], "fc2", methods=["deconvnet"])
        >>> found.insertion_scores["deconvnet"].mean > found.insertion_scores["random"].mean
        True
    """
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"pixels are deleted in one step or more, not {steps!r}")
    judged = Judged(net, inputs, layer, channel, position)
    blank = fill_of(fill, judged.x, net.preprocess).expand_as(judged.x)
    fractions = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    asked = {**chosen_methods(methods), **BASELINES}
    deleted, inserted = _all_curves(judged, asked, blank, fractions=fractions, batch_size=batch_size, progress=progress)
    return _scored(judged, fill, fractions, deleted, inserted)


def _all_curves(
    judged: Judged,
    methods: Mapping[str, Attribution],
    blank: Tensor,
    *,
    fractions: Tensor,
    batch_size: int,
    progress: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Deletion and insertion by each method, (images, steps + 1) each."""
    deleted, inserted = {}, {}
    with progress_bar(total=len(methods) * len(judged.x), unit="picture", desc="deletion", shown=progress) as bar:
        for name, method in methods.items():
            curves = []
            for n, heat in enumerate(judged.heatmaps(method)):
                curves.append(
                    _insertion_and_deletion(judged, n, heat, blank[n], fractions=fractions, batch_size=batch_size)
                )
                bar.update()
            deleted[name], inserted[name] = (torch.stack(each) for each in zip(*curves, strict=True))
    return deleted, inserted


def _scored(
    judged: Judged, fill: Fill, fractions: Tensor, deleted: dict[str, Tensor], inserted: dict[str, Tensor]
) -> Deletion:
    """The result, with the areas under the curves as scores."""
    without = {name: mean_score(torch.trapezoid(values, fractions)) for name, values in deleted.items()}
    areas = {name: torch.trapezoid(values, fractions) for name, values in inserted.items()}
    scores = {name: mean_score(values) for name, values in areas.items()}
    gains = {name: mean_score(values - areas["random"]) for name, values in areas.items()}
    beyond = {name: float((values - areas["edges"]).nanmean()) for name, values in areas.items()}
    return Deletion(
        units=judged.units,
        fill=fill if isinstance(fill, str) else float(fill),
        fractions=fractions,
        deletion=deleted,
        insertion=inserted,
        deletion_scores=without,
        insertion_scores=scores,
        gains=gains,
        verdict=_verdict(scores, gains, beyond, len(judged.units)),
    )


def _ranked(heat: Tensor) -> Tensor:
    """The rank of each pixel, 0 for the first; equals in random order."""
    lot = torch.randperm(heat.numel(), generator=torch.Generator().manual_seed(1))
    order = lot[heat.flatten()[lot].argsort(descending=True, stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return ranks.view(heat.shape)


def areas(judged: Judged, heats: Sequence[Tensor], steps: int = 16, batch_size: int = 32) -> tuple[Tensor, Tensor]:
    """Areas under the curves of deletion and insertion with zeros, (images,) each, for given heatmaps."""
    fractions = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    blank = torch.zeros_like(judged.x[0])
    curves = [
        _insertion_and_deletion(judged, n, heat, blank, fractions=fractions, batch_size=batch_size)
        for n, heat in enumerate(heats)
    ]
    deleted, inserted = (torch.trapezoid(torch.stack(each), fractions) for each in zip(*curves, strict=True))
    return deleted, inserted


@dataclass(frozen=True)
class UnitsInImages:
    """One unit of a layer in each of several images.

    Attributes:
        net: The network.
        layer: Name of the layer.
        x: The images, (N, C, H, W).
        places: Channel and position of each image's unit.
        boxes: The units' receptive fields.
    """

    net: DeconvNet
    layer: str
    x: Tensor
    places: Sequence[ChannelPosition]
    boxes: Sequence[FieldRanges]


def gains(units: UnitsInImages, heats: Sequence[Tensor], *, steps: int = 16, batch_size: int = 32) -> list[float]:
    """The insertion scores of given heatmaps minus those of a random ranking, on a zero image.

    The values equal those of `deletion` for each image alone. A value is NaN if the heatmap is blank or if the unit is
    no more active on the image than on the zero image.

    Args:
        net: The network.
        x: The image of each unit.
        layer: The units' layer.
        places: The channel and position of each unit.
        boxes: The receptive field of each unit.
        heats: The heatmap of each unit, cropped to its receptive field.
        steps: Number of steps.
        batch_size: Images per forward pass.
    """
    fractions = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    results: list[float] = []
    for rows in torch.arange(len(units.x)).split(max(1, batch_size // (2 * steps))):
        numbers = rows.tolist()
        batch = torch.cat([_inserted_by_both(units, n, heats[n], fractions) for n in numbers])
        places = [units.places[n] for n in numbers for _ in range(2 * steps)]
        values = activations(units.net, batch, units.layer, places, batch_size).split(2 * steps)
        results += [_gain(heats[n], risen, fractions) for n, risen in zip(numbers, values, strict=True)]
    return results


def _inserted_by_both(units: UnitsInImages, n: int, heat: Tensor, fractions: Tensor) -> Tensor:
    """Pixels of image n inserted by a heatmap, (steps + 1, ...), and then by a random ranking, (steps - 1, ...).

    Both begin with nothing and end with the whole receptive field.
    """
    image, place, box = units.x[n], units.places[n], units.boxes[n]
    random = cut(heatmap(noise(units.net.model, image[None], units.layer, [place]))[0], box)
    by_heat, by_lot = (_first(image, box, _ranked(each), fractions) for each in (heat, random))
    return _inserted(image, torch.zeros_like(image), torch.cat([by_heat, by_lot[1:-1]]), by_heat[-1])


def _gain(heat: Tensor, risen: Tensor, fractions: Tensor) -> float:
    """The area gained over the random ranking. risen: the unit's activations for what `_inserted_by_both` returns."""
    steps = len(fractions) - 1
    if not heat.any():
        return math.nan
    none, whole = risen[:1], risen[steps : steps + 1]
    by_heat, by_lot = risen[: steps + 1], torch.cat([none, risen[steps + 1 :], whole])
    return float(
        torch.trapezoid(_relative_activations(by_heat, none, whole), fractions)
        - torch.trapezoid(_relative_activations(by_lot, none, whole), fractions)
    )


def _insertion_and_deletion(
    judged: Judged, n: int, heat: Tensor, blank: Tensor, *, fractions: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Deletion and insertion of one image, (steps + 1,) each; NaN where the heatmap is empty, and so ranks nothing."""
    if not heat.any():
        return torch.full_like(fractions, torch.nan), torch.full_like(fractions, torch.nan)
    image = judged.x[n]
    mask = _first(image, judged.box(n), _ranked(heat), fractions)
    batch = torch.cat([torch.where(mask, blank, image), _inserted(image, blank, mask, mask[-1])])
    values = activations(judged.net, batch, judged.layer, [judged.places[n]] * len(batch), batch_size)
    fallen, risen = values[: len(fractions)], values[len(fractions) :]
    return _relative_activations(fallen, fallen[-1], fallen[0]), _relative_activations(risen, fallen[-1], fallen[0])


def _first(image: Tensor, box: FieldRanges, ranks: Tensor, fractions: Tensor) -> Tensor:
    """Where the pixels lie that are ranked first, (steps + 1, 1, H, W)."""
    counts = (fractions * ranks.numel()).round().long()
    (top, bottom), (left, right) = box
    first = torch.zeros(len(counts), *image.shape[1:], dtype=torch.bool)
    first[:, top:bottom, left:right] = ranks < counts[:, None, None]
    return first[:, None].to(image.device)


def _inserted(image: Tensor, blank: Tensor, mask: Tensor, field: Tensor) -> Tensor:
    """Pixels of an image in a blank one. field: what the unit sees; the image stays as it is outside of that."""
    return torch.where(mask, image, torch.where(field, blank, image))


def _relative_activations(values: Tensor, none: Tensor, whole: Tensor) -> Tensor:
    """Activations scaled to 0 on the blank image and 1 on the whole one; NaN unless the whole one activates more."""
    span = whole - none if whole - none > 1e-6 * whole.abs() else torch.tensor(float("nan"))
    return (values - none) / span


def activations(net: DeconvNet, x: Tensor, layer: str, places: Sequence[ChannelPosition], batch_size: int) -> Tensor:
    """The activation of one unit of each image, (N,) in float64."""
    parts = []
    for start in range(0, len(x), batch_size):
        trace = net.trace(x[start : start + batch_size], layer)
        if trace.layer(layer).value.id not in trace.apart and batch_size > 1:
            return activations(net, x, layer, places, 1)
        maps = trace.activations[layer]
        units = [(channel, *position) for channel, position in places[start : start + batch_size]]
        flat = torch.tensor([_flat(unit, maps.shape[1:]) for unit in units], device=maps.device)
        parts.append(maps.flatten(1).gather(1, flat[:, None])[:, 0].double().cpu())
    return torch.cat(parts)


def _flat(index: Sequence[int], shape: Sequence[int]) -> int:
    return int(np.ravel_multi_index(tuple(index), tuple(shape)))


def _verdict(
    insertion: Mapping[str, Score], gains: Mapping[str, Score], beyond: Mapping[str, float], images: int
) -> str:
    """beyond: mean insertion score of each method minus that of the edge detector; NaN if that is unknown."""
    fires = insertion["random"].images
    if not fires:
        whose = "The unit is no" if images == 1 else f"None of the {images} units is"
        return f"{whose} more active on its image than on the blank one, so there is no verdict."
    if not enough(fires, images):
        more = agreeing(fires, "is more active on its image", "are more active on their images")
        return f"Only {fires} of {counted(images, 'unit')} {more} than on the blank one, too few for a verdict."
    said = []
    for name, gain in gains.items():
        if name in BASELINES:
            continue
        if not enough(gain.images, fires):
            said.append(blank_pictures(name, gain.images, fires))
        else:
            said.append(_judged(name, gain, beyond[name]))
            if gain.images < fires:
                said[-1] += f", without {counted(fires - gain.images, 'image')} on which its picture is blank"
    left = "" if fires == images else f" Scored on {fires} of {counted(images, 'image')}, where the unit fires."
    return f"{'; '.join(said)}.{left}"


def _judged(name: str, gain: Score, beyond: float) -> str:
    if gain.images < FEWEST:
        return f"{name} gains {gain.mean:+.2f} over a random ranking: {too_few(gain.images)}"
    if gain.low > 0:
        edges = "better than an edge detector" if beyond > 0 else "but no better than an edge detector"
        than = "" if math.isnan(beyond) else f", {edges} ({beyond:+.2f})"
        return f"{name} finds pixels that activate the unit ({gain.mean:+.2f} above chance){than}"
    if gain.high < 0:
        return f"{name} ranks pixels worse than chance ({gain.mean:+.2f})"
    return f"{name} cannot be distinguished from a random ranking ({gain.mean:+.2f})"
