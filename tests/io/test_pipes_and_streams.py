"""Pipes and devices where files are wanted never hang; closed streams stop nothing; lazy modules are told."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import ImageFolder, read_idx, read_parts
from deconvviz.errors import CheckpointError, DataError, DeconvVizError, ModelError
from deconvviz.mining.progress import ScanProgress
from deconvviz.models import load_weights, mnist_cnn
from deconvviz.results import TopActivations


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Things that are no files, under the names of files."""
    monkeypatch.chdir(tmp_path)
    for name in ("w.safetensors", "w.pt", "x.png", "t.txt", "m.py", "top.safetensors", "state.pt"):
        os.mkfifo(name)
    os.mkfifo("rank-0.safetensors")
    (tmp_path / "images").mkdir()
    os.mkfifo("images/a.png")
    os.mkfifo("parts.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.pt")
        signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
        signal.alarm(60)
        yield tmp_path
        signal.alarm(0)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "socket.pt", "/dev/zero"])
def test_weights_that_are_no_file(folder, name):
    with pytest.raises(CheckpointError, match=r"cannot be read \(it is a device, pipe or socket\)$"):
        load_weights(mnist_cnn(), name)


READS = {
    "a result": lambda: TopActivations.load("top.safetensors"),
    "a state of a scan": lambda: ScanProgress.load(Path("rank-0.safetensors")),
    "a scan with a state": lambda: dv.scan(
        dv.DeconvNet(nn.Conv2d(1, 1, 1)), torch.zeros(2, 1, 3, 3), state=".", progress=False
    ),
    "an image": lambda: dv.images.read_image("x.png"),
    "a folder of images": lambda: ImageFolder("images"),
    "IDX": lambda: read_idx("t.txt", 1),
    "parts": lambda: read_parts("parts.csv", ["a.png"]),
    "a dataset": lambda: dv.scan(dv.DeconvNet(nn.Conv2d(1, 1, 1)), "x.png", progress=False),
}


@pytest.mark.filterwarnings("ignore::deconvviz.data.folder.ImageFolderWarning")
@pytest.mark.parametrize("what", READS)
def test_no_reader_waits_for_a_pipe(folder, what):
    with pytest.raises(DeconvVizError) as caught:
        READS[what]()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("layers mnist --weights w.pt", "'w.pt' cannot be read (it is a device, pipe or socket)"),
        ("layers m.py:f", "there is no file 'm.py' to take a model from"),
        ("project mnist x.png --layer conv1", "'x.png' is a device or pipe, not an image file"),
        ("occlusion mnist mnist:0 --classes t.txt", "'t.txt' cannot be read as text: it is a device, pipe or socket"),
        ("occlusion mnist mnist:0 --classes images", "'images' cannot be read as text: Is a directory"),
        (
            "atlas mnist mnist --top top.safetensors",
            "'top.safetensors' is not a result saved by deconvviz (it is a device",
        ),
        ("scan mnist x.png --out t", "there is no folder 'x.png' of images"),
        ("scan mnist mnist --out w.pt", "'w.pt' is a device or pipe; name a file to write"),
        ("train --root x.png", "there is no folder 'x.png' to read MNIST from"),
    ],
)
def test_no_command_waits_for_a_pipe(folder, arguments, said, capsys):
    assert cli.main(shlex.split(arguments)) == 2
    found = capsys.readouterr().err.strip()
    assert found.startswith(f"deconvviz: {said.partition('…')[0]}")
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("closed", ["2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing(tmp_path, closed):
    run = f"{shlex.quote(sys.executable)} -m deconvviz"
    done = subprocess.run(
        ["sh", "-c", f"{run} project mnist mnist:0 --layer conv1 --channel 0 --out a.png {closed}"],
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    wrong = subprocess.run(
        ["sh", "-c", f"{run} layers mnits {closed}"], cwd=tmp_path, check=False, stdout=-1, stderr=-1
    )
    assert wrong.returncode == 2
    assert wrong.stdout == b""


# Lazy modules


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))


def test_lazy_modules_are_told_and_left_lazy():
    model = lazy()
    said = (
        r"^the model Sequential has lazy modules, and '0.weight' has no shape yet; "
        r"run the model once on a typical input$"
    )
    for make in (dv.DeconvNet, dv.DeconvNetAttribution, lambda one: dv.compare(one, torch.zeros(1, 3, 8, 8))):
        with pytest.raises(ModelError, match=said):
            make(model)
    assert nn.parameter.is_lazy(model[0].weight)
    model(torch.randn(2, 3, 8, 8))
    assert dv.DeconvNet(model).project(torch.randn(1, 3, 8, 8), "0", channel=1).pixels.shape == (1, 3, 8, 8)


def test_a_lazy_buffer_is_told_too():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.LazyBatchNorm2d(affine=False))
    with pytest.raises(ModelError, match=r"'1.running_mean' has no shape yet"):
        dv.DeconvNet(model)


def test_a_pipe_in_the_place_of_a_training_state(folder):
    from deconvviz.models import TrainingSettings, train

    model, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(8, 1, 2, 2)
    with pytest.raises((CheckpointError, DataError, DeconvVizError)) as caught:
        train(model, images, torch.arange(8) % 2, settings=TrainingSettings(epochs=1), checkpoints=".", progress=False)
    assert len(str(caught.value).splitlines()) == 1
