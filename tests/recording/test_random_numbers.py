"""Models that draw random numbers: the way back has those of the run, and the caller's generators stay as they were."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from tests.helpers.between_convolutions import STYLES, Around, error, images, windows_everywhere

OWN = torch.Generator()


class WithMask(nn.Module):
    """A dropout that hands back what it drew."""

    def forward(self, h):
        return torch.native_dropout(h, 0.4, True)[0]


# Each with whether samples of a batch stay apart.
DRAWING = {
    "F.dropout": (lambda h: F.dropout(h, 0.4, True), True),
    "F.dropout2d": (lambda h: F.dropout2d(h, 0.4, True), True),
    "F.alpha_dropout": (lambda h: F.alpha_dropout(h, 0.4, True), True),
    "native_dropout": (lambda h: torch.native_dropout(h, 0.4, True)[0], True),
    "attention": (lambda h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.4), False),
    "rrelu": (lambda h: F.rrelu(h, 0.1, 0.9, training=True), False),
    "rrelu in place": (lambda h: F.rrelu_(h * 1.0, 0.1, 0.9, training=True), False),
    "noise": (lambda h: h * (1 + torch.randn_like(h)), True),
    "noise of a row": (lambda h: h * torch.rand(6).double(), True),
    "bernoulli": (lambda h: h * torch.bernoulli(torch.full_like(h, 0.6)), True),
    "bernoulli_": (lambda h: h * torch.empty_like(h).bernoulli_(0.6), True),
    "bernoulli of h": (lambda h: h * torch.bernoulli(h.sigmoid()), False),
    "normal": (lambda h: h + h * torch.normal(torch.zeros_like(h), 1.0), True),
    "multinomial": (lambda h: h[:, torch.multinomial(torch.ones(4), 4)], True),
    "randperm": (lambda h: h[:, torch.randperm(4)], True),
    "gumbel": (lambda h: F.gumbel_softmax(h, dim=1), True),
    "a generator of its own": (lambda h: h * torch.rand(8, 6, generator=OWN).double(), True),
    "two draws": (lambda h: F.dropout(F.rrelu(F.dropout(h, 0.2, True), 0.1, 0.9, True), 0.2, True), False),
}


def gradients(model, x, seed):
    """Of the strongest units of both channels, and of all, with numbers drawn from a seed."""
    torch.manual_seed(seed)
    OWN.manual_seed(seed)
    leaf = x.clone().requires_grad_()
    made = model(leaf)
    units = made.flatten(2).amax(2).flatten()
    rows = torch.stack([torch.autograd.grad(u * u.detach(), leaf, retain_graph=True)[0].sum(0) for u in units])
    (whole,) = torch.autograd.grad(made, leaf, made.detach())
    return rows, whole


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("samples", [1, 3])
def test_the_way_back_has_the_numbers_of_the_run(name, samples):
    function, apart = DRAWING[name]
    model, x = Around(function), images(samples)
    expected, whole = gradients(model, x, 7)
    styles = ("gradient",) if "rrelu" in name or name == "two draws" else STYLES
    for style in styles:
        net = dv.DeconvNet(model, style)
        torch.manual_seed(7)
        OWN.manual_seed(7)
        states = torch.get_rng_state(), OWN.get_state()
        if samples > 1 and not apart:
            with pytest.raises(InputError, match="whose samples are mixed or share random numbers"):
                net.project(x, "d")
        else:
            with windows_everywhere():
                found = net.project(x, "d")
                place = found.units[0].position
                there = net.project(x, "d", channel=0, position=place).pixels[:1]
            assert error(found.pixels, expected) < 1e-10
            assert error(there, expected[:1]) < 1e-10
            assert error(net.reconstruct(x, "d").pixels, whole) < 1e-10
            later = net.trace(x, "d")
            torch.rand(5)  # time passes between the run and the way back
            assert error(net.project(later, "d").pixels, expected) < 1e-10
            torch.set_rng_state(states[0])
        assert torch.equal(torch.get_rng_state(), states[0])
        assert torch.equal(OWN.get_state(), states[1])


def test_the_caller_goes_on_where_he_was():
    net, x = dv.DeconvNet(Around(DRAWING["attention"][0]), "gradient"), images(1)
    trace = net.trace(x, "d")
    torch.manual_seed(3)
    first = torch.rand(4)
    torch.manual_seed(3)
    net.project(trace, "d")
    net.reconstruct(trace, "d")
    assert torch.equal(torch.rand(4), first)
