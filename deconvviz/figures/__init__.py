"""Figures of results: matplotlib figures, and the same grids as PIL images. Nothing here uses a model.

>>> import torch
>>> filter_image(torch.randn(6, 1, 5, 5), columns=3).size
(69, 48)
"""

from deconvviz.figures.curves import firing_rates, learning_curves
from deconvviz.figures.feature_maps import activation_grid, activation_image
from deconvviz.figures.filters import filter_grid, filter_image
from deconvviz.figures.overlays import overlay_grid, overlay_image
from deconvviz.figures.projections import (
    attribution_strip,
    draw,
    projection_grid,
    projection_image,
    reconstruction_strip,
)
from deconvviz.figures.top_projections import top_grid, top_image

__all__ = [
    "activation_grid",
    "activation_image",
    "attribution_strip",
    "draw",
    "filter_grid",
    "filter_image",
    "firing_rates",
    "learning_curves",
    "overlay_grid",
    "overlay_image",
    "projection_grid",
    "projection_image",
    "reconstruction_strip",
    "top_grid",
    "top_image",
]
