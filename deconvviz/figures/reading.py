"""Figures of a test of reading: scores by condition, and a question as a person would see it."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.errors import InputError, did_you_mean
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import BLUE, KEY_INCHES, SMALL, draw_key, kind_of, room_for_key, signed_words
from deconvviz.images import as_rgb, signed_as_rgb, tiled
from deconvviz.results import ReadingTest
from deconvviz.results.reading import ANOTHER, CHANCE_SCORE, RANDOM
from deconvviz.results.words import in_digits

CONTROL_COLOUR = "#8a8a8a"
QUESTION_INCHES = 2.9


def draw(result: ReadingTest, *, condition: str | None = None, title: str = "", axes: Axes | None = None) -> Figure:
    """The scores with their intervals, and below them one question.

    Args:
        result: The result.
        condition: Which pictures stand for the channel in the question; None for the network's style.
        title: The figure's title.
        axes: Axes to draw in, of a figure of the caller.
    """
    shown = chosen_condition(result, condition)
    rows = len(result.conditions)
    figure = canvas((9.5, 0.34 * rows + (1.7 + QUESTION_INCHES if result.examples else 1.7)), axes)
    parts: Any = [figure]
    if result.examples:
        parts = figure.subfigures(2, 1, height_ratios=[0.34 * rows + 1, QUESTION_INCHES])
    figure.suptitle(title or f"Which of two unseen images fires the channel? {result.layer}", fontsize=11)
    _draw_scores(parts[0], result)
    if result.examples:
        _draw_question(parts[1], result, shown)
    figure.supxlabel(result.verdict, fontsize=SMALL, wrap=True)
    return figure


def chosen_condition(result: ReadingTest, condition: str | None) -> str:
    """The condition that is shown. Raises InputError if there is none of this name."""
    name = result.main if condition is None else condition
    if name not in result.conditions:
        listed = ", ".join(map(repr, result.conditions))
        raise InputError(
            f"the test has no pictures {name!r}; it has {listed}{did_you_mean(str(name), result.conditions)}"
        )
    return name


def _draw_scores(figure: Any, result: ReadingTest) -> None:
    panels = figure.subplots(1, len(result.observers), squeeze=False, sharey=True)[0]
    for axes, observer in zip(panels, result.observers, strict=True):
        for place, condition in enumerate(result.conditions):
            score = result.score(observer, condition)
            if math.isnan(score.mean):
                continue
            reach = None if math.isnan(score.low) else [[score.mean - score.low], [score.high - score.mean]]
            control = condition in (ANOTHER, RANDOM)
            colour, mark = (CONTROL_COLOUR, "s") if control else (BLUE, "o")
            axes.errorbar(score.mean, place, xerr=reach, fmt=mark, color=colour, capsize=3, markersize=5)
            axes.annotate(f"{score.mean:.2f}", (score.mean, place), (0, 5), textcoords="offset points", fontsize=SMALL)
        axes.axvline(CHANCE_SCORE, color="black", linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1.09), xlabel=f"share of right answers, observer: {observer}")
        axes.set_yticks(range(len(result.conditions)), result.conditions)
        axes.set_ylim(len(result.conditions) - 0.4, -0.8)
        axes.grid(axis="x", alpha=0.3)


def _draw_question(figure: Any, result: ReadingTest, condition: str) -> None:
    question = next((one for one in result.examples if condition in one.pictures), None)
    if question is None:
        return
    if condition in result.signed:
        channels = question.pictures[condition].shape[1]
        figure, below = room_for_key(figure, QUESTION_INCHES - KEY_INCHES)
        draw_key(below.subplots(), kind_of(channels), signed_words(channels, "each"))
    axes = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    for square in axes:
        square.axis("off")
    tiles = rgb(question.pictures[condition], condition in result.signed)
    sheet = tiled(tiles, math.ceil(math.sqrt(len(tiles))), gap=1, background=0.6)
    axes[0].imshow(sheet.numpy(), interpolation="nearest")
    axes[0].set_title(f"Channel {question.channel}: {condition}", fontsize=9)
    for number, piece in enumerate(rgb(question.choices, False)):
        axes[1 + number].imshow(piece.numpy(), interpolation="nearest")
        fires = "fires it" if number == question.answer else "does not"
        axes[1 + number].set_title(f"{number + 1}: {fires} ({in_digits(question.activations[number])})", fontsize=9)


def rgb(pictures: Tensor, signed: bool) -> list[Tensor]:
    """Pictures of a question (N, C, h, w), bytes, as (h, w, 3) in [0, 1]."""
    values = pictures.float() / 255
    if signed:
        return [signed_as_rgb((picture - 128 / 255) * 2, 1.0) for picture in values]
    return [as_rgb(picture) for picture in values]
