"""Files given as weights: of another kind, with two networks in them, or without the head that is asked for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import CheckpointError, InputError, ModelError
from deconvviz.experiments import evolution
from deconvviz.models import load_weights
from deconvviz.models.by_name import load_model
from tests.helpers.invalid_inputs.case import Case, refused


def classifier(classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, classes))


def archive(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name in names:
            file.writestr(name, b"")
    return content.getvalue()


def numbers() -> bytes:
    content = io.BytesIO()
    np.savez(content, a=np.ones(2))
    return content.getvalue()


def given(content: bytes) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        Path("w.pt").write_bytes(content)
        return load_weights(nn.Linear(2, 1), "w.pt")

    return how


def twice(_: Path) -> Any:
    line = nn.Linear(2, 1)
    state = {f"{part}.{name}": value for part in ("one", "two") for name, value in line.state_dict().items()}
    torch.save(state, "w.pt")
    return load_weights(line, "w.pt")


def other_head(_: Path) -> Any:
    torch.save(classifier(5).state_dict(), "w.pt")
    model = classifier(3)
    load_weights(model, "w.pt")
    return dv.DeconvNet(model).project(torch.rand(1, 3, 8, 8), "2", channel=0)


def other_heads_in_time(_: Path) -> Any:
    states = [classifier(5).state_dict(), classifier(3).state_dict()]
    return evolution(dv.DeconvNet(classifier(3)), states, torch.rand(2, 3, 8, 8), progress=False)


class Predictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = classifier(3)

    def __call__(self, source: Any) -> Any:
        return self.predict(source)

    def predict(self, source: Any) -> Any:
        return self.model(source)


def half_a_script(_: Path) -> Any:
    Path("m.pt").write_bytes(archive("m/constants.pkl", "m/code/x.py"))
    return load_model("m.pt")


CASES: list[Case] = [
    refused(
        "a model that is called for predictions",
        lambda _: dv.DeconvNet(Predictor()),
        ModelError,
        "the model Predictor is called for predictions, not as a module; its attribute 'model' is one",
    ),
    refused("a damaged file as the model", half_a_script, ModelError, "'m.pt' cannot be loaded as a model: …"),
    *(
        refused(f"weights that are {name}", given(content), CheckpointError, f"'w.pt' is {sentence}")
        for name, content, sentence in (
            (
                "TorchScript",
                archive("w/constants.pkl", "w/data.pkl", "w/code/x.py"),
                "a TorchScript archive, a whole model and not only weights; give it as the model, "
                "torch.jit.load('w.pt'), or save its state dict alone",
            ),
            (
                "an exported program",
                archive("w/archive_format", "w/models/model.json"),
                "an exported program, a whole model and not only weights; give it as the model, "
                "torch.export.load('w.pt').module(), or save its state dict alone",
            ),
            (
                "arrays",
                numbers(),
                "a NumPy archive; deconvviz reads weights from safetensors files and torch checkpoints",
            ),
            (
                "a pointer",
                b"version https://git-lfs.github.com/spec/v1\n",
                "a pointer of Git LFS, not the file itself; fetch it with git lfs pull",
            ),
            (
                "of Keras",
                b"\x89HDF\r\n\x1a\n" + bytes(9),
                "an HDF5 file, as Keras writes; deconvviz reads safetensors files and torch checkpoints",
            ),
            (
                "a web page",
                b"<!DOCTYPE html>",
                "a web page, not a file of weights; download the file that the page links to",
            ),
        )
    ),
    refused(
        "weights of two networks",
        twice,
        CheckpointError,
        "'w.pt' fits under several names, 'one.' and 'two.'; save the part that is meant alone",
    ),
    refused(
        "a layer of a head that the weights have for other classes",
        other_head,
        InputError,
        "layer '2' depends on the weights of '2', which are random, since 'w.pt' has none that fit; choose a layer "
        "before it, or build the model as it was trained",
    ),
    refused(
        "checkpoints with another head",
        other_heads_in_time,
        CheckpointError,
        "checkpoint '0' does not fit Sequential: there is nothing that fits 2.weight, 2.bias",
    ),
]
