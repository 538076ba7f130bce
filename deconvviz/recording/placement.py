"""Where a model's inputs have to lie, and in which type.

Images that the library makes of files, PIL images and arrays get the type of the model's parameters. They, and tensors
that lie elsewhere, are moved to the model's device. A tensor keeps its type: that is for the caller to choose.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from deconvviz.errors import InputError
from deconvviz.levels import without_preprocess
from deconvviz.recording.model_parts import ModelParts
from deconvviz.recording.tape import mapped, tensors_in

_CALCULATED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Placement:
    """Where a model computes.

    Attributes:
        devices: The devices of its parameters, or of its buffers if it has none, the first one first.
        dtype: The type of its first floating-point parameter or buffer in which torch calculates; None without one.
        channels: The number of input channels of its first convolution; None without one.
    """

    devices: tuple[torch.device, ...]
    dtype: torch.dtype | None
    channels: int | None = None

    @classmethod
    def of(cls, model: nn.Module) -> Placement:
        parts = ModelParts.of(model)
        dtypes = (tensor.dtype for tensor in parts.tensors if tensor.dtype in _CALCULATED)
        channels = (module.in_channels for module in parts.modules if isinstance(module, (nn.Conv2d, nn.Conv3d)))
        devices = tuple(dict.fromkeys(tensor.device for tensor in parts.parameters or parts.buffers))
        return cls(devices, next(dtypes, None), next(channels, None))

    @property
    def device(self) -> torch.device | None:
        """Where inputs are moved to; None for a model without tensors, or without numbers (on the device meta)."""
        return None if not self.devices or self.devices[0].type == "meta" else self.devices[0]

    def moved(self, arguments: Any) -> Any:
        """Arguments of the model, with their tensors on its device.

        If it lies on several, tensors on one of these stay there. Whole numbers go along only if a floating-point
        tensor is moved: some operations of torch want lengths on the CPU.
        """
        away = (tensor for tensor in tensors_in(arguments) if self._is_away(tensor))
        if not any(tensor.is_floating_point() or tensor.is_complex() for tensor in away):
            return arguments
        return mapped(arguments, lambda tensor: tensor.to(self.device) if self._is_away(tensor) else tensor)

    def check_numbers(self, model: nn.Module, x: Tensor) -> None:
        """Raise InputError for weights without numbers, with which torch would compute: some of its kernels do.

        An input on the device meta is no calculation.
        """
        if x.is_meta or not any(device.type == "meta" for device in self.devices):
            return
        name = next(name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta)
        raise InputError(
            f"{name!r} of the model is on the device meta, which has no numbers; load its weights, such as after "
            f"model.to_empty(device='cpu'), or give an input on meta, for which layers lists what would run"
        )

    def _is_away(self, tensor: Tensor) -> bool:
        return self.device is not None and not tensor.is_meta and tensor.device not in self.devices

    def typed(self, image: Any) -> Any:
        """What a preprocess returns, in the model's type if it is a floating-point tensor."""
        fits = self.dtype is None or not isinstance(image, Tensor) or not image.is_floating_point()
        return image if fits else image.to(self.dtype)

    def preprocess(self, preprocess: Callable[[Any], Any] | None, arguments: tuple[str, ...] = ()) -> PlacedPreprocess:
        """A preprocess whose images have the model's type; without one, the conversion of arrays alone.

        Where the model takes colours, grey images are converted first, as torchvision's loader does.

        arguments: what the model takes, if an item of a dataset has several inputs.
        """
        return PlacedPreprocess(self, preprocess or without_preprocess, arguments)


@dataclass(frozen=True)
class PlacedPreprocess:
    """A preprocess in a model's type, which processes that load data can be given.

    Attributes:
        placement: Where the model computes.
        made_by: The preprocess.
        arguments: Names of what the model takes, if an item has several inputs.
    """

    placement: Placement
    made_by: Callable[[Any], Any]
    arguments: tuple[str, ...] = ()

    def __call__(self, image: Any) -> Any:
        if self.placement.channels == 3 and isinstance(image, Image.Image) and image.mode == "L":
            image = image.convert("RGB")
        return self.placement.typed(self.made_by(image))


def required_arguments(model: nn.Module) -> tuple[str, ...]:
    """The names of the arguments without which a model cannot be called.

    Example:
        >>> required_arguments(nn.Bilinear(2, 3, 4)), required_arguments(nn.Linear(2, 3))
        (('input1', 'input2'), ('input',))
    """
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.kind in positional and parameter.default is parameter.empty
    )


def pins(device: torch.device | None) -> bool:
    """Whether copies to a device are faster from pinned memory."""
    return device is not None and device.type not in ("cpu", "mps", "meta")


def where_double(tensor: Tensor) -> Tensor:
    """The tensor, on a device that has float64: on the CPU if it lies on MPS."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def read_back(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the CPU. What lies on another device is read in one copy per device."""
    copies = list(tensors)
    for device in dict.fromkeys(tensor.device for tensor in tensors if tensor.device.type not in ("cpu", "meta")):
        places = [index for index, tensor in enumerate(tensors) if tensor.device == device]
        packed = torch.cat([tensors[index].contiguous().flatten().view(torch.uint8) for index in places]).cpu()
        for index, part in zip(places, packed.split([tensors[index].nbytes for index in places]), strict=True):
            copies[index] = part.clone().view(tensors[index].dtype).view(tensors[index].shape)
    return copies
