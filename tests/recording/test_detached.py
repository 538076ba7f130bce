"""`detach` on the way: plain autograd is the judge, of a network in which some detaches are taken away and others not.

A detach is passed where no other way leads from what it detaches, or from what that was computed from, to the layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.cli import main
from deconvviz.projection import crop_cost
from deconvviz.recording.detached import stopping
from deconvviz.recording.recorder import record

Detach = Callable[[Tensor], Tensor]


def by_block(t: Tensor) -> Tensor:
    with torch.no_grad():
        return t * 1


def by_nested_blocks(t: Tensor) -> Tensor:
    with torch.no_grad():
        with torch.enable_grad(), torch.set_grad_enabled(False):
            pass
        with torch.no_grad():
            pass
        return t * 1


def by_switch(t: Tensor) -> Tensor:
    torch.set_grad_enabled(False)
    made = t * 1
    torch.set_grad_enabled(True)
    return made


def by_view(t: Tensor) -> Tensor:
    with torch.no_grad():
        return t.view(t.shape)


@torch.no_grad()
def by_decorator(t: Tensor) -> Tensor:
    return t + 0


def by_enabled_inside(t: Tensor) -> Tensor:
    """What is detached is, whatever is computed from it with gradients."""
    with torch.no_grad():
        made = t * 1
        with torch.enable_grad():
            made = made * 1
    return made


KINDS: dict[str, Detach] = {
    "method": Tensor.detach,
    "function": torch.detach,
    "data": lambda t: t.data,
    "block": by_block,
    "nested blocks": by_nested_blocks,
    "switch": by_switch,
    "view in a block": by_view,
    "decorator": by_decorator,
    "enabled inside": by_enabled_inside,
}


def straight_through(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    return h + d(h.round() - h)


def straight_through_by_sum(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    return d(h.round()) - d(h) + h


def hard_choice(net: Any, x: Tensor, d: Detach) -> Tensor:
    soft = net.a(x).softmax(1)
    hard = F.one_hot(soft.argmax(1), 2).movedim(-1, 1).to(soft.dtype)
    return hard - d(soft) + soft


def quantised(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    distances = (h[:, None] - net.codes[None, :, :, None, None]).square().sum(2)
    q = net.codes[distances.argmin(1)].movedim(-1, 1)
    return h + d(q - h)


def frozen(net: Any, x: Tensor, d: Detach) -> Tensor:
    return net.b(d(net.a(x).sin()))


def two_frozen(net: Any, x: Tensor, d: Detach, e: Detach) -> Tensor:
    return torch.cat([d(net.a(x)), e(net.c(x))], 1)


def taps(net: Any, x: Tensor, d: Detach, e: Detach) -> Tensor:
    low = net.a(x)
    return torch.cat([d(low), e(net.b(low).sin())], 1)


def beside(net: Any, x: Tensor, d: Detach) -> Tensor:
    return d(net.a(x)) * net.c(x)


def within(net: Any, x: Tensor, d: Detach, e: Detach) -> Tensor:
    """A straight-through estimator in a frozen network."""
    h = net.a(x)
    return net.b(d(net.b(h + e(h.round() - h)).sin()))


def one_behind_the_other(net: Any, x: Tensor, d: Detach, e: Detach) -> Tensor:
    return net.b(d(net.b(e(net.a(x)).sin())))


def greatest_taken_off(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    return (h - d(h.amax(1, keepdim=True))).exp() / d(h.norm())


def views_of_both(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    detached = d(h).flatten(2)
    return (h.flatten(2) * detached + h.flatten(2)).view(h.shape) * h


def views_in_turn(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    left, detached = h[:, :1], d(h)
    right = detached[:, :1]
    return left * right.sin() + h[:, :1] * h[:, 1:] * detached[:, 1:]


def as_a_mask(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    return net.c(x) * (2 + (d(h) > 0))


def written_under_it(net: Any, x: Tensor, d: Detach) -> Tensor:
    """autograd does not see it, and the numbers are others."""
    h = net.a(x)
    d(h).mul_(2)
    return h * h + h[:, :1]


def written_above_it(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    detached = d(h)
    h.mul_(2)
    return net.b(detached * detached)


# Each with what becomes of its detaches: those passed are the identity, those that stop are those of autograd.
RULES: dict[str, tuple[Callable[..., Tensor], str]] = {
    "straight-through": (straight_through, "stops"),
    "straight-through by a sum": (straight_through_by_sum, "stops"),
    "hard choice": (hard_choice, "stops"),
    "quantised": (quantised, "stops"),
    "frozen": (frozen, "passed"),
    "two frozen": (two_frozen, "passed passed"),
    "taps of one frozen network": (taps, "passed passed"),
    "frozen beside another way": (beside, "stops"),
    "straight-through in a frozen network": (within, "passed stops"),
    "frozen in a frozen network": (one_behind_the_other, "passed passed"),
    "greatest taken off": (greatest_taken_off, "stops"),
    "views of both": (views_of_both, "stops"),
    "views in turn": (views_in_turn, "stops"),
    "a mask": (as_a_mask, "stops"),
}
SHARED: dict[str, tuple[Callable[..., Tensor], str]] = {
    "written under a detach": (written_under_it, "stops"),
    "written above a detach": (written_above_it, "passed"),
}
SHARING = ("method", "function", "data")


class Network(nn.Module):
    def __init__(self, function: Callable[..., Tensor], *detaches: Detach) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1), nn.Conv2d(1, 2, 3)
        self.last = nn.Conv2d(2, 2, 1)
        self.register_buffer("codes", torch.randn(5, 2))
        self.function, self.detaches = function, detaches
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        made = self.function(self, x, *self.detaches)
        return self.last(made[:, :2].expand(-1, 2, -1, -1)) + made[:, 2:].sum()


def expected(function: Callable[..., Tensor], rule: str, x: Tensor, unit: tuple[int, ...]) -> Tensor:
    leaf = x.clone().requires_grad_()
    made = {"passed": lambda t: t, "stops": Tensor.detach}
    Network(function, *(made[word] for word in rule.split()))(leaf)[unit].backward()
    return leaf.grad


def cases() -> list[Any]:
    found = [pytest.param(kind, *RULES[name], id=f"{name}, {kind}") for name in RULES for kind in KINDS]
    return found + [pytest.param(kind, *SHARED[name], id=f"{name}, {kind}") for name in SHARED for kind in SHARING]


IMAGE = torch.randn(1, 1, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 2


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
    monkeypatch.setattr(crop_cost, "WRITING", 0.0)
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


class Sign(torch.autograd.Function):
    """Reverses the gradient, and returns what it was given."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -3 * gradient


class Given(Sign):
    @staticmethod
    def forward(ctx, x):
        return x


def in_blocks(net: Any, x: Tensor) -> Tensor:
    """A frozen network with a skip, in two blocks."""
    with torch.no_grad():
        h = net.a(x)
        h = h + net.b(h.relu())
    with torch.no_grad():
        h = h * net.b(h).sigmoid()
    return net.b(h)


def without_blocks(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    h = h + net.b(h.relu())
    return net.b(h * net.b(h).sigmoid())


def written_in_a_block(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    with torch.no_grad():
        h.mul_(2).clamp_(min=-1)
        h[:, 0, 1:3].zero_()
    return h * h + h[:, 1:]


def written_in_blocks(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    row = h[:, :, 1]
    with torch.no_grad():
        row.add_(1)
    h.mul_(2)
    with torch.no_grad():
        h.view(-1).mul_(3)
    return h * h


def filled_in_a_block(net: Any, x: Tensor) -> Tensor:
    h, buffer = net.a(x), torch.zeros(1, 2, 5, 4, dtype=x.dtype)
    with torch.no_grad():
        buffer[:, :1] = h[:, :1]
    return buffer * h


def changed_view_and_itself(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return Sign.apply(h) * h + Given.apply(h) * 2 + h.sin()


def of_a_closure(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)

    class Closure(torch.autograd.Function):
        @staticmethod
        def forward(ctx, scale):
            return h * scale

        @staticmethod
        def backward(ctx, gradient):
            return None

    return Closure.apply(2.0) * h


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
