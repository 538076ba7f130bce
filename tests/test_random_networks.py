"""The property that counts, on networks nobody thought of: projections equal the autograd reference."""

from __future__ import annotations

import pytest
import torch
from random_networks import RandomNetwork
from reference import reference

import deconvviz as dv

STYLES = ("deconvnet", "guided", "gradient")


def check(seed: int) -> float:
    """The relative error of a few units of the random network of `seed`, in one of the styles."""
    network, style = RandomNetwork(seed).eval(), STYLES[seed % 3]
    x = torch.randn(network.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    projection = dv.DeconvNet(network, style).project(x, "probe", [0, 2])
    units = [(unit.sample, unit.channel, *unit.position) for unit in projection.units]
    _, expected = reference(network, x, "probe", units, style)
    difference = (projection.pixels - expected).flatten(1).norm(dim=1)
    scale = expected.flatten(1).norm(dim=1)
    error = float((difference / torch.where(scale > 0, scale, 1.0)).max())
    assert error <= 1e-10, f"seed {seed}, style {style}: relative error {error:.1e}"
    return error


@pytest.mark.parametrize("seeds", [range(start, start + 25) for start in range(0, 200, 25)], ids=str)
def test_random_networks_agree_with_the_reference(seeds):
    for seed in seeds:
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(1000, 6000, 100)], ids=str)
def test_five_thousand_random_networks_agree_with_the_reference(seeds):
    for seed in seeds:
        check(seed)


def test_random_networks_are_varied():
    networks = [RandomNetwork(seed) for seed in range(60)]
    sizes = [len(network.steps) for network in networks]
    assert min(sizes) <= 4
    assert max(sizes) >= 13
    reached = set()
    for network in networks:
        tape = dv.DeconvNet(network.eval()).trace(torch.randn(network.shape, dtype=torch.float64)).tape
        reached |= {operation.label.rpartition(".")[2] for operation in tape.operations}
    assert reached >= {
        *("convolution", "relu", "max_pool2d_with_indices", "avg_pool2d", "cat", "native_batch_norm", "overwritten"),
        *("upsample_bilinear2d", "slice", "add", "silu", "gelu", "adaptive_max_pool2d"),
    }
