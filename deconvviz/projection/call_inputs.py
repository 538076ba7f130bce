"""All inputs of a call as a result holds them: what arrived there, the image for display, what units see of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deconvviz.images import displayed
from deconvviz.projection.model_call import Call
from deconvviz.projection.receptive_field import fields_of_inputs
from deconvviz.projection.shown_inputs import shown_inputs
from deconvviz.recording.tape import Tape, Value
from deconvviz.results import Projection


class CallInputs:
    """The floating-point inputs of a call.

    A tensor in a list is one image without a batch axis, (C, H, W); results hold it with one. The tape takes the
    channel of a grey one for a batch of one image, so what arrives there gets its channel back.
    """

    def __init__(self, call: Call, samples: int, preprocess: Any) -> None:
        """Take the inputs.

        Args:
            call: The call.
            samples: The length of the batch axis.
            preprocess: The network's preprocess, or None.
        """
        self._preprocess = preprocess
        self._names = list(call.tensors())
        self._inputs = list(call.tensors().values())
        listed = [name.count("[") > 1 for name in self._names]
        self._grey = [
            number
            for number, x in enumerate(self._inputs)
            if listed[number] and x.ndim == 3 and x.shape[0] == 1 == samples
        ]
        self._alone = {
            number for number, x in enumerate(self._inputs) if number in self._grey or x.shape[:1] != (samples,)
        }

    def of_units(self, pixels: Sequence[Any]) -> dict[str, Any]:
        """The fields of a result that hold what arrived at each input, (units, ...), and the inputs."""
        return self._fields([part[:, None] if number in self._grey else part for number, part in enumerate(pixels)])

    def of_samples(self, pixels: Sequence[Tensor]) -> dict[str, Any]:
        """The fields of a result that hold what arrived at each input, of its shape, and the inputs."""
        return self._fields([part[None] if number in self._alone else part for number, part in enumerate(pixels)])

    def _fields(self, arrived: Sequence[Any]) -> dict[str, Any]:
        return {
            "pixels": arrived[0],
            "images": shown_inputs(self._batch(0), self._preprocess),
            "others": dict(zip(self._names[1:], arrived[1:], strict=True)),
            "other_images": self.other_images(),
        }

    def fields(
        self, tape: Tape, layer: Value, places: Sequence[Sequence[int | None]] | NDArray[np.int64]
    ) -> dict[str, Any]:
        """The fields of a result that say what units at some places of a layer see of each input."""
        first, *rest = map(torch.from_numpy, fields_of_inputs(tape, layer, places, self._grey))
        return {"receptive_fields": first, "other_fields": dict(zip(self._names[1:], rest, strict=True))}

    def joined(self, parts: Sequence[tuple[Sequence[int], Projection]]) -> Projection:
        """One projection of those of parts of the batch, each with the numbers of its samples."""
        return Projection.joined(parts, shown_inputs(self._batch(0), self._preprocess), self.other_images())

    def other_images(self) -> dict[str, Tensor]:
        """All inputs but the first, for display: with the preprocess undone where they have as many channels."""
        first = self._batch(0)
        shown = {}
        for number, name in enumerate(self._names[1:], 1):
            x = self._batch(number)
            alike = x.ndim == first.ndim == 4 and x.shape[1] == first.shape[1]
            shown[name] = displayed(x, self._preprocess if alike else None)
        return shown

    def _batch(self, number: int) -> Tensor:
        x = self._inputs[number]  # itself where it has a batch axis, by which it is known what it was made of
        return x.detach()[None] if number in self._alone else x
