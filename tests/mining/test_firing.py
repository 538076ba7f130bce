"""Dead and always-on channels: one definition in scans and in `diagnose`, over all positions, behind the rectifier."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.mining.firing import BATCHES_WAITING, Extremes, Firing, firing_of


def images(count: int = 23) -> torch.Tensor:
    return torch.randn(count, 2, 9, 9, generator=torch.Generator().manual_seed(3))


class Sample(nn.Module):
    """Convolutions before a ReLU, before a norm and a ReLU, before a SiLU of a function, and before nothing."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.plain, self.normed, self.smooth, self.last = (nn.Conv2d(2, 2, 3), *(nn.Conv2d(2, 2, 1) for _ in range(3)))
        self.relu, self.norm, self.relu2 = nn.ReLU(inplace), nn.BatchNorm2d(2), nn.ReLU(inplace)
        for layer in (self.plain, self.normed, self.smooth, self.last):
            layer.requires_grad_(False)
        self.plain.bias.copy_(torch.tensor([-100.0, 100.0]))  # dead; always on
        self.norm.running_mean.copy_(torch.tensor([1e4, -1e4]))  # what the convolution returns says nothing
        self.last.weight[0] = 0  # constant, and above zero
        self.last.bias.fill_(3.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu2(self.norm(self.normed(self.relu(self.plain(x)))))
        return self.last(torch.nn.functional.silu(self.smooth(x)) + x)


WANTED = {"plain": ([0], [1]), "normed": ([0], [1]), "last": ([0], [])}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_scan_and_diagnose_agree(inplace: bool, batch_size: int) -> None:
    net = dv.DeconvNet(Sample(inplace))
    top = dv.scan(net, images(), batch_size=batch_size, progress=False)
    found = {layer: (of.dead.tolist(), of.always_on.tolist()) for layer, of in top.statistics.items()}
    assert found == WANTED | {"smooth": found["smooth"]}
    flags = dv.experiments.diagnose(net, images(), progress=False).flags
    for layer, (dead, always_on) in found.items():
        assert [flag.channel for flag in flags if (flag.problem, flag.layer) == ("dead", layer)] == dead
        assert [flag.channel for flag in flags if (flag.problem, flag.layer) == ("always on", layer)] == always_on


def test_firing_on_every_image_is_not_always_on() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    top = dv.scan(dv.DeconvNet(model), images(), progress=False)
    assert top.statistics["0"].fires.tolist() == [1.0, 1.0, 1.0]
    assert top.statistics["0"].always_on.tolist() == []
    assert [row["always on"] for row in top.table()] == [0]


@pytest.mark.parametrize("layer", ["0", "1"])
def test_the_last_position_of_the_last_image_decides(layer: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()).requires_grad_(False)
    model[0].weight.copy_(torch.tensor([1.0, -1.0])[:, None, None, None])
    model[0].bias.zero_()
    data = torch.ones(9, 1, 4, 4)
    top = dv.scan(dv.DeconvNet(model), data, layers=layer, batch_size=2, progress=False)
    assert (top.statistics[layer].dead.tolist(), top.statistics[layer].always_on.tolist()) == ([1], [0])
    data[8, 0, 3, 3] = -1
    top = dv.scan(dv.DeconvNet(model), data, layers=layer, batch_size=2, progress=False)
    assert (top.statistics[layer].dead.tolist(), top.statistics[layer].always_on.tolist()) == ([], [])


def extremes(parts: list[torch.Tensor], rectified: bool, on_the_cpu: bool) -> Firing:
    found = Extremes(parts[0], rectified)
    if not on_the_cpu:  # as where the host does not know which channels are decided
        found = Extremes(parts[0].to("meta"), rectified)
        found.low, found.high = (
            torch.full((BATCHES_WAITING, 4), torch.inf),
            torch.full((BATCHES_WAITING, 4), -torch.inf),
        )
    for part in parts:
        found.add(part)
    return firing_of({"a": found})["a"]


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize("on_the_cpu", [True, False])
def test_the_order_and_the_number_of_parts_change_nothing(rectified: bool, on_the_cpu: bool) -> None:
    maps = torch.randn(3 * BATCHES_WAITING + 5, 4, 2, generator=torch.Generator().manual_seed(1))
    maps[:, 0], maps[:, 1], maps[:, 2] = maps[:, 0].abs() + 0.1, -maps[:, 1].abs(), 7.0
    whole = extremes([maps], rectified, on_the_cpu)
    low, high = maps.amin((0, 2)), maps.amax((0, 2))
    expected = (high <= 0, low > 0) if rectified else (low == high, torch.zeros(4, dtype=torch.bool))
    assert torch.equal(whole.dead, expected[0])
    assert torch.equal(whole.always_on, expected[1])
    parts = [extremes(list(part.split(1)), rectified, on_the_cpu) for part in maps.split(70)]
    for order in itertools.permutations(parts):
        merged = Firing(4)
        for part in order:
            merged.merge(part)
        for name in ("dead", "always_on", "constant"):
            assert torch.equal(
                getattr(merged, name).double().nan_to_num(5), getattr(whole, name).double().nan_to_num(5)
            )


def test_parts_that_are_constant_at_different_values_are_not_dead() -> None:
    one, two = (Firing.of(torch.tensor([value, 1.0]), torch.tensor([value, 1.0]), False) for value in (2.0, 3.0))
    one.merge(two)
    assert one.dead.tolist() == [False, True]
    assert one.constant.isnan().tolist() == [True, False]


def test_a_file_of_an_earlier_version_says_nothing_of_dead_channels(tmp_path) -> None:
    top = dv.scan(dv.DeconvNet(Sample(False)), images(), layers="plain", progress=False)
    statistics = top.statistics["plain"]
    for name in ("is_dead", "is_always_on"):
        object.__setattr__(statistics, name, None)
    top = type(top).load(top.save(tmp_path / "top.safetensors"))
    assert top.statistics["plain"].dead.tolist() == []
    assert [row["dead"] for row in top.table()] == [None]
