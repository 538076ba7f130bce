"""A PIL image says what the file says that it was saved to: of whatever mode, given directly or in a dataset."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data.items import prepared_image
from deconvviz.errors import ImageFileError
from deconvviz.images import Preprocess, eight_bits

GREY = np.linspace(0, 1, 64).reshape(8, 8)


def made(mode: str) -> Image.Image:
    deep = (GREY * 65535).round()
    if mode in ("I;16", "I"):
        return Image.fromarray(deep.astype(np.uint16 if mode == "I;16" else np.int32))
    if mode == "I;16B":
        return Image.frombytes("I;16B", (8, 8), deep.astype(">u2").tobytes())
    if mode == "F":
        return Image.fromarray(GREY.astype(np.float32))
    image = Image.fromarray((GREY * 255).round().astype(np.uint8))
    if mode == "P, transparent":
        image = image.convert("P")
        image.info["transparency"] = bytes(range(256))
        return image
    return image.convert(mode)


MODES = {  # mean brightness of the ramp, and the ending of a file that holds the mode
    "I;16": "png",
    "I;16B": "tif",
    "I": "tif",
    "F": "tif",
    "L": "png",
    "LA": "png",
    "P": "png",
    "P, transparent": "png",
    "RGB": "png",
    "RGBA": "png",
    "CMYK": "tif",
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_an_image_says_what_its_file_says(tmp_path, mode, channels):
    image, path = made(mode), tmp_path / f"a.{MODES[mode]}"
    image.save(path)
    preprocess = Preprocess(8, (0.0,) * channels, (1.0,) * channels)
    net = dv.DeconvNet(nn.Conv2d(channels, 1, 1), preprocess=preprocess)
    direct = net.trace(image).call.first
    assert torch.equal(direct, net.trace(path).call.first)
    assert torch.equal(direct, net.trace([image]).call.first)
    assert torch.equal(direct[0], preprocess(image))
    assert torch.equal(direct[0], prepared_image((image, 3), preprocess))
    assert float(direct.mean()) == pytest.approx(GREY.mean(), abs=0.01)
    assert float(direct.max()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_a_preprocess_of_ones_own_gets_the_same_image_either_way(tmp_path, mode):
    seen = []

    def preprocess(image: Image.Image) -> torch.Tensor:
        seen.append((image.mode, np.asarray(image).tolist()))
        return torch.zeros(1, 8, 8)

    image, path = made(mode), tmp_path / f"a.{MODES[mode]}"
    image.save(path)
    net = dv.DeconvNet(nn.Conv2d(1, 1, 1), preprocess=preprocess)
    net.trace(image)
    net.trace(path)
    assert seen[0] == seen[1]
    assert seen[0][0] in (("I;16", "I", "F") if mode.startswith(("I", "F")) else ("L", "RGB"))


def test_one_bit_is_black_and_white():
    found = eight_bits(Image.new("1", (2, 2), 1))
    assert (found.mode, np.asarray(found).min()) == ("L", 255)


def test_scaling_in_strips_is_scaling_at_once(monkeypatch):
    values = np.random.default_rng(0).integers(0, 2**30, (37, 11)).astype(np.int32)
    monkeypatch.setattr("deconvviz.levels.STRIP", 50)
    found = np.asarray(eight_bits(Image.fromarray(values)))
    assert np.array_equal(found, np.round(values / values.max() * 255))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda path: closed(path), "Operation on closed image"),
        (lambda path: Image.fromarray(np.full((2, 2), np.nan, np.float32)), "it holds values that are NaN or infinite"),
        (lambda path: Image.new("La", (2, 2)), "conversion from La to L not supported"),
    ],
    ids=["closed", "NaN", "opacity multiplied in"],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path, broken, why):
    image = broken(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=f"^the image of mode .+ cannot be converted to RGB or grey: .*{why}$"):
        Preprocess(None, (0.0,), (1.0,))(image)


def closed(path):
    made("L").save(path)
    image = Image.open(path)
    image.close()
    return image


def test_a_damaged_image_of_a_dataset_is_left_out(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Conv2d(1, 1, 1), preprocess=Preprocess(8, (0.0,), (1.0,)))
    with Image.open(tmp_path / "half.png") as half:
        found = dv.scan(net, [half, made("I;16")], k=1, progress=False)
    assert (found.count, [one.name for one in found.broken]) == (1, ["0"])
