"""Tests of reading that cannot be made, or not be shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.results import ReadingTest
from tests.helpers.invalid_inputs.case import Case, net, refused

QUICK = {"references": 1, "questions": 1, "progress": False}
IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def read(dataset: Any, **options: Any) -> ReadingTest:
    return dv.reading_test(net(), dataset, "3", **{"channel": 0, **QUICK, **options})


def with_nan(count: int) -> torch.Tensor:
    return torch.cat([IMAGES[:1], torch.full((count, 3, 8, 8), torch.nan)])


def on_signals() -> Any:
    model = dv.DeconvNet(nn.Sequential(nn.Conv1d(3, 2, 3), nn.ReLU()).eval())
    return dv.reading_test(model, torch.rand(8, 3, 9), "0", **QUICK)


def shown(folder: Path, condition: str) -> Any:
    result = dataclasses.replace(read(IMAGES), examples=())
    return result.write_page(folder / "a.html", condition=condition)


CASES: list[Case] = [
    refused(
        "no conditions",
        lambda _: read(IMAGES, conditions=[]),
        InputError,
        "there are no pictures to read; name at least one condition, or give conditions=None for all",
    ),
    refused(
        "no observers",
        lambda _: read(IMAGES, observers=[]),
        InputError,
        "there is no observer; name at least one, or give observers=None for all",
    ),
    refused(
        "an embedding of another number of images",
        lambda _: read(IMAGES, observers={"mine": lambda images: images.flatten(1)[:1]}),
        InputError,
        "observer 'mine' must return finite vectors (N, D), one per image of (N, 3, H, W), not …",
    ),
    refused(
        "held-out images that cannot be read",
        lambda _: read(IMAGES, held_out=with_nan(9), questions=2),
        InputError,
        "1 held-out images can be read, too few for 2 questions",
    ),
    refused(
        "a stream of which channels may be mixed",
        lambda _: dv.mixed_channels(net(), iter(IMAGES), "0", progress=False),
        InputError,
        "mixed channels need a dataset with a length and items by number, not a …",
    ),
    refused(
        "a network of two inputs, of which channels may be mixed",
        lambda _: dv.mixed_channels(dv.DeconvNet(torch.nn.Bilinear(2, 2, 1)), torch.rand(9, 2), "", progress=False),
        InputError,
        "this is for networks of one input, and Bilinear takes input1, input2",
    ),
    refused(
        "a stream to read from",
        lambda _: read(iter(IMAGES)),
        InputError,
        "reading needs a dataset with a length and items by number, not a …",
    ),
    refused(
        "a stream to follow a circuit in",
        lambda _: dv.circuit(net(), iter(IMAGES), "3", channel=0, progress=False),
        InputError,
        "a circuit needs a dataset with a length and items by number, not a …",
    ),
    refused(
        "a stream to decode",
        lambda _: dv.experiments.decoding(net(), iter(IMAGES), progress=False),
        InputError,
        "decoding needs a dataset with a length and items by number, not a …",
    ),
    refused(
        "a channel that is not in a circuit",
        lambda _: dv.circuit(net(), IMAGES, "3", channel=0, progress=False).figure(layer="3", channel=99),
        InputError,
        "the circuit has no channel … of '…'; it has …",
    ),
    refused(
        "a stream held out",
        lambda _: read(IMAGES, held_out=iter(IMAGES)),
        InputError,
        "held_out needs a length and items by number, and is a …",
    ),
    refused(
        "the same images held out",
        lambda _: read(IMAGES, held_out=IMAGES),
        InputError,
        "held_out is the dataset itself; give other images, or held_out=None to split the dataset",
    ),
    refused(
        "signals to read",
        lambda _: on_signals(),
        InputError,
        "pictures are read on images (C, H, W), and this network takes (3, 9)",
    ),
    refused(
        "pictures that were not tested",
        lambda folder: shown(folder, "patch"),
        InputError,
        "the test has no pictures 'patch'; it has …; did you mean 'patches'?",
    ),
    refused(
        "a page without questions",
        lambda folder: shown(folder, "patches"),
        InputError,
        "the test has no question to show with 'patches'; test more channels or images",
    ),
]
