"""How a model's input is made from an image: by the model's own transform, as the caller asks, or by default."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn

from deconvviz.errors import InputError
from deconvviz.images import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from deconvviz.levels import without_preprocess
from deconvviz.normalisation import as_preprocess, undone
from deconvviz.results.words import counted

USUAL_SIDES = {1: 1000, 3: 32}  # of signals and of volumes, where nothing tells

# The presets of torchvision that make an input of one image.
PRESETS = ("ImageClassification", "SemanticSegmentation", "ObjectDetection")


@dataclass(frozen=True, kw_only=True)
class InputWishes:
    """What the caller asks of the input; None leaves the choice to the model.

    Attributes:
        size: Height and width, or one number for both. Of a model of signals their length, of one of volumes depth,
            height and width.
        mean: Mean of each channel, or one number for all.
        std: Standard deviation of each channel, or one number for all.
        channels: Number of channels.
        preprocess: A function from an image to a tensor, which leaves nothing else to say.
        bands: Three channels that are shown as red, green and blue.
        channels_last: Whether the model takes pictures (N, H, W, C).
    """

    size: int | Sequence[int] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    channels: int | None = None
    preprocess: Callable[[Any], Any] | None = None
    bands: Sequence[int] | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        sides = [self.size] if isinstance(self.size, int) else list(self.size or ())
        if self.size is not None and (len(sides) not in (1, 2, 3) or not all(_is_whole(side) for side in sides)):
            shown = sides[0] if len(sides) == 1 else self.size
            raise InputError(f"the size of the input is a whole number from 1, not {shown!r}")
        if (self.mean is None) != (self.std is None):
            present, missing = ("mean", "std") if self.std is None else ("std", "mean")
            raise InputError(f"the {present} is given and the {missing} is not; give both")
        if self.channels is not None and not _is_whole(self.channels):
            raise InputError(f"channels must be a whole number of at least 1, not {self.channels!r}")
        if self.preprocess is not None and self.others:
            raise InputError(
                f"a preprocess makes the whole input, so there is no {self.others[0]} to give; leave it out"
            )

    @property
    def others(self) -> list[str]:
        """The wishes that are given, by name, but for the preprocess."""
        names = ("size", "mean", "std", "channels", "bands")
        return [name for name in names if getattr(self, name) is not None]

    def sides(self, usual: int) -> tuple[int, int]:
        """Height and width."""
        sides = (usual,) if self.size is None else (self.size,) if isinstance(self.size, int) else tuple(self.size)
        return sides[0], sides[-1]


@dataclass(frozen=True)
class ModelInput:
    """How a model's input is made.

    Attributes:
        preprocess: A function from an image to a tensor (C, H, W).
        shape: The shape (C, H, W) of one input.
        assumed: What was assumed without being told, in a sentence, or "".
    """

    preprocess: Callable[[Any], Any]
    shape: tuple[int, ...]
    assumed: str = ""


@dataclass(frozen=True)
class ChannelsLast:
    """A preprocess for a model of pictures (N, H, W, C).

    Attributes:
        made_by: A preprocess that makes (C, H, W).
    """

    made_by: Callable[[Any], Any]

    def __call__(self, image: Any) -> Any:
        return self.made_by(image).movedim(0, -1)

    def inverse(self, x: Tensor) -> Tensor | None:
        """Pixels in [0, 1], (N, H, W, C), from inputs; None where they are not known."""
        pixels = undone(x.movedim(-1, 1), self.made_by) if x.ndim == 4 else None
        return None if pixels is None else pixels.movedim(1, -1)


def input_of(model: nn.Module, wishes: InputWishes, brought: Callable[[Any], Any] | None = None) -> ModelInput:
    """How the input of a model is made.

    brought: the preprocess that came with the model, or None.

    Raises InputError if the wishes contradict one another, or change only a part of what the model brings.
    """
    made = _input_of(model, wishes, brought)
    if not wishes.channels_last:
        return made
    if len(made.shape) != 3:
        raise InputError("the model takes no pictures, so --channels-last does not apply; give arrays as it takes them")
    shape = (*made.shape[1:], made.shape[0])
    return ModelInput(ChannelsLast(made.preprocess), shape, made.assumed)


def _input_of(model: nn.Module, wishes: InputWishes, brought: Callable[[Any], Any] | None) -> ModelInput:
    """As `input_of`, with the channels first."""
    first = next((module for module in model.modules() if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))), None)
    if isinstance(first, (nn.Conv1d, nn.Conv3d)):
        return _of_arrays(first, wishes, brought)
    if isinstance(wishes.size, Sequence) and len(wishes.size) > 2:
        raise InputError(f"the size of a picture is its height and width, not {tuple(wishes.size)}")
    channels = wishes.channels or (first.in_channels if first else max(3, len(wishes.mean or ())))
    own: Any = wishes.preprocess or (None if wishes.mean else brought or _of_timm(model))
    height, width = wishes.sides(_side_of(own) or _usual_side(model))
    shape = (channels, height, width)
    own = as_preprocess(own)
    if own is not None and not wishes.others:
        return ModelInput(own, shape)
    if wishes.others == ["size"] and (known := _mean_and_std(own, model, brought)):
        return ModelInput(Preprocess(_size(height, width), *known), shape)
    if own is not None:
        raise InputError(
            f"the model brings its own preprocess, of which the {wishes.others[0]} cannot be changed alone; "
            f"leave it out, or say all of it with a mean and std"
        )
    if wishes.mean is not None and wishes.std is not None:
        mean, std = (
            tuple(numbers) * channels if len(numbers) == 1 else tuple(numbers) for numbers in (wishes.mean, wishes.std)
        )
        if {len(mean), len(std)} != {channels}:
            raise InputError(
                f"there are {channels} channels, and {len(mean)} means and {len(std)} deviations; give one for each"
            )
        return ModelInput(Preprocess(_size(height, width), mean, std, wishes.bands), shape)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.0,) * channels, (1.0,) * channels)
    numbers = "normalised with ImageNet's mean and standard deviation" if channels == 3 else "scaled to 0 to 1"
    assumed = (
        f"the model brings no preprocessing; images are resized to {height} x {width} and {numbers}. "
        f"If it was trained otherwise, say so with --size, --mean and --std, or --preprocess"
    )
    return ModelInput(Preprocess(_size(height, width), mean, std, wishes.bands), shape, assumed)


def _of_arrays(first: nn.Conv1d | nn.Conv3d, wishes: InputWishes, brought: Callable[[Any], Any] | None) -> ModelInput:
    """The input of a model of signals or volumes, which are given as arrays."""
    rank = len(first.kernel_size)
    sides = [wishes.size] if isinstance(wishes.size, int) else list(wishes.size or [USUAL_SIDES[rank]])
    if len(sides) not in (1, rank):
        raise InputError(f"the size of the input is {counted(rank, 'number')}, or one for all, not {tuple(sides)}")
    shape = (wishes.channels or first.in_channels, *(sides * rank)[:rank])
    kind = "signals (N, C, L)" if rank == 1 else "volumes (N, C, D, H, W)"
    return ModelInput(wishes.preprocess or brought or partial(_array_alone, kind), tuple(shape))


def _array_alone(kind: str, given: Any) -> Any:
    if isinstance(given, np.ndarray) and given.dtype.kind == "f":
        return without_preprocess(given)
    raise InputError(f"the model takes {kind}, not pictures; give them as floating-point numbers in an .npy file")


def preset_of(name: str, pretrained: bool) -> Any:
    """The transform that torchvision has for a model, or None."""
    from torchvision import models  # noqa: PLC0415

    try:
        weights = models.get_model_weights(name)
    except ValueError:
        return None
    known = [getattr(weights, "DEFAULT", None), *weights] if pretrained else list(weights)
    transform = next((preset.transforms() for preset in known if preset is not None), None)
    return transform if type(transform).__name__ in PRESETS else None


def classes_of_preset(name: str) -> tuple[str, ...]:
    """The names of the classes for which torchvision has weights of a model; () if it has none."""
    from torchvision import models  # noqa: PLC0415

    try:
        weights = models.get_model_weights(name)
    except ValueError:
        return ()
    known = next((one.meta.get("categories", ()) for one in weights), ())
    return tuple(map(str, known))


def _size(height: int, width: int) -> int | tuple[int, int]:
    return height if height == width else (height, width)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _of_timm(model: nn.Module) -> Any:
    """The transform that timm has for its own model, or None."""
    timm = sys.modules.get("timm")  # its models are there only if it is
    if timm is None or not getattr(model, "pretrained_cfg", None):
        return None
    data = sys.modules["timm.data"]
    return data.create_transform(**data.resolve_data_config({}, model=model), is_training=False)


def _mean_and_std(own: Any, model: nn.Module, brought: object) -> tuple[Sequence[float], Sequence[float]] | None:
    """What the transform of a library normalises by; None for any other transform."""
    if own is None:
        return None
    if {"mean", "std"} <= set(vars(own)):  # a preset of torchvision
        return own.mean, own.std
    config = getattr(model, "pretrained_cfg", None) if brought is None else None  # timm's
    return (config["mean"], config["std"]) if config else None


def _side_of(preset: Any) -> int | None:
    """Height and width that a preset of torchvision crops or resizes to."""
    sides = getattr(preset, "crop_size", None) or getattr(preset, "resize_size", None)
    return int(sides[0]) if isinstance(sides, (list, tuple)) else None


def _usual_side(model: nn.Module) -> int:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}  # timm's
    if "input_size" in config:
        return int(config["input_size"][-1])
    return 299 if type(model).__name__ == "Inception3" else 224
