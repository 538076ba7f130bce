"""The order in which layers settle: layers alone, beside lock-step, over training runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.experiments import evolution
from deconvviz.experiments._settling import Settling, distance, verdict_of
from deconvviz.models.checkpoints import snapshot
from deconvviz.results import Evolution


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).double()


def images() -> torch.Tensor:
    return torch.rand(6, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def between(first: dict, last: dict, shares: dict[str, list[float]]) -> list[dict]:
    """Checkpoints on the straight line, each layer at its own rate."""
    count = len(next(iter(shares.values())))
    return [
        {name: first[name] + shares[name.split(".")[0]][n] * (last[name] - first[name]) for name in first}
        for n in range(count)
    ]


SAME, EARLY, LATE = [0.0, 0.5, 1.0], [0.0, 0.9, 1.0], [0.0, 0.1, 1.0]


def run(seed: int, shares: dict[str, list[float]]) -> list[dict]:
    return between(snapshot(network(seed)), snapshot(network(seed + 100)), shares)


def found_in(shares: dict[str, list[float]]) -> Evolution:
    runs = [run(seed, shares) for seed in range(3)]
    return evolution(dv.DeconvNet(network(0)), runs[0], images(), layers=["0", "2", "4"], runs=runs[1:], progress=False)


def test_weights_at_one_common_rate_settle_in_no_order():
    """Before, these got the sentence that lower layers settle first."""
    found = found_in({"0": SAME, "2": SAME, "4": SAME})
    for layer in found.layers:
        assert torch.allclose(found.alone[layer], found.lockstep[layer], atol=1e-9)
    assert "beyond lock-step, 3 training runs show no order in which layers settle" in found.verdict


@pytest.mark.parametrize(
    ("rates", "order"),
    [
        ((EARLY, SAME, LATE), "lower layers settle before upper"),
        ((LATE, SAME, EARLY), "upper layers settle before lower"),
    ],
)
def test_layers_at_their_own_rates_settle_in_their_order(rates, order):
    """The upper first, too: pictures of upper layers pass the lower ones, which hid it before."""
    found = found_in(dict(zip(("0", "2", "4"), rates, strict=True)))
    assert f"beyond lock-step, {order} ones in all 3 training runs." in found.verdict
    assert found.half_times["0"].shape == (3, 2)
    assert found.figure().axes


def test_a_layer_varies_alone():
    """Against pictures projected from a network that is put together by hand."""
    first, last = snapshot(network(1)), snapshot(network(2))
    net = dv.DeconvNet(network(0))
    found = evolution(net, [first, last], images(), layers=["4"], channel=[1], progress=False)
    unit = found.grids["4"][0][-1]
    pictures = []
    for name in ("4.weight", "4.bias", None):
        model = network(0)
        model.load_state_dict({**last, **({} if name is None else {key: first[key] for key in ("4.weight", "4.bias")})})
        x = images()[unit.image : unit.image + 1]
        drawn = dv.DeconvNet(model).project_units(x, "4", [(0, 1, unit.position)], seed="one").pixels
        pictures.append(drawn.flatten(1) / drawn.norm())
    expected = float(distance(pictures[0], pictures[2]))
    assert found.alone["4"].tolist() == [[pytest.approx(expected), 0]]
    assert expected == pytest.approx(math.sqrt(1 - float((pictures[0] * pictures[2]).sum())))


def test_layers_without_weights_are_left_out(tmp_path):
    found = evolution(
        dv.DeconvNet(network(0)),
        [snapshot(network(1)), snapshot(network(2))],
        images(),
        layers=["0", "1"],
        progress=False,
    )
    assert list(found.alone) == ["0"]
    assert "Alone" not in found.verdict
    assert found.table()[1]["half left, alone"] is None
    loaded = Evolution.load(found.save(tmp_path / "one.safetensors"))
    assert str(loaded) == str(found)


def test_noise_settles_in_no_order():
    """Lateness that is drawn at random: an order is found in at most 5 % of the cases."""
    random, wrong, count = np.random.default_rng(0), 0, 400
    times = (0.0, 1.0, 2.0)
    for _ in range(count):
        runs = []
        for _ in range(3):
            alone = {
                f"conv{n}": torch.tensor([[1.0, float(np.clip(random.normal(0.5, 0.1), 0.1, 0.9)), 0.0]])
                for n in range(4)
            }
            runs.append(Settling(times, alone, {layer: torch.tensor([[1.0, 0.5, 0.0]]) for layer in alone}))
        wrong += "ones in all 3 training runs" in verdict_of(dict.fromkeys(runs[0].alone, 1.0), runs)
    assert wrong / count <= 0.065  # a rate of 0.05 gives more once in 13 times


def test_times_are_written_out() -> None:
    falls = {name: torch.tensor([[1.0, 0.5, 0.0]]) for name in ("conv1", "conv2")}
    said = verdict_of({"conv1": 1_470_000.0, "conv2": 0.5}, [Settling((0.0, 1470.0, 2940.0), falls, falls)])
    assert "at these times: conv1 at 1,470,000, conv2 at 0.5. " in said
    assert "is left in conv1 at 1,470 (in lock-step 1,470), conv2 at 1,470 (in lock-step 1,470)" in said
