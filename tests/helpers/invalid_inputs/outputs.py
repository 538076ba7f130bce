"""Places where nothing can be written, full disks, and what was there before.

They hold for root too, whom no permission stops: a place below a file, in /proc, a device, and a limit on the size of
files, at which the kernel refuses to write as it does on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.cli.shared import write_figure
from deconvviz.demo import build_demo
from deconvviz.errors import CheckpointError, InputError, OutputError
from deconvviz.io.locks import alone
from deconvviz.models import TrainingSettings, save_weights, train
from tests.helpers.invalid_inputs.case import Case, gives, grey, refused
from tests.helpers.invalid_inputs.datasets import IMAGES, scan

LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
SETTINGS = TrainingSettings(epochs=1)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow beyond 100 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_space(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save(path: Any) -> Any:
    return scan().save(path)


def weights(path: Any) -> None:
    save_weights(nn.Linear(200, 3), path)


def figure(path: Any) -> None:
    write_figure(scan().figure(), Path(path))


def state(folder: Any) -> Any:
    return scan(state=folder)


def checkpoints(folder: Any) -> Any:
    return train(grey().model, IMAGES, LABELS, settings=SETTINGS, checkpoints=folder, progress=False)


def atlas(folder: Any) -> Any:
    return dv.build_atlas(grey(), IMAGES, scan(), out=folder, progress=False, evidence=False)


def below_a_file(write: Callable[[str], Any], name: str) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        Path("file").write_text("before")
        try:
            return write(f"file/{name}")
        finally:
            assert Path("file").read_text() == "before"

    return how


def kept(write: Callable[[str], Any], name: str, full: Callable[[], Any] = full_disk) -> Callable[[Path], Any]:
    """Write over a file on a full disk: it is as it was, and nothing else lies there."""

    def how(folder: Path) -> Any:
        Path(name).write_text("before")
        try:
            with full():
                return write(name)
        finally:
            assert Path(name).read_text() == "before"
            assert [path.name for path in folder.iterdir()] == [name]

    return how


def cut_off(folder: Path) -> Any:
    """An atlas on a disk that fills up: no page that says it is complete."""
    try:
        with mock.patch("deconvviz.atlas.layer_sheets.write_webp", no_space):
            return atlas("site")
    finally:
        assert Path("site/index.html").is_file()
        assert not [*Path("site").rglob("index.js"), *Path("site").rglob("manifest.json")]


def started_again(folder: Path) -> Any:
    """Over an atlas that was cut off, a whole one."""
    with contextlib.suppress(OSError), mock.patch("deconvviz.atlas.layer_sheets.write_webp", no_space):
        atlas("site")
    atlas("site")
    return Path("site/manifest.json").is_file(), Path("site/data/index.js").is_file()


def written(path: str) -> None:
    """Somebody's file."""
    Path(path).write_text("mine")


def while_another_writes(write: Callable[[], Any]) -> Any:
    """As a second thread, which is refused as another process would be."""
    with alone("site"), ThreadPoolExecutor() as threads:
        return threads.submit(write).result()


def over_a_device(folder: Path) -> Any:
    """The device is still one."""
    device = Path("zero")
    try:
        os.mknod(device, 0o666 | 0o020000, os.makedev(1, 5))
    except OSError:  # not root, who alone makes and could replace devices
        device = Path("/dev/zero")
    try:
        return save(device)
    finally:
        assert device.is_char_device()


def over_a_pipe(folder: Path) -> Any:
    os.mkfifo("pipe")
    try:
        return save("pipe")
    finally:
        assert Path("pipe").is_fifo()


def twice(write: Callable[[str], Any], name: str) -> Callable[[Path], Any]:
    """Writing again replaces the file, and leaves one."""

    def how(folder: Path) -> Any:
        Path(name).write_text("before")
        write(name)
        write(name)
        return [path.name for path in folder.iterdir()], Path(name).read_bytes() != b"before"

    return how


IN_THE_WAY = "'{}' cannot be written: what should be its folder is a file; nothing there was changed"
TOO_LARGE = "'{}' cannot be written: File too large…; nothing there was changed"
FULL = "'{}' cannot be written: No space left on device; nothing there was changed"
SEALED = "'{}' cannot be written: No such file or directory; nothing there was changed"
WRITERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a result": (save, "top.safetensors"),
    "weights": (weights, "w.safetensors"),
    "a figure": (figure, "a.png"),
    "a drawing": (figure, "a.svg"),
}
FOLDERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "the state of a scan": (state, "rank-0.safetensors"),
    "checkpoints": (checkpoints, "state.pt"),
    "an atlas": (atlas, "index.html"),
    "the demonstration": (build_demo, "index.html"),
}

CASES: list[Case] = [
    *(
        refused(f"{what} below a file", below_a_file(write, name), OutputError, IN_THE_WAY.format(f"file/{name}"))
        for what, (write, name) in WRITERS.items()
    ),
    *(
        refused(
            f"{what} in a folder below a file",
            below_a_file(write, "x"),
            OutputError,
            IN_THE_WAY.format(f"file/x/{name}"),
        )
        for what, (write, name) in FOLDERS.items()
    ),
    *(
        refused(
            f"{what} in /proc", lambda _, w=write, n=name: w(f"/proc/{n}"), OutputError, SEALED.format(f"/proc/{name}")
        )
        for what, (write, name) in WRITERS.items()
    ),
    *(
        refused(
            f"{what} in a folder in /proc",
            lambda _, w=write: w("/proc/x"),
            OutputError,
            SEALED.format(f"/proc/x/{name}"),
        )
        for what, (write, name) in FOLDERS.items()
    ),
    *(
        refused(f"{what} larger than files may be", kept(write, name), OutputError, TOO_LARGE.format(name))
        for what, (write, name) in WRITERS.items()
    ),
    *(
        refused(
            f"{what} on a full disk",
            kept(write, name, lambda: mock.patch("os.fsync", no_space)),
            OutputError,
            FULL.format(name),
        )
        for what, (write, name) in WRITERS.items()
    ),
    *(
        gives(f"{what} where there is one already", twice(write, name), ([name], True))
        for what, (write, name) in WRITERS.items()
    ),
    refused(
        "a result over a folder", lambda folder: save(folder), OutputError, "'…' is a folder; name a file to write"
    ),
    refused("a result over a device", over_a_device, OutputError, "'…zero' is a device or pipe; name a file to write"),
    refused("a result over a pipe", over_a_pipe, OutputError, "'pipe' is a device or pipe; name a file to write"),
    refused("a result called nothing", lambda _: save(""), OutputError, "'.' is a folder; name a file to write"),
    refused(
        "a name with a NUL", lambda _: save("a\0b"), OutputError, "'a\\x00b' contains a NUL, which file names cannot"
    ),
    refused(
        "a name of 300 characters",
        lambda _: save("x" * 300),
        OutputError,
        f"'{'x' * 300}' cannot be written: File name too long; nothing there was changed",
    ),
    refused(
        "checkpoints in a file",
        lambda _: (Path("f").touch(), checkpoints("f")),
        CheckpointError,
        "'f' is a file; checkpoints need a folder",
    ),
    refused(
        "an atlas in a file",
        lambda _: (Path("f").touch(), atlas("f")),
        InputError,
        "the atlas is written to a folder, and 'f' is a file",
    ),
    refused(
        "an atlas among other files",
        lambda _: (Image.new("L", (1, 1)).save("a.png"), atlas(".")),
        InputError,
        "'.' has other files in it; give a new folder, an empty one or an older atlas",
    ),
    refused(
        "an atlas over one that was changed",
        lambda _: (atlas("site"), written("site/data/0.js"), atlas("site")),
        OutputError,
        "'site/data/0.js' was not written by an atlas, or was changed since; move it away, or name another folder",
    ),
    refused(
        "an atlas through a link",
        lambda _: (atlas("site"), Path("site/older").symlink_to("."), atlas("site")),
        OutputError,
        "'site/older' is a link, and an atlas follows none; move it away, or name another folder",
    ),
    refused(
        "an atlas over one without a list of its files",
        lambda _: (atlas("site"), Path("site/manifest.json").unlink(), atlas("site")),
        InputError,
        "'site' holds an atlas whose list of files is missing or was changed, or an older version's; remove "
        "it, or give "
        "a new folder",
    ),
    refused(
        "an atlas among its images",
        lambda _: (
            Path("photos").mkdir(),
            Image.new("L", (8, 8)).save("photos/a.png"),
            dv.build_atlas(grey(), "photos", scan(), out="photos/at", evidence=False),
        ),
        InputError,
        "the atlas 'photos/at' and the folder of images 'photos' must not contain each other; name a "
        "folder outside the images",
    ),
    refused(
        "a training over somebody's weights",
        lambda _: (Path("runs").mkdir(), written("runs/epoch-001.safetensors"), checkpoints("runs")),
        CheckpointError,
        "'runs/epoch-001.safetensors' is not of this run, or was changed; choose another folder",
    ),
    refused(
        "the demonstration over somebody's page",
        lambda _: (Path("demo").mkdir(), written("demo/index.html"), build_demo("demo")),
        OutputError,
        "'demo/index.html' was not written by deconvviz, or was changed since; name another folder",
    ),
    refused(
        "an atlas where another job builds one",
        lambda _: while_another_writes(lambda: atlas("site")),
        OutputError,
        "another job (process …) is writing to 'site'; wait until it ends, or name another folder",
    ),
    refused(
        "a training where another job trains",
        lambda _: while_another_writes(lambda: checkpoints("site")),
        OutputError,
        "another job (process …) is writing to 'site'; wait until it ends, or name another folder",
    ),
    refused(
        "the demonstration in a file",
        lambda _: (Path("f").touch(), build_demo("f")),
        InputError,
        "'f' is a file; name a folder to write the demonstration to",
    ),
    refused("an atlas on a disk that fills up", cut_off, OSError, "[Errno 28] No space left on device"),
    gives("an atlas over one that was cut off", started_again, (True, True)),
]
