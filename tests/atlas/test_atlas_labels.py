"""What the atlas says of the label that fits a channel."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

import deconvviz as dv
from tests.helpers.synthetic_atlas import read_script


def test_each_channel_has_its_label_and_another_one_builds_it_anew(tmp_path):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(64, 1, 8, 8, generator=generator), torch.arange(64) % 2
    images[labels == 1] += 1
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 3)))
    top = dv.scan(net, (images, labels), classes=["dark", "bright"], progress=False)

    def shown(top, **options):
        dv.build_atlas(net, (images, labels), top, out=tmp_path / "a", evidence=False, progress=False, **options)
        return [found.get("label") for found in read_script(tmp_path / "a" / "data" / "0-0.js")]

    assert shown(top) == [top.labels["0"].name(channel) for channel in range(3)]
    assert any(said.startswith(("dark, AUC", "bright, AUC")) for said in shown(top))
    renamed = shown(top, classes=["night", "day"])
    assert renamed == [one.replace("dark", "night").replace("bright", "day") for one in shown(top)] != shown(top)
    assert shown(dataclasses.replace(top, labels={})) == [None] * 3
