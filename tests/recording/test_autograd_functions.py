"""Autograd functions of every kind have the backward that their authors gave them: plain autograd is the judge."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

import deconvviz as dv
from tests.helpers.autograd_functions import InPlace, NewStyle
from tests.helpers.autograd_reference import untouched


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.round()

    @staticmethod
    def backward(ctx, gradient):
        return 5 * gradient * ctx.saved_tensors[0].cos()


class OnlyBackward(Rounded):
    @staticmethod
    def backward(ctx, gradient):
        return 9 * gradient


class Grandchild(OnlyBackward):
    pass


class ByClass(torch.autograd.Function):
    factor = 3

    @classmethod
    def forward(cls, ctx, x):
        return x * cls.factor

    @classmethod
    def backward(cls, ctx, gradient):
        return gradient * cls.factor * 7


class ByClassInherited(ByClass):
    factor = 4


class GivenACallable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, function, x):
        return function(x)

    @staticmethod
    def backward(ctx, gradient):
        return None, gradient * 13


class GivenAModule(GivenACallable):
    @staticmethod
    def backward(ctx, gradient):
        return None, gradient.flip(3) * 2


class NewStyleOnlyBackward(NewStyle):
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 17, None


class ByVjp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def vjp(ctx, gradient):
        return gradient * 19

    @staticmethod
    def vmap(info, in_dims, x):
        return x * 2, 0


class OnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return gradient * 23


class WithIndices(torch.autograd.Function):
    """Two outputs more, one an index and one that is said to have no derivative."""

    @staticmethod
    def forward(ctx, x):
        values, indices = x.max(1, keepdim=True)
        total = x.flatten(1).sum(1).view(-1, *[1] * (x.ndim - 1))
        ctx.mark_non_differentiable(indices, total)
        ctx.shape = x.shape
        return values, indices, total

    @staticmethod
    def backward(ctx, gradient, *_):
        return gradient.expand(ctx.shape) * 3


class OneOfTwo(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        return x * y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2, None


class OfFunctions(torch.autograd.Function):
    """Its forward applies another; its own backward counts."""

    @staticmethod
    def forward(ctx, x):
        return Rounded.apply(x) + OnlyBackward.apply(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 29


class CallsTheForwardOfAnother(Rounded):
    @staticmethod
    def forward(ctx, x):
        return Rounded.forward(ctx, x) * 2


class Reversed(torch.autograd.Function):
    """Of modules, as in reversible networks: the backward does not only what the forward did."""

    @staticmethod
    def forward(ctx, module, x):
        ctx.module = module
        ctx.save_for_backward(x)
        return module(x)

    @staticmethod
    def backward(ctx, gradient):
        return None, run_back(ctx.module, ctx.saved_tensors[0], gradient)


def run_back(module, x, gradient):
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        module(leaf).backward(gradient)
    return -leaf.grad


class Checkpointed(torch.autograd.Function):
    """As the checkpointing of other packages."""

    @staticmethod
    def forward(ctx, function, x):
        ctx.function = function
        ctx.save_for_backward(x)
        with torch.no_grad():
            return function(x)

    @staticmethod
    def backward(ctx, gradient):
        leaf = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            made = ctx.function(leaf)
        torch.autograd.backward(made, gradient)
        return None, leaf.grad


kept = Rounded.apply  # as people keep it


def made_here(h):
    class Here(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sign()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * h.detach().mean() * 31

    return Here.apply(h)


def strongest(h):
    values, indices, total = WithIndices.apply(h)
    return values * total + indices


FUNCTIONS = {
    "kept": lambda net, h: kept(h),
    "only backward": lambda net, h: OnlyBackward.apply(h),
    "inherited": lambda net, h: Grandchild.apply(h),
    "class methods": lambda net, h: ByClass.apply(h),
    "class methods inherited": lambda net, h: ByClassInherited.apply(h),
    "made in the forward": lambda net, h: made_here(h),
    "given a function": lambda net, h: GivenACallable.apply(torch.tanh, h),
    "given a lambda": lambda net, h: GivenACallable.apply(lambda x: x * 2, h),
    "given a module": lambda net, h: GivenAModule.apply(net.middle, h),
    "of a module": lambda net, h: Reversed.apply(net.middle, h),
    "new style": lambda net, h: NewStyle.apply(h, 3.0),
    "new style, only backward": lambda net, h: NewStyleOnlyBackward.apply(h, 3.0),
    "vjp": lambda net, h: ByVjp.apply(h),
    "in place": lambda net, h: InPlace.apply(h * 1),
    "in place of a view": lambda net, h: InPlace.apply((h * 1).view(len(h), 2, -1)).view(h.shape),
    "once differentiable": lambda net, h: OnlyOnce.apply(h),
    "several outputs": lambda net, h: strongest(h),
    "no gradient for one": lambda net, h: OneOfTwo.apply(h, h.flip(2)) + OneOfTwo.apply(h.flip(2), h),
    "of functions": lambda net, h: OfFunctions.apply(h),
    "one after the other": lambda net, h: OnlyBackward.apply(ByClass.apply(kept(h)) + kept(h)),
    "forward of another": lambda net, h: CallsTheForwardOfAnother.apply(h),
    "forward by its name": lambda net, h: NewStyle.forward(h, 3.0) + ByClass.forward(None, h),
    "checkpoint": lambda net, h: checkpoint(net.middle, h, use_reentrant=False),
    "checkpoint of another package": lambda net, h: Checkpointed.apply(net.middle, h),
    "checkpoint of a function": lambda net, h: Checkpointed.apply(lambda x: OnlyBackward.apply(x).sin(), h),
}


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.middle, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 3, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = self.function(self, h)
        return self.last(h.expand(-1, 2, -1, -1))


def by_autograd(model: nn.Module, x: Tensor, unit: tuple[int, ...]) -> Tensor:
    leaf = x.clone().requires_grad_()
    copy = Model(model.function).double()
    unit_made = copy(leaf)[unit]
    unit_made.backward()
    return leaf.grad


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_backward_that_was_given_counts(name):
    model = Model(FUNCTIONS[name]).double().eval()
    x = torch.randn(2, 1, 7, 6, dtype=torch.float64)
    net = dv.DeconvNet(model, "gradient")
    with untouched(model):
        found = net.project(x, "last", channel=[0, 2], position=(2, 1), seed="one")
        again = net.project(x, "last", channel=[0, 2], position=(2, 1), seed="one", window="full")
    assert torch.equal(found.pixels, again.pixels)
    for unit, pixels in zip(found.units, found.pixels, strict=True):
        alone = x[unit.sample : unit.sample + 1]
        expected = by_autograd(model, alone, (0, unit.channel, *unit.position))[0]
        assert (pixels - expected).norm() <= 1e-10 * expected.norm()
    assert "__getattribute__" not in vars(type(torch.autograd.Function))


def test_in_a_checkpoint_styles_hold():
    def rectified(net: nn.Module, h: Tensor) -> Tensor:
        return Checkpointed.apply(lambda x: net.middle(x).relu(), h)

    x = torch.randn(1, 1, 7, 6, dtype=torch.float64)
    for style in ("deconvnet", "guided", "gradient"):
        model, plain = Model(rectified).double(), Model(lambda net, h: net.middle(h).relu()).double()
        found, expected = (dv.DeconvNet(m, style).project(x, "last", channel=0) for m in (model, plain))
        assert torch.allclose(found.pixels, expected.pixels, rtol=1e-12)
        assert found.provenance.linearised == expected.provenance.linearised


def test_a_backward_that_adds_to_gradients_leaves_them_alone():
    model = Model(FUNCTIONS["of a module"]).double()
    model.middle.weight.grad = torch.ones_like(model.middle.weight)
    x = torch.randn(1, 1, 7, 6).double()
    with untouched(model):
        dv.DeconvNet(model).project(x, "last", channel=0)
    assert model.middle.bias.grad is None


def test_a_function_that_raises_leaves_torch_as_it_was():
    class Raises(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        dv.DeconvNet(Model(lambda net, h: Raises.apply(h))).project(torch.randn(1, 1, 7, 6), "last", channel=0)
    assert "__getattribute__" not in vars(type(torch.autograd.Function))


def test_views_and_layers_within_a_function():
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, module, x):
            return module(x[:, :1].expand_as(x)) if module else x[:, :1] * 3 + x.view(x.shape)

        @staticmethod
        def backward(ctx, gradient):
            return None, gradient * 5

    def function(net: nn.Module, h: Tensor) -> Tensor:
        left = h[:, :1]
        return Reading.apply(None, h) * h + left.sin() + Reading.apply(net.middle, h)

    model, x = Model(function).double(), torch.randn(1, 1, 7, 6, dtype=torch.float64)
    net = dv.DeconvNet(model, "gradient")
    found = net.project(x, "last", channel=1, position=(2, 1), seed="one").pixels
    expected = by_autograd(model, x, (0, 1, 2, 1))
    assert (found - expected).norm() <= 1e-10 * expected.norm()
    inside = net.project(x, "middle", channel=1, position=(2, 1), seed="one").pixels
    leaf = x.clone().requires_grad_()
    model.middle(model.first(leaf)[:, :1].expand(-1, 2, -1, -1))[0, 1, 2, 1].backward()
    assert (inside - leaf.grad).norm() <= 1e-10 * leaf.grad.norm()
