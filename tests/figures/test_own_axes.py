"""Figures drawn in axes of the caller's: every result, within its place, without touching the rest."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from deconvviz import figures
from deconvviz.errors import InputError
from deconvviz.results import Result
from tests.test_shown_objects import shown_objects

DPI = 40


def drawn(figure):
    """Which pixels of a figure are not white, (H, W)."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=DPI)
    return (np.asarray(Image.open(picture).convert("RGB")) < 250).any(2)


def with_figures():
    return {name: made for name, made in shown_objects().items() if isinstance(made, Result) and name != "LayerTable"}


def test_every_result_is_drawn_in_its_place():
    for name, result in with_figures().items():
        figure = Figure(figsize=(12, 5), layout="constrained" if name == "Probe" else None)
        left, right = figure.subplots(1, 2)
        right.axis("off")
        words = right.text(0, 0, "")
        assert result.figure(axes=left) is left, name
        assert words.get_parse_math(), name
        ink = drawn(figure)
        assert ink[:, : ink.shape[1] // 2].mean() > 0.01, name
        below = 10 + ink.shape[0] // 6  # of a title, which may be wide
        assert ink[below:, int(0.65 * ink.shape[1]) :].mean() < 0.01, name


def test_the_place_may_be_anywhere_and_changes_with_the_figure():
    curves = shown_objects()["LearningCurves"]
    figure = Figure(figsize=(10, 5))
    curves.figure(axes=figure.add_axes((0.5, 0.5, 0.5, 0.5)))
    ink = drawn(figure)
    rows, columns = ink.shape
    assert ink[: rows // 2, columns // 2 :].any()
    assert not ink[rows // 2 + 1 :].any()
    assert not ink[:, : columns // 2 - 1].any()
    figure.set_size_inches(20, 10)
    larger = drawn(figure)
    assert larger.shape == (2 * rows, 2 * columns)
    assert not larger[rows + 1 :].any()


def test_one_panel_stands_in_the_axes_themselves():
    projection = shown_objects()["Projection"]
    figure = Figure()
    axes = figure.subplots()
    projection.figure(axes=axes, title="conv")
    alone = projection.figure(title="conv")
    assert np.array_equal(axes.images[0].get_array(), alone.axes[0].images[0].get_array())
    assert (axes.get_title(), len(figure.axes)) == ("conv", 1)


def test_functions_take_axes_too():
    image = torch.rand(3, 6, 6)
    figure = Figure(figsize=(8, 3))
    figures.attribution_strip(image, {"none": torch.zeros(3, 6, 6)}, axes=figure.subplots())
    assert drawn(figure).mean() > 0.1


def test_mistakes():
    for wrong in (3, "axes", Figure(), [Figure().subplots()]):
        with pytest.raises(InputError, match="axes is an Axes of matplotlib or None, not "):
            shown_objects()["Probe"].figure(axes=wrong)
    with pytest.raises(InputError, match="axes is an Axes"):
        shown_objects()["Projection"].figure(axes=3)


def test_legends_are_not_looked_for_the_emptiest_place():
    """Matplotlib warns that this is slow, depending on how busy the machine is."""
    for name, result in with_figures().items():
        for axes in result.figure().findobj(matplotlib.axes.Axes):
            if (legend := axes.get_legend()) is not None:
                assert legend._loc != 0, name
