"""`detach` on the way: plain autograd is the judge, of a network in which some detaches are taken away and others not.

A detach is passed where no other way leads from what it detaches, or from what that was computed from, to the layer.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.cli import main
from deconvviz.recording.detached import stopping
from deconvviz.recording.recorder import record
from tests.helpers.detaching_networks import (
    IMAGE,
    KINDS,
    RULES,
    SHARED,
    SHARING,
    Network,
    changed_view_and_itself,
    expected,
    filled_in_a_block,
    frozen,
    in_blocks,
    of_a_closure,
    without_blocks,
    written_in_a_block,
    written_in_blocks,
)
from tests.helpers.forced_windows import cpu_costs


def cases() -> list[Any]:
    found = [pytest.param(kind, *RULES[name], id=f"{name}, {kind}") for name in RULES for kind in KINDS]
    return found + [pytest.param(kind, *SHARED[name], id=f"{name}, {kind}") for name in SHARED for kind in SHARING]


@pytest.mark.parametrize(("kind", "function", "rule"), cases())
def test_a_detach_is_passed_where_nothing_else_leads_to_the_layer(kind, function, rule):
    model = Network(function, *[KINDS[kind]] * len(rule.split()))
    pixels = expected(function, rule, IMAGE, (0, 1, 2, 3))
    found = dv.DeconvNet(model, "gradient").project(IMAGE, "output", channel=1, position=(2, 3), seed="one")
    assert pixels.norm() > 0
    assert (found.pixels - pixels).norm() <= 1e-10 * pixels.norm()
    passed = "passed" in rule
    assert bool(found.provenance.detached) == passed
    assert all(text.startswith("aten.detach in ") for text in found.provenance.detached)
    leaf = IMAGE.clone().requires_grad_()
    made = model(leaf)
    if made.requires_grad and torch.autograd.grad(made.sum(), leaf, allow_unused=True)[0] is not None:
        assert not passed  # so that wherever autograd has a picture it is that picture


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("name", ["straight-through", "frozen", "straight-through in a frozen network", "two frozen"])
def test_batches_crops_and_reconstructions_agree(name, style, monkeypatch):
    function, rule = RULES[name]
    cpu_costs(monkeypatch, writing=0.0)
    x = torch.randn(2, 1, 19, 17).double()
    model = Network(function, *[Tensor.detach] * len(rule.split()))
    model.last = nn.Conv2d(2, 2, 3).double()
    plain = Network(function, *({"passed": lambda t: t, "stops": Tensor.detach}[word] for word in rule.split()))
    plain.last = model.last
    net = dv.DeconvNet(model, style)
    options = {"channel": [0, 1], "position": (5, 4)}
    on_crops, on_maps = (net.project(x, "last", window=window, **options) for window in ("auto", "full"))
    assert torch.allclose(on_crops.pixels, on_maps.pixels, rtol=1e-10, atol=1e-14)
    assert set(on_crops.provenance.detached) == set(on_maps.provenance.detached)
    for n in (0, 1):
        alone = net.project(x[n : n + 1], "last", **options)
        assert torch.allclose(on_maps.pixels[2 * n : 2 * n + 2], alone.pixels, rtol=1e-10, atol=1e-14)
    if "stops" not in rule:
        same = dv.DeconvNet(plain, style).reconstruct(x, "last").pixels
        assert torch.allclose(net.reconstruct(x, "last").pixels, same, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "same"),
    [
        (in_blocks, without_blocks),
        (written_in_a_block, written_in_a_block),
        (written_in_blocks, written_in_blocks),
        (filled_in_a_block, filled_in_a_block),
        (changed_view_and_itself, changed_view_and_itself),
        (of_a_closure, of_a_closure),
    ],
)
def test_blocks_and_functions(function, same):
    pixels = expected(same, "", IMAGE, (0, 1, 2, 3))
    found = dv.DeconvNet(Network(function), "gradient").project(IMAGE, "output", channel=1, position=(2, 3), seed="one")
    assert (found.pixels - pixels).norm() <= 1e-10 * pixels.norm()


def test_parameters_that_are_frozen_change_nothing():
    model = Network(frozen, lambda t: t)
    before = dv.DeconvNet(model).project(IMAGE, "output", channel=1)
    after = dv.DeconvNet(model.requires_grad_(False)).project(IMAGE, "output", channel=1)
    assert torch.equal(before.pixels, after.pixels)
    assert after.provenance.detached == ()


def test_a_hard_gumbel_softmax_has_its_picture():
    torch.manual_seed(1)
    model = Network(lambda net, x: F.gumbel_softmax(net.a(x) * 3, tau=2.0, hard=True, dim=1))
    found = dv.DeconvNet(model, "gradient").project(IMAGE, "output", channel=1, seed="one")
    assert found.pixels.norm() > 0
    assert found.provenance.detached == ()


def test_what_is_passed_is_listed(tmp_path, capsys):
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Conv2d(2, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                features = self.backbone(x)
            return self.head(features)

    found = dv.DeconvNet(Frozen()).project(torch.randn(1, 1, 9, 9), "head", channel=1)
    assert found.provenance.detached == ("aten.detach in backbone.1",)
    path = found.save(tmp_path / "found.safetensors")
    assert dv.results.Projection.load(path).provenance.detached == found.provenance.detached
    module = tmp_path / "frozen_for_command.py"
    module.write_text(
        "import torch\nfrom torch import nn\n\n\nclass Frozen(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.backbone, self.head = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3)\n\n"
        "    def forward(self, x):\n        return self.head(self.backbone(x).detach())\n"
    )
    out = tmp_path / "out.png"
    assert main(["project", f"{module}:Frozen", "mnist:0", "--layer", "head", "--channel", "1", "--out", str(out)]) == 0
    assert "detaches ignored: aten.detach in detach" in capsys.readouterr().out


def test_torch_is_as_it_was():
    def methods() -> list[Any]:
        kinds = (torch.no_grad, torch.enable_grad, torch.inference_mode, torch.set_grad_enabled)
        return [vars(kind).get(name) for kind in kinds for name in ("__enter__", "__exit__", "__init__")]

    before = methods()
    dv.DeconvNet(Network(in_blocks)).project(IMAGE, "output", channel=1)
    assert methods() == before
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        dv.DeconvNet(Network(lambda net, x: 1 / 0)).project(IMAGE, "output", channel=1)
    assert methods() == before
    assert torch.is_grad_enabled()


def test_many_detaches_are_decided_in_linear_time():
    """A chain of a thousand, each passed: the number of walks over the tape is that of levels, here cut by nothing."""

    class Chain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            parts = [(x * n).detach() for n in range(300)]
            return torch.stack(parts).sum(0)

    tape = record(Chain(), torch.randn(1, 1, 3, 3), layers=["output"])
    assert stopping(tape, tape.layers["output"].value) == frozenset()
