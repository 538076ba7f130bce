"""How fast training converges: with which loss, with which optimiser, and what early stopping costs.

    python examples/training_time.py --by loss
    python examples/training_time.py --by optimiser
    python examples/training_time.py --by stopping

The network of regularisation.py, three seeds each with its own digits and initial weights. It prints tables (means over
seeds, smallest and largest value) and what all seeds show, and writes a figure with the held-out accuracy.

loss: Cross-entropy and the mean squared error of the softmax, with Adam and with plain mini-batches. Gradients of the
squared error are smaller, so mini-batches are also tried with a step ten times as large. The table says after how many
epochs 90 % of the held-out digits are right.

optimiser: The six optimisers, once for equally many epochs, in which they make very different numbers of steps (one,
or one per image), and once for equally many steps, in which they see very different numbers of images.

stopping: All epochs, early stopping with a patience of five, and as many epochs as early stopping kept, but trained on
the held-out digits, too, which early stopping needs for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure
from runs import OPTIMISERS, SETTINGS, Run, Runs, add_seeds, beside, over_seeds, train_all, train_one
from studies import Digits, load_digits, output_folder, positive, study_parser

from deconvviz.figures.marks import SMALL, line
from deconvviz.results.base import as_text

REACHED = 0.9  # held-out accuracy whose first epoch is reported
LOSSES: dict[str, dict[str, Any]] = {
    "cross-entropy, Adam": {"loss": "cross-entropy"},
    "squared error, Adam": {"loss": "mse"},
    "cross-entropy, mini-batch": {"loss": "cross-entropy", "optimiser": "mini-batch", "learning_rate": 0.1},
    "squared error, mini-batch": {"loss": "mse", "optimiser": "mini-batch", "learning_rate": 0.1},
    "squared error, steps of 1": {"loss": "mse", "optimiser": "mini-batch", "learning_rate": 1.0},
}
PATIENCE = 5


def first_epoch(run: Run) -> int | None:
    """The first epoch after which at least 90 % of the held-out digits are right; None if there is none."""
    accuracy = run.result.curves.validation_accuracy
    return next((epoch for epoch, value in enumerate(accuracy, 1) if value >= REACHED), None)


def loss_table(runs: Runs) -> str:
    rows: list[tuple[str, ...]] = [("run", f"epochs to {REACHED:.0%} held out", "test accuracy", "cross-entropy")]
    for name, some in runs.items():
        epochs = ", ".join(str(first_epoch(run) or "never") for run in some)
        accuracy = over_seeds([run.test.accuracy for run in some], ".1%")
        rows.append((name, epochs, accuracy, over_seeds([run.test.loss for run in some])))
    return as_text(rows)


def by_loss(parser: Any, given: Any) -> tuple[str, Runs]:
    runs = train_all(parser, given, {name: {"epochs": given.epochs, **changes} for name, changes in LOSSES.items()})
    adam, batches = list(LOSSES)[:2], list(LOSSES)[2:]
    said = [
        beside({name: runs[name] for name in some}, f"epochs to {REACHED:.0%}", lambda run: first_epoch(run) or 1e9)
        for some in (adam, batches)
    ]
    return "\n".join([loss_table(runs), *said]), runs


# Optimisers


def steps_per_epoch(changes: dict[str, Any], count: int) -> int:
    """How many steps an optimiser makes in an epoch of `count` training images."""
    sizes = {"gradient-descent": count, "stochastic": 1}
    return -(-count // sizes.get(changes["optimiser"], SETTINGS["batch_size"]))


def for_steps(changes: dict[str, Any], digits: Digits, steps: int) -> tuple[dict[str, Any], Digits]:
    """The settings and digits with which an optimiser makes `steps` steps; fewer digits if an epoch has more steps."""
    count = len(digits.images) - round(len(digits.images) * SETTINGS["validation"])
    epochs = round(steps / steps_per_epoch(changes, count))
    if epochs:
        return {**changes, "epochs": epochs, "warm_up": epochs / 10}, digits
    fewer = replace(digits, images=digits.images[: steps + 1], labels=digits.labels[: steps + 1])
    return {**changes, "epochs": 1, "warm_up": 0.1, "validation": 0.5 / (steps + 1)}, fewer


def by_optimiser(parser: Any, given: Any) -> tuple[str, Runs]:
    equal = {
        name: {**changes, "epochs": given.epochs, "warm_up": given.epochs / 10} for name, changes in OPTIMISERS.items()
    }
    runs, stepped = train_all(parser, given, equal), {name: [] for name in OPTIMISERS}
    for number in range(given.seeds):
        digits = load_digits(parser, given, number)
        for name, changes in OPTIMISERS.items():
            stepped[name].append(train_one(*for_steps(changes, digits, given.steps), given.seed + number))
    count = len(digits.images) - round(len(digits.images) * SETTINGS["validation"])
    rows: list[tuple[str, ...]] = [
        ("run", "steps", f"after {given.epochs} epochs", "images seen", f"after {given.steps} steps")
    ]
    for name, changes in OPTIMISERS.items():
        per_epoch = steps_per_epoch(changes, count)
        shown = (over_seeds([run.test.accuracy for run in some[name]], ".1%") for some in (runs, stepped))
        seen = given.steps * count // per_epoch
        rows.append((name, f"{given.epochs * per_epoch:,}", next(shown), f"{seen:,}", next(shown)))
    said = [
        beside(some, f"test accuracy after {when}", lambda run: run.test.accuracy, "Adam")
        for some, when in ((runs, f"{given.epochs} epochs"), (stepped, f"{given.steps} steps"))
    ]
    return "\n".join([as_text(rows), *said]), runs


# Early stopping


def by_stopping(parser: Any, given: Any) -> tuple[str, Runs]:
    every = {"epochs": given.epochs}
    runs = train_all(parser, given, {"all epochs": every, "early stopping": {**every, "patience": PATIENCE}})
    runs["as many, on all digits"] = []
    for number, stopped in enumerate(runs["early stopping"]):
        digits = load_digits(parser, given, number)
        changes = {"epochs": stopped.result.kept_epoch, "validation": 0.5 / len(digits.images)}  # one image
        runs["as many, on all digits"].append(train_one(changes, digits, given.seed + number))
    rows: list[tuple[str, ...]] = [("run", "epochs run", "epoch kept", "test loss", "test accuracy")]
    for name, some in runs.items():
        ran = ", ".join(str(len(run.result.curves.epochs)) for run in some)
        kept = ", ".join(str(run.result.kept_epoch) for run in some)
        losses, accuracies = [run.test.loss for run in some], [run.test.accuracy for run in some]
        rows.append((name, ran, kept, over_seeds(losses), over_seeds(accuracies, ".1%")))
    loss = beside(runs, "test loss", lambda run: run.test.loss, "early stopping")
    accuracy = beside(runs, "test accuracy", lambda run: run.test.accuracy, "early stopping")
    return "\n".join([as_text(rows), loss, accuracy]), runs


STUDIES = {"loss": by_loss, "optimiser": by_optimiser, "stopping": by_stopping}


def figure_of(runs: Runs) -> Figure:
    """Draw the held-out accuracy by epoch, colour and dashes for each kind of run and a line for each seed."""
    figure = Figure(figsize=(7, 4.9), layout="constrained")
    axes = figure.subplots()
    for number, (name, some) in enumerate(runs.items()):
        for seed, run in enumerate(some):
            curves = run.result.curves
            label = None if seed else name
            style = line(number, marked=False)
            axes.plot(curves.epochs, curves.validation_accuracy, **style, lw=1.2, label=label)
    axes.axhline(REACHED, color="black", linestyle=":", lw=1)
    axes.set(xlabel="epoch", ylabel="accuracy on held-out digits", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL, handlelength=4)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__, "out/training", images=1200)
    parser.add_argument("--by", choices=STUDIES, default="loss", help="what the runs differ in (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=15, help="passes over the training images (%(default)s)")
    parser.add_argument("--steps", type=positive, default=60, help="for equally many steps (%(default)s)")
    add_seeds(parser)
    given = parser.parse_args(arguments)
    out = output_folder(given)
    said, runs = STUDIES[given.by](parser, given)
    print(said)
    if given.by == "stopping":  # the last kind holds out a single digit
        runs = dict(list(runs.items())[:-1])
    figure_of(runs).savefig(out / f"{given.by}.png", dpi=110)
    print(out / f"{given.by}.png")


if __name__ == "__main__":
    main()
