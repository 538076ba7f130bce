"""How regularisation or, with ``--by optimiser``, the optimiser changes training and the features.

    python examples/regularisation.py --out out/regularisation
    python examples/regularisation.py --by optimiser --out out/optimisers

A small network is trained from the same initial weights on the same 1,000 digits, few enough to overfit: without
regularisation and with each kind that the trainer offers, or with each optimiser.

It prints a table with the loss and accuracy on training and validation digits, the test accuracy with its standard
error, the part of the weights that is almost zero, and the number of channels of conv1, conv2 and fc1 that no test
digit activates. It writes two figures:

- ``curves.png``: training and validation loss per epoch. Where they diverge, the network overfits.
- ``features.png``: one row per run, with the final filters of conv1 and the evolution of one channel of conv2, the same
  in all rows: for each epoch, the test digit that activates it most strongly, above its projection. All runs start from
  the same weights, so differences between rows come from the regularisation or the optimiser.

With ``--root DIR`` (MNIST's training files) you can use more digits: ``--images 15000``. A third of them are held out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from studies import Digits, first_filters, load_digits, output_folder, positive, study_parser, top_units
from torch import Tensor
from tqdm import tqdm

import deconvviz as dv
from deconvviz.models import Evaluation, MnistCNN, TrainingResult, TrainingSettings, evaluate, mnist_cnn, train_mnist
from deconvviz.results.base import as_text

NETWORK: dict[str, Any] = {"channels": (12, 24), "width": 64, "dropout": 0.0}
SETTINGS: dict[str, Any] = {"batch_size": 50, "warm_up": 1.0, "validation": 1 / 3}
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
    "optimiser": {
        "gradient descent": {"optimiser": "gradient-descent", "learning_rate": 0.1},
        "stochastic": {"optimiser": "stochastic", "learning_rate": 0.005},
        "mini-batch": {"optimiser": "mini-batch", "learning_rate": 0.1},
        "momentum": {"optimiser": "momentum", "learning_rate": 0.02},
        "RMSProp": {"optimiser": "rmsprop", "learning_rate": 0.001},
        "Adam": {"optimiser": "adam", "learning_rate": 0.001},
    },
}
EPOCHS_SHOWN = (1, 2, 5, 10, 15)
RECTIFIERS = ("relu1", "relu2", "relu3")  # the output of a layer, after its norm if it has one
WATCHED = 500  # test digits used for the evolution
NEARLY_ZERO = 1e-3


@dataclass(frozen=True)
class Run:
    """A training run. checkpoints: the folder with each epoch's weights. top: a scan of test digits after training."""

    name: str
    model: MnistCNN
    result: TrainingResult
    checkpoints: Path
    test: Evaluation
    top: dv.TopActivations


def train_one(name: str, changes: dict[str, Any], digits: Digits, epochs: int, seed: int, folder: Path) -> Run:
    """Train, evaluate and scan the network with some settings or options changed."""
    options = {**NETWORK, **{key: value for key, value in changes.items() if key in ("dropout", "batch_norm")}}
    chosen = {**SETTINGS, **{key: value for key, value in changes.items() if key not in options}}
    settings = TrainingSettings(epochs=epochs, random_state=seed, **chosen)
    model, result = train_mnist(
        digits.images, digits.labels, settings=settings, checkpoints=folder, progress=False, **options
    )
    top = dv.scan(dv.DeconvNet(model), digits.test_images, layers=RECTIFIERS, k=1, batch_size=250, progress=False)
    return Run(name, model, result, folder, evaluate(model, digits.test_images, digits.test_labels), top)


def table(runs: Sequence[Run]) -> str:
    """One row per run, for the epoch whose weights were kept."""
    rows: list[tuple[str, ...]] = [
        ("run", "epoch", "loss", "held out", "accuracy", "held out", "test accuracy", "weights ~ 0", "dead")
    ]
    for run in runs:
        curves, kept = run.result.curves, run.result.kept_epoch - 1
        losses = (f"{curve[kept]:.3f}" for curve in (curves.train_loss, curves.validation_loss))
        accuracies = (f"{curve[kept]:.1%}" for curve in (curves.train_accuracy, curves.validation_accuracy))
        spread = (run.test.accuracy * (1 - run.test.accuracy) / run.test.count) ** 0.5
        test, zero = f"{run.test.accuracy:.1%} ± {spread:.1%}", f"{nearly_zero(run.model):.0%}"
        rows.append((run.name, str(kept + 1), *losses, *accuracies, test, zero, dead(run)))
    return as_text(rows)


def dead(run: Run) -> str:
    """The numbers of channels of conv1, conv2 and fc1 that no test digit activates, as "0 + 2 + 5"."""
    return " + ".join(str(len(run.top.statistics[layer].dead)) for layer in RECTIFIERS)


def nearly_zero(model: MnistCNN) -> float:
    """The part of the weights of convolutions and linear layers whose absolute value is below `NEARLY_ZERO`."""
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters() if weight.ndim >= 2])
    return float((weights.abs() < NEARLY_ZERO).double().mean())


# Figures


def curves_figure(runs: Sequence[Run]) -> Figure:
    """Draw training and validation loss per epoch, one panel per run, on a common scale."""
    columns = -(-len(runs) // 2)
    figure = Figure(figsize=(2.7 * columns, 5), layout="constrained")
    panels = figure.subplots(2, columns, sharex=True, sharey=True).flatten()
    for panel, run in zip(panels, runs, strict=False):
        curves = run.result.curves
        panel.plot(curves.epochs, curves.train_loss, "-", label="training")
        panel.plot(curves.epochs, curves.validation_loss, "--", label="validation")
        panel.set_title(f"{run.name}: test {run.test.accuracy:.1%}", fontsize=10)
        panel.set_yscale("log")
        panel.grid(alpha=0.3)
    for panel in panels[len(runs) :]:
        panel.axis("off")
    panels[0].legend(loc="upper right")
    figure.supxlabel("epoch")
    figure.supylabel("loss (nats)")
    return figure


def features_figure(runs: Sequence[Run], images: Tensor, last_epoch: int) -> Figure:
    """Draw one row per run: its filters, and the evolution of a channel of conv2 that is active in all runs."""
    channel = shared_channel(runs)
    epochs = [epoch for epoch in EPOCHS_SHOWN if epoch < last_epoch] + [last_epoch]
    figure = Figure(figsize=(11, 1.25 * len(runs) + 0.6), layout="constrained")
    axes = figure.subplots(len(runs), 2 + len(epochs), squeeze=False, width_ratios=[1.5, 4] + [1] * len(epochs))
    for row, run in zip(axes, runs, strict=True):
        said = f"{run.name}\ntest {run.test.accuracy:.1%}\ndead {dead(run)}"
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
    figure.suptitle(f"conv2, channel {channel}: the digit that fires it most, and its projection", fontsize=11, x=0.75)
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
    parser = study_parser(__doc__, "out/regularisation", images=1500)
    parser.add_argument("--by", choices=STUDIES, default="regularisation", help="what the runs differ in (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=20, help="passes over the training images (%(default)s)")
    given = parser.parse_args(arguments)
    digits, out = load_digits(parser, given), output_folder(given)

    with tempfile.TemporaryDirectory() as folder:
        runs = [
            train_one(name, changes, digits, given.epochs, given.seed, Path(folder) / str(number))
            for number, (name, changes) in enumerate(tqdm(STUDIES[given.by].items(), desc="runs", disable=None))
        ]
        print(f"{len(digits.images) * 2 // 3:,} digits to train on, {len(digits.test_images):,} to test on")
        print(table(runs))
        curves_figure(runs).savefig(out / "curves.png", dpi=110)
        features_figure(runs, digits.test_images[:WATCHED], given.epochs).savefig(out / "features.png", dpi=110)
    print(out / "curves.png", out / "features.png", sep="\n")


if __name__ == "__main__":
    main()
