"""Projection on crops: each unit's crop forward and back, or back alone if the whole image was recorded.

The results are those of whole maps: see `projection.crops` for how borders are kept exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.borders import fill_outside, filled_outside
from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import Met, check_constants, in_batches, keep_for, refuse_arrived, undisturbed, walk
from deconvviz.projection.crop_cost import UnitCrops, may_pay
from deconvviz.projection.crops import Crops, write_crops
from deconvviz.projection.device_costs import crop_bytes
from deconvviz.projection.finite_checks import is_finite
from deconvviz.projection.half_precision import wide, widened
from deconvviz.projection.model_call import check_finite
from deconvviz.recording.blank_tensors import zeros
from deconvviz.recording.tape import Tape, Value, mapped

SMALL = 1024  # up to so many positions, crops are put back all at once


def project_images(units: UnitCrops, x: Tensor, ones: bool, met: Met) -> tuple[Tensor, Tensor]:
    """Project units forward and back.

    Args:
        units: The units and their crops.
        x: The images, (samples, C, *positions).
        ones: Whether seeds are one, and not the activation.
        met: Receives what is met on the way.

    Returns:
        Pixels (units, C, *positions), and activations (units,).

    Raises:
        InputError: A crop holds NaN or infinity.
        NotLocal: An operation on the way cannot run on crops.
    """

    def forward(crops: Crops, samples: Tensor) -> Tensor:
        image = crops.tape.inputs[0]
        start = crops.origins[image.id][1].taken(x, samples)
        check_finite(start)
        return _run_crops(crops, start, units.style, crops.values[units.layer.id])

    return _Projecting(units, forward, ones, met).all(x)


def project_recorded(units: UnitCrops, trace: Tape, x: Tensor, ones: bool, met: Met) -> tuple[Tensor, Tensor]:
    """The same, back alone, from the numbers that `trace`, the tape of a run on the whole images, has kept."""
    activations = trace.data[units.layer.id]

    def looked_up(crops: Crops, samples: Tensor) -> Tensor:
        _look_up(crops, trace, samples, units.style)
        return crops.origins[crops.values[units.layer.id].id][1].taken(activations, samples)

    return _Projecting(units, looked_up, ones, met).all(x)


def project_trace(
    trace: Tape,
    style: Style,
    layer: Value,
    places: Sequence[tuple[int, int, Sequence[int]]],
    *,
    x: Tensor,
    ones: bool,
    met: Met,
) -> list[Tensor] | None:
    """As `backward.project`, on crops of a run recorded on `x`; None if that is not possible, or more work."""
    if not may_pay(trace, len(places)):
        return None
    units = UnitCrops.of(trace, style, layer, places)
    if units is None or not units.pay_back():
        return None
    check_constants(trace)
    try:
        return [project_recorded(units, trace, x, ones, met)[0]]
    except NotLocal:
        return None


@dataclass(frozen=True)
class _Projecting:
    """Units on their way.

    Attributes:
        units: The units and their crops.
        prepare: From crops and the samples they are of: puts on their tape what rules will read, and returns the
            layer's activations.
        ones: Whether seeds are one, and not the activation.
        met: Receives what is met on the way.
    """

    units: UnitCrops
    prepare: Callable[[Crops, Tensor], Tensor]
    ones: bool
    met: Met

    def all(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels and activations of all units, in batches; running out of memory halves a batch."""
        count = len(self.units.samples)
        pixels = zeros((count, *x.shape[1:]), wide(x.dtype), x.device)
        activations = torch.zeros(count, dtype=self.units.layer.dtype)
        chunk = max(1, crop_bytes(x.device) // max(1, self.units.bytes_per_unit))
        for group, seen in self.units.groups():

            def send_back(part: slice, group: Starts = group, seen: dict[int, Region] = seen) -> None:
                batch = {key: Region(region.start[part], region.size) for key, region in seen.items()}
                activations[group[part]] = self._back(group[part], batch, pixels)

            chunk = in_batches(len(group), chunk, send_back)
        return pixels, activations

    def _back(self, batch: Starts, seen: dict[int, Region], pixels: Tensor) -> Tensor:
        """Project a batch of units, by their numbers, into `pixels`. Returns their activations."""
        units = self.units
        crops = write_crops(units.tape, seen, units.filters)
        samples, channels = units.samples[batch].to(pixels.device), units.channels[batch].to(pixels.device)
        with undisturbed(units.layer.device):
            activations = self.prepare(crops, samples)
            values = activations.flatten(1)[torch.arange(len(batch), device=pixels.device), channels]
            if not is_finite(values):  # the caller reports it: it knows the layer's name
                return values.cpu()
            signal = torch.zeros_like(activations, memory_format=torch.contiguous_format)
            seeds = torch.ones_like(values) if self.ones else values
            signal.flatten(1).scatter_(1, channels[:, None], seeds[:, None])
        tape, layer = widened(crops.tape, units.style, crops.values[units.layer.id])
        arrived = walk(tape, units.style, layer, signal.to(layer.dtype), None, met=self.met)
        image = crops.tape.inputs[0]
        if image.id in arrived:
            self.met.finite.watch(arrived[image.id], refuse_arrived)
            _put_back(arrived[image.id], crops.origins[image.id][1], batch, pixels)
        return values.cpu()


def _put_back(crop: Tensor, region: Region, units: Starts, pixels: Tensor) -> None:
    """Put crops (units, C, *size) in their places in whole images; what lies outside is dropped."""
    extent = np.array(pixels.shape[2:])
    if torch.Size(region.size).numel() <= SMALL and not region.crossing(pixels.shape).any():
        index: list[Tensor | slice] = [torch.from_numpy(units).view(-1, *[1] * len(extent)), slice(None)]
        index.extend(torch.from_numpy(region.places(axis)).to(pixels.device) for axis in range(len(extent)))
        pixels[tuple(index)] = crop.movedim(1, -1)
        return
    begin, end = np.maximum(region.start, 0), np.minimum(region.start + region.size, extent)
    for row, unit in enumerate(units.tolist()):
        to = tuple(slice(int(a), int(b)) for a, b in zip(begin[row], end[row], strict=True))
        of = tuple(
            slice(int(a - s), int(b - s)) for a, b, s in zip(begin[row], end[row], region.start[row], strict=True)
        )
        if all(part.stop > part.start for part in to):
            pixels[unit][(slice(None), *to)] = crop[row][(slice(None), *of)]


def _run_crops(crops: Crops, start: Tensor, style: Style, layer: Value) -> Tensor:
    """Run a tape of crops and keep what its rules will read. Returns the layer's activations."""
    tape, keep = crops.tape, keep_for(style)
    live = {tape.inputs[0].id: start}
    uses: dict[int, int] = {layer.id: 1}
    for operation in tape.operations:
        for value in operation.inputs:
            uses[value.id] = uses.get(value.id, 0) + 1
    memory: set[int] = set()  # of what is kept

    def keeps(value: Value, numbers: Tensor) -> None:
        tape.data[value.id] = numbers
        memory.add(numbers.untyped_storage().data_ptr())

    def number(value: Value) -> Tensor:
        return live[value.id] if value.tracked else tape.data[value.id]

    def last_reader(value: Value) -> bool:
        """Whether nobody else will read the memory of a value, so that it may be written."""
        storage = live[value.id].untyped_storage().data_ptr()
        others = (other.untyped_storage().data_ptr() for key, other in live.items() if key != value.id)
        return uses[value.id] == 1 and storage not in memory and storage not in others

    for operation in tape.operations:
        kept = keep(operation)
        for value in kept.inputs:
            if value.tracked:
                keeps(value, live[value.id])
        args, kwargs = mapped(operation.args, number, Value), mapped(operation.kwargs, number, Value)
        in_place = operation.func is filled_outside and last_reader(operation.inputs[0])
        result = (fill_outside if in_place else operation.func)(*args, **kwargs)
        results = result if isinstance(result, (tuple, list)) else [result]
        for index, output in enumerate(operation.outputs):
            if output is not None:
                live[output.id] = results[index]
                if index in kept.outputs:
                    keeps(output, results[index])
        for value in operation.inputs:
            uses[value.id] -= 1
            if not uses[value.id]:
                live.pop(value.id, None)
    return live[layer.id]


def _look_up(crops: Crops, trace: Tape, samples: Tensor, style: Style) -> None:
    """Put the numbers that rules will read on a tape of crops, cut from those recorded on whole images."""
    tape, keep = crops.tape, keep_for(style)
    for operation in tape.operations:
        kept = keep(operation)
        wanted = [*kept.inputs, *(operation.outputs[index] for index in kept.outputs)]
        for value in wanted:
            if value is not None and value.id not in tape.data:
                old, region = crops.origins[value.id]
                numbers = region.taken(trace.data[old.id], samples)
                tape.data[value.id] = (
                    _switches_within(numbers, *crops.planes[value.id]) if value.id in crops.planes else numbers
                )


def _switches_within(switches: Tensor, needed: Region, plane: Sequence[int]) -> Tensor:
    """Flat indices into whole maps as flat indices into windows of them.

    An index p into a map of (rows, columns) lies in row r = p // columns. In the window it is
    (r - first row) * width + column - first column, which is p + r * (width - columns) minus the same of the window's
    start: one division for two axes, two for three.
    """
    width = torch.Size(needed.size)
    strides = np.array([width[axis + 1 :].numel() for axis in range(len(width))])
    before = torch.from_numpy((needed.start * strides).sum(1)).to(switches.device)
    inside = switches - before.view(-1, *[1] * (switches.ndim - 1))
    for axis in range(len(width) - 1):
        over = switches.div(torch.Size(plane[axis + 1 :]).numel(), rounding_mode="floor")
        inside += over.mul_(int(strides[axis] - plane[axis + 1] * strides[axis + 1]))
    # Positions outside the map hold the switches of others and carry no signal; their indices only have to be valid.
    return inside.clamp_(0, width.numel() - 1)
