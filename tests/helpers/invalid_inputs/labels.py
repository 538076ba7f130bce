"""Labels that do not fit a dataset, and embeddings that give no vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.mining.word_labels import word_labels
from tests.helpers.invalid_inputs.case import refused

IMAGES = torch.rand(6, 1, 8, 8)


def scan(labels: Any, images: Any = IMAGES) -> Any:
    net = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)))
    return dv.scan(net, images, labels=labels, progress=False)


def vectors(size: int) -> Callable[[Any], Any]:
    return lambda given: torch.ones(len(given), size)


def words(words: Any = ("a", "b"), data: Any = IMAGES, **options: Any) -> Any:
    net = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)))
    return word_labels(net, data, words, **{"images": vectors(2), "texts": vectors(2), "progress": False} | options)


CASES = [
    refused(
        "labels of another kind",
        lambda _: scan("a"),
        InputError,
        "labels is True for the labels of a dataset such as TensorDataset(images, labels), False, or a mapping from "
        "names to masks of the images, not 'a'",
    ),
    refused(
        "a mask of other images",
        lambda _: scan({"a": [True]}),
        InputError,
        "the mask of label 'a' is (1,) of torch.bool; give 6 booleans, one for each image",
    ),
    refused(
        "masks of an iterable",
        lambda _: scan({"a": [True]}, iter(IMAGES)),
        InputError,
        "masks of images label a dataset with a length and items by number, not an iterable",
    ),
    refused(
        "one word twice",
        lambda _: words(["a", "a"]),
        InputError,
        "words are at least two different ones, not ['a', 'a']",
    ),
    refused("a share of all", lambda _: words(share=1), InputError, "share is between 0 and 1, not 1"),
    refused(
        "words for an iterable",
        lambda _: words(data=iter(IMAGES)),
        InputError,
        "words label a dataset with a length and items by number, not a …",
    ),
    refused(
        "vectors of another length",
        lambda _: words(images=vectors(3)),
        InputError,
        "vectors of images have 3 numbers, and those of texts 2",
    ),
    refused(
        "a vector for all",
        lambda _: words(texts=lambda given: torch.ones(2)),
        InputError,
        "texts gives a finite vector for each, (2, d), not (2,)",
    ),
]
