"""Tables of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deconvviz.results.base import Tabular, as_html, as_rows, as_text, kind


@kind
@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One row of a network's layer table.

    Per spatial dimension, the unit at position p sees `receptive_field` input pixels, starting at p * stride + offset.
    Stride, offset and receptive field are None if the layer sees the whole input (after a linear layer, global pooling
    or another operation that is not local).

    Attributes:
        name: The layer's name.
        kind: The module's class, or the function's name.
        shape: Shape of the output.
        stride: Distance between neighbouring units in input pixels.
        offset: First input pixel of the unit at position 0.
        receptive_field: Size of the receptive field in input pixels.
        linearised: Operations in this layer that the style would linearise.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None
    linearised: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerTable(Tabular):
    """The layers of one recorded run, in the order in which they finished. It prints as a table.

    Attributes:
        layers: One entry per layer.
    """

    layers: tuple[LayerInfo, ...]

    def __iter__(self) -> Any:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str | int) -> LayerInfo:
        return self.layers[name] if isinstance(name, int) else {layer.name: layer for layer in self.layers}[name]

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; stride and receptive field are None if the layer sees the whole input."""
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
