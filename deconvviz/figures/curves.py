"""Curves: of training, and of how often the channels of layers fire."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deconvviz.arguments import TEXT, instance, takes
from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import BLUE, CAPTION, SMALL, VERMILION, line, name_ticks
from deconvviz.figures.projections import draw
from deconvviz.results import LearningCurves, TopActivations
from deconvviz.results.words import counted


@takes(curves=instance("LearningCurves", LearningCurves), title=TEXT)
def learning_curves(curves: LearningCurves, title: str = "", *, axes: Axes | None = None) -> Figure:
    """Loss and accuracy on training and validation images per epoch, with the diagnosis below.

    Args:
        curves: The curves.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    figure = canvas((9, 3.8), axes)
    left, right = figure.subplots(1, 2)
    for part, name, train, validation in (
        (left, "loss", curves.train_loss, curves.validation_loss),
        (right, "accuracy", curves.train_accuracy, curves.validation_accuracy),
    ):
        part.plot(curves.epochs, train, label="training", **line(0))
        part.plot(curves.epochs, validation, label="validation", **line(1))
        part.set(xlabel="epoch", ylabel=name)
        part.xaxis.set_major_locator(MaxNLocator(integer=True))
        part.grid(alpha=0.3)
        part.legend(loc="upper right" if name == "loss" else "lower right")
    figure.supxlabel(curves.diagnosis, fontsize=CAPTION, wrap=True)
    figure.suptitle(title)
    return figure


@takes(top=instance("a TopActivations", TopActivations), title=TEXT)
def firing_rates(top: TopActivations, title: str = "", *, axes: Axes | None = None) -> Figure:
    """How often the channels of each layer fire, sorted; and how many are dead or fire on every image.

    Args:
        top: The result of a scan.
        title: The figure's title.
        axes: Where to draw instead of in a figure of its own; the axis there is hidden.
    """
    figure = canvas((9, 3.8), axes)
    left, right = figure.subplots(1, 2)
    for number, (layer, statistics) in enumerate(top.statistics.items()):
        rates = statistics.fires.sort(descending=True).values
        style = {**line(number), "markevery": max(1, len(rates) // 8)}
        left.plot(torch.linspace(0, 1, len(rates)).numpy(), rates.numpy(), label=layer, **style)
    left.set(xlabel="channels of the layer, sorted", ylabel="fraction of images on which it fires", ylim=(-0.02, 1.02))
    left.grid(alpha=0.3)
    places = range(len(top.layers))
    for shift, name in ((-0.2, "dead"), (0.2, "always_on")):
        shares = [len(getattr(statistics, name)) / len(statistics.fires) for statistics in top.statistics.values()]
        look = {"color": VERMILION, "hatch": "//", "edgecolor": "white"} if name == "always_on" else {"color": BLUE}
        right.barh([place + shift for place in places], shares, 0.4, label=name.replace("_", " "), **look)
    right.set(xlabel="fraction of the layer's channels", xlim=(0, 1))
    name_ticks(right.yaxis, top.layers, 20)
    right.invert_yaxis()
    right.legend(loc="upper right", fontsize=SMALL)
    if len(top.layers) <= 8:
        left.legend(loc="lower left", fontsize=SMALL)
    figure.suptitle(title or f"{counted(top.count, 'image')} of {top.provenance.dataset}")
    return figure


draw.register(TopActivations, firing_rates)
draw.register(LearningCurves, learning_curves)
