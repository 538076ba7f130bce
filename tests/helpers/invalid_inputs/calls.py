"""Calls of `DeconvNet` that are invalid, or that look invalid and are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

import deconvviz as dv
from deconvviz.errors import InputError, MissingFileError
from deconvviz.images import Preprocess
from tests.helpers.invalid_inputs.case import Case, gives, net, plain, refused, x

NAN = float("nan")


def projected(given: Any, **options: Any) -> tuple[int, ...]:
    pixels = net().project(given, "3", **{"channel": 0, **options}).pixels
    assert bool(torch.isfinite(pixels).all())
    return tuple(pixels.shape)


def whole_input(given: Any) -> Any:
    return lambda _: projected(given)


NO_INPUT = "an input is a tensor, a PIL image, a path or a list of these, not "
FIRST = "the first convolution, '0', takes (N, 3, H, W)"
TYPE = "the input is {}; convert it to floating point, scaled as the model expects"
DENSE = "give a dense one, such as x.to_dense() makes"
NO_NUMBERS = "the signal is on the device meta, which has no values; give one that has values"
REAL = "the signal is complex and the activations of layer '3' are not; give a real one"
EMPTY = "the input has shape {}, which is empty; give at least one sample"

CASES: list[Case] = [
    *(
        refused(f"an input that is {name}", whole_input(given), InputError, f"{NO_INPUT}{name}")
        for name, given in (
            ("NoneType", None),
            ("int", 3),
            ("bytes", b"abc"),
            ("set", {1}),
            ("Tensor", [x()[0], x()[1]]),
            ("list", [[1]]),
            ("Sequential", plain()),
        )
    ),
    refused("no image in a list", whole_input([]), InputError, "the batch contains no images; give at least one"),
    *(
        refused(f"numbers of {kind}", whole_input(x().to(kind)), InputError, TYPE.format(kind))
        for kind in (torch.int64, torch.uint8, torch.bool)
    ),
    *(
        refused(
            f"numbers of {kind} for a model of float32",
            whole_input(x().to(kind)),
            InputError,
            f"the input is {kind} and the model torch.float32; convert one of them",
        )
        for kind in (torch.float16, torch.bfloat16, torch.float64, torch.complex64)
    ),
    *(
        refused(f"no values, {shape}", whole_input(torch.zeros(shape)), InputError, EMPTY.format(shape))
        for shape in ((0, 3, 8, 8), (2, 0, 8, 8), (2, 3, 8, 0))
    ),
    *(
        refused(
            f"an input of shape {shape}",
            whole_input(torch.zeros(shape)),
            InputError,
            f"the input has shape {shape}; it must have a batch axis and channels, (N, C, ...)",
        )
        for shape in ((), (8,))
    ),
    *(
        refused(
            f"an input of shape {shape}",
            whole_input(torch.zeros(shape)),
            InputError,
            f"the input has shape {shape}; {FIRST}",
        )
        for shape in ((8, 8), (1, 2, 3, 8, 8), (2, 1, 8, 8), (1, 4, 8, 8))
    ),
    refused(
        "an image without its batch axis",
        whole_input(x()[0]),
        InputError,
        "the input of shape (3, 8, 8) has no batch axis; give x[None], or a batch (N, C, H, W)",
    ),
    refused(
        "an image smaller than a pooling window",
        whole_input(x()[..., :1, :1]),
        InputError,
        "the model does not take an input of shape (2, 3, 1, 1): …",
    ),
    *(
        refused(
            f"{name} among the numbers",
            whole_input(torch.where(x() == x().max(), value, x())),
            InputError,
            "the input holds 1 value that is NaN or infinite, of 384; none may be",
        )
        for name, value in (("NaN", NAN), ("infinity", float("inf")), ("minus infinity", float("-inf")))
    ),
    refused(
        "a sparse input",
        whole_input(x().to_sparse()),
        InputError,
        "the input is a sparse_coo tensor; give a dense one, such as x.to_dense() makes",
    ),
    *(
        refused(
            f"a signal that is {name}",
            lambda _, given=given: net().reconstruct(x(), "3", signal=given(torch.ones(2, 5, 4, 4))),
            InputError,
            sentence,
        )
        for name, given, sentence in (
            ("sparse", torch.Tensor.to_sparse, f"the signal is a sparse_coo tensor; {DENSE}"),
            (
                "nested",
                lambda s: torch.nested.nested_tensor(list(s), layout=torch.jagged),
                f"the signal is a nested tensor; {DENSE}",
            ),
            ("on the device meta", lambda s: s.to("meta"), NO_NUMBERS),
            ("complex", torch.Tensor.cfloat, REAL),
        )
    ),
    refused(
        "a model in eight bits",
        lambda _: dv.DeconvNet(plain().to(torch.float8_e5m2)).project(x().to(torch.float8_e5m2), "3", channel=0),
        InputError,
        "the model does not run in torch.float8_e5m2 on the device cpu (…); give model and input in a wider type, "
        "such as model.float() makes",
    ),
    refused(
        "a place on the device meta",
        lambda _: dv.DeconvNet(plain().to("meta")).project(x().to("meta"), "3", channel=0, position=(0, 0)),
        InputError,
        "the activations of layer '3' are on the device meta, which has no values",
    ),
    refused(
        "weights on the device meta",
        lambda _: dv.DeconvNet(plain().to("meta")).trace(x()),
        InputError,
        "'0.weight' of the model is on the device meta, which has no numbers; load its weights, such as after "
        "model.to_empty(device='cpu'), or give an input on meta, for which layers lists what would run",
    ),
    refused(
        "an input on the device meta",
        lambda _: dv.DeconvNet(plain().to("meta")).project(x().to("meta"), "3", channel=0),
        InputError,
        "the activations of layer '3' are on the device meta, which has no values",
    ),
    refused(
        "two arguments for a model that takes one",
        whole_input((x(), x())),
        InputError,
        "Sequential does not take these arguments: too many positional arguments",
    ),
    refused(
        "an argument that the model does not know",
        whole_input({"images": x()}),
        InputError,
        "Sequential does not take these arguments: missing a required argument: 'input'",
    ),
    *(
        refused(
            f"arguments without a tensor, {given!r}",
            whole_input(given),
            InputError,
            "there is no floating-point tensor among the arguments, so there is nothing to project to",
        )
        for given in ((), {}, (3,))
    ),
    refused(
        "a path for a network without preprocess",
        lambda _: net(preprocess=None).project("a.png", "3"),
        InputError,
        "the input is an image or a path, but the network has no preprocess; give it one, such as "
        "deconvviz.images.Preprocess(size=224), or give a tensor (N, C, H, W)",
    ),
    refused("a missing file", whole_input("a.png"), MissingFileError, "there is no image file 'a.png'"),
    refused(
        "preprocess that is no function",
        lambda _: net(preprocess=3),
        InputError,
        "preprocess is a function from a PIL image to a tensor, not int",
    ),
    refused(
        "preprocess that returns no tensor",
        lambda _: net(preprocess=np.asarray).project(Image.new("RGB", (8, 8)), "3"),
        InputError,
        "preprocess must return a tensor (C, H, W), not ndarray",
    ),
    refused(
        "images of different sizes as one batch",
        lambda _: net(preprocess=Preprocess(None)).trace([Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))]),
        InputError,
        "preprocess makes inputs of different shapes, (3, 8, 8) and (3, 9, 9), which cannot form one batch",
    ),
    refused(
        "preprocess for two channels, and an image",
        lambda _: Preprocess(8, (0, 0), (1, 1))(Image.new("RGB", (8, 8))),
        InputError,
        "an image has one channel or three, but the network takes 2; give it tensors",
    ),
    *(
        refused(
            f"preprocess of size {size!r}",
            lambda _, size=size: Preprocess(size),
            InputError,
            f"the size of an input is a whole number from 1 to 65536, not {size!r}",
        )
        for size in (0, -3, 2.5, "8")
    ),
    *(
        refused(
            f"preprocess with mean {mean!r} and std {std!r}",
            lambda _, mean=mean, std=std: Preprocess(8, mean, std),
            InputError,
            f"mean and std are one finite number for each channel, std above 0, not {mean!r} and {std!r}",
        )
        for mean, std in (
            ((), ()),
            ((0.0,), (0.0,)),
            ((0.0, 0.0, 0.0), (1.0,)),
            ((NAN,), (1.0,)),
            (None, None),
            ("a", "b"),
        )
    ),
    gives(
        "a grey and a large image as one batch",
        whole_input([Image.new("L", (50, 9)), Image.new("RGB", (5, 5))]),
        (2, 3, 8, 8),
    ),
    gives("an image of one pixel", whole_input(Image.new("RGB", (1, 1))), (1, 3, 8, 8)),
    gives("a constant input", whole_input(torch.full((1, 3, 8, 8), 7.0)), (1, 3, 8, 8)),
    gives("numbers near the largest of float32", whole_input(x() * 1e37), (2, 3, 8, 8)),
    gives("numbers near the smallest of float32", whole_input(x() * 1e-44), (2, 3, 8, 8)),
    gives("memory that is not contiguous", whole_input(x().permute(0, 1, 3, 2)), (2, 3, 8, 8)),
    gives("one image seen three times through expand", whole_input(x()[:1].expand(3, -1, -1, -1)), (3, 3, 8, 8)),
    gives("an input that requires a gradient", whole_input(x().requires_grad_()), (2, 3, 8, 8)),
]
