"""Right calls of the functions for images, datasets, models, figures and saved results."""

from __future__ import annotations

from PIL import Image
from torch import nn

from deconvviz import data as datasets
from deconvviz import figures, images, models, results
from tests.helpers.odd_calls.kinds import Call
from tests.helpers.odd_calls.subjects import (
    CURVES,
    DATA,
    FEATURE_MAPS,
    FILTERS,
    LABELS,
    MAPS,
    MODEL,
    PREPROCESS,
    PROJECTION,
    RECONSTRUCTION,
    TOP,
    X,
)

QUIET = {"progress": False}
DATA_AND_MODELS: dict[str, Call] = {
    "read_image": Call(images.read_image, {"path": ("path", "a.png"), "all_levels": ("flag", False)}),
    "Preprocess": Call(
        images.Preprocess,
        {"size": ("count", 8), "mean": ("one", (0.0,)), "std": ("one", (1.0,)), "bands": ("one", None)},
        fitting={"bands": ("None",), "size": ("None", "True"), "mean": ("a numpy array",), "std": ("a numpy array",)},
    ),
    "Preprocess of an image": Call(
        PREPROCESS,
        {"image": ("x", Image.new("L", (9, 9)))},
        fitting={"image": ("a numpy array", "an empty array")},  # of floats, which are left as they are
    ),
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
    "overlay_image": Call(
        figures.overlay_image,
        {
            "projection": ("one", PROJECTION),
            "columns": ("index", 1),
            "alpha": ("share", 0.5),
            "sigma": ("share", 1.0),
            "crop": ("flag", True),
            "enlarge": ("count", 1),
        },
        fitting={"projection": ("a projection",), "sigma": ("None", "1.5", "a numpy number")},
    ),
    "top_image": Call(
        figures.top_image,
        {
            "projections": ("several", [PROJECTION]),
            "columns": ("index", 1),
            "scale": ("choice", "each"),
            "enlarge": ("count", 1),
        },
        fitting={"projections": ("a projection",)},
    ),
    "filter_grid": Call(figures.filter_grid, {"title": ("text", "t")}, {"weight": MAPS}),
    "Filters.figure": Call(
        FILTERS.figure,
        {
            "channel": ("index", 1),
            "planes": ("index", 2),
            "scale": ("choice", "each"),
            "order": ("choice", "strength"),
            "most": ("count", 2),
            "title": ("text", "t"),
        },
        {"columns": 2},
    ),
    "Filters.grid": Call(FILTERS.grid, {"columns": ("index", 1), "enlarge": ("count", 2)}),
    "FeatureMaps.figure": Call(
        FEATURE_MAPS.figure,
        {"sample": ("count", 1), "channel": ("index", 1), "scale": ("choice", "each"), "order": ("choice", "number")},
        {"most": 2, "title": "t"},
        {"sample": ("True",)},
    ),
    "FeatureMaps.grid": Call(FEATURE_MAPS.grid, {"columns": ("index", 1), "enlarge": ("count", 2)}),
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
    DATA_AND_MODELS[f"TrainingSettings, {_name}"] = Call(
        models.TrainingSettings, {_name: ("one", 1)}, fitting={_name: _fits}
    )
