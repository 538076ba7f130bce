"""Mistakes in calls of the Captum adapter: each is answered with one sentence."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, ModelError, UnknownLayerError
from tests.helpers.captum_networks import Small, double, images

MISTAKES = {
    "no model": (ModelError, "must be a torch.nn.Module, not function", lambda m, x: dv.DeconvNetAttribution(double)),
    "no target": (
        InputError,
        r"the output has shape \(2, 5\): give the target",
        lambda m, x: dv.DeconvNetAttribution(m).attribute(x),
    ),
    "no such class": (
        InputError,
        r"the target 5 does not fit the output of shape \(2, 5\): index 5 is out of bounds",
        lambda m, x: dv.DeconvNetAttribution(m).attribute(x, 5),
    ),
    "too few targets": (
        InputError,
        r"the target \[1\] does not fit .* Target list length",
        lambda m, x: dv.DeconvNetAttribution(m).attribute(x, [1]),
    ),
    "integers": (
        InputError,
        "input 1 is torch.int64; inputs are floating-point",
        lambda m, x: dv.DeconvNetAttribution(m).attribute((x, x.long()), 1),
    ),
    "a list": (InputError, "input 0 is list", lambda m, x: dv.DeconvNetAttribution(m).attribute([x], 1)),
    "input of a neuron": (
        InputError,
        "the input of a layer has no name here",
        lambda m, x: dv.NeuronDeconvNetAttribution(m, "second").attribute(x, 1, attribute_to_neuron_input=True),
    ),
    "selector": (
        InputError,
        r"the selector \(9, 0, 0\) does not fit the output of layer 'second', of shape \(2, 5, 4, 4\)",
        lambda m, x: dv.NeuronDeconvNetAttribution(m, "second").attribute(x, (9, 0, 0)),
    ),
    "selected nothing": (
        InputError,
        "must return a tensor computed from the layer's output, not 3",
        lambda m, x: dv.NeuronDeconvNetAttribution(m, "second").attribute(x, lambda output: 3),
    ),
    "another's module": (
        InputError,
        "the layer Linear is no module of the model Small",
        lambda m, x: dv.NeuronDeconvNetAttribution(m, nn.Linear(1, 1)),
    ),
    "no such layer": (
        UnknownLayerError,
        "no layer 'secund' in Small; did you mean 'second'",
        lambda m, x: dv.NeuronDeconvNetAttribution(m, "secund").attribute(x, 1),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence_for_a_mistake(mistake):
    error, sentence, make = MISTAKES[mistake]
    with pytest.raises(error, match=sentence) as caught:
        make(double(Small()), images())
    assert "\n" not in str(caught.value)


def test_a_model_that_returns_several_tensors():
    class Heads(nn.Linear):
        def forward(self, x):
            return {"left": super().forward(x), "right": -super().forward(x)}

    model, x = Heads(3, 2).double(), torch.randn(2, 3).double()
    with pytest.raises(InputError, match=r"does not return one tensor.*'output"):
        dv.DeconvNetAttribution(model).attribute(x, 1)
    found = dv.NeuronDeconvNetAttribution(model, "output[right]").attribute(x, 1)
    assert torch.allclose(found, -model.weight[1].expand(2, 3))
