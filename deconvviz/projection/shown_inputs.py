"""A network's inputs as the images that a result shows, made when they are read."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deconvviz.images import displayed
from deconvviz.normalisation import made_of, pictures_behind, undone
from deconvviz.results.shown_images import ShownImages


def shown_inputs(x: Tensor, preprocess: Any) -> ShownImages:
    """What `images.displayed` gives for the same input, made when it is read, and then only for the images that are.

    The input is kept on its device, as a copy if the caller could change it in place. Without a preprocess and on the
    CPU it is shown itself, and kept itself.
    """
    own = x.detach()
    kept = own if made_of(own, x) or (preprocess is None and x.device.type == "cpu") else own.clone()

    def make(rows: Tensor | None) -> Tensor:
        if rows is None:
            return displayed(kept, preprocess)
        part = kept[rows.to(kept.device)]
        pixels = undone(part, preprocess)
        if pixels is None:  # pictures are shown only if all have one shape
            pictures = pictures_behind(kept, preprocess)
            pixels = part.cpu() if pictures is None else pictures[rows]
        return pixels

    return ShownImages([(len(x), make)])
