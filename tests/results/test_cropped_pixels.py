"""A projection from crops holds the crops: whole images are made when asked for, with the same numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from deconvviz.errors import DataError
from deconvviz.results import Projection, Provenance, Unit
from deconvviz.results.cropped_pixels import CroppedPixels

WHERE = Provenance(
    model="Net",
    fingerprint="0",
    layer="conv",
    style={"name": "deconvnet"},
    seed="one",
    linearised=(),
    stopped=(),
    versions={},
)


def laid_by_hand(crops, starts, shape):
    """Each crop put into a whole image pixel by pixel; what lies outside is dropped."""
    whole = torch.zeros(len(crops), *shape)
    for unit, (crop, start) in enumerate(zip(crops, starts, strict=True)):
        for place in np.ndindex(*crop.shape[1:]):
            at = tuple(int(one) for one in np.add(start, place))
            if all(0 <= one < extent for one, extent in zip(at, shape[1:], strict=True)):
                whole[(unit, slice(None), *at)] = crop[(slice(None), *place)]
    return whole


@pytest.mark.parametrize("size", [(3, 2), (5, 6), (7, 2)])  # the last is larger than the image along an axis
def test_crops_in_whole_images_wherever_they_lie(size):
    shape = (2, 5, 6)
    starts = np.array([(top, left) for top in range(-3, 6) for left in range(-2, 7)], np.int64)
    crops = torch.randn(len(starts), 2, *size)
    windows = CroppedPixels.blank(len(starts), shape, size=size, dtype=crops.dtype, device=crops.device)
    order = np.random.default_rng(0).permutation(len(starts))
    for part in np.array_split(order, 3):
        windows.put(part, crops[torch.from_numpy(part)], starts[part])
    expected = laid_by_hand(crops, starts, shape)
    assert torch.equal(windows.whole(), expected)
    rows = torch.tensor([4, 0, 17])
    assert torch.equal(windows[rows].whole(), expected[rows])
    assert torch.equal(windows.one(30), expected[30])
    for box in (((0, 5), (0, 6)), ((1, 3), (2, 4)), ((0, 0), (1, 3))):
        (top, bottom), (left, right) = box
        assert torch.equal(windows.cut(40, box), expected[40][:, top:bottom, left:right])


def test_smaller_crops_in_larger_windows_and_windows_joined():
    shape, large, small = (1, 8), torch.randn(1, 1, 5), torch.randn(2, 1, 3)
    windows = CroppedPixels.blank(3, shape, size=(5,), dtype=torch.float32, device=torch.device("cpu"))
    windows.put(np.array([1]), large, np.array([[3]]))
    windows.put(np.array([0, 2]), small, np.array([[6], [2]]))
    expected = laid_by_hand([small[0], large[0], small[1]], [[6], [3], [2]], shape)
    assert torch.equal(windows.whole(), expected)
    alone = CroppedPixels.blank(1, shape, size=(2,), dtype=torch.float32, device=torch.device("cpu"))
    alone.put(np.array([0]), torch.ones(1, 1, 2), np.array([[-1]]))
    joined = CroppedPixels.joined([alone, windows]).whole()
    assert joined.tolist() == [[[1.0, *[0.0] * 7]], *expected.tolist()]


def projection_of(windows: CroppedPixels) -> Projection:
    units = tuple(Unit(0, "conv", n, (0, 0), 1.0) for n in range(len(windows)))
    fields = torch.stack([windows.starts, windows.starts + torch.tensor(windows.values.shape[2:])], -1)
    return Projection(
        pixels=windows, units=units, receptive_fields=fields, images=torch.zeros(1, *windows.shape), provenance=WHERE
    )


def test_ten_thousand_units_take_the_memory_of_their_windows():
    windows = CroppedPixels.blank(10_000, (3, 224, 224), size=(5, 5), dtype=torch.float32, device=torch.device("cpu"))
    windows.values.normal_()
    windows.starts.random_(0, 219)
    projection = projection_of(windows)
    assert "tensor of shape (10000, 3, 224, 224)" in repr(projection)
    assert [tuple(crop.shape) for crop in projection.crops] == [(3, 5, 5)] * 10_000
    held = [value for value in vars(projection).values() if isinstance(value, torch.Tensor)]
    assert sum(value.numel() for value in held) < 10_000 * 4 + 3 * 224 * 224 + 1
    few = projection[torch.tensor([7, 9_999])]
    assert few.pixels.shape == (2, 3, 224, 224)
    (top, bottom), (left, right) = few.receptive_fields[1].tolist()
    assert torch.equal(few.pixels[1, :, top:bottom, left:right], windows.values[9_999])


def test_pixels_are_made_once_and_saved_as_windows(tmp_path):
    windows = CroppedPixels.blank(2, (1, 6, 6), size=(2, 3), dtype=torch.float32, device=torch.device("cpu"))
    windows.put(np.array([0, 1]), torch.randn(2, 1, 2, 3), np.array([[0, 0], [4, 3]]))
    projection = projection_of(windows)
    assert projection.pixels is projection.pixels
    path = projection.save(tmp_path / "windows")
    loaded = Projection.load(path)
    assert torch.equal(loaded.held.values, windows.values)
    assert torch.equal(loaded.pixels, projection.pixels)
    assert path.stat().st_size < 4000


def test_a_file_of_the_first_format_is_read(tmp_path):
    """Whole images, and a provenance without settings."""
    windows = CroppedPixels.blank(2, (1, 6, 6), size=(2, 3), dtype=torch.float32, device=torch.device("cpu"))
    windows.put(np.array([0, 1]), torch.randn(2, 1, 2, 3), np.array([[0, 0], [4, 3]]))
    path = dataclasses.replace(projection_of(windows), pixels=windows.whole()).save(tmp_path / "old")
    now, old = b'{\\"format\\": 2, ', b'{\\"format\\": 1, '
    settings = b', \\"settings\\": {\\"mapping\\": []}'
    content = path.read_bytes()
    assert now in content
    assert settings in content
    content = content.replace(now, old).replace(settings, b"")
    length = int.from_bytes(content[:8], "little") - len(settings)
    path.write_bytes(length.to_bytes(8, "little") + content[8:])
    loaded = Projection.load(path)
    assert torch.equal(loaded.pixels, windows.whole())
    assert loaded.provenance.settings == {}


@pytest.mark.parametrize("start", [5, -1])
def test_a_forged_window_outside_the_image_is_refused(start, tmp_path):
    windows = CroppedPixels.blank(1, (1, 6, 6), size=(2, 2), dtype=torch.float32, device=torch.device("cpu"))
    windows.starts[0, 0] = start
    with pytest.raises(DataError, match="a window lies outside images of shape"):
        Projection.load(projection_of(windows).save(tmp_path / "forged"))
