"""Which value a tensor holds, when several tensors share one storage and some of them are written.

A tensor is a *geometry* (offset, size, stride) over a storage. For each storage that holds something that
depends on the input, a `StorageState` knows the newest complete content (the *root*) and the value of every
geometry that was defined since the last write. A tensor whose geometry was defined before that write is read
from the root by `reread`; a write through a part of the storage makes a new root by `overwritten`. Both are
put on the tape like any operation, so that the way back goes through them.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

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

    def covers(self, other: Geometry) -> bool:
        """Whether both have the same elements, in whatever order."""
        if self == other:
            return True
        extents = [(g.offset, torch.Size(g.size).numel(), g.dtype, g.conj, g.neg) for g in (self, other)]
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


def reread(root: Tensor, root_geometry: Geometry, geometry: Geometry) -> Tensor:
    """What a tensor of `geometry` reads from a storage whose content is `root` (0 outside of it)."""
    whole, asked = common(root_geometry, geometry)
    index = asked.within(whole).to(root.device)
    numbers = stored(root, root_geometry, geometry).flatten()[index.clamp(min=0)] * (index >= 0)
    return shown(numbers, geometry, root_geometry)


def overwritten(root: Tensor | None, part: Tensor, root_geometry: Geometry, geometry: Geometry) -> Tensor:
    """The content `root` (zeros for a constant one) after `part` was written into its `geometry`."""
    whole, asked = common(root_geometry, geometry)
    content = part.new_zeros(root_geometry.size, dtype=root_geometry.dtype) if root is None else root
    index = asked.within(whole).flatten().to(part.device)
    numbers = stored(content, root_geometry, geometry).flatten()
    numbers = numbers.index_copy(0, index, stored(part, geometry, root_geometry).flatten())
    return shown(numbers.view(whole.size), root_geometry, geometry)


class StorageState(Generic[V]):
    """The values that live in one storage."""

    def __init__(self, tensor: Tensor, root: V, geometry: Geometry | None = None) -> None:
        # The weak reference keeps the storage's address from being given to another one.
        self.reference = StorageWeakRef(tensor.untyped_storage())
        self.version = 0
        self.root: tuple[Geometry, V] | None = (geometry or Geometry.of(tensor), root)
        self.values: dict[Geometry, tuple[int, V]] = {self.root[0]: (0, root)}

    def current(self, geometry: Geometry) -> V | None:
        """The value of `geometry`, if it was defined since the last write."""
        version, value = self.values.get(geometry, (-1, None))
        return value if version == self.version else None

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

    def spoil(self) -> None:
        """It was written by something that was not recorded: nothing known about the content is true now."""
        self.version += 1
        self.root = None
