"""Which value a tensor holds when several tensors share one storage and some of them are written.

A tensor is a *layout* (offset, size, stride) over a storage. For each storage that holds something that depends on
the input, a `StorageState` knows the newest complete content, the *root*, and the value of every layout that was
defined since the last write. A tensor whose layout was defined before that write is read from the root by `reread`.
A write to a part of the storage gives it a new root by `overwritten`. Both are put on the tape like any operation, so
that the way back passes through them. A `PlaceInRoot` says where a layout lies in a root, by offset, size and stride:
the cost of a write grows with what is written and not with the storage.
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


class StorageLayout(NamedTuple):
    """Where a tensor's elements lie in its storage, in elements of its dtype.

    Attributes:
        offset: Position of the first element.
        size: The tensor's shape.
        stride: Distance of neighbours along each axis.
        dtype: Type of the elements.
        conj: Whether the tensor shows the conjugate of the stored numbers.
        neg: Whether the tensor shows the negative of the stored numbers.
    """

    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    conj: bool = False
    neg: bool = False

    @classmethod
    def of(cls, tensor: Tensor) -> StorageLayout:
        place = int(tensor.storage_offset()), tuple(tensor.shape), tensor.stride(), tensor.dtype
        return tuple.__new__(cls, (*place, tensor.is_conj(), tensor.is_neg()))  # in half the time of `cls(...)`

    @classmethod
    def whole(cls, tensor: Tensor) -> StorageLayout:
        """The tensor's whole storage, flat."""
        return cls(0, (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), tensor.dtype)

    def dense(self) -> bool:
        """Whether the elements fill a contiguous part of the storage, without gaps or overlaps."""
        expected = 1
        for stride, size in sorted(zip(self.stride, self.size, strict=True)):
            if size != 1:
                if stride != expected:
                    return False
                expected *= size
        return True

    def disjoint(self) -> bool:
        """Whether no two elements share a position, as far as sizes and strides tell."""
        extent = 0
        for stride, size in sorted(zip(self.stride, self.size, strict=True)):
            if size != 1:
                if stride <= extent:
                    return False
                extent += stride * (size - 1)
        return True

    @property
    def numel(self) -> int:
        return math.prod(self.size)

    @property
    def end(self) -> int:
        """One past the last position that holds an element."""
        return self.offset + 1 + sum((size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True))

    def covers(self, other: StorageLayout) -> bool:
        """Whether both have the same elements, in any order."""
        if self == other:
            return True
        extents = [(g.offset, g.numel, g.dtype, g.conj, g.neg) for g in (self, other)]
        return extents[0] == extents[1] and self.dense() and other.dense()

    def shares_numbers(self, other: StorageLayout) -> bool:
        """Whether a tensor of the other layout can read what this one writes: a complex number is two real ones."""
        return self.dtype.to_real() == other.dtype.to_real()

    def real(self) -> StorageLayout:
        """The layout of the real numbers that make up complex ones; itself for other types."""
        if not self.dtype.is_complex:
            return self
        doubled = tuple(2 * stride for stride in self.stride)
        return StorageLayout(2 * self.offset, (*self.size, 2), (*doubled, 1), self.dtype.to_real())

    def positions(self) -> Tensor:
        """The position of every element in the storage, a long tensor of this layout's size."""
        positions = torch.tensor(self.offset, device="cpu")
        for size, stride in zip(self.size, self.stride, strict=True):
            positions = positions.unsqueeze(-1) + torch.arange(size, device="cpu") * stride
        return positions

    def within(self, root: StorageLayout) -> Tensor:
        """The index of every element in ``root.flatten()``; -1 for elements that the root does not have."""
        of_root, own = root.positions().flatten(), self.positions()
        highest = int(torch.cat([of_root, own.flatten()]).max()) if of_root.numel() + own.numel() else 0
        index = torch.full((highest + 1,), -1, device="cpu")
        index[of_root] = torch.arange(of_root.numel(), device="cpu")
        return index[own]


def separated(tensor: Tensor) -> Tensor:
    """A tensor over the same memory with a storage of its own, so that its views can be told from older ones."""
    if not tensor.untyped_storage().nbytes():
        return tensor
    flat = torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())
    storage = from_dlpack(flat).untyped_storage()
    layout = int(tensor.storage_offset()), tensor.shape, tensor.stride()
    view = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(storage, *layout)
    conjugated = view.conj() if tensor.is_conj() else view
    return torch._neg_view(conjugated) if tensor.is_neg() else conjugated


def common(root: StorageLayout, layout: StorageLayout) -> tuple[StorageLayout, StorageLayout]:
    """Both layouts in the same type: as real numbers if only one of them is complex."""
    return (root, layout) if root.dtype == layout.dtype else (root.real(), layout.real())


def stored(tensor: Tensor, layout: StorageLayout, other: StorageLayout) -> Tensor:
    """The numbers in the storage of which a tensor of `layout` shows `tensor`, in the type common with `other`."""
    numbers = _turned(tensor, layout)
    return torch.view_as_real(numbers.resolve_conj()) if _in_parts(layout, other) else numbers


def shown(numbers: Tensor, layout: StorageLayout, other: StorageLayout) -> Tensor:
    """What a tensor of `layout` shows if `numbers` are stored: the inverse of `stored`, and its adjoint."""
    return _turned(torch.view_as_complex(numbers.contiguous()) if _in_parts(layout, other) else numbers, layout)


def _in_parts(layout: StorageLayout, other: StorageLayout) -> bool:
    return layout.dtype.is_complex and layout.dtype != other.dtype


def _turned(tensor: Tensor, layout: StorageLayout) -> Tensor:
    turned = tensor.conj() if layout.conj else tensor
    return -turned if layout.neg else turned


class PlaceInRoot(NamedTuple):
    """Where the elements of a layout lie in a root, the same in each of the samples along axis 0 of both.

    The elements are a strided view of a sample's part of the root as it lies in memory. Where that is not possible,
    since some share a position or lie outside of the root, they are listed one by one.

    Attributes:
        rows: Shape of one sample's part of the root.
        order: The axes of that part, in the order in which they lie in memory.
        offset: Position of the first element.
        size: Shape of a sample's elements.
        stride: Their strides.
        listed: The index of each element, -1 outside of the root; None if they are a strided view.
    """

    rows: tuple[int, ...]
    order: tuple[int, ...]
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    listed: Tensor | None = None

    def laid_out(self, root: Tensor, samples: int) -> Tensor:
        """The numbers of the root as they lie in memory, (samples, elements); a view if they lie so."""
        return root.reshape(samples, *self.rows).permute(0, *(1 + axis for axis in self.order)).flatten(1)

    def as_root(self, flat: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The result of `laid_out` in the shape of the root again; a view if possible."""
        unflattened = flat.view(len(flat), *(self.rows[axis] for axis in self.order))
        axes = sorted(range(len(self.order)), key=self.order.__getitem__)
        return unflattened.permute(0, *(1 + axis for axis in axes)).reshape(shape)

    def view(self, flat: Tensor) -> Tensor:
        """The elements in the result of `laid_out`, (samples, *size), as a view; only if they are not listed."""
        step = flat.stride(1)  # 2 if it is the real part of complex numbers
        strides = (flat.stride(0), *(step * stride for stride in self.stride))
        return flat.as_strided((len(flat), *self.size), strides, flat.storage_offset() + step * self.offset)

    def read(self, flat: Tensor) -> Tensor:
        """A copy of the elements, (samples, *size); 0 outside of the root."""
        if self.listed is None:
            return self.view(flat).clone(memory_format=torch.contiguous_format)
        index = self.listed.to(flat.device)
        return (flat[:, index.clamp(min=0)] * (index >= 0)).view(len(flat), *self.size)

    def write(self, flat: Tensor, numbers: Tensor | int) -> None:
        """Write the elements, or one number for all of them, into the result of `laid_out`."""
        if self.listed is None:
            view = self.view(flat)
            view.copy_(numbers.reshape(view.shape)) if isinstance(numbers, Tensor) else view.fill_(numbers)
            return
        index = self.listed.to(flat.device)
        inside = index >= 0
        flat[:, index[inside]] = numbers.reshape(len(flat), -1)[:, inside] if isinstance(numbers, Tensor) else numbers

    def add(self, flat: Tensor, numbers: Tensor) -> None:
        """Add to the elements; if several share a position, all of them are added."""
        if self.listed is None:
            view = self.view(flat)
            view += numbers.reshape(view.shape)
            return
        index = self.listed.to(flat.device)
        flat.index_add_(1, index.clamp(min=0), numbers.reshape(len(flat), -1) * (index >= 0))


def place_in(root: StorageLayout, asked: StorageLayout, samples: int) -> PlaceInRoot | None:
    """Where the elements of `asked` lie in a root of several samples; None if that differs from sample to sample."""
    if not all(layout.size and layout.size[0] % samples == 0 for layout in (root, asked)):
        return None
    rows, part = (g._replace(size=(g.size[0] // samples, *g.size[1:])) for g in (root, asked))
    step = rows.size[0] * root.stride[0]
    if samples > 1 and part.numel and part.size[0] * asked.stride[0] != step:
        return None
    inside = not part.numel or (rows.offset <= part.offset and part.end <= rows.offset + rows.numel)
    if not inside or not rows.dense() or (samples > 1 and step < rows.numel):
        listed = _element_index(root, asked, samples)
        order: Iterable[int] = range(len(rows.size))
        return None if listed is None else PlaceInRoot(rows.size, tuple(order), 0, part.size, part.stride, listed)
    order = sorted(range(len(rows.size)), key=lambda axis: (-rows.stride[axis], -rows.size[axis]))
    place = PlaceInRoot(rows.size, tuple(order), part.offset - rows.offset, part.size, part.stride)
    return place if part.disjoint() else place._replace(listed=(part.positions() - rows.offset).flatten())


def _element_index(root: StorageLayout, asked: StorageLayout, samples: int) -> Tensor | None:
    """The index of each of a sample's elements in its flattened part of the root; None if samples mix."""
    length = root.numel // samples
    indices = asked.within(root).reshape(samples, -1)
    if samples == 1:
        return indices[0]
    within = indices - torch.arange(samples, device="cpu")[:, None] * length
    alike = (indices >= 0).all() and (within == within[0]).all() and (within[0] < length).all()
    return within[0] if alike else None


def whole_place(root: StorageLayout, asked: StorageLayout) -> PlaceInRoot:
    """Where the elements of `asked` lie in the root, all samples together."""
    root, asked = (g if g.size else g._replace(size=(1,), stride=(1,)) for g in (root, asked))
    place = place_in(root, asked, 1)
    assert place is not None
    return place


def reread(root: Tensor, root_layout: StorageLayout, layout: StorageLayout) -> Tensor:
    """What a tensor of `layout` reads from a storage with the content `root`; 0 outside of it."""
    place = whole_place(*common(root_layout, layout))
    numbers = place.read(place.laid_out(stored(root, root_layout, layout), 1))
    return shown(numbers.view(common(root_layout, layout)[1].size), layout, root_layout)


def overwritten(root: Tensor | None, part: Tensor, root_layout: StorageLayout, layout: StorageLayout) -> Tensor:
    """The content `root` after `part` was written to `layout`; zeros take the place of a constant root, None."""
    whole, asked = common(root_layout, layout)
    place = whole_place(whole, asked)
    content = part.new_zeros(root_layout.size, dtype=root_layout.dtype) if root is None else root.clone()
    flat = place.laid_out(stored(content, root_layout, layout), 1)
    place.write(flat, stored(part, layout, root_layout))
    return shown(place.as_root(flat, whole.size), root_layout, layout)


def storage_of(tensor: Tensor) -> int:
    """The address of a tensor's storage; 0 for tensors without one, as in `torch.vmap`, which runs others below."""
    if tensor.layout != torch.strided or tensor.is_nested or is_functorch_wrapped_tensor(tensor):
        return 0
    return int(tensor.untyped_storage()._cdata)


class StorageState(Generic[V]):
    """The values in one storage.

    Attributes:
        reference: A weak reference, which keeps the storage's address from being given to another one.
        address: Address of its memory.
        version: Number of writes so far.
        root: Layout and value of the newest complete content; None if it is not known.
        values: For each layout, the version in which its value was defined, and the value.
    """

    __slots__ = ("address", "reference", "root", "values", "version")

    def __init__(self, tensor: Tensor, root: V, layout: StorageLayout) -> None:
        storage = tensor.untyped_storage()
        self.reference = StorageWeakRef(storage)
        self.address = storage.data_ptr()
        self.version = 0
        self.root: tuple[StorageLayout, V] | None = (layout, root)
        self.values: dict[StorageLayout, tuple[int, V]] = {layout: (0, root)}

    def is_memory_of(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in this memory, even if it came by a way that torch does not see, such as DLPack."""
        return self.address == tensor.untyped_storage().data_ptr() and not self.reference.expired()

    def copy(self) -> StorageState[V]:
        copied = copy.copy(self)
        copied.values = dict(self.values)
        return copied

    def current(self, layout: StorageLayout) -> V | None:
        """The value of `layout`, if it was defined since the last write; otherwise None."""
        version, value = self.values.get(layout, (-1, None))
        return value if version == self.version else None

    def outdated(self, layout: StorageLayout) -> bool:
        """Whether the storage was written since `layout` was defined, so that it must be read again."""
        return self.root is not None and self.root[0].dtype == layout.dtype and self.current(layout) is None

    def define(self, layout: StorageLayout, value: V) -> None:
        """From now on a tensor of `layout` holds `value`."""
        self.values[layout] = (self.version, value)

    def write(self, layout: StorageLayout, value: V) -> bool:
        """Note that `layout` was written. Returns whether that was the whole content; if not, a new root is due."""
        self.version += 1
        self.define(layout, value)
        if self.root is not None and layout.covers(self.root[0]):
            self.root = (layout, value)
            return True
        return False

    def replace(self, layout: StorageLayout, value: V) -> None:
        """Note that the whole content has changed, and lies in `layout`."""
        self.version += 1
        self.root = (layout, value)
        self.define(layout, value)

    def invalidate(self) -> None:
        """Forget the content, since something that is not recorded has written it."""
        self.version += 1
        self.root = None
