"""Verdicts on channels from drawn data: reading, labels, mixed channels, circuits and two networks.

`python -m benchmarks.verdicts` counts how often they claim something.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

import deconvviz as dv
from benchmarks.pictures_without_a_gap import GAPLESS, called_mixed, of_two_things
from deconvviz.mining.label_scores import channel_labels
from deconvviz.mining.labelled_maxima import LabelledMaxima
from deconvviz.results import Circuit, ReadingTest
from deconvviz.results.circuit import CircuitFeeder, CircuitUnit

Draw = Callable[[np.random.Generator, int], str]

QUESTIONS = 10  # per channel
SPREAD = 0.12  # of the true scores of channels
CONDITIONS = ("patches", "deconvnet", "guided", "gradient", "another channel")
UNITS = 40  # of a channel
LABELS, CHANNELS = 10, 24
REMOVED = (1, 2, 4, 8)  # feeders of a circuit
CANDIDATES = 24


def reads(above_chance: float, above_patches: float = 0.0, of_its_own: float = 0.0) -> Draw:
    """A test of reading with so many channels.

    Args:
        above_chance: By how much deconvnet pictures score more than 0.5.
        above_patches: By how much more than patches.
        of_its_own: By how much patches score more than those of another channel.
    """
    deconvnet = 0.5 + above_chance
    patches = deconvnet - above_patches
    means = dict.fromkeys(CONDITIONS, patches) | {"deconvnet": deconvnet, "another channel": patches - of_its_own}

    def draw(random: np.random.Generator, count: int) -> str:
        moved = random.uniform(-1, 1, count) * min(SPREAD, *(abs(mean - 0.5) for mean in means.values()))
        scores = np.stack([mean + moved for mean in means.values()])
        right = random.random((len(means), count, QUESTIONS)) < np.clip(scores, 0, 1)[..., None]
        return _reading(torch.from_numpy(right.astype(float))).verdict

    return draw


def _reading(right: Tensor) -> ReadingTest:
    count = right.shape[1]
    return ReadingTest(
        style="deconvnet",
        layer="drawn",
        channels=tuple(range(count)),
        untested=(),
        conditions=CONDITIONS,
        signed=(),
        right={"drawn": right},
        images=torch.zeros(count, QUESTIONS, 2, dtype=torch.long),
        activations=torch.zeros(count, QUESTIONS, 2),
        contrasts=torch.zeros(count, QUESTIONS, 2),
        mining=0,
        held_out=0,
        strongest=0,
        examples=(),
    )


def labelled(area: float) -> Draw:
    """24 channels and ten labels, each on twice so many images: the first channel tells the first label by an area."""

    def draw(random: np.random.Generator, count: int) -> str:
        labels = torch.arange(LABELS).repeat(2 * count)
        maxima = torch.from_numpy(random.normal(size=(len(labels), CHANNELS)))
        maxima[labels == 0, 0] += math.sqrt(2) * stats.norm.ppf(area)
        found = LabelledMaxima(torch.arange(len(labels)), labels, {"drawn": maxima.float()})
        return channel_labels(found, [], torch.device("cpu"))["drawn"].verdict

    return draw


def mixed(distance: float) -> Draw:
    """Pictures of one thing without a gap, or of two that are `distance` times as far apart as noise is long."""

    def draw(random: np.random.Generator, count: int) -> str:
        kinds = list(GAPLESS.values())
        drawn = of_two_things(math.sqrt(2) / distance) if distance else kinds[random.integers(len(kinds))]
        return "two things" if called_mixed(drawn(random, count)) else "not shown"

    return draw


def confirmed(effect: float) -> Draw:
    """A circuit: without its first feeders a channel loses more by `effect` than without random ones."""

    def draw(random: np.random.Generator, count: int) -> str:
        image = random.normal(0.3, 0.1, (count, 1))
        lost = [torch.from_numpy(image + more + random.normal(0, 0.1, (count, len(REMOVED)))) for more in (effect, 0)]
        feeder = CircuitFeeder(layer="below", channel=0, shares=torch.ones(count), lost=torch.ones(count))
        unit = CircuitUnit(
            layer="drawn",
            channel=0,
            followed=True,
            activations=torch.ones(count),
            feeders=(feeder,),
            biases=torch.zeros(count),
            candidates=CANDIDATES,
            counts=REMOVED,
            lost_first=lost[0],
            lost_random=lost[1],
            patches=torch.zeros(0, 1, 1, 1),
            projections=torch.zeros(0, 1, 1, 1),
            names=(),
        )
        return Circuit(units=(unit,), style="deconvnet", sources=("below",), images=2 * count, draws=1).verdict

    return draw


def compared(likeness: float) -> Draw:
    """Two networks with random weights, whose filters in the compared layer correlate by `likeness`."""

    def draw(random: np.random.Generator, count: int) -> str:
        with torch.random.fork_rng():
            torch.manual_seed(int(random.integers(2**31)))
            images = torch.randn(count, 1, 10, 10)
            first, other = _small(), _small()
            if likeness:
                own = copy.deepcopy(first)
                weight, noise = own[2].weight.data, other[2].weight.data
                own[2].weight.data = likeness * weight + math.sqrt(1 - likeness**2) * noise
                other = own
            nets = dv.DeconvNet(first), dv.DeconvNet(other)
            return dv.diff(*nets, images, layers="2", pictures=0, progress=False).overall

    return draw


def _small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3)).eval()
