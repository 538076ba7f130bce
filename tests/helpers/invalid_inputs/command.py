"""A command that cannot be done, and what is said of several."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    arguments: str
    sentence: str
    status: int = 2

    @property
    def name(self) -> str:
        return self.arguments


FORMS = (
    "mnist, zfnet, torchvision:NAME, timm:NAME, path/to/file.py:factory, package.module:factory, or a file of "
    "TorchScript or torch.export"
)
SHOWS = "(--debug shows where)"
IN_THE_WAY = "cannot be written: what should be its folder is a file; nothing there was changed"
SEALED = "cannot be written: No such file or directory; nothing there was changed"
ENDINGS = "its ending must be one of …png…"
SEVERAL = "names one file, and several are written: give --out the name of a folder"
NO_IDX = (
    "'empty' holds no MNIST images: neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz, there or in "
    "MNIST/raw"
)
TINY = "nets.py:colours"
