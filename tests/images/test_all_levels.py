"""Images of more than 8 bits, of any number of channels, grey and with opacity: what a preprocess gets and makes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.data.items import prepared_image
from deconvviz.errors import InputError
from deconvviz.images import Preprocess, displayed, read_image

LEVELS = 2573  # of a slice of computed tomography: few of the 65,536 of its type
SCAN = np.arange(LEVELS * 4, dtype=np.uint16).reshape(4, LEVELS) % LEVELS


def one_channel(seen):
    """A preprocess of the user's own, which notes what it gets."""

    def preprocess(image):
        seen.append(image)
        return torch.from_numpy(np.asarray(image).astype(np.float32))[None]

    return preprocess


DEEP = {
    "16 bits": (SCAN, "png"),
    "32 bits": (SCAN.astype(np.int32) * 7, "tif"),
    "floating point": (SCAN.astype(np.float32) / 1000 - 1, "tif"),
}


@pytest.mark.parametrize("kind", DEEP)
def test_a_preprocess_of_ones_own_gets_every_level(tmp_path, kind):
    values, ending = DEEP[kind]
    path = tmp_path / f"a.{ending}"
    Image.fromarray(values).save(path)
    seen: list[Image.Image] = []
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 1)), preprocess=one_channel(seen))
    net.trace(path)
    net.trace(Image.open(path))
    for dataset in ([path], ImageFolder(tmp_path), [Image.open(path)]):
        top = dv.scan(net, dataset, k=1, progress=False)
        convolution = net.model[0]
        with torch.no_grad():
            expected = convolution(torch.from_numpy(values.astype(np.float32))[None, None]).max()
        assert float(top.values["0"]) == pytest.approx(float(expected), rel=1e-6)
    assert len(seen) >= 5
    for image in seen:
        assert len(np.unique(np.asarray(image))) == LEVELS
        assert np.array_equal(np.asarray(image), values)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("kind", "highest"), [("16 bits", 65535), ("32 bits", 65535), ("floating point", None)])
def test_the_librarys_own_preprocess_scales_and_rounds_nothing(kind, highest, channels):
    values = DEEP[kind][0].astype(np.float64)
    expected = (values / (highest or max(1, values.max()))).clip(0, 1)
    found = Preprocess(None, (0.0,) * channels, (1.0,) * channels)(Image.fromarray(DEEP[kind][0]))
    assert found.shape == (channels, *values.shape)
    for plane in found:
        assert np.abs(plane.numpy() - expected).max() < 1e-6
        assert len(np.unique(plane.numpy())) == len(np.unique(expected))


def test_for_people_images_have_8_bits(tmp_path):
    Image.fromarray(SCAN).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").mode == "L"
    assert read_image(tmp_path / "a.png", all_levels=True).mode == "I;16"


# Grey images and opacity


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "RGB", "P", "1"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_network_gets_colours_as_from_torchvisions_loader(tmp_path, mode, channels):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8), "RGBA")
    if mode != "RGBA":
        picture = picture.convert("L" if mode in ("L", "LA", "1") else "RGB").convert(mode)
    picture.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        expected = np.asarray(opened.convert("RGB"))
    seen: list[Image.Image] = []

    def to_tensor(image):
        seen.append(image)
        return torch.zeros(channels, 6, 5)

    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(channels, 1, 1)), preprocess=to_tensor)
    net.trace(tmp_path / "a.png")
    dv.scan(net, [tmp_path / "a.png"], k=1, progress=False)
    for image in seen:
        if channels == 3:
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), expected)
        else:
            assert image.mode == ("L" if mode in ("L", "LA", "1") else "RGB")


# Any number of channels


BANDS = np.random.default_rng(0).integers(0, 10_000, (7, 9, 13), dtype=np.uint16)  # a satellite's


@pytest.mark.parametrize("channels_first", [False, True])
def test_an_array_may_have_any_number_of_channels(channels_first):
    array = np.moveaxis(BANDS, 2, 0) if channels_first else BANDS
    mean, std = np.linspace(0.1, 0.5, 13), np.linspace(0.2, 0.3, 13)
    expected = (BANDS / 65535 - mean) / std
    preprocess = Preprocess(None, mean, std)
    assert np.abs(preprocess(array).numpy() - np.moveaxis(expected, 2, 0)).max() < 1e-5
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(13, 2, 1)), preprocess=preprocess)
    assert torch.equal(net.trace([array]).call.first[0], preprocess(array))
    assert torch.equal(prepared_image((array, 1), preprocess), preprocess(array))
    assert Preprocess(4, mean, std)(array).shape == (13, 4, 4)


def test_the_bands_that_are_shown_can_be_chosen():
    x = torch.rand(2, 13, 4, 4)
    mean, std = (0.5,) * 13, (0.25,) * 13
    chosen = Preprocess(None, mean, std, bands=(3, 2, 1))
    shown = displayed((x - 0.5) / 0.25, chosen)
    assert torch.allclose(shown, x[:, [3, 2, 1]], atol=1e-6)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(13, 2, 3)), preprocess=chosen)
    projection = net.project((x - 0.5) / 0.25, "0", channel=1)
    assert torch.allclose(projection.images, x[:, [3, 2, 1]], atol=1e-6)
    assert projection.pixels.shape == (2, 13, 4, 4)


@pytest.mark.parametrize("bands", [(1, 2), (0, 1, 13), (0, 1, -1), (0, 1, 1.5), "abc"])
def test_bands_that_are_none_are_refused(bands):
    with pytest.raises(InputError, match="bands are three channels from 0 to 12, not "):
        Preprocess(None, (0.5,) * 13, (0.5,) * 13, bands=bands)


@pytest.mark.parametrize("array", [BANDS[..., :5], BANDS > 3, BANDS[None], BANDS[:0]])
def test_arrays_that_are_no_pictures_are_refused(array):
    with pytest.raises(InputError, match=r"^an array of (uint16|bool) of shape \(.+\) is no picture with 13 channels$"):
        Preprocess(None, (0.5,) * 13, (0.5,) * 13)(array)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_is_an_input_like_a_tensor(dtype):
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(dtype)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 2, 3)))
    found = net.project(x, "0", channel=1)
    assert torch.equal(found.pixels, net.project(torch.from_numpy(x).float(), "0", channel=1).pixels)


@pytest.mark.parametrize("shape", [(2, 8, 6, 3), (8, 6, 3)])
def test_bytes_are_pictures_like_files(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 2, 3)), preprocess=Preprocess(None, (0.0,) * 3, (1.0,) * 3))
    expected = torch.from_numpy(pixels.reshape(-1, 8, 6, 3)).permute(0, 3, 1, 2) / 255
    assert torch.allclose(net.trace(pixels).call.first, expected)
