"""The studies say only what all seeds show; penalties, losses, optimisers and early stopping on few digits."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(importlib.import_module("studies"), "HELD_BACK", 100)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield importlib.import_module
    torch.set_num_threads(threads)


def test_what_all_seeds_show(example):
    found = doctest.testmod(example("runs"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted == 4
    assert found.failed == 0


def test_one_seed_that_disagrees_is_enough_to_claim_nothing(example):
    made = {"none": [1.0, 1.0, 1.0], "a": [0.5, 0.5, 1.5], "b": [0.9, 0.9, 0.9], "c": [1.0, 2.0, 2.0]}
    runs = {name: [SimpleNamespace(loss=value) for value in values] for name, values in made.items()}
    assert example("runs").beside(runs, "loss", lambda run: run.loss) == (
        "loss beside none: lower with all 3 seeds: b; not the same with all 3 seeds: a and c"
    )


def test_seeds_have_digits_weights_and_rows_of_their_own(example, tmp_path, monkeypatch, capsys):
    study = example("regularisation")
    monkeypatch.setitem(study.STUDIES, "regularisation", {"none": {}, "L2 penalty": {"l2": 5e-3}})
    study.main(["--images", "60", "--epochs", "1", "--seeds", "2", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert re.search(r"^none +1 +([\d.]+) \(([\d.]+) to ([\d.]+)\) ", printed, re.MULTILINE)
    assert re.search(r"^held-out loss beside none: .*with both seeds: L2 penalty$", printed, re.MULTILINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves.png", "features-seed-2.png", "features.png"]
    assert (tmp_path / "features.png").read_bytes() != (tmp_path / "features-seed-2.png").read_bytes()


def test_all_runs_of_a_seed_start_alike_and_seeds_differ(example, tmp_path):
    runs = example("runs")
    studies = example("studies")
    parser = studies.study_parser("", "out", 30)
    runs.add_seeds(parser)
    given = parser.parse_args(["--seeds", "2"])
    made = runs.train_all(parser, given, {name: {"epochs": 1, "learning_rate": 1e-9} for name in "ab"}, tmp_path)
    weights = {name: [run.model.conv1.weight for run in some] for name, some in made.items()}
    assert torch.equal(weights["a"][0], weights["b"][0])
    assert not torch.allclose(weights["a"][0], weights["a"][1], atol=1e-3)
    assert made["a"][0].like_start == pytest.approx(1, abs=1e-4)
    assert [run.checkpoints for run in made["a"]] == [tmp_path / "0" / "a", tmp_path / "1" / "a"]


def test_a_growing_lambda(example, tmp_path, monkeypatch, capsys):
    study = example("penalty_strength")
    monkeypatch.setattr(study, "LAMBDAS", {"l1": (1.0,), "l2": (1e-3,)})
    monkeypatch.setitem(example("runs").SETTINGS, "batch_size", 5)
    study.main(["--images", "75", "--epochs", "4", "--seeds", "1", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    zero = {name: int(share) for name, share in re.findall(r"^(none|l\d [\d.]+) .*% +(\d+)% +\d+ \+", printed, re.M)}
    assert set(zero) == {"none", "l1 1", "l2 0.001"}
    assert zero["l1 1"] > zero["none"] + 20  # what the penalty is for
    assert len(re.findall(r"^the held-out loss is lowest with", printed, re.M)) == 2
    assert (tmp_path / "curves.png").exists()
    assert (tmp_path / "filters.png").exists()


def test_the_best_lambda_is_named_seed_by_seed(example):
    study = example("penalty_strength")
    losses = {"none": (1.0, 0.2), "l1 0.1": (0.5, 0.3)}
    runs = {name: [SimpleNamespace(held_out_loss=value) for value in each] for name, each in losses.items()}
    assert study.lowest(runs) == "the held-out loss is lowest with l1 0.1, none, by seed"
    assert study.lowest({"none": runs["none"]}) == "the held-out loss is lowest with none with every seed"


def test_equally_many_steps(example, monkeypatch):
    """Of 40 training digits: one step in an epoch of gradient descent, 4 of mini-batches, 40 of single images."""
    study = example("training_time")
    monkeypatch.setitem(study.SETTINGS, "batch_size", 10)
    digits = example("studies").Digits(torch.zeros(60, 1, 28, 28), torch.zeros(60).long(), None, None)
    for optimiser, epochs, images in (("gradient-descent", 8, 60), ("adam", 2, 60), ("stochastic", 1, 9)):
        changes, used = study.for_steps({"optimiser": optimiser}, digits, 8)
        assert (changes["epochs"], len(used.images)) == (epochs, images), optimiser
        held = max(1, round(images * changes.get("validation", study.SETTINGS["validation"])))
        assert changes["epochs"] * study.steps_per_epoch(changes, images - held) == 8, optimiser


def test_the_first_epoch_that_is_right(example):
    curves = SimpleNamespace(validation_accuracy=(0.5, 0.89, 0.9, 0.95))
    study = example("training_time")
    assert study.first_epoch(SimpleNamespace(result=SimpleNamespace(curves=curves))) == 3
    curves.validation_accuracy = (0.5, 0.8)
    assert study.first_epoch(SimpleNamespace(result=SimpleNamespace(curves=curves))) is None


@pytest.mark.parametrize(
    ("by", "rows"),
    [
        ("loss", ["cross-entropy, Adam", "squared error, Adam"]),
        ("optimiser", ["gradient descent", "stochastic", "mini-batch", "momentum", "RMSProp", "Adam"]),
        ("stopping", ["all epochs", "early stopping", "as many, on all digits"]),
    ],
)
def test_training_time(example, by, rows, tmp_path, capsys):
    example("training_time").main(
        ["--by", by, "--images", "60", "--epochs", "2", "--steps", "2", "--seeds", "1", "--out", str(tmp_path)]
    )
    printed = capsys.readouterr().out
    for row in rows:
        assert re.search(rf"^{row} .*\d\.\d", printed, re.M), row
    assert "with the one seed" in printed
    assert (tmp_path / f"{by}.png").exists()
