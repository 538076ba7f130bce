"""Pictures are encoded in threads while others are projected: same bytes, flat memory, and a clean end of any kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.atlas.inventory import Inventory
from deconvviz.atlas.layer_sheets import BlockPictures, LayerSheets
from deconvviz.atlas.records import AtlasChannel
from deconvviz.atlas.site import Site
from deconvviz.errors import InputError, OutputError
from deconvviz.results import TopActivations
from tests.helpers.files import contents
from tests.helpers.synthetic_atlas import channels, header, layer

SMALL = header(size=(28, 28), k=2, images=20)


def network() -> tuple[dv.DeconvNet, torch.Tensor, TopActivations]:
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(20, 4, 3), nn.Conv2d(4, 2, 1))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3, generator=generator)
    net, data = dv.DeconvNet(model.eval()), torch.rand(9, 3, 20, 20, generator=generator)
    return net, data, dv.scan(net, data, k=1, progress=False)


OLDER: set[threading.Thread] = set()  # of sites that other tests have begun and not ended


@pytest.fixture(autouse=True)
def _older() -> None:
    OLDER.update(threading.enumerate())


def alive() -> list[str]:
    threads = set(threading.enumerate()) - OLDER
    return [thread.name for thread in threads if thread.name.startswith("deconvviz-atlas")]


def build(out: Path, **options: Any) -> dict[str, bytes]:
    net, data, top = network()
    dv.build_atlas(net, data, top, out=out, progress=False, **{"evidence": False, **options})
    assert alive() == []
    return contents(out)


def test_the_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    alone = build(tmp_path / "0", workers=0, evidence=True)
    for workers in (3, None):
        assert build(tmp_path / str(workers), workers=workers, evidence=True) == alone
    for wrong in (-1, 1.5, "two"):
        with pytest.raises(InputError, match="workers must be a whole number of at least 0"):
            build(tmp_path / "x", workers=wrong)


def test_channels_are_judged_by_any_number_of_threads_alike(tmp_path: Path) -> None:
    net, _, _ = network()
    data = torch.rand(90, 3, 20, 20, generator=torch.Generator().manual_seed(5))
    top, before = dv.scan(net, data, layers=["0"], k=9, progress=False), torch.get_num_threads()
    files = []
    for threads in (0, 5):
        dv.build_atlas(net, data, top, out=tmp_path / f"{threads}", progress=False, workers=threads)
        assert (alive(), torch.get_num_threads()) == ([], before)
        files.append(contents(tmp_path / f"{threads}"))
    assert files[0] == files[1]
    assert any(b'"questions"' in content for content in files[0].values())


def test_blocks_do_not_pile_up_behind_slow_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), 0
    of_block = LayerSheets.of_block

    def slow(sheets: LayerSheets, block: int, members: list[AtlasChannel]) -> BlockPictures:
        assert free.wait(60)
        return of_block(sheets, block, members)

    def counted(made: Iterator[AtlasChannel]) -> Iterator[AtlasChannel]:
        nonlocal asked
        for one in made:
            asked += 1
            yield one

    monkeypatch.setattr(LayerSheets, "of_block", slow)
    many, site = layer("a", 300, (3, 3)), Site(tmp_path / "at", SMALL, encoders=2)
    writing = threading.Thread(target=site.add_layer, args=(many, counted(channels(many, SMALL))))
    writing.start()
    most = (2 + 1) * 16  # one block for each thread, and the one that waits
    for _ in range(1000):
        if asked >= most:
            break
        time.sleep(0.01)
    time.sleep(0.2)
    assert asked == most
    free.set()
    writing.join(60)
    assert asked == 300
    site.stop()


def stopping(inventory: Inventory, name: str, content: bytes) -> None:
    raise OutputError(f"{name!r} cannot be written: the disk is full; nothing there was changed")


@pytest.mark.parametrize("where", ["first layer", "last layer"])
def test_an_error_in_a_thread_ends_the_build_in_one_sentence(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = Inventory.write
    bad = f"sheets/{'0' if where == 'first layer' else '2'}-0.webp"
    net, data, top = network()
    monkeypatch.setattr(Inventory, "write", lambda *given: (stopping if given[1] == bad else write)(*given))
    with pytest.raises(OutputError, match="the disk is full"):
        dv.build_atlas(net, data, top, out=tmp_path / "at", progress=False, evidence=False)
    assert alive() == []
    assert not (tmp_path / "at/manifest.json").exists()
    np.save(tmp_path / "digits.npy", dv.data.mnist_test()[0][:9].numpy())
    bad, asked = "sheets/0-1.webp", f"atlas mnist {tmp_path / 'digits.npy'} --layers conv1 --k 1 --no-evidence"
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(asked.split()) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "deconvviz: 'sheets/0-1.webp' cannot be written: the disk is full; nothing there was changed"
    assert alive() == []


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_interrupt_ends_the_threads_and_nothing_is_written_afterwards(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data, top = network()
    project, made = dv.DeconvNet.project_units, 0

    def interrupted(*given: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        if made == calls:
            raise KeyboardInterrupt
        return project(*given, **options)

    monkeypatch.setattr(dv.DeconvNet, "project_units", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dv.build_atlas(net, data, top, out=tmp_path / "at", progress=False, evidence=False)
    assert alive() == []
    left = contents(tmp_path / "at")
    time.sleep(0.1)
    assert contents(tmp_path / "at") == left
    assert not {"data/index.js", "manifest.json"} & set(left)
    monkeypatch.undo()
    assert build(tmp_path / "at") == build(tmp_path / "new")
