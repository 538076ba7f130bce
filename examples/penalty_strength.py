"""A growing lambda: what the strength of an L1 or L2 penalty does to the loss, the filters and the dead channels.

    python examples/penalty_strength.py --out out/penalties

The network of regularisation.py is trained with each lambda, with three seeds, each with its own digits and initial
weights. It prints a table (means over seeds, smallest and largest value) and what all seeds show, and writes:

- ``curves.png``: over lambda, the loss on training and held-out digits, and the shares of weights that are almost zero
  and of channels that no test digit activates. Lines are means, dots are seeds.
- ``filters.png``: the filters of conv1 of the first seed, one row per lambda, on one scale per filter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from runs import NETWORK, Run, Runs, add_seeds, over_seeds, train_all
from studies import first_filters, keyed, load_digits, output_folder, positive, study_parser

import deconvviz as dv
from deconvviz.figures.marks import line
from deconvviz.results.base import as_text

LAMBDAS: dict[str, tuple[float, ...]] = {"l1": (3e-4, 1e-3, 3e-3, 1e-2), "l2": (1e-3, 5e-3, 2e-2, 1e-1)}
CHANNELS = sum(NETWORK["channels"]) + NETWORK["width"]


def planned(kind: str) -> dict[str, dict[str, Any]]:
    """The changes of each run with a kind of penalty, by the name of its lambda."""
    return {f"{kind} {strength:g}": {kind: strength} for strength in LAMBDAS[kind]}


def dead_share(run: Run) -> float:
    """The share of channels of conv1, conv2 and fc1 that no test digit activates."""
    return sum(run.dead) / CHANNELS


def table(runs: Runs) -> str:
    rows: list[tuple[str, ...]] = [("lambda", "loss", "held-out loss", "test accuracy", "weights ~ 0", "dead channels")]
    for name, some in runs.items():
        losses = over_seeds([run.train_loss for run in some]), over_seeds([run.held_out_loss for run in some])
        accuracy = over_seeds([run.test.accuracy for run in some], ".1%")
        zero = over_seeds([run.nearly_zero for run in some], ".0%")
        dead = " / ".join(" + ".join(map(str, run.dead)) for run in some)
        rows.append((name, *losses, accuracy, zero, dead))
    return as_text(rows)


def lowest(runs: Runs) -> str:
    """Which lambda has the lowest held-out loss, seed by seed."""
    count = len(next(iter(runs.values())))
    best = [min(runs, key=lambda name, seed=seed: runs[name][seed].held_out_loss) for seed in range(count)]
    if len(set(best)) == 1:
        return f"the held-out loss is lowest with {best[0]} with every seed"
    return f"the held-out loss is lowest with {', '.join(best)}, by seed"


def curves_figure(kinds: dict[str, Runs]) -> Figure:
    """Draw losses, weights near zero and dead channels over lambda, a column for each kind of penalty."""
    figure = Figure(figsize=(5 * len(kinds), 6.2), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharey="row")
    for column, (kind, runs) in enumerate(kinds.items()):
        losses, shares = axes[:, column]
        lambdas = [0.0, *LAMBDAS[kind]]
        over(losses, lambdas, runs, "training", lambda run: run.train_loss, 0)
        over(losses, lambdas, runs, "held out", lambda run: run.held_out_loss, 1)
        over(shares, lambdas, runs, "weights near zero", lambda run: run.nearly_zero, 2)
        over(shares, lambdas, runs, "dead channels", dead_share, 3)
        losses.set(yscale="log", title=f"{kind.upper()} penalty")
        losses.set_ylabel("loss (nats)" if not column else "")
        shares.set(xlabel="lambda", ylim=(-0.03, 1.03))
        shares.set_ylabel("share" if not column else "")
        losses.legend(fontsize=8)
        shares.legend(fontsize=8)
    return figure


def over(
    axes: Axes, lambdas: Sequence[float], runs: Runs, label: str, measure: Callable[[Run], float], number: int
) -> None:
    """Draw a measure over lambda: the mean as the line of a number, each seed as a mark; zero stands at the left."""
    places = range(len(lambdas))
    values = [[measure(run) for run in some] for some in runs.values()]
    style = line(number)
    axes.plot(places, [sum(each) / len(each) for each in values], **style, label=label)
    for place, each in zip(places, values, strict=True):
        axes.plot([place] * len(each), each, **{**style, "linestyle": "", "markersize": 3}, alpha=0.6)
    axes.set_xticks(list(places), [f"{value:g}" for value in lambdas])
    axes.grid(alpha=0.3)


def filters_figure(kinds: dict[str, Runs]) -> Figure:
    """Draw the filters of conv1 of the first seed, one row per lambda."""
    rows = max(len(runs) for runs in kinds.values())
    figure, panels = keyed(5.2 * len(kinds), 0.62 * rows + 0.5)
    axes = panels.subplots(rows, len(kinds), squeeze=False)
    for column, (kind, runs) in enumerate(kinds.items()):
        for panel, (name, some) in zip(axes[:, column], runs.items(), strict=True):
            model = some[0].model
            count = len(model.conv1.weight)
            panel.imshow(first_filters(dv.DeconvNet(model), "conv1", range(count), columns=count).numpy())
            panel.set(xticks=[], yticks=[], frame_on=False)
            panel.set_ylabel(
                name.removeprefix(f"{kind} ").replace("none", "0"), rotation=0, ha="right", va="center", fontsize=9
            )
        axes[0, column].set_title(f"{kind.upper()} penalty: filters of conv1 by lambda", fontsize=10)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__, "out/penalties", images=600)
    parser.add_argument("--epochs", type=positive, default=12, help="passes over the training images (%(default)s)")
    add_seeds(parser)
    given = parser.parse_args(arguments)
    digits, out = load_digits(parser, given), output_folder(given)

    names = {"none": {}, **planned("l1"), **planned("l2")}
    runs = train_all(parser, given, {name: {"epochs": given.epochs, **changes} for name, changes in names.items()})
    kinds = {kind: {name: runs[name] for name in ("none", *planned(kind))} for kind in LAMBDAS}
    print(f"{len(digits.images) * 2 // 3:,} digits to train on, {len(digits.test_images):,} to test on")
    for some in kinds.values():
        print(table(some), lowest(some), sep="\n", end="\n\n")
    curves_figure(kinds).savefig(out / "curves.png", dpi=110)
    filters_figure(kinds).savefig(out / "filters.png", dpi=110)
    print(out / "curves.png", out / "filters.png", sep="\n")


if __name__ == "__main__":
    main()
