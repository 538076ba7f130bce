"""Figures: the pixels that are drawn, zero maps, any number of channels, and every result's own figure."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import figures
from deconvviz.errors import InputError
from deconvviz.figures import projections as pictures
from deconvviz.images import signed_as_rgb
from deconvviz.results import LearningCurves, Projection, Provenance, Unit


def rendered(figure):
    """The figure's pixels, (H, W, 3) in 0..255."""
    assert isinstance(figure, Figure)
    png = io.BytesIO()
    figure.savefig(png, dpi=60)
    return np.asarray(Image.open(png).convert("RGB"))


def projection(pixels, units, fields, images):
    where = Provenance(
        model="Model",
        fingerprint="0",
        layer="layer",
        style={"name": "deconvnet"},
        seed="one",
        linearised=(),
        stopped=(),
        versions={},
    )
    return Projection(
        pixels=pixels, units=units, receptive_fields=torch.tensor(fields), images=images, provenance=where
    )


@pytest.mark.parametrize("channels", [1, 2, 3, 16])
def test_filter_grids_of_any_number_of_channels(channels):
    weight = torch.randn(5, channels, 3, 3)
    assert len(np.unique(rendered(figures.filter_grid(weight)))) > 10
    image = figures.filter_image(weight, columns=5, enlarge=1)
    width, height = {1: (3, 3), 2: (9, 5), 3: (3, 3), 16: (17, 17)}[channels]
    assert image.size == (5 * (width + pictures.GAP) + pictures.GAP, height + 2 * pictures.GAP)


def test_filters_are_drawn_with_their_own_or_one_scale():
    weight = torch.tensor([1.0, -2.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    each = np.asarray(figures.filter_image(weight, columns=2, enlarge=1))
    shared = np.asarray(figures.filter_image(weight, columns=2, enlarge=1, scale="shared"))
    red, blue = (np.asarray(signed_as_rgb(torch.full((1, 1, 1), v)) * 255).round()[0, 0] for v in (1.0, -1.0))
    assert (each[2, 2] == red).all()
    assert (each[2, 6] == blue).all()
    assert (shared[2, 6] == blue).all()
    assert (np.abs(shared[2, 2] - (255 + red) / 2) <= 1).all()


def test_activation_grids_of_signed_and_unsigned_maps():
    unsigned = torch.zeros(3, 2, 2)
    unsigned[1] = 4.0
    image = np.asarray(figures.activation_image(unsigned, columns=3, enlarge=1))
    assert image[2, 2].tolist() == [68, 1, 84]  # the dark end of viridis
    assert image[2, 6].tolist() == [253, 231, 37]
    assert len(np.unique(rendered(figures.activation_grid(torch.randn(7, 4, 5))))) > 10


def test_projections_are_cut_to_the_receptive_field_beside_their_patch():
    pixels = torch.zeros(2, 1, 6, 6)
    pixels[0, 0, 1, 1], pixels[1, 0, 5, 5] = 3.0, -2.0
    units = (Unit(0, "layer", 0, (1, 1), 3.0), Unit(0, "layer", 1, (5, 5), 2.0))
    images = torch.linspace(0, 1, 36).view(1, 1, 6, 6)
    made = projection(pixels, units, [[[0, 3], [0, 3]], [[4, 6], [4, 6]]], images)
    drawn = np.asarray(figures.projection_image(made, columns=1, enlarge=1), dtype=float) / 255
    assert drawn.shape == (2 * 5 + 3 * 2, 9 + 2 * 2, 3)
    top, left = 2 + 1, 2 + 1
    assert np.allclose(drawn[top : top + 3, left : left + 3, 0], images[0, 0, :3, :3], atol=0.003)
    signed = signed_as_rgb(pixels[0, :, :3, :3]).numpy()
    assert np.allclose(drawn[top : top + 3, left + 4 : left + 7], signed, atol=0.003)
    second = top + 5 + 2  # the smaller field is filled up with white at its end
    assert np.allclose(drawn[second : second + 2, left : left + 2, 0], images[0, 0, 4:, 4:], atol=0.003)
    assert (drawn[second + 2, left : left + 3] == 1).all()
    whole = figures.projection_image(made, columns=1, enlarge=1, crop=False)
    assert whole.size == (15 + 4, 2 * 8 + 6)


def test_top_images_stand_in_squares_projections_left():
    made = []
    for channel in range(3):
        pixels = torch.full((9, 3, 4, 4), float(channel) - 1)
        units = tuple(Unit(n, "layer", channel, (0, 0), 1.0) for n in range(9))
        made.append(projection(pixels, units, [[[0, 4], [0, 4]]] * 9, torch.full((9, 3, 4, 4), 0.2)))
    image = np.asarray(figures.top_image(made, columns=3, enlarge=1))
    block = 3 * 5 + 1
    assert image.shape == (block + 12, 3 * (2 * block + 6) + 6, 3)
    assert [image[8, 8 + n * (2 * block + 6)].tolist() for n in range(3)] == [[0] * 3, [128] * 3, [255] * 3]
    assert image[8, 8 + block].tolist() == [51] * 3
    assert len(np.unique(rendered(figures.top_grid(made)))) > 5


def test_maps_of_zeros_are_drawn():
    units = (Unit(0, "layer", 0, (), 0.0),)
    made = projection(torch.zeros(1, 1, 4, 4), units, [[[0, 4], [0, 4]]], torch.zeros(1, 1, 4, 4))
    for scale in ("each", "shared"):
        assert rendered(made.figure(scale=scale)).size
    rendered(figures.filter_grid(torch.zeros(2, 1, 3, 3)))
    rendered(figures.activation_grid(torch.zeros(2, 3, 3)))
    rendered(figures.attribution_strip(torch.zeros(1, 4, 4), {"none": torch.zeros(1, 4, 4)}))


def test_every_result_has_a_figure_and_shows_itself_in_a_notebook():
    net, x = dv.DeconvNet(nn.Conv2d(3, 2, 3)), torch.randn(2, 3, 8, 8)
    curves = LearningCurves(
        epochs=(1, 2),
        train_loss=(1.0, 0.5),
        validation_loss=(1.1, 0.7),
        train_accuracy=(0.5, 0.8),
        validation_accuracy=(0.4, 0.7),
        diagnosis="good fit",
    )
    for result in (net.project(x, "output"), net.reconstruct(x, "output"), curves):
        assert len(np.unique(rendered(result.figure()))) > 10
        assert result._repr_png_().startswith(b"\x89PNG")
    guided = dv.DeconvNet(net.model, "guided")
    strip = figures.reconstruction_strip([one.reconstruct(x, "output") for one in (net, guided)])
    assert [axes.get_title() for axes in strip.axes[:-1]] == [
        "input",
        "output, deconvnet",
        "output, guided",
        "",
        "",
        "",
    ]
    assert not strip.axes[-1].images, "the key of the colours"


def test_learning_curves_show_their_numbers():
    curves = LearningCurves(
        epochs=(1, 2, 3),
        train_loss=(1.0, 0.5, 0.2),
        validation_loss=(1.1, 0.7, 0.8),
        train_accuracy=(0.5, 0.8, 0.9),
        validation_accuracy=(0.4, 0.7, 0.6),
        diagnosis="overfitting",
    )
    figure = curves.figure(title="a run")
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5, 0.2], [1.1, 0.7, 0.8]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.5, 0.8, 0.9], [0.4, 0.7, 0.6]]
    assert figure._supxlabel.get_text() == "overfitting"


def test_mistakes():
    with pytest.raises(
        InputError, match=r"filters are shown from a tensor \(out, in, H, W\), not from one of shape \(2, 3\)"
    ):
        figures.filter_grid(torch.zeros(2, 3))
    with pytest.raises(InputError, match="the scale is 'each' or 'shared', not 'log'"):
        figures.filter_grid(torch.zeros(2, 1, 3, 3), scale="log")
    with pytest.raises(InputError, match="there is no figure for a str"):
        figures.draw("result")
    for empty in (figures.top_grid, figures.reconstruction_strip):
        with pytest.raises(InputError, match="give at least one"):
            empty([])
