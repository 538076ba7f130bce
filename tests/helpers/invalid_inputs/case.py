"""The type of a case of bad or odd input, and networks and files for the tables of cases.

A table has rows (name, how, error, expected). `how` is called in an empty folder and must raise the error with the
expected sentence, in which "…" matches any text, or return the expected value if the error is None.
"""

from __future__ import annotations

import functools
import re
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.images import Preprocess


class Case(NamedTuple):
    """Something that a user may do, in the folder that `how` is called with, and its expected outcome."""

    name: str
    how: Callable[[Path], Any]
    error: type[BaseException] | None
    expected: Any


def refused(name: str, how: Callable[[Path], Any], error: type[BaseException], sentence: str) -> Case:
    return Case(name, how, error, sentence)


def gives(name: str, how: Callable[[Path], Any], value: Any) -> Case:
    return Case(name, how, None, value)


def pattern(sentence: str) -> re.Pattern[str]:
    """A regular expression for a whole sentence, in which "…" matches any text."""
    return re.compile(".*".join(map(re.escape, sentence.split("…"))), re.DOTALL)


# Networks, small and odd


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, padding=1), nn.Flatten()
    )


def net(**options: Any) -> dv.DeconvNet:
    return dv.DeconvNet(plain(), **{"preprocess": Preprocess(8), **options})


def grey() -> dv.DeconvNet:
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)))


def x(*shape: int) -> torch.Tensor:
    return torch.randn(*(shape or (2, 3, 8, 8)), generator=torch.Generator().manual_seed(1))


class Raises(nn.Module):
    """Raises the given error after its convolution."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 4, 3), error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.conv(x)
        raise self.error


class Returns(nn.Module):
    """Returns the given value for every input."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.conv, self.spare, self.value = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), value

    def forward(self, x: torch.Tensor) -> Any:
        self.conv(x)
        return self.value


# Files

FACTORIES = """
    import sys
    import torch
    from torch import nn

    def colours():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))

    def two():
        return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)

        def forward(self, left, right):
            return self.conv(left) + self.conv(right)

    def nothing():
        return None

    def leaves():
        sys.exit(0)

    def lines():
        raise RuntimeError("one\\ntwo\\nthree")

    def wordless():
        raise AssertionError

    class Raises(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            raise ValueError("my own\\nfault")

    class Stops(Raises):
        def forward(self, x):
            raise KeyboardInterrupt

    class Quits(Raises):
        def forward(self, x):
            sys.exit(3)

    class Fills(Raises):
        def forward(self, x):
            raise MemoryError

    class Silent(Raises):
        def forward(self, x):
            return None

    def signals():
        return nn.Conv1d(1, 2, 3)

    def odd_names():
        torch.manual_seed(0)
        model = nn.Sequential()
        for name in ("a/b", "../up", "x" * 300, "con", "$\\\\frac{", "<script>"):
            model._modules[name] = nn.Conv2d(1 if not len(model) else 3, 3, 3)
        return model
"""


def picture(size: tuple[int, int] = (9, 7)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@functools.cache
def _scanned() -> bytes:
    """The file of a scan with k = 2."""
    top = dv.scan(dv.DeconvNet(nn.Conv2d(1, 1, 1)), torch.rand(3, 1, 2, 2), layers="output", k=2, progress=False)
    with tempfile.TemporaryDirectory() as there:
        return top.save(Path(there) / "top.safetensors").read_bytes()


def workshop(folder: Path) -> None:
    """Write the files for the cases of the command line."""
    (folder / "nets.py").write_text(textwrap.dedent(FACTORIES))
    (folder / "typo.py").write_text("def f(:\n")
    (folder / "needs.py").write_text("import no_such_thing\n")
    (folder / "quits.py").write_text("import sys\nsys.exit(0)\n")
    (folder / "images" / "cats").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "hidden").mkdir()
    (folder / "hidden" / ".epoch-1.pt").touch()
    (folder / "photo-conv2.png").write_text("mine")
    picture().save(folder / "images" / "cats" / "good.png")
    (folder / "images" / "cats" / "bad.png").write_text("no image")
    picture().save(folder / "photo.png")
    (folder / "text.txt").write_text("some text")
    np.save(folder / "whole.npy", np.arange(20, dtype=np.int16))
    np.save(folder / "words.npy", np.array(["a"]))
    (folder / "zero.safetensors").touch()
    (folder / "found.safetensors").write_bytes(_scanned())
