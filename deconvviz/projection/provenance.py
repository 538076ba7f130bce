"""What a result tells about its origin: the model, the style, and the settings of torch under which it was computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from deconvviz import __version__
from deconvviz.operations.styles import Style
from deconvviz.projection.backward import Met
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.model_parts import ModelParts
from deconvviz.recording.untrained import untrained
from deconvviz.results import Provenance


def settings_of(model: nn.Module, x: Tensor) -> dict[str, str]:
    """The settings under which a model runs on `x`, as the caller has made them.

    Returns:
        "device" (its type), "dtype", "layout" of the filters ("channels_first" or "channels_last"), "autocast" (a type,
        or "off") and, if float32 can be computed in another way there, "tf32" (the operations that use it, or "off").

    >>> settings_of(nn.Linear(2, 2), torch.zeros(1, 2))
    {'device': 'cpu', 'dtype': 'float32', 'layout': 'channels_first', 'autocast': 'off'}
    """
    kind = x.device.type
    cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    settings = {
        "device": kind,
        "dtype": _named(x.dtype),
        "layout": "channels_last" if any(map(_is_channels_last, ModelParts.of(model).parameters)) else "channels_first",
        "autocast": _named(torch.get_autocast_dtype(kind)) if cast else "off",
    }
    if kind == "cuda":
        settings["tf32"] = ", ".join(name for name, used in _tf32().items() if used) or "off"
    return settings


def provenance(
    model: nn.Module, style: Style | None, layer: str, *, seed: str, met: Met, settings: dict[str, str]
) -> Provenance:
    """The provenance of what was sent back from a layer or, without a style, of the layer itself.

    Args:
        model: The model.
        style: The style, or None.
        layer: Name of the layer.
        seed: "activation", "one" or "given"; "" without a style.
        met: What was met on the way back.
        settings: As `settings_of` returns them, when the model ran.
    """
    return Provenance(
        model=type(model).__name__,
        fingerprint=fingerprint(model),
        layer=layer,
        style={"name": style.name, **style.choices} if style else {},
        seed=seed,
        linearised=tuple(met.linearised),
        stopped=tuple(met.stopped),
        versions={"deconvviz": __version__, "torch": str(torch.__version__)},
        detached=tuple(met.detached),
        settings=settings,
        random=tuple(untrained(model)),
    )


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_channels_last(weight: Tensor) -> bool:
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(weight.ndim)
    return last is not None and not weight.is_contiguous() and weight.is_contiguous(memory_format=last)


def _tf32() -> dict[str, bool]:
    """Whether CUDA computes convolutions and matrix products of float32 in TF32."""
    backends: Any = torch.backends
    try:
        return {"convolutions": backends.cudnn.allow_tf32, "products": backends.cuda.matmul.allow_tf32}
    except RuntimeError:  # the caller has set torch's newer switches, and torch refuses to read the older ones
        newer = {"convolutions": backends.cudnn.conv, "products": backends.cuda.matmul}
        return {name: switch.fp32_precision == "tf32" for name, switch in newer.items()}
