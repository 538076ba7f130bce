"""Datasets that are missing, empty, damaged or of something else, and scans of them that cannot be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.cli import mining
from deconvviz.data import ImageFolder
from deconvviz.errors import DataError, InputError, MissingFileError, UnknownLayerError
from deconvviz.mining.progress import ScanProgress
from deconvviz.mining.ranks import Ranks
from deconvviz.results import TopActivations
from tests.helpers.invalid_inputs.case import Case, gives, grey, refused

IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(3))
NAN = float("nan")


class Listed:
    """A dataset of what it is given; errors are raised."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.items[index], BaseException):
            raise self.items[index]
        return self.items[index]


class Dying(Listed):
    """A dataset that ends the process that loads an item of it."""

    def __getitem__(self, index: int) -> Any:
        if torch.utils.data.get_worker_info():
            os._exit(3)
        return super().__getitem__(index)


class Endless(Listed):
    """A dataset that cannot say how long it is."""

    def __len__(self) -> int:
        raise NotImplementedError("who knows")


def failing() -> Iterator[torch.Tensor]:
    """An iterable that raises behind its second image."""
    yield from IMAGES[:2]
    raise OSError("bad")


def scan(data: Any = IMAGES, **options: Any) -> TopActivations:
    return dv.scan(grey(), data, progress=False, **options)


SIZES = [IMAGES[0], IMAGES[1, :, :7], IMAGES[2]]


def wide() -> dv.DeconvNet:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)  # so that every image fires
    return dv.DeconvNet(model)


def atlas(data: Any, top: TopActivations, given: dv.DeconvNet | None = None) -> str:
    return dv.build_atlas(given or grey(), data, top, out="out", progress=False, evidence=False)


def scanned(data: Any, **options: Any) -> Callable[[Path], Any]:
    """How many images were read, and what is said of the others."""

    def how(_: Path) -> Any:
        top = scan(data, **options)
        return top.count, [(one.image, one.reason) for one in top.broken]

    return how


def stated(change: Callable[[], Any], **options: Any) -> Callable[[Path], Any]:
    """A scan whose state is changed before it goes on."""

    def how(_: Path) -> Any:
        scan(state="state")
        change()
        return scan(**{"state": "state", **options})

    return how


def copied() -> None:
    shutil.copy("state/rank-0.safetensors", "state/rank-1.safetensors")


def beside(other: Callable[[Any], Any], **options: Any) -> Callable[[Path], Any]:
    """A scan beside another process of the job, which has what `other` makes of what this one has."""

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
    """Changes how many images a state says it has."""
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
NO_NUMBER = "{} must be a whole number of at least {}, not {!r}"
ALIKE = (
    "which cannot form one batch; give the network a preprocess that makes them alike, such as "
    "deconvviz.images.Preprocess(size=224), or batch_size=1"
)
NONE_READ = "it holds values that are NaN or infinite"


def unlisted(_: Path) -> Any:
    """A folder that may not be listed, as root, who may do all."""
    Path("photos/cats").mkdir(parents=True)
    with mock.patch("os.scandir", side_effect=PermissionError(13, "Permission denied")):
        return ImageFolder("photos")


CASES: list[Case] = [
    refused(
        "a folder of images without permission",
        unlisted,
        DataError,
        "the folder 'photos', which belongs to a folder of images, cannot be listed: Permission denied; "
        "make it readable, "
        "or move it away",
    ),
    *(
        refused(
            f"a dataset that is {type(data).__name__}",
            lambda _, d=data: scan(d),
            InputError,
            f"a dataset is a folder, a tensor, a torch dataset or an iterable, not {type(data).__name__}",
        )
        for data in (None, 3, object())
    ),
    *(
        refused(
            f"an empty dataset, {type(data).__name__}", lambda _, d=data: scan(d), DataError, "the dataset is empty"
        )
        for data in ([], IMAGES[:0])
    ),
    refused("an empty generator", lambda _: scan(i for i in ()), DataError, "the dataset is empty"),
    refused(
        "a dataset of one number",
        lambda _: scan(torch.tensor(1.0)),
        InputError,
        "a dataset of one number has no images; give a tensor (N, C, H, W)",
    ),
    refused(
        "a folder that is not there",
        lambda _: scan("nowhere"),
        MissingFileError,
        "there is no folder 'nowhere' of images",
    ),
    refused(
        "a folder of a very long name",
        lambda _: ImageFolder("x" * 5000),
        MissingFileError,
        f"there is no folder '{'x' * 5000}' of images",
    ),
    refused(
        "a folder that is a file",
        lambda _: (Path("f").touch(), ImageFolder("f")),
        MissingFileError,
        "there is no folder 'f' of images",
    ),
    refused(
        "a folder without images", lambda folder: ImageFolder(folder), DataError, "the folder '…' holds no image files"
    ),
    refused(
        "numbers in place of images",
        lambda _: scan([1, 2]),
        InputError,
        "the dataset gives a int, and the network has no preprocess to convert it to a tensor",
    ),
    refused(
        "PIL images without preprocess",
        lambda _: scan([Image.new("L", (8, 8))]),
        InputError,
        "the dataset gives a Image, and the network has no preprocess to convert it to a tensor",
    ),
    refused(
        "images of bytes",
        lambda _: scan((IMAGES * 255).to(torch.uint8)),
        InputError,
        "an image must come as a floating-point tensor (C, H, W), not torch.uint8",
    ),
    refused(
        "a mapping without an image",
        lambda _: scan([{"foo": 1}]),
        InputError,
        "an item has the entries ['foo']; the image must be one of ('image', 'images', 'pixel_values', "
        "'img', 'x', 'input')",
    ),
    refused(
        "images of two sizes",
        lambda _: scan(Listed(IMAGES[0], IMAGES[0, :, :7])),
        InputError,
        f"images 0 and 1 have shapes (1, 8, 8) and (1, 7, 8), {ALIKE}",
    ),
    refused(
        "images of two types",
        lambda _: scan(Listed(IMAGES[0], IMAGES[1].half())),
        InputError,
        "images 0 and 1 are torch.float32 on cpu and torch.float16 on cpu, which cannot form one batch; make them "
        "alike",
    ),
    refused(
        "an image without numbers",
        lambda _: scan([IMAGES[0].to("meta")]),
        InputError,
        "an image must come as a floating-point tensor (C, H, W), not a tensor without numbers, on the device meta",
    ),
    refused(
        "a dataset without a length",
        lambda _: scan(Endless()),
        InputError,
        "the dataset Endless does not say how long it is: NotImplementedError: who knows",
    ),
    refused(
        "an iterable that fails",
        lambda _: scan(failing()),
        DataError,
        "the dataset cannot be read behind its first 2 items: OSError: bad",
    ),
    refused(
        "images with other channels",
        lambda _: scan(torch.zeros(2, 2, 8, 8)),
        InputError,
        "the input has shape (2, 2, 8, 8); the first convolution, '0', takes (N, 1, H, W)",
    ),
    refused(
        "images that are too small",
        lambda _: scan(IMAGES[..., :2, :2]),
        InputError,
        "the model does not take an input of shape (2, 1, 2, 2): …",
    ),
    refused(
        "images of float64",
        lambda _: scan(IMAGES.double()),
        InputError,
        "the input is torch.float64 and the model torch.float32; convert one of them",
    ),
    refused(
        "no item that can be read",
        lambda _: scan(Listed(*[OSError("bad\nluck")] * 4)),
        DataError,
        "none of the 4 items could be read: 0: OSError: bad; 1: OSError: bad; 2: OSError: bad",
    ),
    refused(
        "nothing but NaN",
        lambda _: scan(IMAGES * NAN),
        DataError,
        f"none of the 6 items could be read: 0: {NONE_READ}; 1: {NONE_READ}; 2: {NONE_READ}",
    ),
    refused(
        "an item that cannot be read, under strict",
        lambda _: scan(Listed(IMAGES[0], OSError("bad")), on_error="raise"),
        DataError,
        "item 1 cannot be read: OSError: bad",
    ),
    refused(
        "a process that dies while it loads images",
        lambda _: scan(Dying(*IMAGES), workers=2),
        DataError,
        "one of the 2 processes that load images ended with exit status 3; use fewer, or none to see the error",
    ),
    refused("Ctrl-C while an item is read", lambda _: scan(Listed(KeyboardInterrupt())), KeyboardInterrupt, ""),
    gives(
        "an item that cannot be read",
        scanned(Listed(IMAGES[0], OSError("bad\nluck"), IMAGES[1])),
        (2, [(1, "OSError: bad")]),
    ),
    gives("an item of NaN", scanned(Listed(IMAGES[0], IMAGES[0] * NAN)), (1, [(1, NONE_READ)])),
    gives("one image", scanned(IMAGES[:1]), (1, [])),
    gives("a generator", scanned(image for image in IMAGES), (6, [])),
    gives("constant images", scanned(torch.zeros(3, 1, 8, 8)), (3, [])),
    gives("more wanted than there are images", lambda _: int((scan(k=100).images["0"] >= 0).sum()), 18),
    *(
        refused(
            f"{name} of {number!r}",
            lambda _, name=name, number=number: scan(**{name: number}),
            InputError,
            NO_NUMBER.format(name, least, number),
        )
        for name, least in (("k", 1), ("batch_size", 1), ("per_image", 1), ("workers", 0))
        for number in (least - 1, 1.5, "3", None)
    ),
    refused(
        "no layers",
        lambda _: scan(layers=[]),
        InputError,
        "there is no layer to look at; name at least one, or give layers=None for the default ones",
    ),
    refused(
        "a layer to scan that is not there",
        lambda _: scan(layers="nope"),
        UnknownLayerError,
        "there is no layer 'nope' in Sequential; the layers are '0'…",
    ),
    refused(
        "a layer to scan that is a number",
        lambda _: scan(layers=3),
        InputError,
        "a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, not as 3",
    ),
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
        "an atlas of images of two sizes",
        lambda _: atlas(SIZES, dv.scan(wide(), SIZES, batch_size=1, progress=False), wide()),
        InputError,
        "images 0 and 1 have shapes (1, 8, 8) and (1, 7, 8), and an atlas shows images of one size; give the network a "
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
