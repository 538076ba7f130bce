"""Uncertainty that cannot be measured."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, ModelError
from tests.helpers.invalid_inputs.case import Case, refused

IMAGES = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(3))


def judged(dataset: Any, *layers: nn.Module) -> Any:
    net = dv.DeconvNet(nn.Sequential(*layers).eval())
    return dv.experiments.uncertainty(net, dataset, samples=1, progress=False)


DROPPING = (nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3))

CASES: list[Case] = [
    refused(
        "uncertainty without dropout",
        lambda _: judged((IMAGES, torch.arange(4) % 3), nn.Flatten(), nn.Linear(16, 3)),
        ModelError,
        "Sequential has no dropout layer, so every draw would be the same",
    ),
    refused(
        "labels that are texts",
        lambda _: judged([(image, "cat") for image in IMAGES], *DROPPING),
        InputError,
        "the label of item 0 is 'cat', and labels are numbers of classes, from 0",
    ),
    refused(
        "uncertainty without labels",
        lambda _: judged(IMAGES, *DROPPING),
        InputError,
        "item 0 has no label; give (images, labels), a folder with a sub-folder for each class, or a dataset whose "
        "items are (image, label)",
    ),
    refused(
        "labels of other classes",
        lambda _: judged((IMAGES, torch.arange(4)), *DROPPING),
        InputError,
        "labels are the numbers of the network's classes, 0 to 2, not 3",
    ),
    refused(
        "uncertainty of maps",
        lambda _: judged((IMAGES, torch.arange(4)), nn.Conv2d(1, 3, 3), nn.Dropout(0.5)),
        InputError,
        "uncertainty is that of answers, so the model must return the scores of two classes or more, (N, classes), "
        "which Sequential does not",
    ),
]
