"""The commands that write, each with a dataset and a network so small that it takes a fraction of a second."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.errors import DeconvVizError
from deconvviz.mining import state as scan_state
from deconvviz.results import TopActivations
from faults.power import Tree

ATLAS_COMPLETE = ("atlas/data/index.js", "atlas/manifest.json")


class Workload(NamedTuple):
    """A call into which faults are injected.

    Attributes:
        before: Prepares the folder that it is given.
        run: The call, which is given the folder.
        complete: Files whose presence means that their folder is complete.
        seen: The files of a tree that a user sees; None if the tree itself says that it is incomplete.
        swept: Folders in which a repeated call leaves no temporary file.
        others: Other files of the user, which must never change.
    """

    before: Callable[[Path], object]
    run: Callable[[Path], object]
    complete: tuple[str, ...] = ()
    seen: Callable[[Tree], Tree | None] = lambda tree: tree
    swept: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def _network() -> dv.DeconvNet:
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 2, 3)))


@functools.cache
def _images() -> torch.Tensor:
    return torch.rand(24, 1, 12, 12, generator=torch.Generator().manual_seed(0))


def _scan(folder: Path, k: int = 3, state: bool = True) -> TopActivations:
    scan_state.SECONDS, scan_state.SHARE = 0.0, 0  # a scan saves its progress after every batch
    kept = folder / "state" if state else None
    top = dv.scan(_network(), _images(), k=k, batch_size=8, state=kept, progress=False)
    top.save(folder / "top.safetensors")
    return top


def _atlas(folder: Path, layers: tuple[str, ...]) -> None:
    net = _network()
    top = dv.scan(net, _images(), k=2, batch_size=8, progress=False)
    dv.build_atlas(net, _images(), top, out=folder / "atlas", layers=layers, progress=False, evidence=False)


def _atlas_seen(tree: Tree) -> Tree | None:
    """The files that the atlas's page loads."""
    root = "atlas/older/" if b'="older/assets/' in tree.get("atlas/index.html", b"") else "atlas/"
    if f"{root}data/index.js" not in tree:
        return None
    there = tuple(f"{root}{folder}/" for folder in ("data", "sheets", "images", "assets"))
    seen = {path.removeprefix(root): content for path, content in tree.items() if path.startswith(there)}
    seen.pop("data/unfinished.js", None)  # loaded only where there is no index
    return seen


def _train(folder: Path, epochs: int) -> None:
    """Run `deconvviz train` on 20 images of noise."""
    labels = torch.arange(20) % 10
    images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    words = f"train --root none --epochs {epochs} --batch-size 8 --patience 3 --threads 1 --channels 2 3 --width 4"
    with (
        mock.patch("deconvviz.data.load_mnist", return_value=(images, labels)),
        mock.patch("deconvviz.data.mnist_test", return_value=(images, labels)),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        if cli.main([*words.split(), "--dropout", "0", "--out", str(folder)]):
            raise DeconvVizError(said.getvalue())


def _nothing(folder: Path) -> None:
    pass


_BESIDE = ("atlas/notes.txt", "atlas/assets/custom.css", "atlas/data/mine.json", "atlas/older/mine.txt")
_RUNS = ("notes.txt", "checkpoints/notes.txt", "checkpoints/best.safetensors", "checkpoints/.state.pt.20261127.pt")

WORKLOADS = {
    "scan": Workload(
        *(lambda f: _scan(f, k=2, state=False), _scan),
        swept=("state/",),
        others=("notes.txt", "state/notes.txt", "state/.rank-0.safetensors.20261127.safetensors"),
    ),
    "atlas": Workload(
        *(_nothing, lambda f: _atlas(f, ("0", "3")), ATLAS_COMPLETE, _atlas_seen, ("atlas/",)), others=("notes.txt",)
    ),
    "atlas, again": Workload(
        *(lambda f: _atlas(f, ("0", "3")), lambda f: _atlas(f, ("3",)), ATLAS_COMPLETE, _atlas_seen, ("atlas/",)),
        others=_BESIDE,
    ),
    "train": Workload(_nothing, lambda f: _train(f, 2), swept=("",), others=_RUNS),
    "train, further": Workload(lambda f: _train(f, 1), lambda f: _train(f, 2), swept=("",), others=_RUNS),
}
