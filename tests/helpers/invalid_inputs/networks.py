"""Networks that cannot be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import DependencyError, InputError, OutputError, UnknownLayerError
from deconvviz.results import NetworkDiff
from tests.helpers.invalid_inputs.case import Case, net, refused

IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))


class Named(nn.Module):
    """A network whose layers have names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.first(x)


def compared(**options: Any) -> NetworkDiff:
    return dv.diff(net(), dv.DeconvNet(Named().eval()), IMAGES, pictures=0, progress=False, **options)


def without_pandas() -> Any:
    with mock.patch.dict("sys.modules", {"pandas": None}):
        return compared(layers={"0": "first"}).to_pandas()


def pages_in_a_file(folder: Path) -> Any:
    (folder / "taken").write_text("a file")
    return compared(layers={"0": "first"}).write_pages(folder / "taken")


CASES: list[Case] = [
    refused(
        "a DataFrame without pandas",
        lambda _: without_pandas(),
        DependencyError,
        "pandas is needed for a DataFrame; pip install pandas",
    ),
    refused(
        "networks without a layer of one name",
        lambda _: compared(),
        InputError,
        "the networks have no layer of the same name: one has …, the other first; give layers as a mapping from …",
    ),
    refused(
        "a layer that the second network lacks",
        lambda _: compared(layers="0"),
        UnknownLayerError,
        "the second network: there is no layer '0' in Named; the layers are …",
    ),
    refused(
        "a layer that was not compared",
        lambda _: compared(layers={"0": "first"})["nope"],
        InputError,
        "there is no layer 'nope' in the comparison",
    ),
    refused(
        "pages in the place of a file", pages_in_a_file, OutputError, "… cannot be a folder for pages: File exists"
    ),
]
