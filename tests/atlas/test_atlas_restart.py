"""A build that was killed goes on where it was: finished layers of the same build are kept, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.atlas.inventory import JOURNAL, Inventory
from deconvviz.atlas.projected_units import LayerProjections
from deconvviz.errors import OutputError
from tests.helpers.files import contents
from tests.helpers.synthetic_atlas import read_script

NAMES = ["0", "3", "4"]


def network(seed: int = 3) -> dv.DeconvNet:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 3), nn.Conv2d(4, 2, 1))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.3, generator=generator)
    return dv.DeconvNet(model.eval())


def images(seed: int = 5) -> torch.Tensor:
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def build(out: Path, net: dv.DeconvNet | None = None, data: torch.Tensor | None = None, **options: Any) -> Path:
    """An atlas; k: of its scan."""
    net, data = net or network(), images() if data is None else data
    top = dv.scan(net, data, k=options.pop("k", 1), progress=False)
    return dv.build_atlas(net, data, top, out=out, progress=False, **{"evidence": False, "workers": 2, **options})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return contents(build(tmp_path_factory.mktemp("undisturbed") / "at").parent)


@pytest.fixture
def projected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers that are projected."""
    names: list[str] = []
    project = LayerProjections.project

    def noted(projections: LayerProjections, *given: Any) -> Any:
        names.append(projections.layer)
        return project(projections, *given)

    monkeypatch.setattr(LayerProjections, "project", noted)
    return names


def killed_at(name: str, out: Path, **options: Any) -> None:
    """Build until the atlas would write a file; nothing is tidied up."""
    write = Inventory.write

    def until(inventory: Inventory, file: str, content: bytes) -> None:
        if file == name:
            raise KeyboardInterrupt
        write(inventory, file, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inventory, "write", until)
        with pytest.raises(KeyboardInterrupt):
            build(out, **options)


STOPS = {  # the file that is not written, and the layers that are projected by the build after it
    "images/0.webp": NAMES,
    "data/0.js": NAMES,
    "sheets/1-0.webp": NAMES[1:],
    "sheets/2-t0.webp": NAMES[2:],
    "data/index.js": [],
}


@pytest.mark.parametrize("stop", STOPS)
def test_the_same_build_goes_on_and_ends_with_the_same_bytes(
    stop: str, tmp_path: Path, undisturbed: dict[str, bytes], projected: list[str]
) -> None:
    killed_at(stop, tmp_path / "at")
    projected.clear()
    build(tmp_path / "at")
    assert projected == STOPS[stop]
    assert contents(tmp_path / "at") == undisturbed


def test_a_build_that_was_killed_twice_and_over_an_older_atlas(
    tmp_path: Path, undisturbed: dict[str, bytes], projected: list[str]
) -> None:
    build(tmp_path / "at", k=2)
    older = contents(tmp_path / "at")
    killed_at("sheets/1-0.webp", tmp_path / "at")
    killed_at("sheets/2-0.webp", tmp_path / "at")
    now = contents(tmp_path / "at")
    assert now["older/data/index.js"] == older["data/index.js"]
    assert b'="older/assets/' in now["index.html"]
    projected.clear()
    build(tmp_path / "at")
    assert projected == NAMES[2:]
    assert contents(tmp_path / "at") == undisturbed


def test_a_build_that_the_system_killed(tmp_path: Path, undisturbed: dict[str, bytes], projected: list[str]) -> None:
    program = textwrap.dedent("""
        import os, signal, sys
        import torch
        from pathlib import Path
        from deconvviz.atlas.inventory import Inventory
        from tests.atlas.test_atlas_restart import build
        write = Inventory.write
        def until(inventory, name, content):
            if name == "sheets/2-0.webp":
                os.kill(os.getpid(), signal.SIGKILL)
            write(inventory, name, content)
        Inventory.write = until
        torch.set_num_threads(int(sys.argv[2]))  # on which the last digits of a scan depend
        build(Path(sys.argv[1]))
    """)
    root = Path(__file__).parents[2]
    call = [sys.executable, "-c", program, str(tmp_path / "at"), str(torch.get_num_threads())]
    ended = subprocess.run(call, cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    index = read_script(tmp_path / "at/data/unfinished.js")
    assert [layer["name"] for layer in index["layers"]] == NAMES[:2]
    assert index["unfinished"] == NAMES[2:]
    build(tmp_path / "at")
    assert projected == NAMES[2:]
    assert contents(tmp_path / "at") == undisturbed


OTHERS: dict[str, dict[str, Any]] = {
    "title": {"title": "another"},
    "weights": {"net": network(4)},
    "style": {"net": dv.DeconvNet(network().model, "guided")},
    "preprocess": {"net": dv.DeconvNet(network().model, preprocess=dv.images.Preprocess(16))},
    "images": {"data": images(6)},
    "k": {"k": 2},
    "layers": {"layers": ["0", "4", "3"]},
    "channels": {"channel": {"0": [1]}},
    "classes": {"classes": ["one"]},
    "batch size": {"batch_size": 2},
}


@pytest.mark.parametrize("what", OTHERS)
def test_nothing_is_kept_of_a_build_from_something_else(what: str, tmp_path: Path, projected: list[str]) -> None:
    killed_at("data/index.js", tmp_path / "at")
    projected.clear()
    build(tmp_path / "at", **OTHERS[what])
    assert sorted(projected) == NAMES
    if what in ("k", "channels"):  # with more files, and with fewer
        build(tmp_path / "new", **OTHERS[what])
        assert contents(tmp_path / "at") == contents(tmp_path / "new")


def test_a_layer_without_one_of_its_files_is_built_again(
    tmp_path: Path, undisturbed: dict[str, bytes], projected: list[str]
) -> None:
    killed_at("data/index.js", tmp_path / "at")
    (tmp_path / "at/sheets/1-p0.webp").unlink()
    projected.clear()
    build(tmp_path / "at")
    assert projected == NAMES[1:]
    assert contents(tmp_path / "at") == undisturbed


def test_a_file_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    killed_at("data/index.js", tmp_path / "at")
    (tmp_path / "at/sheets/1-p0.webp").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"sheets/1-p0.webp' was not written by an atlas, or was changed since"):
        build(tmp_path / "at")
    assert (tmp_path / "at/sheets/1-p0.webp").read_bytes() == b"mine"


def forged(record: object) -> bytes:
    text = json.dumps(record).encode()
    return b"\ndone " + hashlib.sha256(text).hexdigest().encode() + b" " + text + b"\n"


def of_layers(journal: Path) -> Sequence[Any]:
    return [json.loads(line.split(b" ", 2)[2]) for line in journal.read_bytes().split(b"\n") if line[:5] == b"done "]


@pytest.mark.parametrize("value", [None, 7, {"entry": 3, "images": []}, {"entry": {"name": "0"}, "images": ["x"]}])
def test_a_journal_with_anything_else_in_it_is_no_help_and_no_harm(
    value: Any, tmp_path: Path, undisturbed: dict[str, bytes], projected: list[str]
) -> None:
    killed_at("sheets/1-0.webp", tmp_path / "at")
    journal = tmp_path / "at" / JOURNAL
    *_, record = of_layers(journal)
    strange = [[], 3, {"build": record["build"]}, {**record, "files": {"notes.txt": [1, 2, 3]}}]
    strange += [{**record, "files": {"../x": [4, "0"]}}, {**record, "value": value, "files": {}}]
    with journal.open("ab") as file:
        file.write(b"".join(map(forged, strange)) + b"\ndone 00 {}\n" + forged(record)[:-30])
    projected.clear()
    build(tmp_path / "at")
    assert projected == NAMES
    assert contents(tmp_path / "at") == undisturbed
