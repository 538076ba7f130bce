"""The network in each style and with random weights, and its recorded runs, which are kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from deconvviz import images
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import InputError
from deconvviz.evidence.randomisation import copy_with_random_weights
from deconvviz.explorer.clients import Clients
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.net import DeconvNet
from deconvviz.recording.placement import required_arguments
from deconvviz.trace import Trace

KEPT_BYTES = 400 * 2**20  # of recorded runs
STYLES_SHOWN = ("deconvnet", "guided", "gradient")
OF_THE_DATASET = "data-"  # how the names of its images begin
FARTHEST = 4096  # pixels by which an image can be moved
SIZES = (25, 800)  # percent, the least and the most


@dataclass(frozen=True)
class ImageKey:
    """Which image is meant.

    Attributes:
        name: ``data-N`` for number N of the data set, or the key of an image that the client gave.
        shift: By how many pixels it is moved down and to the right.
        size: Its size in percent; a larger one is cropped.
    """

    name: str
    shift: tuple[int, int] = (0, 0)
    size: int = 100

    @property
    def of_the_dataset(self) -> bool:
        return self.name.startswith(OF_THE_DATASET)


class Networks:
    """The network, the images it is shown, and its runs. Only the worker's thread may use it."""

    def __init__(self, net: DeconvNet, dataset: Any = None) -> None:
        """Prepare a network.

        Args:
            net: The network.
            dataset: The data set whose images can be chosen, with items by number; None for none.

        Raises:
            InputError: If the network takes several inputs, or the data set has no items by number, or is empty.
        """
        if len(taken := required_arguments(net.model)) > 1:
            raise InputError(f"the explorer shows networks of one input, and this one takes {', '.join(taken)}")
        self.given = net
        self.data = None if dataset is None else as_dataset(dataset)
        if self.data is not None and (not is_indexed(self.data) or not len(self.data)):
            raise InputError(
                "the explorer shows images by their number; give a folder, a tensor or another data set that has a "
                "length and items by number, with one image at least"
            )
        self.pictures = None if self.data is None else DatasetPictures(net, self.data)
        self.clients = Clients(net.preprocess)
        self.styles = tuple(dict.fromkeys([net.style.name, *STYLES_SHOWN]))
        self._nets: dict[tuple[str, bool], DeconvNet] = {(net.style.name, False): net}
        self._traces: OrderedDict[tuple[str, ImageKey, str, bool], tuple[Trace, int]] = OrderedDict()

    def net(self, style: str, random: bool = False) -> DeconvNet:
        """The network in a style; random: with random weights in place of its own."""
        if style not in self.styles:
            raise InputError(f"the styles are {', '.join(self.styles)}, not {style!r}")
        if (style, random) not in self._nets:
            model, own = self.given.model, self.given
            if random:
                model = next(
                    (net.model for (_, also), net in self._nets.items() if also), None
                ) or copy_with_random_weights(model, 0)
            shown_style = own.style if style == own.style.name else style
            self._nets[style, random] = DeconvNet(model, shown_style, preprocess=own.preprocess, strict=own.strict)
        return self._nets[style, random]

    def input(self, client: str, image: ImageKey) -> Tensor:
        """The network's input (1, C, H, W).

        Raises:
            InputError: If there is no such image.
        """
        return moved(self._loaded(client, image)[0], image.shift, image.size)

    def _loaded(self, client: str, image: ImageKey) -> tuple[Tensor, str]:
        """An image as the network's input, before it is moved, and its name."""
        if not image.of_the_dataset:
            given = self.clients.image(client, image.name)
            return given.x, given.name
        if self.pictures is None or self.data is None:
            raise InputError("the explorer was started without a data set; give an image of your own")
        number = image.name.removeprefix(OF_THE_DATASET)
        if not (number.isdecimal() and number.isascii()) or len(number) > 12 or int(number) >= len(self.data):
            raise InputError(f"the data set has images 0 to {len(self.data) - 1}, not {number!r}")
        x, label = self.pictures.load_alone(int(number))
        name = self.pictures.name(int(number))
        words = [f"image {name}" if name.isdecimal() else name]
        if label:
            words.append(f"label {label}" if label.isdecimal() else label)
        return x[None], " · ".join(words)

    def name(self, client: str, image: ImageKey) -> str:
        """What an image is called, with its label where it has one."""
        return self._loaded(client, image)[1]

    def trace(self, client: str, image: ImageKey, style: str = "", random: bool = False) -> Trace:
        """The recorded run on an image, recorded now or before."""
        style = style or self.given.style.name
        owner = "" if image.of_the_dataset else client
        key = owner, image, style, random
        if key not in self._traces:
            self._forget_runs_of_forgotten_images()
            trace = self.net(style, random).trace(self.input(client, image))
            size = sum(value.numel() * value.element_size() for value in trace.tape.data.values())
            self._traces[key] = trace, size
        self._traces.move_to_end(key)
        while len(self._traces) > 1 and sum(size for _, size in self._traces.values()) > KEPT_BYTES:
            self._traces.popitem(last=False)
        return self._traces[key][0]

    def _forget_runs_of_forgotten_images(self) -> None:
        """A camera gives an image per frame, of which only the newest are kept."""
        for key in [key for key in self._traces if key[0] and not self.clients.has(key[0], key[1].name)]:
            del self._traces[key]

    def displayed(self, x: Tensor) -> Tensor:
        """An input (1, C, H, W) as an image for display, (C, H, W)."""
        return images.displayed(x, self.given.preprocess)[0]


def moved(x: Tensor, shift: tuple[int, int], size: int = 100) -> Tensor:
    """An input (1, C, H, W) with the image larger or smaller about its middle, then moved.

    Its border is repeated where nothing is left; sizes in between are interpolated linearly.

    Args:
        x: The input.
        shift: By how many pixels the image is moved down and to the right.
        size: Its size in percent.

    Raises:
        InputError: If it has no two spatial axes, is moved farther than it is large, or the size is out of bounds.
    """
    if shift == (0, 0) and size == 100:
        return x
    down, right = shift
    if x.ndim != 4 or abs(down) >= min(x.shape[2], FARTHEST) or abs(right) >= min(x.shape[3], FARTHEST):
        raise InputError(f"an input of shape {tuple(x.shape)} cannot be moved by {down} and {right} pixels")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"an image has a size of {SIZES[0]} to {SIZES[1]} percent, not {size}")
    if size != 100:
        height, width = x.shape[2:]
        zoom = 100 / size  # pixels of the image per pixel of the result
        lines = [[zoom, 0.0, -2 * zoom * right / width], [0.0, zoom, -2 * zoom * down / height]]
        grid = torch.nn.functional.affine_grid(x.new_tensor([lines]), list(x.shape), align_corners=False)
        return torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    padding = max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)
    padded = torch.nn.functional.pad(x, padding, mode="replicate")
    top, left = max(-down, 0), max(-right, 0)
    return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]].contiguous()
