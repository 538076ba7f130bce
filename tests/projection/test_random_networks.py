"""The property that counts, on networks nobody thought of: projections equal the autograd reference."""

from __future__ import annotations

import pytest
import torch

import deconvviz as dv
from tests.helpers.autograd_reference import ReferenceRun
from tests.helpers.random_networks import check as random_check
from tests.helpers.random_networks.check import OF_A_BATCH, OF_ANOTHER_IMAGE, STYLES, check, report, shrunk
from tests.helpers.random_networks.kinds import KINDS
from tests.helpers.random_networks.network import Network, Step, random_network

COUNT = 300


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, COUNT, 20)], ids=str)
def test_random_networks_agree_with_the_reference(seeds):
    """`make random-networks COUNT=10000` does this for more of them, in all styles and all ways."""
    for seed in seeds:
        network, style = random_network(seed), STYLES[seed % 3]
        if check(network, style, ways=OF_ANOTHER_IMAGE if seed % 2 else OF_A_BATCH).faults:
            pytest.fail(report(network, style))


def test_random_networks_are_varied():
    networks = [random_network(seed) for seed in range(COUNT // 2)]
    drawn = [step.kind for network in networks for step in network.steps]
    for family, kinds in KINDS.items():
        for name in {name for name, _ in kinds}:
            assert f"{family}: {name}" in drawn
    sizes = [len(network.steps) for network in networks]
    assert min(sizes) <= 3
    assert max(sizes) >= 12
    assert {len(network.shape) for network in networks} == {3, 4, 5}
    assert sum(network.smooth for network in networks) > len(networks) / 3
    assert 0 < sum(network.alone for network in networks) < len(networks) / 4
    source = "\n".join(network.source for network in networks)
    for layout in ("channels_last", "sliced", "transposed", "tokens", "strided"):
        assert f"(parts.{layout}(" in source
    for norm in (
        "BatchNorm",
        "InstanceNorm",
        "GroupNorm",
        "LayerNorm",
        "LocalResponse",
        "RMSNorm",
        "weight_norm",
        "spectral",
    ):
        assert norm in source


def test_a_network_is_the_same_in_every_process():
    assert random_network(4) == random_network(4)
    first, second = random_network(4).built().state_dict(), random_network(4).built().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert random_network(0).source != random_network(1).source


# That the check can fail


def smooth():
    """A network of several steps whose gradients finite differences can judge."""
    networks = (random_network(seed) for seed in range(1000))
    return next(found for found in networks if found.smooth and not found.alone and len(found.steps) > 5)


def test_another_backward_is_found_and_the_network_made_smaller(monkeypatch):
    network = Network(
        7,
        (3, 2, 7, 6),
        {"m0": 'self.m0 = parts.drawn(nn.Conv2d(2, 4, 3), "7 m0")'},
        (
            Step("filter", "v1", "self.m0(v0)", 4, 2),
            Step("gate", "v2", "v1.tanh()", 4, 2, "v1"),
            Step("rectifier", "v3", "F.relu(v2)", 4, 2, "v2"),
            Step("sum", "v4", "v3 + v1", 4, 2, "v3"),
        ),
    )
    assert not check(network, "guided").faults
    monkeypatch.setattr(random_check, "ReferenceRun", lambda model, x, calls, style: ReferenceRun(model, x, calls))
    ways = {fault.split()[1] for fault in check(network, "guided").faults}
    assert ways >= {"batch", "windows_of_another_image", "windows_of_a_trace", "reconstruct"}
    small, faults = shrunk(network, "guided")
    assert len(small.steps) < len(network.steps)
    assert "F.relu" in small.source
    assert faults[0].startswith("wrong")
    scope = {}
    exec(report(network, "guided").replace("print(", "found = ("), scope)
    assert scope["found"].shape[1:] == network.shape[1:]


def test_a_reference_that_is_wrong_is_found_by_finite_differences(monkeypatch):
    network = smooth()
    assert check(network, "gradient").judged
    monkeypatch.setattr(
        ReferenceRun, "sent_back", lambda *arguments, original=ReferenceRun.sent_back: original(*arguments) * 1.001
    )
    assert any(fault.startswith("reference") for fault in check(network, "gradient").faults)


def test_templates_that_are_not_asked_again_are_found(monkeypatch):
    """Somebody else's numbers for the second image: what a stale template would give."""
    network = smooth()
    original = dv.DeconvNet.project_units
    kept = {}

    def stale(self, *arguments, **options):
        return kept.setdefault("first", original(self, *arguments, **options))

    monkeypatch.setattr(dv.DeconvNet, "project_units", stale)
    assert [fault.split()[1] for fault in check(network, "deconvnet").faults] == ["windows_of_another_image"]
