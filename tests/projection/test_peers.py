"""Where Captum's Deconvolution or zennit go wrong, one named test each: that they do, and that we do not.

Where a test computes Captum's result, it also asserts that Captum is wrong there, so that this page is corrected
when a release of Captum mends it.
"""

from __future__ import annotations

import gc
import warnings

import pytest
import torch
import torchvision
from captum.attr import NeuronDeconvolution
from torch import Tensor, nn

import deconvviz as dv
from tests.helpers.autograd_reference import randomised, reference, relative_error
from tests.helpers.small_networks import CReLU, SharedReLU, SkipBesideReLU


def captums(model: nn.Module, layer: str, x: Tensor, unit: dv.results.Unit) -> Tensor:
    """Captum's projection of a unit of the first sample."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = NeuronDeconvolution(model.eval(), dict(model.named_modules())[layer])
        return method.attribute(x[:1].clone(), (unit.channel, *unit.position)).detach()


def compared(model: nn.Module, layer: str, x: Tensor) -> tuple[float, float, dv.results.Projection]:
    """Our error and Captum's, against the autograd reference with seed one."""
    net = dv.DeconvNet(model)
    activations = net.trace(x[:1], layer).activations[layer][0]
    strongest = activations.flatten(1).amax(1) if activations.ndim > 1 else activations
    projection = net.project(x[:1], layer, channel=int(strongest.argmax()), seed="one")
    unit = projection.units[0]
    _, expected = reference(model, x[:1], layer, [(0, unit.channel, *unit.position)])
    expected = expected / unit.activation
    return (
        relative_error(projection.pixels, expected),
        relative_error(captums(model, layer, x, unit), expected),
        projection,
    )


FUNCTIONAL = {
    "densenet121": ("classifier", 64),
    "googlenet": ("inception4a.branch2.1.conv", 64),
    "inception_v3": ("Mixed_5d.branch3x3dbl_3.conv", 96),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_rectifiers_called_as_functions(name):
    """Captum rectifies at `nn.ReLU` modules only; where F.relu is called, it silently gives the plain gradient."""
    layer, size = FUNCTIONAL[name]
    options = {} if name == "densenet121" else {"init_weights": False}
    model = randomised(getattr(torchvision.models, name)(weights=None, **options))
    ours, theirs, _ = compared(model, layer, torch.randn(1, 3, size, size))
    assert ours <= 1e-5
    assert theirs > 0.1


OTHER_RECTIFIERS = {
    "mobilenet_v2": "features.6.conv.2",  # ReLU6
    "efficientnet_b0": "features.3.0.block.0.0",  # SiLU
    "mobilenet_v3_small": "features.5.block.3.0",  # hardswish
    "convnext_tiny": "features.5.4.block.0",  # GELU
}


@pytest.mark.parametrize("name", OTHER_RECTIFIERS)
def test_rectifiers_other_than_relu(name):
    """Captum leaves ReLU6, SiLU, hardswish and GELU at the plain gradient, bit for bit; we say what we linearise."""
    model = randomised(getattr(torchvision.models, name)(weights=None))
    for parameter_name, parameter in model.named_parameters():
        if "layer_scale" in parameter_name:
            nn.init.constant_(parameter, 0.8)
    layer, x = OTHER_RECTIFIERS[name], torch.randn(1, 3, 64, 64)
    ours, theirs, projection = compared(model, layer, x)
    assert ours <= 1e-5
    assert theirs > 0.1
    unit = projection.units[0]
    gradient = (
        dv.DeconvNet(model, "gradient")
        .project(x, layer, channel=unit.channel, position=unit.position, seed="one")
        .pixels
    )
    if name != "mobilenet_v3_small":  # which has some ReLUs, too
        assert relative_error(captums(model, layer, x, unit), gradient) < 1e-5
    gates = {label.split(" in ")[0] for label in projection.provenance.linearised}
    assert gates <= {"aten.mul", "aten.sigmoid", "aten.hardsigmoid", "aten.native_layer_norm"}


def test_the_input_of_a_relu_also_feeds_a_skip():
    """Captum's rule replaces the total gradient of the ReLU's input, and drops what the skip brought."""
    ours, theirs, _ = compared(SkipBesideReLU(), "last", torch.randn(1, 2, 9, 9))
    assert ours <= 1e-5
    assert theirs > 0.1


@pytest.mark.parametrize("network", [SharedReLU, CReLU])
def test_one_relu_shared_by_parallel_branches(network):
    """Captum keeps what a ReLU saw per module, so that one of two branches is walked with the other's."""
    ours, theirs, _ = compared(network(), "last", torch.randn(1, 2, 9, 9))
    assert ours <= 1e-5
    assert theirs > 0.1


def test_a_layer_called_twice():
    """Each call has a name and its own projection; hooks on the module see the last call only."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x)))

    model, x = Twice().double(), torch.randn(1, 2, 7, 7, dtype=torch.float64)
    net = dv.DeconvNet(model)
    first, second = (
        net.project(x, "conv", channel=1, position=(3, 3), seed="one"),
        net.project(x, "conv_1", channel=1, position=(3, 3), seed="one"),
    )
    weight = model.conv.weight.detach()
    once = torch.zeros(1, 2, 7, 7, dtype=torch.float64)
    once[0, :, 2:5, 2:5] = weight[1]
    assert torch.allclose(first.pixels, once, rtol=1e-12)
    twice = nn.functional.conv_transpose2d(once.clamp(min=0), weight, padding=1)
    assert torch.allclose(second.pixels, twice, rtol=1e-12)


def test_no_hook_stays_behind():
    model, x = torchvision.models.squeezenet1_1(weights=None).eval(), torch.randn(1, 3, 64, 64)

    def hooks():
        return sum(
            len(getattr(module, kind))
            for module in model.modules()
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        )

    net = dv.DeconvNet(model)
    for _ in range(3):
        net.project(x, "features.5", channel=0)
        with pytest.raises(dv.errors.InputError):
            net.project(x, "features.5", channel=10**6)
    assert hooks() == 0


def test_nothing_of_a_run_stays_in_memory():
    model, x = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)), torch.randn(1, 1, 8, 8)
    net = dv.DeconvNet(model)
    net.project(x, "2", channel=0)
    gc.collect()
    before = sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())
    for _ in range(5):
        net.project(x, "2", channel=0)
    gc.collect()
    assert sum(issubclass(type(thing), Tensor) for thing in gc.get_objects()) == before


def test_a_model_in_train_mode():
    """Captum would run it in batch statistics with dropout on; we run in eval mode and put the mode back."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(), nn.Conv2d(4, 2, 3))
    randomised(model)
    x = torch.randn(2, 1, 9, 9)
    expected = dv.DeconvNet(model.eval()).project(x, "4").pixels
    assert torch.equal(dv.DeconvNet(model.train()).project(x, "4").pixels, expected)
    assert all(module.training for module in model.modules())
    assert float(model[1].num_batches_tracked) == 0


def test_the_seed_is_the_activation_or_one_and_is_saved():
    model, x = nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(1, 1, 5, 5)
    by_activation, by_one = (
        dv.DeconvNet(model).project(x, "0", channel=1, position=(1, 1), seed=seed) for seed in ("activation", "one")
    )
    assert torch.allclose(by_activation.pixels, by_one.pixels * by_one.units[0].activation)
    assert torch.allclose(by_one.pixels[0, :, 1:4, 1:4], model[0].weight[1])
    assert (by_activation.provenance.seed, by_one.provenance.seed) == ("activation", "one")


def test_many_units_and_samples_in_one_call():
    """One recorded pass serves all of them; elsewhere each unit is a forward and a backward pass."""
    model, x = SharedReLU(), torch.randn(3, 2, 9, 9)
    runs = []
    model.register_forward_hook(lambda *_: runs.append(None))
    projection = dv.DeconvNet(model).project(x, "last", position="all")
    assert len(projection.units) == 3 * 3 * 7 * 7
    assert len(runs) <= 1
