"""Images in and out: files of every kind, preprocessing and its inverse, and the colours of signed maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from deconvviz.errors import ImageFileError, InputError
from deconvviz.images import (
    Preprocess,
    as_rgb,
    display_scale,
    displayed,
    read_image,
    signed_as_rgb,
    tiled,
    to_input,
    to_pil,
)


def pixels(mode):
    grey = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    return grey.convert(mode)


@pytest.mark.parametrize(
    ("mode", "read_as"),
    [("L", "L"), ("1", "L"), ("LA", "L"), ("RGB", "RGB"), ("RGBA", "RGB"), ("P", "RGB"), ("CMYK", "RGB")],
)
def test_modes(tmp_path, mode, read_as):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    pixels(mode).save(path)
    found = read_image(path)
    assert found.mode == read_as
    assert found.size == (8, 8)
    if mode in ("RGB", "L", "RGBA"):
        assert np.abs(np.asarray(found.convert("L"), int) - np.asarray(pixels("L"), int)).max() <= 1


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = (np.arange(64, dtype=np.uint16) * 1024).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "deep.png")
    found = np.asarray(read_image(tmp_path / "deep.png"), float)
    assert np.abs(found - values / 65535 * 255).max() <= 0.51


def test_orientation_is_applied(tmp_path):
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    found = read_image(tmp_path / "turned.png")
    assert np.array_equal(np.asarray(found), np.asarray(picture.transpose(Image.Transpose.ROTATE_270)))


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    pixels("L").save(tmp_path / "bomb.png")
    with pytest.raises(ImageFileError, match=r"bomb.png' is refused as a possible decompression bomb"):
        read_image(tmp_path / "bomb.png")


def test_preprocessing_and_back():
    picture = pixels("RGB").resize((40, 30))
    preprocess = Preprocess(20, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    made = preprocess(picture)
    expected = torch.from_numpy(np.array(ImageOps.fit(picture, (20, 20), Image.Resampling.BILINEAR))) / 255
    assert torch.allclose(made[1], (expected[..., 1] - 0.4) / 0.3, atol=1e-6)
    assert torch.allclose(preprocess.inverse(made), expected.permute(2, 0, 1), atol=1e-6)
    assert Preprocess(None)(picture).shape == (3, 30, 40)
    assert torch.equal(displayed(made[None], None), made[None])
    assert torch.allclose(displayed(made[None], preprocess), preprocess.inverse(made)[None])


def test_inputs_that_do_not_make_a_batch():
    with pytest.raises(InputError, match=r"inputs of different shapes, \(3, 4, 4\) and \(3, 5, 5\)"):
        to_input([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 5))], Preprocess(None))
    with pytest.raises(InputError, match=r"preprocess must return a tensor \(C, H, W\), not Image"):
        to_input(Image.new("RGB", (4, 4)), lambda image: image)


def test_signed_maps_have_zero_in_the_middle():
    one = torch.tensor([[[-2.0, 0.0, 1.0, 2.0]]])
    shown = signed_as_rgb(one)
    assert shown[0, 1].tolist() == [1, 1, 1]
    assert shown[0, 0].tolist() == pytest.approx([0.02, 0.19, 0.58])
    assert shown[0, 3].tolist() == pytest.approx([0.70, 0.02, 0.15])
    assert shown[0, 2].tolist() == pytest.approx([0.85, 0.51, 0.575])
    three = torch.tensor([-2.0, 0.0, 1.0]).view(3, 1, 1)
    assert signed_as_rgb(three)[0, 0].tolist() == [0.0, 0.5, 0.75]
    assert signed_as_rgb(three, scale=4.0)[0, 0].tolist() == [0.25, 0.5, 0.625]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_map_of_zeros_is_shown_as_zero(channels):
    shown = signed_as_rgb(torch.zeros(channels, 2, 2))
    assert shown.unique().tolist() == [0.5 if channels == 3 else 1.0]


def test_the_display_scale_does_not_follow_a_few_outliers():
    noise = torch.rand(1, 100, 100)
    noise[0, 0, :3] = 1000
    assert display_scale(noise) <= 1
    lonely = torch.zeros(1, 100, 100)
    lonely[0, 3, 4] = -7.0
    assert display_scale(lonely) == 7.0
    assert display_scale(torch.zeros(1, 4, 4)) == 0.0


def test_images_are_shown_as_they_are_or_stretched():
    assert torch.equal(as_rgb(torch.full((3, 1, 1), 0.25))[0, 0], torch.full((3,), 0.25))
    assert as_rgb(torch.tensor([[[-1.0, 3.0]]]))[0, :, 0].tolist() == [0.0, 1.0]
    assert as_rgb(torch.full((1, 1, 1), 9.0)).tolist() == [[[0.0, 0.0, 0.0]]]


def test_tiling():
    tiles = [torch.full((2, 3, 3), value) for value in (0.0, 0.25, 0.5)]
    sheet = tiled(tiles, columns=2, gap=1)
    assert sheet.shape == (7, 9, 3)
    assert sheet[:, :, 0].tolist() == [
        [1.0] * 9,
        *[[1.0, *[0.0] * 3, 1.0, *[0.25] * 3, 1.0]] * 2,
        [1.0] * 9,
        *[[1.0, *[0.5] * 3, 1.0, *[1.0] * 3, 1.0]] * 2,
        [1.0] * 9,
    ]
    image = to_pil(sheet, enlarge=2)
    assert image.size == (18, 14)
    assert image.getpixel((10, 3)) == (64, 64, 64)
