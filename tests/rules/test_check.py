"""The oracle for people who write rules, rules from other packages, and the worked example."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import rules
from deconvviz.errors import RuleError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "custom_operation.py"
X = torch.linspace(-1, 1, 24, dtype=torch.float64).view(2, 3, 4)


def test_rules_that_are_right_pass():
    assert rules.check(torch.atan, X).error < 1e-15
    assert rules.check(lambda x: torch.cat([x, 3 * x], 1), X, against="adjoint").error < 1e-15
    found = rules.check(nn.ReLU(), X, style="deconvnet", against=lambda x, signal: signal.clamp(min=0))
    assert found == (0.0, 0.0, True)
    assert not rules.check(lambda x: x.transpose(0, 1) * 2, X).samples_apart


@pytest.mark.parametrize("against", ["autograd", "adjoint"])
def test_a_wrong_rule_is_found(registry, against):
    @rules.mirror(torch.ops.aten.erf)
    def wrong(op, signal):
        return -signal

    with pytest.raises(
        RuleError, match=rf"the mirror of aten.erf differs from {against} by \d\.\de[+-]\d+, above 1e-10"
    ):
        rules.check(torch.erf, X, against=against)


def test_a_rule_that_wrongly_says_it_is_batchwise_is_found(registry):
    @rules.mirror(torch.ops.aten.erf, keeps=rules.all_inputs, batchwise=True)
    def of_whatever_sample_comes_next(op, signal):
        numbers = op.tape.data[op["self"].id].repeat(2, 1, 1)[: len(signal)]
        return signal * (2 / torch.pi**0.5) * torch.exp(-(numbers**2))

    with pytest.raises(RuleError, match=r"as one batch differ from units alone by .* must be registered so"):
        rules.check(torch.erf, X)


def test_a_signal_of_the_wrong_shape_is_found(registry):
    rules.mirror(torch.ops.aten.erf)(lambda op, signal: signal[:, :1])
    with pytest.raises(RuleError, match=r"a signal of shape \(2, 1, 4\) arrived at x, not of \(2, 3, 4\)"):
        rules.check(torch.erf, X)


def test_what_cannot_be_checked():
    with pytest.raises(
        RuleError, match=r"needs two samples or more along axis 0 of inputs, not a tensor of shape \(1, 3\)"
    ):
        rules.check(torch.erf, torch.zeros(1, 3))
    with pytest.raises(RuleError, match="no tensor that depends on its input"):
        rules.check(lambda x: torch.zeros(3), X)


def test_the_example_of_custom_operations(registry, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["custom_operation.py", "--out", str(tmp_path / "own.png")])
    scope = runpy.run_path(str(EXAMPLE))
    scope["main"]()
    assert "linearised: <run_path>.Rounded in output" in capsys.readouterr().out
    with Image.open(tmp_path / "own.png") as picture:
        assert picture.width > 600
    network, x = scope["Altered"]().double(), torch.rand(2, 1, 28, 28, dtype=torch.float64)
    found = dv.DeconvNet(network).project(x, "plain.conv2", channel=3, seed="one")
    plain, kernel = network.plain, torch.full((1, 1, 3, 3), 1 / 9, dtype=torch.float64)
    one, two = plain.conv1, plain.conv2
    with torch.no_grad():  # by hand: filters, straight through the rounding, switches, relu, filters, the box
        maps = one(nn.functional.conv2d(x, kernel, padding=1))
        pooled, switches = nn.functional.max_pool2d(maps * (maps > 0.1), 2, return_indices=True)
        for unit, pixels in zip(found.units, found.pixels, strict=True):
            seed = torch.zeros_like(two(pooled[:1]))
            seed[(0, 3, *unit.position)] = 1
            signal = nn.functional.conv_transpose2d(seed, two.weight, padding=two.padding)
            signal = nn.functional.max_unpool2d(signal, switches[unit.sample][None], 2).clamp(min=0)
            signal = nn.functional.conv_transpose2d(signal, one.weight, padding=one.padding)
            assert torch.allclose(pixels, nn.functional.conv2d(signal, kernel, padding=1)[0], rtol=1e-10, atol=1e-15)
    assert dv.DeconvNet(network, "gradient").project(x, "plain.conv2", channel=0).provenance.linearised == (
        "<run_path>.Rounded in output",
        "<run_path>.Thresholded in output",
    )


def with_entry_point(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """A new process in which a package with such an entry point is installed, and what comes of a rule of it."""
    (folder / "theirs-1.dist-info").mkdir(exist_ok=True)
    (folder / "theirs-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "theirs-1.dist-info" / "entry_points.txt").write_text(f"[deconvviz.rules]\ntheirs = {module}\n")
    code = (
        "import torch, deconvviz as dv\n"
        "theirs = lambda x, signal: 42 * signal\n"
        "print(dv.rules.check(torch.special.erfc, torch.rand(2, 3), against=theirs).error)"
    )
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_rules_of_other_packages_are_loaded_by_entry_point(tmp_path):
    (tmp_path / "their_rules.py").write_text(
        "import torch\nfrom deconvviz.operations.registry import mirror\n"
        "mirror(torch.ops.aten.erfc)(lambda op, signal: 42 * signal)\n"
    )
    assert with_entry_point(tmp_path, "their_rules").stdout == "0.0\n"
    said = with_entry_point(tmp_path, "no_such_module").stderr
    sentence = r"RuleError: the rules of 'no_such_module' .entry point 'theirs'. do not load: No module named"
    assert re.search(sentence, said), said
