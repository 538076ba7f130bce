"""Scans that cannot go on: states, jobs of several processes, and atlases of scans that do not fit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from torch import nn

import deconvviz as dv
from deconvviz.cli import mining
from deconvviz.errors import DataError, InputError
from deconvviz.mining.progress import ScanProgress
from deconvviz.mining.ranks import Ranks
from deconvviz.results import TopActivations
from tests.helpers.invalid_inputs.case import Case, grey, refused
from tests.helpers.invalid_inputs.datasets import IMAGES, scan

SIZES = [IMAGES[0], IMAGES[1, :, :7], IMAGES[2]]


def wide() -> dv.DeconvNet:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)  # so that every image fires
    return dv.DeconvNet(model)


def growing() -> dv.DeconvNet:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Any) -> Any:
            return self.conv(x).flatten(1).relu()

    return dv.DeconvNet(Growing())


def atlas(data: Any, top: TopActivations, given: dv.DeconvNet | None = None) -> str:
    return dv.build_atlas(given or grey(), data, top, out="out", progress=False, evidence=False)


def stated(change: Callable[[], Any], **options: Any) -> Callable[[Path], Any]:
    """A scan whose state is changed before the scan resumes."""

    def how(_: Path) -> Any:
        scan(state="state")
        change()
        return scan(**{"state": "state", **options})

    return how


def copied() -> None:
    shutil.copy("state/rank-0.safetensors", "state/rank-1.safetensors")


def beside(other: Callable[[Any], Any], **options: Any) -> Callable[[Path], Any]:
    """A scan next to another process of the job. `other` turns what this process sends into what that one sends."""

    class Two(Ranks):
        def __init__(self) -> None:
            self.rank, self.world = 0, 2

        def gathered(self, mine: Any) -> list[Any]:
            return [mine, other(mine)]

    def how(_: Path) -> Any:
        with mock.patch("deconvviz.mining.scan.Ranks", Two):
            return scan(**options)

    return how


def gone(_: Path) -> Any:
    """A scan whose other process dies."""
    ranks = Ranks()
    ranks.world = 2
    with mock.patch("torch.distributed.all_gather_object", side_effect=RuntimeError("Connection closed by peer")):
        return ranks.gathered(None)


def unreadable(_: Path) -> Any:
    """A state that may not be read."""
    scan(state="state")
    with mock.patch("deconvviz.mining.progress.safe_open", side_effect=PermissionError(13, "Permission denied")):
        return scan(state="state")


def counted_wrong() -> None:
    """Change the number of images in a state."""
    path = Path("state/rank-0.safetensors")
    progress, identity = ScanProgress.load(path)
    progress.count += 3
    progress.save(path, identity)


def in_environment(call: Callable[[], Any], **variables: str) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        with mock.patch.dict(os.environ, variables):
            return call()

    return how


def alone_in_a_job() -> None:
    with mock.patch("torch.distributed.init_process_group", side_effect=RuntimeError("nobody\nis there")):
        mining._join()


DIFFERENT = "the processes of this job do different scans: the k is 9 in process 0 and 8 in process 1; give all of them"


CASES: list[Case] = [
    refused(
        "a state that is a file",
        lambda _: (Path("f").touch(), scan(state="f")),
        InputError,
        "the state 'f' is a file; name a folder",
    ),
    refused(
        "a state of another scan",
        stated(lambda: None, k=2),
        InputError,
        "the state in 'state' belongs to another scan: its k was 9 and is now 2; name another folder, or "
        "remove this one to start over",
    ),
    refused(
        "a state with a copy",
        stated(copied),
        InputError,
        "the state in 'state' would count images twice: 'rank-0.safetensors' and 'rank-1.safetensors' both have batch "
        "0; remove the one that is a copy, or both",
    ),
    refused(
        "a state with something else in it",
        stated(lambda: Path("state/rank-zero.safetensors").touch()),
        DataError,
        "the state in 'state' holds 'rank-zero.safetensors', which was not written by a scan; remove it",
    ),
    refused(
        "a state that does not add up",
        stated(counted_wrong),
        DataError,
        "the state in 'state' is inconsistent: it covers 9 of 6 items; remove it and scan again",
    ),
    refused(
        "an atlas of another dataset",
        lambda _: atlas(IMAGES.flip(0), scan()),
        InputError,
        "in image … the scan found … for channel … of layer '…', but now it is …: the dataset or the network has "
        "changed; scan again",
    ),
    refused(
        "an atlas of more images",
        lambda _: atlas(IMAGES, scan(IMAGES[:5])),
        InputError,
        "the scan is of 5 items, and the dataset has 6; scan again",
    ),
    refused(
        "an atlas of other weights",
        lambda _: atlas(IMAGES, replace(scan(), provenance=replace(scan().provenance, fingerprint="0"))),
        InputError,
        "the scan is of a Sequential with other weights than this Sequential; scan again",
    ),
    refused(
        "an atlas of a scan that was changed",
        lambda _: atlas(IMAGES, replace(scan(), positions={})),
        InputError,
        "the scan's data for layer '0' are inconsistent: a part is missing; scan again",
    ),
    refused(
        "an atlas of no layers",
        lambda _: atlas(IMAGES, replace(scan(), values={})),
        InputError,
        "the scan has no layers; scan again",
    ),
    refused(
        "a layer whose channels grow with the image",
        lambda _: dv.scan(growing(), SIZES, layers=["relu"], batch_size=1, progress=False),
        InputError,
        "layer 'relu' has 60 channels and had 72 on earlier images; leave it out, or give images of one size",
    ),
    refused(
        "an atlas of images of two sizes",
        lambda _: atlas(SIZES, dv.scan(wide(), SIZES, batch_size=1, progress=False), wide()),
        InputError,
        "images 0 and 1 have shapes (1, 8, 8) and (1, 7, 8), but the pictures need one size; give the network a "
        "preprocess that makes them alike and scan again",
    ),
    refused(
        "a state that may not be read",
        unreadable,
        DataError,
        "the state 'state/rank-0.safetensors' cannot be read (Permission denied)",
    ),
    refused(
        "a state of another iterable",
        lambda _: (scan(iter(IMAGES[:5]), state="state"), scan(iter(IMAGES), state="state")),
        InputError,
        "the state in 'state' belongs to another scan: the iterable no longer gives the same "
        "images; name another folder, or remove this one to start over",
    ),
    refused(
        "a process of a job with another k",
        beside(lambda mine: ({**mine[0], "k": 8}, None)),
        InputError,
        f"{DIFFERENT} the same model, weights, data and options",
    ),
    refused(
        "a process of a job that cannot take part",
        beside(lambda mine: (None, "there is no folder 'nowhere' of images")),
        InputError,
        "process 1 of this job cannot take part: there is no folder 'nowhere' of images",
    ),
    refused(
        "a process of a job with a longer iterable",
        beside(lambda mine: (mine[0], 7) if isinstance(mine[1], int) else mine, data=iter(IMAGES)),
        InputError,
        "the iterables of this job give 6 items in process 0 and 7 in process 1; give all processes the same one",
    ),
    refused(
        "a process of a job that dies",
        gone,
        DataError,
        "another process of this job ended before it sent its results; restart the job (with a state, it resumes)",
    ),
    refused(
        "a number of processes that is none",
        in_environment(mining._rank, WORLD_SIZE="two"),
        InputError,
        "the environment variable WORLD_SIZE is a whole number from 0, not 'two'",
    ),
    refused(
        "processes without a place to meet",
        in_environment(mining._rank, WORLD_SIZE="2", RANK="1", MASTER_ADDR="", MASTER_PORT=""),
        InputError,
        "the environment says WORLD_SIZE=2, so this is one of several processes, but not MASTER_ADDR; start them with "
        "torchrun, or unset WORLD_SIZE",
    ),
    refused(
        "processes that do not meet",
        in_environment(alone_in_a_job, WORLD_SIZE="2", RANK="1", MASTER_ADDR="nowhere", MASTER_PORT="1"),
        InputError,
        "process 1 of this job cannot connect to the others at nowhere:1 (nobody)",
    ),
    refused(
        "a state that is damaged",
        stated(lambda: Path("state/rank-0.safetensors").write_bytes(b"junk")),
        DataError,
        "'state/rank-0.safetensors' is not a scan state (…); remove it",
    ),
]
