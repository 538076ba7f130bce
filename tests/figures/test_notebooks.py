"""Pictures in a notebook that is run: results and figures show themselves, and those of a loop do not accumulate."""

from __future__ import annotations

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers.situations import ROOT

START = """
import warnings
import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0]
"""
CELLS = {
    "a projection": "p = net.project(images[:1], 'conv2', channel=[3, 5]); p",
    "its figure": "p.figure()",
    "a reconstruction": "net.reconstruct(images[:1], 'conv2')",
    "the strongest images": """
top = dv.scan(net, images[:20], layers='conv2', k=4, progress=False)
dv.project_top(net, images[:20], top, channel=[3], progress=False)""",
    "many figures": """
from IPython.display import display
for number in range(25):
    display(p[0].figure())""",
    "what pyplot holds": """
import sys
print(len(sys.modules['matplotlib.pyplot'].get_fignums()) if 'matplotlib.pyplot' in sys.modules else 0)""",
    "with matplotlib inline": "%matplotlib inline\np.figure()",
    "printed": "print(p)",
    "an explored network": "net.explore(images[:3], 'conv2', channel=5)",
}


@pytest.fixture(scope="module")
def outputs():
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell(source) for source in (START, *CELLS.values())]
    notebook = nbformat.v4.new_notebook(cells=cells)
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    )
    client.execute(env={**os.environ, "PYTHONPATH": paths})
    shown = dict(zip(CELLS, (cell["outputs"] for cell in notebook.cells[1:]), strict=True))
    return {**shown, "widgets": notebook.metadata.get("widgets", {})}


def pictures(outputs):
    shown = [output["data"] for output in outputs if output["output_type"] in ("display_data", "execute_result")]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"])))) for data in shown]


@pytest.mark.parametrize("cell", ["a projection", "its figure", "a reconstruction", "the strongest images"])
def test_a_cell_shows_a_picture(outputs, cell):
    assert [output["output_type"] for output in outputs[cell]] == ["execute_result"]
    (picture,) = pictures(outputs[cell])
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    assert "text/html" not in outputs[cell][0]["data"]  # in which the picture would stand a second time


def test_the_figure_is_the_one_that_the_result_shows(outputs):
    assert np.array_equal(*(pictures(outputs[cell])[0] for cell in ("a projection", "its figure")))


def test_figures_of_a_loop_do_not_accumulate(outputs):
    assert len(pictures(outputs["many figures"])) == 25
    assert not [output for output in outputs["many figures"] if output["output_type"] == "stream"]  # no warning
    assert outputs["what pyplot holds"][0]["text"] == "0\n"


def test_a_figure_is_shown_once_with_matplotlib_inline(outputs):
    assert len(pictures(outputs["with matplotlib inline"])) == 1


def test_a_result_is_printed_on_one_line(outputs):
    (printed,) = outputs["printed"]
    assert printed["text"].startswith("Projection(")
    assert printed["text"].count("\n") == 1


def test_an_explored_network_is_a_widget_with_a_picture_for_where_no_kernel_runs(outputs):
    pytest.importorskip("anywidget", reason="needs anywidget")
    (output,) = outputs["an explored network"]
    data = output["data"]
    (picture,) = pictures([output])
    assert len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    assert f'src="data:image/png;base64,{data["image/png"].strip()}"' in data["text/html"]
    assert data["text/plain"] == "NotebookExplorer(MnistCNN, 'conv2', channel 5)"
    kept = outputs["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    state = kept[data["application/vnd.jupyter.widget-view+json"]["model_id"]]["state"]
    assert (state["image"], state["layer"], state["channel"]) == (0, "conv2", 5)
    assert "export default" in state["_esm"]
    assert state["_about"]["count"] == 3
    assert state["_first"]["unit data-0 conv2 5  0 deconvnet"]["channel"] == 5
