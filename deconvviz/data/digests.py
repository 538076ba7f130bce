"""A digest of data: every byte of tensors and arrays, every pixel of images, without copying them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Digest:
    """A running digest of values of any type.

    Example:
        >>> Digest(torch.tensor([1.0])).text == Digest(torch.tensor([1.0])).text != Digest(torch.tensor([1])).text
        True
    """

    def __init__(self, *values: Any) -> None:
        self._hash = hashlib.sha256()
        for value in values:
            self.add(value)

    def add(self, value: Any) -> None:
        """Add a value: tensors, arrays, images, text, numbers and paths by their content, anything else by its type."""
        if isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, (Image.Image, np.ndarray)):
            array = np.asarray(value)
            self._text(f"{array.shape} {array.dtype}")
            if not array.dtype.hasobject:
                self._hash.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        elif isinstance(value, (str, bytes, os.PathLike)):
            self._text(repr(os.fsdecode(value)))
        elif value is None or isinstance(value, (bool, int, float, complex, np.generic)):
            self._text(repr(value))
        else:
            self._text(repr(type(value)))

    @property
    def text(self) -> str:
        return self._hash.hexdigest()[:16]

    @property
    def number(self) -> int:
        """The first 64 bits of the digest."""
        return int.from_bytes(self._hash.digest()[:8], "little")

    def _text(self, text: str) -> None:
        self._hash.update(text.encode("utf-8", "surrogatepass") + b"\n")

    def _tensor(self, tensor: Tensor) -> None:
        self._text(f"{tensor.dtype} {tensor.layout}")
        with contextlib.suppress(Exception):  # there are kinds of tensors without numbers, or that cannot be read
            self._text(f"{tuple(tensor.shape)}")
            if tensor.is_nested:
                for part in tensor.unbind():
                    self._tensor(part)
                return
            dense = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
            dense = dense.int_repr() if dense.is_quantized else dense.resolve_conj().resolve_neg()
            self._hash.update(dense.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
