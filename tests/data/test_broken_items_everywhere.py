"""Items that cannot be read are left out by every function that goes through a dataset, and all of them list these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import ImageFolder
from deconvviz.experiments import decoding
from deconvviz.images import Preprocess

QUIET: Any = {"progress": False}
BROKEN = ("00.png", "07.png", "20.png", "29.png")  # the first, the last, and two among those that are looked at
MODEL = """
import torch
from torch import nn
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).eval()
"""


def network() -> dv.DeconvNet:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).eval()
    return dv.DeconvNet(model, preprocess=Preprocess(8, mean=(0.5,), std=(0.5,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures, of which four are no pictures."""
    root = tmp_path_factory.mktemp("pictures")
    for number in range(30):
        pixels = torch.randint(256, (8, 8), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(root / f"{number:02}.png")
    for name in BROKEN:
        (root / name).write_bytes(b"no picture")
    return root


CALLS: dict[str, Callable[[dv.DeconvNet, Any], Any]] = {
    "circuit": lambda net, data: dv.circuit(net, data, "2", channel=0, images=4, **QUIET),
    "decoding": lambda net, data: decoding(net, data, seeds=1, **QUIET),
    "diff": lambda net, data: dv.diff(net, net, data, pictures=2, **QUIET),
    "mixed_channels": lambda net, data: dv.mixed_channels(net, data, "0", units=24, **QUIET),
    "reading_test": lambda net, data: dv.reading_test(net, data, "0", references=2, questions=2, **QUIET),
}


@pytest.mark.parametrize("name", CALLS)
def test_broken_items_are_left_out_and_listed(name: str, folder: Path) -> None:
    found = CALLS[name](network(), ImageFolder(folder))
    assert sorted(item.name for item in found.broken) == list(BROKEN)
    assert all(item.name == f"{item.image:02}.png" for item in found.broken)  # the number is that in the whole
    assert all(item.reason.startswith("ImageFileError: ") for item in found.broken)


def test_of_some_images_those_that_are_read_instead_are_not_listed(folder: Path) -> None:
    found = decoding(network(), ImageFolder(folder), images=10, seeds=1, **QUIET)
    assert len(found.broken) < len(BROKEN)
    assert found.fitted + 2 * (10 // 5) == 10


def test_synthetic_references_are_of_images_that_can_be_read(folder: Path) -> None:
    options: Any = {"references": 2, "questions": 2, "channel": 0, "conditions": ["synthetic"], **QUIET}
    assert dv.reading_test(network(), ImageFolder(folder), "0", **options).conditions == ("synthetic",)


COMMANDS = {
    "circuit": "--layer 2 --channel 0",
    "decode": "--seeds 1",
    "diagnose": "",
    "diff": "--other {model} --pictures 0",
    "mixed": "--layer 0 --units 24",
    "read": "--layer 0 --questions 2",
    "scan": "",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_list_them_once(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "networks.py").write_text(MODEL)
    options = COMMANDS[command].format(model="networks.py:make").split()
    given = [command, "networks.py:make", str(folder), "--size", "8", "--mean", "0.5", "--std", "0.5", *options]
    assert cli.main(given) in (None, 0)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in said if line.startswith("left out: ")] == list(BROKEN)
