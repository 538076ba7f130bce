"""What units of a layer see, and the patches of the strongest; `UnitWindows.projected` cuts their projections."""

from __future__ import annotations

import torch
from torch import Tensor

from deconvviz.errors import unknown_layer
from deconvviz.net import DeconvNet
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.results import ChannelTop


def seen_by(net: DeconvNet, image: Tensor, layer: str) -> tuple[UnitWindows, tuple[int, ...]]:
    """What a layer's units see of images like one (C, H, W), and the size of its maps.

    Raises:
        InputError: If it is no image.
        UnknownLayerError: If the layer does not run.
    """
    rows = {row.name: row for row in net.layers(image[None])}
    if layer not in rows:
        raise unknown_layer(net.model, layer, rows)
    return UnitWindows.of(rows[layer], image.shape), rows[layer].shape[2:]


def cut_patches(top: ChannelTop, windows: UnitWindows) -> Tensor:
    """The patches of a channel's units, (units, C, h, w), reduced to what is shown, in [0, 1].

    Values of images outside of this range are rescaled to it together.
    """
    found = top.projection
    cut = [windows.cut(found.image(row).float().cpu(), unit.position) for row, unit in enumerate(found.units)]
    patches = small(torch.stack(cut))
    low, high = min(0.0, float(patches.min())), max(1.0, float(patches.max()))
    return (patches - low) / (high - low)


def in_bytes(pictures: Tensor) -> Tensor:
    """Pictures in [0, 1] as bytes, rounded."""
    return (pictures.clamp(0, 1) * 255 + 0.5).to(torch.uint8)
