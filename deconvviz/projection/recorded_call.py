"""Recording one call of a model, with errors that say what does not fit."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from deconvviz.errors import InputError
from deconvviz.operations.registry import opaque
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import keep_for
from deconvviz.projection.model_call import Call, check_batch_axis, refuse_misfit
from deconvviz.recording.layer_names import check_layers
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Tape


def recorded(model: nn.Module, style: Style, call: Call, wanted: Collection[str] | None) -> Tape:
    """The tape of one call, with the activations of the layers `wanted`: of all for None, of none if it is empty.

    Raises:
        UnknownLayerError: If one of the layers does not run.
        InputError: If the input does not fit the model, or a layer has no activations.
    """
    keep = keep_for(style)
    try:
        tape = record(model, *call.args, kwargs=call.kwargs, keep=keep, layers=wanted, opaque=opaque())
    except Exception as error:
        refuse_misfit(model, call, error)
        raise
    check_batch_axis(call, tape.layers.values())
    check_layers(wanted or (), tape.layers, model)
    for name in wanted or ():
        if not tape.layers[name].value.carries_signal:
            raise InputError(f"layer {name!r} returns {tape.layers[name].value.dtype}, which has no activations")
    return tape
