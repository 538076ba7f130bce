"""`compare`: values of every method, methods that fail or are silently wrong, agreement."""

from __future__ import annotations

import math
import re

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from captum.metrics import sensitivity_max
from torch import nn

import deconvviz as dv
from deconvviz.captum import comparison
from deconvviz.captum.methods import OF_A_CLASS, OF_A_NEURON, aimed, run_method
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.evidence import BASELINES, deletion
from tests.helpers.autograd_reference import relative_error, untouched
from tests.helpers.comparison_networks import Functions, Modules, Reused, double, image
from tests.helpers.small_networks import SharedReLU


@pytest.fixture(scope="module")
def of_class():
    torch.manual_seed(0)
    model, x = double(Modules()), image()
    return model, x, dv.compare(model, x, target=2, scores="all")


@pytest.fixture(scope="module")
def of_unit():
    torch.manual_seed(0)
    model, x = double(Modules()), image()
    return model, x, dv.compare(model, x, layer="second", channel=3, position=(3, 4), scores="all")


# What each method gives


def test_all_methods_of_a_class(of_class):
    model, x, found = of_class
    assert [method.name for method in found.methods] == ["deconvnet", "guided", *OF_A_CLASS, *BASELINES]
    assert all(method.pixels.shape == x.shape[1:] and method.seconds > 0 for method in found.methods)
    ours = dv.DeconvNet(model).project(x, "output", channel=2, seed="one").pixels
    assert relative_error(found["deconvnet"].pixels[None], ours) < 1e-12
    assert relative_error(found["Deconvolution"].pixels[None], ours) < 1e-10
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[0, 2], leaf)
    assert relative_error(found["Saliency"].pixels[None], gradient) < 1e-12
    assert relative_error(found["InputXGradient"].pixels[None], gradient * x) < 1e-12
    # The attributions of these two methods sum to the difference that the image makes.
    difference = float((model(x) - model(torch.zeros_like(x))).detach()[0, 2])
    assert math.isclose(float(found["DeepLift"].pixels.sum()), difference, rel_tol=1e-6)
    assert math.isclose(float(found["IntegratedGradients"].pixels.sum()), difference, rel_tol=0.05)


def test_all_methods_of_a_unit(of_unit):
    model, x, found = of_unit
    assert [method.name for method in found.methods] == ["deconvnet", "guided", *OF_A_NEURON, *BASELINES]
    assert found.unit == dv.results.Unit(0, "second", 3, (3, 4), float(_second(model, x).detach()[0, 3, 3, 4]))
    ours = dv.DeconvNet(model).project_units(x, "second", [(0, 3, (3, 4))], seed="one")
    assert relative_error(found["deconvnet"].pixels[None], ours.pixels) < 1e-12
    assert torch.equal(found.receptive_field, ours.receptive_fields[0])
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(_second(model, leaf)[0, 3, 3, 4], leaf)
    assert relative_error(found["NeuronGradient"].pixels[None], gradient) < 1e-12
    assert relative_error(found["InputXGradient"].pixels[None], gradient * x) < 1e-12
    difference = float((_second(model, x) - _second(model, torch.zeros_like(x))).detach()[0, 3, 3, 4])
    assert math.isclose(float(found["NeuronDeepLift"].pixels.sum()), difference, rel_tol=1e-6)
    (top, bottom), (left, right) = found.receptive_field.tolist()
    outside = torch.ones(x.shape[2:], dtype=torch.bool)
    outside[top:bottom, left:right] = False
    assert all(not found[name].pixels[:, outside].any() for name in ("deconvnet", "NeuronGuidedBackprop"))


def _second(model, x):
    return model.second(model.pool(torch.relu(model.first(x))))


def test_occlusion_of_a_linear_unit_is_known():
    """A pixel alone is worth its weight times its value."""
    model, x = double(nn.Sequential(nn.Flatten(), nn.Linear(36, 2))), torch.rand(1, 1, 6, 6).double()
    found = dv.compare(model, x, target=1, methods=["Occlusion", "LayerGradCam"])
    expected = x[0] * model[1].weight[1].view(1, 6, 6)
    assert relative_error(found["Occlusion"].pixels[None], expected[None].detach()) < 1e-6  # Captum counts in float32
    assert found["LayerGradCam"].pixels is None
    assert found["LayerGradCam"].remark == "InputError: no layer before the unit has a map of positions to weigh"


def test_grad_cam_weighs_the_last_layer_with_positions(of_class, of_unit):
    model, x, found = of_class
    assert found["LayerGradCam"].remark == "of layer relu2"
    theirs = LayerGradCam(model, model.relu2).attribute(x, 2, relu_attributions=True)
    wide = F.interpolate(theirs, x.shape[2:], mode="bilinear")
    assert torch.allclose(found["LayerGradCam"].pixels.sum(0), wide[0, 0].detach())
    assert found["LayerGradCam"].pixels.any()
    assert of_unit[2]["LayerGradCam"].remark == "of layer pool"


def test_grad_cam_passes_over_a_module_that_is_called_again():
    """A hook of Captum's would see its last call, which has no positions."""

    class Again(Modules):
        def forward(self, x):
            return self.last(self.relu1(self.hidden(self.relu1(self.first(x)).mean((2, 3)))))

    found = dv.compare(double(Again()), image(), target=1, methods=["LayerGradCam"])
    assert found["LayerGradCam"].remark == "of layer first"


def test_the_strongest_class_channel_and_place_by_default():
    model, x = double(Modules()), image()
    output, maps = model(x)[0], _second(model, x)[0]
    unit = dv.compare(model, x, methods=["guided"]).unit
    assert (unit.layer, unit.channel, unit.position) == ("output", int(output.argmax()), ())
    unit = dv.compare(model, x, layer="second", methods=["guided"]).unit
    assert (unit.channel, *unit.position) == tuple(map(int, torch.unravel_index(maps.argmax(), maps.shape)))


@pytest.mark.parametrize("layer", ["relu", "relu_2"])
def test_a_functional_call_is_a_layer_for_captum_too(layer):
    model, x = double(Functions()), image()
    found = dv.compare(model, x, layer=layer, methods=["NeuronGradient", "NeuronIntegratedGradients"])
    unit = found.unit
    assert [method.remark for method in found.methods] == ["", ""]
    exact = dv.DeconvNet(model, "gradient").project_units(x, layer, [(0, unit.channel, unit.position)], seed="one")
    assert relative_error(found["NeuronGradient"].pixels[None], exact.pixels) < 1e-10
    assert found["NeuronIntegratedGradients"].pixels.any()


# Methods that fail or are silently wrong


def test_a_method_that_raises_says_why_and_the_others_go_on():
    found = dv.compare(double(Reused()), image(), target=1, methods=["guided", "DeepLift", "Saliency"])
    assert found["DeepLift"].pixels is None
    assert found["DeepLift"].remark.startswith("RuntimeError: A Module ReLU() was detected")
    assert "\n" not in found["DeepLift"].remark
    assert found["Saliency"].pixels.any()
    assert torch.isnan(found.agreement["SSIM"][1]).all()
    assert not torch.isnan(found.agreement["SSIM"][[0, 2]][:, [0, 2]]).any()
    row = found.as_json()["table"][1]
    assert (row.pop("method"), row.pop("by")) == ("DeepLift", "Captum")
    assert row.pop("remark").startswith("failed: RuntimeError")
    assert set(row.values()) == {None}


def test_captum_is_told_from_the_plain_gradient():
    methods = ["Deconvolution", "GuidedBackprop", "GuidedGradCam"]
    by_functions = dv.compare(double(Functions()), image(), target=1, methods=methods)
    assert [method.remark for method in by_functions.methods] == [
        "plain gradient: its rectifiers are not seen",
        "plain gradient: its rectifiers are not seen",
        "of layer second; plain gradient x Grad-CAM: its rectifiers are not seen",
    ]
    by_modules = dv.compare(double(Modules()), image(), target=1, methods=methods)
    assert [method.remark for method in by_modules.methods] == [
        "same as deconvnet",
        "same as guided",
        "of layer relu2; same as guided",
    ]


def test_deep_lift_without_rectifiers_is_input_times_gradient():
    class Flat(Functions):
        def forward(self, x):
            return self.last(F.relu(self.hidden(F.relu(self.first(x)).mean((2, 3)))))

    found = dv.compare(double(Flat()), image(), target=1, methods=["DeepLift"])
    assert found["DeepLift"].remark == "input x gradient: its rectifiers are not seen"


def test_captum_that_differs_is_told_by_how_much():
    model, x = double(SharedReLU()), image(2)
    found = dv.compare(model, x, layer="last", methods=["deconvnet", "NeuronDeconvolution"])
    said = re.fullmatch(r"differs from deconvnet by (\d+)%", found["NeuronDeconvolution"].remark)
    theirs, ours = found["NeuronDeconvolution"].pixels, found["deconvnet"].pixels
    off = float((theirs - ours).norm() / ours.norm())
    assert int(said[1]) == round(100 * off) > 5


def test_a_linear_network_has_no_rectifiers_to_miss():
    model = double(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 10 * 14, 2)))
    found = dv.compare(model, image(), target=1, methods=["Deconvolution", "DeepLift"])
    assert [method.remark for method in found.methods] == ["same as deconvnet", ""]


def test_captum_is_led_to_the_same_unit():
    """A function on a parameter is counted in a trace as it is where nothing is recorded."""

    class Gated(Modules):
        def forward(self, x):
            gate = torch.relu(self.last.bias[None])
            return torch.relu(self.last(torch.relu(self.hidden(self.first(x).mean((2, 3))))) * gate)

    model, x = double(Gated()), image()
    found = dv.compare(model, x, layer="relu_1", channel=1, methods=["guided", "NeuronGradient"], progress=False)
    assert found["guided"].pixels is not None
    leaf = x.clone().requires_grad_()
    torch.relu(model.hidden(model.first(leaf).mean((2, 3))))[0, 1].backward()
    assert torch.allclose(found["NeuronGradient"].pixels, leaf.grad[0])


# Numbers


def test_agreement(of_class):
    _, _, found = of_class
    names = [method.name for method in found.methods]
    ours, theirs, other = (names.index(name) for name in ("deconvnet", "Deconvolution", "LayerGradCam"))
    for table in found.agreement.values():
        assert torch.equal(table, table.T)
        assert torch.allclose(table.diagonal(), torch.ones(len(names)).double())
        assert table[ours, theirs] > 1 - 1e-6
        assert table[ours, other] < 0.9


def test_agreement_is_measured_within_the_receptive_field(of_unit):
    _, _, found = of_unit
    (top, bottom), (left, right) = found.receptive_field.tolist()
    first, second = (
        found[name].pixels.abs().sum(0)[top:bottom, left:right].flatten() for name in ("deconvnet", "guided")
    )
    expected = scipy.stats.spearmanr(first.numpy(), second.numpy()).statistic
    assert math.isclose(float(found.agreement["Spearman"][0, 1]), expected, rel_tol=1e-9)
    assert abs(expected) < 0.99


def test_scores_of_a_linear_model():
    """Its gradient loses nothing to noise and does not move; input x gradient does both."""
    model = double(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 10 * 14, 2)))
    methods, scores = ["deconvnet", "Saliency", "InputXGradient"], ["sensitivity", "infidelity"]
    found = dv.compare(model, image(), target=1, methods=methods, scores=scores)
    assert list(found.scores) == scores
    for name in ("deconvnet", "Saliency"):
        assert found.scores["infidelity"][name] < 1e-12
        assert found.scores["sensitivity"][name] < 1e-12
    assert found.scores["infidelity"]["InputXGradient"] > 1e-6
    assert 0.01 < found.scores["sensitivity"]["InputXGradient"] < 0.2


def test_deletion_and_insertion_are_those_of_the_evidence(of_class):
    model, x, found = of_class
    judged = deletion(dv.DeconvNet(model), x, "output", channel=2, methods=["deconvnet", "gradient"])
    for ours, name in (("deconvnet", "deconvnet"), ("Deconvolution", "deconvnet"), ("Saliency", "gradient")):
        assert found.scores["deletion"][ours] == pytest.approx(judged.deletion_scores[name].mean, nan_ok=True)
        assert found.scores["insertion"][ours] == pytest.approx(judged.insertion_scores[name].mean, nan_ok=True)
    assert math.isfinite(found.scores["insertion"]["deconvnet"])


def test_scores_are_those_of_captum_and_repeatable(of_class):
    model, x, found = of_class
    explain = dv.DeconvNetAttribution(model)
    torch.manual_seed(comparison.SEED)
    theirs = sensitivity_max(
        explain.attribute,
        x,
        perturb_radius=comparison.NOISE * float(x.std()),
        n_perturb_samples=comparison.SHIFTS,
        target=2,
    )
    assert math.isclose(found.scores["sensitivity"]["deconvnet"], float(theirs), rel_tol=1e-6)
    again = dv.compare(model, x, target=2, methods=["deconvnet"], scores=["sensitivity", "infidelity"])
    for score in ("sensitivity", "infidelity"):
        assert again.scores[score]["deconvnet"] == found.scores[score]["deconvnet"]


def test_what_takes_longest_is_left_out_and_the_settings_say_so(of_class):
    model, x, everything = of_class
    quick = dv.compare(model, x, target=2, methods=["deconvnet", "brightness"])
    assert list(quick.scores) == ["deletion", "insertion"]
    for score in quick.scores:
        for name in ("deconvnet", "brightness"):
            assert quick.scores[score][name] == everything.scores[score][name]
    (said,) = [line for line in quick.settings if line.startswith("Left out")]
    assert said == (
        "Left out, to be quick: infidelity; sensitivity; deletion, signed; insertion, signed; deletion, times image; "
        "insertion, times image. Scores 'all' computes them, too."
    )
    assert not any(line.startswith("Infidelity") for line in quick.settings)
    assert not any(line.startswith("Left out") for line in everything.settings)
    with pytest.raises(
        InputError, match=r"there is no score 'insertoin'; there are .* or 'all'; did you mean 'insertion'"
    ):
        dv.compare(model, x, scores="insertoin")


def test_a_score_that_cannot_be_computed_says_why():
    class OneAtATime(Modules):
        def forward(self, x):
            if len(x) > 1:
                raise ValueError("one image at a time")
            return super().forward(x)

    found = dv.compare(double(OneAtATime()), image(), target=1, methods=["Saliency"], scores="infidelity")
    assert found["Saliency"].pixels.any()
    assert math.isnan(found.scores["infidelity"]["Saliency"])
    assert "no infidelity: ValueError: one image at a time" in found["Saliency"].remark


# The model, and mistakes


def test_the_model_is_left_as_it_was():
    model, x = Reused().train(), image().float()
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}
    with untouched(model):
        dv.compare(model, x, target=1)
        dv.compare(model, x, layer="second", channel=1, methods=list(OF_A_NEURON))
        with pytest.raises(InputError):
            dv.compare(model, x, target=99)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == attributes
    assert not x.requires_grad
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_copy_shares_the_parameters_only():
    model = Modules().train()
    aim = aimed(model, "output", (1,), "relu2")
    assert all(a is b for a, b in zip(aim.model.parameters(), model.parameters(), strict=True))
    assert aim.cam is aim.model.relu2 is not model.relu2
    assert not any(module.training for module in aim.model.modules())
    with pytest.raises(InputError, match=r"returned a tensor of shape \(1, 1, 2\)"):
        run_method(lambda aim, x: x[:, :, 0, :2], aim, torch.zeros(1, 1, 4, 4))


MISTAKES = {
    "two images": (
        InputError,
        r"one image \(1, C, H, W\), not on input of shape \(2, ",
        lambda m, x: (m, x.repeat(2, 1, 1, 1), {}),
    ),
    "two inputs": (InputError, r"one image \(1, C, H, W\), not", lambda m, x: (m, (x, x), {})),
    "no such class": (InputError, "layer 'output' has channels 0 to 3, not 4", lambda m, x: (m, x, {"target": 4})),
    "class and layer": (
        InputError,
        "give the class 1 or a unit of layer 'second', not both",
        lambda m, x: (m, x, {"target": 1, "layer": "second"}),
    ),
    "channel alone": (InputError, "channel 2 of which layer", lambda m, x: (m, x, {"channel": 2})),
    "no such layer": (
        UnknownLayerError,
        "did you mean 'second'",
        lambda m, x: (m, x, {"layer": "secund", "channel": 2}),
    ),
    "all places": (
        InputError,
        "on one unit; give its position",
        lambda m, x: (m, x, {"layer": "second", "channel": 2, "position": "all"}),
    ),
    "no such method": (
        InputError,
        "no method 'Salience'; there are .*; did you mean 'Saliency'",
        lambda m, x: (m, x, {"target": 1, "methods": ["Salience"]}),
    ),
    "no method": (InputError, "there is no method to look at", lambda m, x: (m, x, {"target": 1, "methods": []})),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence_for_a_mistake(mistake):
    error, sentence, arguments = MISTAKES[mistake]
    model, x, options = arguments(double(Modules()), image())
    with pytest.raises(error, match=sentence) as caught:
        dv.compare(model, x, **options)
    assert "\n" not in str(caught.value)
