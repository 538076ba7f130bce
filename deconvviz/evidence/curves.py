"""Curves of deletion and insertion: a unit's activation as pixels are taken from an image, or put into a blank one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deconvviz.evidence.methods import ChannelPosition, Judged, noise
from deconvviz.evidence.metrics import FieldRanges, cut, heatmap
from deconvviz.evidence.steps import Stepwise, finished
from deconvviz.net import DeconvNet


@dataclass(frozen=True)
class Curves:
    """How curves are measured.

    Attributes:
        blank: (images, C, H, W), what replaces deleted pixels.
        fractions: (steps + 1,), the fractions of pixels, from 0 to 1.
        batch_size: Images per forward pass.
    """

    blank: Tensor
    fractions: Tensor
    batch_size: int

    def of(self, judged: Judged, n: int, heat: Tensor) -> tuple[Tensor, Tensor]:
        """Deletion and insertion on image n, (steps + 1,) each; NaN where the heatmap is empty: it ranks nothing."""
        if not heat.any():
            return torch.full_like(self.fractions, torch.nan), torch.full_like(self.fractions, torch.nan)
        image, blank = judged.x[n], self.blank[n]
        mask = _first(image, judged.box(n), _ranked(heat), self.fractions)
        batch = torch.cat([torch.where(mask, blank, image), _inserted(image, blank, mask, mask[-1])])
        values = self._activations(judged, n, batch)
        fallen, risen = values[: len(self.fractions)], values[len(self.fractions) :]
        return _relative_activations(fallen, fallen[-1], fallen[0]), _relative_activations(risen, fallen[-1], fallen[0])

    def insertion_areas(self, judged: Judged, heats: Sequence[Tensor]) -> Tensor:
        """Areas under the curves of insertion alone, (images,)."""
        areas = []
        for n, heat in enumerate(heats):
            image = judged.x[n]
            mask = _first(image, judged.box(n), _ranked(heat), self.fractions)
            risen = self._activations(judged, n, _inserted(image, self.blank[n], mask, mask[-1]))
            area = torch.trapezoid(_relative_activations(risen, risen[0], risen[-1]), self.fractions)
            areas.append(area if heat.any() else torch.full_like(area, torch.nan))
        return torch.stack(areas)

    def _activations(self, judged: Judged, n: int, batch: Tensor) -> Tensor:
        return activations(judged.net, batch, judged.layer, [judged.places[n]] * len(batch), self.batch_size)


def steps_of(steps: int) -> Tensor:
    """The fractions of pixels in a number of steps, (steps + 1,)."""
    return torch.linspace(0, 1, steps + 1, dtype=torch.float64)


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
    """See `gains_in_steps`."""
    return finished(gains_in_steps(units, heats, steps=steps, batch_size=batch_size))


def gains_in_steps(
    units: UnitsInImages, heats: Sequence[Tensor], *, steps: int = 16, batch_size: int = 32
) -> Stepwise[list[float]]:
    """The insertion scores of given heatmaps minus those of a random ranking, on a zero image: a pass in each step.

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
    fractions = steps_of(steps)
    results: list[float] = []
    for rows in torch.arange(len(units.x)).split(max(1, batch_size // (2 * steps))):
        numbers = rows.tolist()
        masks = torch.stack([_masks_of_both(units, n, heats[n], fractions) for n in numbers]).to(units.x.device)
        images = units.x[numbers[0] : numbers[-1] + 1, None]
        batch = _inserted(images, torch.zeros_like(images), masks, masks[:, steps, None]).flatten(0, 1)
        places = [units.places[n] for n in numbers for _ in range(2 * steps)]
        found = yield from _activations_in_steps(units.net, batch, units.layer, places, batch_size)
        risen = found.split(2 * steps)
        results += [_gain(heats[n], values, fractions) for n, values in zip(numbers, risen, strict=True)]
    return results


def _masks_of_both(units: UnitsInImages, n: int, heat: Tensor, fractions: Tensor) -> Tensor:
    """Pixels of image n inserted by a heatmap, (steps + 1, ...), and then by a random ranking, (steps - 1, ...).

    Both begin with nothing and end with the whole receptive field. What is returned lies on the CPU.
    """
    image, place, box = units.x[n], units.places[n], units.boxes[n]
    random = cut(heatmap(noise(units.net.model, image[None], units.layer, [place]))[0], box)
    by_heat, by_lot = (_first_pixels(image.shape[1:], box, _ranked(each), fractions) for each in (heat, random))
    return torch.cat([by_heat, by_lot[1:-1]])


def _gain(heat: Tensor, risen: Tensor, fractions: Tensor) -> float:
    """The area gained over the random ranking. risen: the unit's activations for what `_masks_of_both` inserts."""
    steps = len(fractions) - 1
    if not heat.any():
        return math.nan
    none, whole = risen[:1], risen[steps : steps + 1]
    by_heat, by_lot = risen[: steps + 1], torch.cat([none, risen[steps + 1 :], whole])
    return float(
        torch.trapezoid(_relative_activations(by_heat, none, whole), fractions)
        - torch.trapezoid(_relative_activations(by_lot, none, whole), fractions)
    )


def _ranked(heat: Tensor) -> Tensor:
    """The rank of each pixel, 0 for the first; equals in random order."""
    lot = torch.randperm(heat.numel(), generator=torch.Generator().manual_seed(1))
    order = lot[heat.flatten()[lot].argsort(descending=True, stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order))
    return ranks.view(heat.shape)


def _first(image: Tensor, box: FieldRanges, ranks: Tensor, fractions: Tensor) -> Tensor:
    """Where the pixels lie that are ranked first, (steps + 1, 1, H, W), on the image's device."""
    return _first_pixels(image.shape[1:], box, ranks, fractions).to(image.device)


def _first_pixels(size: Sequence[int], box: FieldRanges, ranks: Tensor, fractions: Tensor) -> Tensor:
    counts = (fractions * ranks.numel()).round().long()
    (top, bottom), (left, right) = box
    first = torch.zeros(len(counts), *size, dtype=torch.bool)
    first[:, top:bottom, left:right] = ranks < counts[:, None, None]
    return first[:, None]


def _inserted(image: Tensor, blank: Tensor, mask: Tensor, field: Tensor) -> Tensor:
    """Pixels of an image in a blank one. field: what the unit sees; the image stays as it is outside of that."""
    return torch.where(mask, image, torch.where(field, blank, image))


def _relative_activations(values: Tensor, none: Tensor, whole: Tensor) -> Tensor:
    """Activations scaled to 0 on the blank image and 1 on the whole one; NaN unless the whole one activates more."""
    span = whole - none if whole - none > 1e-6 * whole.abs() else torch.tensor(float("nan"))
    return (values - none) / span


def activations(net: DeconvNet, x: Tensor, layer: str, places: Sequence[ChannelPosition], batch_size: int) -> Tensor:
    """The activation of one unit of each image, (N,) in float64."""
    return finished(_activations_in_steps(net, x, layer, places, batch_size))


def _activations_in_steps(
    net: DeconvNet, x: Tensor, layer: str, places: Sequence[ChannelPosition], batch_size: int
) -> Stepwise[Tensor]:
    """The same, a pass in each step."""
    parts = []
    for start in range(0, len(x), batch_size):
        trace = net.trace(x[start : start + batch_size], layer)
        if trace.layer(layer).value.id not in trace.apart and batch_size > 1:
            return (yield from _activations_in_steps(net, x, layer, places, 1))
        maps = trace.activations[layer]
        units = [(channel, *position) for channel, position in places[start : start + batch_size]]
        flat = torch.tensor([_flat(unit, maps.shape[1:]) for unit in units], device=maps.device)
        parts.append(maps.flatten(1).gather(1, flat[:, None])[:, 0].cpu().double())
        yield
    return torch.cat(parts)


def _flat(index: Sequence[int], shape: Sequence[int]) -> int:
    return int(np.ravel_multi_index(tuple(index), tuple(shape)))
