"""Projection on crops: each unit's crop forward and back, or back alone if the whole image was recorded.

The results are those of whole maps: see `projection.crops` for how borders are kept exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.borders import fill_outside, filled_outside
from deconvviz.operations.convolution import convolve
from deconvviz.operations.regions import NotLocal, Region, Starts
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import Met, check_constants, in_batches, keep_for, refuse_arrived, undisturbed, walk
from deconvviz.projection.crop_cost import UnitCrops, may_pay
from deconvviz.projection.crops import Crops, SeenRegions, write_crops
from deconvviz.projection.device_costs import crop_bytes
from deconvviz.projection.half_precision import wide, widened
from deconvviz.projection.model_call import refuse_not_finite
from deconvviz.recording.tape import Tape, Value, mapped
from deconvviz.results.cropped_pixels import CroppedPixels


def project_images(units: UnitCrops, x: Tensor, ones: bool, met: Met) -> tuple[CroppedPixels, Tensor]:
    """Project units forward and back.

    Args:
        units: The units and their crops.
        x: The images, (samples, C, *positions).
        ones: Whether seeds are one, and not the activation.
        met: Receives what is met on the way. Its checks of finite numbers are asked about the crops; about the pixels
            the caller asks.

    Returns:
        Pixels, and activations (units,) on the device.

    Raises:
        NotLocal: An operation on the way cannot run on crops.
    """

    def forward(crops: Crops, samples: Tensor) -> Tensor:
        image = crops.tape.inputs[0]
        start = crops.origins[image.id][1].taken(x, samples, crops.channels_last)
        met.finite.watch(start, refuse_not_finite)
        return _run_crops(crops, start, units.style, crops.values[units.layer.id])

    return _Projecting(units, forward, ones, met).all(x)


def project_recorded(units: UnitCrops, trace: Tape, x: Tensor, ones: bool, met: Met) -> tuple[CroppedPixels, Tensor]:
    """The same, back alone, from the numbers that `trace`, the tape of a run on the whole images, has kept."""
    activations = trace.data[units.layer.id]

    def looked_up(crops: Crops, samples: Tensor) -> Tensor:
        crops.tape.data = CutWhenRead(crops, trace, samples, units.style)
        return crops.origins[crops.values[units.layer.id].id][1].taken(activations, samples)

    return _Projecting(units, looked_up, ones, met).all(x)


def project_trace(
    trace: Tape,
    style: Style,
    layer: Value,
    places: Callable[[], Sequence[tuple[int, int, Sequence[int]]]],
    *,
    count: int,
    x: Tensor,
    ones: bool,
    met: Met,
) -> CroppedPixels | None:
    """As `backward.project`, on crops of a run recorded on `x`; None if that is not possible, or more work.

    places: Sample, channel and position of the `count` units; asked for if crops may be less work, since the positions
        may have to be read from the device.
    """
    if not may_pay(trace, count):
        return None
    units = UnitCrops.of(trace, style, layer, places())
    if units is None or not units.pay_back():
        return None
    check_constants(trace)
    try:
        pixels, _ = project_recorded(units, trace, x, ones, met)
    except NotLocal:
        return None
    met.finite.watch(pixels.values, refuse_arrived)
    return pixels


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

    def all(self, x: Tensor) -> tuple[CroppedPixels, Tensor]:
        """Pixels and activations of all units, in batches; running out of memory halves a batch."""
        units, count = self.units, len(self.units.samples)
        size = units.seen[units.tape.inputs[0].id].size
        pixels = CroppedPixels.blank(count, x.shape[1:], size=size, dtype=wide(x.dtype), device=x.device)
        done: list[tuple[Starts, Tensor]] = []  # units, and their activations
        chunk = max(1, crop_bytes(x.device) // max(1, units.bytes_per_unit))
        for group, seen in units.groups():

            def send_back(part: slice, group: Starts = group, seen: SeenRegions = seen) -> None:
                done.append((group[part], self._back(group[part], seen.of(part), pixels)))

            chunk = in_batches(len(group), chunk, send_back)
        places = torch.from_numpy(np.argsort(np.concatenate([batch for batch, _ in done]))).to(x.device)
        return pixels, torch.cat([values for _, values in done])[places]

    def _back(self, batch: Starts, seen: SeenRegions, pixels: CroppedPixels) -> Tensor:
        """Project a batch of units, by their numbers, into `pixels`. Returns their activations."""
        units, device = self.units, pixels.values.device
        crops = write_crops(units.tape, seen, units.filters, units.channels_last)
        samples, channels = units.samples[batch].to(device), units.channels[batch].to(device)
        crops.take_own_channels(units.layer, units.style, channels)
        with undisturbed(units.layer.device):
            activations = self.prepare(crops, samples).flatten(1)
            own = activations.shape[1] == 1
            values = activations if own else activations.gather(1, channels[:, None])
            signal = torch.ones_like(values) if self.ones else values
            if crops.values[units.layer.id].shape[1] > 1:
                blank = torch.zeros_like(activations, memory_format=torch.contiguous_format)
                signal = blank.scatter_(1, channels[:, None], signal)
        tape, layer = widened(crops.tape, units.style, crops.values[units.layer.id])
        arrived = walk(tape, units.style, layer, signal.view(layer.shape).to(layer.dtype), None, met=self.met)
        image = crops.tape.inputs[0]
        if image.id in arrived:
            pixels.put(batch, arrived[image.id], crops.origins[image.id][1].start)
        return values[:, 0]


_FASTER: dict[Any, Any] = {torch.ops.aten.convolution.default: convolve}


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
        func = _FASTER.get(operation.func, operation.func)
        if func is filled_outside and last_reader(operation.inputs[0]):
            func = fill_outside
        result = func(*args, **kwargs)
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


class CutWhenRead(dict[int, Tensor]):
    """The numbers of a tape of crops. What was recorded on whole images is cut when a rule reads it.

    It is kept if other rules will read it, too; otherwise crops of all values would be in memory at once.
    """

    def __init__(self, crops: Crops, trace: Tape, samples: Tensor, style: Style) -> None:
        super().__init__(crops.tape.data)
        self._origins, self._planes, self._channels_last = crops.origins, crops.planes, crops.channels_last
        self._recorded, self._samples = trace.data, samples
        keep = keep_for(style)
        self._readers = Counter(
            value.id
            for operation, kept in ((operation, keep(operation)) for operation in crops.tape.operations)
            for value in (*kept.inputs, *(operation.outputs[index] for index in kept.outputs))
            if value is not None
        )

    def __missing__(self, key: int) -> Tensor:
        old, region = self._origins[key]
        numbers = region.taken(self._recorded[old.id], self._samples, self._channels_last)
        if key in self._planes:
            numbers = _switches_within(numbers, *self._planes[key])
        if self._readers[key] > 1:
            self[key] = numbers
        return numbers


def _switches_within(switches: Tensor, needed: Region, plane: Sequence[int]) -> Tensor:
    """Flat indices into whole maps as flat indices into windows of them, in the same memory.

    An index p into a map of (rows, columns) lies in row r = p // columns. In the window it is
    (r - first row) * width + column - first column, which is p + r * (width - columns) minus the same of the window's
    start: one division for two axes, two for three.
    """
    width = torch.Size(needed.size)
    strides = np.array([width[axis + 1 :].numel() for axis in range(len(width))])
    before = torch.from_numpy((needed.start * strides).sum(1)).to(switches.device)
    moved = [
        switches.div(torch.Size(plane[axis + 1 :]).numel(), rounding_mode="floor").mul_(
            int(strides[axis] - plane[axis + 1] * strides[axis + 1])
        )
        for axis in range(len(width) - 1)
    ]
    for part in moved:
        switches += part
    switches -= before.view(-1, *[1] * (switches.ndim - 1))
    # Positions outside the map hold the switches of others and carry no signal; their indices only have to be valid.
    return switches.clamp_(0, width.numel() - 1)
