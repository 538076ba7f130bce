"""Names of layers and numbers of channels given as something that can be read only once, such as a generator."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.evidence import clarity
from deconvviz.experiments import correspondence, diagnose, evolution, invariance, probe
from deconvviz.models.filters import clip_filter_rms_

IMAGES = torch.rand(12, 1, 10, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 2


@pytest.fixture
def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    return dv.DeconvNet(model)


def checkpoints(net):
    return {"1": net.model.state_dict(), "2": {name: 2 * tensor for name, tensor in net.model.state_dict().items()}}


CALLS = {
    "scan": lambda net, layers: dv.scan(net, IMAGES, layers=layers, progress=False).layers,
    "trace": lambda net, layers: tuple(net.trace(IMAGES[:1], layers).activations),
    "clarity": lambda net, layers: clarity(net, IMAGES[:2], layers=layers).layers,
    "diagnose": lambda net, layers: tuple(
        one.layer for one in diagnose(net, IMAGES, layers=layers, batch_size=4, progress=False).layers
    ),
    "invariance": lambda net, layers: tuple(
        invariance(net, IMAGES[:2], layers=layers, transform="rotation", values=[0, 90]).layers
    ),
    "correspondence": lambda net, layers: (
        correspondence(net, IMAGES[:2], {"a": [(2, 2)] * 2}, layers=layers, size=2, draws=2, progress=False).layers
    ),
    "probe": lambda net, layers: probe(net, (IMAGES, LABELS), layers=layers, folds=2, epochs=1, progress=False).layers,
    "evolution": lambda net, layers: tuple(
        evolution(net, checkpoints(net), IMAGES, layers=layers, progress=False).measured
    ),
}
ASKED = dict.fromkeys(CALLS, ("1", "2")) | {"diagnose": ("0", "2")}


@pytest.mark.parametrize("name", CALLS)
def test_layers_that_can_be_read_once_are_those_that_are_named(net, name):
    call, asked = CALLS[name], ASKED[name]
    assert call(net, (layer for layer in asked)) == call(net, list(asked)) == asked
    assert call(net, asked[1]) == asked[1:]  # a name is no list of letters
    with pytest.raises(InputError, match="there is no layer to look at; name at least one, or give layers=None"):
        call(net, (layer for layer in ()))


def test_filters_of_layers_that_can_be_read_once_are_clipped(net):
    clipped = clip_filter_rms_(net.model, 1e-3, layers=(name for name in ("0", "2")))
    assert clipped == 7
    assert clip_filter_rms_(net.model, 1e-4, layers="2") == 3


def test_channels_of_an_atlas_that_can_be_read_once_are_shown(net, tmp_path):
    top = dv.scan(net, IMAGES, layers=["1", "3"], k=2, progress=False)

    def pictures(channels):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        dv.build_atlas(net, IMAGES, top, out=out, channel=channels, progress=False, evidence=False)
        return [path.read_bytes() for path in sorted((out / "data").rglob("*.js"))]

    asked = pictures({"1": [0, 2], "3": []})
    assert pictures({"1": (channel for channel in (2, 0)), "3": iter(())}) == asked
    assert pictures({"1": torch.tensor([0, 2]), "3": set()}) == asked
    assert pictures({"1": 1, "3": ()}) == pictures({"1": [1], "3": []}) != asked
    with pytest.raises(InputError, match="layer '1' has channels 0 to 3, not 4"):
        pictures({"1": (channel for channel in (0, 4))})
    with pytest.raises(InputError, match="layer '1' has channels 0 to 3, not '0'"):
        pictures({"1": ["0"]})
    with pytest.raises(InputError, match="there is no layer to look at; name at least one"):
        dv.build_atlas(
            net, IMAGES, top, out=tmp_path / "none", layers=(name for name in ()), progress=False, evidence=False
        )


def test_channels_of_an_evolution_that_can_be_read_once_are_those_of_each_layer(net):
    found = evolution(net, checkpoints(net), IMAGES, layers=["1", "3"], channel=(c for c in (2, 0)), progress=False)
    assert found.measured == {"1": (2, 0), "3": (2, 0)}
