"""Remove layers or change their widths, and train again: how does that change the error and the features?

    python examples/architecture_study.py --out out/architecture

This is Table 3 of Zeiler and Fergus (2013) on digits. It trains the reference network, versions without one or more of
its layers, and narrower and wider ones, each from scratch on the same digits in the same order; all of it three times,
each time with other digits, initial weights and another order.

It prints a table with the number of parameters, the error on training digits and on test digits (means over seeds, with
the smallest and the largest), and the number of channels of each convolution that no test digit activates, per seed.
Below it says which networks have a larger or smaller error than the reference network with every seed. Three seeds
agree by chance alone once in four times, so more are better (``--seeds 5``).

It writes ``features.png`` with one row per network of the first seed: the filters of its first layer and, for the most
active channels of its last convolution (or of fc1 if there is none), the digit that activates the channel most strongly
above its projection. Compare the rows: does a network with a larger error also detect other features?
``features-seed-2.png`` and so on show the other seeds: believe what all of them show.

With MNIST's training files, ``--root DIR --images 60000 --epochs 10`` is the full study.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from runs import add_seeds, beside, over_seeds
from studies import (
    Digits,
    first_filters,
    keyed,
    load_digits,
    of_seed,
    output_folder,
    positive,
    strongest,
    study_parser,
    top_units,
)
from torch import Tensor, nn
from tqdm import tqdm

import deconvviz as dv
from deconvviz.models import TrainingSettings, evaluate, train
from deconvviz.models.mnist import FILTER_SPREAD
from deconvviz.results.base import as_text

NETWORKS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {  # filters of the convolutions, widths of hidden layers
    "the reference network": ((24, 48), (128,)),
    "without fc1": ((24, 48), ()),
    "without conv2": ((24,), (128,)),
    "without conv2 and fc1": ((24,), ()),
    "without convolutions": ((), (128,)),
    "half as many filters": ((12, 24), (128,)),
    "twice as many filters": ((48, 96), (128,)),
    "fc1 four times as wide": ((24, 48), (512,)),
    "one convolution more": ((24, 48, 48), (128,)),
}
FILTERS, UNITS = 12, 8  # channels shown per network


@dataclass(frozen=True)
class Trained:
    """A trained network. top: a scan of its convolutions, or of fc1 if there are none, on test digits."""

    name: str
    net: dv.DeconvNet
    train_error: float
    test_error: float
    top: dv.TopActivations


def network(filters: Sequence[int], hidden: Sequence[int], seed: int) -> nn.Sequential:
    """A variant of the reference network: 7 x 7 filters, then 5 x 5, each followed by ReLU and 2 x 2 pooling.

    Weights are initialised as in the reference network, `deconvviz.models.MnistCNN`. Without convolutions, fc1 sees the
    pixels and is initialised like filters.
    """
    torch.manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, side = 1, 28
    for n, count in enumerate(filters, 1):
        size = 7 if n == 1 else 5
        layers[f"conv{n}"] = nn.Conv2d(channels, count, size, padding=size // 2)
        layers[f"relu{n}"], layers[f"pool{n}"] = nn.ReLU(), nn.MaxPool2d(2)
        channels, side = count, side // 2
    layers["flatten"] = nn.Flatten()
    width = channels * side**2
    for n, count in enumerate(hidden, 1):
        layers[f"fc{n}"], layers[f"hidden{n}"] = nn.Linear(width, count), nn.ReLU()
        width = count
    layers["classes"] = nn.Linear(width, 10)
    model = nn.Sequential(layers)
    for module in model:
        if isinstance(module, nn.Conv2d) or (module is layers.get("fc1") and not filters):
            nn.init.normal_(module.weight, std=FILTER_SPREAD)
        elif isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.zeros_(module.bias)
    return model


def train_one(name: str, digits: Digits, epochs: int, seed: int) -> Trained:
    """Train, evaluate and scan one network of the study."""
    model = network(*NETWORKS[name], seed=seed)
    settings = TrainingSettings(
        epochs=epochs, schedule="cosine", warm_up=0.5, batch_size=64, validation=0.05, random_state=seed
    )
    train(model, digits.images, digits.labels, settings=settings, progress=False)
    net = dv.DeconvNet(model.eval())
    layers = [layer for layer, _ in model.named_children() if layer.startswith("conv")] or ["fc1"]
    return Trained(
        name,
        net,
        1 - evaluate(model, digits.images, digits.labels, progress=False).accuracy,
        1 - evaluate(model, digits.test_images, digits.test_labels, progress=False).accuracy,
        dv.scan(net, digits.test_images, layers=layers, k=1, batch_size=250, progress=False),
    )


def table(found: Mapping[str, Sequence[Trained]]) -> str:
    """One row per network: means over seeds, smallest and largest value."""
    rows: list[tuple[str, ...]] = [("network", "parameters", "train error", "test error", "dead channels")]
    for name, seeds in found.items():
        parameters = sum(parameter.numel() for parameter in seeds[0].net.model.parameters())
        dead = (
            f"{layer} {' / '.join(str(len(one.top.statistics[layer].dead)) for one in seeds)} of {len(facts.fires)}"
            for layer, facts in seeds[0].top.statistics.items()
        )
        errors = (
            over_seeds([one.train_error for one in seeds], ".1%"),
            over_seeds([one.test_error for one in seeds], ".1%"),
        )
        rows.append((name, f"{parameters:,}", *errors, ", ".join(dead)))
    return as_text(rows)


def comparison(found: Sequence[Trained], images: Tensor) -> Figure:
    """Draw one row per network: name and error, filters of the first layer, strongest units of the last convolution."""
    figure, panels = keyed(11.5, 1.15 * len(found) + 0.4)
    axes = panels.subplots(len(found), 3, squeeze=False, width_ratios=[1.4, 2.9, 4])
    for row, one in zip(axes, found, strict=True):
        first, last = one.top.layers[0], one.top.layers[-1]
        filters = first_filters(one.net, first, strongest(one.top, first, FILTERS), columns=FILTERS // 2)
        units = top_units(one.net, one.top, last, strongest(one.top, last, UNITS), images)
        row[0].text(1, 0.5, f"{one.name}\ntest error {one.test_error:.2%}", ha="right", va="center", fontsize=10)
        row[1].imshow(filters.numpy(), interpolation="nearest")
        row[2].imshow(units.numpy(), interpolation="nearest")
        for panel in row:
            panel.axis("off")
    axes[0, 1].set_title("filters of the first layer", fontsize=10)
    axes[0, 2].set_title("last convolution: strongest image of a channel, and its projection", fontsize=10)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__, "out/architecture", images=1500)
    parser.add_argument("--epochs", type=positive, default=5, help="passes over the training images (%(default)s)")
    add_seeds(parser)
    given = parser.parse_args(arguments)
    splits, out = [load_digits(parser, given, number) for number in range(given.seeds)], output_folder(given)

    found: dict[str, list[Trained]] = {name: [] for name in NETWORKS}
    for number, name in tqdm([(number, name) for number in range(given.seeds) for name in NETWORKS], disable=None):
        found[name].append(train_one(name, splits[number], given.epochs, given.seed + number))
    first = splits[0]
    print(f"{len(first.images):,} digits to train on, {given.epochs} epochs, {len(first.test_images):,} to test on")
    print(table(found))
    print(beside(found, "test error", lambda one: one.test_error))
    for number, digits in enumerate(splits):
        path = of_seed(out / "features.png", number)
        comparison([seeds[number] for seeds in found.values()], digits.test_images).savefig(path, dpi=110)
        print(path)


if __name__ == "__main__":
    main()
