"""Progress bars and remarks where standard error is missing, closed or broken: no crash, and nothing is lost."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.experiments import correspondence, diagnose, occlusion
from deconvviz.models import TrainingSettings, train

PACKAGE = Path(dv.__file__).parent


class Broken(io.StringIO):
    """A stream that fails once so much was written to it, as a pipe without a reader or a full disk does."""

    def __init__(self, error, after=0):
        super().__init__()
        self.error, self.after = error, after

    def write(self, text):
        if len(self.getvalue()) >= self.after:
            raise self.error
        return super().write(text)

    def flush(self):
        if len(self.getvalue()) >= self.after:
            raise self.error


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "missing": lambda: None,
    "closed": closed,
    "without a reader": lambda: Broken(BrokenPipeError(32, "Broken pipe")),
    "full": lambda: Broken(OSError(28, "No space left on device"), after=10),
    "not writable": lambda: Broken(io.UnsupportedOperation("not writable")),
    "of another kind": lambda: object(),
}


@pytest.fixture(params=STREAMS)
def unheard(request, monkeypatch):
    """To be called by the test: between a fixture and its test pytest sets the stream anew."""
    return lambda: monkeypatch.setattr(sys, "stderr", STREAMS[request.param]())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4))


def images():
    return torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def trained(progress):
    model = network()
    train(model, images(), torch.arange(24) % 4, settings=TrainingSettings(epochs=1, batch_size=4), progress=progress)
    return model[3].weight.tolist()


RUNS = {
    "scan": lambda shown: str(dv.scan(dv.DeconvNet(network()), images(), k=2, batch_size=4, progress=shown)),
    "diagnose": lambda shown: str(diagnose(dv.DeconvNet(network()), images(), progress=shown)),
    "occlusion": lambda shown: str(
        occlusion(dv.DeconvNet(network()), images()[:2], patch=4, stride=4, layer="0", progress=shown)
    ),
    "correspondence": lambda shown: str(
        correspondence(dv.DeconvNet(network()), images()[:2], {"a": [(1, 1, 4, 4)] * 2}, draws=1, progress=shown)
    ),
    "train": trained,
}


@pytest.mark.parametrize("unheard", ["missing", "full"], indirect=True)
@pytest.mark.parametrize("what", RUNS)
def test_work_goes_on_without_a_bar(unheard, what):
    expected = RUNS[what](False)
    unheard()
    assert RUNS[what](True) == expected


def test_every_bar_is_this_one():
    """Also those of the atlas, the demo, evolution and probes."""
    users = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if re.search(r"\btqdm\(", path.read_text())}
    assert users == {Path("io/progress_bar.py")}


def test_a_bar_is_shown_where_it_can_be(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "stderr", heard)
    dv.scan(dv.DeconvNet(network()), images(), k=2, batch_size=4, progress=True)
    assert re.search(r"scan: 100%\|.*\| 24/24 \[", heard.getvalue())
    heard.truncate(0)
    dv.scan(dv.DeconvNet(network()), images(), k=2, batch_size=4, progress=False)
    assert heard.getvalue() == ""


def test_every_step_may_fail_and_errors_of_the_work_are_not_hidden(unheard):
    from deconvviz.io.progress_bar import progress_bar

    steps = []

    def work():
        for step in progress_bar(range(100), shown=True, desc="work", mininterval=0):
            steps.append(step)
        raise ZeroDivisionError

    unheard()
    with pytest.raises(ZeroDivisionError):
        work()
    assert steps == list(range(100))


@pytest.mark.parametrize("unheard", ["closed", "without a reader"], indirect=True)
def test_a_command_with_remarks_ends_well_though_nobody_hears_them(unheard, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("L", (28, 28), 99).save(tmp_path / "images" / "a.png")
    (tmp_path / "images" / "b.png").write_text("no image")
    (tmp_path / "images" / ".c.png").touch()
    unheard()
    assert cli.main(["scan", "mnist", "images", "--layers", "conv1", "--k", "1", "--out", "top.safetensors"]) == 0
    assert "top.safetensors" in capsys.readouterr().out
    assert len(dv.results.TopActivations.load("top.safetensors").broken) == 1
    assert cli.main(["layers", "mnits"]) == 2
    sys.stderr.close()  # what stands for it now
