"""Units, and what pictures of them are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from deconvviz.results.base import Result, Tabular, as_html, as_rows, as_text, kind


@kind
@dataclass(frozen=True)
class Unit:
    """One neuron: a layer's channel at a position, in one sample, with the activation it had."""

    sample: int
    layer: str
    channel: int
    position: tuple[int, ...]  # empty where the layer has channels only
    activation: float


@kind
@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from: enough to say whether two of them may be compared."""

    model: str  # class name
    fingerprint: str  # digest of the model's parameters and buffers, see `deconvviz.recording.fingerprint`
    layer: str
    style: dict[str, str]  # name, and the choice per family of operations
    seed: str  # "activation", "one", or "given" where a whole signal was
    linearised: tuple[str, ...]  # operations without a mirror, as "aten.sigmoid in features.3"
    stopped: tuple[str, ...]  # operations where a part of the signal ended: comparisons, integer casts
    versions: dict[str, str]  # of deconvviz and torch
    detached: tuple[str, ...] = ()  # detaches that the signal was passed through, where autograd would have stopped


@dataclass(frozen=True)
class Projection(Result):
    """What made units fire, in pixels.

    pixels: (units, *input shape), signed: the last step of a deconvnet is not rectified.
    units: one per row of `pixels`.
    receptive_fields: (units, spatial dimensions, 2), first pixel and one past the last, clipped to the image.
    images: (samples, *input shape), what the network was shown, for display.
    others: the same as `pixels` for further inputs of the model, by their place among its arguments.
    """

    pixels: torch.Tensor
    units: tuple[Unit, ...]
    receptive_fields: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, rows: torch.Tensor) -> Projection:
        """Some of the units, by their rows (n,), in that order."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[rows],
            units=tuple(self.units[row] for row in rows.tolist()),
            receptive_fields=self.receptive_fields[rows],
            others={name: pixels[rows] for name, pixels in self.others.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, Projection]], images: torch.Tensor) -> Projection:
        """One projection of several, each of one sample, whose number is given; images: of all samples."""
        first = parts[0][1]
        return cls(
            torch.cat([part.pixels for _, part in parts]),
            tuple(dataclasses.replace(unit, sample=n) for n, part in parts for unit in part.units),
            torch.cat([part.receptive_fields for _, part in parts]),
            images,
            first.provenance,
            {name: torch.cat([part.others[name] for _, part in parts]) for name in first.others},
        )


@dataclass(frozen=True)
class Reconstruction(Result):
    """All activations of one layer sent back at once: pixels (samples, *input shape), signed."""

    pixels: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)


@kind
@dataclass(frozen=True)
class LayerInfo:
    """One row of a network's layer table.

    stride, offset, receptive_field: per spatial dimension, in input pixels: the unit at position p sees
        pixels p * stride + offset and on, receptive_field of them. None where the layer sees the whole input
        (behind a linear layer, global pooling or an operation that is not local).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None
    linearised: tuple[str, ...] = ()  # operations in this layer that the style would linearise


@dataclass(frozen=True)
class LayerTable(Tabular):
    """The layers of one recorded run, in the order in which they finished. Printing it gives a table."""

    layers: tuple[LayerInfo, ...]

    def __iter__(self) -> Any:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str | int) -> LayerInfo:
        return self.layers[name] if isinstance(name, int) else {layer.name: layer for layer in self.layers}[name]

    def table(self) -> list[dict[str, Any]]:
        """One row for each layer; stride and receptive field are None where it sees the whole input."""
        return [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "shape": layer.shape,
                "stride": layer.stride,
                "receptive field": layer.receptive_field,
                "linearised": layer.linearised,
            }
            for layer in self.layers
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        return as_rows([{**row, "receptive field": row["receptive field"] or "whole input"} for row in self.table()])

    def __str__(self) -> str:
        return as_text(self._rows())

    def _repr_html_(self) -> str:
        return as_html(self._rows())
