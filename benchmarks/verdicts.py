"""False positives and power of verdicts by simulation: how often each claims something, under its null and its effect.

    python -m benchmarks.verdicts [--repeats 1000] [--images 8 16 50]

The scores are drawn, not measured, so that the truth is known: exchangeable pictures, random rankings, hits at the rate
of chance, training runs without an order. Sizes of effects are those that docs/evidence.md reports of the reference
network (conv2 by deconvnet, for selectivity by guided; the smallest of the pointing game); their spread is wider. For
evolution there is no measured effect: each layer is a tenth of a checkpoint later than the one below it.

With 1,000 repeats the standard error of a rate of 0.05 is 0.007. One line appears per verdict and number of images.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from deconvviz.evidence import clarity, deletion_verdict, localisation, randomisation, selectivity
from deconvviz.evidence.floor import Controls
from deconvviz.experiments._settling import Settling
from deconvviz.experiments._settling import verdict_of as settling_verdict

Draw = Callable[[np.random.Generator, int], str]  # a verdict on so many images
Claims = Callable[[str], bool]


def _module(function: object) -> dict[str, Callable[..., str]]:
    """The functions of the module that defines a measure; the measure has the module's name."""
    found: dict[str, Callable[..., str]] = function.__wrapped__.__globals__  # type: ignore[attr-defined]
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
    """Clarity: correlations of a network with five draws of random weights, from which it differs by `effect`."""

    def draw(random: np.random.Generator, count: int) -> str:
        networks = np.clip(random.normal([[0.6 - effect], *[[0.6]] * 5], 0.03), 0, 1)  # one value per network
        both = torch.from_numpy(np.clip(networks + random.normal(0, 0.05, (6, count)), 0.01, 1))
        verdict = _module(clarity)["_verdict"]
        return verdict(["conv2"], both[:1], both[1:, None])

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


VERDICTS: dict[str, tuple[Draw, Draw, Claims]] = {
    "deletion: finds pixels, or baselines differ": (
        ranked(0.0),
        ranked(0.31),
        lambda said: any(words in said for words in ("finds pixels", "worse than chance")),
    ),
    "randomisation: depends partly or weakly": (
        kept(0.0),
        kept(0.31),
        lambda said: "partly" in said or "weakly" in said,
    ),
    "selectivity: shows the image or the unit": (
        alike(0.0),
        alike(0.57),
        lambda said: "nothing of the unit that recurs" not in said,
    ),
    "localisation: above or below chance": (
        pointed(0.11),
        pointed(0.93),
        lambda said: "which chance would do, too" not in said,
    ),
    "clarity: shows more or less than random weights": (
        clear(0.0),
        clear(0.32),
        lambda said: "shows no more of the image" not in said,
    ),
    "evolution: lower or upper layers first": (
        settling(0.0),
        settling(0.1),
        lambda said: "in all 3 training runs" in said,
    ),
}


def rate(draw: Draw, claims: Claims, count: int, repeats: int, seed: int = 0) -> float:
    """How often a verdict on `count` images claims something."""
    random = np.random.default_rng(seed)
    return sum(claims(draw(random, count)) for _ in range(repeats)) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000, help="verdicts of each kind (%(default)s)")
    parser.add_argument("--images", type=int, nargs="+", default=[8, 16, 50], help="numbers of images (8 16 50)")
    given = parser.parse_args()
    print("verdict | images | false positives | power")
    for name, (null, effect, claims) in VERDICTS.items():
        of_images = not name.startswith("evolution")
        for count in given.images if of_images else [0]:
            rates = (rate(draw, claims, count, given.repeats) for draw in (null, effect))
            print(name, count if of_images else "any", *(f"{each:.3f}" for each in rates), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
