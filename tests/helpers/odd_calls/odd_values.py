"""Values that are wrong for nearly every argument."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.helpers.odd_calls.subjects import NET, PROJECTION, RECONSTRUCTION, TOP


class Failing:
    """Raises an error from each of its methods."""

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, number: int) -> Any:
        raise RuntimeError("no item")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def closed() -> io.StringIO:
    file = io.StringIO("1 2")
    file.close()
    return file


def anything() -> dict[str, Any]:
    """Values that are wrong for nearly every argument, by description; made anew in each call."""
    return {
        "None": None,
        "True": True,
        "-1": -1,
        "1e30": 10**30,
        "1.5": 1.5,
        "NaN": float("nan"),
        "infinity": float("inf"),
        "1j": 1j,
        "no text": "",
        "a text": "nope",
        "a Chinese text with a line break": "卷積\n",
        "bytes": b"x",
        "a memory": memoryview(b"abc"),
        "a list of None": [None],
        "a list of both": ["a", 1],
        "a tuple": (),
        "a mapping": {"a": 1},
        "a set": {1, 2},
        "a generator": (n for n in (None, 1)),
        "an iterator": iter([object()]),
        "an object": object(),
        "a type": int,
        "an ellipsis": ...,
        "a slice": slice(1),
        "a module": pathlib,
        "an exception": ValueError("x"),
        "a closed file": closed(),
        "what fails": Failing(),
        "a path": pathlib.Path("no/such"),
        "a numpy number": np.float32(2.5),
        "a numpy array": np.array([1.5]),
        "an empty array": np.zeros(0),
        "an array of text": np.array(["a"]),
        "a tensor of one": torch.tensor(3.5),
        "an empty tensor": torch.zeros(0),
        "a tensor of five axes": torch.zeros(1, 1, 1, 1, 1),
        "a tensor of NaN": torch.full((2, 1, 8, 8), float("nan")),
        "a tensor on meta": torch.zeros(2, 1, 8, 8, device="meta"),
        "a sparse tensor": torch.eye(3).to_sparse(),
        "a complex tensor": torch.zeros(3, 3) * 1j,
        "a type of numbers": torch.float32,
        "a device": torch.device("cpu"),
        "a function": max,
        "a model": nn.ModuleList([nn.ReLU()]),
        "a net": NET,
        "a scan": TOP,
        "a projection": PROJECTION,
        "a reconstruction": RECONSTRUCTION,
        "an image": Image.new("RGB", (3, 3)),
    }
