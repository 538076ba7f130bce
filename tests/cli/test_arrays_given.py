"""Signals and volumes on the command line, in files of NumPy, against plain calls of the model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz.errors import InputError
from tests.helpers.command_line import run
from tests.helpers.other_inputs import OfSignals, OfVolumes

FACTORIES = """
import torch
from tests.helpers.other_inputs import OfSignals, OfVolumes

def signals():
    torch.manual_seed(0)
    return OfSignals()

def leads():
    torch.manual_seed(0)
    return OfSignals(1)

def volumes():
    torch.manual_seed(0)
    return OfVolumes()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(FACTORIES)
    return tmp_path


def made(kind, *options):
    torch.manual_seed(0)
    return kind(*options)


def saved(name, array):
    np.save(name, array)
    return torch.from_numpy(array).float()


@pytest.mark.parametrize(
    ("factory", "model", "shape", "options"),
    [
        ("signals", (OfSignals,), (2, 60), ["--rate", "250"]),
        ("signals", (OfSignals,), (1, 2, 60), ["--whole"]),
        ("leads", (OfSignals, 1), (80,), []),
        ("volumes", (OfVolumes,), (12, 14, 16), []),
        ("volumes", (OfVolumes,), (1, 1, 12, 14, 16), ["--whole"]),
    ],
)
def test_units_of_an_array(folder, capsys, factory, model, shape, options):
    net = made(*model)
    array = np.random.default_rng(1).normal(size=shape)
    axes = 3 if factory != "volumes" else 5
    x = saved("x.npy", array)[(None,) * (axes - len(shape))]
    run("project", f"nets.py:{factory}", "x.npy", "--layer", "3", "--json", *options)
    units = json.loads(capsys.readouterr().out)["units"]
    maps = net(x).detach()[0]
    for unit in units:
        own = maps[unit["channel"]]
        assert unit["activation"] == pytest.approx(float(own.max()), abs=1e-5)
        assert float(own[tuple(unit["position"])]) == pytest.approx(float(own.max()), abs=1e-5)
    assert len(units) == len(maps)
    with Image.open("x-3.png") as opened:
        picture = np.asarray(opened.convert("L"))
    assert (picture < 200).mean() > 0.005


def test_a_data_set_of_signals(folder, capsys):
    x = saved("signals.npy", np.random.default_rng(2).normal(size=(10, 2, 60)).astype(np.float32))
    maps = made(OfSignals)(x).detach().amax(2)
    run("scan", "nets.py:signals", "signals.npy", "--layers", "3", "--json", "--out", "top.safetensors")
    assert json.loads(capsys.readouterr().out)["images"] == 10
    command = ["top", "nets.py:signals", "signals.npy", "--layer", "3", "--top", "top.safetensors", "--rate", "100"]
    run(*command, "--channel", 0, 1, 2, "--json")
    rows = json.loads(capsys.readouterr().out)["table"]
    for channel in range(3):
        found = [row for row in rows if row["channel"] == channel]
        order = [n for n in maps[:, channel].argsort(descending=True).tolist() if maps[n, channel] > 0][:9]
        assert [int(row["image"]) for row in found] == order
    with Image.open("top-3.png") as opened:
        assert opened.size[1] > 500


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["atlas", "nets.py:signals", "s.npy"], "an atlas shows images (C, H, W), and the inputs are of shape (2, 60)"),
        (["atlas", "mnist", "mnist", "--limit", "0"], "limit must be a whole number of at least 1, not 0"),
        (
            ["atlas", "mnist", "mnist", "--layers", "conv1", "conv2", "--channel", "3", "99"],
            "layer 'conv1' has channels 0 to 23, not 99",
        ),
        (
            ["top", "mnist", "mnist", "--layer", "conv1", "--channel", "99"],
            "layer 'conv1' has channels 0 to 23, not 99",
        ),
        (["top", "nets.py:signals", "s.npy", "--layer", "3", "--channel", "-1"], "layer '3' has channels 0 to "),
    ],
)
def test_what_the_scan_would_be_for_nothing_is_refused_before_it(folder, capsys, monkeypatch, command, said):
    monkeypatch.setattr("deconvviz.mining.scan.scan", lambda *_, **__: pytest.fail("it was scanned"))
    saved("s.npy", np.ones((3, 2, 60), np.float32))
    run(*command, status=2)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"deconvviz: {said}")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["atlas", "nets.py:signals", "s.npy", "--no-evidence"], "an atlas shows images (C, H, W), and "),
        (["evidence", "nets.py:signals", "x.npy", "--layer", "3"], "evidence is for networks that take one batch of "),
        (["compare", "nets.py:signals", "x.npy", "--layer", "3"], "methods are compared on one image (1, C, H, W), "),
        (["occlusion", "nets.py:signals", "x.npy"], "occlusion is for networks that take one batch of images "),
        (["invariance", "nets.py:signals", "x.npy"], "translation is for images (N, C, H, W), not an input of shape "),
    ],
)
def test_what_is_for_pictures_says_so(folder, capsys, command, said):
    saved("x.npy", np.ones((2, 60), np.float32))
    saved("s.npy", np.ones((3, 2, 60), np.float32))
    run(*command, status=2)
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"deconvviz: {said}")


def test_what_is_for_pictures_says_so_in_python_and_the_rest_is_right():
    model = made(OfSignals)
    net, x = dv.DeconvNet(model), torch.randn(8, 2, 60, generator=torch.Generator().manual_seed(3))
    top = dv.scan(net, x, k=2, progress=False)
    for call, said in (
        (lambda: dv.build_atlas(net, x, top, out="atlas", progress=False), "an atlas shows images"),
        (lambda: dv.evidence.deletion(net, x, "3", progress=False), "is for networks that take one batch of images"),
        (lambda: dv.compare(net, x[:1], layer="3", channel=0), r"compared on one image \(1, C, H, W\)"),
        (lambda: dv.experiments.occlusion(net, x[:1]), "occlusion is for networks that take one batch of images"),
        (lambda: dv.experiments.invariance(net, x[:1]), r"translation is for images \(N, C, H, W\)"),
    ):
        with pytest.raises(InputError, match=said):
            call()
    strongest = model(x).detach().amax(2)
    assert torch.equal(top.values["3"], strongest.T.sort(descending=True).values[:, :2].clamp(min=0))
    compared = dv.diff(net, net, x, layers=["3"], pictures=0, progress=False)
    assert compared.layers[0].correlations.tolist() == pytest.approx([1.0] * len(compared.layers[0].correlations))


def test_layers_of_networks_of_signals_and_volumes(folder, capsys):
    run("layers", "nets.py:signals", "--size", "60", "--json")
    table = json.loads(capsys.readouterr().out)["table"]
    assert table[-1]["shape"] == list(made(OfSignals)(torch.zeros(1, 2, 60)).shape)
    run("layers", "nets.py:volumes", "--size", "12", "14", "16", "--json")
    captured = capsys.readouterr()
    assert json.loads(captured.out)["table"][-1]["shape"] == [1, 3, 4, 5, 6]
    assert captured.err == ""
