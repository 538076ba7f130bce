"""Code as people write it: pictures equal autograd's, in batches and alone, or a sentence says what cannot be."""

from __future__ import annotations

import contextlib
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops import while_loop

import deconvviz as dv
from deconvviz.errors import DeconvVizError, InputError, ModelError, UnsupportedOperation
from tests.helpers.autograd_reference import untouched
from tests.helpers.between_convolutions import STYLES, Around, Reference, error, everywhere, images, windows_everywhere
from tests.helpers.code_snippets import CODE, PLAIN, RECTIFIED


def asked(name: str, samples: int):
    styles = ("gradient",) if name in RECTIFIED else STYLES
    return list(everywhere(CODE[name], samples, styles, PLAIN.get(name)))


def test_there_is_much_of_it():
    assert len(CODE) > 340


@pytest.mark.parametrize("number", range(8))
@pytest.mark.filterwarnings("ignore")  # torch warns of some of it
def test_ordinary_code_is_right(number):
    """One of the ways to ask for each, in turn; all of them in the slow test."""
    with windows_everywhere():
        for turn, name in enumerate(list(CODE)[number::8], number):
            ways = asked(name, 1 + turn % 2)
            way, ask = ways[turn // 2 % len(ways)]
            assert ask() < 1e-10, f"{name}: {way}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("samples", [1, 2])
def test_ordinary_code_is_right_however_it_is_asked(name, samples):
    with windows_everywhere():
        for way, ask in asked(name, samples):
            assert ask() < 1e-10, way


# What torch does not derive


def picture(function, samples=1, style="gradient", layer="d", **options):
    return dv.DeconvNet(Around(function), style).project(images(samples), layer, channel=0, **options)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda h: h + h // 0.5, "aten.floor_divide in floordiv has neither a mirror nor a derivative"),
        (
            lambda h: h.scatter(1, torch.zeros(1, 1, 8, 6, dtype=torch.long), h[:, 1:2], reduce="add"),
            "aten.scatter in scatter has neither a mirror nor a derivative",
        ),
        (lambda h: h * torch.heaviside(h, torch.ones(1).double()), "aten.heaviside in heaviside has neither"),
        (
            lambda h: torch._higher_order_ops.map(torch.sin, h),
            "map_impl in map_impl calls its functions where they cannot be recorded",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_torch_does_not_derive_is_said_in_a_sentence(function, sentence):
    with pytest.raises(UnsupportedOperation, match=sentence):
        picture(function)


def test_a_loop_of_torch_is_followed():
    def function(h):
        return while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * a), (torch.tensor(0), h))[1]

    for _, ask in everywhere(function, 1, plain=lambda h: h**8):
        assert ask() < 1e-10


# Layers and outputs of every shape


class Outputs(nn.Module):
    """A convolution, and what a function makes of its maps."""

    def __init__(self, function):
        super().__init__()
        self.c, self.function = nn.Conv2d(3, 4, 3).double(), function

    def forward(self, x):
        return self.function(self.c(x))


@pytest.mark.parametrize(
    "function",
    [
        lambda h: (h, h.pow(2).mean()),
        lambda h: {"maps": h, "loss": h.sum(), "none": None, "name": "maps", "count": 3},
        lambda h: [h, [h.mean((2, 3)), (h.argmax(), h > 0)], None],
        lambda h: h.mean(),
        lambda h: h.sum((1, 2, 3)),
        lambda h: h.argmax(1),
        lambda h: float(h.sum()),
        lambda h: None,
        lambda h: (one for one in h),
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_other_layers_are_seen_whatever_a_model_returns(function, samples):
    model, x = Outputs(function).eval(), images(samples)
    net = dv.DeconvNet(model, "gradient")
    table = net.layers(x)
    assert table["c"].receptive_field == (3, 3)
    assert all(info.receptive_field is None for info in table if not info.shape)
    weight = model.c.weight.detach()
    projection = net.project(x, "c", channel=1, position=(2, 1), seed="one")
    for pixels in projection.pixels:
        assert torch.equal(pixels[:, 2:5, 1:4], weight[1])
    assert torch.allclose(
        dv.scan(net, x, layers=["c"], k=1, progress=False).values["c"][:, 0], model.c(x).amax((0, 2, 3))
    )
    for info in table:
        with contextlib.suppress(DeconvVizError):  # anything else comes out
            net.project(x, info.name)


def test_a_number_has_no_channels_and_can_be_reconstructed_from():
    model, x = Outputs(lambda h: (h, h.pow(2).mean())).eval(), images(1)
    net = dv.DeconvNet(model)
    with pytest.raises(InputError, match=r"'output\[1\]' returns a single number, which has no channels; reconstruct"):
        net.project(x, "output[1]")
    with pytest.raises(InputError, match="returns a single number"):
        net.project_units(x, "output[1]", [(0, 0, ())])
    leaf = x.clone().requires_grad_()
    loss = model(leaf)[1]
    (expected,) = torch.autograd.grad(loss, leaf, loss.detach())
    assert error(net.reconstruct(x, "output[1]").pixels, expected) < 1e-10
    with pytest.raises(InputError, match="gives other activations for sample 0 alone than in this batch of 2"):
        net.reconstruct(images(2), "output[1]")


@pytest.mark.parametrize("first", [nn.Identity(), nn.Dropout(0.5), nn.Flatten(0, 0)], ids=str)
def test_a_layer_that_is_the_input_shows_its_pixel(first):
    model = nn.Sequential(first, nn.Conv2d(3, 2, 3)).double()
    x = images(2)
    for position in ((4, 5), "max"):
        projection = dv.DeconvNet(model).project(x, "0", channel=1, position=position)
        for unit, pixels in zip(projection.units, projection.pixels, strict=True):
            expected = torch.zeros_like(pixels)
            expected[(1, *unit.position)] = x[(unit.sample, 1, *unit.position)]
            assert torch.equal(pixels, expected)
    assert torch.equal(dv.DeconvNet(model).reconstruct(x, "0").pixels, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "options", [{"padding": "valid"}, {"padding": "valid", "stride": 2}, {"stride": (2,)}, {"dilation": (2,)}], ids=str
)
def test_one_number_for_all_axes_of_a_convolution(layout, options):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, **options), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding="valid")
    )
    model = model.double().eval().to(memory_format=layout)
    x = F.pad(images(2), (3, 3, 3, 3)).contiguous(memory_format=layout)
    leaf = x.clone().requires_grad_()
    made = model(leaf)
    for position in ("all", (1, 1)):
        projection = dv.DeconvNet(model, "gradient").project(x, "3", position=position, seed="one")
        for unit, pixels in list(zip(projection.units, projection.pixels, strict=True))[::3]:
            value = made[(unit.sample, unit.channel, *unit.position)]
            (expected,) = torch.autograd.grad(value, leaf, retain_graph=True)
            assert error(pixels, expected[unit.sample]) < 1e-10


# Models that are run in other ways


class Inferring(Around):
    @torch.inference_mode()
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize(
    "function", [lambda h: h * h.sigmoid(), lambda h: h.mul_(h.mean()).relu_(), lambda h: F.layer_norm(h, (6,))]
)
def test_a_forward_under_inference_mode(function):
    for samples in (1, 2):
        x = images(samples)
        plain, inferring = (dv.DeconvNet(kind(function), "gradient") for kind in (Around, Inferring))
        if samples == 1:
            for position in ("max", (1, 1)):
                expected = plain.project(x, "d", position=position).pixels
                assert error(inferring.project(x, "d", position=position).pixels, expected) < 1e-12
        try:
            expected = plain.reconstruct(x, "d").pixels
        except InputError:
            continue
        assert error(inferring.reconstruct(x, "d").pixels, expected) < 1e-12


def test_a_frozen_script():
    x = images(2)
    model = Around(torch.tanh).eval()
    plain = nn.Sequential(model.c, nn.Tanh(), model.d).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen = torch.jit.freeze(torch.jit.script(plain))
        net = dv.DeconvNet(frozen, "gradient")
        names = [info.name for info in net.layers(x)]
        assert names[-1] == "output"
        found = net.project(x, names[-1], channel=1).pixels
    assert error(found, dv.DeconvNet(plain, "gradient").project(x, "2", channel=1).pixels) < 1e-12


def test_a_lazy_module_is_run_once_first():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(ModelError, match=r"'0\.weight' has no shape yet; run the model once on a typical input"):
        dv.DeconvNet(model)
    model(torch.zeros(1, 3, 8, 8))
    assert dv.DeconvNet(model).project(torch.rand(1, 3, 8, 8), "1").pixels.shape == (4, 3, 8, 8)


class Squeezing(nn.Module):
    """A model that takes batches only: of one image it squeezes the batch axis away, too."""

    def __init__(self):
        super().__init__()
        self.c, self.n, self.f = nn.Conv2d(1, 4, (10, 8)), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        return self.f(self.n(self.c(x[:, :1]).squeeze()))


def test_a_squeeze_of_a_batch():
    model, x = Squeezing().double().eval(), images(3)
    leaf = x.clone().requires_grad_()
    made = model(leaf)
    net = dv.DeconvNet(model)
    for found in (net.project(x, "f", channel=1), net.project_units(x, "f", [(0, 1, ()), (1, 1, ()), (2, 1, ())])):
        (expected,) = torch.autograd.grad((made[:, 1] * made[:, 1].detach()).sum(), leaf, retain_graph=True)
        assert error(found.pixels, expected) < 1e-10
    with pytest.raises(InputError, match="the input has shape"):
        net.project(x[:1], "f", channel=1)


@pytest.mark.parametrize("kind", [nn.RReLU(inplace=True), nn.RReLU(), nn.RReLU(0.3, 0.3, inplace=True)], ids=str)
def test_rrelu_in_eval_mode(kind):
    for samples in (1, 2):
        x, model = images(samples), Around(kind)
        reference = Reference(Around(lambda h: F.leaky_relu(h, (kind.lower + kind.upper) / 2)), x)
        with untouched(model):
            found = dv.DeconvNet(model, "gradient").project(x, "d", channel=0)
        assert error(found.pixels, torch.stack([reference.unit(u.sample, 0, u.position) for u in found.units])) < 1e-10
