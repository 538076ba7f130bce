"""Projections on windows: each unit's crop forward and back, or back alone where the whole image was recorded.

The numbers are those of whole maps: see `deconvviz.projection.crops` for how borders are kept exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import Met, check_constants, keep_for, out_of_memory, undisturbed, walk
from deconvviz.projection.crops import Crops, phases, regions, seen_operations, write_crops
from deconvviz.projection.half_precision import wide, widened
from deconvviz.projection.model_call import check_finite, is_finite
from deconvviz.recording.blank_tensors import zeros
from deconvviz.recording.tape import Operation, Tape, Value, mapped

BUDGET = 256 * 2**20  # bytes of all crops of a batch
LAYING = 1e7  # multiplications in the time that it takes to record an operation, or to write one on a tape of crops
ALONE = 3e8  # multiplications of a unit from which on it is worth to leave out what lies outside of the image
SMALL = 1024  # positions of a crop up to which crops are put back all at once
ELEMENT = 24  # an element of a map that is read and written costs about as much as this many multiplications


@dataclass(frozen=True)
class Windowed:
    """Units of a layer with their windows. Raises `deconvviz.projection.crops.NotLocal` where there are none.

    samples, channels: (units,). found: the windows, by a value's id.
    """

    tape: Tape
    style: Style
    layer: Value
    samples: Tensor
    channels: Tensor
    found: dict[int, Region]
    filters: dict[int, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, tape: Tape, style: Style, layer: Value, units: Sequence[tuple[int, int, Sequence[int]]]) -> Windowed:
        if layer.shape[:1] != (tape.samples,) or len(layer.shape) < 3:
            raise NotLocal("a layer without positions, or with several rows for each sample")
        positions = np.array([position for *_, position in units], np.int64).reshape(len(units), -1)
        samples, channels = (torch.tensor([unit[part] for unit in units]) for part in (0, 1))
        return cls(tape, style, layer, samples, channels, regions(tape, style, layer, positions))

    @cached_property
    def cost(self) -> float:
        """Multiplications of one unit's way back, about."""
        return sum(_cost(operation, self.found[made.id].size) for operation, made in self._path)

    @cached_property
    def whole_cost(self) -> float:
        """The same on whole maps."""
        return sum(_cost(operation, made.shape[2:]) for operation, made in self._path)

    @cached_property
    def _path(self) -> list[tuple[Operation, Value]]:
        """The operations that units see through, and what of each they see."""
        return list(seen_operations(self.tape, self.found))

    def less_back(self) -> bool:
        """Whether the way back is less work than on whole maps: each group of units has a tape to be written."""
        return self._pays(self._spared_back)

    def less_both_ways(self, samples: int) -> bool:
        """Whether that and the way there are less work than to record so many whole images and go back from there."""
        recorded = LAYING * len(self._path) + samples * self.whole_cost
        spared = recorded - len(self.samples) * self.cost
        # Where crops are used back, their tapes are written in any case.
        return spared > 0 if self.less_back() else self._pays(spared + self._spared_back)

    @property
    def _spared_back(self) -> float:
        return len(self.samples) * (self.whole_cost - self.cost)

    def _pays(self, spared: float) -> bool:
        """Whether to write the tapes is less than what is spared. There is at least one; counting them takes time."""
        return spared > LAYING * len(self._path) and spared > self._laying

    @property
    def _laying(self) -> float:
        return LAYING * len(self._path) * (int(self._kinds.max()) + 1)

    def from_images(self, x: Tensor, one: bool, met: Met) -> tuple[Tensor, Tensor]:
        """Forward and back. x: (samples, C, *positions). one: whether the seed is one, and not the activation.

        Returns pixels (units, C, *positions), and activations (units,). Raises InputError for a window with NaN in it.
        """

        def forward(crops: Crops, samples: Tensor) -> Tensor:
            image = crops.tape.inputs[0]
            start = crops.origins[image.id][1].taken(x, samples)
            check_finite(start)
            return _run(crops, start, self.style, crops.values[self.layer.id])

        return self._project(x, one, forward, met)

    def from_trace(self, trace: Tape, x: Tensor, one: bool, met: Met) -> tuple[Tensor, Tensor]:
        """Back alone, from what `trace`, a tape of the same run on whole images, has kept."""
        activations = trace.data[self.layer.id]

        def looked_up(crops: Crops, samples: Tensor) -> Tensor:
            _look_up(crops, trace, samples, self.style)
            return crops.origins[crops.values[self.layer.id].id][1].taken(activations, samples)

        return self._project(x, one, looked_up, met)

    def _project(
        self, x: Tensor, one: bool, prepared: Callable[[Crops, Tensor], Tensor], met: Met
    ) -> tuple[Tensor, Tensor]:
        pixels = zeros((len(self.samples), *x.shape[1:]), wide(x.dtype), x.device)
        activations = torch.zeros(len(self.samples), dtype=self.layer.dtype)
        per_unit = sum(
            torch.Size((made.shape[1], *self.found[made.id].size)).numel() * made.dtype.itemsize
            for _, made in self._path
        )
        chunk = max(1, BUDGET // max(1, per_unit))
        for group, found in self._groups():
            start = 0
            while start < len(group):
                part = slice(start, start + chunk)
                here = {key: Region(region.start[part], region.size) for key, region in found.items()}
                try:
                    activations[group[part]] = self._back(group[part], here, one, prepared, pixels, met)
                except RuntimeError as error:
                    if not out_of_memory(error) or len(group[part]) == 1:
                        raise
                    chunk = len(group[part]) // 2
                    continue
                start += chunk
        return pixels, activations

    @cached_property
    def _kinds(self) -> NDArray[np.int64]:
        """(units,): the number of the group in which each unit travels.

        Where a unit is much work, those of one position go together, and nothing outside of the image is computed.
        Otherwise those that lie alike in the strides of what enlarges; units near the border, which need masks, apart.
        """
        kinds = self.found[self.layer.id].start
        if self.cost <= ALONE:
            border = np.zeros((len(kinds), 1), np.int64)
            for made in {value.id: value for operation, _ in self._path for value in operation.inputs}.values():
                border[:, 0] |= self.found[made.id].crossing(made.shape)
            kinds = np.concatenate([border, phases(self.tape, self.found)], 1)
        return np.unique(kinds, axis=0, return_inverse=True)[1].reshape(-1)

    def _groups(self) -> Iterator[tuple[Starts, dict[int, Region]]]:
        """Units that can share a tape, and their windows."""
        for kind in np.unique(self._kinds):
            group = np.nonzero(self._kinds == kind)[0]
            if self.cost > ALONE:
                yield group, regions(self.tape, self.style, self.layer, self.found[self.layer.id].start[group])
            else:
                yield group, {key: Region(region.start[group], region.size) for key, region in self.found.items()}

    def _back(
        self,
        part: Starts,
        found: dict[int, Region],
        one: bool,
        prepared: Callable[[Crops, Tensor], Tensor],
        pixels: Tensor,
        met: Met,
    ) -> Tensor:
        crops = write_crops(self.tape, found, self.filters)
        samples, channels = self.samples[part].to(pixels.device), self.channels[part].to(pixels.device)
        with undisturbed(self.layer.device):
            activations = prepared(crops, samples)
            values = activations.flatten(1)[torch.arange(len(part), device=pixels.device), channels]
            if not is_finite(values):  # told by who knows the layer's name
                return values.cpu()
            signal = torch.zeros_like(activations, memory_format=torch.contiguous_format)
            seeds = torch.ones_like(values) if one else values
            signal.flatten(1).scatter_(1, channels[:, None], seeds[:, None])
        tape, layer = widened(crops.tape, self.style, crops.values[self.layer.id])
        arrived = walk(tape, self.style, layer, signal.to(layer.dtype), None, met)
        image = crops.tape.inputs[0]
        if image.id in arrived:
            _put_back(arrived[image.id], crops.origins[image.id][1], part, pixels)
        return values.cpu()


def windows_of(
    tape: Tape, style: Style, layer: Value, units: Sequence[tuple[int, int, Sequence[int]]]
) -> Windowed | None:
    """The units' windows, or None where a part of the way is not local."""
    try:
        return Windowed.of(tape, style, layer, units)
    except NotLocal:
        return None


def back_on_windows(
    trace: Tape,
    style: Style,
    layer: Value,
    units: Sequence[tuple[int, int, Sequence[int]]],
    x: Tensor,
    one: bool,
    met: Met,
) -> list[Tensor] | None:
    """As `mirror.project`, for a run that was recorded on x; None where windows are not possible, or more work."""
    if not worth_a_look(trace, len(units)):
        return None
    windowed = windows_of(trace, style, layer, units)
    if windowed is None or not windowed.less_back():
        return None
    check_constants(trace)
    try:
        return [windowed.from_trace(trace, x, one, met)[0]]
    except NotLocal:
        return None


def worth_a_look(tape: Tape, units: int) -> bool:
    """Whether there is an operation that is more work than to write it on a tape of crops: else windows cannot pay."""
    made = ((operation, operation.made.shape) for operation in tape.operations if any(operation.outputs))
    return any(units * _cost(operation, shape[2:]) > LAYING for operation, shape in made if len(shape) > 2)


def _put_back(crop: Tensor, region: Region, units: Starts, pixels: Tensor) -> None:
    """Crops (units, C, *size) to their places in whole images, what lies outside left out."""
    extent = np.array(pixels.shape[2:])
    if torch.Size(region.size).numel() <= SMALL and not region.crossing(pixels.shape).any():
        index: list[Tensor | slice] = [torch.from_numpy(units).view(-1, *[1] * len(extent)), slice(None)]
        index.extend(region.places(axis, pixels.device) for axis in range(len(extent)))
        pixels[tuple(index)] = crop.movedim(1, -1)
        return
    begin, end = np.maximum(region.start, 0), np.minimum(region.start + region.size, extent)
    for row, unit in enumerate(units.tolist()):
        to = tuple(slice(int(a), int(b)) for a, b in zip(begin[row], end[row], strict=True))
        of = tuple(
            slice(int(a - s), int(b - s)) for a, b, s in zip(begin[row], end[row], region.start[row], strict=True)
        )
        if all(one.stop > one.start for one in to):
            pixels[unit][(slice(None), *to)] = crop[row][(slice(None), *of)]


def _run(crops: Crops, start: Tensor, style: Style, layer: Value) -> Tensor:
    """Run a tape of crops, keeping what its rules will read; the layer's activations."""
    tape, keep = crops.tape, keep_for(style)
    live = {tape.inputs[0].id: start}
    uses: dict[int, int] = {layer.id: 1}
    for operation in tape.operations:
        for value in operation.inputs:
            uses[value.id] = uses.get(value.id, 0) + 1
    for operation in tape.operations:
        kept = keep(operation)
        for value in kept.inputs:
            if value.tracked:
                tape.data[value.id] = live[value.id]

        def number(value: Value) -> Tensor:
            return live[value.id] if value.tracked else tape.data[value.id]

        args, kwargs = mapped(operation.args, number, Value), mapped(operation.kwargs, number, Value)
        result = operation.func(*args, **kwargs)
        made = result if isinstance(result, (tuple, list)) else [result]
        for index, output in enumerate(operation.outputs):
            if output is not None:
                live[output.id] = made[index]
                if index in kept.outputs:
                    tape.data[output.id] = made[index]
        for value in operation.inputs:
            uses[value.id] -= 1
            if not uses[value.id]:
                live.pop(value.id, None)
    return live[layer.id]


def _look_up(crops: Crops, trace: Tape, samples: Tensor, style: Style) -> None:
    """Put what the rules will read on a tape of crops, cut from what was recorded on whole images."""
    tape, keep = crops.tape, keep_for(style)
    for operation in tape.operations:
        kept = keep(operation)
        wanted = [*kept.inputs, *(operation.outputs[index] for index in kept.outputs)]
        for value in wanted:
            if value is not None and value.id not in tape.data:
                old, region = crops.origins[value.id]
                numbers = region.taken(trace.data[old.id], samples)
                tape.data[value.id] = (
                    _localised(numbers, *crops.planes[value.id]) if value.id in crops.planes else numbers
                )


def _localised(switches: Tensor, needed: Region, plane: Sequence[int]) -> Tensor:
    """Flat indices into whole maps as flat indices into windows of them.

    Of an index p into (rows, columns), row r = p // columns, is left (r - first row) * width + column - first column,
    which is p + r * (width - columns) less what the window's start has: one division, for any number of axes one less.
    """
    width = torch.Size(needed.size)
    strides = np.array([width[axis + 1 :].numel() for axis in range(len(width))])
    before = torch.from_numpy((needed.start * strides).sum(1)).to(switches.device)
    inside = switches - before.view(-1, *[1] * (switches.ndim - 1))
    for axis in range(len(width) - 1):
        over = switches.div(torch.Size(plane[axis + 1 :]).numel(), rounding_mode="floor")
        inside += over.mul_(int(strides[axis] - plane[axis + 1] * strides[axis + 1]))
    # Positions outside of the map hold switches of others, and no signal; they must only point to some place.
    return inside.clamp_(0, width.numel() - 1)


def _cost(operation: Operation, size: Sequence[int]) -> float:
    made = operation.made
    places = torch.Size(size).numel()
    if operation.label == "aten.convolution":
        weight = operation["weight"].shape
        spread = operation["input"].shape[1] if operation["transposed"] else made.shape[1]
        return places * spread * torch.Size(weight[1:]).numel() + ELEMENT * places * made.shape[1]
    return ELEMENT * places * made.shape[1]
