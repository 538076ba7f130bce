"""How often an order of layers is said where there is none, whatever the distribution of their times."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from deconvviz.experiments._settling import SHUFFLES, Settling, fewest_runs, shuffled_p, verdict_of


def every_order(late: list[list[float]]) -> float:
    """The exact probability: slopes of all orders of the layers of all runs, added up."""
    depth = np.arange(len(late[0])) - (len(late[0]) - 1) / 2
    sums = [sum(float(depth @ np.array(one)) for one in orders) for orders in itertools.product(*map(orders_of, late))]
    found = sum(float(depth @ np.array(run)) for run in late)
    return float(np.mean(np.abs(sums) >= abs(found) - 1e-9))


def orders_of(run: list[float]) -> list[tuple[float, ...]]:
    return list(itertools.permutations(run))


@pytest.mark.parametrize(
    "late",
    [
        [[0.0, 1.0, 2.0]] * 3,
        [[0.3, 0.1, 0.9], [1.0, 0.2, 0.4], [0.0, 0.5, 0.6]],
        [[0.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]],  # ties
        [[0.0, 1.0]] * 6,
        [[0.0, 0.0, 0.0]] * 3,
    ],
)
def test_shuffles_are_all_orders(late):
    exact = every_order(late)
    spread = (exact * (1 - exact) / SHUFFLES) ** 0.5
    assert shuffled_p(torch.tensor(late)) == pytest.approx(exact, abs=4 * spread + 2 / SHUFFLES)


def test_as_many_runs_as_can_show_an_order():
    for layers in (2, 3, 4, 9):
        count = fewest_runs(layers)
        assert every_order([[float(n) for n in range(min(layers, 4))]] * count) <= 0.05 if layers < 4 else count == 3
        assert layers > 2 or 2 / 2 ** (count - 1) > 0.05


def runs_of(random: np.random.Generator, layers: int, count: int, kind: str) -> list[Settling]:
    """Runs whose layers could be exchanged; half of the distance is left between the first and the last checkpoint."""
    made = []
    for _ in range(count):
        if kind == "the same times":
            left = random.permutation(np.linspace(0.2, 0.8, layers))
        else:
            left = np.clip(0.5 + 0.05 * random.standard_t(1.5, layers), 0.05, 0.95)
        alone = {f"conv{n}": torch.tensor([[1.0, float(value), 0.0]]) for n, value in enumerate(left)}
        made.append(Settling((0.0, 1.0, 2.0), alone, {name: torch.tensor([[1.0, 0.5, 0.0]]) for name in alone}))
    return made


@pytest.mark.parametrize("kind", ["the same times", "heavy tails"])
def test_layers_without_an_order_are_said_to_have_one_in_at_most_5_percent(kind):
    """With the t test alone, runs whose layers take the same times in another order got an order in 16 %."""
    random, repeats, wrong = np.random.default_rng(1), 150, 0
    for _ in range(repeats):
        runs = runs_of(random, 3, 3, kind)
        wrong += "ones in all 3 training runs" in verdict_of(dict.fromkeys(runs[0].alone, 1.0), runs)
    assert wrong / repeats <= 0.08  # a rate of 0.05 gives more once in 25 times
