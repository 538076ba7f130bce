"""How often intervals hold the truth and verdicts are wrong, by simulation.

    python -m benchmarks.verdicts [--repeats 1000] [--images 8 16 50]
    python -m benchmarks.verdicts --intervals     only intervals: how often they hold the truth

Scores are drawn, not measured, so that the truth is known: exchangeable pictures, random rankings, hits at the rate of
chance, training runs without an order. Sizes of effects are those that docs/evidence.md reports of the reference
network (conv2 by deconvnet; the smallest of the pointing game); their spread is wider. For evolution there is no
measured effect: each layer is a tenth of a checkpoint later than the one below it.

Of each verdict and number of images: how often it claims something where there is nothing, how often where there is the
effect, and the smallest effect that it finds in 80 % of the cases. With 1,000 repeats the standard error of a rate of
0.05 is 0.007, and that of a coverage by 4,000 repeats 0.003.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import intervals
from benchmarks.verdicts_of_channels import compared, confirmed, labelled, mixed, reads
from deconvviz.evidence import clarity, deletion_verdict, localisation, randomisation, selectivity
from deconvviz.evidence.floor import Controls
from deconvviz.experiments._settling import Settling
from deconvviz.experiments._settling import verdict_of as settling_verdict

Draw = Callable[[np.random.Generator, int], str]  # a verdict on so many images
Claims = Callable[[str], bool]


def _module(function: object) -> dict[str, Callable[..., str]]:
    """The functions of the module that defines a measure; the measure has the module's name."""
    found: dict[str, Callable[..., str]] = inspect.unwrap(function).__globals__
    return found


def ranked(effect: float) -> Draw:
    """Deletion by one method: areas that lie above those of chance and the baselines by `effect`."""

    def draw(random: np.random.Generator, count: int) -> str:
        image = random.normal(0.4, 0.15, count)  # what the image and the unit do to every ranking
        names = ("random", "edges", "brightness", "centre")
        areas = {name: torch.from_numpy(image + random.normal(0, 0.15, count)) for name in names}
        areas["mine"] = torch.from_numpy(image + effect + random.normal(0, 0.15, count))
        return deletion_verdict.verdict_of(areas, {}, ["mine"])

    return draw


def kept(effect: float) -> Draw:
    """Randomisation: cosines with the trained picture that lie above the floor by `effect`, three seeds."""

    def draw(random: np.random.Generator, count: int) -> str:
        cosines = np.clip(random.normal(0.1 + effect, 0.15, (3, count)), -1, 1)
        floor = np.clip(random.normal(0.1, 0.15, count), -1, 1)
        verdict = _module(randomisation)["_verdict"]
        return verdict({"mine": torch.from_numpy(cosines)}, {"mine": torch.from_numpy(floor)}, "cascading")

    return draw


def alike(effect: float) -> Draw:
    """Selectivity: pictures of different units on one image whose cosine lies above the floor by `effect`."""

    def draw(random: np.random.Generator, count: int) -> str:
        cosines = torch.from_numpy(np.clip(random.normal(0.1, 0.15, (3, count)), -1, 1))
        cosines[0] = (cosines[0] + effect).clamp(max=1)
        return _module(selectivity)["_verdict"]({"mine": Controls(*cosines)}, {"mine": 0}, 15 * count, 0)

    return draw


def pointed(share: float) -> Draw:
    """Localisation: hits at a rate of `share`, where chance hits at 0.11."""

    def draw(random: np.random.Generator, count: int) -> str:
        hits = {"mine": share, "random": 0.11, "edges": 0.11, "brightness": 0.11, "centre": 0.11}
        drawn = {name: torch.from_numpy((random.random(count) < rate).astype(float)) for name, rate in hits.items()}
        return _module(localisation)["_verdict"](drawn, 0.11)

    return draw


def clear(effect: float) -> Draw:
    """Clarity: correlations of two layers of a network that differs from five draws of random weights by `effect`."""

    def draw(random: np.random.Generator, count: int) -> str:
        networks = np.clip(random.normal([[0.6 - effect], *[[0.6]] * 5], 0.03), 0, 1)  # one value per network
        both = torch.from_numpy(np.clip(networks[:, None] + random.normal(0, 0.05, (6, 2, count)), 0.01, 1))
        return _module(clarity)["_verdict"](["conv1", "conv2"], both[0], both[1:])

    return draw


def settling(effect: float) -> Draw:
    """Evolution: three runs of four layers, each layer later than the one below it by `effect` of a checkpoint."""

    def draw(random: np.random.Generator, count: int) -> str:
        return settling_verdict({f"conv{n}": 1.0 for n in range(4)}, [_run(random, effect) for _ in range(3)])

    return draw


def _run(random: np.random.Generator, effect: float) -> Settling:
    times: list[Tensor] = [torch.tensor([[1.0, 0.5, 0.0]])] * 4
    left = (0.5 + effect * np.arange(4) + random.normal(0, 0.05, 4)).clip(0.05, 0.95)
    alone = {f"conv{n}": torch.tensor([[1.0, left[n], 0.0]]) for n in range(4)}
    return Settling((0.0, 1.0, 2.0), alone, {f"conv{n}": each for n, each in enumerate(times)})


class Simulated(NamedTuple):
    """A verdict that is simulated.

    Attributes:
        drawn: The verdict on drawn scores, from an effect.
        nothing: The effect where there is nothing to claim.
        documented: The effect that docs/evidence.md reports.
        claims: Whether a verdict claims something.
        most: The largest effect there is; NaN for twice the documented one.
        counts: Numbers of what is drawn, if these are no images.
        takes: How much longer than another verdict, for which it is repeated less often.
    """

    drawn: Callable[[float], Draw]
    nothing: float
    documented: float
    claims: Claims
    most: float = math.nan
    counts: tuple[int, ...] = ()
    takes: int = 1


VERDICTS: dict[str, Simulated] = {
    "deletion: finds pixels, or baselines differ": Simulated(
        ranked, 0.0, 0.31, lambda said: any(words in said for words in ("finds pixels", "worse than chance"))
    ),
    "randomisation: depends partly or weakly": Simulated(
        kept, 0.0, 0.31, lambda said: "partly" in said or "weakly" in said
    ),
    "selectivity: shows something of the image or of the unit": Simulated(
        alike, 0.0, 0.27, lambda said: "is not shown to have more of the image or of the unit" not in said
    ),
    "localisation: above or below chance": Simulated(
        pointed, 0.11, 0.93, lambda said: "which chance would do, too" not in said, most=1.0
    ),
    "clarity: clearer or less clear than the layer below, or than random weights": Simulated(
        clear, 0.0, 0.32, lambda said: "shows no more of the image" not in said or "about as clear" not in said
    ),
    "evolution: lower or upper layers first": Simulated(
        settling, 0.0, 0.1, lambda said: "in all 3 training runs" in said, counts=(0,)
    ),
    "reading: above chance (channels)": Simulated(
        reads, 0.0, 0.43, lambda said: "not above chance" not in said, most=0.5, takes=2
    ),
    "reading: more or less than patches (channels)": Simulated(
        functools.partial(reads, 0.4),
        0.0,
        0.12,
        lambda said: "no difference from" not in said,
        most=0.4,
        counts=(8, 16, 24, 50),
        takes=2,
    ),
    "reading: more than another channel's (channels)": Simulated(
        functools.partial(reads, 0.4, 0.0),
        0.0,
        0.35,
        lambda said: "own patches score more than another channel's (" in said,
        most=0.4,
        takes=2,
    ),
    "labels: one fits one of 24 channels (images with each in a half)": Simulated(
        labelled, 0.5, 0.89, lambda said: "No label fits" not in said, most=0.999, takes=2
    ),
    "mixed: two things (units)": Simulated(
        mixed, 0.0, 2.0, lambda said: said == "two things", most=8.0, counts=(24, 40), takes=4
    ),
    "circuit: removal confirms the ranking": Simulated(confirmed, 0.0, 0.41, lambda said: "removal confirms" in said),
    "diff: a channel has a counterpart": Simulated(
        compared, 0.0, 1.0, lambda said: "No channel" not in said, most=1.0, takes=10
    ),
}
POWER = 0.8
HALVINGS = 7  # of the range in which the smallest effect lies


def rate(draw: Draw, claims: Claims, count: int, repeats: int, seed: int = 0) -> float:
    """How often a verdict on `count` images claims something."""
    random = np.random.default_rng(seed)
    return sum(claims(draw(random, count)) for _ in range(repeats)) / repeats


def smallest_effect(verdict: Simulated, count: int, repeats: int) -> float:
    """The smallest effect that a verdict on `count` images finds in 80 % of the cases; NaN for none up to twice that
    of the documentation."""
    low = verdict.nothing
    high = 2 * verdict.documented - low if math.isnan(verdict.most) else verdict.most
    if rate(verdict.drawn(high), verdict.claims, count, repeats) < POWER:
        return float("nan")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = rate(verdict.drawn(middle), verdict.claims, count, repeats) >= POWER
        low, high = (low, middle) if found else (middle, high)
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="verdicts of each kind (%(default)s)")
    parser.add_argument("--images", type=int, nargs="+", default=[8, 16, 50], help="numbers of images (8 16 50)")
    parser.add_argument("--intervals", action="store_true", help="only intervals")
    given = parser.parse_args()
    print("interval | data (*: helped to choose no constant) | coverage with", *given.images, "values", sep=" ")
    means, single = [], []
    for row in intervals.rows(given.images, 4 * given.repeats):
        print(*row.told(), sep=" | ", flush=True)
        means += [each for each in row.means() if not math.isnan(each)]
        single += [each for values in row.coverage for each in values if not math.isnan(each)]
    for name, found in (("averages over true values", means), ("numbers for a single true value", single)):
        inside = sum(intervals.judged(each) == "pass" for each in found)
        print(f"{inside} of {len(found)} {name} within 95 +- 1.5 %")
    if given.intervals:
        return
    print("\nverdict | images | false positives | effect | power | effect with a power of 0.8")
    for name, verdict in VERDICTS.items():
        repeats = max(1, given.repeats // verdict.takes)
        for count in verdict.counts or given.images:
            false = rate(verdict.drawn(verdict.nothing), verdict.claims, count, repeats)
            power = rate(verdict.drawn(verdict.documented), verdict.claims, count, repeats)
            least = smallest_effect(verdict, count, max(1, repeats // 4))
            numbers = f"{false:.3f}", f"{verdict.documented:g}", f"{power:.3f}", f"{least:.2f}"
            print(name, count or "any", *numbers, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
