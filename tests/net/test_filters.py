"""`DeconvNet.filters`: the weights that take effect, found by sending single pixels through the layer."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.results import Filters


def by_impulses(layer: nn.Module, inputs: int, size: tuple[int, ...]) -> Tensor:
    """(out, inputs, *size): what each pixel of an input as large as the kernel adds to the only output."""
    with torch.no_grad():
        nothing = layer(torch.zeros(1, inputs, *size))
        filters = torch.zeros(nothing.shape[1], inputs, *size)
        for place in itertools.product(range(inputs), *map(range, size)):
            x = torch.zeros(1, inputs, *size)
            x[(0, *place)] = 1
            filters[(slice(None), *place)] = (layer(x) - nothing)[0].flatten()
    return filters


class Standardised(nn.Conv2d):
    """Its filters have mean zero and length one, as in networks without batch normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.flatten(1).norm(dim=1)[:, None, None, None], self.bias)


def pruned() -> nn.Module:
    layer = nn.Conv2d(3, 4, 3)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    layer.weight_orig.data *= 3  # which takes effect at the next call alone
    return layer


def weight_normed() -> nn.Module:
    layer = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    layer.parametrizations.weight.original0.data *= 2
    return layer


def normed_by_a_hook() -> nn.Module:
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    layer.weight_g.data *= 2  # which takes effect at the next call alone
    return layer


def spectral() -> nn.Module:
    return parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))


LAYERS = {
    "plain": lambda: nn.Conv2d(3, 4, 3),
    "dilated, with reflected borders": lambda: nn.Conv2d(3, 4, 3, dilation=2, padding=4, padding_mode="reflect"),
    "weight normalised": weight_normed,
    "weight normalised by a hook": normed_by_a_hook,
    "spectrally normalised": spectral,
    "pruned": pruned,
    "standardised": lambda: Standardised(3, 4, 3),
    "one-dimensional": lambda: nn.Conv1d(2, 4, 5),
    "three-dimensional": lambda: nn.Conv3d(2, 3, (2, 3, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_filters_are_those_that_take_effect(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    model = nn.Sequential(layer, nn.ReLU())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = dv.DeconvNet(model.train()).filters("0")
    assert model.training
    assert layer.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    if layer.dilation[0] > 1:
        layer.dilation, layer.padding, layer.padding_mode = (1, 1), (0, 0), "zeros"
    wanted = by_impulses(layer.eval(), layer.in_channels, layer.kernel_size)
    assert torch.allclose(found.weight, wanted, atol=1e-6)
    assert (found.groups, found.transposed) == (1, False)


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(4, 6, 2), (3, 6, 3), (3, 3, 3)])
def test_filters_of_groups_say_what_they_read(inputs: int, outputs: int, groups: int) -> None:
    layer = nn.Conv2d(inputs, outputs, 3, groups=groups)
    found = dv.DeconvNet(layer).filters("output")
    whole = torch.zeros(outputs, inputs, 3, 3)
    for channel, weight in enumerate(found.weight):
        first = found.first_input(channel)
        whole[channel, first : first + len(weight)] = weight
    assert found.groups == groups
    assert torch.allclose(whole, by_impulses(layer, inputs, (3, 3)), atol=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_filters_of_a_transposed_convolution_are_what_it_adds(groups: int) -> None:
    layer = nn.ConvTranspose2d(4, 6, 3, groups=groups, bias=False)
    found = dv.DeconvNet(nn.Sequential(layer)).filters(layer)
    assert found.transposed
    with torch.no_grad():
        for channel, weight in enumerate(found.weight):
            first = found.first_input(channel)
            for number in range(4):
                pixel = torch.zeros(1, 4, 1, 1)
                pixel[0, number] = 1
                reads = first <= number < first + len(weight)
                wanted = weight[number - first] if reads else torch.zeros(3, 3)
                assert torch.allclose(layer(pixel)[0, channel], wanted, atol=1e-6)


class Flat(nn.Module):
    """A linear layer that reads maps, one on numbers, and a functional convolution."""

    def __init__(self, last: bool = False) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(2, 1, 3, 3))
        self.fc, self.head = nn.Linear(2 * 4 * 5, 3), nn.Linear(3, 2)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        maps = F.conv2d(x, self.kernel * 2).relu()
        maps = maps.permute(0, 2, 3, 1) if self.last else maps
        return self.head(self.fc(maps.flatten(1).clamp(min=0)))


@pytest.mark.parametrize("last", [False, True])
def test_a_linear_layer_has_the_shape_of_the_maps_it_reads(last: bool) -> None:
    model = Flat(last).eval()
    net = dv.DeconvNet(model)
    trace = net.trace(torch.randn(2, 1, 6, 7))
    shape = (4, 5, 2) if last else (2, 4, 5)
    wanted = model.fc.weight.detach().unflatten(1, shape)
    assert torch.equal(net.filters("fc", trace=trace).weight, wanted.movedim(3, 1) if last else wanted)
    assert torch.equal(net.filters("conv2d", trace=trace).weight, 2 * model.kernel.detach())
    with pytest.raises(InputError, match=r"layer 'fc' is linear, .* give trace=net.trace\(x\)"):
        net.filters("fc")
    with pytest.raises(InputError, match="layer 'head' is linear and reads 3 numbers that are no maps"):
        net.filters("head", trace=trace)


def test_a_linear_layer_on_pixels() -> None:
    net = dv.DeconvNet(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)))
    found = net.filters("1", trace=net.trace(torch.randn(2, 3, 4, 4)))
    assert torch.equal(found.weight, net.model[1].weight.detach().view(4, 3, 4, 4))


def test_a_linear_layer_after_a_pooling_to_one_pixel_is_refused() -> None:
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)))
    with pytest.raises(InputError, match="layer '3' is linear and reads maps of one pixel"):
        net.filters("3", trace=net.trace(torch.randn(1, 1, 6, 6)))


def test_layers_without_filters_name_the_nearest_that_has_some() -> None:
    block = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.ReLU())
    net = dv.DeconvNet(nn.Sequential(nn.ReLU(), block, nn.MaxPool2d(2)))
    trace = net.trace(torch.randn(1, 1, 8, 8))
    for given in (None, trace):
        for layer in ("0", "1", "1.0", "1.2", "2"):
            with pytest.raises(InputError, match=f"layer '{layer}' has no filters; the nearest .* is '1.1'"):
                net.filters(layer, trace=given)
        with pytest.raises(UnknownLayerError, match=r"there is no layer '1\.3'"):
            net.filters("1.3", trace=given)
    with pytest.raises(InputError, match="layer '0' has no filters, and no other layer has any"):
        dv.DeconvNet(nn.Sequential(nn.BatchNorm2d(1))).filters("0")


def test_quantisation_in_training_is_seen() -> None:
    from torch.ao.nn import qat
    from torch.ao.quantization import default_qat_qconfig

    torch.manual_seed(0)
    layer = qat.Conv2d(2, 3, 3, qconfig=default_qat_qconfig)
    layer(torch.randn(1, 2, 8, 8))  # from which it learns its scale
    found = dv.DeconvNet(nn.Sequential(layer)).filters("0")
    assert torch.allclose(found.weight, by_impulses(layer.eval(), 2, (3, 3)), atol=1e-6)
    assert not torch.equal(found.weight, layer.weight)


def test_it_is_a_result(tmp_path) -> None:
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 5)).double())
    found = net.filters("0")
    assert str(found) == repr(found)
    assert str(found).startswith("Filters(weight=tensor of shape (4, 3, 5, 5), groups=1, transposed=False")
    saved = Filters.load(found.save(tmp_path / "filters.safetensors"))
    assert torch.equal(saved.weight, found.weight)
    assert saved.provenance == found.provenance
    assert (found.provenance.layer, found.provenance.style, found.provenance.seed) == ("0", {}, "")
    assert found.numpy().shape == (4, 3, 5, 5)
    weight = net.model[0].weight.detach()
    assert torch.allclose(found.strength, weight.square().sum((1, 2, 3)).sqrt())
    row = found.as_json()["table"][2]
    assert (row["channel"], row["lowest"], row["highest"]) == (2, float(weight[2].min()), float(weight[2].max()))
    found.weight.zero_()
    assert weight.abs().sum() > 0, "the filters are a copy"


def test_filters_that_are_no_numbers_are_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 2))
    model[0].weight.data[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="the filters of layer '0' are not all finite"):
        dv.DeconvNet(model).filters("0")
    with torch.device("meta"):
        empty = nn.Sequential(nn.Conv2d(1, 1, 2))
    with pytest.raises(InputError, match="the filters of layer '0' are on the device meta, which has no values"):
        dv.DeconvNet(empty).filters("0")
