"""The public functions: an argument of one name accepts the same values in each, and errors have the same words.

The functions are looked up in the public modules. Each that takes methods, channels, inputs or `progress` must be
called in a table here, and each that takes layers in `test_public_layers`, so that a new function is not forgotten.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deconvviz as dv
from deconvviz import evidence, experiments, models
from deconvviz.errors import DeconvVizError, InputError
from tests.helpers.public_functions import (
    BOXES,
    CAPTUMS,
    DATA,
    FUNCTIONS,
    LABELS,
    MANY,
    MODEL,
    NET,
    PARAMETERS,
    QUIET,
    TOP,
    WEIGHTS,
    X,
    taking,
)

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
        assert [one for one in call(given) if one not in evidence.BASELINES and "," not in one] == ["guided"]
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
    "project_top": lambda channel: {
        top.channel for top in dv.project_top(NET, DATA, TOP, layer="2", channel=channel, **QUIET)
    },
    "compare": lambda channel: {
        dv.compare(NET, X[:1], layer="2", channel=channel, methods="guided", **QUIET).unit.channel
    },
    "deletion": lambda channel: of(evidence.deletion(NET, X, "2", channel=channel, methods="guided", steps=1, **QUIET)),
    "leak": lambda channel: of(evidence.leak(NET, X, "2", channel=channel, **QUIET)),
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


CHANNEL["mixed_channels"] = lambda channel: {
    *(found := dv.mixed_channels(NET, MANY, "2", channel=channel, units=24, **QUIET)).channels,
    *found.untested,
}
CHANNEL["circuit"] = lambda channel: {dv.circuit(NET, DATA, "2", channel=channel, **QUIET).channel}
CHANNEL["synthesize"] = lambda channel: set(dv.synthesize(NET, "2", channel=channel, size=8, steps=1, **QUIET).channels)
CHANNEL["reading_test"] = lambda channel: read_channels(channel=channel)


def read_channels(**options: Any) -> set[int]:
    found = dv.reading_test(NET, DATA, "2", references=1, questions=1, **options, **QUIET)
    return {*found.channels, *found.untested}


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
    "DeconvNet.activations": lambda inputs: NET.activations(inputs, "2"),
    "compare": lambda inputs: dv.compare(NET, _one_image(inputs), layer="2", methods="guided", **QUIET),
    "clarity": lambda inputs: evidence.clarity(NET, inputs, layers="2", **QUIET),
    "deletion": lambda inputs: evidence.deletion(NET, inputs, "2", methods="guided", **QUIET),
    "leak": lambda inputs: evidence.leak(NET, inputs, "2", **QUIET),
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
    "an array of text": (np.array(["a", "b"]), "an image or a path, but the network has no preprocess"),
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


@pytest.mark.parametrize("name", [name for name in INPUTS if name.startswith("DeconvNet")])
def test_an_array_is_an_input_like_its_tensor(name: str) -> None:
    assert str(INPUTS[name](X.double().numpy())) == str(INPUTS[name](X))


# Progress

PROGRESS: dict[str, Callable[[Any], Any]] = {
    "scan": functools.partial(dv.scan, NET, DATA),
    "build_atlas": functools.partial(dv.build_atlas, NET, DATA, TOP, out="unused"),
    "compare": functools.partial(dv.compare, NET, X[:1]),
    "project_top": functools.partial(dv.project_top, NET, DATA, TOP, layer="2"),
    "circuit": functools.partial(dv.circuit, NET, DATA, "2", channel=1),
    "mixed_channels": functools.partial(dv.mixed_channels, NET, DATA, "2"),
    "reading_test": functools.partial(dv.reading_test, NET, DATA, "2"),
    "synthesize": functools.partial(dv.synthesize, NET, "2", size=8, steps=1),
    "diff": functools.partial(dv.diff, NET, NET, DATA),
    "clarity": functools.partial(evidence.clarity, NET, X),
    "deletion": functools.partial(evidence.deletion, NET, X, "2"),
    "leak": functools.partial(evidence.leak, NET, X, "2"),
    "localisation": functools.partial(evidence.localisation, NET, X, BOXES),
    "randomisation": functools.partial(evidence.randomisation, NET, X, "2"),
    "selectivity": functools.partial(evidence.selectivity, NET, X, "2"),
    "correspondence": functools.partial(experiments.correspondence, NET, X, {"a": [(0, 0, 2, 2)] * 2}),
    "decoding": functools.partial(experiments.decoding, NET, DATA.repeat(3, 1, 1, 1)),
    "diagnose": functools.partial(experiments.diagnose, NET, DATA),
    "evolution": functools.partial(experiments.evolution, NET, WEIGHTS, DATA),
    "invariance": functools.partial(experiments.invariance, NET, X),
    "occlusion": functools.partial(experiments.occlusion, NET, X),
    "probe": functools.partial(experiments.probe, NET, (DATA, LABELS)),
    "uncertainty": functools.partial(experiments.uncertainty, NET, (DATA, LABELS)),
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
