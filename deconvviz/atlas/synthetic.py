"""The synthetic picture of each channel that an atlas shows: what excites its unit in the middle most, made from noise.

As the channel's patches, it is cut to the receptive field. Until the layer is written, the pictures lie in a temporary
file, so that memory does not grow with the number of channels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from deconvviz import images
from deconvviz.atlas.held_out import SAMPLED_IMAGES
from deconvviz.atlas.records import AtlasSynthetic
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures, as_bytes
from deconvviz.net import DeconvNet
from deconvviz.reading.pieces import UnitWindows
from deconvviz.reading.synthetic_references import of_units_in_the_middle
from deconvviz.synthesis.synthesis import ASCENT_STEPS, Begins

SYNTHESIZED_AT_ONCE = 64  # whose pictures are held together
NOT_SHOWN = partial(progress_bar, shown=False)
SYNTHESIS_SEED = 0


@dataclass(frozen=True)
class Synthesis:
    """Makes the synthetic pictures of an atlas.

    Attributes:
        net: The network.
        examples: (N, C, H, W), images of the dataset as the network's inputs, which tell between which numbers the
            pictures lie.
    """

    net: DeconvNet
    examples: Tensor

    @classmethod
    def checked(
        cls, net: DeconvNet, pictures: DatasetPictures, numbers: Sequence[int], tried: Mapping[str, int]
    ) -> Synthesis:
        """What makes the pictures, after one step for one channel of each layer, which raises what all steps would.

        Args:
            net: The network.
            pictures: The images of a dataset.
            numbers: Numbers of images that can be read, a few of which are taken.
            tried: A channel of each layer.
        """
        few = numbers[:: -(-len(numbers) // SAMPLED_IMAGES)]
        synthesis = cls(net, torch.stack([pictures.load(number)[0] for number in few]))
        for layer, channel in tried.items():
            with closing(synthesis.begun(layer)) as begun:
                begun.make([channel], NOT_SHOWN, steps=1)
        return synthesis

    @property
    def described(self) -> str:
        """How the pictures are made."""
        return f"activation maximisation of the unit in the middle, {ASCENT_STEPS} steps, seed {SYNTHESIS_SEED}"

    def begun(self, layer: str) -> LayerSynthesis:
        """A layer without pictures."""
        row = self.net.layers(self.net.trace(self.examples[:1], layer))[layer]
        return LayerSynthesis(self, layer, UnitWindows.of(row, self.examples.shape[1:]))


@dataclass(frozen=True)
class _Made:
    """Where a picture (height, width, 3) begins in the file, its box, and the activation of the unit."""

    offset: int
    shape: tuple[int, ...]
    box: tuple[int, int, int, int]
    activation: float


class LayerSynthesis:
    """The synthetic pictures of a layer's channels."""

    def __init__(self, synthesis: Synthesis, layer: str, windows: UnitWindows) -> None:
        """Begin a layer.

        Args:
            synthesis: Makes the pictures.
            layer: Name of the layer.
            windows: What its units see.
        """
        self._synthesis, self._layer, self._windows = synthesis, layer, windows
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  the pictures, until `close`
        self._made: dict[int, _Made] = {}  # by channel

    def close(self) -> None:
        """Remove the pictures."""
        self._file.close()

    def make(self, channels: Sequence[int], begin: Begins, *, steps: int = ASCENT_STEPS) -> None:
        """Make the pictures of some channels.

        Args:
            channels: The channels.
            begin: Begins to show how far the work is.
            steps: Steps of gradient ascent.
        """
        source = self._synthesis
        for start in range(0, len(channels), SYNTHESIZED_AT_ONCE):
            found = of_units_in_the_middle(
                source.net,
                self._layer,
                self._windows,
                source.examples,
                channels=channels[start : start + SYNTHESIZED_AT_ONCE],
                begin=begin,
                steps=steps,
                seed=SYNTHESIS_SEED,
            )
            place = () if isinstance(found.position, str) else found.position
            (top, bottom), (left, right) = self._windows.box(place, found.pictures.shape[-2:])
            for row, number in enumerate(found.channels):
                picture = as_bytes(images.as_rgb(found.pictures[row, 0]))[top:bottom, left:right]
                box, activation = (top, left, bottom, right), float(found.activations[row, 0])
                self._made[number] = _Made(self._file.tell(), picture.shape, box, activation)
                self._file.write(picture.tobytes())

    def of_channel(self, channel: int) -> AtlasSynthetic | None:
        """A channel's picture; None if none was made."""
        made = self._made.get(channel)
        if made is None:
            return None
        self._file.seek(made.offset)
        picture = np.frombuffer(self._file.read(int(np.prod(made.shape))), np.uint8).reshape(made.shape)
        return AtlasSynthetic(picture=picture, box=made.box, activation=made.activation)
