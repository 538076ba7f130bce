"""The table of the layers of a recorded run."""

from __future__ import annotations

from deconvviz.io.garbage import only_young_searched
from deconvviz.io.restoring import Restored
from deconvviz.operations.registry import rules_under
from deconvviz.operations.styles import Style
from deconvviz.projection.receptive_field import layer_geometry
from deconvviz.recording.tape import Tape
from deconvviz.results import LayerInfo, LayerTable


def layer_table(tape: Tape, style: Style) -> LayerTable:
    """The layers of a tape in the order in which they finished, with what the style would linearise in each."""
    listed: dict[str, dict[str, None]] = {}
    rule = rules_under(style)
    for operation in tape.operations:
        if rule(operation).listed and any(v.carries_signal for v in operation.outputs if v):
            listed.setdefault(operation.where, {})[operation.label] = None
    layers = list(tape.layers.values())
    with Restored(only_young_searched()):  # for a deep model thousands of objects are created, all of which stay
        geometries = layer_geometry(tape, layers)
    return LayerTable(
        tuple(
            LayerInfo(
                name=layer.name,
                kind=layer.kind,
                shape=layer.value.shape,
                stride=geometry.stride,
                offset=geometry.offset,
                receptive_field=geometry.receptive_field,
                linearised=tuple(listed.get(layer.name, ())),
            )
            for layer, geometry in zip(layers, geometries, strict=True)
        )
    )
