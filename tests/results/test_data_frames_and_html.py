"""Tables as DataFrames, and what a notebook shows: pictures of a readable width, tables that scroll, and widgets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.io.progress_bar import progress_bar
from deconvviz.models import mnist_cnn
from deconvviz.results import Tabular

NET = dv.DeconvNet(mnist_cnn())
IMAGES = mnist_test()[0][:12]


@pytest.fixture(scope="module")
def results() -> dict[str, Tabular]:
    found = dv.diff(NET, NET, IMAGES, layers="conv1", pictures=0, progress=False)
    top = dv.scan(NET, IMAGES, layers="conv1", k=2, progress=False)
    strongest = dv.project_top(NET, IMAGES, top, channel=[3], progress=False)
    return {"diff": found, "layer": found[0], "scan": top, "top": strongest, "layers": NET.layers(IMAGES[:1])}


@pytest.mark.parametrize("name", ["diff", "layer", "scan", "top", "layers"])
def test_a_table_is_a_data_frame_with_its_rows_and_columns(results: dict[str, Tabular], name: str) -> None:
    pandas = pytest.importorskip("pandas")
    rows, frame = results[name].table(), results[name].to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    numbers = [column for column in frame.columns if pandas.api.types.is_float_dtype(frame[column])]
    for column in numbers:
        wanted = torch.tensor([torch.nan if row[column] is None else float(row[column]) for row in rows])
        assert torch.tensor(frame[column].to_numpy()).float() == pytest.approx(wanted, nan_ok=True)


def test_a_picture_in_html_is_no_wider_than_the_notebook_and_a_long_table_scrolls(results: dict[str, Tabular]) -> None:
    page = results["layer"]._repr_html_()
    (image,) = re.findall(r"<img [^>]*?>", page.replace("\n", ""))
    assert "max-width:100%" in image
    assert "height:auto" in image
    assert re.search(r'<div style="max-height:[^"]*overflow:auto[^"]*"><table>', page)


def test_a_bar_is_the_one_that_tqdm_chooses_for_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm.auto

    made: list[dict[str, Any]] = []

    class Widget(tqdm.auto.tqdm):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(options)
            super().__init__(*args, **options)

    monkeypatch.setattr(tqdm.auto, "tqdm", Widget)
    with progress_bar(total=3, shown=True, desc="scan") as bar:
        bar.update()
    assert isinstance(bar, Widget)
    assert made[0]["desc"] == "scan"
    with progress_bar(total=3, shown=False) as hidden:
        assert not isinstance(hidden, Widget)
    assert len(made) == 1


def test_nets_traces_and_results_are_printed_on_one_line(results: dict[str, Tabular]) -> None:
    shown = [repr(NET), repr(NET.trace(IMAGES[:2])), *map(repr, results.values())]
    assert shown[:2] == [
        "DeconvNet(MnistCNN, style='deconvnet')",
        "Trace(inputs of shape (2, 1, 28, 28), style='deconvnet', 12 layers, activations of 12)",
    ]
    assert all("\n" not in line for line in shown)


def test_pandas_is_not_imported_with_the_library() -> None:
    import subprocess
    import sys

    code = "import sys, deconvviz.results.base; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(dv.__file__).parents[1], check=False).returncode == 0
