"""What Python shows of a public object: one line or a small table, never a dump of tensors."""

from __future__ import annotations

import functools
import inspect
import json
import re
from pathlib import Path
from typing import Any

import torch

import deconvviz as dv
from deconvviz import evidence, experiments, models, results, rules
from deconvviz.data import ImageFolder, MnistTest
from tests.helpers.public_functions import BOXES, DATA, LABELS, MANY, MODEL, NET, QUIET, TOP, WEIGHTS, X

DROPPING = dv.DeconvNet(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.2), torch.nn.Linear(64, 3)).eval())


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
        "Filters": NET.filters("2"),
        "FeatureMaps": NET.activations(X, "2"),
        "LayerTable": NET.layers(X),
        "LayerInfo": NET.layers(X)[0],
        "TopActivations": TOP,
        "ChannelStatistics": TOP.statistics["0"],
        "ChannelLabels": dv.scan(NET, (DATA, LABELS), layers="2", **QUIET).labels["2"],
        "ScanProvenance": TOP.provenance,
        "TopProjections": (strongest := dv.project_top(NET, DATA, TOP, layer="2", **QUIET)),
        "ChannelTop": strongest[0],
        "Circuit": (fed := dv.circuit(NET, DATA, "2", channel=1, **QUIET)),
        "CircuitUnit": fed.units[0],
        "CircuitFeeder": fed.units[0].feeders[0],
        "MixedChannels": (mixed := dv.mixed_channels(NET, MANY, "0", units=24, **QUIET)),
        "PictureGroups": mixed.examples[0],
        "NetworkDiff": (between := dv.diff(NET, NET, DATA, layers="0", pictures=1, **QUIET)),
        "LayerDiff": between[0],
        "PairPictures": between[0].examples[0],
        "ReadingTest": (read := dv.reading_test(NET, DATA, "0", references=1, questions=1, **QUIET)),
        "ReadingQuestion": read.examples[0],
        "SyntheticPictures": dv.synthesize(NET, "2", size=8, steps=1, **QUIET),
        "Comparison": (compared := dv.compare(NET, X[:1], layer="2", methods="guided", **QUIET)),
        "Attributed": compared.methods[0],
        "Decoding": experiments.decoding(NET, DATA.repeat(3, 1, 1, 1), layers=["0", "2"], seeds=1, **QUIET),
        "Deletion": (deleted := evidence.deletion(NET, X, "2", methods="guided", steps=1, **QUIET)),
        "Score": deleted.gains["guided"],
        "Randomisation": evidence.randomisation(NET, X, "2", methods="guided", **QUIET),
        "Selectivity": evidence.selectivity(NET, X, "2", methods="guided", **QUIET),
        "Floor": evidence.selectivity(NET, X, "2", methods="guided", **QUIET).floors["guided"],
        "Leak": evidence.leak(NET, X, "2", **QUIET),
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
        "Uncertainty": experiments.uncertainty(DROPPING, (DATA, LABELS), samples=2, **QUIET),
        "Probe": experiments.probe(NET, (DATA, LABELS), layers="2", folds=2, epochs=1, **QUIET),
        "LearningCurves": results.LearningCurves(
            epochs=(1,),
            train_loss=(0.5,),
            validation_loss=(0.6,),
            train_accuracy=(0.9,),
            validation_accuracy=(0.8,),
            diagnosis="good",
            settings={"epochs": 1},
        ),
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


def test_what_is_given_as_json_is_json() -> None:
    """NaN, which JSON does not have, is None."""
    for what, item in shown_objects().items():
        if hasattr(item, "as_json"):
            assert json.loads(json.dumps(item.as_json(), allow_nan=False)), what


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
