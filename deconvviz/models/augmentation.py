"""Training images, moved a little: rotation, translation and flip, each image its own, a batch at a time."""

from __future__ import annotations

import torch
from torch.nn.functional import affine_grid, grid_sample


def augment(
    images: torch.Tensor, rotation: float, translation: int, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Images (N, C, H, W), each with a movement drawn from `generator`; what comes into view is zero.

    rotation: the angle is uniform in ±rotation degrees.
    translation: the shift on each axis is a whole number of pixels, uniform in ±translation.
    flip: mirror left and right with probability one half, before the rest.
    """
    count = len(images)
    angles = (torch.rand(count, generator=generator) * 2 - 1) * rotation
    shifts = torch.randint(-translation, translation + 1, (count, 2), generator=generator)
    mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
    return move(images, angles, shifts, mirrored)


def move(images: torch.Tensor, angles: torch.Tensor, shifts: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Mirror, then rotate about the centre, then shift each of the images (N, C, H, W).

    angles: (N,) degrees, clockwise. shifts: (N, 2) pixels to the right and down. mirrored: (N,) truth values.
    Bilinear, zero outside. The same as torchvision's ``v2.functional.affine`` image by image, which is slow
    on small images.

    >>> image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> move(image, torch.tensor([0.0]), torch.tensor([[1, 0]]), torch.tensor([True]))
    tensor([[[[0., 2.],
              [0., 4.]]]])
    """
    height, width = images.shape[-2:]
    cos, sin = torch.cos(torch.deg2rad(angles)), torch.sin(torch.deg2rad(angles))
    # Sampling goes backwards, from a place in the result to its origin: unshift, unrotate, unmirror.
    turn = torch.stack([cos, sin, -sin, cos], dim=1).reshape(-1, 2, 2)
    turn[:, 0] *= 1 - 2 * mirrored.to(turn.dtype).unsqueeze(1)
    offset = -turn @ shifts.to(turn.dtype).unsqueeze(2)
    # affine_grid counts from -1 to 1 on both axes, whatever they measure in pixels.
    half = torch.tensor([width / 2, height / 2])
    matrices = torch.cat([turn * half / half.unsqueeze(1), offset / half.unsqueeze(1)], dim=2)
    grid = affine_grid(matrices.to(images), list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
