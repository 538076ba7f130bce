"""Networks of third-party packages: small configurations with random weights, and the shape of their input.

There is one file per package. A package is imported only when one of its networks is built.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.zoo import (
    braindecode,
    diffusers,
    kornia,
    monai,
    nnunet,
    smp,
    snntorch,
    torchaudio,
    ultralytics,
    vit_pytorch,
)
from benchmarks.zoo.parts import Entry

ZOO = {
    "smp": ("segmentation-models-pytorch", "segmentation-models-pytorch"),
    "monai": ("MONAI", "monai"),
    "nnunet": ("nnU-Net's networks", "dynamic-network-architectures"),
    "ultralytics": ("ultralytics", "ultralytics"),
    "braindecode": ("braindecode", "braindecode"),
    "kornia": ("kornia", "kornia"),
    "torchaudio": ("torchaudio", "torchaudio"),
    "diffusers": ("diffusers", "diffusers"),
    "snntorch": ("snntorch", "snntorch"),
    "vit-pytorch": ("vit-pytorch", "vit-pytorch"),
}

LEFT_OUT = (
    "MONAI's HoVerNet (it takes images of 256 x 256 or more; one pass takes minutes) and AHNet (memory)",
    "MONAI's VarAutoEncoder, which writes over what autograd needs to go back, so that there is nothing to compare with",
    "kornia's XFeatModel, which cuts its input off by `no_grad`, so that autograd gives nothing to compare with",
    "networks that need weights, an index or a text encoder from elsewhere, or that take lists of images "
    "(detectors of kornia, NaViT)",
    "networks that run only on a GPU, and diffusers' transformers of video and of text, which have no image of a "
    "few pixels to be given",
)


def zoo() -> Iterator[Entry]:
    """All networks, package by package."""
    for package in (smp, monai, nnunet, ultralytics, braindecode, kornia, torchaudio, diffusers, snntorch, vit_pytorch):
        yield from package.entries()
