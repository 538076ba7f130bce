"""Heat maps and overlays: energy, smoothing and blending against plain loops, and what the figure says."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import deconvviz as dv
from deconvviz import figures
from deconvviz.errors import InputError
from tests.helpers.other_inputs import OfPictures, OfSignals


@pytest.fixture(scope="module")
def projection():
    torch.manual_seed(3)
    x = torch.rand(2, 3, 14, 18)
    return dv.DeconvNet(OfPictures()).project(x, "second", channel=[1, 2])


def test_projections_can_be_smoothed_and_the_title_says_so(projection):
    crop = projection.cut(0, projection.receptive_fields[0].tolist()).numpy()
    views = figures.tiles.unit_views(projection, True, 1.5)
    expected = np.stack([smoothed(channel.astype(float), 1.5) for channel in crop])
    np.testing.assert_allclose(views[0][0].pixels.numpy(), expected, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected).max() < 0.9 * np.abs(crop).max()
    titles = [projection.figure(sigma=sigma).axes[0].get_title() for sigma in (0, 1.5)]
    titles.append(figures.top_grid([projection], sigma=1).get_suptitle())
    assert ["smoothed" in title for title in titles] == [False, True, True]
    assert " ".join(titles[1].split()).endswith("smoothed by a Gaussian of 1.5 pixels")
    plain, smooth = (np.asarray(figures.projection_image(projection, sigma=sigma)) for sigma in (0, 1.5))
    assert plain.shape == smooth.shape
    assert (plain != smooth).any()
    with pytest.raises(InputError, match="sigma is a number of pixels from 0"):
        projection.figure(sigma=-1)


def smoothed(values, sigma):
    """A Gaussian blur, pixel by pixel."""
    reach = math.ceil(4 * sigma)
    weights = {d: math.exp(-(d**2) / (2 * sigma**2)) for d in range(-reach, reach + 1)}
    total = sum(weights.values())
    height, width = values.shape
    result = np.zeros_like(values)
    for row in range(height):
        for column in range(width):
            result[row, column] = sum(
                values[r, c] * weights[r - row] * weights[c - column]
                for r in range(max(0, row - reach), min(height, row + reach + 1))
                for c in range(max(0, column - reach), min(width, column + reach + 1))
            )
    return result / total**2


@pytest.mark.parametrize("sigma", [0, 0.4, 1.5])
def test_heat_is_smoothed_energy(projection, sigma):
    maps = projection.heatmap(sigma=sigma)
    assert maps.shape == (4, 14, 18)
    for heat, pixels in zip(maps, projection.pixels.double().numpy(), strict=True):
        energy = (pixels**2).sum(0)
        energy = smoothed(energy, sigma) if sigma else energy
        assert np.allclose(heat, energy / energy.max(), atol=1e-6)


def test_the_usual_smoothing_is_a_twentieth_of_the_receptive_field(projection):
    field = projection.receptive_fields[0].diff().max()
    assert torch.equal(projection.heatmap()[0], projection.heatmap(sigma=0.05 * float(field))[0])


def test_the_picture_is_blended_by_the_heat(projection):
    alpha = 0.7
    shown = np.asarray(figures.overlay_image(projection[2], alpha=alpha, sigma=1, enlarge=1)) / 255
    heat = projection[2].heatmap(sigma=1)[0].numpy()[..., None]
    colour = matplotlib.colormaps["inferno"](heat[..., 0])[..., :3]
    expected = (1 - alpha * heat) * projection.images[1].permute(1, 2, 0).numpy() + alpha * heat * colour
    assert np.allclose(shown[2:-2, 2:-2], expected, atol=0.003)
    bare = np.asarray(figures.overlay_image(projection[2], alpha=0, enlarge=1)) / 255
    assert np.allclose(bare[2:-2, 2:-2], projection.images[1].permute(1, 2, 0), atol=0.003)


def test_the_figure_says_what_it_shows(projection):
    texts = " ".join(text.get_text().replace("\n", " ") for text in projection.overlay().findobj(matplotlib.text.Text))
    assert "second, deconvnet: energy of the projection over the image" in texts
    assert "squares summed over channels, smoothed by a Gaussian of 5% of the receptive field's longest side" in texts
    texts = " ".join(text.get_text() for text in projection.overlay(sigma=2).findobj(matplotlib.text.Text))
    assert "a Gaussian of 2 pixels" in texts.replace("\n", " ")
    assert "smoothed" not in " ".join(
        text.get_text() for text in projection.overlay(sigma=0).findobj(matplotlib.text.Text)
    )


def test_into_axes_of_ones_own(projection):
    axes = Figure().subplots()
    assert projection.overlay(0.3, axes=axes) is axes
    assert len(axes.images) == 1


def test_a_signal_has_the_energy_behind_it():
    p = dv.DeconvNet(OfSignals()).project(torch.rand(1, 2, 40), "3", channel=0)
    axes, key = p.overlay(alpha=1, sigma=0).findobj(matplotlib.axes.Axes)
    assert "no energy (nothing behind the signal) to the highest" in key.get_legend().get_texts()[0].get_text()
    ground = axes.images[0].get_array()[0]
    heat = p.heatmap(sigma=0)[0].numpy()
    assert heat.shape == (40,)
    assert np.allclose(ground[heat == 0], 1)
    assert np.allclose(ground[heat.argmax()], matplotlib.colormaps["inferno"](1.0)[:3])


def test_the_energy_behind_a_signal_has_no_colour_beyond_white(caplog):
    """By rounding it could have, of which matplotlib writes a line for each unit."""
    torch.manual_seed(0)
    layers = nn.Conv1d(1, 6, 9, padding=4), nn.ReLU(), nn.MaxPool1d(4), nn.Conv1d(6, 8, 9, padding=4)
    dv.DeconvNet(nn.Sequential(*layers)).project(torch.randn(1, 1, 400), "3").overlay()
    assert not [record for record in caplog.records if "Clipping" in record.getMessage()]


def test_pixels_as_arrays(projection):
    assert np.array_equal(projection.numpy(), projection.pixels.numpy())
    net = dv.DeconvNet(OfPictures().bfloat16())
    x = torch.rand(1, 3, 9, 9, dtype=torch.bfloat16)
    assert net.project(x, "second", channel=0).numpy().dtype == np.float32
    sent = net.reconstruct(x, "second")
    assert np.array_equal(sent.numpy(), sent.pixels.float().numpy())


def test_units_that_left_nothing():
    net = dv.DeconvNet(OfPictures())
    with torch.no_grad():
        net.model.first.weight.zero_()
    p = net.project(torch.rand(1, 3, 9, 9), "second", channel=0)
    assert not p.heatmap().any()
    p.overlay()
    assert p[:0].heatmap().shape == (0, 9, 9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": 1.5}, "alpha is a number from 0 to 1, not 1.5"),
        ({"alpha": "a"}, "alpha is a finite number, not 'a'"),
        ({"sigma": -1}, "sigma is a number of pixels from 0 to 10,000, not -1"),
        ({"sigma": math.inf}, "sigma is a finite number or None, not inf"),
    ],
)
def test_mistakes(projection, options, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        projection.overlay(**options)
