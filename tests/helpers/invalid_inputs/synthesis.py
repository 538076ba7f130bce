"""Synthetic pictures that cannot be made."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import InputError, UnsupportedOperation
from tests.helpers.invalid_inputs.case import Case, net, refused


class WithoutGradients(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def standardised(image: Any) -> Tensor:
    x = torch.from_numpy(np.array(image.convert("L"), dtype=np.float32))[None, :8, :8]
    return (x - x.mean()) / (x.std() + 1)


def grey(factor: float = 1.0) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU()).eval()
    model[0].weight.data.mul_(factor)
    return model


def scanned(model: nn.Module) -> Any:
    return dv.scan(dv.DeconvNet(model), torch.rand(4, 1, 8, 8), layers="0", k=1, progress=False)


def made(model: nn.Module | None = None, layer: str = "0", preprocess: Any = None, **options: Any) -> Any:
    network = dv.DeconvNet(model or grey(), preprocess=preprocess)
    return dv.synthesize(network, layer, **{"steps": 1, "progress": False, **options})


CASES: list[Case] = [
    refused(
        "no size of a synthetic picture",
        lambda _: made(),
        InputError,
        "without a preprocess nothing tells the size of a picture; give size, or as examples a batch of images such as "
        "the network takes",
    ),
    refused(
        "a synthetic volume",
        lambda _: made(size=(8, 8, 8)),
        InputError,
        "size is a whole number from 1 to 16,384, or height and width, not (8, 8, 8)",
    ),
    refused(
        "half a pixel",
        lambda _: made(size=2.5),
        InputError,
        "size is a whole number from 1 to 16,384, or height and width, not 2.5",
    ),
    refused(
        "a synthetic picture smaller than a filter",
        lambda _: made(size=2),
        InputError,
        "the model does not take an input of shape (1, 1, 2, 2): …",
    ),
    refused(
        "a position outside of the synthetic map",
        lambda _: made(size=8, position=(9, 9)),
        InputError,
        "layer '0' has 1 samples, 3 channels of size (6, 6); there is no unit (sample, channel, position) = …",
    ),
    refused(
        "a synthetic picture of the maximum",
        lambda _: made(size=8, position="max"),
        InputError,
        'position is "all", "middle" or an index such as (3, 4), not \'max\'',
    ),
    refused(
        "a scan of other weights beside synthetic pictures",
        lambda _: made(size=8, top=scanned(grey(2.0))),
        InputError,
        "the scan is of a Sequential with other weights than this Sequential; scan again",
    ),
    refused(
        "a scan of another layer beside synthetic pictures",
        lambda _: made(size=8, layer="1", top=scanned(grey())),
        InputError,
        "the scan has no layer '1'; scan it, or give no top",
    ),
    refused(
        "synthetic signals",
        lambda _: made(nn.Sequential(nn.Conv1d(1, 2, 3)), size=8),
        InputError,
        "synthesize is for networks that take one batch of images (N, C, H, W)",
    ),
    refused(
        "synthetic volumes",
        lambda _: made(nn.Sequential(nn.Conv3d(1, 2, 3)), examples=torch.rand(1, 1, 8, 8, 8)),
        InputError,
        "synthesize is for networks that take one batch of images (N, C, H, W)",
    ),
    refused(
        "synthetic pictures for vectors",
        lambda _: made(nn.Sequential(nn.Linear(8, 2)), size=8),
        InputError,
        "the network has no convolution that tells the channels of a picture; give as examples a batch of images such "
        "as the network takes",
    ),
    refused(
        "a preprocess that standardises each image",
        lambda _: made(preprocess=standardised),
        InputError,
        "the preprocess does not calculate each channel by itself, so nothing tells between which numbers a picture "
        "lies; give as examples a batch of images such as the network takes",
    ),
    refused(
        "blank examples",
        lambda _: made(examples=torch.ones(2, 1, 8, 8)),
        InputError,
        "the examples have a channel of one number alone, so nothing tells between which numbers a picture lies; give "
        "other examples",
    ),
    refused(
        "examples of another number of channels",
        lambda _: dv.synthesize(net(), "0", examples=torch.rand(2, 1, 8, 8), progress=False),
        InputError,
        "the input has shape (1, 1, 8, 8); the first convolution, '0', takes (N, 3, H, W)",
    ),
    refused(
        "a model without gradients",
        lambda _: made(WithoutGradients().eval(), "conv", size=8),
        UnsupportedOperation,
        "no gradient of layer 'conv' reaches the input, so no picture can be made; the model detaches it, or computes "
        "without gradients",
    ),
    refused(
        "synthetic pictures that overflow",
        lambda _: made(grey(1e6).half(), size=8),
        InputError,
        "the activations of layer '0' or their gradients are not finite, so no picture can be made; give the model in "
        "a wider type, such as model.float() makes",
    ),
]
