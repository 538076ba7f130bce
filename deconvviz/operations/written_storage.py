"""Storage that was written in place: reads and writes of parts of a tensor, as in `out[:, t] = h`.

Two operations of the recorder's own (see `recording.aliasing`): `overwritten` is a tensor of which a part was written,
`reread` a tensor that looks at a storage which was written since. The mirror sends each element of the signal to where
it was read from; what was overwritten gets nothing. Parts are described by offset, size and stride, and signals are
added in place, so that a loop of writes costs what it writes. Windows: everything; whole maps only.
"""

from __future__ import annotations

import math

from torch import Tensor

from deconvviz.operations.registry import mirror
from deconvviz.operations.step import Signals, Step
from deconvviz.recording.aliasing import PlaceInRoot, common, overwritten, place_in, reread, shown, stored, whole_place
from deconvviz.recording.tape import Operation, Value


def _samples_alike(operation: Operation, samples: int) -> bool:
    return place_in(*common(operation["root_layout"], operation["layout"]), samples) is not None


def _placed(op: Step) -> tuple[int, PlaceInRoot]:
    """How many samples the signal holds, and where in each the elements lie that were read or written."""
    root, asked = common(op["root_layout"], op["layout"])
    if op.samples is None:
        return 1, whole_place(root, asked)
    place = place_in(root, asked, op.tape.samples)
    assert place is not None
    return len(op.samples), place


@mirror(reread, batchwise=_samples_alike, own=True)
def put_back(op: Step, signal: Tensor) -> Signals:
    """Each element to where it was read from; what lies outside the root is constant."""
    samples, place = _placed(op)
    root, asked = op["root_layout"], op["layout"]
    numbers = stored(signal, asked, root)
    arrived = op.taken(op["root"])
    if arrived is None:
        flat = numbers.new_zeros((samples, math.prod(place.rows)))
    else:
        flat = place.laid_out(stored(arrived, root, asked), samples)
    place.add(flat, numbers)
    return shown(place.as_root(flat, _shape(op, op["root"], common(root, asked)[0].size)), root, asked)


def _shape(op: Step, value: Value, size: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of signals at `value`, with the parts of complex numbers last if `size` has them."""
    return (*op.shape(value), *size[len(value.shape) :])


@mirror(overwritten, batchwise=_samples_alike, own=True)
def split_off(op: Step, signal: Tensor) -> Signals:
    """The part that was written, and the rest, which is zero there."""
    samples, place = _placed(op)
    root, asked = op["root_layout"], op["layout"]
    whole, written = (layout.size for layout in common(root, asked))
    flat = place.laid_out(stored(signal, root, asked), samples)
    part = shown(place.read(flat).view(_shape(op, op["part"], written)), asked, root)
    if op["root"] is None:
        return [(op["part"], part)]
    if flat.data_ptr() == signal.data_ptr() and not op.writable:
        flat = flat.clone()
    place.write(flat, 0)
    return [(op["part"], part), (op["root"], shown(place.as_root(flat, _shape(op, op["root"], whole)), root, asked))]
