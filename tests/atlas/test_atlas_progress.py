"""What `deconvviz atlas` says while it builds, and building a part of an atlas."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.atlas import estimate as estimates
from deconvviz.atlas import progress as said
from deconvviz.atlas.inventory import Inventory
from deconvviz.errors import InputError
from tests.helpers.synthetic_atlas import read_script

UNIT = "s|min|h"


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    np.save(tmp_path / "digits.npy", dv.data.mnist_test()[0][:12].numpy())
    monkeypatch.chdir(tmp_path)
    return "atlas mnist digits.npy --k 2 --no-evidence"


def index(folder: str = "atlas") -> dict[str, object]:
    found: dict[str, object] = read_script(Path(folder, "data/index.js"))
    return found


def shown(folder: str, layer: int, block: int = 0) -> list[bool]:
    """Which channels of a block have pictures."""
    return [bool(channel["units"]) for channel in read_script(Path(folder, f"data/{layer}-{block}.js"))]


def test_lines_of_progress_when_standard_error_is_no_terminal(
    digits: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "FEWEST_UNITS", 1)
    assert cli.main([*digits.split(), "--layers", "conv1", "conv2", "--limit", "3"]) == 0
    first, *layers = capsys.readouterr().err.splitlines()
    pattern = (
        rf"2 layers, 6 channels with pictures: about \d+ ({UNIT}).* and \d+(\.\d)? (kB|MB), measured on some units"
    )
    assert re.fullmatch(pattern, first)
    assert re.fullmatch(r"conv1 \(1 of 2\): 6 of 12 units, \d+ s, about \d+ s left", layers[0])
    assert re.fullmatch(r"conv2 \(2 of 2\): 12 of 12 units, \d+ s", layers[1])
    assert len(layers) == 2


def test_a_bar_on_a_terminal_and_no_lines(
    digits: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert cli.main([*digits.split(), "--layers", "conv1", "--limit", "3"]) == 0
    err = capsys.readouterr().err
    assert "6/6" in err
    assert "of 1)" not in err


def test_a_build_that_goes_on_says_what_is_kept(
    digits: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, asked = Inventory.write, [*digits.split(), "--layers", "conv1", "conv2", "--limit", "3"]

    def until(inventory: Inventory, name: str, content: bytes) -> None:
        if name == "sheets/1-0.webp":
            raise KeyboardInterrupt
        write(inventory, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Inventory, "write", until)
        assert cli.main(asked) != 0
    capsys.readouterr()
    assert cli.main(asked) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "kept from an earlier build: 1 of 2 layers"
    assert lines[1].startswith("conv2 (2 of 2): 12 of 12 units")


def test_some_channels_a_limit_and_a_title(digits: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*digits.split(), "--layers", "conv1", "--channel", "5", "2", "--title", "Two <channels>"]) == 0
    assert index()["title"] == "Two <channels>"
    assert [number for number, there in enumerate(shown("atlas", 0)) if there] == [2, 5]
    assert cli.main([*digits.split(), "--layers", "conv1", "conv2", "--limit", "2", "--out", "few"]) == 0
    assert [sum(shown("few", number)) for number in (0, 1)] == [2, 2]
    capsys.readouterr()
    refused = {
        "--channel 99": "'conv1' has channels 0 to 23, not 99",
        "--limit 0": "limit must be a whole number of at least 1, not 0",
    }
    for words, sentence in refused.items():
        assert cli.main([*digits.split(), "--layers", "conv1", "--out", "new", *words.split()]) == 2
        assert sentence in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        cli.main([*digits.split(), "--limit", "1", "--channel", "1"])
    assert ended.value.code == 2


def test_a_limit_counts_channels_that_fire_and_leaves_named_layers_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3))
    model[0].bias.data[:] = torch.tensor([-100.0, 1, -100.0, 1])
    net, data = dv.DeconvNet(model), torch.rand(5, 3, 12, 12)
    top = dv.scan(net, data, k=1, progress=False)
    options = {"progress": False, "evidence": False, "out": tmp_path / "at"}
    dv.build_atlas(net, data, top, limit=1, channel={"2": range(3)}, **options)
    assert shown(str(tmp_path / "at"), 0) == [False, True, False, False]
    assert sum(shown(str(tmp_path / "at"), 1)) > 1
    with pytest.raises(InputError, match="limit must be a whole number of at least 1"):
        dv.build_atlas(net, data, top, limit=1.5, **options)


def test_the_size_is_foretold_within_a_factor_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an atlas of noise, whose pictures are alike."""
    torch.manual_seed(0)
    net, data = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 64, 7), nn.Conv2d(64, 32, 5)).eval()), torch.rand(12, 3, 32, 32)
    top, foretold = dv.scan(net, data, k=4, progress=False), []
    monkeypatch.setattr(estimates, "FEWEST_UNITS", 1)
    monkeypatch.setattr("deconvviz.atlas.build.file_size", lambda size: foretold.append(size) or "1 MB")
    dv.build_atlas(net, data, top, out=tmp_path / "at", evidence=False)
    found = sum(path.stat().st_size for path in (tmp_path / "at").glob("sheets/*"))
    found += sum(path.stat().st_size for path in (tmp_path / "at").glob("data/*"))
    assert found / 2 < foretold[0] < found * 2


def test_words_for_durations_and_sizes() -> None:
    assert said.duration(3599.6) == "1 h"
    assert said.duration(7260) == "2 h 1 min"
    assert said.file_size(250_000_000) == "250 MB"
