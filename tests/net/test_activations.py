"""`DeconvNet.activations`: what a layer returns, as a hook sees it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.models import load_weights
from deconvviz.results import FeatureMaps


def hooked(model: nn.Module, layer: str, x: Tensor) -> Tensor:
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2].detach()))
    with torch.no_grad():
        model(x)
    handle.remove()
    return seen[0]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 5)).eval()


def test_maps_are_what_the_layer_returns(tmp_path) -> None:
    model, x = network(), torch.randn(2, 2, 8, 8)
    net = dv.DeconvNet(model)
    for given in (x, net.trace(x), x.numpy()):
        found = net.activations(given, model[2])
        assert torch.allclose(found.maps, hooked(model, "2", x))
        assert torch.equal(found.images, x)
    assert torch.allclose(net.activations(x, "4").maps, hooked(model, "4", x))
    assert str(found).startswith("FeatureMaps(maps=tensor of shape (2, 4, 4, 4), images=tensor of shape (2, 2, 8, 8)")
    saved = FeatureMaps.load(found.save(tmp_path / "maps.safetensors"))
    assert torch.equal(saved.maps, found.maps)
    assert torch.equal(saved.images, x)
    assert saved.provenance == found.provenance
    assert found.numpy().shape == (2, 4, 4, 4)
    assert torch.allclose(found.strength, hooked(model, "2", x).amax((2, 3)).double())
    row = found.as_json()["table"][5]
    channel = hooked(model, "2", x)[1, 1]
    assert (row["image"], row["channel"], row["maximum"]) == (1, 1, float(channel.max()))
    assert channel[tuple(row["at"])] == channel.max()
    assert len(found.table()) == 8


class Tokens(nn.Module):
    """As in a vision transformer, channels are the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.project = nn.Conv2d(1, 6, 2, stride=2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.patches(x).flatten(2).transpose(1, 2))


def test_channels_come_before_the_places() -> None:
    torch.manual_seed(0)
    model, x = Tokens(), torch.randn(2, 1, 6, 6)
    found = dv.DeconvNet(model).activations(x, "project")
    assert torch.allclose(found.maps, hooked(model, "project", x).transpose(1, 2))


class Mixes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.after = nn.Conv2d(1, 2, 3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found = self.conv(x)
        return self.after(found - found.mean(0, keepdim=True))


def test_samples_that_are_mixed_are_refused() -> None:
    with pytest.raises(InputError, match="layer 'after' gives other activations for sample 0 alone"):
        dv.DeconvNet(Mixes()).activations(torch.randn(2, 1, 5, 5), "after")
    assert dv.DeconvNet(Mixes()).activations(torch.randn(2, 1, 5, 5), "conv").maps.shape == (2, 2, 3, 3)


def test_mistakes() -> None:
    net = dv.DeconvNet(network())
    with pytest.raises(UnknownLayerError, match="there is no layer 'x'"):
        net.activations(torch.randn(1, 2, 8, 8), "x")
    found = net.activations(torch.randn(1, 2, 8, 8), "2")
    net.model[0].weight.data *= 1e6
    with pytest.raises(InputError, match="the activations of layer '2' are not all finite"):
        net.activations(torch.full((1, 2, 8, 8), 3e38), "2")
    with pytest.raises(InputError, match="there is no image 1; give one from 0 to 0"):
        found.figure(sample=1)


def test_the_provenance_names_modules_with_random_weights(tmp_path, recwarn) -> None:
    """A head that does not fit a checkpoint stays random, and pictures of the layers before it say so."""
    trained, model = network(), network()
    state = {name: value for name, value in trained.state_dict().items() if not name.startswith("4.")}
    torch.save(state, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    net, x = dv.DeconvNet(model), torch.randn(1, 2, 8, 8)
    assert net.activations(x, "2").provenance.random == ("4",)
    assert net.project(x, "2", channel=1).provenance.random == ("4",)
    assert net.filters("2").provenance.random == ("4",)
    assert dv.DeconvNet(trained).filters("2").provenance.random == ()
