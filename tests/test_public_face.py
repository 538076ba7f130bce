"""The public functions as one: what an argument may be, and what is said of one that is wrong, is the same in all.

The functions are looked up in the public modules. Each that takes layers, a layer, methods, channels, inputs or
`progress` must be called in a table here, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import evidence, experiments, models, results, rules
from deconvviz.data import ImageFolder, MnistTest
from deconvviz.errors import DeconvVizError, InputError, UnknownLayerError

MODULES = ("evidence", "experiments", "figures", "images", "models", "data", "rules")


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    return nn.Sequential(*layers).eval()


MODEL = network()
NET = dv.DeconvNet(MODEL)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA, LABELS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1] * 3)
TOP = dv.scan(NET, DATA, layers=["0", "2"], k=2, progress=False)
BOXES = torch.tensor([[[0, 4], [0, 4]]] * 2)
WEIGHTS = [network().state_dict(), MODEL.state_dict()]
QUIET = {"progress": False}


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What a user calls: the functions of the public modules, constructors, and the methods of the two handles."""
    for module in (dv, *(importlib.import_module(f"deconvviz.{name}") for name in MODULES)):
        for name in getattr(module, "__all__", vars(module)):
            item = getattr(module, name)
            home = getattr(item, "__module__", None)
            if name.startswith("_") or (not hasattr(module, "__all__") and home != module.__name__):
                continue
            if inspect.isfunction(item):
                yield name, item
    for kind in (dv.DeconvNet, dv.DeconvNetAttribution, dv.NeuronDeconvNetAttribution, models.MnistCNN, results.Result):
        for name, item in vars(kind).items():
            if name == "__init__" or not name.startswith("_"):
                found = getattr(item, "__func__", item)
                if inspect.isfunction(found):
                    yield f"{kind.__name__}.{name}", found


FUNCTIONS = dict(functions())
PARAMETERS = {name: dict(inspect.signature(function).parameters) for name, function in FUNCTIONS.items()}
CAPTUMS = ("DeconvNetAttribution.attribute", "NeuronDeconvNetAttribution.attribute")  # as Captum's own are called
OF_A_TRACE = ("DeconvNet.sent_back", "DeconvNet.check_samples")  # what the library's own parts call, with a trace


def taking(parameter: str) -> set[str]:
    return {name for name, parameters in PARAMETERS.items() if parameter in parameters} - {*OF_A_TRACE}


# Signatures


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {*CAPTUMS}))
def test_options_are_given_by_name_from_the_third_argument_on(name: str) -> None:
    parameters = [one for key, one in PARAMETERS[name].items() if key != "self"]
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    assert len(positional) <= 5
    assert [one.name for one in positional[2:] if one.default is not one.empty] == []


def test_one_word_for_one_thing() -> None:
    """See the table of words in the documentation of how the code is laid out."""
    assert taking("seed") == {"DeconvNet.project", "DeconvNet.project_units"}  # a unit's start value
    assert taking("strict") == {"DeconvNet.__init__"}  # operations without a mirror
    assert taking("on_error") == {"scan"}
    assert taking("target") == {"compare", "occlusion", "invariance", "DeconvNetAttribution.attribute"}  # classes
    for old in ("x", "data", "baseline", "targets", "occlude", "unit", "random_seed", "device"):
        assert taking(old) - {"displayed", "brightness", "Preprocess.inverse"} == set(), old
    assert taking("channels") == {"MnistCNN.__init__"}  # how many there are, not which are meant
    for name in taking("progress"):
        assert PARAMETERS[name]["progress"].default is True, name
    for name in taking("path") & {name for name in FUNCTIONS if "save" in name}:
        assert inspect.signature(FUNCTIONS[name], eval_str=False).return_annotation in ("Path", Path), name


# Layers


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
    "diagnose": lambda layers, _: tuple(
        one.layer for one in experiments.diagnose(NET, DATA, layers=layers, **QUIET).layers
    ),
    "evolution": lambda layers, _: evolved(layers=layers),
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


# One layer

LAYER: dict[str, Callable[[Any], Any]] = {
    "DeconvNet.project": lambda layer: NET.project(X, layer, channel=1).units[0].layer,
    "DeconvNet.project_units": lambda layer: NET.project_units(X, layer, [(0, 1, (0, 0))]).units[0].layer,
    "DeconvNet.reconstruct": lambda layer: NET.reconstruct(X, layer).provenance.layer,
    "NeuronDeconvNetAttribution.__init__": lambda layer: (
        dv.NeuronDeconvNetAttribution(MODEL, layer).attribute(X, (0, 0, 0)) is not None and "2"
    ),
    "compare": lambda layer: dv.compare(NET, X[:1], layer=layer, methods="deconvnet", **QUIET).unit.layer,
    "deletion": lambda layer: evidence.deletion(NET, X, layer, methods="deconvnet", steps=1, **QUIET).units[0].layer,
    "localisation": lambda layer: (
        evidence.localisation(NET, X, BOXES, layer=layer, methods="deconvnet", **QUIET) is not None and "2"
    ),
    "occlusion": lambda layer: (
        experiments.occlusion(NET, X, layer=layer, patch=4, stride=4, **QUIET).projection.provenance.layer
    ),
    "randomisation": lambda layer: evidence.randomisation(NET, X, layer, methods="deconvnet", **QUIET).units[0].layer,
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


# Methods

METHODS: dict[str, Callable[[Any], Any]] = {
    "compare": lambda methods: [
        one.name for one in dv.compare(NET, X[:1], layer="2", methods=methods, **QUIET).methods
    ],
    "deletion": lambda methods: [*evidence.deletion(NET, X, "2", methods=methods, steps=1, **QUIET).gains],
    "localisation": lambda methods: [*evidence.localisation(NET, X, BOXES, layer="2", methods=methods, **QUIET).hits],
    "randomisation": lambda methods: [*evidence.randomisation(NET, X, "2", methods=methods, **QUIET).kept],
    "selectivity": lambda methods: [*evidence.selectivity(NET, X, "2", count=2, methods=methods, **QUIET).spearman],
}


def test_every_function_that_takes_methods_is_here() -> None:
    assert set(METHODS) == taking("methods")


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_understood_alike(name: str) -> None:
    call = METHODS[name]
    both = ["guided", "deconvnet"]
    quick = (tuple(both), iter(both), np.array(both), dict.fromkeys(both).keys()) if name == "randomisation" else ()
    for given in (both, [*both, "guided"], *quick):
        assert call(given)[:2] == both
    for given in ("guided", np.str_("guided")):
        assert [one for one in call(given) if one not in ("edges", "random")] == ["guided"]
    for empty in ([], (), iter(()), np.array([])):
        with pytest.raises(InputError, match="there is no method to look at; name at least one, or give methods=None"):
            call(empty)
    for given in (3, [3], True, 1.5, torch.tensor(1), b"guided", ["guided", None]):
        with pytest.raises(InputError, match=r"methods is None.* a list of names of methods"):
            call(given)
    with pytest.raises(InputError, match=r"there is no method 'guidet'.*; did you mean 'guided'"):
        call(["guidet"])


# Channels

CHANNEL: dict[str, Callable[[Any], Any]] = {
    "DeconvNet.project": lambda channel: {unit.channel for unit in NET.project(X, "2", channel=channel).units},
    "compare": lambda channel: {
        dv.compare(NET, X[:1], layer="2", channel=channel, methods="guided", **QUIET).unit.channel
    },
    "deletion": lambda channel: of(evidence.deletion(NET, X, "2", channel=channel, methods="guided", steps=1, **QUIET)),
    "localisation": lambda channel: (
        evidence.localisation(NET, X, BOXES, layer="2", channel=channel, methods="guided", **QUIET) is not None and {1}
    ),
    "randomisation": lambda channel: of(
        evidence.randomisation(NET, X, "2", channel=channel, methods="guided", **QUIET)
    ),
    "occlusion": lambda channel: {
        unit.channel
        for unit in experiments.occlusion(
            NET, X, layer="2", channel=channel, patch=4, stride=4, **QUIET
        ).projection.units
    },
    "evolution": lambda channel: {
        one.channel
        for one in experiments.evolution(NET, WEIGHTS, DATA, layers="2", channel=channel, **QUIET).grids["2"][0]
    },
}


def of(found: Any) -> set[int]:
    return {unit.channel for unit in found.units}


def test_every_function_that_takes_a_channel_is_here() -> None:
    assert set(CHANNEL) == taking("channel") - {"build_atlas"}  # which takes them by layer


@pytest.mark.parametrize("name", CHANNEL)
def test_channels_are_understood_alike(name: str) -> None:
    call = CHANNEL[name]
    for given in (1, np.int64(1), torch.tensor(1)):
        assert call(given) == {1}
    for given in (True, 1.5, "1", b"1", torch.tensor(True), 4, -1, torch.tensor(1.0), np.float64(1), np.bool_(True)):
        with pytest.raises(InputError, match=r"channel"):
            call(given)


# Inputs


def _one_image(inputs: Any) -> Any:
    """The first of a batch of images, for what takes no more."""
    return inputs[:1] if isinstance(inputs, torch.Tensor) and not inputs.is_sparse else inputs


INPUTS: dict[str, Callable[[Any], Any]] = {
    "DeconvNet.layers": lambda inputs: NET.layers(inputs),
    "DeconvNet.trace": lambda inputs: NET.trace(inputs),
    "DeconvNet.project": lambda inputs: NET.project(inputs, "2", channel=1),
    "DeconvNet.project_units": lambda inputs: NET.project_units(inputs, "2", [(0, 1, (0, 0))]),
    "DeconvNet.reconstruct": lambda inputs: NET.reconstruct(inputs, "2"),
    "compare": lambda inputs: dv.compare(NET, _one_image(inputs), layer="2", methods="guided", **QUIET),
    "clarity": lambda inputs: evidence.clarity(NET, inputs, layers="2", **QUIET),
    "deletion": lambda inputs: evidence.deletion(NET, inputs, "2", methods="guided", **QUIET),
    "localisation": lambda inputs: evidence.localisation(NET, inputs, BOXES, layer="2", methods="guided", **QUIET),
    "randomisation": lambda inputs: evidence.randomisation(NET, inputs, "2", methods="guided", **QUIET),
    "selectivity": lambda inputs: evidence.selectivity(NET, inputs, "2", methods="guided", **QUIET),
    "correspondence": lambda inputs: experiments.correspondence(NET, inputs, {"a": [(0, 0, 2, 2)] * 2}, **QUIET),
    "invariance": lambda inputs: experiments.invariance(NET, inputs, values=[1], **QUIET),
    "occlusion": lambda inputs: experiments.occlusion(NET, inputs, **QUIET),
}
OTHER_INPUTS = {*CAPTUMS, "mc_dropout_predict", "check"}  # tensors of a model or a function without a preprocess
WRONG_INPUTS = {
    "None": (None, "an input must be a tensor, a PIL image, a path or a list of these, not NoneType|an input is .*"),
    "a number": (3, "an input .*, not int"),
    "a truth value": (True, "an input .*, not bool"),
    "an array": (X.numpy(), "an input .*, not ndarray"),
    "an empty list": ([], "the batch contains no images"),
    "whole numbers": (X.long(), r"the input is torch.int64; convert it"),
    "no sample": (X[:0], "which is empty"),
    "NaN": (X * float("nan"), "NaN or infinite"),
    "another number of channels": (torch.rand(2, 2, 8, 8), r"the first convolution, '0', takes \(N, 1, H, W\)"),
    "another type": (X.double(), "the input is torch.float64 and the model torch.float32"),
    "a path": ("a.png", "preprocess"),
    "a sparse tensor": (X.to_sparse(), "the input is a sparse.* tensor"),
}


def test_every_function_that_takes_inputs_is_here() -> None:
    assert set(INPUTS) | OTHER_INPUTS == taking("inputs")


@pytest.mark.parametrize("what", WRONG_INPUTS)
def test_inputs_that_are_wrong_are_refused_alike(what: str) -> None:
    given, pattern = WRONG_INPUTS[what]
    said = {}
    for name, call in INPUTS.items():
        with pytest.raises(DeconvVizError) as raised:
            call(given)
        said[name] = re.sub(
            r"\d+ values|of \d+|(?<=shape \()\d+", "", f"{type(raised.value).__name__}: {raised.value}"
        )  # that are read
        assert re.search(pattern, said[name]), f"{name}: {said[name]}"
    assert len(set(said.values())) == 1, said


# Progress

PROGRESS: dict[str, Callable[[Any], Any]] = {
    "scan": functools.partial(dv.scan, NET, DATA),
    "build_atlas": functools.partial(dv.build_atlas, NET, DATA, TOP, out="unused"),
    "compare": functools.partial(dv.compare, NET, X[:1]),
    "clarity": functools.partial(evidence.clarity, NET, X),
    "deletion": functools.partial(evidence.deletion, NET, X, "2"),
    "localisation": functools.partial(evidence.localisation, NET, X, BOXES),
    "randomisation": functools.partial(evidence.randomisation, NET, X, "2"),
    "selectivity": functools.partial(evidence.selectivity, NET, X, "2"),
    "correspondence": functools.partial(experiments.correspondence, NET, X, {"a": [(0, 0, 2, 2)] * 2}),
    "diagnose": functools.partial(experiments.diagnose, NET, DATA),
    "evolution": functools.partial(experiments.evolution, NET, WEIGHTS, DATA),
    "invariance": functools.partial(experiments.invariance, NET, X),
    "occlusion": functools.partial(experiments.occlusion, NET, X),
    "probe": functools.partial(experiments.probe, NET, (DATA, LABELS)),
    "evaluate": functools.partial(models.evaluate, MODEL, DATA, LABELS),
    "mc_dropout_predict": functools.partial(models.mc_dropout_predict, MODEL, DATA),
    "train": functools.partial(models.train, MODEL, DATA, LABELS),
    "train_mnist": functools.partial(models.train_mnist, DATA, LABELS),
}


def test_every_function_that_shows_progress_is_here() -> None:
    assert set(PROGRESS) == taking("progress")


@pytest.mark.parametrize("name", PROGRESS)
def test_progress_is_true_or_false(name: str) -> None:
    for given in (None, 1, 0, "yes", 1.0, torch.tensor(True), [True]):
        with pytest.raises(InputError, match=r"progress is True or False, not "):
            PROGRESS[name](progress=given)


# What is shown of objects


@functools.cache
def shown_objects() -> dict[str, Any]:
    projection = NET.project(X, "2", channel=[0, 1])
    return {
        "DeconvNet": NET,
        "DeconvNet with a preprocess": dv.DeconvNet(MODEL, "guided", preprocess=dv.images.Preprocess(8), strict=True),
        "DeconvNet with a function": dv.DeconvNet(MODEL, preprocess=lambda image: image),
        "Style": NET.style,
        "Trace": NET.trace(X),
        "Projection": projection,
        "Unit": projection.units[0],
        "Provenance": projection.provenance,
        "Reconstruction": NET.reconstruct(X, "2"),
        "LayerTable": NET.layers(X),
        "LayerInfo": NET.layers(X)[0],
        "TopActivations": TOP,
        "ChannelStatistics": TOP.statistics["0"],
        "ScanProvenance": TOP.provenance,
        "Comparison": (compared := dv.compare(NET, X[:1], layer="2", methods="guided", **QUIET)),
        "Attributed": compared.methods[0],
        "Deletion": (deleted := evidence.deletion(NET, X, "2", methods="guided", steps=1, **QUIET)),
        "Score": deleted.gains["guided"],
        "Randomisation": evidence.randomisation(NET, X, "2", methods="guided", **QUIET),
        "Selectivity": evidence.selectivity(NET, X, "2", methods="guided", **QUIET),
        "Localisation": evidence.localisation(NET, X, BOXES, layer="2", methods="guided", **QUIET),
        "Clarity": evidence.clarity(NET, X, **QUIET),
        "DigitBenchmark": evidence.digit_benchmark(2),
        "Correspondence": experiments.correspondence(NET, X, {"a": [(0, 0, 2, 2)] * 2}, draws=1, **QUIET),
        "Diagnosis": (diagnosed := experiments.diagnose(NET, DATA, **QUIET)),
        "LayerFacts": diagnosed.layers[0],
        "Evolution": (evolving := experiments.evolution(NET, WEIGHTS, DATA, layers="2", **QUIET)),
        "StrongestUnit": evolving.grids["2"][0][0],
        "Invariance": experiments.invariance(NET, X, values=[1], **QUIET),
        "Occlusion": experiments.occlusion(NET, X, patch=4, **QUIET),
        "Probe": experiments.probe(NET, (DATA, LABELS), layers="2", folds=2, epochs=1, **QUIET),
        "LearningCurves": results.LearningCurves((1,), (0.5,), (0.6,), (0.9,), (0.8,), "good", {"epochs": 1}),
        "Broken": results.Broken(3, "a.png", "it is empty"),
        "Flag": results.Flag("dead", "0", 1, 0.0),
        "DeconvNetAttribution": dv.DeconvNetAttribution(MODEL),
        "NeuronDeconvNetAttribution": dv.NeuronDeconvNetAttribution(MODEL, "2"),
        "Checked": rules.check(torch.sin, torch.rand(2, 3).double()),
        "MnistTest": MnistTest(),
        "MnistCNN": models.mnist_cnn(pretrained=False),
        "Evaluation": models.evaluate(MODEL, DATA, LABELS, **QUIET),
        "DropoutPrediction": models.DropoutPrediction(torch.zeros(9, 9), torch.zeros(9, 9), torch.zeros(9)),
        "TrainingSettings": models.TrainingSettings(),
        "Preprocess": dv.images.Preprocess(8),
        "Attribution": evidence.METHODS["guided"],
    }


def test_every_kind_of_result_is_here() -> None:
    bases = {"Result", "Tabular", "Finding", "Judgement"}
    kinds = {name for name in results.__all__ if inspect.isclass(getattr(results, name))}
    assert kinds - bases <= set(shown_objects())


def test_objects_show_themselves_in_a_line_or_a_small_table(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    for what, item in {**shown_objects(), "ImageFolder": ImageFolder(tmp_path)}.items():
        shown = repr(item)
        assert type(item).__name__ in shown, what
        assert not re.search(r"tensor\(|array\(|0x[0-9a-f]{6}", shown), f"{what}: {shown}"
        lines = shown.splitlines()
        assert len(lines) == 1 or (len(lines) <= 20 and max(map(len, lines)) <= 120), f"{what}: {shown}"
        assert len(lines) > 1 or len(shown) <= 600, f"{what}: {shown}"


def test_what_is_shown() -> None:
    objects = shown_objects()
    assert repr(objects["DeconvNet"]) == "DeconvNet(Sequential, style='deconvnet')"
    assert repr(objects["Trace"]) == (
        "Trace(inputs of shape (2, 1, 8, 8), style='deconvnet', 7 layers, activations of 7)"
    )
    assert repr(objects["Projection"]).startswith(
        "Projection(pixels=tensor of shape (4, 1, 8, 8), units=4 items, "
        "receptive_fields=tensor of shape (4, 2, 2), images=tensor of shape (2, 1, 8, 8), provenance=Provenance(...)"
    )
    assert repr(objects["NeuronDeconvNetAttribution"]) == (
        "NeuronDeconvNetAttribution(Sequential, layer='2', style='deconvnet')"
    )
    assert repr(objects["TopActivations"]).startswith("TopActivations(values=2 items, images=2 items, ")
