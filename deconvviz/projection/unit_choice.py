"""How the units to project are named: by channel and position, or one by one; and the options of a projection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from deconvviz.arguments import described, known
from deconvviz.errors import InputError
from deconvviz.projection.units import (
    ChosenUnits,
    LayerActivations,
    Position,
    UnitPlace,
    choose_units,
    places_of,
    units_at,
)
from deconvviz.results import Projection


class UnitChoice(Protocol):
    """Which units of a layer to project."""

    @property
    def layer(self) -> str:
        """Name of the layer."""

    @property
    def depends_on_activations(self) -> bool:
        """Whether the positions are known only after the images have been recorded."""

    def places(self, shape: Sequence[int], samples: int) -> Sequence[UnitPlace]:
        """The units' places, if they do not depend on the activations.

        Args:
            shape: Shape of what the layer returns for one sample, (1, channels, *positions).
            samples: Number of samples.
        """

    def units(self, activations: LayerActivations) -> ChosenUnits:
        """The units, with their activations."""

    def by_images(self, samples: int, size: int) -> Iterator[tuple[list[int], UnitChoice]]:
        """Batches of samples that have units, by their numbers, each with the choice of units in that batch alone.

        Args:
            samples: Number of samples.
            size: Number of samples in a batch.
        """

    def in_order(self, projection: Projection) -> Projection:
        """Units that are ordered as `by_images` gives them, in the order of `units`."""


@dataclass(frozen=True)
class ByChannel:
    """Units by channel and position, the same for every sample; arguments as for `choose_units`."""

    layer: str
    channel: Any
    position: Position

    @property
    def depends_on_activations(self) -> bool:
        return isinstance(self.position, str) and self.position == "max"

    def places(self, shape: Sequence[int], samples: int) -> list[UnitPlace]:
        return places_of(self.layer, shape, samples, self.channel, self.position)

    def units(self, activations: LayerActivations) -> ChosenUnits:
        return choose_units(activations, self.channel, self.position)

    def by_images(self, samples: int, size: int) -> Iterator[tuple[list[int], UnitChoice]]:
        for start in range(0, samples, size):
            numbers = list(range(start, min(start + size, samples)))
            own = self.position[start : start + size] if isinstance(self.position, Tensor) else self.position
            yield numbers, replace(self, position=own)

    def in_order(self, projection: Projection) -> Projection:
        return projection


@dataclass(frozen=True)
class ByPlace:
    """Units by sample, channel and position."""

    layer: str
    listed: Sequence[UnitPlace]
    depends_on_activations = False

    def places(self, shape: Sequence[int], samples: int) -> Sequence[UnitPlace]:
        return self.listed

    def units(self, activations: LayerActivations) -> ChosenUnits:
        return units_at(activations, self.listed)

    def by_images(self, samples: int, size: int) -> Iterator[tuple[list[int], UnitChoice]]:
        of_image = {n: list(rows) for n, rows in itertools.groupby(self._rows(), key=lambda row: self.listed[row][0])}
        for start in range(0, len(of_image), size):
            numbers = list(of_image)[start : start + size]
            own = [(place, *self.listed[row][1:]) for place, n in enumerate(numbers) for row in of_image[n]]
            yield numbers, ByPlace(self.layer, own)

    def in_order(self, projection: Projection) -> Projection:
        return projection[torch.tensor(self._rows()).argsort()]

    def _rows(self) -> list[int]:
        """Rows of `listed`, sorted by sample."""
        return sorted(range(len(self.listed)), key=lambda row: self.listed[row][0])


@dataclass(frozen=True)
class ProjectionOptions:
    """How units are projected. Raises InputError for a seed or window that does not exist.

    Attributes:
        seed: The units' start value, "activation" or "one".
        window: "auto" or "full".
    """

    seed: str
    window: str

    def __post_init__(self) -> None:
        if not known(self.seed, ("activation", "one")):
            raise InputError(f"the seed is 'activation' or 'one', not {described(self.seed)}")
        if not known(self.window, ("auto", "full")):
            raise InputError(f"the window is 'auto' or 'full', not {described(self.window)}")
