"""The paper's experiments as examples: each runs from its command line, on digits here, and says what it needs."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = {
    "occlusion": ["--digits", "2"],
    "invariance": ["--digits", "4", "--transforms", "rotation"],
    "evolution": ["--digits", "40", "--steps", "20"],
    "diagnosis": ["--digits", "40"],
    "correspondence": ["--draws", "2"],
    "probe": ["--digits", "60"],
}
FIGURES = {name: f"{name}-reference.png" for name in SMALL} | {"invariance": "invariance-rotation-reference.png"}
FIRST_COLUMNS = {
    "occlusion": {"0", "1"},
    "invariance": {str(angle) for angle in range(0, 360, 15)},
    "evolution": {"conv1", "conv2", "fc1"},
    "diagnosis": {"conv1", "conv2"},
    "correspondence": {"conv1", "conv2", "fc1", "fc2"},
    "probe": {"relu1", "relu2", "relu3"},
}


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def rows(printed):
    """The table that was printed, as lists of cells, the header first."""
    lines = [re.split(r" {2,}", line.strip()) for line in printed.splitlines()]
    return [line for line in lines if len(line) > 2]


@pytest.mark.parametrize("name", SMALL)
def test_an_experiment_runs_on_the_reference_network(name, example, tmp_path, capsys):
    example(name).main([*SMALL[name], "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == [FIGURES[name]]
    with Image.open(tmp_path / FIGURES[name]) as figure:
        pixels = np.asarray(figure.convert("L"))
    assert pixels.shape[1] > 500
    assert 0.02 < (pixels < 250).mean() < 0.98  # neither empty nor black
    header, *body = rows(capsys.readouterr().out)
    assert {row[0] for row in body} == FIRST_COLUMNS[name]
    found = {row[0]: dict(zip(header, row, strict=False)) for row in body}
    if name == "occlusion":
        assert [row["class"] for row in found.values()] == ["7", "2"]
    if name == "invariance":
        assert float(found["0"][header[1]]) == 0 < float(found["90"][header[1]])
    if name == "probe":
        assert float(found["relu3"]["accuracy"]) > 0.6


@pytest.mark.parametrize("name", SMALL)
def test_without_weights_it_says_where_to_get_them(name, example, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        example(name).main(["--network", "squeezenet", "--out", str(tmp_path)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--weights FILE" in said
    assert "or --download to let torchvision fetch them" in said


def test_weights_that_are_not_there_are_one_sentence(example, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        example("occlusion").main(["--network", "squeezenet", "--weights", str(tmp_path / "none.pt")])
    assert ended.value.code == 2
    assert "none.pt" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["probe", "evolution"])
def test_photographs_need_kinds_where_labels_are_needed(name, example, assets):
    weights = str(assets / "models/squeezenet1_1-imagenet.safetensors")
    with pytest.raises(SystemExit, match="a sub-folder of photographs for each kind"):
        example(name).main(["--network", "squeezenet", "--weights", weights, "--photos", str(assets / "images")])


def test_correspondence_on_two_faces(example, assets, tmp_path, capsys):
    pytest.importorskip("skimage")
    weights = str(assets / "models/squeezenet1_1-imagenet.safetensors")
    arguments = ["--network", "squeezenet", "--weights", weights, "--draws", "1", "--out", str(tmp_path)]
    example("correspondence").main(arguments)
    assert set(json.loads((tmp_path / "faces.json").read_text())) == {"left eye", "right eye", "nose"}
    assert (tmp_path / "correspondence-squeezenet.png").stat().st_size > 20_000
    body = rows(capsys.readouterr().out)[1:]
    assert [row[1] for row in body[:3]] == ["left eye", "right eye", "nose"]
