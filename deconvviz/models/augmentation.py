"""Augmentation of training images: rotation, translation and flip, different for each image, a batch at a time."""

from __future__ import annotations

import torch
from torch.nn.functional import affine_grid, grid_sample


def augment(
    images: torch.Tensor, rotation: float, translation: int, flip: bool, generator: torch.Generator
) -> torch.Tensor:
    """Images (N, C, H, W), each with a random movement from `generator`; new pixels are zero.

    Args:
        images: The images.
        rotation: The angle is uniform in ±rotation degrees.
        translation: The shift on each axis is a whole number of pixels, uniform in ±translation.
        flip: Whether to mirror left and right with probability one half, before the rest.
        generator: The random number generator.
    """
    count = len(images)
    angles = (torch.rand(count, generator=generator) * 2 - 1) * rotation
    shifts = torch.randint(-translation, translation + 1, (count, 2), generator=generator)
    mirrored = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
    return move(images, angles, shifts, mirrored)


def move(images: torch.Tensor, angles: torch.Tensor, shifts: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Mirror, then rotate about the centre, then shift each of the images (N, C, H, W).

    Bilinear, zero outside. Equal to torchvision's ``v2.functional.affine`` applied image by image, which is slow for
    small images.

    Args:
        images: The images.
        angles: (N,) degrees, clockwise.
        shifts: (N, 2) pixels to the right and down.
        mirrored: (N,) booleans.

    Example:
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
