"""How regularisation or, with ``--by optimiser``, the optimiser changes training and the features.

    python examples/regularisation.py --out out/regularisation
    python examples/regularisation.py --by optimiser --out out/optimisers

A small network is trained on 800 digits, few enough to overfit: without regularisation and with each kind that the
trainer offers, or with each optimiser. Everything is repeated with three seeds, each with its own digits and initial
weights, which are the same for all runs of a seed.

It prints a table with the loss on training and validation digits, the test accuracy (means over seeds, smallest and
largest value), the part of the weights that is almost zero, how similar the filters of conv1 stay to their initial
weights (correlation), and the number of channels of conv1, conv2 and fc1 that no test digit activates, per seed. Below
it says what all seeds show. Three seeds agree by chance alone once in four times, so more are better (``--seeds 5``).

It writes figures:

- ``curves.png``: training and validation loss per epoch, a line per seed. Where they diverge, the network overfits.
- ``features.png``: one row per run of the first seed, with the final filters of conv1 and the evolution of one channel
  of conv2, the same in all rows: for each epoch, the test digit that activates it most strongly, above its projection.
  All rows start from the same weights, so differences between them come from the regularisation or the optimiser.
  ``features-seed-2.png`` and so on show the other seeds: believe what all of them show.

With ``--root DIR`` (MNIST's training files) you can use more digits: ``--images 15000``. A third of them are held out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from runs import OPTIMISERS, Run, Runs, add_seeds, beside, over_seeds, train_all
from studies import first_filters, keyed, load_digits, of_seed, output_folder, positive, study_parser, top_units
from torch import Tensor

import deconvviz as dv
from deconvviz.figures.marks import line
from deconvviz.models import mnist_cnn
from deconvviz.results.base import as_text

STUDIES: dict[str, dict[str, dict[str, Any]]] = {  # what each run changes; values were tuned on the validation loss
    "regularisation": {
        "none": {},
        "L1 penalty": {"l1": 1e-3},
        "L2 penalty": {"l2": 5e-3},
        "dropout": {"dropout": 0.5},
        "batch norm": {"batch_norm": True},
        "augmentation": {"rotation": 10.0, "translation": 2},
        "early stopping": {"patience": 5},
    },
    "optimiser": OPTIMISERS,
}
EPOCHS_SHOWN = (1, 2, 4, 7, 10)
WATCHED = 500  # test digits used for the evolution


def table(runs: Runs) -> str:
    """One row per run, for the epoch whose weights were kept: means over seeds, smallest and largest value."""
    rows: list[tuple[str, ...]] = [
        ("run", "epoch", "loss", "held-out loss", "test accuracy", "weights ~ 0", "like start", "dead")
    ]
    for name, some in runs.items():
        epochs = sorted({str(run.result.kept_epoch) for run in some}, key=int)
        accuracies = over_seeds([run.test.accuracy for run in some], ".1%")
        losses = (over_seeds([run.train_loss for run in some]), over_seeds([run.held_out_loss for run in some]))
        zero = f"{sum(run.nearly_zero for run in some) / len(some):.0%}"
        alike = f"{sum(run.like_start for run in some) / len(some):.2f}"
        rows.append((name, ", ".join(epochs), *losses, accuracies, zero, alike, " / ".join(map(dead, some))))
    return as_text(rows)


def dead(run: Run) -> str:
    """The numbers of dead channels of conv1, conv2 and fc1, as "0 + 2 + 5"."""
    return " + ".join(map(str, run.dead))


# Figures


def curves_figure(runs: Runs) -> Figure:
    """Draw training and validation loss per epoch, a panel for each kind of run and lines for its seeds."""
    columns = -(-len(runs) // 2)
    figure = Figure(figsize=(2.7 * columns, 5), layout="constrained")
    panels = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel, (name, some) in zip(panels, runs.items(), strict=False):
        for number, run in enumerate(some):
            curves, shown = run.result.curves, not number
            for place, (what, losses) in enumerate(
                (("training", curves.train_loss), ("validation", curves.validation_loss))
            ):
                label = what if shown else None
                panel.plot(curves.epochs, losses, **line(place, marked=False), lw=1, label=label)
        panel.set_title(f"{name}: test {sum(run.test.accuracy for run in some) / len(some):.1%}", fontsize=10)
        panel.set_yscale("log")
        panel.grid(alpha=0.3)
    for panel in panels[len(runs) :]:
        panel.axis("off")
    panels[0].legend(loc="upper right")
    figure.supxlabel("epoch")
    figure.supylabel("loss (nats)")
    return figure


def features_figure(runs: dict[str, Run], images: Tensor, last_epoch: int) -> Figure:
    """Draw one row per run: its filters, and the evolution of a channel of conv2 that is active in all runs."""
    channel = shared_channel(list(runs.values()))
    epochs = [epoch for epoch in EPOCHS_SHOWN if epoch < last_epoch] + [last_epoch]
    figure, panels = keyed(11, 1.25 * len(runs) + 0.6)
    axes = panels.subplots(len(runs), 2 + len(epochs), squeeze=False, width_ratios=[1.5, 4] + [1] * len(epochs))
    for row, (name, run) in zip(axes, runs.items(), strict=True):
        said = f"{name}\ntest {run.test.accuracy:.1%}\ndead {dead(run)}"
        row[0].text(1, 0.5, said, ha="right", va="center", fontsize=9)
        filters = first_filters(dv.DeconvNet(run.model), "conv1", range(len(run.model.conv1.weight)), columns=6)
        row[1].imshow(filters.numpy(), interpolation="nearest")
        for panel, epoch in zip(row[2:], epochs, strict=True):
            weights = run.checkpoints / f"epoch-{epoch:03d}.safetensors"
            if weights.exists():
                panel.imshow(evolved(weights, channel, images).numpy(), interpolation="nearest")
        for panel in row:
            panel.axis("off")
    axes[0, 1].set_title("filters of conv1", fontsize=10)
    for panel, epoch in zip(axes[0, 2:], epochs, strict=True):
        panel.set_title(f"epoch {epoch}", fontsize=10)
    panels.suptitle(f"conv2, channel {channel}: the digit that fires it most, and its projection", fontsize=11, x=0.75)
    return figure


def shared_channel(runs: Sequence[Run]) -> int:
    """The channel of conv2 whose lowest relative activation over all runs is the highest."""
    maxima = torch.stack([run.top.statistics["relu2"].maximum for run in runs])
    return int((maxima / maxima.amax(1, keepdim=True)).amin(0).argmax())


def evolved(weights: Path, channel: int, images: Tensor) -> Tensor:
    """The image that activates the channel most strongly with a checkpoint's weights, above its projection."""
    net = dv.DeconvNet(mnist_cnn(weights=weights))
    top = dv.scan(net, images, layers="relu2", k=1, batch_size=250, progress=False)
    return top_units(net, top, "relu2", [channel], images)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__, "out/regularisation", images=1200)
    parser.add_argument("--by", choices=STUDIES, default="regularisation", help="what the runs differ in (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=15, help="passes over the training images (%(default)s)")
    add_seeds(parser)
    given = parser.parse_args(arguments)
    digits, out = load_digits(parser, given), output_folder(given)

    planned = {name: {"epochs": given.epochs, **changes} for name, changes in STUDIES[given.by].items()}
    with tempfile.TemporaryDirectory() as folder:
        runs = train_all(parser, given, planned, Path(folder))
        print(f"{len(digits.images) * 2 // 3:,} digits to train on, {len(digits.test_images):,} to test on")
        print(table(runs))
        print(beside(runs, "held-out loss", lambda run: run.held_out_loss))
        print(beside(runs, "test accuracy", lambda run: run.test.accuracy))
        curves_figure(runs).savefig(out / "curves.png", dpi=110)
        features = [of_seed(out / "features.png", number) for number in range(given.seeds)]
        for number, path in enumerate(features):
            of_one = {name: some[number] for name, some in runs.items()}
            watched = load_digits(parser, given, number).test_images[:WATCHED]
            features_figure(of_one, watched, given.epochs).savefig(path, dpi=110)
    print(out / "curves.png", *features, sep="\n")


if __name__ == "__main__":
    main()
