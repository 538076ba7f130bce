"""The table of the layers of a recorded run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deconvviz.io.garbage import only_young_searched
from deconvviz.io.restoring import Restored
from deconvviz.operations.registry import rules_under
from deconvviz.operations.styles import Style
from deconvviz.projection.receptive_field import layer_geometry
from deconvviz.recording.tape import Tape
from deconvviz.results import LayerInfo, LayerTable


def table_of_run(run: Callable[[], Tape], style: Style) -> LayerTable:
    """The layers of a tape that `run` records."""
    with Restored(only_young_searched()):  # a recording and a table have many objects that stay
        return layer_table(run(), style)


def layer_table(tape: Tape, style: Style) -> LayerTable:
    """The layers of a tape in the order in which they finished, with what the style would linearise in each."""
    return LayerTable(tuple(_rows(tape, style)))


def _rows(tape: Tape, style: Style) -> Iterator[LayerInfo]:
    listed: dict[str, dict[str, None]] = {}
    rule = rules_under(style)
    for operation in tape.operations:
        if rule(operation).listed and any(v.carries_signal for v in operation.outputs if v):
            listed.setdefault(operation.where, {})[operation.label] = None
    layers = list(tape.layers.values())
    for layer, geometry in zip(layers, layer_geometry(tape, layers), strict=True):
        yield LayerInfo(
            name=layer.name,
            kind=layer.kind,
            shape=layer.value.shape,
            stride=geometry.stride,
            offset=geometry.offset,
            receptive_field=geometry.receptive_field,
            linearised=tuple(listed.get(layer.name, ())),
        )
