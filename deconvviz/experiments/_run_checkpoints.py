"""The checkpoints of a training run, from files or from memory."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import described
from deconvviz.errors import CheckpointError, InputError
from deconvviz.models.checkpoints import checkpoint_files, checkpoint_name
from deconvviz.models.matching import Weights
from deconvviz.models.weights import copy_weights, read_weights
from deconvviz.results import Projection


@dataclass(frozen=True)
class RunCheckpoint:
    """The weights at one time of a training run."""

    name: str
    described: str  # in errors
    read: Callable[[], Weights]

    def load_into(self, model: nn.Module) -> None:
        weights = self.read()
        for name, value in weights.items():
            if not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"{self.described} holds values that are NaN or infinite, in {name}")
        copy_weights(model, weights, self.described)


def checkpoints_of(source: Any) -> list[RunCheckpoint]:
    """The checkpoints of a run, from a folder or from memory, in their order."""
    if isinstance(source, (str, os.PathLike)):
        where = f"the folder {os.fspath(source)!r}"
        checkpoints = [
            RunCheckpoint(checkpoint_name(path), repr(os.fspath(path)), functools.partial(_weights_in, path))
            for path in checkpoint_files(source)
        ]
    else:
        where = "what was given"
        if not isinstance(source, Iterable) or isinstance(source, (bytes, Tensor, Projection, io.IOBase)):
            raise InputError(f"checkpoints are a folder, or state dicts in their order, not {described(source)}")
        items = source.items() if isinstance(source, Mapping) else source
        checkpoints = [_in_memory(number, item) for number, item in enumerate(items)]
    if len(checkpoints) < 2:
        held = f"there is only {checkpoints[0].name!r}" if checkpoints else "there is none"
        raise InputError(f"evolution compares checkpoints, and in {where} {held}; give two or more")
    return checkpoints


def _weights_in(path: Path) -> Weights:
    return read_weights(path)[0]


def _in_memory(number: int, item: Any) -> RunCheckpoint:
    name, weights = item if isinstance(item, tuple) and len(item) == 2 else (number, item)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(
            f"checkpoint {name!r} is a {type(weights).__name__}; it must be a state dict (names and tensors), or "
            f"a pair of a name and a state dict"
        )
    copied = {str(key): value.detach().cpu().clone() for key, value in weights.items()}
    return RunCheckpoint(str(name), f"checkpoint {str(name)!r}", lambda: copied)


@contextlib.contextmanager
def weights_kept(model: nn.Module) -> Iterator[None]:
    """A context after which a model has the weights that it had before."""
    kept = [(tensor, tensor.detach().clone()) for tensor in (*model.parameters(), *model.buffers())]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, content in kept:
                tensor.copy_(content)


def times_of(names: Sequence[str]) -> tuple[float, ...]:
    """The last number in each name, where these rise; otherwise 0, 1, 2 and on."""
    numbers = [re.findall(r"\d+(?:\.\d+)?", name) for name in names]
    times = tuple(float(digits[-1]) if digits else 0.0 for digits in numbers)
    rising = all(digits for digits in numbers) and all(a < b for a, b in itertools.pairwise(times))
    return times if rising else tuple(map(float, range(len(names))))
