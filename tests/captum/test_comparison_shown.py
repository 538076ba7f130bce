"""What `compare` finds, shown: tables, figures, files, the command."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz import cli
from deconvviz.captum import comparison
from deconvviz.data import mnist_test
from deconvviz.figures import comparison as panels
from deconvviz.images import signed_as_rgb
from deconvviz.models import mnist_cnn
from deconvviz.results import Comparison
from tests.helpers.comparison_networks import Modules, Reused, double, image


@pytest.fixture(scope="module")
def of_class():
    torch.manual_seed(0)
    return dv.compare(double(Modules()), image(), target=2, scores="all")


@pytest.fixture(scope="module")
def of_unit():
    torch.manual_seed(0)
    return dv.compare(double(Modules()), image(), layer="second", channel=3, position=(3, 4))


def test_tables(of_class):
    found = of_class
    table = found.table()
    assert tuple(table[0]) == ("method", "by", "seconds", *comparison.SCORES, "remark")
    assert (table[2]["method"], table[2]["by"], table[2]["remark"]) == ("Deconvolution", "Captum", "same as deconvnet")
    first, _, third, *_ = found.agreement_table("Spearman")
    assert tuple(first)[:3] == ("Spearman", "1", "2")
    assert (third["Spearman"], third["1"]) == ("3 Deconvolution", float(found.agreement["Spearman"][2, 0]))
    printed = str(found)
    assert printed.startswith(f"Modules, class 2, activation {found.unit.activation:.4g}\n\nmethod ")
    assert "Seed 0." in printed
    page = found._repr_html_()
    assert "<td>same as deconvnet</td>" in page
    assert page.count("<table>") == 4
    assert page.startswith("<picture>")


def test_saved_and_loaded(of_unit, tmp_path):
    found = of_unit
    loaded = Comparison.load(found.save(tmp_path / "compared.safetensors"))
    assert str(loaded) == str(found)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(loaded.methods, found.methods, strict=True))
    assert (loaded.unit.channel, loaded.provenance.style) == (3, {"name": "deconvnet, guided"})


def test_panels(of_unit):
    found = of_unit
    figure = found.figure(columns=5)
    (top, bottom), (left, right) = found.receptive_field.tolist()
    axes = figure.axes
    assert [one.get_title() for one in axes[:3]] == ["image", "deconvnet", "guided"]
    drawn = np.asarray(axes[1].images[0].get_array())
    expected = signed_as_rgb(found["deconvnet"].pixels[:, top:bottom, left:right].sum(0, keepdim=True))
    assert np.allclose(drawn, expected.numpy())
    assert axes[3].get_xlabel() == "Captum: same as deconvnet"
    assert panels.SCALE.split()[0] in figure.get_supxlabel()


def test_a_failure_is_told_in_its_panel():
    found = dv.compare(double(Reused()), image(), target=1, methods=["guided", "DeepLift", "Deconvolution"])
    _, _, failed, _, _ = found.figure().axes
    assert failed.texts[0].get_text().replace("\n", " ").startswith("RuntimeError: A Module ReLU() was detected")
    assert failed.get_xlabel() == "Captum: failed"


def test_the_reference_network():
    images, labels = mnist_test()
    found = dv.compare(mnist_cnn(), images[:1], methods=["deconvnet", "guided", "Deconvolution", "GuidedBackprop"])
    assert found.unit.channel == int(labels[0])
    assert [method.remark for method in found.methods] == ["", "", "same as deconvnet", "same as guided"]


def test_the_command(tmp_path, capsys):
    out = tmp_path / "seven.png"
    arguments = ["compare", "mnist", "mnist:0", "--layer", "conv2", "--channel", "29", "--position", "6", "7"]
    assert cli.main([*arguments, "--methods", "deconvnet", "NeuronGradient", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "conv2, channel 29 at (6, 7)" in printed
    assert printed.splitlines()[-1] == str(out)
    with Image.open(out) as picture:
        assert picture.width > 300
    assert cli.main(["compare", "mnist", "mnist:0", "--target", "10", "--out", str(out)]) == 2
    assert capsys.readouterr().err == "deconvviz: layer 'output' has channels 0 to 9, not 10\n"


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    def worked(*_):
        raise AssertionError("it was compared")

    monkeypatch.setattr(comparison, "compare", worked)
    assert cli.main(["compare", "mnist", "mnist:0", "--out", str(tmp_path / "seven.psychedelic")]) == 2
    assert "cannot be written as 'seven.psychedelic'; its ending must be one of" in capsys.readouterr().err
