"""`compare` and `evidence` are quick unless asked for more, and say what they left out."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz import evidence
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
from tests.helpers.command_line import run

EIGHT = [0, 1, 3, 4, 6, 7, 9, 10]  # of twelve


@pytest.fixture
def digits(tmp_path, monkeypatch):
    """A folder of twelve digits, and these, (12, 1, 28, 28)."""
    monkeypatch.chdir(tmp_path)
    images = mnist_test()[0][:12]
    (tmp_path / "digits").mkdir()
    for number, image in enumerate(images[:, 0]):
        Image.fromarray((image * 255).round().byte().numpy()).save(f"digits/{number:02d}.png")
    return images


@pytest.fixture
def asked(monkeypatch):
    """What measures are asked, by name: the images, and the methods if the measure takes any. Each answers quickly."""
    given = {}
    answer = dv.evidence.leak(dv.DeconvNet(mnist_cnn()), mnist_test()[0][:1], "conv1", seeds=0, progress=False)

    def measure(name):
        def quick(net, x, *layer, methods=None, **options):
            given[name] = x, methods
            return answer

        return quick

    for name in ("selectivity", "deletion", "clarity", "randomisation", "localisation"):
        monkeypatch.setattr(evidence, name, measure(name))
    return given


def judged(capsys, *options):
    run("evidence", "mnist", *options, "--json")
    return json.loads(capsys.readouterr().out)


def test_evidence_takes_quick_measures_of_some_images_and_one_style(digits, asked, capsys):
    found = judged(capsys, "digits", "--style", "guided", "--layer", "conv1")
    assert list(asked) == ["selectivity", "deletion", "localisation"], "and the leak, in this order"
    assert found["left out"] == [
        "4 of 12 images (--limit 12)",
        "deconvnet and gradient pictures (--methods all)",
        "clarity and randomisation (--measures all)",
    ]
    for name in ("selectivity", "deletion"):
        x, methods = asked[name]
        assert torch.allclose(x, digits[EIGHT], atol=1e-6)
        assert methods == ["guided"]


def test_evidence_uses_all_that_it_is_asked_for(digits, asked, capsys):
    options = ["--limit", 12, "--methods", "all", "--measures", "all", "--layer", "conv1"]
    assert "left out" not in judged(capsys, "digits", *options)
    assert list(asked) == ["selectivity", "deletion", "localisation", "clarity", "randomisation"]
    x, methods = asked["randomisation"]
    assert torch.allclose(x, digits, atol=1e-6)
    assert methods == ["deconvnet", "guided", "gradient"]


def test_images_that_are_named_are_all_used(digits, asked, capsys):
    files = [f"digits/{number:02d}.png" for number in range(10)]
    found = judged(capsys, *files, "--measures", "deletion", "--methods", "gradient")
    assert "left out" not in found
    x, methods = asked["deletion"]
    assert torch.allclose(x, digits[:10], atol=1e-6)
    assert methods == ["gradient"]


def test_copies_of_an_image_are_no_further_images(digits, asked, capsys):
    files = [f"digits/{number:02d}.png" for number in (3, 1, 3, 2, 1, 3)]
    run("evidence", "mnist", *files, "--measures", "deletion")
    assert torch.allclose(asked["deletion"][0], digits[[3, 1, 2]], atol=1e-6)
    assert "note: 3 images are copies of others and are left out\n" in capsys.readouterr().err
    run("evidence", "mnist", *files[:3], "--measures", "deletion", "--out", "evidence")
    assert "note: 1 image is a copy of another one and is left out\n" in capsys.readouterr().err


def test_compare_says_what_it_left_out(digits, capsys):
    run("compare", "mnist", "digits/00.png", "--layer", "conv1", "--methods", "deconvnet", "brightness")
    printed = capsys.readouterr().out
    assert "Left out, to be quick: infidelity; sensitivity; " in printed
    row = next(line for line in printed.splitlines() if line.startswith("method"))
    assert row.split()[:5] == ["method", "by", "seconds", "deletion", "insertion"]
