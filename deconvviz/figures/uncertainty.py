"""The figure of uncertainty: right and wrong answers by their entropy, and the ROC curves."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz.figures.canvas import canvas
from deconvviz.figures.marks import line
from deconvviz.results.uncertainty import Uncertainty
from deconvviz.results.words import counted

NAMES = {"softmax": "plain softmax", "dropout": "with dropout", "disagreement": "disagreement of the draws"}


def draw(result: Uncertainty, *, axes: Axes | None = None) -> Figure:
    """Shares of right and of wrong answers up to each entropy, and how many wrong answers are found among how many."""
    figure = canvas((11, 4.2), axes)
    left, right = figure.subplots(1, 2)
    kinds = {"right": result.right, "wrong": ~result.right}
    for first, name in ((0, "dropout"), (2, "softmax")):
        for number, (kind, chosen) in enumerate(kinds.items(), first):
            values = result.entropy[name][chosen].sort().values
            if len(values):
                share = torch.arange(1, len(values) + 1) / len(values)
                look = line(number, marked=False)
                left.step(values, share, where="post", label=f"{kind}, {NAMES[name]}", **look)
    left.set(xlabel="entropy (nats)", ylabel="share of these answers up to it", ylim=(-0.02, 1.02))
    for number, (name, values) in enumerate(result.entropy.items()):
        found, area = _curve(values, ~result.right), result.auroc[name]
        said = f"{NAMES[name]}: {area[0]:.3f} ({area[1]:.3f} to {area[2]:.3f})"
        right.plot(*found, label=said, **line(number, marked=False))
    right.plot([0, 1], [0, 1], ":", color="black", lw=1)
    right.set(xlabel="share of right answers that are as uncertain", ylabel="share of wrong answers found")
    for part in (left, right):
        part.grid(alpha=0.3)
        part.legend(loc="lower right", fontsize=8)
    wrong, every = int((~result.right).sum()), len(result.right)
    said = f"Uncertainty of {counted(every, 'answer')}, {wrong:,} wrong; {counted(result.samples, 'draw')} with dropout"
    figure.suptitle(said, fontsize=11)
    figure.supxlabel(result.verdict, fontsize=8, wrap=True)
    return figure


def _curve(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The ROC curve: shares of negative and of positive items whose score is at least each one that occurs."""
    limits = torch.cat([torch.tensor([torch.inf], dtype=scores.dtype), scores.unique().flip(0)])
    shares = []
    for chosen in (scores[~positive], scores[positive]):
        order = chosen.sort().values
        shares.append(1 - torch.searchsorted(order, limits).double() / max(1, len(order)))
    return shares[0], shares[1]
