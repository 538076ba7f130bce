"""Networks with detaches, written in every way that PyTorch offers, and autograd's gradients of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    detached = t * 1
    torch.set_grad_enabled(True)
    return detached


def by_view(t: Tensor) -> Tensor:
    with torch.no_grad():
        return t.view(t.shape)


@torch.no_grad()
def by_decorator(t: Tensor) -> Tensor:
    return t + 0


def by_enabled_inside(t: Tensor) -> Tensor:
    """A detached value stays detached, although more is computed from it with gradients enabled."""
    with torch.no_grad():
        detached = t * 1
        with torch.enable_grad():
            return detached * 1


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
    """Autograd does not see the change, which alters the values."""
    h = net.a(x)
    d(h).mul_(2)
    return h * h + h[:, :1]


def written_above_it(net: Any, x: Tensor, d: Detach) -> Tensor:
    h = net.a(x)
    detached = d(h)
    h.mul_(2)
    return net.b(detached * detached)


# Each network with the fate of its detaches: a passed one acts as the identity, one that stops acts as in autograd.
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
        features = self.function(self, x, *self.detaches)
        return self.last(features[:, :2].expand(-1, 2, -1, -1)) + features[:, 2:].sum()


def expected(function: Callable[..., Tensor], rule: str, x: Tensor, unit: tuple[int, ...]) -> Tensor:
    """Autograd's gradient of one unit, in the network whose detaches that the library passes are taken out."""
    leaf = x.clone().requires_grad_()
    detaches: dict[str, Detach] = {"passed": lambda t: t, "stops": Tensor.detach}
    output = Network(function, *(detaches[word] for word in rule.split()))(leaf)
    (gradient,) = torch.autograd.grad(output[unit], leaf)
    return gradient


IMAGE = torch.randn(1, 1, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * 2


class Sign(torch.autograd.Function):
    """Reverses the gradient, and returns what it was given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -3 * gradient


class Given(Sign):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
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
        def forward(ctx: Any, scale: float) -> Tensor:
            return h * scale

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> None:
            return None

    return Closure.apply(2.0) * h
