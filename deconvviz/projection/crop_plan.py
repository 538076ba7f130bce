"""Units of images that are not recorded yet: whether to project them from crops alone, or to record whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deconvviz.operations.styles import Style
from deconvviz.projection.backward import Met, refuse_arrived
from deconvviz.projection.crop_cost import UnitCrops
from deconvviz.projection.cropped import project_images
from deconvviz.projection.receptive_field import receptive_fields
from deconvviz.projection.unit_choice import UnitChoice
from deconvviz.projection.units import UnitPlace, check_finite_activations, check_units
from deconvviz.recording.tape import Tape
from deconvviz.results import Unit
from deconvviz.results.cropped_pixels import CroppedPixels


@dataclass(frozen=True)
class CropPlan:
    """Units of a batch of images, and the crops of them that the units see.

    Attributes:
        layer: Name of the units' layer.
        tape: The operations that run on one image, without numbers.
        places: Sample, channel and position of each unit.
        images: The images, (samples, channels, *positions).
        crops: The crops, or None if an operation on the way needs whole maps.
    """

    layer: str
    tape: Tape
    places: Sequence[UnitPlace]
    images: Tensor
    crops: UnitCrops | None

    @classmethod
    def of(cls, tape: Tape, style: Style, choice: UnitChoice, images: Tensor) -> CropPlan:
        """The plan for the units that are chosen.

        Raises:
            InputError: If the layer does not have such units.
        """
        layer = tape.layers[choice.layer].value
        places = choice.places(layer.shape, len(images))
        check_units(choice.layer, layer.shape, len(images), places)
        return cls(choice.layer, tape, places, images, UnitCrops.of(tape, style, layer, places))

    @property
    def less_than_recording(self) -> bool:
        """Whether running the crops forward and back is less work than recording the whole images."""
        return self.crops is not None and self.crops.pay_both_ways(len(self.images))

    @property
    def window(self) -> str:
        """The option `window` for the way back, if whole images are recorded."""
        return "auto" if self.crops is not None and self.crops.pay_back() else "full"

    def project(self, seed: str, met: Met) -> tuple[CroppedPixels, tuple[Unit, ...]]:
        """The units' pixels, and the units with their activations.

        Args:
            seed: The start value, "activation" or "one".
            met: Receives the operations that were linearised on the way, and a check of the pixels.

        Raises:
            NotLocal: If an operation on the way cannot run on crops.
            InputError: If a number in a crop or an activation is not finite.
        """
        assert self.crops is not None
        pixels, activations = project_images(self.crops, self.images, seed == "one", met)
        met.finite.settle()
        activations = activations.cpu()
        check_finite_activations(self.layer, activations)
        met.finite.watch(pixels.values, refuse_arrived)
        units = tuple(
            Unit(sample, self.layer, channel, tuple(map(int, position)), activation)
            for (sample, channel, position), activation in zip(self.places, activations.tolist(), strict=True)
        )
        return pixels, units

    def receptive_fields(self) -> Tensor:
        """The units' receptive fields, (units, spatial dimensions, 2)."""
        assert self.crops is not None
        positions = self.crops.positions
        places = np.concatenate([self.crops.channels.numpy()[:, None], positions], 1)
        return torch.from_numpy(receptive_fields(self.tape, self.tape.layers[self.layer].value, places))
