"""A result says under which of torch's settings the model ran, and changes none of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.pretend_device import pretending


def net_and_images():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).eval()
    return dv.DeconvNet(model), torch.rand(2, 3, 9, 9)


@pytest.mark.parametrize("window", ["auto", "full"])
def test_type_and_layout_are_those_of_the_model(window):
    net, x = net_and_images()
    plain = {"device": "cpu", "dtype": "float32", "layout": "channels_first", "autocast": "off"}
    assert net.project_units(x, "2", [(0, 1, (2, 3))], window=window).provenance.settings == plain
    net.model.to(memory_format=torch.channels_last).double()
    wide = {**plain, "dtype": "float64", "layout": "channels_last"}
    assert net.project_units(x.double(), "2", [(0, 1, (2, 3))], window=window).provenance.settings == wide
    assert net.reconstruct(x.double(), "2").provenance.settings == wide


def test_autocast_is_that_of_the_recording():
    net, x = net_and_images()
    with torch.autocast("cpu", torch.bfloat16):
        trace = net.trace(x, "2")
    assert trace.activations["2"].dtype == torch.bfloat16
    assert net.project(trace, "2").provenance.settings["autocast"] == "bfloat16"
    assert net.project(x, "2").provenance.settings["autocast"] == "off"


@pytest.fixture
def backends():
    """torch's switches for TF32, put back afterwards."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield torch.backends
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(("switches", "named"), [((True, False), "convolutions"), ((False, True), "products")])
def test_tf32_is_what_the_caller_has_set(switches, named, backends):
    backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32 = switches
    with pretending("cuda") as device:
        net, x = net_and_images()
        net.model.to(device.name)
        used = net.project(x.to(device.name), "2", window="full").provenance.settings["tf32"]
    assert used == named
    assert (backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32) == switches
