"""The notebooks of the documentation run, and what they show has been kept in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from docs.notebooks import NOTEBOOKS, run

SHARED = Path(__file__).parents[2] / "shared" / "assets"
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


@pytest.mark.parametrize("name", ["photographs", "training"])
def test_what_they_show_is_kept(name):
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in shown} <= {"display_data", "execute_result", "stream"}
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    text = (NOTEBOOKS / f"{name}.ipynb").read_text("utf-8")
    assert len(text) < 2_000_000
    assert "/tmp" not in text


@pytest.mark.slow
def test_the_notebook_on_training_runs(tmp_path):
    assert run(NOTEBOOKS / "training.ipynb", tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    not SHARED.exists(), reason="needs SqueezeNet's weights and photographs, which are not in the package"
)
def test_the_notebook_on_photographs_runs(tmp_path, monkeypatch):
    (tmp_path / "photos").symlink_to(SHARED / "photos")
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    weights = load_file(SHARED / "models" / "squeezenet1_1-imagenet.safetensors")
    torch.save(weights, hub / "squeezenet1_1-b8a52dc0.pth")  # where torchvision looks before it downloads
    monkeypatch.setitem(os.environ, "TORCH_HOME", str(tmp_path))
    assert run(NOTEBOOKS / "photographs.ipynb", tmp_path)
