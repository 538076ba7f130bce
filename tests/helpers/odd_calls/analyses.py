"""Right calls of the functions that look at a network: projections, scans, atlases, evidence, experiments."""

from __future__ import annotations

import torch

import deconvviz as dv
from deconvviz import evidence, experiments, rules
from tests.helpers.odd_calls.kinds import CALLABLE, Call
from tests.helpers.odd_calls.odd_values import anything
from tests.helpers.odd_calls.subjects import DATA, LABELS, MANY, MODEL, NET, TOP, WEIGHTS, X

QUIET = {"progress": False}
NAMES_OF_CLASSES = ("a tuple", "an empty array", "an array of text", "an empty tensor")
ANALYSES: dict[str, Call] = {
    "DeconvNet": Call(
        dv.DeconvNet,
        {
            "model": ("model", MODEL),
            "style": ("style", "guided"),
            "strict": ("flag", False),
            "preprocess": ("one", None),
        },
        fitting={"preprocess": ("None", "a function", "a type", "a model")},
    ),
    "trace": Call(
        NET.trace, {"inputs": ("x", X), "layers": ("layers", ["2"])}, fitting={"inputs": ("a tensor on meta",)}
    ),
    "layers": Call(NET.layers, {"inputs": ("x", X)}),
    "project": Call(
        NET.project,
        {
            "inputs": ("x", X),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "position": ("position", [1, 2]),
            "seed": ("choice", "one"),
            "window": ("choice", "auto"),
        },
    ),
    "project on whole maps": Call(
        NET.project,
        {"inputs": ("x", X), "channel": ("index", 1), "position": ("position", [1, 2])},
        {"layer": "2", "window": "full"},
    ),
    "project_units": Call(
        NET.project_units,
        {
            "inputs": ("x", X),
            "layer": ("layer", "2"),
            "units": ("several", [(0, 0, (0, 1))]),
            "seed": ("choice", "one"),
        },
    ),
    "filters": Call(
        NET.filters, {"layer": ("layer", "2"), "trace": ("one", NET.trace(X))}, fitting={"trace": ("None",)}
    ),
    "activations": Call(NET.activations, {"inputs": ("x", X), "layer": ("layer", "2")}),
    "reconstruct": Call(
        NET.reconstruct,
        {"inputs": ("x", X), "layer": ("layer", "2"), "signal": ("one", torch.ones(2, 3, 4, 4))},
        fitting={"signal": ("None",)},
    ),
    "scan": Call(
        dv.scan,
        {
            "net": ("net", NET),
            "layers": ("layers", ["2"]),
            "k": ("count", 2),
            "batch_size": ("count", 2),
            "per_image": ("count", 1),
            "workers": ("count", 0),
            "state": ("one", None),
            "on_error": ("choice", "skip"),
            "classes": ("several", ["a", "b"]),
        },
        {"dataset": DATA, **QUIET},
        {
            "classes": NAMES_OF_CLASSES,
            "workers": ("None",),
            "batch_size": (),
            "state": ("None", "no text", "a text", "a path", "a Chinese text with a line break"),
        },
    ),
    "circuit": Call(
        dv.circuit,
        {
            "net": ("net", NET),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "sources": ("several", ["0"]),
            "feeders": ("count", 2),
            "depth": ("count", 1),
            "images": ("count", 4),
            "batch_size": ("count", 4),
            "random_state": ("random_state", 1),
        },
        {"dataset": DATA, **QUIET},
        {"sources": ("None",)},
    ),
    "diff": Call(
        dv.diff,
        {
            "net": ("net", NET),
            "other": ("net", NET),
            "layers": ("layers", ["0"]),
            "batch_size": ("count", 4),
            "random_state": ("random_state", 1),
        },
        {"dataset": DATA, "pictures": 1, **QUIET},
    ),
    "mixed_channels": Call(
        dv.mixed_channels,
        {
            "net": ("net", NET),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "batch_size": ("count", 4),
            "random_state": ("random_state", 1),
        },
        {"dataset": MANY, "units": 24, **QUIET},
    ),
    "synthesize": Call(
        dv.synthesize,
        {
            "net": ("net", NET),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "position": ("position", [1, 2]),
            "examples": ("x", X),
            "size": ("count", 8),
            "variants": ("count", 1),
            "steps": ("count", 1),
            "top": ("one", TOP),
            "batch_size": ("count", 4),
            "random_state": ("random_state", 1),
        },
        QUIET,
        {"batch_size": ("None",), "examples": ("None",), "size": ("None",), "top": ("None", "a scan")},
    ),
    "reading_test": Call(
        dv.reading_test,
        {
            "net": ("net", NET),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "conditions": ("several", ["patches"]),
            "observers": ("several", ["template"]),
            "references": ("count", 1),
            "questions": ("count", 1),
            "batch_size": ("count", 4),
            "random_state": ("random_state", 1),
        },
        {"dataset": DATA, **QUIET},
        {"conditions": ("None",), "observers": ("None",)},
    ),
    "compare": Call(
        dv.compare,
        {
            "model": ("net", NET),
            "inputs": ("x", X[:1]),
            "layer": ("layer or None", "2"),
            "channel": ("index", 1),
            "methods": ("methods", ["deconvnet"]),
            "scores": ("methods", ["deletion"]),
        },
        fitting={"methods": (), "scores": ("a tuple", "an empty array", "an empty tensor")},
    ),
    "compare, class": Call(
        dv.compare, {"target": ("index", 1)}, {"model": NET, "inputs": X[:1], "methods": ["deconvnet"]}
    ),
    "build_atlas": Call(
        dv.build_atlas,
        {
            "net": ("net", NET),
            "top": ("one", TOP),
            "out": ("one", "atlas"),
            "layers": ("layers", ["2"]),
            "channel": ("mapping", {"2": [0]}),
            "batch_size": ("count", 2),
            "title": ("one", "t"),
            "classes": ("several", ["a", "b"]),
            "limit": ("count", 1),
            "workers": ("count", 0),
        },
        {"dataset": DATA, "evidence": False, **QUIET},
        {
            "out": ("no text", "a text", "a path", "a Chinese text with a line break"),
            "workers": ("None",),
            "channel": ("None",),
            "title": ("None", "no text", "a text", "a Chinese text with a line break"),
            "top": ("a scan",),
            "classes": NAMES_OF_CLASSES,
            "limit": ("None",),
        },
    ),
    "deletion": Call(
        evidence.deletion,
        {
            "net": ("net", NET),
            "inputs": ("x", X),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "position": ("position", [1, 2]),
            "methods": ("methods", ["gradient"]),
            "fill": ("number", 0.5),
            "steps": ("count", 1),
            "batch_size": ("count", 64),
        },
    ),
    "randomisation": Call(
        evidence.randomisation,
        {
            "net": ("net", NET),
            "layer": ("layer", "2"),
            "mode": ("choice", "cascading"),
            "random_state": ("random_state", 1),
        },
        {"inputs": X, "methods": ["gradient"]},
    ),
    "selectivity": Call(
        evidence.selectivity,
        {
            "net": ("net", NET),
            "inputs": ("x", X),
            "layer": ("layer", "2"),
            "count": ("count", 2),
            "methods": ("methods", ["gradient"]),
        },
    ),
    "leak": Call(
        evidence.leak,
        {
            "net": ("net", NET),
            "inputs": ("x", X),
            "layer": ("layer", "2"),
            "channel": ("index", 1),
            "seeds": ("count", 1),
            "random_state": ("random_state", 1),
        },
    ),
    "localisation": Call(
        evidence.localisation,
        {
            "net": ("net", NET),
            "boxes": ("one", torch.tensor([[[0, 4], [0, 4]]] * 2)),
            "methods": ("methods", ["gradient"]),
        },
        {"inputs": X, "layer": "2", **QUIET},
    ),
    "digit_benchmark": Call(
        evidence.digit_benchmark,
        {
            "count": ("count", 1),
            "distractors": ("count", 0),
            "side": ("count", 28),
            "random_state": ("random_state", 1),
        },
    ),
    "clarity": Call(
        evidence.clarity,
        {"net": ("net", NET), "inputs": ("x", X), "layers": ("layers", ["0"]), "random_state": ("random_state", 1)},
    ),
    "occlusion": Call(
        experiments.occlusion,
        {
            "net": ("net", NET),
            "inputs": ("x", X),
            "target": ("index", 1),
            "layer": ("layer or None", "2"),
            "channel": ("index", 1),
            "patch": ("index", 8),
            "stride": ("index", 1),
            "fill": ("number", 0.5),
            "batch_size": ("count", 4),
            "classes": ("several", ["a", "b", "c"]),
        },
        QUIET,
        {"classes": ("a tuple", "an empty array", "an empty tensor")},
    ),
    "invariance": Call(
        experiments.invariance,
        {
            "net": ("net", NET),
            "inputs": ("x", X),
            "layers": ("layers", ["2"]),
            "transform": ("choice", "translation"),
            "values": ("layers", [1]),
            "target": ("index", 1),
            "fill": ("number", 0.5),
            "batch_size": ("count", 4),
        },
        skipped={"transform": CALLABLE},
    ),
    "correspondence": Call(
        experiments.correspondence,
        {
            "net": ("net", NET),
            "inputs": ("one", X),
            "parts": ("mapping", {"a": [(0, 0, 2, 2)] * 2}),
            "layers": ("layers", ["2"]),
            "size": ("index", 2),
            "within": ("layers", [(0, 0, 8, 8)] * 2),
            "draws": ("count", 1),
            "random_state": ("random_state", 1),
            "fill": ("number", 0.5),
            "batch_size": ("count", 4),
        },
        QUIET,
        {"size": tuple(anything())},  # not read where places are boxes
    ),
    "decoding": Call(
        experiments.decoding,
        {
            "net": ("net", NET),
            "layers": ("layers", ["2"]),
            "images": ("count", 12),
            "seeds": ("count", 1),
            "random_state": ("random_state", 1),
            "batch_size": ("count", 6),
        },
        {"dataset": DATA.repeat(3, 1, 1, 1), **QUIET},
    ),
    "probe": Call(
        experiments.probe,
        {
            "net": ("net", NET),
            "layers": ("layers", ["2"]),
            "pool": ("index", 2),
            "folds": ("count", 2),
            "epochs": ("count", 1),
            "random_state": ("random_state", 1),
            "batch_size": ("count", 6),
        },
        {"dataset": (DATA, LABELS), **QUIET},
    ),
    "uncertainty": Call(
        experiments.uncertainty,
        {"net": ("net", NET), "samples": ("count", 2), "random_state": ("random_state", 1), "batch_size": ("count", 6)},
        {"dataset": (DATA, LABELS), **QUIET},
    ),
    "diagnose": Call(
        experiments.diagnose,
        {
            "net": ("net", NET),
            "layers": ("layers", ["0"]),
            "similar": ("share", 0.9),
            "outlier": ("number", 3.0),
            "rms_limit": ("number", 1.0),
            "batch_size": ("count", 6),
        },
        {"dataset": DATA, **QUIET},
        {"rms_limit": ("None",)},
    ),
    "evolution": Call(
        experiments.evolution,
        {
            "net": ("net", NET),
            "checkpoints": ("several", [WEIGHTS, WEIGHTS]),
            "layers": ("layers", ["2"]),
            "channel": ("index", 1),
            "batch_size": ("count", 6),
        },
        {"dataset": DATA, **QUIET},
    ),
    "DeconvNetAttribution": Call(dv.DeconvNetAttribution, {"model": ("model", MODEL), "style": ("style", "guided")}),
    "attribute": Call(
        dv.DeconvNetAttribution(MODEL).attribute,
        {"inputs": ("one", X), "target": ("one", 1)},
        fitting={"target": ("True", "-1", "a numpy array", "a tuple")},
    ),
    "NeuronDeconvNetAttribution": Call(
        dv.NeuronDeconvNetAttribution,
        {"model": ("model", MODEL), "layer": ("layer", "2"), "style": ("style", "guided")},
        fitting={"layer": ("no text", "a text", "a Chinese text with a line break")},
    ),
    "Style": Call(
        dv.Style,
        {"name": ("text", "mine"), "choices": ("mapping", {"rectifier": "guided"})},
        fitting={"choices": ("a mapping",)},
    ),
    "rules.check": Call(
        rules.check,
        {
            "inputs": ("one", torch.rand(2, 3).double()),
            "style": ("style", "gradient"),
            "against": ("choice", "autograd"),
            "tolerance": ("share", 1e-8),
        },
        {"function": torch.sin},
        {"inputs": ("a tensor of NaN",), "tolerance": ("1e30", "1.5", "a numpy number")},
        {"against": CALLABLE},
    ),
}
