"""Inputs in files of NumPy: signals, volumes and whatever else is no picture."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from torch import nn

from deconvviz.data.array_files import load_array
from deconvviz.errors import InputError

SPATIAL_AXES = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}  # spatial axes


def of_file(given: Any, model: nn.Module) -> Any:
    """The array in an ``.npy`` file, for a given path of one; anything else unchanged.

    Floating-point numbers get a batch axis if the model's first convolution or linear layer takes one axis more, and
    one of channels, too, if it takes two more and one channel. Bytes are pictures, for the network's preprocess.

    Raises:
        MissingFileError, DataError: If the file cannot be read.
        InputError: If it holds other numbers.
    """
    if not isinstance(given, (str, os.PathLike)) or not os.fspath(given).lower().endswith(".npy"):
        return given
    array = load_array(given)
    if array.dtype == np.uint8:
        return np.array(array)
    if array.dtype.kind != "f":
        raise InputError(
            f"{os.fspath(given)!r} holds {array.dtype}; save floating-point numbers, scaled as the model expects, or "
            f"pictures of 8 bits"
        )
    axes, channels = axes_of_input(model)
    missing = axes - array.ndim
    if missing == 1 or (missing == 2 and channels == 1):
        return np.array(array)[(None,) * missing]
    return np.array(array)


def axes_of_input(model: nn.Module) -> tuple[int, int | None]:
    """How many axes the first convolution or linear layer takes, and how many channels; 0 and None without one."""
    for module in model.modules():
        for kind, axes in SPATIAL_AXES.items():
            if isinstance(module, kind):
                return axes + 2, module.in_channels
        if isinstance(module, nn.Linear):
            return 2, None
    return 0, None
