"""Random small movements of pictures, so that they excite a channel however they are turned, scaled and shifted.

Without them, gradient ascent finds patterns that depend on single pixels. Each picture has movements of its own, which
do not depend on what else is in the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

LARGEST_TURN = 10.0  # of rotation, to either side
LARGEST_ZOOM = 0.1  # by which a picture grows or shrinks
LARGEST_SHIFT = 0.05  # of height and width, to either side


def movements(steps: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The movements of one picture, (steps, 2, 3): where each point of the moved picture lies in the original one.

    Both are measured in halves of the width and the height.
    """
    aspect = size[0] / size[1]
    turn, scale, down, right = (2 * torch.rand(steps, 4, generator=generator, device=generator.device) - 1).unbind(1)
    angle, zoom = turn * math.radians(LARGEST_TURN), 1 + scale * LARGEST_ZOOM
    rows = (
        torch.stack([angle.cos() / zoom, -aspect * angle.sin() / zoom, 2 * LARGEST_SHIFT * right], 1),
        torch.stack([angle.sin() / (aspect * zoom), angle.cos() / zoom, 2 * LARGEST_SHIFT * down], 1),
    )
    return torch.stack(rows, 1)


def moved(pictures: Tensor, movement: Tensor) -> Tensor:
    """Moved pictures; what comes in from outside is mirrored, so that no pixel of the border counts more than others.

    Args:
        pictures: (N, C, H, W).
        movement: (N, 2, 3), as `movements` has them.
    """
    grid = affine_grid(movement, list(pictures.shape), align_corners=False)
    return grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
