"""What CUDA says about an operation: which tensors may meet, which results the host waits for, what is a launch.

Written from the behaviour of torch's CUDA kernels, independent of deconvviz.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

# Results whose size or value the host needs, so that it waits for the device.
_READ = frozenset(
    {
        *(aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero, aten.nonzero_numpy),
        *(aten.argwhere, aten.masked_select, aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive),
        *(aten.bincount, aten.linalg_cholesky, aten.linalg_inv, aten.linalg_solve, aten.multinomial),
    }
)
# Operations that reserve memory or change a tensor's geometry, and start nothing on the device.
_FREE = frozenset(
    {
        *(aten.empty, aten.empty_strided, aten.empty_like, aten.new_empty, aten.new_empty_strided, aten.empty_permuted),
        *(aten.detach, aten.detach_, aten.alias, aten.set_, aten.resize_, aten.lift_fresh, aten._unsafe_view),
        *(aten.is_pinned, aten._local_scalar_dense, aten.item, aten.is_same_size),
        *(aten.squeeze_, aten.unsqueeze_, aten.t_, aten.transpose_, aten.as_strided_),
    }
)
_INDEXED = frozenset({aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index})
_COPIES = frozenset({aten.copy_, aten.copy, aten._to_copy, aten._copy_from})
# Operations without torch's tag "pointwise" that take a single number on the CPU as well.
_TAKES_NUMBERS = frozenset({aten.fill_, aten.fill, aten.masked_fill, aten.masked_fill_, aten.index_fill, aten.where})


def tensors_of(*trees: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, lists of tensors included."""
    for tree in trees:
        if isinstance(tree, Tensor):
            yield tree
        elif isinstance(tree, (list, tuple)):
            yield from tensors_of(*tree)
        elif isinstance(tree, dict):
            yield from tensors_of(*tree.values())


@functools.cache
def is_launch(func: Any) -> bool:
    """Whether an operation starts work on the device: views, metadata and allocations do not."""
    packet = getattr(func, "overloadpacket", func)
    if packet in _FREE or getattr(func, "namespace", "") in ("prim", "profiler"):
        return False
    aliases = [one.alias_info for one in func._schema.returns]
    return not (aliases and all(alias is not None and not alias.is_write for alias in aliases))


@functools.cache
def is_composite(func: Any) -> bool:
    """Whether an operation is a composition of others on every device."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def is_copy(func: Any) -> bool:
    """Whether an operation copies from one device to another."""
    return func.overloadpacket in _COPIES


def is_read(func: Any, args: Any, kwargs: Any, lies_on: Any) -> bool:
    """Whether the host waits for the device at an operation whose tensors lie there (copies to the CPU aside)."""
    packet = func.overloadpacket
    if packet is aten.repeat_interleave:
        return bool(args) and isinstance(args[-1], Tensor) and kwargs.get("output_size") is None
    if packet in _INDEXED:
        masks = [one for one in args[1] if one is not None and one.dtype in (torch.bool, torch.uint8)]
        number_put = (
            len(args) > 2 and args[2].dim() == 0 and len(masks) == len([i for i in args[1] if i is not None]) == 1
        )
        return any(lies_on(mask) != "cpu" for mask in masks) and not number_put  # masked_fill needs no wait
    return packet in _READ


def uploads_in(func: Any, args: Any, lies_on: Any) -> int:
    """How many index tensors on the CPU an indexing operation has to send to the device."""
    if func.overloadpacket not in _INDEXED:
        return 0
    return sum(1 for one in args[1] if one is not None and lies_on(one) == "cpu")


def check_meeting(func: Any, args: Any, kwargs: Any, lies_on: Any) -> None:
    """Raise what CUDA raises if an operation's tensors lie on several devices and may not."""
    packet = func.overloadpacket
    if packet in _COPIES:
        return
    places: dict[str, list[Tensor]] = {}
    meeting = (args[0], args[2:], kwargs) if packet in _INDEXED else (args, kwargs)
    for tensor in tensors_of(*meeting):
        places.setdefault(lies_on(tensor), []).append(tensor)
    if packet in _INDEXED:
        own, others = lies_on(args[0]), {lies_on(one) for one in args[1] if one is not None}
        if others - {own, "cpu"}:
            raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({own})")
    if len(places) <= 1:
        return
    numbers = torch.Tag.pointwise in func.tags or packet in _TAKES_NUMBERS or packet in _INDEXED
    if len(places) == 2 and "cpu" in places and numbers and all(one.dim() == 0 for one in places["cpu"]):
        written = func._schema.arguments and func._schema.arguments[0].alias_info
        if not (written and written.is_write and lies_on(args[0]) == "cpu"):
            return
    found = " and ".join(sorted(places, reverse=True))
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {found}! (in {func})"
    )
