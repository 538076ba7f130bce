"""Odd calls of the public functions, as a table: each function with arguments that are right, and the kind of each.

For each kind there are things that are none of it, which must be refused in one sentence, and things that are, though
one would not write them, with the plain value that they stand for.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import data as datasets
from deconvviz import evidence, experiments, figures, images, models, results, rules

torch.manual_seed(0)
MODEL = nn.Sequential(
    nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(48, 3), nn.Dropout(0.1)
)
PREPROCESS = images.Preprocess(8, (0.0,), (1.0,))
NET = dv.DeconvNet(MODEL.eval().requires_grad_(False), preprocess=PREPROCESS)
X = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA, LABELS = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.tensor([0, 1] * 3)
TOP = dv.scan(NET, DATA, layers=["0", "2"], k=2, progress=False)
PROJECTION, RECONSTRUCTION = NET.project(X, "2", channel=[0, 1]), NET.reconstruct(X, "2")
WEIGHTS = dict(MODEL.state_dict())
CURVES = results.LearningCurves((1, 2), (1.0, 0.5), (1.0, 0.6), (0.5, 0.8), (0.5, 0.7), "good", {})
MAPS = torch.rand(2, 1, 3, 3)


class Unsized:
    """Something that fails however it is looked at."""

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __getitem__(self, number: int) -> Any:
        raise RuntimeError("no item")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __repr__(self) -> str:
        raise RuntimeError("no words")


def closed() -> io.StringIO:
    file = io.StringIO("1 2")
    file.close()
    return file


def anything() -> dict[str, Any]:
    """What is right for nearly no argument, new each time."""
    return {
        "None": None,
        "True": True,
        "-1": -1,
        "1e30": 10**30,
        "1.5": 1.5,
        "NaN": float("nan"),
        "infinity": float("inf"),
        "1j": 1j,
        "no text": "",
        "a text": "nope",
        "a Chinese text with a line break": "卷積\n",
        "bytes": b"x",
        "a memory": memoryview(b"abc"),
        "a list of None": [None],
        "a list of both": ["a", 1],
        "a tuple": (),
        "a mapping": {"a": 1},
        "a set": {1, 2},
        "a generator": (n for n in (None, 1)),
        "an iterator": iter([object()]),
        "an object": object(),
        "a type": int,
        "an ellipsis": ...,
        "a slice": slice(1),
        "a module": pathlib,
        "an exception": ValueError("x"),
        "a closed file": closed(),
        "what fails": Unsized(),
        "a path": pathlib.Path("no/such"),
        "a numpy number": np.float32(2.5),
        "a numpy array": np.array([1.5]),
        "an empty array": np.zeros(0),
        "an array of text": np.array(["a"]),
        "a tensor of one": torch.tensor(3.5),
        "an empty tensor": torch.zeros(0),
        "a tensor of five axes": torch.zeros(1, 1, 1, 1, 1),
        "a tensor of NaN": torch.full((2, 1, 8, 8), float("nan")),
        "a tensor on meta": torch.zeros(2, 1, 8, 8, device="meta"),
        "a sparse tensor": torch.eye(3).to_sparse(),
        "a complex tensor": torch.zeros(3, 3) * 1j,
        "a type of numbers": torch.float32,
        "a device": torch.device("cpu"),
        "a function": max,
        "a model": nn.ModuleList([nn.ReLU()]),
        "a net": NET,
        "a scan": TOP,
        "a projection": PROJECTION,
        "a reconstruction": RECONSTRUCTION,
        "an image": Image.new("RGB", (3, 3)),
    }


def nothing(value: Any) -> Iterator[Any]:
    """Nothing else stands for the value."""
    yield from ()


class Kind(NamedTuple):
    """fitting: names in `anything` that are right for this kind. same: what stands for the plain value in the call."""

    fitting: tuple[str, ...] = ()
    same: Callable[[Any], Iterator[Any]] = nothing


def whole_numbers(value: int) -> Iterator[Any]:
    yield from (np.int64(value), np.array(value), torch.tensor(value))


def counts(value: int) -> Iterator[Any]:
    yield from (np.int64(value), np.uint8(value))


def numbers(value: float) -> Iterator[Any]:
    yield from (np.float64(value),)


def lists(value: list[Any]) -> Iterator[Any]:
    yield from (tuple(value), iter(value), (one for one in value))


def paths(value: str) -> Iterator[Any]:
    yield pathlib.Path(value)


def flags(value: bool) -> Iterator[Any]:
    yield np.bool_(value)


INDEX = Kind(("None", "True"), whole_numbers)
KINDS = {
    "net": Kind(("a net",)),
    "x": Kind(("an image",)),
    "layer": Kind(),
    "layer or None": Kind(("None",)),
    "layers": Kind(("None",), lists),
    "index": Kind(("None",), whole_numbers),
    "position": Kind((), lists),
    "count": Kind((), counts),
    "random_state": Kind((), counts),
    "number": Kind(("-1", "1.5", "1e30", "a numpy number"), numbers),
    "share": Kind((), numbers),
    "flag": Kind(("True",), flags),
    "choice": Kind(),
    "text": Kind(("no text", "a text", "a Chinese text with a line break")),
    "path": Kind((), paths),
    "methods": Kind(("None",), lists),
    "mapping": Kind(),
    "style": Kind(),
    "model": Kind(),
    "several": Kind((), lists),
    "one": Kind(),
}


NOTHING: Mapping[str, Any] = MappingProxyType({})
CALLABLE = ("a function", "a type", "a model")


class Call(NamedTuple):
    function: Callable[..., Any]
    arguments: dict[str, tuple[str, Any]]  # by name its kind and what is right
    more: Mapping[str, Any] = NOTHING
    fitting: Mapping[str, tuple[str, ...]] = NOTHING  # by argument, what else of `anything` fits here
    skipped: Mapping[str, tuple[str, ...]] = NOTHING  # functions of the caller's: their errors are their own


QUIET = {"progress": False}
HEAVY = (  # which work before they look: every sixth thing is tried, others for each argument
    "compare",
    "compare, class",
    "build_atlas",
    "deletion",
    "selectivity",
    "localisation",
    "occlusion",
    "invariance",
    "correspondence",
    "evolution",
    "attribute",
    "train",
    "probe",
    "project on whole maps",
    "reconstruct",
)
CALLS: dict[str, Call] = {
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
        },
        {"dataset": DATA, **QUIET},
        {"batch_size": (), "state": ("None", "no text", "a text", "a path", "a Chinese text with a line break")},
    ),
    "compare": Call(
        dv.compare,
        {
            "model": ("net", NET),
            "inputs": ("x", X[:1]),
            "layer": ("layer or None", "2"),
            "channel": ("index", 1),
            "methods": ("methods", ["deconvnet"]),
        },
        fitting={"methods": ()},
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
        },
        {"dataset": DATA, "evidence": False, **QUIET},
        {
            "out": ("no text", "a text", "a path", "a Chinese text with a line break"),
            "channel": ("None",),
            "title": ("None", "no text", "a text", "a Chinese text with a line break"),
            "top": ("a scan",),
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
    "read_image": Call(images.read_image, {"path": ("path", "a.png")}),
    "Preprocess": Call(
        images.Preprocess,
        {"size": ("count", 8), "mean": ("one", (0.0,)), "std": ("one", (1.0,))},
        fitting={"size": ("None", "True"), "mean": ("a numpy array",), "std": ("a numpy array",)},
    ),
    "Preprocess of an image": Call(PREPROCESS, {"image": ("x", Image.new("L", (9, 9)))}),
    "ImageFolder": Call(datasets.ImageFolder, {"root": ("path", "folder")}),
    "load_mnist": Call(datasets.load_mnist, {"root": ("one", "no"), "download": ("one", False)}),
    "read_idx": Call(datasets.read_idx, {"path": ("path", "a.idx"), "dimensions": ("count", 1)}),
    "parse_idx": Call(
        datasets.parse_idx,
        {"content": ("one", b"\0\0\x08\x01\0\0\0\x01\x01"), "dimensions": ("count", 1), "name": ("text", "n")},
    ),
    "read_parts": Call(
        datasets.read_parts,
        {"path": ("path", "parts.csv"), "images": ("several", ["a.png"])},
        {},
        {"images": ("a tuple", "an empty array", "an empty tensor")},
    ),
    "evaluate": Call(
        models.evaluate,
        {"model": ("model", MODEL), "images": ("one", DATA), "labels": ("one", LABELS), "batch_size": ("count", 3)},
    ),
    "mc_dropout_predict": Call(
        models.mc_dropout_predict,
        {
            "model": ("model", MODEL),
            "inputs": ("one", DATA),
            "samples": ("one", 2),
            "random_state": ("random_state", 1),
            "batch_size": ("count", 3),
        },
        fitting={"inputs": ("a tensor of NaN",), "samples": ("True",)},
    ),
    "train": Call(
        models.train,
        {
            "model": ("model", nn.Sequential(nn.Flatten(), nn.Linear(64, 2))),
            "images": ("one", DATA),
            "labels": ("one", LABELS),
            "settings": ("one", models.TrainingSettings(epochs=1)),
        },
        QUIET,
        {"settings": ("None",)},
    ),
    "MnistCNN": Call(
        models.MnistCNN,
        {"channels": ("one", (2, 2)), "width": ("count", 4), "batch_norm": ("flag", False), "dropout": ("share", 0.1)},
    ),
    "mnist_cnn": Call(models.mnist_cnn, {"weights": ("one", None)}, fitting={"weights": ("None",)}),
    "save_weights": Call(
        models.save_weights,
        {"model": ("model", nn.Linear(2, 1)), "path": ("path", "b.safetensors"), "metadata": ("mapping", {"a": "b"})},
        fitting={
            "model": ("a model",),
            "path": ("a text", "a path", "a Chinese text with a line break"),
            "metadata": ("None",),
        },
    ),
    "read_weights": Call(models.read_weights, {"path": ("path", "a.safetensors")}),
    "clip_filter_rms_": Call(
        models.clip_filter_rms_,
        {"model": ("model", nn.Conv2d(1, 1, 2)), "limit": ("number", 0.5), "layers": ("layers", [""])},
        fitting={"model": ("a model",), "layers": ("no text",)},
    ),
    "filter_image": Call(
        figures.filter_image,
        {"weight": ("one", MAPS), "columns": ("index", 1), "scale": ("choice", "each"), "enlarge": ("count", 1)},
        fitting={"weight": ("a tensor of NaN",)},
    ),
    "activation_image": Call(
        figures.activation_image, {"maps": ("one", MAPS[:, 0]), "columns": ("index", 1), "enlarge": ("count", 1)}
    ),
    "projection_image": Call(
        figures.projection_image,
        {
            "projection": ("one", PROJECTION),
            "columns": ("index", 1),
            "scale": ("choice", "each"),
            "crop": ("flag", True),
            "enlarge": ("count", 1),
        },
        fitting={"projection": ("a projection",)},
    ),
    "top_image": Call(
        figures.top_image,
        {
            "projections": ("several", [PROJECTION]),
            "columns": ("index", 1),
            "scale": ("choice", "each"),
            "enlarge": ("count", 1),
        },
    ),
    "filter_grid": Call(figures.filter_grid, {"title": ("text", "t")}, {"weight": MAPS}),
    "reconstruction_strip": Call(
        figures.reconstruction_strip, {"reconstructions": ("several", [RECONSTRUCTION]), "title": ("text", "t")}
    ),
    "attribution_strip": Call(
        figures.attribution_strip, {"image": ("one", X[0]), "attributions": ("mapping", {"a": X[0]})}
    ),
    "learning_curves": Call(figures.learning_curves, {"curves": ("one", CURVES), "title": ("text", "t")}),
    "firing_rates": Call(
        figures.firing_rates, {"top": ("one", TOP), "title": ("text", "t")}, fitting={"top": ("a scan",)}
    ),
    "save": Call(
        PROJECTION.save,
        {"path": ("path", "c.safetensors")},
        fitting={"path": ("a text", "a path", "a Chinese text with a line break")},
    ),
    "load": Call(results.Projection.load, {"path": ("path", "d.safetensors")}),
}
for _name in ("epochs", "batch_size", "translation", "random_state", "threads", "patience"):
    _fits = ("1e30", "None") if _name in ("threads", "patience") else ("1e30",)
    CALLS[f"TrainingSettings, {_name}"] = Call(models.TrainingSettings, {_name: ("one", 1)}, fitting={_name: _fits})


def files(folder: pathlib.Path) -> None:
    """What the calls read."""
    Image.new("L", (9, 9)).save(folder / "a.png")
    (folder / "folder").mkdir()
    Image.new("L", (9, 9)).save(folder / "folder" / "a.png")
    (folder / "a.idx").write_bytes(b"\0\0\x08\x01\0\0\0\x01\x01")
    (folder / "parts.csv").write_text("image,part,row,column\na.png,eye,4,5\n")
    models.save_weights(nn.Linear(2, 1), folder / "a.safetensors")
    PROJECTION.save(folder / "d.safetensors")
