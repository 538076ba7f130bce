"""Augmentation moves images as torchvision does, within its bounds."""

from __future__ import annotations

import pytest
import torch

from deconvviz.models.augmentation import augment, move


@pytest.mark.parametrize("size", [(28, 28), (9, 14)])
def test_movements_are_those_of_torchvision(size: tuple[int, int]):
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(12, 2, *size, generator=draws, dtype=torch.float64)
    angles = torch.rand(12, generator=draws) * 360 - 180
    shifts = torch.randint(-4, 5, (12, 2), generator=draws)
    mirrored = torch.rand(12, generator=draws) < 0.5
    moved = move(images, angles, shifts, mirrored)
    for image, angle, shift, flip, found in zip(images, angles, shifts, mirrored, moved, strict=True):
        expected = functional.affine(
            functional.horizontal_flip(image) if flip else image,
            angle=angle.item(),
            translate=shift.tolist(),
            scale=1.0,
            shear=[0.0, 0.0],
            interpolation=functional.InterpolationMode.BILINEAR,
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_whole_shifts_and_flips_keep_pixels_as_they_are():
    images = torch.rand(200, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    shifts = torch.tensor([[2, -1]]).repeat(200, 1)
    moved = move(images, torch.zeros(200), shifts, torch.zeros(200, dtype=torch.bool))
    torch.testing.assert_close(moved[..., :4, 2:], images[..., 1:, :4], rtol=0, atol=1e-5)
    assert moved[..., 4, :].abs().max() < 1e-5
    assert moved[..., :2].abs().max() < 1e-5


def test_augmentation_stays_within_its_bounds_and_uses_them():
    """A dot in the middle: where it goes tells the shift; its mirror image tells the flip."""
    dot = torch.zeros(4000, 1, 9, 9)
    dot[:, 0, 4, 4] = 1
    moved = augment(dot, 0.0, 2, False, torch.Generator().manual_seed(0)).flatten(1).argmax(1)
    rows, columns = (moved // 9).bincount(minlength=9), (moved % 9).bincount(minlength=9)
    for counts in (rows, columns):
        assert counts[[0, 1, 7, 8]].sum() == 0
        assert counts[2:7].min() > 4000 / 5 * 0.85
    left = torch.zeros(4000, 1, 9, 9)
    left[:, 0, 4, 1] = 1
    flipped = augment(left, 0.0, 0, True, torch.Generator().manual_seed(0))[:, 0, 4, 7] > 0.5
    assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)
    same = augment(left, 0.0, 0, False, torch.Generator().manual_seed(0))
    torch.testing.assert_close(same, left, rtol=0, atol=1e-5)
