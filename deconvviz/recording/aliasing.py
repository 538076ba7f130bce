"""Which value a tensor holds, when several tensors share one storage and some of them are written.

A tensor is a *geometry* (offset, size, stride) over a storage. For each storage that holds something that
depends on the input, a `StorageState` knows the newest complete content (the *root*) and the value of every
geometry that was defined since the last write. A tensor whose geometry was defined before that write is read
from the root by `reread`; a write through a part of the storage makes a new root by `overwritten`. Both are
put on the tape like any operation, so that the way back goes through them. A `Place` says where a geometry lies
in a root: by offset, size and stride, so that a write costs what it writes and not what the storage holds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.dlpack import from_dlpack

V = TypeVar("V")


class Geometry(NamedTuple):
    """Where a tensor's elements lie in its storage, in elements of its dtype.

    conj, neg: whether the tensor shows the conjugate, or the negative, of what lies there.
    """

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    conj: bool = False
    neg: bool = False

    @classmethod
    def of(cls, tensor: Tensor) -> Geometry:
        place = int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), tensor.dtype
        return cls(*place, tensor.is_conj(), tensor.is_neg())

    @classmethod
    def whole(cls, tensor: Tensor) -> Geometry:
        """The tensor's whole storage, flat."""
        return cls(0, (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), tensor.dtype)

    def dense(self) -> bool:
        """Whether the elements fill a stretch of the storage without holes or overlaps."""
        expected = 1
        for stride, size in sorted(zip(self.stride, self.size, strict=True)):
            if size != 1:
                if stride != expected:
                    return False
                expected *= size
        return True

    def disjoint(self) -> bool:
        """Whether no two elements lie at one place, as far as sizes and strides tell."""
        reach = 0
        for stride, size in sorted(zip(self.stride, self.size, strict=True)):
            if size != 1:
                if stride <= reach:
                    return False
                reach += stride * (size - 1)
        return True

    @property
    def numel(self) -> int:
        return math.prod(self.size)

    @property
    def end(self) -> int:
        """One past the last position that holds an element."""
        return self.offset + 1 + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))

    def covers(self, other: Geometry) -> bool:
        """Whether both have the same elements, in whatever order."""
        if self == other:
            return True
        extents = [(g.offset, g.numel, g.dtype, g.conj, g.neg) for g in (self, other)]
        return extents[0] == extents[1] and self.dense() and other.dense()

    def shares_numbers(self, other: Geometry) -> bool:
        """Whether what is written by one can be read by the other: a complex number is two real ones."""
        return self.dtype.to_real() == other.dtype.to_real()

    def real(self) -> Geometry:
        """The real numbers that make up complex ones; itself for others."""
        if not self.dtype.is_complex:
            return self
        doubled = tuple(2 * stride for stride in self.stride)
        return Geometry(2 * self.offset, (*self.size, 2), (*doubled, 1), self.dtype.to_real())

    def positions(self) -> Tensor:
        """Position in the storage of every element, a long tensor of this geometry's size."""
        positions = torch.tensor(self.offset, device="cpu")
        for size, stride in zip(self.size, self.stride, strict=True):
            positions = positions.unsqueeze(-1) + torch.arange(size, device="cpu") * stride
        return positions

    def within(self, root: Geometry) -> Tensor:
        """For every element its index in ``root.flatten()``, or -1 where the root has no such element."""
        held, asked = root.positions().flatten(), self.positions()
        highest = int(torch.cat([held, asked.flatten()]).max()) if held.numel() + asked.numel() else 0
        index = torch.full((highest + 1,), -1, device="cpu")
        index[held] = torch.arange(held.numel(), device="cpu")
        return index[asked]


def separated(tensor: Tensor) -> Tensor:
    """The same memory by a storage of its own, so that who looks at it from here can be told from who looked before."""
    if not tensor.untyped_storage().nbytes():
        return tensor
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
    storage = from_dlpack(flat).untyped_storage()
    place = int(tensor.storage_offset()), tensor.shape, tensor.stride()
    made = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, *place)
    conjugated = made.conj() if tensor.is_conj() else made
    return torch._neg_view(conjugated) if tensor.is_neg() else conjugated


def common(root: Geometry, geometry: Geometry) -> tuple[Geometry, Geometry]:
    """Both in the same numbers: real ones, where just one is complex."""
    return (root, geometry) if root.dtype == geometry.dtype else (root.real(), geometry.real())


def stored(tensor: Tensor, geometry: Geometry, other: Geometry) -> Tensor:
    """What lies in the storage where a tensor of `geometry` shows `tensor`, in the numbers common with `other`."""
    numbers = _turned(tensor, geometry)
    return torch.view_as_real(numbers.resolve_conj()) if _in_parts(geometry, other) else numbers


def shown(numbers: Tensor, geometry: Geometry, other: Geometry) -> Tensor:
    """What a tensor of `geometry` shows where `numbers` lie: the reverse of `stored`, and its adjoint."""
    return _turned(torch.view_as_complex(numbers.contiguous()) if _in_parts(geometry, other) else numbers, geometry)


def _in_parts(geometry: Geometry, other: Geometry) -> bool:
    return geometry.dtype.is_complex and geometry.dtype != other.dtype


def _turned(tensor: Tensor, geometry: Geometry) -> Tensor:
    turned = tensor.conj() if geometry.conj else tensor
    return -turned if geometry.neg else turned


class Place(NamedTuple):
    """Where the elements of one geometry lie in a root, in each of the samples that stand along axis 0 of both.

    A sample of the root is laid out in memory with its axes in `order`. There the elements are a strided view, or
    are `listed` one by one where that is not possible: where some lie at one place, or outside of the root (-1).

    rows: (axis 0, ...), one sample's part of the root. size, stride, offset: of a sample's elements.
    """

    rows: tuple[int, ...]
    order: tuple[int, ...]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    listed: Tensor | None = None

    def laid_out(self, root: Tensor, samples: int) -> Tensor:
        """Numbers of the root, (samples, elements) as they lie in memory; a view where they do."""
        return root.reshape(samples, *self.rows).permute(0, *(1 + axis for axis in self.order)).flatten(1)

    def as_root(self, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        """What `laid_out` made, in the shape of the root again; a view where that is possible."""
        apart = flat.view(len(flat), *(self.rows[axis] for axis in self.order))
        back = sorted(range(len(self.order)), key=self.order.__getitem__)
        return apart.permute(0, *(1 + axis for axis in back)).reshape(shape)

    def view(self, flat: Tensor) -> Tensor:
        """The elements in what `laid_out` made, (samples, *size), sharing its memory; only where none is listed."""
        step = flat.stride(1)  # 2 where it is the real part of complex numbers
        strides = (flat.stride(0), *(step * stride for stride in self.stride))
        return flat.as_strided((len(flat), *self.size), strides, flat.storage_offset() + step * self.offset)

    def read(self, flat: Tensor) -> Tensor:
        """The elements, (samples, *size), in memory of their own; 0 outside of the root."""
        if self.listed is None:
            return self.view(flat).clone(memory_format=torch.contiguous_format)
        index = self.listed.to(flat.device)
        return (flat[:, index.clamp(min=0)] * (index >= 0)).view(len(flat), *self.size)

    def write(self, flat: Tensor, numbers: Tensor | int) -> None:
        """Put the elements, or one number for all of them, into what `laid_out` made."""
        if self.listed is None:
            view = self.view(flat)
            view.copy_(numbers.reshape(view.shape)) if isinstance(numbers, Tensor) else view.fill_(numbers)
            return
        index = self.listed.to(flat.device)
        inside = index >= 0
        flat[:, index[inside]] = numbers.reshape(len(flat), -1)[:, inside] if isinstance(numbers, Tensor) else numbers

    def add(self, flat: Tensor, numbers: Tensor) -> None:
        """Add to the elements; where several lie at one place, all of them."""
        if self.listed is None:
            view = self.view(flat)
            view += numbers.reshape(view.shape)
            return
        index = self.listed.to(flat.device)
        flat.index_add_(1, index.clamp(min=0), numbers.reshape(len(flat), -1) * (index >= 0))


def place_in(root: Geometry, asked: Geometry, samples: int) -> Place | None:
    """Where the elements `asked` lie in a root of so many samples; None where they are not in each sample alike."""
    if not all(geometry.size and geometry.size[0] % samples == 0 for geometry in (root, asked)):
        return None
    rows, part = (g._replace(size=(g.size[0] // samples, *g.size[1:])) for g in (root, asked))
    step = rows.size[0] * root.stride[0]
    if samples > 1 and part.numel and part.size[0] * asked.stride[0] != step:
        return None
    inside = not part.numel or (rows.offset <= part.offset and part.end <= rows.offset + rows.numel)
    if not inside or not rows.dense() or (samples > 1 and step < rows.numel):
        found = _listed(root, asked, samples)
        order: Iterable[int] = range(len(rows.size))
        return None if found is None else Place(rows.size, tuple(order), 0, part.size, part.stride, found)
    order = sorted(range(len(rows.size)), key=lambda axis: (-rows.stride[axis], -rows.size[axis]))
    place = Place(rows.size, tuple(order), part.offset - rows.offset, part.size, part.stride)
    return place if part.disjoint() else place._replace(listed=(part.positions() - rows.offset).flatten())


def _listed(root: Geometry, asked: Geometry, samples: int) -> Tensor | None:
    """For each element of a sample its index in the sample's flattened part of the root; None where samples mix."""
    length = root.numel // samples
    found = asked.within(root).reshape(samples, -1)
    if samples == 1:
        return found[0]
    within = found - torch.arange(samples, device="cpu")[:, None] * length
    alike = (found >= 0).all() and (within == within[0]).all() and (within[0] < length).all()
    return within[0] if alike else None


def whole_place(root: Geometry, asked: Geometry) -> Place:
    """Where the elements `asked` lie in the root, all samples together."""
    root, asked = (g if g.size else g._replace(size=(1,), stride=(1,)) for g in (root, asked))
    place = place_in(root, asked, 1)
    assert place is not None
    return place


def reread(root: Tensor, root_geometry: Geometry, geometry: Geometry) -> Tensor:
    """What a tensor of `geometry` reads from a storage whose content is `root` (0 outside of it)."""
    place = whole_place(*common(root_geometry, geometry))
    numbers = place.read(place.laid_out(stored(root, root_geometry, geometry), 1))
    return shown(numbers.view(common(root_geometry, geometry)[1].size), geometry, root_geometry)


def overwritten(root: Tensor | None, part: Tensor, root_geometry: Geometry, geometry: Geometry) -> Tensor:
    """The content `root` (zeros for a constant one) after `part` was written into its `geometry`."""
    whole, asked = common(root_geometry, geometry)
    place = whole_place(whole, asked)
    content = part.new_zeros(root_geometry.size, dtype=root_geometry.dtype) if root is None else root.clone()
    flat = place.laid_out(stored(content, root_geometry, geometry), 1)
    place.write(flat, stored(part, geometry, root_geometry))
    return shown(place.as_root(flat, whole.size), root_geometry, geometry)


def storage_of(tensor: Tensor) -> int:
    """The address of a tensor's storage; 0 for those without one, as in `torch.vmap`: the real ones run below."""
    if tensor.layout != torch.strided or tensor.is_nested or is_functorch_wrapped_tensor(tensor):
        return 0
    return int(tensor.untyped_storage()._cdata)


class StorageState(Generic[V]):
    """The values that live in one storage."""

    def __init__(self, tensor: Tensor, root: V, geometry: Geometry | None = None) -> None:
        # The weak reference keeps the storage's address from being given to another one.
        self.reference = StorageWeakRef(tensor.untyped_storage())
        self.address = tensor.untyped_storage().data_ptr()
        self.version = 0
        self.root: tuple[Geometry, V] | None = (geometry or Geometry.of(tensor), root)
        self.values: dict[Geometry, tuple[int, V]] = {self.root[0]: (0, root)}

    def is_memory_of(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in this memory, also where it came by a way that torch does not know, as by DLPack."""
        return self.address == tensor.untyped_storage().data_ptr() and not self.reference.expired()

    def copy(self) -> StorageState[V]:
        copied = copy.copy(self)
        copied.values = dict(self.values)
        return copied

    def current(self, geometry: Geometry) -> V | None:
        """The value of `geometry`, if it was defined since the last write."""
        version, value = self.values.get(geometry, (-1, None))
        return value if version == self.version else None

    def outdated(self, geometry: Geometry) -> bool:
        """Whether it was written since `geometry` was defined, so that it must be read again."""
        return self.root is not None and self.root[0].dtype == geometry.dtype and self.current(geometry) is None

    def define(self, geometry: Geometry, value: V) -> None:
        self.values[geometry] = (self.version, value)

    def write(self, geometry: Geometry, value: V) -> bool:
        """`geometry` was written. True if that was the whole content; otherwise a new root is due."""
        self.version += 1
        self.define(geometry, value)
        if self.root is not None and geometry.covers(self.root[0]):
            self.root = (geometry, value)
            return True
        return False

    def replace(self, geometry: Geometry, value: V) -> None:
        """The whole content is another now, and lies in `geometry`."""
        self.version += 1
        self.root = (geometry, value)
        self.define(geometry, value)

    def invalidate(self) -> None:
        """It was written by something that was not recorded: nothing known about the content is true now."""
        self.version += 1
        self.root = None
