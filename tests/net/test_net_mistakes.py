"""A user's mistakes in calls of `DeconvNet`: each is answered with one sentence and an error of the right class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.errors import ImageFileError, InputError, MissingFileError, ModelError, UnknownLayerError
from deconvviz.images import Preprocess
from deconvviz.models.mnist import mnist_cnn

BAD_CALLS = {
    "an unknown layer": (
        lambda net, x: net.project(x, "wid", channel=0),
        UnknownLayerError,
        r"there is no layer 'wid' in SmallResidual; did you mean 'wide'\?",
    ),
    "a layer like no other": (
        lambda net, x: net.project(x, "%", channel=0),
        UnknownLayerError,
        r"no layer '%' in SmallResidual; the layers are 'stem', 'norm', .*, \.\.\.",
    ),
    "no layer": (lambda net, x: net.trace(x, []), InputError, "no layer to look at; name at least one"),
    "a channel too far": (
        lambda net, x: net.project(x, "wide", channel=[0, 8]),
        InputError,
        "layer 'wide' has channels 0 to 7, not 8",
    ),
    "a negative channel": (lambda net, x: net.project(x, "wide", channel=-1), InputError, "channels 0 to 7, not -1"),
    "a channel that is no number": (lambda net, x: net.project(x, "wide", channel="a"), InputError, "0 to 7, not 'a'"),
    "half a channel": (lambda net, x: net.project(x, "wide", channel=1.5), InputError, r"channels 0 to 7, not 1\.5"),
    "no channel": (lambda net, x: net.project(x, "wide", channel=[]), InputError, "there is no channel to project"),
    "a position outside": (
        lambda net, x: net.project(x, "wide", channel=0, position=(4, 0)),
        InputError,
        r"maps of size \(4, 4\); the position \(4, 0\) lies outside",
    ),
    "a position of too few numbers": (
        lambda net, x: net.project(x, "wide", channel=0, position=(1,)),
        InputError,
        r"not \(1,\)",
    ),
    "a position of another kind": (
        lambda net, x: net.project(x, "wide", channel=0, position="mean"),
        InputError,
        "not 'mean'",
    ),
    "positions for other samples": (
        lambda net, x: net.project(x, "wide", channel=0, position=torch.zeros(3, 2, dtype=torch.long)),
        InputError,
        r"not a tensor of shape \(3, 2\)",
    ),
    "a position in a linear layer": (
        lambda net, x: net.project(x, "fc", channel=0, position=(1, 1)),
        InputError,
        "layer 'fc' has channels but no positions",
    ),
    "another seed": (
        lambda net, x: net.project(x, "wide", channel=0, seed="two"),
        InputError,
        "'activation' or 'one', not 'two'",
    ),
    "an image without its batch axis": (
        lambda net, x: net.project(x[0], "stem", channel=0),
        InputError,
        r"shape \(3, 15, 13\) has no batch axis; give x\[None\]",
    ),
    "a flat image": (
        lambda net, x: net.project(x[0, 0], "stem", channel=0),
        InputError,
        r"\(15, 13\); the first convolution, 'stem'",
    ),
    "too many channels": (
        lambda net, x: net.project(torch.cat([x, x], 1), "stem", channel=0),
        InputError,
        r"\(2, 6, 15, 13\); the first convolution, 'stem', takes \(N, 3, H, W\)",
    ),
    "too few channels": (lambda net, x: net.project(x[:, :1], "fc", channel=0), InputError, r"takes \(N, 3, H, W\)"),
    "a vector": (
        lambda net, x: net.project(x[0, 0, 0], "stem", channel=0),
        InputError,
        r"shape \(13,\); it must have a batch",
    ),
    "an empty batch": (
        lambda net, x: net.project(x[:0], "stem", channel=0),
        InputError,
        "which is empty; give at least one",
    ),
    "no list": (lambda net, x: net.project([], "stem", channel=0), InputError, "the batch contains no images"),
    "integers": (
        lambda net, x: net.project(x.int(), "stem", channel=0),
        InputError,
        r"torch\.int32; convert it to floating",
    ),
    "doubles": (
        lambda net, x: net.project(x.double(), "stem", channel=0),
        InputError,
        r"torch\.float64 and the model torch\.float32",
    ),
    "NaN": (
        lambda net, x: net.project(x * float("nan"), "stem", channel=0),
        InputError,
        "1170 values that are NaN or infinite",
    ),
    "infinity": (
        lambda net, x: net.project(torch.where(x == x.max(), torch.inf, x), "stem", channel=0),
        InputError,
        "holds 1 value that is NaN or infinite, of 1170; none may be",
    ),
    "a number": (
        lambda net, x: net.project(3, "stem", channel=0),
        InputError,
        "a tensor, a PIL image, a path or a list of these, not int",
    ),
    "an image without preprocessing": (
        lambda net, x: net.project(Image.new("RGB", (9, 9)), "stem", channel=0),
        InputError,
        "the network has no preprocess",
    ),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_mistakes_are_answered_with_a_sentence(net, x, name):
    call, kind, sentence = BAD_CALLS[name]
    with pytest.raises(kind, match=sentence) as caught:
        call(net, x)
    assert isinstance(caught.value, dv.errors.DeconvVizError)
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_images(tmp_path):
    net = dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,)))
    (tmp_path / "words.png").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:900])
    with pytest.raises(MissingFileError, match=r"there is no image file '.*nowhere.png'"):
        net.trace(tmp_path / "nowhere.png")
    for name in ("words.png", "empty.jpg"):
        with pytest.raises(ImageFileError, match=f"{name}' is not an image file that Pillow can read"):
            net.trace(tmp_path / name)
    with pytest.raises(ImageFileError, match=r"cut.png' cannot be read as an image"):
        net.trace(tmp_path / "cut.png")
    with pytest.raises(ImageFileError, match="is a folder, not an image file"):
        net.trace(tmp_path)


def test_what_is_no_model():
    with pytest.raises(ModelError, match=r"must be a torch.nn.Module, not function"):
        dv.DeconvNet(lambda x: x)
    with pytest.raises(ModelError, match="the model Sequential has no parameters"):
        dv.DeconvNet(nn.Sequential(nn.ReLU()))


def test_a_layer_that_never_runs():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.used(x).argmax(1)

    net, x = dv.DeconvNet(Model()), torch.ones(1, 1, 2, 2)
    with pytest.raises(
        UnknownLayerError, match="'idle' is a module of the model, but it returned nothing that depends on the input"
    ):
        net.trace(x, "idle")
    with pytest.raises(InputError, match=r"layer 'output' returns torch.int64, which has no activations"):
        net.project(x, "output", channel=0)


def test_activations_that_are_not_finite():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1))
    model[0].weight.data.fill_(torch.inf)
    net, x = dv.DeconvNet(model), torch.ones(1, 1, 2, 2)
    for call in (lambda: net.project(x, "0", channel=0), lambda: net.reconstruct(x, "1")):
        with pytest.raises(InputError, match="are not all finite on this input"):
            call()


def test_errors_are_also_the_ones_that_users_catch(net, x):
    with pytest.raises(KeyError):
        net.project(x, "nowhere", channel=0)
    with pytest.raises(ValueError):
        net.project(x, "wide", channel=99)
    with pytest.raises(TypeError):
        dv.DeconvNet(None)
