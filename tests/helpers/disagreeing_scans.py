"""Scans in two or three processes with different arguments, or with a common folder:
`python -m tests.helpers.disagreeing_scans FOLDER`.

Prints the outcome of each process of each job as JSON: an error message, or the images found. A parent process imports
everything once and forks the others.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

import deconvviz as dv

IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()


class Shifted(nn.Module):
    """Adds a buffer that is not in the state dict."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift: torch.Tensor
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.shift


class Called(nn.Module):
    """Calls a function that is no submodule."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def net(seed: int = 0, activation: Any = nn.ReLU, shift: float = 0.0, stride: int = 1) -> dv.DeconvNet:
    torch.manual_seed(seed)
    layers = (nn.Conv2d(1, 3, 3, stride=stride), activation(), Shifted(shift), nn.Conv2d(3, 2, 3))
    return dv.DeconvNet(nn.Sequential(*layers))


def scan(given: Any = None, data: Any = IMAGES, **options: Any) -> Any:
    return dv.scan(given or net(), data, **{"k": 3, "batch_size": 4, "progress": False} | options)


def slow(data: torch.Tensor) -> Any:
    """An iterable that takes a while."""
    for image in data:
        time.sleep(0.02)
        yield image


def process(rank: int, world: int, name: str, work: Callable[[int], Any]) -> None:
    """One process of a job, which never returns."""
    status, found = 1, cast(Any, "")
    try:
        torch.set_num_threads(1)
        if world > 1:
            torch.distributed.init_process_group(
                "gloo",
                init_method=f"file://{FOLDER / name}.meeting",
                rank=rank,
                world_size=world,
                timeout=datetime.timedelta(seconds=60),
            )
        top = work(rank)
        found = {layer: images.tolist() for layer, images in top.images.items()} | {"count": top.count}
        status = 0
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    finally:
        (FOLDER / f"{name}.{rank}").write_text(json.dumps(found))
        if world > 1 and status == 0:
            torch.distributed.destroy_process_group()
        os._exit(status)


def started(name: str, work: Callable[[int], Any], world: int = 2) -> Callable[[], list[Any]]:
    children = []
    for rank in range(world):
        children.append(os.fork())
        if children[-1] == 0:
            process(rank, world, name, work)

    def ended() -> list[Any]:
        for child in children:
            os.waitpid(child, 0)
        return [json.loads((FOLDER / f"{name}.{rank}").read_text()) for rank in range(world)]

    return ended


def by_rank(*works: Callable[[], Any]) -> Callable[[int], Any]:
    return lambda rank: works[rank]()


STATE = FOLDER / "state"
PAIRS = {
    "weights": by_rank(scan, lambda: scan(net(seed=1))),
    "activation": by_rank(scan, lambda: scan(net(activation=nn.Tanh))),
    "function": by_rank(
        lambda: scan(net(activation=partial(Called, torch.relu))),
        lambda: scan(net(activation=partial(Called, torch.tanh))),
    ),
    "stride": by_rank(scan, lambda: scan(net(stride=2))),
    "buffer": by_rank(scan, lambda: scan(net(shift=0.25))),
    "k": by_rank(scan, lambda: scan(k=4)),
    "batch_size": by_rank(scan, lambda: scan(batch_size=5)),
    "layers": by_rank(scan, lambda: scan(layers=["0"])),
    "order of layers": by_rank(lambda: scan(layers=["0", "3"]), lambda: scan(layers=["3", "0"])),
    "length": by_rank(scan, lambda: scan(data=IMAGES[:39])),
    "order of items": by_rank(lambda: scan(data=list(IMAGES)), lambda: scan(data=list(IMAGES.flip(0)))),
    "shards": by_rank(lambda: scan(data=iter(IMAGES[:20])), lambda: scan(data=iter(IMAGES[20:]))),
    "ends of iterables": by_rank(lambda: scan(data=iter(IMAGES)), lambda: scan(data=iter(IMAGES[:30]))),
    "a state": by_rank(lambda: scan(state=FOLDER / "one"), scan),
    "a layer that is not there": by_rank(scan, lambda: scan(layers=["nope"])),
    "the same iterable": by_rank(lambda: scan(data=iter(IMAGES)), lambda: scan(data=iter(IMAGES))),
    "two": lambda rank: scan(state=STATE),
}


def main() -> None:
    scan(data=IMAGES[:2])
    found = {"alone": started("alone", lambda rank: scan(), 1)()}
    for name, work in PAIRS.items():
        found[name] = started(name, work)()
    found["three go on"] = started("three", lambda rank: scan(state=STATE), 3)()
    # A second job starts while the first one runs.
    first = started("first", lambda rank: scan(data=slow(IMAGES), state=FOLDER / "shared"))
    while not (FOLDER / "shared" / "rank-0.safetensors").exists():
        time.sleep(0.01)
    found["second"] = started("second", lambda rank: scan(data=slow(IMAGES), state=FOLDER / "shared"), 3)()
    found["first"] = first()
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    from deconvviz.mining import state

    state.SECONDS, state.SHARE = 0.0, 0
    main()
