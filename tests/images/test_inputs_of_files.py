"""Files and images as inputs: normalised as the network was trained, of any size, alone or together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.images import Preprocess


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 6, 5)).eval()


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    pixels = (
        np.random.default_rng(seed).integers(0, 255, (height, width, 3)) * np.linspace(1, 0.2, height)[:, None, None]
    )
    return Image.fromarray(pixels.astype(np.uint8))


def by_hand(image: Image.Image, mean: float, std: float) -> Tensor:
    pixels = torch.from_numpy(np.array(image)).float().permute(2, 0, 1) / 255
    with torch.no_grad():
        return network()((pixels[None] - mean) / std)[0]


@pytest.mark.parametrize("way", ["a path", "an image", "an array", "a list"])
def test_a_network_trained_with_other_means_and_deviations(tmp_path, way: str) -> None:
    image = picture(32, 32)
    image.save(tmp_path / "a.png")
    given = {"a path": tmp_path / "a.png", "an image": image, "an array": np.array(image), "a list": [image]}[way]
    net = dv.DeconvNet(network(), preprocess=Preprocess(32, (0.5,) * 3, (0.5,) * 3))
    maps = by_hand(image, 0.5, 0.5)
    for unit, expected in zip(net.project(given, "3").units, maps, strict=True):
        assert unit.position == np.unravel_index(int(expected.argmax()), expected.shape)
        assert unit.activation == pytest.approx(float(expected.max()), rel=1e-4)
    assert torch.allclose(net.activations(given, "3").maps[0], maps, atol=1e-5)


def test_images_of_different_sizes_are_each_as_alone(tmp_path) -> None:
    images = [picture(32, 32), picture(50, 40, 1), picture(33, 70, 2)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(3)]
    net = dv.DeconvNet(network(), preprocess=Preprocess(32, (0.5,) * 3, (0.5,) * 3))
    together = net.project(files, "3", channel=[1, 4])
    assert together.units[0].activation == pytest.approx(float(by_hand(images[0], 0.5, 0.5)[1].max()), rel=1e-4)
    for number, file in enumerate(files):
        alone = net.project(file, "3", channel=[1, 4])
        for one, other in zip(alone, together[[2 * number, 2 * number + 1]], strict=True):
            assert torch.allclose(one.pixels, other.pixels, atol=1e-6)
            assert one.units[0].position == other.units[0].position
        assert torch.equal(alone.images[0], together.images[number])
