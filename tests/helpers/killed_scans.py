"""Scans in processes of their own, to be killed: `python -m tests.helpers.killed_scans TASK ...`.

One parent imports what a scan imports, once, and forks each job; it runs on one thread, so a fork finds no others.
"""

from __future__ import annotations

import datetime
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.mining import labelled_maxima
from deconvviz.mining import state as scan_state
from deconvviz.mining.progress import ScanProgress
from deconvviz.mining.scan import scan
from deconvviz.models import mnist_cnn

IMAGES, BATCH = 1500, 25


class Slow(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Digits with labels that load slowly; one cannot be read."""

    def __init__(self, seconds: float) -> None:
        images, labels = mnist_test()
        self.images, self.labels, self.seconds = images[:IMAGES], labels[:IMAGES].tolist(), seconds

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        time.sleep(self.seconds)
        if index == 77:
            raise OSError("cannot be read")
        return self.images[index], self.labels[index]


def job(state: str | None, out: Path | None, seconds: float, rank: int = 0, world: int = 1, meeting: str = "") -> None:
    """One scan in this process, which never returns."""
    status = 1
    try:
        torch.set_num_threads(1)
        scan_state.SECONDS, scan_state.SHARE = 0.0, 0
        labelled_maxima.BYTES = 500_000  # fewer than all images with labels are kept
        if world > 1:
            torch.distributed.init_process_group(
                "gloo",
                init_method=f"file://{meeting}",
                rank=rank,
                world_size=world,
                timeout=datetime.timedelta(seconds=60),
            )
        top = scan(dv.DeconvNet(mnist_cnn()), Slow(seconds), batch_size=BATCH, state=state, progress=False)
        if out is not None:
            top.save(out)
        status = 0
    except Exception as error:
        print(f"rank {rank}: {type(error).__name__}: {error}"[:200], flush=True)
    finally:
        os._exit(status)


def forked(*args: Any) -> int:
    child = os.fork()
    if child == 0:
        job(*args)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(folder: Path, times: int) -> None:
    """Kill a scan at a random moment and resume it, `times` times in all; then let it finish."""
    chance = random.Random(0)
    state = str(folder / "state")
    unfinished, got = 0, set()
    for _ in range(times):
        written = Path(state) / "rank-0.safetensors"
        before = number_of(written)
        child = forked(state, None, 0.004)
        wait_for_writes(written, before, chance.randrange(3))
        time.sleep(chance.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        unfinished += ended(child) == -signal.SIGKILL
        if written.exists():
            got.add(len(ScanProgress.load(written)[0].done))
    assert ended(forked(state, folder / "resumed", 0.0)) == 0
    print(f"killed {unfinished} of {times}, after {sorted(got)} batches")


def number_of(path: Path) -> int:
    """Of the file that lies there; each write makes another."""
    return path.stat().st_ino if path.exists() else 0


def wait_for_writes(path: Path, before: int, writes: int) -> None:
    """Wait until files have been written, at most a minute."""
    for _ in range(12000):
        if writes == 0:
            return
        if (now := number_of(path)) != before:
            before, writes = now, writes - 1
        time.sleep(0.005)


def ranks(folder: Path, world: int, state: str | None = None) -> None:
    """One scan by `world` ranks; each saves what it has."""
    meeting = str(folder / f"meeting-{world}-{time.monotonic_ns()}")
    children = [forked(state, folder / f"ranks-{world}-{rank}", 0.0, rank, world, meeting) for rank in range(world)]
    assert [ended(child) for child in children] == [0] * world


def death(folder: Path) -> None:
    """Kill one of three ranks; the others must end with an error. Then resume from the state with two ranks."""
    state, meeting = str(folder / "death"), str(folder / "meeting-death")
    slow = [0.001, 0.004, 0.001]
    children = [forked(state, folder / f"dead-{rank}", slow[rank], rank, 3, meeting) for rank in range(3)]
    for _ in range(12000):  # until it has seen something, however slow the machine is; a minute at most
        if (Path(state) / "rank-1.safetensors").exists():
            break
        time.sleep(0.005)
    os.kill(children[1], signal.SIGKILL)
    started = time.monotonic()
    codes = [ended(child) for child in children]
    print(f"codes {codes} after {time.monotonic() - started:.1f} seconds")
    ranks(folder, 2, state)


if __name__ == "__main__":
    task, folder, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    scan(dv.DeconvNet(mnist_cnn()), mnist_test()[0][:2], progress=False)
    {
        "whole": lambda f: sys.exit(ended(forked(None, f / "whole", 0.0))),
        "killed": lambda f: killed(f, int(rest[0])),
        "ranks": lambda f: ranks(f, int(rest[0])),
        "death": death,
    }[task](Path(folder))
