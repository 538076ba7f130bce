"""The options that choose a model and how its input is made, and the network that they give."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deconvviz.cli.shared import dataset, remark
from deconvviz.errors import InputError

if TYPE_CHECKING:
    from deconvviz.net import DeconvNet

# ruff: noqa: PLC0415

DTYPES = ("float32", "float64", "float16", "bfloat16")
OF_NUMBERS = ("--size", "--mean", "--std", "--bands")  # options of one number or several
USUAL_NUMBERS = {"--overlay": "0.6"}  # options of one number, and what they are without it


def model_arguments(parser: argparse.ArgumentParser, style: bool = True, *, weights: bool = True) -> None:
    """Add the arguments that choose the model and its input, and ``--style`` if the command has styles.

    weights: whether to add ``--weights`` for one file.
    """
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="mnist, zfnet, torchvision:NAME, timm:NAME, path/to/file.py:factory, package.module:factory, or a file of "
        "TorchScript or torch.export; code in a file or module is run",
    )
    if weights:
        parser.add_argument(
            "--weights", metavar="FILE", help="safetensors file or a trainer's checkpoint (pickled code is not run)"
        )
    parser.add_argument(
        "--pretrained", action="store_true", help="download the trained weights from torchvision or timm"
    )
    parser.add_argument(
        "--size",
        type=_whole_numbers,
        metavar="H [W]",
        help="height and width of the input in pixels; length of a signal; depth, height and width of a volume",
    )
    parser.add_argument(
        "--mean", type=_numbers, metavar="M [M ...]", help="mean of pixels in 0 to 1, of each channel or of all"
    )
    parser.add_argument("--std", type=_numbers, metavar="S [S ...]", help="their standard deviation")
    parser.add_argument(
        "--channels", type=int, metavar="N", help="1 for grey images, 3 for colours (as the model takes)"
    )
    parser.add_argument(
        "--bands", type=_whole_numbers, metavar="R G B", help="channels shown as red, green and blue (the mean of all)"
    )
    parser.add_argument(
        "--channels-last", action="store_true", help="the model takes pictures with their channels last, (N, H, W, C)"
    )
    parser.add_argument(
        "--preprocess",
        metavar="FILE.py:FACTORY",
        help="function that makes a preprocess, from a PIL image to a tensor; the code in the file is run",
    )
    parser.add_argument("--dtype", choices=DTYPES, help="type in which the model computes (as it is)")
    parser.add_argument(
        "--device",
        default="cpu",
        help="cpu, cuda, cuda:N, xpu, xpu:N or mps; under torchrun, cuda is each rank's own GPU (%(default)s)",
    )
    if style:
        parser.add_argument("--style", default="deconvnet", help="deconvnet, guided or gradient (%(default)s)")


def loaded(args: argparse.Namespace, *, takes_images: bool = True) -> tuple[DeconvNet, tuple[int, ...]]:
    """The chosen model, and the shape of its input without the batch axis.

    takes_images: whether the command makes inputs of images, so that it says what was assumed of them.
    """
    import torch

    from deconvviz.models.by_name import load_model, load_preprocess
    from deconvviz.models.inputs import InputWishes
    from deconvviz.net import DeconvNet

    device = _device(args.device)
    own = load_preprocess(args.preprocess) if args.preprocess else None
    wishes = InputWishes(
        size=args.size,
        mean=args.mean,
        std=args.std,
        channels=args.channels,
        preprocess=own,
        bands=args.bands,
        channels_last=args.channels_last,
    )
    # Where weights are random they are the same in each process and each time.
    torch.manual_seed(0)
    loaded = load_model(args.model, args.weights, pretrained=args.pretrained, wishes=wishes)
    as_numbers = _are_numbers(args)
    for text in (loaded.remark, loaded.assumed if takes_images and not as_numbers else ""):
        if text:
            remark(f"note: {text}")
    model = _on_the_device(loaded.model, device, args.dtype)
    # How numbers were normalised is not assumed: without a preprocess, pictures say that they are stretched.
    unknown = as_numbers and loaded.assumed and not args.bands
    preprocess = None if unknown else loaded.preprocess
    return DeconvNet(model, getattr(args, "style", "deconvnet"), preprocess=preprocess), loaded.shape


def _are_numbers(args: argparse.Namespace) -> bool:
    """Whether all inputs are floating-point numbers, which a model gets as they are.

    They are in files of NumPy, or items of a dataset that code makes, of which the first one counts.
    """
    from deconvviz.data.array_files import holds_inputs
    from deconvviz.data.by_name import is_factory
    from deconvviz.data.items import gives_inputs

    images, data = list(getattr(args, "images", ())), getattr(args, "data", None)
    if data and is_factory(data):
        return all(map(holds_inputs, images)) and gives_inputs(dataset(args))
    given = [*images, data] if data else images
    return bool(given) and all(map(holds_inputs, given))


def _device(name: str) -> str:
    """The device of this process. Raises InputError if there is none of this name."""
    import torch

    if not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", name):
        raise InputError(f"--device is cpu, cuda, cuda:N, xpu, xpu:N or mps, not {name!r}")
    kind = name.partition(":")[0]
    if kind == "cpu":
        return name
    module = torch.get_device_module(kind)
    if not module.is_available():
        raise InputError(f"--device {name}: torch finds no device of this kind on this machine; --device cpu would do")
    device = f"{kind}:{os.environ['LOCAL_RANK']}" if name in ("cuda", "xpu") and "LOCAL_RANK" in os.environ else name
    if ":" in device and int(device.partition(":")[2]) >= module.device_count():
        raise InputError(f"--device {name}: the last device of this kind is {kind}:{module.device_count() - 1}")
    return device


def _on_the_device(model: Any, device: str, dtype: str | None) -> Any:
    """A model moved to a device, and to a type if one is given. Raises InputError for a type that MPS does not have."""
    import torch

    try:
        return model.to(device, getattr(torch, dtype) if dtype else None)
    except TypeError as error:
        if device != "mps":
            raise
        raise InputError("--device mps: MPS computes in no float64; give --dtype float32 with it") from error


def with_joined_numbers(arguments: Sequence[str]) -> list[str]:
    """The arguments with the numbers after an option of `OF_NUMBERS` joined to it, which argparse cannot end in time.

    An option of `USUAL_NUMBERS` takes one number, or its own.

    >>> with_joined_numbers(["--size", "32", "48", "photo.png", "--overlay"])
    ['--size=32,48', 'photo.png', '--overlay=0.6']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        numbers: list[str] = []
        most = len(rest) if word in OF_NUMBERS else word in USUAL_NUMBERS
        while len(numbers) < most and rest and _is_number(rest[0]):
            numbers.append(rest.pop(0))
        if word in USUAL_NUMBERS and not numbers:
            numbers = [USUAL_NUMBERS[word]]
        joined.append(f"{word}={','.join(numbers)}" if numbers else word)
    return joined


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _whole_numbers(text: str) -> tuple[int, ...]:
    return _parsed(text, int, "a whole number")


def _numbers(text: str) -> tuple[float, ...]:
    return _parsed(text, float, "a number")


def _parsed(text: str, kind: Any, words: str) -> tuple[Any, ...]:
    try:
        return tuple(kind(word) for word in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {words}") from None
