"""The readers that are fuzzed, with valid files as seeds."""

from __future__ import annotations

import dataclasses
import gzip
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import deconvviz as dv
from deconvviz import results
from deconvviz.data import read_idx, read_parts
from deconvviz.mining.progress import Runs, ScanProgress
from deconvviz.models import MnistCNN, mnist_cnn, read_weights, save_weights
from deconvviz.models.checkpoints import CURVES, CheckpointFolder, TrainingProgress, snapshot
from deconvviz.models.mnist import architecture_metadata
from deconvviz.results import Result

IMAGES = ("a.png", "b.png")


class Reader(NamedTuple):
    """A reader of files.

    Attributes:
        read: Reads the file with the given path.
        seeds: Writes valid files into a folder.
        form: How files are mutated.
        name: The file's name, if the reader depends on it.
    """

    read: Callable[[Path], object]
    seeds: Callable[[Path], object]
    form: str
    name: str = "file"


def example(hint: Any) -> Any:
    """A value of the type `hint`.

    >>> example(tuple[dict[str, float | None], ...])
    ({'a': 0.5}, {'a': 0.5})
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType, typing.Literal):
        return inner[0] if origin is typing.Literal else example(inner[0])
    if origin is tuple:
        return tuple(example(one) for one in (inner[:1] * 2 if inner[1:] == (...,) else inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"a": example(inner[1])}
    if hint is torch.Tensor:
        return torch.arange(4.0).reshape(2, 2)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return hint(**{field.name: example(hints[field.name]) for field in dataclasses.fields(hint)})
    return {int: 1, float: 0.5, str: "a", bool: True}.get(hint)


def kinds() -> list[type[Result]]:
    """All kinds of results that can be saved."""
    known = [one for one in vars(results).values() if inspect.isclass(one) and issubclass(one, Result)]
    return [one for one in known if dataclasses.is_dataclass(one)]


# Results


def _result_seeds(folder: Path) -> None:
    for kind in kinds():
        example(kind).save(folder / kind.__name__)


def _read_result(path: Path) -> None:
    found = Result.load(path)
    found.save(path.with_name("again"))


# Scans


def _scan_seeds(folder: Path) -> None:
    for number, shape in enumerate([(1, 6, 6), (1, 5)]):
        torch.manual_seed(0)
        model = nn.Conv2d(1, 2, 3) if len(shape) == 3 else nn.Conv1d(1, 2, 3)
        dv.scan(dv.DeconvNet(model), torch.rand(9, *shape), k=2, batch_size=3, state=folder / "s", progress=False)
        (folder / "s" / "rank-0.safetensors").rename(folder / f"{number}")
    (folder / "s").rmdir()


def _read_scan(path: Path) -> None:
    progress, identity = ScanProgress.load(path)
    whole = ScanProgress({}, Runs([(0, 3)]))
    whole.merge(progress)
    whole.save(path.with_name("again"), identity)


# Weights and trainings


def _small() -> MnistCNN:
    torch.manual_seed(0)
    return MnistCNN(channels=(1, 1), width=2, dropout=0.0)


def _weights_seeds(folder: Path) -> None:
    save_weights(_small(), folder / "small", metadata=architecture_metadata(_small()))


def _checkpoint_seeds(folder: Path) -> None:
    state = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).state_dict()
    for number, content in enumerate([state, {"state_dict": state, "epoch": 3}, {"model": dict(state)}]):
        torch.save(content, folder / f"{number}")
        torch.save(content, folder / f"{number}-old", _use_new_zipfile_serialization=False)


def _training() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 2)
    return model, torch.optim.Adam(model.parameters(), lr=0.1)


def _training_seeds(folder: Path) -> None:
    model, optimiser = _training()
    model(torch.ones(1, 1, 3, 3)).sum().backward()
    optimiser.step()
    for number, best in enumerate([snapshot(model), None]):
        progress = TrainingProgress({name: [0.5, 0.25] for name in CURVES}, best)
        CheckpointFolder(folder / "run", {"setting": "1"}).save(progress, model, optimiser, {})
        (folder / "run" / "state.pt").rename(folder / f"{number}")
    (folder / "run" / "epoch-002.safetensors").unlink()
    (folder / "run").rmdir()


def _read_training(path: Path) -> None:
    model, optimiser = _training()
    progress = CheckpointFolder(path.parent, {"setting": "1"}).resume(model, optimiser)
    model(torch.ones(1, 1, 3, 3)).sum().backward()
    optimiser.step()
    assert progress.best_epoch >= 0


# Data


def _idx_seeds(folder: Path) -> None:
    content = b"\0\0\x08\x03" + b"\0\0\0\x02\0\0\0\x03\0\0\0\x01" + bytes(range(6))
    (folder / "plain").write_bytes(content)
    (folder / "packed").write_bytes(gzip.compress(content))


def _csv_seeds(folder: Path) -> None:
    (folder / "points").write_text("image,part,row,column\na.png,eye,4,5\nb.png,eye,6,7\n")
    (folder / "boxes").write_text(
        'image,part,top,left,bottom,right\na.png,"left, eye",1,2,3,4\nb.png,"left, eye",1,2,3,4'
    )


def _json_seeds(folder: Path) -> None:
    parts = {"eye": {"a.png": [4, 5], "b.png": [6, 7.0]}, "box": {"a.png": [1, 2, 3, 4], "b.png": [1, 2, 3, 4]}}
    (folder / "parts").write_text(json.dumps(parts))


READERS = {
    "result": Reader(_read_result, _result_seeds, "safetensors"),
    "scan state": Reader(_read_scan, _scan_seeds, "safetensors"),
    "weights, safetensors": Reader(lambda path: mnist_cnn(weights=path), _weights_seeds, "safetensors"),
    "weights, torch": Reader(read_weights, _checkpoint_seeds, "zip"),
    "training state": Reader(_read_training, _training_seeds, "zip", "state.pt"),
    "IDX": Reader(lambda path: read_idx(path, 3), _idx_seeds, "gzip"),
    "parts, CSV": Reader(lambda path: read_parts(path, IMAGES), _csv_seeds, "bytes", "parts.csv"),
    "parts, JSON": Reader(lambda path: read_parts(path, IMAGES), _json_seeds, "json", "parts.json"),
}
