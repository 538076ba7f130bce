"""Choosing units of a layer: which samples, channels and positions, and where these lie in the layer's map."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.arguments import described, is_whole, listed, whole
from deconvviz.errors import InputError
from deconvviz.projection.backward import Seeds
from deconvviz.projection.finite_checks import FiniteChecks, is_finite
from deconvviz.projection.half_precision import wide
from deconvviz.results import Unit

Position = str | Sequence[int] | Tensor
UnitPlace = tuple[int, int, Sequence[int]]  # sample, channel, position in the channel's map


@dataclass(frozen=True)
class LayerActivations:
    """What a layer returned for a batch.

    Attributes:
        layer: Name of the layer.
        tensor: The activations; along axis 0 the samples follow one another.
        samples: Number of samples in the batch.
        channel_axis: Axis of `tensor` along which the channels lie.
    """

    layer: str
    tensor: Tensor
    samples: int = 1
    channel_axis: int = 1

    def by_sample(self) -> Tensor:
        """The activations as a tensor (samples, elements)."""
        return self.tensor.reshape(self.samples, -1)

    @property
    def channels(self) -> int:
        """The number of channels.

        Raises:
            InputError: If the layer returns a single number.
        """
        return self._part[self.channel_axis]

    @property
    def dims(self) -> tuple[int, ...]:
        """The size of a channel's map."""
        dims = self._part[: self.channel_axis] + self._part[self.channel_axis + 1 :]
        # One row per sample is no position of its own; one number per sample is its only channel.
        return dims[1:] if self._part[0] == 1 and dims[:1] == (1,) else dims

    def maps(self, channels: list[int]) -> Tensor:
        """The maps of some channels, (samples, channels, positions)."""
        every = self.tensor.reshape(self.samples, *self._part).movedim(self.channel_axis + 1, 1)
        every = every.reshape(self.samples, self.channels, -1)
        return every if channels == list(range(self.channels)) else every[:, channels]

    def index(self, channels: Tensor, positions: Tensor) -> Tensor:
        """Where units lie in their sample's flattened activations.

        Args:
            channels: The channel of each.
            positions: Their indices in the flattened map of their channel.
        """
        inner = torch.Size(self._part[self.channel_axis + 1 :]).numel()  # of the axes behind that of the channels
        if self.channel_axis == 0 or torch.Size(self._part[: self.channel_axis]).numel() == 1:
            return channels * inner + positions
        return (positions // inner * self.channels + channels) * inner + positions % inner

    def places(self, channels: Tensor, positions: Tensor) -> NDArray[np.int64]:
        """Where units lie in their sample's part of the tensor, without the rows along axis 0, (units, axes)."""
        axes = np.unravel_index(self.index(channels, positions).numpy(), self._part)[1:]
        return np.stack(axes, 1) if axes else np.zeros((len(positions), 0), np.int64)

    def watch(self, finite: FiniteChecks) -> None:
        """Have it checked whether the activations are finite.

        Raises:
            InputError: If they have no values.
        """
        check_has_values(self.layer, self.tensor)
        finite.watch(self.tensor, partial(_refuse_activations, self.layer))

    @property
    def _part(self) -> tuple[int, ...]:
        if not self.tensor.ndim:
            raise InputError(
                f"layer {self.layer!r} returns a single number, which has no channels; reconstruct from it instead"
            )
        return sample_shape(self.tensor.shape, self.samples)


@dataclass(frozen=True)
class ChosenUnits:
    """Units of a layer. Where they lie and how active they are may still be known on the device alone.

    Attributes:
        activations: What the layer returned.
        channels: (units,), the channel of each.
        positions: (units,), the index of each in the flattened map of its channel, where the activations lie.
        seeds: Their seeds, which hold their activations.
    """

    activations: LayerActivations
    channels: Tensor
    positions: Tensor
    seeds: Seeds

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units. Raises InputError if the activations are not all finite."""
        finite = FiniteChecks()
        self.activations.watch(finite)
        return self.read(finite)[0]

    def places(self, finite: FiniteChecks) -> list[UnitPlace]:
        """Sample, channel and position of each; `finite` as for `read`."""
        return [(unit.sample, unit.channel, unit.position) for unit in self.read(finite)[0]]

    def read(self, finite: FiniteChecks) -> tuple[tuple[Unit, ...], NDArray[np.int64]]:
        """The units, and where they lie in the layer's tensor, as `LayerActivations.places` says.

        Args:
            finite: Checks to settle by the same reading.
        """
        values, positions = finite.settle(self.seeds.values, self.positions)
        dims, layer = self.activations.dims, self.activations.layer
        places = np.stack(np.unravel_index(positions.numpy(), dims), 1).tolist() if dims else [()] * len(positions)
        units = tuple(
            Unit(sample, layer, channel, tuple(place), value)
            for sample, channel, place, value in zip(
                self.seeds.samples.tolist(), self.channels.tolist(), places, values.tolist(), strict=True
            )
        )
        return units, self.activations.places(self.channels, positions)


def whole_maps(parts: Sequence[LayerActivations], finite: FiniteChecks) -> Tensor:
    """Every map of a layer, (samples, channels, size of a map), from the batches of samples in which it ran.

    Raises InputError if the activations are not all finite.
    """
    for part in parts:
        part.watch(finite)
    finite.settle()
    maps = [part.maps(list(range(part.channels))).reshape(part.samples, part.channels, *part.dims) for part in parts]
    return torch.cat(maps)


def one_each(asked_for: Any, count: int, what: str, there: Sequence[int] | None = None) -> list[int]:
    """One index for each of `count` images. A user may give one for all of them, or one for each.

    there: The indices that exist, if they are to be checked. Raises InputError for any other.
    """
    several = listed(asked_for)
    asked = [asked_for] * count if several is None else several
    if len(asked) != count:
        raise InputError(f"give one {what}, or one for each of the {count} images, not {len(asked)}")
    return [_one(item, what, there) for item in asked]


def _one(item: Any, what: str, there: Sequence[int] | None) -> int:
    number = whole(item)
    if number is None:
        raise InputError(f"a {what} is given by its number, not by {described(item)}")
    if there is not None and number not in there:
        raise InputError(f"there is no {what} {number}; give one from {there[0]} to {there[-1]}")
    return number


def sample_shape(shape: Sequence[int], samples: int) -> tuple[int, ...]:
    """The shape of one sample's part of a value: its rows along axis 0 (usually one), then the other axes."""
    return (shape[0] // samples, *shape[1:])


def choose_units(activations: LayerActivations, channel: Any, position: Position) -> ChosenUnits:
    """The units with the given channels and positions: ordered by sample, then by channel, then by position.

    Args:
        activations: What the layer returned.
        channel: One channel, several, or None for all.
        position: "max", "all", one index for all samples, or an integer tensor (samples, dimensions).

    Raises:
        InputError: If the layer does not have such channels or positions.
    """
    samples, dims, device = activations.samples, activations.dims, activations.tensor.device
    channels = channels_of(channel, activations.channels, activations.layer)
    maps = activations.maps(channels)
    if isinstance(position, str) and position == "all":
        chosen = torch.arange(maps.shape[2]).to(device).expand(maps.shape)
    elif isinstance(position, str) and position == "max":
        chosen = maps.argmax(-1, keepdim=True)
    else:
        flat = _flat_positions(position, dims, samples, activations.layer).to(device)
        chosen = flat[:, None, None].expand(-1, len(channels), 1)
    numbers = torch.tensor(channels)
    each = chosen.shape[2]
    owners = torch.arange(samples).repeat_interleave(len(channels) * each)
    indices = activations.index(numbers.to(device)[:, None], chosen).flatten()
    seeds = Seeds(owners, indices, maps.gather(-1, chosen).flatten())
    return ChosenUnits(activations, numbers.repeat_interleave(each).repeat(samples), chosen.flatten(), seeds)


def places_of(layer: str, shape: Sequence[int], samples: int, channel: Any, position: Position) -> list[UnitPlace]:
    """Sample, channel and position of the units that `choose_units` would choose, without their activations.

    Args:
        layer: Name of the layer.
        shape: Shape of what it returns for one sample, (1, channels, *positions).
        samples: Number of samples.
        channel: As for `choose_units`.
        position: As for `choose_units`, except for "max", which depends on the activations.

    Raises:
        InputError: If the layer does not have such channels or positions.
    """
    count, dims = shape[1], tuple(shape[2:])
    channels = channels_of(channel, count, layer)
    if isinstance(position, str) and position == "all":
        flat = torch.arange(torch.Size(dims).numel()).expand(samples, -1)
    else:
        flat = _flat_positions(position, dims, samples, layer)[:, None]
    positions = torch.stack(torch.unravel_index(flat, dims), -1).tolist()
    return [(n, c, tuple(place)) for n in range(samples) for c in channels for place in positions[n]]


def units_at(activations: LayerActivations, places: Sequence[UnitPlace]) -> ChosenUnits:
    """The units at the given places, in the order given.

    Raises:
        InputError: If there is no unit at one of the places.
    """
    dims = activations.dims
    check_units(activations.layer, (1, activations.channels, *dims), activations.samples, places)
    table = torch.tensor([(sample, channel, *position) for sample, channel, position in places])
    owners, channels = table[:, 0], table[:, 1]
    positions = torch.zeros_like(owners)
    for axis, size in enumerate(dims, 2):
        positions = positions * size + table[:, axis]
    indices = activations.index(channels, positions)
    at_unit = owners * (activations.tensor.numel() // activations.samples) + indices
    device = activations.tensor.device
    values = activations.tensor.reshape(-1)[at_unit.to(device)]
    return ChosenUnits(activations, channels, positions, Seeds(owners, indices, values))


def checked_units(units: Any) -> list[tuple[int, int, tuple[int, ...]]]:
    """Units as whole numbers (sample, channel, position). Raises InputError for anything else."""
    checked: list[tuple[int, int, tuple[int, ...]]] = []
    items = [] if units is None else _items(units)
    if _are_plain(items):
        return list(items)
    for unit in items:
        parts = listed(unit)
        place = listed(parts[2]) if parts and len(parts) == 3 else None
        numbers = [whole(number) for number in (*parts[:2], *place)] if parts and place is not None else [None]
        sample, channel, *position = (number if number is not None else _no_units() for number in numbers)
        checked.append((sample, channel, tuple(position)))
    if not checked:
        raise InputError("there is no unit to project; give at least one (sample, channel, position)")
    return checked


def _are_plain(units: Sequence[Any]) -> bool:
    """Whether units are made of tuples and whole numbers of Python, as most are. There may be very many."""
    if set(map(type, units)) != {tuple} or set(map(len, units)) != {3}:
        return False
    samples, channels, positions = zip(*units, strict=True)
    if set(map(type, positions)) != {tuple}:
        return False
    return set(map(type, itertools.chain(samples, channels, *positions))) == {int}


def _items(units: Any) -> list[Any]:
    items = listed(units)
    return _no_units() if items is None else items


def _no_units() -> NoReturn:
    raise InputError(
        "units are a list of (sample, channel, position), whole numbers and a tuple of them, such as (0, 5, (3, 4))"
    )


def check_units(layer: str, shape: Sequence[int], samples: int, places: Sequence[UnitPlace]) -> None:
    """Raise InputError if there is no unit at one of the places. shape: of one sample, (1, channels, *positions)."""
    if _all_fit((samples, *shape[1:]), places):
        return
    for sample, channel, position in places:
        place = (channel, *position)
        fits = len(place) == len(shape) - 1 and all(0 <= at < size for at, size in zip(place, shape[1:], strict=True))
        if not fits or not 0 <= sample < samples:
            raise InputError(
                f"layer {layer!r} has {samples} samples, {shape[1]} channels of size {tuple(shape[2:])}; "
                f"there is no unit (sample, channel, position) = {(sample, channel, tuple(position))!r}"
            )


def _all_fit(limits: Sequence[int], places: Sequence[UnitPlace]) -> bool:
    """Whether all places lie within the limits of sample, channel and position."""
    try:
        table = np.array([(sample, channel, *position) for sample, channel, position in places], np.int64)
    except (ValueError, OverflowError):  # positions of different lengths, or numbers that no index can be
        return False
    return table.shape == (len(places), len(limits)) and bool(((table >= 0) & (table < np.array(limits))).all())


def check_finite_activations(layer: str, activations: Tensor) -> None:
    """Raise InputError where the activations hold NaN or infinity."""
    check_has_values(layer, activations)
    if not is_finite(activations):
        _refuse_activations(layer, activations)


def check_has_values(layer: str, activations: Tensor) -> None:
    """Raise InputError for activations on the device meta."""
    if activations.is_meta:
        raise InputError(f"the activations of layer {layer!r} are on the device meta, which has no values")


def _refuse_activations(layer: str, activations: Tensor) -> None:
    raise InputError(f"the activations of layer {layer!r} are not all finite on this input{overflow(activations)}")


def overflow(numbers: Tensor) -> str:
    """A clause for error messages about half precision, which overflows early; empty for other types."""
    if numbers.dtype == wide(numbers.dtype):
        return ""
    largest = torch.finfo(numbers.dtype).max
    return f"; {numbers.dtype} ends at {largest:.6g}, give model and input in a wider type, as model.float() makes"


def channels_of(channel: Any, count: int, layer: str) -> list[int]:
    """The requested channels: one, several in the given order, or all `count` of them for None.

    Raises InputError for anything else, such as a mask; its channels are ``mask.nonzero().flatten()``.
    """
    if channel is None:
        return list(range(count))
    several = listed(channel)
    asked = [channel] if several is None else several
    if not asked:
        raise InputError(f"there is no channel to project; layer {layer!r} has channels 0 to {count - 1}")
    numbers = [whole(item) for item in asked]
    for item, number in zip(asked, numbers, strict=True):
        if number is None or not 0 <= number < count:
            raise InputError(f"layer {layer!r} has channels 0 to {count - 1}, not {described(item)}")
    return [number for number in numbers if number is not None]


def _flat_positions(position: Any, dims: tuple[int, ...], samples: int, layer: str) -> Tensor:
    """One index into the flattened map for each sample."""
    maps = f"layer {layer!r} has maps of size {dims}" if dims else f"layer {layer!r} has channels but no positions"
    wanted = f"a position is 'max', 'all', {len(dims)} integers, or an integer tensor ({samples}, {len(dims)})"
    if isinstance(position, Tensor) and is_whole(position) and tuple(position.shape) == (samples, len(dims)):
        rows = position.tolist()
    else:
        items = listed(position)
        numbers = [None] if items is None else list(map(whole, items))
        if None in numbers or len(numbers) != len(dims):
            raise InputError(f"{maps}; {wanted}, not {described(position)}")
        rows = [[number for number in numbers if number is not None]] * samples
    if any(not 0 <= at < size for row in rows for at, size in zip(row, dims, strict=True)):
        raise InputError(f"{maps}; the position {described(position)} lies outside")
    return torch.tensor([int(np.ravel_multi_index(row, dims)) if dims else 0 for row in rows])
