"""Arguments `layers` and `layer`: each public function accepts the same values and refuses others in the same words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import evidence, experiments, models
from deconvviz.errors import InputError, UnknownLayerError
from tests.helpers.public_functions import BOXES, DATA, LABELS, MANY, MODEL, NET, QUIET, TOP, WEIGHTS, X, taking


def evolved(**options: Any) -> Any:
    return tuple(experiments.evolution(NET, WEIGHTS, DATA, channel=0, **options, **QUIET).measured)


LAYERS: dict[str, Callable[[Any, Path], Any]] = {
    "DeconvNet.trace": lambda layers, _: tuple(NET.trace(X, layers).activations),
    "scan": lambda layers, _: dv.scan(NET, DATA, layers=layers, k=1, **QUIET).layers,
    "build_atlas": lambda layers, folder: shown(layers, folder),
    "clarity": lambda layers, _: evidence.clarity(NET, X, layers=layers, **QUIET).layers,
    "correspondence": lambda layers, _: (
        experiments.correspondence(NET, X, {"a": [(0, 0, 2, 2)] * 2}, layers=layers, draws=1, **QUIET).layers
    ),
    "diff": lambda layers, _: tuple(
        one.layers[1] for one in dv.diff(NET, NET, DATA, layers=layers, pictures=0, **QUIET)
    ),
    "diagnose": lambda layers, _: tuple(
        one.layer for one in experiments.diagnose(NET, DATA, layers=layers, **QUIET).layers
    ),
    "evolution": lambda layers, _: evolved(layers=layers),
    "decoding": lambda layers, _: (
        experiments.decoding(NET, DATA.repeat(3, 1, 1, 1), layers=layers, seeds=1, **QUIET).layers
    ),
    "invariance": lambda layers, _: experiments.invariance(NET, X, layers=layers, values=[1], **QUIET).layers,
    "probe": lambda layers, _: experiments.probe(NET, (DATA, LABELS), layers=layers, folds=2, epochs=1, **QUIET).layers,
    "clip_filter_rms_": lambda layers, _: clipped(layers),
}


def shown(layers: Any, folder: Path) -> tuple[str, ...]:
    page = dv.build_atlas(NET, DATA, TOP, out=folder / "atlas", layers=layers, evidence=False, **QUIET)
    assert isinstance(page, Path)
    text = "".join(path.read_text("utf-8") for path in sorted((folder / "atlas" / "data").glob("*.js")))
    return tuple(dict.fromkeys(re.findall(r'"name": ?"([02])"', text)))


def clipped(layers: Any) -> tuple[str, ...]:
    """The layers whose filters are scaled."""
    before = {name: MODEL.get_submodule(name).weight.detach().clone() for name in ("0", "2")}
    try:
        models.clip_filter_rms_(MODEL, 1e-3, layers=layers)
        return tuple(name for name, old in before.items() if not torch.equal(old, MODEL.get_submodule(name).weight))
    finally:
        for name, old in before.items():
            MODEL.get_submodule(name).weight.data.copy_(old)


SAME_LAYERS = {
    "a list": lambda: ["0", "2"],
    "a tuple": lambda: ("0", "2"),
    "a generator": lambda: (name for name in ("0", "2")),
    "an iterator": lambda: iter(["0", "2"]),
    "an array": lambda: np.array(["0", "2"]),
    "keys": lambda: dict.fromkeys(["0", "2"]).keys(),
    "a set": lambda: {"2", "0"},
    "modules": lambda: [MODEL[0], MODEL[2]],
    "a name and a module": lambda: ("0", MODEL[2]),
    "twice the same": lambda: ["0", "2", "0", MODEL[2]],
}
ONE_LAYER = {"a name": lambda: "2", "a module": lambda: MODEL[2], "a text of numpy": lambda: np.str_("2")}
NO_LAYER = {
    "a number": 0,
    "a numpy number": np.int64(0),
    "a tensor": torch.tensor(0),
    "a float": 0.0,
    "a truth value": True,
    "bytes": b"0",
    "a list of numbers": [0],
    "a list with None": ["0", None],
    "a list in a list": [["0", "2"]],
    "an array of numbers": np.array([0, 2]),
}
QUICK = ("DeconvNet.trace", "scan", "clip_filter_rms_")  # the others take a while
GIVEN_BY_NAME = "a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, not as "


def test_every_function_that_takes_layers_is_here() -> None:
    assert set(LAYERS) == taking("layers")


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_understood_alike(name: str, tmp_path: Path) -> None:
    call = LAYERS[name]
    same = SAME_LAYERS if name in QUICK else {what: SAME_LAYERS[what] for what in ("a generator", "twice the same")}
    for number, (what, given) in enumerate(same.items()):
        assert call(given(), tmp_path / str(number)) == ("0", "2"), what
    for what, given in ONE_LAYER.items():
        assert call(given(), tmp_path / what) == ("2",), what


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_are_none_are_refused_alike(name: str, tmp_path: Path) -> None:
    call = LAYERS[name]
    nothing = "there is no layer to look at; name at least one, or give layers=None for the default ones"
    for empty in ([], (), iter(()), {}, set(), np.array([])):
        with pytest.raises(InputError, match=nothing):
            call(empty, tmp_path)
    for what, given in NO_LAYER.items():
        with pytest.raises(InputError) as raised:
            call(given, tmp_path)
        assert str(raised.value).startswith(GIVEN_BY_NAME), what
    with pytest.raises(InputError, match="the layer Conv2d is no module of the model Sequential"):
        call([nn.Conv2d(1, 1, 1)], tmp_path)
    for given in ("conv1", ["0", "conv1"]):
        with pytest.raises(UnknownLayerError, match="no layer 'conv1'"):
            call(given, tmp_path)


LAYER: dict[str, Callable[[Any], Any]] = {
    "DeconvNet.project": lambda layer: NET.project(X, layer, channel=1).units[0].layer,
    "DeconvNet.project_units": lambda layer: NET.project_units(X, layer, [(0, 1, (0, 0))]).units[0].layer,
    "DeconvNet.reconstruct": lambda layer: NET.reconstruct(X, layer).provenance.layer,
    "DeconvNet.filters": lambda layer: NET.filters(layer).provenance.layer,
    "DeconvNet.activations": lambda layer: NET.activations(X, layer).provenance.layer,
    "NeuronDeconvNetAttribution.__init__": lambda layer: (
        dv.NeuronDeconvNetAttribution(MODEL, layer).attribute(X, (0, 0, 0)) is not None and "2"
    ),
    "compare": lambda layer: dv.compare(NET, X[:1], layer=layer, methods="deconvnet", **QUIET).unit.layer,
    "deletion": lambda layer: evidence.deletion(NET, X, layer, methods="deconvnet", steps=1, **QUIET).units[0].layer,
    "leak": lambda layer: evidence.leak(NET, X, layer, **QUIET).units[0].layer,
    "localisation": lambda layer: (
        evidence.localisation(NET, X, BOXES, layer=layer, methods="deconvnet", **QUIET) is not None and "2"
    ),
    "occlusion": lambda layer: (
        experiments.occlusion(NET, X, layer=layer, patch=4, stride=4, **QUIET).projection.provenance.layer
    ),
    "project_top": lambda layer: dv.project_top(NET, DATA, TOP, layer=layer, channel=1, **QUIET).layer,
    "randomisation": lambda layer: evidence.randomisation(NET, X, layer, methods="deconvnet", **QUIET).units[0].layer,
    "circuit": lambda layer: dv.circuit(NET, DATA, layer, channel=1, **QUIET).layer,
    "mixed_channels": lambda layer: dv.mixed_channels(NET, MANY, layer, channel=1, units=24, **QUIET).layer,
    "reading_test": lambda layer: (
        dv.reading_test(NET, DATA, layer, channel=1, references=1, questions=1, **QUIET).layer
    ),
    "synthesize": lambda layer: dv.synthesize(NET, layer, channel=1, size=8, steps=1, **QUIET).layer,
    "selectivity": lambda layer: (
        evidence.selectivity(NET, X, layer, count=2, methods="deconvnet", **QUIET).units[0].layer
    ),
}


def test_every_function_that_takes_a_layer_is_here() -> None:
    assert set(LAYER) == taking("layer")


@pytest.mark.parametrize("name", LAYER)
def test_a_layer_is_understood_alike(name: str) -> None:
    for what, given in ONE_LAYER.items():
        assert LAYER[name](given()) == "2", what
    for what, given in NO_LAYER.items():
        with pytest.raises(InputError) as raised:
            LAYER[name](given)
        assert str(raised.value).startswith(GIVEN_BY_NAME), what
    with pytest.raises(InputError, match="the layer Conv2d is no module of the model Sequential"):
        LAYER[name](nn.Conv2d(1, 1, 1))
    with pytest.raises(UnknownLayerError, match="no layer 'conv1'"):
        LAYER[name]("conv1")
