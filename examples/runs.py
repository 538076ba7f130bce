"""Shared parts of the studies that train one small network many times: a run, its measures, and what all seeds show.

Every run is repeated with several seeds. Each seed has its own split of the digits, initial weights and order of
training; all runs of one seed share them, so that runs are compared in pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from studies import Digits, load_digits, positive
from tqdm import tqdm

import deconvviz as dv
from deconvviz.models import Evaluation, MnistCNN, TrainingResult, TrainingSettings, evaluate, initialised, train_mnist
from deconvviz.results.words import listing

NETWORK: dict[str, Any] = {"channels": (12, 24), "width": 64, "dropout": 0.0}
SETTINGS: dict[str, Any] = {"batch_size": 50, "warm_up": 1.0, "validation": 1 / 3}
OPTIMISERS: dict[str, dict[str, Any]] = {  # with learning rates that were found by trial
    "gradient descent": {"optimiser": "gradient-descent", "learning_rate": 0.1},
    "stochastic": {"optimiser": "stochastic", "learning_rate": 0.005},
    "mini-batch": {"optimiser": "mini-batch", "learning_rate": 0.1},
    "momentum": {"optimiser": "momentum", "learning_rate": 0.02},
    "RMSProp": {"optimiser": "rmsprop", "learning_rate": 0.001},
    "Adam": {"optimiser": "adam", "learning_rate": 0.001},
}
RECTIFIERS = ("relu1", "relu2", "relu3")  # the output of a layer, after its norm if it has one
NEARLY_ZERO = 1e-3


@dataclass(frozen=True)
class Run:
    """A training run. test: loss and accuracy on test digits. top: a scan of them after training.

    checkpoints: the folder with each epoch's weights, or None. like_start: the correlation of conv1's filters with
    their initial weights.
    """

    model: MnistCNN
    result: TrainingResult
    checkpoints: Path | None
    test: Evaluation
    top: dv.TopActivations
    like_start: float

    @property
    def held_out_loss(self) -> float:
        """In the epoch whose weights were kept."""
        return self.result.curves.validation_loss[self.result.kept_epoch - 1]

    @property
    def train_loss(self) -> float:
        return self.result.curves.train_loss[self.result.kept_epoch - 1]

    @property
    def dead(self) -> tuple[int, ...]:
        """The numbers of channels of conv1, conv2 and fc1 that no test digit activates."""
        return tuple(len(self.top.statistics[layer].dead) for layer in RECTIFIERS)

    @property
    def nearly_zero(self) -> float:
        """The part of the weights of convolutions and linear layers whose absolute value is below `NEARLY_ZERO`."""
        parameters = self.model.parameters()
        weights = torch.cat([weight.detach().flatten() for weight in parameters if weight.ndim >= 2])
        return float((weights.abs() < NEARLY_ZERO).double().mean())


Runs = dict[str, list[Run]]  # by their names, one per seed


def train_one(changes: Mapping[str, Any], digits: Digits, seed: int, folder: Path | None = None) -> Run:
    """Train, evaluate and scan the network with some settings or options changed."""
    options = {**NETWORK, **{key: value for key, value in changes.items() if key in ("dropout", "batch_norm")}}
    chosen = {**SETTINGS, **{key: value for key, value in changes.items() if key not in options}}
    settings = TrainingSettings(random_state=seed, **chosen)
    model, result = train_mnist(
        digits.images, digits.labels, settings=settings, checkpoints=folder, progress=False, **options
    )
    top = dv.scan(dv.DeconvNet(model), digits.test_images, layers=RECTIFIERS, k=1, batch_size=250, progress=False)
    test = evaluate(model, digits.test_images, digits.test_labels, progress=False)
    filters = (each.conv1.weight.detach().flatten() for each in (model, initialised(seed, **options)))
    alike = float(torch.corrcoef(torch.stack(list(filters)))[0, 1])
    return Run(model, result, folder, test, top, alike)


def train_all(
    parser: argparse.ArgumentParser,
    given: argparse.Namespace,
    planned: Mapping[str, Mapping[str, Any]],
    folder: Path | None = None,
) -> Runs:
    """Train every planned run with every seed. folder: for checkpoints, in folders by the seed's number and the run."""
    splits = [load_digits(parser, given, number) for number in range(given.seeds)]  # before any training
    runs: Runs = {name: [] for name in planned}
    every = [(number, name) for number in range(given.seeds) for name in planned]
    for number, name in tqdm(every, desc="runs", disable=None):
        own = folder / str(number) / name if folder else None
        runs[name].append(train_one(planned[name], splits[number], given.seed + number, own))
    return runs


def add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=positive, default=3, help="runs of each kind, from --seed on (%(default)s)")


def over_seeds(values: Sequence[float], form: str = ".3f") -> str:
    """The mean of some runs, with the smallest and the largest.

    >>> over_seeds([0.94, 0.95, 0.96], ".1%")
    '95.0% (94.0% to 96.0%)'
    """
    mean, ends = sum(values) / len(values), (min(values), max(values))
    return f"{mean:{form}} ({ends[0]:{form}} to {ends[1]:{form}})" if len(values) > 1 else f"{mean:{form}}"


def beside(
    runs: Mapping[str, Sequence[Any]], what: str, measure: Callable[[Any], float], first: str | None = None
) -> str:
    """Which runs have a higher or lower value than the first one with every seed, and which do not.

    >>> class Some:
    ...     def __init__(self, value): self.value = value
    >>> made = {"none": [Some(1), Some(2)], "a": [Some(0), Some(1)], "b": [Some(0), Some(3)]}
    >>> beside(made, "loss", lambda run: run.value)
    'loss beside none: lower with both seeds: a; not the same with both seeds: b'
    """
    first = first or next(iter(runs))
    base = [measure(run) for run in runs[first]]
    found: dict[str, list[str]] = {"higher": [], "lower": [], "not the same": []}
    for name, some in runs.items():
        if name != first:
            signs = {(value > other) - (value < other) for value, other in zip(map(measure, some), base, strict=True)}
            found["higher" if signs == {1} else "lower" if signs == {-1} else "not the same"].append(name)
    seeds = {1: "the one seed", 2: "both seeds"}.get(len(base), f"all {len(base)} seeds")
    said = [f"{how} with {seeds}: {listing(names)}" for how, names in found.items() if names]
    return f"{what} beside {first}: {'; '.join(said)}"
