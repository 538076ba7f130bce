"""What an atlas with evidence asks of an accelerator: as much for each batch of images, not for each unit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import deconvviz as dv
from deconvviz.evidence.selectivity import strongest_at
from tests.helpers.device_counts import Counts
from tests.helpers.files import contents
from tests.helpers.pretend_device import pretending


def built(channels: int, out: Path) -> Counts:
    """What is asked for two layers, of whose channels one unit each is judged."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.2, generator=generator)
    model[2].bias.data[:] = 1
    data = torch.rand(6, 3, 16, 16, generator=generator)
    top = dv.scan(dv.DeconvNet(model.eval()), data, k=1, progress=False)
    dv.build_atlas(dv.DeconvNet(model), data, top, out=out / "here", progress=False)
    with pretending("cuda") as device:
        net = dv.DeconvNet(model.to(device.name))
        with device.counted() as counts:
            dv.build_atlas(net, data, top, out=out / "there", progress=False)
    here, there = contents(out / "here"), contents(out / "there")
    assert {name: there[name] for name in here if name != "manifest.json"} == {
        name: content for name, content in here.items() if name != "manifest.json"
    }
    return counts


def test_reads_grow_with_the_forward_passes_of_the_evidence_alone(tmp_path: Path) -> None:
    few, many = built(8, tmp_path / "few"), built(28, tmp_path / "many")
    passes = 2 * (28 - 8) // 4  # a forward pass judges four units: sixteen images each, 64 at once
    assert many.host_reads - few.host_reads <= 2 * passes
    assert many.launches - few.launches <= 13 * passes
    assert many.uploads - few.uploads <= 3 * passes


def test_the_strongest_channels_at_many_places_are_those_at_each() -> None:
    maps = torch.rand(3, 7, 4, 5, generator=torch.Generator().manual_seed(1))
    places = [(2, (1, 4)), (0, (3, 0)), (2, (0, 0))]
    expected = [sorted(range(7), key=lambda c: -float(maps[n, c, y, x]))[:3] for n, (y, x) in places]
    assert strongest_at(maps, places, 3) == expected
    assert strongest_at(maps[:, :, 0, 0], [(1, ())], 9)[0] == sorted(range(7), key=lambda c: -float(maps[1, c, 0, 0]))
