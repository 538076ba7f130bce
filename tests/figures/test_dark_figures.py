"""Figures in dark colours: texts and lines that can be read, and data that stays as it is."""

from __future__ import annotations

import base64
import functools
import io
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from deconvviz import evidence
from deconvviz.figures import marks
from deconvviz.figures.canvas import canvas
from deconvviz.figures.dark import INK, PAPER, darkened, in_the_dark
from deconvviz.io.pages import web_file
from deconvviz.results import LearningCurves
from tests.helpers.public_functions import NET, QUIET, TOP, X

DATA = np.array([[0.0, 0.5], [1.0, 0.25]])


def pixels(figure):
    """(H, W, 3), whole numbers to 255."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=50)
    return np.asarray(Image.open(picture).convert("RGB")).astype(int)


def contrast(colour, paper):
    """Of WCAG 2.2."""
    bright, dim = sorted((luminance(colour), luminance(paper)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour):
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_colours_are_those_of_the_pages():
    dark = web_file("shared/colours.css").decode().partition("color-scheme: dark")[2]
    assert re.search(rf"--card: {PAPER}; --ink: {INK};", dark)


def test_ink_and_paper_change_places_and_greys_lie_between():
    assert [to_hex(in_the_dark(colour)) for colour in ("white", "black")] == [PAPER, INK]
    greys = [in_the_dark(str(level / 10))[0] for level in range(11)]
    assert greys == sorted(greys, reverse=True)
    assert to_hex(in_the_dark(marks.ORANGE)) == to_hex(marks.ORANGE)
    assert in_the_dark((1, 1, 1, 0.5))[3] == 0.5
    assert in_the_dark("none") == (0, 0, 0, 0)


@pytest.mark.parametrize("colour", [*marks.COLOURS, "#b00020", "navy", "0.2"])
@pytest.mark.parametrize("least", [3.0, 4.5])
def test_every_colour_can_be_told_from_the_paper(colour, least):
    assert contrast(in_the_dark(colour, least)[:3], PAPER) >= least


def test_pictures_and_what_lies_on_them_stay_as_they_are():
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0.25, 0.25, 0.5, 0.5))
    shown = axes.imshow(DATA, cmap="gray")
    marks.framed(axes, -0.3, -0.3, 0.6, 0.6)
    on, beside = axes.text(0.5, 0.5, "on it", color="#777777"), axes.text(-0.9, 0.5, "left")
    title = axes.set_title("a map")
    light = pixels(figure)
    dark = pixels(darkened(figure))
    box = shown.get_window_extent()
    left, right = round(box.x0 / 2) + 2, round(box.x1 / 2) - 2  # of 50 dots per inch, and inside the axes' own line
    rows = slice(len(light) - round(box.y1 / 2) + 2, len(light) - round(box.y0 / 2) - 2)
    assert np.array_equal(light[rows, left:right], dark[rows, left:right])
    assert to_hex(on.get_color()) == "#777777"
    assert [to_hex(text.get_color()) for text in (beside, title)] == [INK, INK]
    assert (light[0, 0].tolist(), dark[0, 0].tolist()) == ([255] * 3, [round(255 * part) for part in to_rgb(PAPER)])


def test_the_colours_of_a_key_stay_and_its_words_change():
    figure = Figure(figsize=(6, 1))
    axes = figure.subplots()
    marks.draw_key(axes, "sign", "below zero, zero (white), above zero")
    pixels(figure)
    dark = pixels(darkened(figure))
    assert (dark > 250).all(2).any(), "zero is white"
    (words,) = axes.get_legend().get_texts()
    assert contrast(words.get_color(), PAPER) > 9


def test_lines_bars_and_panels_in_the_place_of_axes():
    figure = Figure(figsize=(4, 3))
    inner = canvas((4, 3), figure.subplots()).subplots()
    (line,) = inner.plot([0, 1], color="black", marker="o", markerfacecolor="white")
    (bar,) = inner.bar([0], [1], color=marks.BLUE, edgecolor="white")
    dots = inner.scatter([0, 1], [1, 0], color="0.2")
    mesh = inner.pcolormesh(DATA)
    inner.text(0, 0, "0.5", bbox={"facecolor": "white"})
    pixels(figure)
    darkened(figure)
    assert [to_hex(c) for c in (line.get_color(), line.get_markerfacecolor())] == [INK, PAPER]
    assert [to_hex(c) for c in (bar.get_facecolor(), bar.get_edgecolor())] == [to_hex(in_the_dark(marks.BLUE)), PAPER]
    assert contrast(dots.get_facecolor()[0], PAPER) > 9
    assert np.array_equal(mesh.get_array(), DATA)
    assert to_hex(inner.texts[0].get_bbox_patch().get_facecolor()) == PAPER
    assert to_hex(inner.xaxis.get_ticklabels()[0].get_color()) == INK
    assert to_hex(inner.spines["left"].get_edgecolor()) == INK


CURVES = LearningCurves(
    epochs=(1, 2),
    train_loss=(0.5, 0.4),
    validation_loss=(0.6, 0.5),
    train_accuracy=(0.9, 0.9),
    validation_accuracy=(0.8, 0.9),
    diagnosis="good",
    settings={"epochs": 2},
)
RESULTS = {
    "projections": lambda: NET.project(X, "2", channel=[0, 1]),
    "feature maps": lambda: NET.activations(X, "2"),
    "firing rates": lambda: TOP,
    "learning curves": lambda: CURVES,
    "a measure": functools.cache(lambda: evidence.selectivity(NET, X, "2", count=2, **QUIET)),
}


@pytest.mark.parametrize("name", RESULTS)
def test_no_text_of_a_result_is_lost_in_the_dark(name):
    figure = RESULTS[name]().figure()
    pixels(figure)
    over = {
        text
        for axes in figure.findobj(Axes)
        for text in axes.texts
        if any(
            image.get_window_extent().contains(*text.get_transform().transform(text.get_position()))
            for image in axes.images
        )
    }
    pixels(darkened(figure))
    texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text not in over]
    assert len(texts) >= 3
    assert min(contrast(text.get_color(), PAPER) for text in texts) >= 4.5


def test_a_result_in_a_page_has_both():
    page = RESULTS["a measure"]()._repr_html_()
    dark, light = re.findall(r'(?:srcset|src)="data:image/png;base64,([^"]+)"', page)
    assert 'media="(prefers-color-scheme: dark)" srcset="' in page
    corners = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB").getpixel((0, 0)) for one in (light, dark)]
    assert [to_hex([part / 255 for part in corner]) for corner in corners] == ["#ffffff", PAPER]
