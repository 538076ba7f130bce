"""The examples that train: what they compute, and small runs of each from its command line."""

from __future__ import annotations

import doctest
import importlib
import itertools
import re
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import MnistCNN
from deconvviz.results import ChannelStatistics

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = ("architecture_study", "regularisation", "penalty_strength", "training_time", "crnn")
CHANCE = 0.9  # the error of guessing one of ten digits


@pytest.fixture
def example(monkeypatch):
    """An example as a module, as its script imports what lies beside it; on one thread, which small networks like."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(importlib.import_module("studies"), "HELD_BACK", 300)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module
    torch.set_num_threads(threads)


def picture(path):
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)


def coloured(pixels):
    """The part of a figure that is red or blue, as signed maps are."""
    return float((np.abs(pixels[..., 0] - pixels[..., 2]) > 60).mean())


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_an_example_shows(example, name, capsys):
    with pytest.raises(SystemExit) as ended:
        example(name).main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert f"python examples/{name}.py" in told
    assert "--out DIR" in told


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--images", "9800"], "there are 9,700 images to train on, not 9,800; --root gives MNIST's 60,000"),
        (["--images", "0"], "a whole number from 1 is wanted, not '0'"),
        (["--root", "nowhere"], "there is no folder 'nowhere' to read MNIST from"),
    ],
)
def test_arguments_that_cannot_be_are_refused_with_a_sentence(example, name, arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        example(name).main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_training_and_test_digits_share_no_image(example):
    studies = example("studies")
    given = studies.study_parser("", "out", 9700).parse_args(["--seed", "3"])
    digits = studies.load_digits(None, given)
    assert len(digits.images) == 9700
    seen = {image.numpy().tobytes() for image in digits.images}
    assert not any(image.numpy().tobytes() in seen for image in digits.test_images)
    assert digits.labels.bincount().add(digits.test_labels.bincount()).tolist()[:3] == [980, 1135, 1032]


def test_training_files_are_read_from_a_folder(example, tmp_path):
    bundled = resources.files("deconvviz.data")
    for kind, dimensions in (("images", 3), ("labels", 1)):
        with resources.as_file(bundled / f"t10k-{kind}-idx{dimensions}-ubyte.gz") as path:
            shutil.copy(path, tmp_path / f"train-{kind}-idx{dimensions}-ubyte.gz")
    studies = example("studies")
    digits = studies.load_digits(None, studies.study_parser("", "out", 700).parse_args(["--root", str(tmp_path)]))
    assert (len(digits.images), len(digits.test_images)) == (700, 10000)


def test_the_architecture_study_learns_and_compares(example, tmp_path, monkeypatch, capsys):
    study = example("architecture_study")
    chosen = ("without conv2", "without convolutions")
    monkeypatch.setattr(study, "NETWORKS", {name: study.NETWORKS[name] for name in chosen})
    study.main(["--images", "600", "--epochs", "3", "--seeds", "1", "--out", str(tmp_path / "made")])
    printed = capsys.readouterr().out
    rows = re.findall(r"^(without \w+) +([\d,]+) +([\d.]+)% +([\d.]+)% +(.*)$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == list(chosen)
    assert [row[1] for row in rows] == ["604,730", "101,770"]
    for _, _, train_error, test_error, _ in rows:
        assert float(train_error) / 100 < 0.3 < CHANCE
        assert float(test_error) / 100 < 0.3 < CHANCE
    assert [re.findall(r"(\w+) \d+ of (\d+)", row[-1]) for row in rows] == [[("conv1", "24")], [("fc1", "128")]]
    assert coloured(picture(tmp_path / "made" / "features.png")) > 0.01


def test_a_network_of_the_study_is_the_reference_network(example):
    net = example("architecture_study").network((24, 48), (128,), seed=0)
    reference = MnistCNN(dropout=0.0)
    with torch.no_grad():
        for ours, theirs in zip(net.parameters(), reference.parameters(), strict=True):
            assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.1)
            ours.copy_(theirs)
    images = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(net(images), reference(images))


@pytest.mark.parametrize(
    ("by", "chosen"), [("regularisation", ("none", "L1 penalty", "batch norm")), ("optimiser", ("stochastic", "Adam"))]
)
def test_the_study_of_regularisation(example, by, chosen, tmp_path, monkeypatch, capsys):
    study = example("regularisation")
    runs = {name: study.STUDIES[by][name] for name in chosen}
    monkeypatch.setitem(study.STUDIES, by, runs)
    if "L1 penalty" in runs:
        monkeypatch.setitem(runs, "L1 penalty", {"l1": 3e-3})
    study.main(["--by", by, "--images", "450", "--epochs", "4", "--seeds", "1", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    row = r" +(\d+) .* ([\d.]+)% +(\d+)% +(-?[\d.]+) +(\d+) \+ (\d+) \+ (\d+)$"
    rows = {name: re.search(rf"^{name}{row}", printed, re.MULTILINE) for name in chosen}
    accuracy = {name: float(row[2]) / 100 for name, row in rows.items()}
    assert accuracy[chosen[0]] > 0.5 > 1 - CHANCE
    for name, row in rows.items():
        assert all(int(row[part]) <= size for part, size in ((5, 12), (6, 24), (7, 64))), name
    if "L1 penalty" in rows:
        assert int(rows["L1 penalty"][3]) > 3 * int(rows["none"][3])  # what the penalty is for
    assert coloured(picture(tmp_path / "features.png")) > 0.01
    assert len(np.unique(picture(tmp_path / "curves.png").reshape(-1, 3), axis=0)) > 20


def test_the_channel_that_is_shown_fires_well_in_every_run(example):
    study = example("regularisation")

    def run(*maxima):
        names = ("fires", "mean", "maximum", "histogram", "edges")
        statistics = ChannelStatistics(**dict.fromkeys(names, torch.tensor(maxima)))
        return study.Run(None, None, None, None, type("Top", (), {"statistics": {"relu2": statistics}}), 0.0)

    assert study.shared_channel([run(10.0, 5.0, 1.0), run(0.1, 0.3, 1.0)]) == 1


# The reader of strings


@pytest.fixture
def reader(example):
    return example("crnn")


def test_readings_and_mistakes(reader):
    found = doctest.testmod(reader, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted == 3
    assert found.failed == 0


def test_strings_are_digits_at_the_columns_that_are_noted(reader):
    images, labels = mnist_test()
    glyphs = reader.cut_out(images[:50])
    assert all(glyph[:, 0].max() > 0.1 and glyph[:, -1].max() > 0.1 for glyph in glyphs)
    strings = reader.write_strings(glyphs, labels[:50], 40, torch.Generator().manual_seed(0))
    known = {(int(label), *glyph.flatten().tolist()) for glyph, label in zip(glyphs, labels[:50], strict=True)}
    lengths, gaps = set(), set()
    for image, text, columns in zip(strings.images, strings.texts, strings.columns, strict=True):
        left = image[0].clone()
        for digit, (first, end) in zip(text, columns, strict=True):
            assert (digit, *image[0, :, first:end].flatten().tolist()) in known
            left[:, first:end] = 0
        assert not left.any()
        lengths.add(len(text))
        gaps |= {after[0] - before[1] for before, after in itertools.pairwise(columns)}
    assert lengths == {3, 4, 5}
    assert gaps == set(range(9))


def test_characters_are_projected_through_the_lstm(reader):
    """Under the style gradient, the projection is the gradient of the character's score."""
    torch.manual_seed(0)
    model = reader.Reader().eval()
    image = torch.rand(1, reader.HEIGHT, reader.WIDTH, requires_grad=True)
    found = reader.characters(dv.DeconvNet(model, "gradient"), image.detach(), [(7, 12), (3, 30)])
    for shown, (digit, step) in zip(found, [(7, 12), (3, 30)], strict=True):
        score = model(image[None])[0, step, digit]
        (gradient,) = torch.autograd.grad(score, image)
        torch.testing.assert_close(shown, gradient[0], rtol=1e-4, atol=1e-7)


def test_trust_is_measured_in_the_columns_of_each_digit(reader, monkeypatch):
    """One string of two digits, with pictures made by hand: all, half and nothing in the right place."""
    here, there = torch.zeros(2, 28, 144), torch.zeros(2, 28, 144)
    here[0, 0, 5], here[1, 0, 55] = 2, -1
    there[:, 0, 5] = 1
    made = {"right": (here, here.flip(0)), "first column only": (there, there), "no rival": (here + there, None)}
    monkeypatch.setattr(reader, "pictures", lambda *_: made)
    strings = reader.Strings(torch.zeros(2, 1, 28, 144), [[1, 2], [3]], [[(0, 10), (50, 60)], [(0, 10)]])
    rows = reader.trust(None, strings, [[(1, 1), (2, 13)], [(4, 0)]], 5).splitlines()
    cells = [re.split(r"  +", row) for row in rows[1:]]
    assert cells[0] == ["right", "100%", "100%", "0.00"]
    assert cells[1] == ["first column only", "50%", "50%", "1.00"]
    assert cells[2] == ["no rival", "75%", "50%"]
    assert cells[3] == ["2 characters of 1 strings that were read without a mistake"]


def test_the_reader_learns_to_read(reader, tmp_path, monkeypatch, capsys):
    """Strings of a single digit here, which are learnt in seconds."""
    for name, value in {"SHORTEST": 1, "LONGEST": 1, "WIDTH": 40, "BATCH": 12, "JUDGED": 5}.items():
        monkeypatch.setattr(reader, name, value)
    reader.main(["--steps", "250", "--images", "2000", "--tests", "100", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    error = float(re.search(r"character error rate ([\d.]+)% on 100 strings with 100 digits", printed)[1]) / 100
    assert error < 0.6 < CHANCE
    assert re.findall(r"^character, (\w+) +\d+% +\d+% +-?0\.\d\d$", printed, re.MULTILINE) == list(reader.STYLES)
    assert re.search(r"linearised: aten\.\w+ in lstm", printed)
    assert coloured(picture(tmp_path / "crnn.png")) > 0.005


def test_a_reader_that_has_learnt_nothing_is_no_error(reader, tmp_path, monkeypatch, capsys):
    """With one step it finds blanks everywhere or digits anywhere."""
    monkeypatch.setattr(reader, "read", lambda logits: [])
    reader.main(["--steps", "1", "--images", "50", "--tests", "3", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "character error rate 100.00% on 3 strings" in printed
    assert "no string was read without a mistake" in printed
    assert (tmp_path / "crnn.png").exists()


@pytest.mark.slow
def test_the_reader_reads_with_its_own_settings(reader, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.import_module("studies"), "HELD_BACK", 3000)
    reader.main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert float(re.search(r"character error rate ([\d.]+)%", printed)[1]) < 6
    shares = dict(re.findall(r"^(the string itself|character, deconvnet) +(\d+)%", printed, re.MULTILINE))
    assert int(shares["character, deconvnet"]) > 2 * int(shares["the string itself"])
