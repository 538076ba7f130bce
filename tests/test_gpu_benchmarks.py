"""`python -m benchmarks.gpu`: the goals, what autograd allows, and a smoke test of every part."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import deconvviz as dv
from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import limits, predicting, settings


def test_a_goal_is_reached_up_to_its_limit():
    assert settings.at_most("time", 8, 8.0)["reached"]
    assert not settings.at_most("time", 8, 8.1)["reached"]
    assert settings.at_least("ratio", 3, 3.0)["reached"]
    assert settings.at_least("ratio", 3, 2.9) == {
        "what": "ratio",
        "goal": "at least 3",
        "measured": 2.9,
        "reached": False,
    }


def test_what_fails_costs_no_other_figure(capsys):
    def measured(run, name, number):
        return settings.at_most(name, 1, 1 / number)

    run = settings.Run("cpu", False, 1)
    rows = run.each(measured, [("one", 1), ("none", 0), ("two", 2)])
    assert [(row["what"], row["measured"]) for row in rows] == [("one", 1.0), ("two", 0.5)]
    assert run.failures == ["none, 0: ZeroDivisionError: division by zero"]
    assert "FAILED: none, 0: ZeroDivisionError" in capsys.readouterr().out


def test_the_summary_says_which_part_failed(capsys):
    run = settings.Run("cpu", False, 1, failures=["of the part before"])
    fine = gpu._measured(lambda run: [settings.at_most("time", 1, 0.5)], run)
    broken = gpu._measured(lambda run: run.each(lambda run, name: {}[name], [("lost",)]), run)
    assert "error" not in fine
    assert (broken["goals"], broken["error"]) == ([], "lost: KeyError: 'lost'")
    capsys.readouterr()
    gpu._summary({"smoke": False, "parts": {"fine": fine, "broken": broken}})
    printed = capsys.readouterr().out
    assert "| time | at most 1 | 0.5 | ok |" in printed
    assert "| broken: something failed, see above |  |  | **NOT** |" in printed


def test_a_number_that_is_none_reaches_no_goal():
    assert not settings.at_most("difference", 1e-10, float("nan"))["reached"]


def test_work_takes_the_time_of_its_bytes_and_of_its_multiplications():
    autograd = predicting.Work(moved=predicting.BANDWIDTH / 1e3, products=4.0)  # 1 ms for its bytes
    half = predicting.Work(moved=predicting.BANDWIDTH / 2e3, products=1.0)
    assert autograd.milliseconds(autograd, 3.0) == pytest.approx(3.0)
    assert half.milliseconds(autograd, 3.0) == pytest.approx(0.5 + 2.0 / 4)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3)
    )


def test_the_limit_is_the_same_picture():
    """What we are timed against computes what we compute: otherwise the ratio would say nothing."""
    model, x = network(), torch.randn(3, 3, 20, 20)
    places = [(1, (2, 3)), (0, (0, 0)), (5, (4, 1))]
    found = torch.cat(limits.WholeMaps(model, "3")(x, places))
    units = [(sample, channel, position) for sample, (channel, position) in enumerate(places)]
    torch.testing.assert_close(found, dv.DeconvNet(model).project_units(x, "3", units).pixels)


def test_the_limit_on_crops_is_the_same_picture():
    model, x = network(), torch.randn(2, 3, 16, 16)
    found = limits.Crops(model, "5")(x)  # a map of 3 x 3 at layer "5"
    units = [(sample, 5, (1, 1)) for sample in range(2)]
    torch.testing.assert_close(found, dv.DeconvNet(model).project_units(x, "5", units, window="full").pixels)


@pytest.mark.slow
def test_every_part_runs(tmp_path):
    out = tmp_path / "gpu.json"
    subprocess.run([sys.executable, "-m", "benchmarks.gpu", "--smoke", "--out", str(out)], check=True)
    results = json.loads(out.read_text())
    assert set(results["parts"]) == {*gpu.PARTS, "atlas"}
    assert not [name for name, part in results["parts"].items() if "error" in part]
    assert "| what | goal | measured |" in out.with_suffix(".md").read_text()
