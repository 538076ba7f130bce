"""The reference network for MNIST, small enough to be inspected completely."""

from __future__ import annotations

import json
import os
from importlib import resources
from typing import Any

import torch
from torch import nn

from deconvviz.arguments import FLAG, NUMBER, PATH, WHOLE, described, optional, takes
from deconvviz.errors import CheckpointError, InputError
from deconvviz.io.restoring import Restored
from deconvviz.models.weights import best_match, check_fit, load_states, read_states

BUNDLED = "mnist_cnn.safetensors"  # beside this file
FILTER_SPREAD = 0.02  # standard deviation of the initial weights of the convolutions
ARCHITECTURE = "architecture"  # the metadata entry that holds the constructor's options as JSON


class MnistCNN(nn.Module):
    """Convolution, pooling, convolution, pooling, two linear layers: images (N, 1, 28, 28) to logits (N, 10).

    The modules, in the order in which they run, are conv1 (7 x 7), norm1, relu1, pool1, conv2 (5 x 5), norm2, relu2,
    pool2, fc1, relu3, dropout, fc2; norm1 and norm2 exist only with `batch_norm`, dropout only with `dropout` above
    zero. Convolutions keep the size, each pooling (2 x 2) halves it: 28 -> 14 -> 7. Biases start at zero, linear layers
    as in He et al. (2015, arXiv 1502.01852), and filters with the small standard deviation `FILTER_SPREAD`, so that
    what a filter shows was learnt (Zeiler and Fergus start from 0.01).

    Args:
        channels: Number of filters of conv1 and conv2.
        width: Number of outputs of fc1.
        batch_norm: Whether to normalise after each convolution.
        dropout: Share of fc1's outputs that training sets to zero, in [0, 1).

    Raises:
        InputError: If an option is out of range.

    Example:
        >>> net = MnistCNN(channels=(4, 8), width=16, dropout=0.0)
        >>> [name for name, _ in net.named_children()]
        ['conv1', 'relu1', 'pool1', 'conv2', 'relu2', 'pool2', 'fc1', 'relu3', 'fc2']
        >>> net(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 10])
    """

    @takes(width=WHOLE, batch_norm=FLAG, dropout=NUMBER)
    def __init__(
        self, channels: tuple[int, int] = (24, 48), width: int = 128, *, batch_norm: bool = False, dropout: float = 0.4
    ) -> None:
        super().__init__()
        sizes = (*channels, width) if isinstance(channels, (tuple, list)) else ()
        if len(sizes) != 3 or not all(isinstance(size, int) and size > 0 for size in sizes):
            shown = f"{described(channels)} and {described(width)}"
            raise InputError(f"channels are two whole numbers from 1 and width is one, not {shown}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is a share in [0, 1), not {dropout!r}")
        self.architecture: dict[str, Any] = {
            "channels": list(channels),
            "width": width,
            "batch_norm": batch_norm,
            "dropout": dropout,
        }
        first, second = channels
        modules: dict[str, nn.Module | None] = {
            "conv1": nn.Conv2d(1, first, kernel_size=7, padding=3),
            "norm1": nn.BatchNorm2d(first) if batch_norm else None,
            "relu1": nn.ReLU(),
            "pool1": nn.MaxPool2d(2),
            "conv2": nn.Conv2d(first, second, kernel_size=5, padding=2),
            "norm2": nn.BatchNorm2d(second) if batch_norm else None,
            "relu2": nn.ReLU(),
            "pool2": nn.MaxPool2d(2),
            "fc1": nn.Linear(second * 7 * 7, width),
            "relu3": nn.ReLU(),
            "dropout": nn.Dropout(dropout) if dropout else None,
            "fc2": nn.Linear(width, 10),
        }
        for name, module in modules.items():
            if module is not None:
                self.add_module(name, module)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.children():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=FILTER_SPREAD)
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10) of images (N, 1, 28, 28) with values in [0, 1]."""
        values = images
        for name, module in self.named_children():
            values = module(torch.flatten(values, 1) if name == "fc1" else values)
        return values


@takes(pretrained=FLAG, weights=optional(PATH))
def mnist_cnn(pretrained: bool = True, weights: str | os.PathLike[str] | None = None) -> MnistCNN:
    """The reference network in eval mode: with the bundled weights, from a file, or untrained.

    The architecture comes from the file's metadata, so every file written by the trainer loads; a file without metadata
    must fit the default architecture.

    Args:
        pretrained: Whether to load the bundled weights; ignored if `weights` is given.
        weights: A weights file.

    Raises:
        MissingFileError: If the file does not exist.
        CheckpointError: If it does not fit.

    Example:
        >>> net = mnist_cnn()
        >>> net.conv1.weight.shape, net.training
        (torch.Size([24, 1, 7, 7]), False)
    """
    if weights is not None:
        return mnist_cnn_from(weights)[0]
    if not pretrained:
        return MnistCNN().eval()
    with resources.as_file(resources.files("deconvviz.models") / BUNDLED) as path:
        return mnist_cnn_from(path)[0]


def architecture_metadata(model: nn.Module) -> dict[str, str]:
    """The metadata entry from which `mnist_cnn` rebuilds a `MnistCNN`; empty for another model."""
    return {ARCHITECTURE: json.dumps(model.architecture)} if isinstance(model, MnistCNN) else {}


def mnist_cnn_from(path: str | os.PathLike[str]) -> tuple[MnistCNN, str]:
    """The network of a weights file, and in a line what was renamed or not used, or ""; raises as `mnist_cnn`."""
    states = read_states(path)
    metadata = states.metadata
    try:
        options = json.loads(metadata.get(ARCHITECTURE, "{}"))
        with Restored(torch.device("meta")):  # without memory, until the file is seen to have so many weights
            outline = MnistCNN(**options)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{os.fspath(path)!r} describes no MnistCNN: {metadata[ARCHITECTURE][:200]!r} ({error})"
        ) from error
    entry, _ = best_match(outline, states)
    check_fit(outline, states.entries[entry], name=repr(os.fspath(path)))
    model = MnistCNN(**options)
    said = str(load_states(model, states))
    return model.eval(), said
