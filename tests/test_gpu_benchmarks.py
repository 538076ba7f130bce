"""`python -m benchmarks.gpu`: the goals, what autograd allows, and a smoke test of every part."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

import deconvviz as dv
from benchmarks.gpu import limits, settings


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
    assert set(results["parts"]) >= {"exactness", "windows", "whole_maps", "one_image", "all_units", "scans", "atlas"}
    assert not [name for name, part in results["parts"].items() if "error" in part]
    assert "| what | goal | measured |" in out.with_suffix(".md").read_text()
