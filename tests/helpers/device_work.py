"""How much work an operation is: the bytes that it reads and writes, and the multiplications of its products.

Caches are left out, and a kernel's own workspace. What is read at chosen places alone is counted there alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from tests.helpers.device_rules import tensors_of

aten = torch.ops.aten

_TAKING = frozenset({aten.index, aten.gather, aten.index_select, aten.take, aten.embedding})
_PUTTING = {aten.scatter_add_: (2, 3), aten.scatter_: (2, 3), aten.index_put_: (1, 2), aten._index_put_impl_: (1, 2)}
_WRITING = frozenset(
    {
        *(aten.fill_, aten.zero_, aten.new_zeros, aten.new_ones, aten.new_full),
        *(aten.zeros_like, aten.ones_like, aten.full_like),
    }
)


class Work(NamedTuple):
    """Of one operation.

    Attributes:
        moved: Bytes read and written.
        products: Multiplications of convolutions and matrix products.
    """

    moved: int
    products: int


def work_of(func: Any, args: Any, kwargs: Any, result: Any) -> Work:
    """The work of an operation from its arguments to its result."""
    packet = func.overloadpacket
    made = _bytes(result)
    if packet in _TAKING:
        moved = 2 * made + _bytes(args[1:])
    elif packet in _PUTTING:
        where, what = _PUTTING[packet]
        moved = 2 * _bytes(args[what]) + _bytes(args[where])
    elif packet in _WRITING:
        moved = made
    elif packet is aten.convolution_backward and not args[-1][1]:  # which reads the input's shape alone
        moved = made + _bytes((args[0], args[2]))
    else:
        moved = made + _bytes((args, kwargs))
    return Work(moved, _products(packet, args, result))


def _bytes(*trees: Any) -> int:
    """Of the tensors, each number once that is repeated by a stride of zero."""
    return sum(_distinct(tensor) * tensor.itemsize for tensor in tensors_of(*trees))


def _distinct(tensor: Tensor) -> int:
    return torch.Size(size for size, step in zip(tensor.shape, tensor.stride(), strict=True) if step).numel()


def _products(packet: Any, args: Any, result: Any) -> int:
    if packet is aten.convolution:
        many = args[0] if args[6] else result  # transposed
        return many.numel() * args[1].shape[1:].numel()
    if packet is aten.convolution_backward and args[-1][0]:
        many = result[0] if args[7] else args[0]
        return many.numel() * args[2].shape[1:].numel()
    if packet in (aten.mm, aten.bmm):
        return result.numel() * args[0].shape[-1]
    if packet is aten.addmm:
        return result.numel() * args[1].shape[-1]
    return 0
