"""Draw the figures of docs/concepts.md, and one of the tutorial, from what the reference network recorded on one digit.

    python docs/drawings.py

The way back is written out here with plain torch, step by step, and compared with the library's projection.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor
from torch.nn import functional

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn

IMAGES = Path(__file__).with_name("images")
DIGIT, CHANNEL = 0, 21  # a seven, and the channel of conv2 that it fires most
SHOWN = 4  # channels of conv1 that are drawn, of 24
MARK = "#d1570a"


class Walk(NamedTuple):
    """One unit's way back through the reference network: the signal behind each mirror, (C, H, W)."""

    seed: Tensor
    filtered: Tensor
    unpooled: Tensor
    rectified: Tensor
    pixels: Tensor


def walk(model: Any, trace: Any, unit: Any) -> Walk:
    """The mirrors of conv2, pool1, relu1 and conv1, one after the other."""
    seed = torch.zeros_like(trace.activations["conv2"])
    seed[0, unit.channel, unit.position[0], unit.position[1]] = unit.activation
    filtered = functional.conv_transpose2d(seed, model.conv2.weight, padding=model.conv2.padding)
    unpooled = functional.max_unpool2d(filtered, trace.switches["pool1"], 2)
    rectified = unpooled.relu()
    pixels = functional.conv_transpose2d(rectified, model.conv1.weight, padding=model.conv1.padding)
    return Walk(*(signal[0].detach() for signal in (seed, filtered, unpooled, rectified, pixels)))


def draw_forward(trace: Any, unit: Any, channels: list[int]) -> Figure:
    """The way up: what each operation makes of the digit."""
    figure, columns = _columns(["image", "conv1", "relu1", "pool1: 14 x 14", f"conv2, channel {unit.channel}"])
    _show(_whole(columns[0]), trace.call.first[0, 0], "gray")
    for column, name in zip(columns[1:4], ("conv1", "relu1", "pool1"), strict=True):
        for axes, channel in zip(column, channels, strict=True):
            _show(axes, trace.activations[name][0, channel], "RdBu_r")
    last = _whole(columns[4])
    _show(last, trace.activations["conv2"][0, unit.channel], "RdBu_r")
    _mark(last, unit.position)
    last.text(
        0.5, -0.06, "the unit: where it\nis strongest", transform=last.transAxes, ha="center", va="top", color=MARK
    )
    return _with_arrows(figure, columns, ["filter", "rectify", "pool", "filter"])


def draw_switches(trace: Any, unit: Any, steps: Walk, channel: int) -> Figure:
    """A part of one map: what pooling keeps, where from, and where the signal goes on the way back."""
    (top, left), half = [min(max(place - 2, 0), 10) for place in unit.position], 4
    rows, columns = slice(top, top + half), slice(left, left + half)
    large = slice(2 * top, 2 * (top + half)), slice(2 * left, 2 * (left + half))
    figure = Figure(figsize=(9.6, 2.9), facecolor="white")
    axes = figure.subplots(1, 4)
    figure.subplots_adjust(0.02, 0.1, 0.98, 0.8, wspace=0.28)
    pictures = {
        "a map, and in each window\nits maximum: the switch": trace.activations["relu1"][0, channel][large],
        "pooled": trace.activations["pool1"][0, channel][rows, columns],
        "a signal comes back": steps.filtered[channel][rows, columns],
        "unpooled: each value goes to\nits switch, all else is zero": steps.unpooled[channel][large],
    }
    for one, (title, values) in zip(axes, pictures.items(), strict=True):
        _show(one, values, "RdBu_r")
        one.set_title(title, fontsize=9)
    switches = trace.switches["pool1"][0, channel][rows, columns]
    for one in (axes[0], axes[3]):
        for index in switches.flatten().tolist():
            _mark(one, (index // 28 - 2 * top, index % 28 - 2 * left))
        for line in range(1, half):
            one.axhline(2 * line - 0.5, color="0.6", lw=0.6)
            one.axvline(2 * line - 0.5, color="0.6", lw=0.6)
    for left_axes, right_axes in itertools.pairwise(axes):
        _arrow(figure, left_axes, right_axes)
    return figure


def draw_back(unit: Any, field: Tensor, steps: Walk, image: Tensor, channels: list[int]) -> Figure:
    """The way back, from the unit to pixels."""
    titles = ["the seed", "behind conv2", "behind pool1", "behind relu1", "the projection", "the image"]
    figure, columns = _columns(titles)
    seed = _whole(columns[0])
    _show(seed, steps.seed[unit.channel], "RdBu_r")
    _mark(seed, unit.position)
    for column, signal in zip(columns[1:4], (steps.filtered, steps.unpooled, steps.rectified), strict=True):
        for axes, channel in zip(column, channels, strict=True):
            _show(axes, signal[channel], "RdBu_r")
    for column, picture, colours in ((columns[4], steps.pixels[0], "RdBu_r"), (columns[5], image, "gray")):
        axes = _whole(column)
        _show(axes, picture, colours)
        (top, bottom), (left, right) = field.tolist()
        axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, ec=MARK, lw=1.2))
    axes.text(0.5, -0.06, "what the unit sees", transform=axes.transAxes, ha="center", va="top", color=MARK, fontsize=9)
    return _with_arrows(figure, columns[:5], ["filters,\ntransposed", "unpool", "rectify", "filters,\ntransposed"])


def _columns(titles: list[str]) -> tuple[Figure, list[list[Axes]]]:
    """A row of places, each for one picture or for four below each other."""
    figure = Figure(figsize=(10.5, 3.9), facecolor="white")
    grid = figure.add_gridspec(
        SHOWN, len(titles), left=0.01, right=0.99, top=0.93, bottom=0.1, wspace=0.45, hspace=0.08
    )
    columns = [[figure.add_subplot(grid[row, column]) for row in range(SHOWN)] for column in range(len(titles))]
    for title, column in zip(titles, columns, strict=True):
        column[0].set_title(title, fontsize=10)
    return figure, columns


def _whole(column: list[Axes]) -> Axes:
    """The places of a column as one."""
    first, *others = column
    for axes in others:
        axes.remove()
    column[1:] = []
    spec = first.get_subplotspec()
    assert spec is not None
    first.set_subplotspec(spec.get_gridspec()[:, spec.colspan.start])
    return first


def _show(axes: Axes, values: Tensor, colours: str) -> None:
    """A map, zero in the middle of the scale of signed ones; each on its own."""
    largest = float(values.abs().max()) or 1.0
    axes.imshow(values.detach().numpy(), cmap=colours, vmin=0 if colours == "gray" else -largest, vmax=largest)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("0.6")


def _mark(axes: Axes, place: Any) -> None:
    axes.add_patch(Rectangle((place[1] - 0.5, place[0] - 0.5), 1, 1, fill=False, ec=MARK, lw=1.5))


def _with_arrows(figure: Figure, columns: list[list[Axes]], words: list[str]) -> Figure:
    figure.canvas.draw()  # places are known once it is laid out
    for left, right, word in zip(columns[:-1], columns[1:], words, strict=True):
        for row in range(max(len(left), len(right))):
            _arrow(figure, left[min(row, len(left) - 1)], right[min(row, len(right) - 1)])
        boxes = left[0].get_position(), right[0].get_position()
        figure.text((boxes[0].x1 + boxes[1].x0) / 2, 0.02, word, ha="center", fontsize=9, color="0.25")
    return figure


def _arrow(figure: Figure, left: Axes, right: Axes) -> None:
    ends = {"coordsA": left.transAxes, "coordsB": right.transAxes, "arrowstyle": "->", "color": "0.45"}
    figure.add_artist(ConnectionPatch((1.04, 0.5), (-0.04, 0.5), **ends))


def main() -> None:
    model, images = mnist_cnn(), mnist_test()[0]
    net = dv.DeconvNet(model)
    trace = net.trace(images[DIGIT : DIGIT + 1])
    projection = net.project(trace, "conv2", channel=CHANNEL)
    (unit,), field = projection.units, projection.receptive_fields[0]
    steps = walk(model, trace, unit)
    torch.testing.assert_close(steps.pixels, projection.pixels[0])
    channels = steps.rectified.flatten(1).norm(dim=1).topk(SHOWN).indices.tolist()  # those the unit listens to most
    figures = {
        "concepts-forward": draw_forward(trace, unit, channels),
        "concepts-switches": draw_switches(trace, unit, steps, channels[0]),
        "concepts-back": draw_back(unit, field, steps, images[DIGIT, 0], channels),
    }
    for name, figure in figures.items():
        figure.savefig(IMAGES / f"{name}.png", dpi=110)
    strongest = trace.activations["conv2"][0].flatten(1).amax(1).topk(9).indices.tolist()
    net.project(trace, "conv2", channel=strongest).figure().savefig(IMAGES / "tutorial-seven.png", dpi=150)


if __name__ == "__main__":
    main()
