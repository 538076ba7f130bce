"""deconvviz where Captum's methods stand: what takes a method of Captum takes ours, and the numbers are right.

Where Captum is right, ours are equal to Captum's; where it is silently wrong, to the autograd reference.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torchvision
from captum.attr import Deconvolution, GuidedBackprop, NeuronDeconvolution, NeuronGuidedBackprop, NoiseTunnel
from captum.attr import visualization as viz
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

import deconvviz as dv
from tests.helpers.autograd_reference import Call, ReferenceRun, randomised, relative_error, untouched
from tests.helpers.captum_networks import Small, Twice, Two, double, images, quietly

STYLES = {"deconvnet": (Deconvolution, NeuronDeconvolution), "guided": (GuidedBackprop, NeuronGuidedBackprop)}


# Equal to Captum where Captum is right


@pytest.mark.parametrize("style", STYLES)
def test_equal_to_captum_on_vgg(style):
    model, x = torchvision.models.vgg11(weights=None).eval(), torch.randn(2, 3, 64, 64)
    whole, neuron = STYLES[style]
    ours = dv.DeconvNetAttribution(model, style).attribute(x, target=[3, 7])
    assert relative_error(ours, quietly(whole(model), x.clone(), target=[3, 7])) < 1e-6
    layer = model.features[13]
    ours = dv.NeuronDeconvNetAttribution(model, layer, style=style).attribute(x, (5, 2, 2))
    assert relative_error(ours, quietly(neuron(model, layer), x.clone(), (5, 2, 2))) < 1e-6


@pytest.mark.parametrize(
    "target",
    [4, torch.tensor(4), torch.tensor([1, 3]), [1, 3], [torch.tensor(2).item(), 0]],
    ids=["int", "0-d", "tensor", "list", "items"],
)
def test_targets_of_a_class(target):
    model, x = double(Small()), images()
    ours = dv.DeconvNetAttribution(model).attribute(x, target)
    assert relative_error(ours, quietly(Deconvolution(model), x.clone(), target)) < 1e-10


@pytest.mark.parametrize("target", [(2, 1, 3), [(2, 1, 3), (0, 0, 0)]], ids=["tuple", "tuples"])
def test_targets_of_an_output_with_positions(target):
    model, x = double(Small(maps=True)), images()
    ours = dv.DeconvNetAttribution(model).attribute(x, target)
    theirs = quietly(Deconvolution(model), x.clone(), target)
    assert relative_error(ours, theirs) < 1e-10
    alike = dv.DeconvNetAttribution(model).attribute(x, (2, 1, 3))
    assert torch.equal(ours[0], alike[0])
    assert torch.equal(ours[1], alike[1]) == isinstance(target, tuple)


@pytest.mark.parametrize(
    "selector",
    [
        (2, 1, 3),
        (slice(1, 3), 0, slice(None)),
        (4, slice(0, 4, 2), 1),
        lambda output: output[:, 2].flatten(1).amax(1),
        lambda output: (output[:, 1] * output[:, 3]).sum((1, 2)),
    ],
    ids=["tuple", "slices", "steps", "strongest", "product"],
)
def test_selectors_of_neurons(selector):
    model, x = double(Small()), images()
    ours = dv.NeuronDeconvNetAttribution(model, model.second).attribute(x, selector)
    theirs = quietly(NeuronDeconvolution(model, model.second), x.clone(), selector)
    assert relative_error(ours, theirs) < 1e-10


def test_an_index_of_a_layer_without_positions():
    model, a, b = double(Two()), torch.randn(3, 3).double(), torch.randn(3, 2).double()
    ours = dv.NeuronDeconvNetAttribution(model, model.last).attribute((a, b), 2)
    theirs = quietly(NeuronDeconvolution(model, model.last), (a.clone(), b.clone()), 2)
    assert all(relative_error(one, other) < 1e-10 for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("additional", [None, torch.full((3, 4), 0.5).double(), (None, 2.0, "negative", [1.0])])
def test_several_inputs_and_further_arguments(additional):
    model, a, b = double(Two()), torch.randn(3, 3).double(), torch.randn(3, 2).double()
    ours = dv.DeconvNetAttribution(model).attribute((a, b), 2, additional)
    theirs = quietly(Deconvolution(model), (a.clone(), b.clone()), 2, additional)
    assert isinstance(ours, tuple)
    assert all(relative_error(one, other) < 1e-10 for one, other in zip(ours, theirs, strict=True))
    assert (ours[0].shape, ours[1].shape) == (a.shape, b.shape)


def test_the_form_of_the_inputs_is_that_of_the_result():
    model, x = double(Small()), images()
    alone, within = (dv.DeconvNetAttribution(model).attribute(given, 1) for given in (x, (x,)))
    assert isinstance(alone, Tensor)
    assert isinstance(within, tuple)
    assert torch.equal(alone, within[0])


def test_one_tensor_given_twice_gets_two_attributions():
    class Difference(nn.Linear):
        def forward(self, a, b):
            return super().forward(a) - 2 * super().forward(b)

    model, x = Difference(3, 2).double(), torch.randn(1, 3).double()
    a, b = dv.DeconvNetAttribution(model).attribute((x, x), 1)
    assert torch.allclose(a[0], model.weight[1])
    assert torch.allclose(b[0], -2 * model.weight[1])


def test_a_module_called_twice_is_its_last_call_and_each_has_a_name():
    model, x = double(Twice()), torch.randn(2, 4).double()
    by_module = dv.NeuronDeconvNetAttribution(model, model.last).attribute(x, 3)
    assert relative_error(by_module, quietly(NeuronDeconvolution(model, model.last), x.clone(), 3)) < 1e-10
    first, second = (dv.NeuronDeconvNetAttribution(model, name).attribute(x, 3) for name in ("last", "last_1"))
    assert torch.equal(by_module, second)
    hidden = torch.tanh(model.first(x))
    expected = ((1 - hidden**2) * model.last.weight[3]) @ model.first.weight
    assert relative_error(first, expected.detach()) < 1e-10


def test_another_module_with_the_name_of_a_second_call():
    model = double(nn.Sequential())
    for name, module in (("fc", nn.Linear(3, 3)), ("fc_1", nn.Linear(3, 3))):
        model.add_module(name, module.double())
    found = dv.NeuronDeconvNetAttribution(model, model.fc).attribute(torch.randn(1, 3).double(), 1)
    assert torch.allclose(found[0], model.fc.weight[1])


# Right where Captum is silently wrong


@pytest.mark.parametrize("name", ["densenet121", "googlenet"])
def test_rectifiers_called_as_functions(name):
    """Captum sees no rectifier that is called as a function; its result is another picture, and no error is raised."""
    options = {} if name == "densenet121" else {"init_weights": False, "aux_logits": False}
    model = double(randomised(getattr(torchvision.models, name)(weights=None, **options)))
    last = {"densenet121": "classifier", "googlenet": "fc"}[name]
    x, target = images(2, 3, 64), [3, 500]
    for style, (method, _) in STYLES.items():
        run = ReferenceRun(model, x, [Call(last)], style)
        expected = torch.stack([run.pixels(Call(last), (n, target[n]), 1.0)[n] for n in range(2)])
        ours = dv.DeconvNetAttribution(model, style).attribute(x, target)
        theirs = quietly(method(model), x.clone(), target)
        assert relative_error(ours, expected) < 1e-10
        differs = relative_error(theirs, expected)
        print(f"{method.__name__} of Captum on {name}: off by {differs:.0%}")
        assert differs > 0.2
    single = dv.DeconvNetAttribution(model.float()).attribute(x.float(), target)
    expected = dv.DeconvNetAttribution(model.double()).attribute(x, target)
    assert relative_error(single.double(), expected) < 1e-5


def test_samples_do_not_influence_each_other():
    model, x = double(randomised(torchvision.models.resnet18(weights=None))), images(3, 3, 48)
    together = dv.DeconvNetAttribution(model).attribute(x, [5, 6, 7])
    for n in range(3):
        assert (
            relative_error(together[n : n + 1], dv.DeconvNetAttribution(model).attribute(x[n : n + 1], 5 + n)) < 1e-10
        )


# Captum's tools run unchanged


def test_noise_tunnel():
    model, x = double(Small()), images()
    for method, target in (
        (dv.DeconvNetAttribution(model), {"target": 2}),
        (dv.NeuronDeconvNetAttribution(model, "second"), {"neuron_selector": (1, 2, 2)}),
    ):
        plain = method.attribute(x, **target)
        tunnel = NoiseTunnel(method)
        still = tunnel.attribute(x, nt_samples=3, stdevs=0.0, **target)
        assert relative_error(still, plain) < 1e-12
        squared = tunnel.attribute(x, nt_type="smoothgrad_sq", nt_samples=3, stdevs=0.0, **target)
        assert relative_error(squared, plain**2) < 1e-12
        torch.manual_seed(1)
        noisy = tunnel.attribute(x, nt_samples=4, stdevs=0.5, **target)
        torch.manual_seed(1)
        samples = x.repeat_interleave(4, 0) + torch.normal(0, torch.full((8, *x.shape[1:]), 0.5))
        by_hand = method.attribute(samples, **target).view(2, 4, *x.shape[1:]).mean(1)
        assert relative_error(noisy, by_hand) < 1e-12


def test_infidelity_of_a_linear_model_is_nothing():
    """What a linear unit loses is the perturbation times its weights, which are its attribution."""
    model = double(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 4)))
    x = images()

    def perturbed(inputs):
        noise = 0.1 * torch.randn_like(inputs)
        return noise, inputs - noise

    whole = dv.DeconvNetAttribution(model).attribute(x, 1)
    assert float(infidelity(model, perturbed, x, whole, target=1).max()) < 1e-20
    neuron = dv.NeuronDeconvNetAttribution(model, "2").attribute(x, 1)
    assert float(infidelity(model, perturbed, x, neuron, target=1).max()) < 1e-20
    assert float(infidelity(model, perturbed, x, 2 * neuron, target=1).min()) > 1e-6


def test_sensitivity():
    x = images()
    linear = double(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 36, 4)))
    for method, target in (
        (dv.DeconvNetAttribution, {"target": 1}),
        (lambda model: dv.NeuronDeconvNetAttribution(model, "2"), {"neuron_selector": 1}),
    ):
        assert float(sensitivity_max(method(linear).attribute, x, n_perturb_samples=3, **target).max()) < 1e-12
        curved = nn.Sequential(linear[0], nn.MaxPool2d(2), nn.Conv2d(3, 4, 3).double(), nn.Flatten())
        found = sensitivity_max(method(curved).attribute, x, perturb_radius=1.0, n_perturb_samples=3, **target)
        assert float(found.max()) > 0.01


@pytest.mark.parametrize("neuron", [False, True])
def test_visualisation(neuron):
    model, x = double(Small()), images(1, 2)
    if neuron:
        found = dv.NeuronDeconvNetAttribution(model, "second").attribute(x, (1, 2, 2))
    else:
        found = dv.DeconvNetAttribution(model).attribute(x, 2)
    assert isinstance(found, Tensor)
    shown = found[0].permute(1, 2, 0).numpy()
    figure, axes = viz.visualize_image_attr(shown, sign="all", outlier_perc=0, use_pyplot=False)
    drawn = np.asarray(axes.images[-1].get_array())
    assert np.allclose(drawn, shown.sum(2) / np.abs(shown.sum(2)).max())
    plt.close(figure)


# The model and torch's modes are left as they were


def test_nothing_is_left_behind():
    model, x = Small().train(), torch.randn(2, 2, 8, 8)
    wants = x.clone().requires_grad_()
    with untouched(model):
        for _ in range(2):
            dv.DeconvNetAttribution(model).attribute(x, 1)
            found = dv.NeuronDeconvNetAttribution(model, model.second).attribute(wants, (1, 0, 0))
            with pytest.raises(RuntimeError, match="no such luck"):
                dv.NeuronDeconvNetAttribution(model, model.second).attribute(x, _broken)
    assert (x.requires_grad, wants.requires_grad, wants.grad) == (False, True, None)
    assert not found.requires_grad
    assert all(module.training for module in model.modules())


def _broken(output):
    raise RuntimeError("no such luck")


def test_under_no_grad_and_inference_mode():
    model, x = double(Small()), images()
    expected = dv.DeconvNetAttribution(model).attribute(x, 1)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(dv.DeconvNetAttribution(model).attribute(x, 1), expected)


def test_a_model_that_mixes_its_samples_is_the_gradient_of_the_sum():
    class Centred(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y - 0.25 * y.sum(0, keepdim=True)

    model, x = Centred(3, 2).double(), torch.randn(2, 3).double()
    found = dv.DeconvNetAttribution(model).attribute(x, 1)
    assert torch.allclose(found, quietly(Deconvolution(model), x.clone(), 1))
    assert torch.allclose(found, 0.5 * model.weight[1].expand(2, 3))
