"""What judgements look like: saved, drawn, printed, and asked for on the command line."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz import cli
from deconvviz.cli.shared import batch
from deconvviz.data import mnist_test
from deconvviz.evidence import clarity, deletion, digit_benchmark, localisation, randomisation, selectivity
from deconvviz.images import Preprocess
from deconvviz.models.mnist import mnist_cnn
from deconvviz.results import Deletion


@pytest.fixture(scope="module")
def judgements():
    net, x = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:3]
    bench = digit_benchmark(count=3)
    return [
        deletion(net, x, "fc2", steps=3, methods=["deconvnet"]),
        randomisation(net, x, "fc2", methods=["deconvnet"]),
        selectivity(net, x, "conv2", count=2, methods=["deconvnet"]),
        localisation(bench.net, bench.images, bench.boxes, methods=["deconvnet"]),
        clarity(net, x),
    ]


def test_judgements_are_saved_drawn_and_printed(judgements, tmp_path):
    for found in judgements:
        loaded = type(found).load(found.save(tmp_path / "one.safetensors"))
        assert loaded.verdict == found.verdict
        assert str(loaded) == str(found)
        assert found.verdict in str(found)
        figure = found.figure()
        assert figure.axes
        figure.savefig(tmp_path / "one.png")
        assert found.verdict in figure._supxlabel.get_text()
        assert "<table>" in found._repr_html_()


def test_the_command_prints_draws_and_saves(tmp_path, capsys):
    names = [f"mnist:{n}" for n in range(3)]
    call = ["evidence", "mnist", *names, "--layer", "fc2", "--measures", "deletion", "clarity", "--out", str(tmp_path)]
    assert cli.main([*call, "--methods", "all"]) == 0
    printed = capsys.readouterr().out
    saved = Deletion.load(tmp_path / "deletion.safetensors")
    expected = deletion(dv.DeconvNet(mnist_cnn()), mnist_test()[0][:3], "fc2")
    assert saved.insertion_scores == expected.insertion_scores
    assert str(saved) in printed
    for name in ("deletion", "clarity"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["zfnet", "mnist:0", "--measures", "localisation"],
            "for others call deconvviz.evidence.localisation with boxes",
        ),
        (["mnist", "missing.png"], "there is no image file 'missing.png'"),
        (["mnist", "mnist:0", "--layer", "fc3"], "there is no layer 'fc3'"),
        (["mnist", "mnist:0", "--channel", "10"], "channels 0 to 9, not 10"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evidence", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_images_of_a_folder_are_judged_in_the_order_of_their_names(tmp_path):
    for n, name in enumerate(("b.png", "a.png")):
        Image.fromarray((mnist_test()[0][n, 0] * 255).round().byte().numpy()).save(tmp_path / name)
    net = dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,)))
    found = batch([str(tmp_path), "mnist:5"], net)
    assert torch.allclose(found, mnist_test()[0][[1, 0, 5]], atol=1 / 255)
