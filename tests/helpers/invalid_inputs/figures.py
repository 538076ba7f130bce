"""Figures that cannot be drawn."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import deconvviz as dv
from deconvviz import figures
from deconvviz.errors import InputError
from tests.helpers.invalid_inputs.case import Case, net, refused, x


def of_pictures() -> Any:
    return net().project(x(), "3", channel=0)


def of_signals() -> Any:
    return dv.DeconvNet(nn.Conv1d(1, 2, 3)).project(torch.rand(1, 1, 20), "output", channel=0)


CASES: list[Case] = [
    refused(
        "a figure without units",
        lambda _: of_pictures()[:0].figure(),
        InputError,
        "the projection has no units to show",
    ),
    refused(
        "a figure in what are no axes",
        lambda _: of_pictures().figure(axes=3),
        InputError,
        "axes is an Axes of matplotlib or None, not 3",
    ),
    refused(
        "tiles of signals",
        lambda _: figures.projection_image(of_signals()),
        InputError,
        "signals are drawn as lines, not as tiles; use projection_grid",
    ),
    refused(
        "a rate of pictures",
        lambda _: of_pictures().figure(rate=100),
        InputError,
        "a rate is for signals, and no input is one; leave it out",
    ),
    refused(
        "a rate of nothing per second",
        lambda _: of_signals().figure(rate=0),
        InputError,
        "the rate is a number of samples per second above 0, not 0",
    ),
    refused(
        "an opacity above 1", lambda _: of_pictures().overlay(1.5), InputError, "alpha is a number from 0 to 1, not 1.5"
    ),
    refused(
        "a smoothing below 0",
        lambda _: of_pictures().heatmap(sigma=-1),
        InputError,
        "sigma is a number of pixels from 0 to 10,000, not -1",
    ),
    refused(
        "an input with its channels last",
        lambda _: net().project(x().movedim(1, -1), "3", channel=0),
        InputError,
        "the input has shape (2, 8, 8, 3); the first convolution, '0', takes (N, 3, H, W); its channels seem to be "
        "last, so give x.movedim(-1, 1), or end the preprocess with .movedim(-1, 0)",
    ),
]
