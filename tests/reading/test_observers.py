"""The observers and the pieces they see, compared with slow transcriptions in loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deconvviz.reading.observers import OBSERVERS, hog, template
from deconvviz.reading.pieces import UnitWindows, contrast, edge_energy, equalised, masked
from deconvviz.results import LayerInfo


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def slow_template(references: np.ndarray, piece: np.ndarray) -> float:
    mean = references.mean(0)
    mean = mean - mean.mean((1, 2), keepdims=True)
    piece = piece - piece.mean((1, 2), keepdims=True)
    _, height, width = piece.shape
    best = -2.0
    for down in range(-(height // 8), height // 8 + 1):
        for right in range(-(width // 8), width // 8 + 1):
            total = 0.0
            for y in range(height):
                for x in range(width):
                    if 0 <= y + down < height and 0 <= x + right < width:
                        total += float((mean[:, y + down, x + right] * piece[:, y, x]).sum())
            best = max(best, total / (np.linalg.norm(mean) * np.linalg.norm(piece)))
    return best


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 9, 17), (1, 5, 5)])
def test_the_template_slides_the_mean(shape):
    references, pieces = noise(9, *shape), noise(4, *shape, seed=1)
    expected = [slow_template(references.double().numpy(), piece.double().numpy()) for piece in pieces]
    assert template(pieces)(references).tolist() == pytest.approx(expected, abs=1e-5)


def test_the_template_finds_a_shifted_pattern_whatever_its_contrast_and_brightness():
    pattern = torch.zeros(1, 1, 16, 16)
    pattern[..., 5:10, 6:9] = 1
    shifted = 0.2 + 0.1 * pattern.roll((2, -2), (2, 3))
    assert float(template(shifted)(pattern)) > 0.95  # zeros enter at the border
    assert float(template(1 - shifted)(pattern)) < 0.5
    assert float(template(torch.full((1, 1, 16, 16), 0.3))(pattern)) == 0


def slow_hog(image: np.ndarray) -> np.ndarray:
    grey = np.pad(image.mean(0), 1, mode="edge")
    _, height, width = image.shape
    cells = np.zeros((8, 4, 4))
    for y in range(height):
        for x in range(width):
            across = (grey[y + 1, x + 2] - grey[y + 1, x]) / 2
            down = (grey[y + 2, x + 1] - grey[y, x + 1]) / 2
            turn = (math.atan2(down, across) % math.pi) * 8 / math.pi
            low = int(turn)
            cell = y * 4 // height, x * 4 // width
            cells[(low % 8, *cell)] += math.hypot(across, down) * (1 - (turn - low))
            cells[((low + 1) % 8, *cell)] += math.hypot(across, down) * (turn - low)
    edges = (cells / (height // 4 * (width // 4))).ravel()
    blocks = image.reshape(3, 4, height // 4, 4, width // 4).mean((2, 4)).ravel() * 2 - 1
    return np.concatenate([edges / (np.linalg.norm(edges) + 1e-3), blocks / (np.linalg.norm(blocks) + 4)])


def test_hog_is_what_it_says():
    images = noise(3, 3, 8, 12)
    expected = np.stack([slow_hog(image) for image in images.double().numpy()])
    assert hog(images).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (15, 15), (10, 23)])
def test_an_embedding_in_cells_pools_as_torch_does(size):
    images = noise(2, 3, *size)
    pooled = torch.nn.functional.adaptive_avg_pool2d(images.double(), 4).flatten(1)
    colours = 2 * pooled - 1
    expected = colours / (colours.norm(dim=1, keepdim=True) + 4)
    assert hog(images)[:, -48:].numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_an_embedding_observer_compares_directions():
    references, pieces = noise(3, 3, 8, 8), noise(2, 3, 8, 8, seed=1)
    found = OBSERVERS["hog"](pieces)(references)
    for piece, value in zip(pieces, found, strict=True):
        a = hog(piece[None])[0]
        cosines = [float(torch.nn.functional.cosine_similarity(a, hog(one[None])[0], 0)) for one in references]
        assert float(value) == pytest.approx(sum(cosines) / 3, abs=1e-5)


def test_contrast_is_made_equal_and_colour_kept():
    one, other = noise(3, 8, 8), 0.1 * noise(3, 8, 8, seed=1) + torch.tensor([0.1, 0.5, 0.8]).view(3, 1, 1)
    first, second = equalised(one, other)
    assert torch.equal(second, other)
    assert contrast(first[None]).item() == pytest.approx(contrast(other[None]).item(), rel=1e-5)
    assert first.mean((1, 2)).tolist() == pytest.approx(one.mean((1, 2)).tolist(), abs=1e-6)
    assert torch.corrcoef(torch.stack([first.flatten(), (one - one.mean((1, 2), keepdim=True)).flatten()]))[0, 1] > 0.3


def test_a_mask_keeps_the_half_with_the_most_energy():
    patches, energy = noise(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    energy[..., 8:, :] = 1
    seen = masked(patches, energy)
    assert torch.allclose(seen[..., 11:, :], patches[..., 11:, :])
    assert torch.allclose(seen[..., :5, :], patches.mean().expand(1, 1, 5, 16))
    flat = torch.full((1, 1, 8, 8), 0.5)
    flat[..., 4:] = 1
    assert edge_energy(flat)[0, 0].gt(0).any(0).tolist() == [False, False, False, True, True, False, False, False]


def test_windows_are_receptive_fields_and_grey_outside_the_image():
    layer = LayerInfo(
        name="a", kind="Conv2d", shape=(1, 2, 4, 4), stride=(2, 2), offset=(-1, -1), receptive_field=(3, 3)
    )
    windows, image = UnitWindows.of(layer, (1, 8, 8)), noise(1, 8, 8)
    assert torch.equal(windows.cut(image, (1, 2)), image[:, 1:4, 3:6])
    corner = windows.cut(image, (0, 0))
    assert torch.equal(corner[:, 1:, 1:], image[:, :2, :2])
    assert corner[0, 0].tolist() == pytest.approx([float(image[:, :2, :2].mean())] * 3)
    assert windows.cut(image, (0, 0), fill=0.0)[0, 0].tolist() == [0, 0, 0]
    whole = UnitWindows.of(
        LayerInfo(name="b", kind="Linear", shape=(1, 2), stride=None, offset=None, receptive_field=None), (1, 8, 8)
    )
    assert torch.equal(whole.cut(image, ()), image)
