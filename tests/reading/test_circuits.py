"""What feeds a channel: the right feeders, checked by removing them, as a figure, a page, JSON and a command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
from deconvviz.results import Circuit
from tests.helpers.adversarial_networks import planted_circuit
from tests.helpers.chromium import CHROMIUM

NET, IMAGES = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:300]
QUIET: Any = {"progress": False}


@pytest.fixture(scope="module")
def found() -> Circuit:
    return dv.circuit(NET, IMAGES, "conv2", channel=20, depth=2, **QUIET)


def ranks(values: torch.Tensor) -> torch.Tensor:
    return values.argsort().argsort().double()


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1])


def lost_by_hooks(channel: int, images: torch.Tensor, places: list[list[int]], removed: int) -> torch.Tensor:
    """The share of a conv2 unit's activation that is lost without a channel of conv1, by hooks on the model."""
    handle = NET.model.conv1.register_forward_hook(
        lambda _, args, made: made.index_fill(1, torch.tensor([r for r in [removed] if r >= 0], dtype=torch.long), 0)
    )
    maps: list[torch.Tensor] = []
    reader = NET.model.conv2.register_forward_hook(lambda _, args, made: maps.append(made))
    with torch.no_grad():
        NET.model(images)
    handle.remove()
    reader.remove()
    return torch.stack([maps[0][(n, channel, *place)] for n, place in enumerate(places)])


@pytest.mark.parametrize("channel", [3, 41])
def test_the_ranking_agrees_with_removal_where_kernel_norms_do_not(channel: int) -> None:
    """All 24 channels, removed by hooks on the model, on images that did not make the ranking."""
    circuit = dv.circuit(NET, IMAGES, "conv2", channel=channel, feeders=24, images=16, **QUIET)
    added = torch.zeros(24, dtype=torch.float64)
    for feeder in circuit.units[0].feeders:
        added[feeder.channel] = feeder.share.mean
    top = dv.scan(NET, IMAGES, layers=["conv2"], k=16, **QUIET)
    images = IMAGES[top.images["conv2"][channel][1::2]]
    places = top.positions["conv2"][channel][1::2].tolist()
    whole = lost_by_hooks(channel, images, places, -1)
    lost = torch.stack([(1 - lost_by_hooks(channel, images, places, n) / whole).mean() for n in range(24)])
    assert correlation(added, lost) > 0.8
    norms = NET.model.conv2.weight[channel].detach().flatten(1).norm(dim=1)
    assert correlation(norms, lost) < 0.5
    for feeder in circuit.units[0].feeders:
        assert float(feeder.lost.mean()) == pytest.approx(float(lost[feeder.channel]), abs=1e-4)


def test_shares_and_biases_add_up(found: Circuit) -> None:
    unit = dv.circuit(NET, IMAGES, "conv2", channel=20, feeders=24, **QUIET).units[0]
    total = sum(feeder.shares for feeder in unit.feeders) + unit.biases
    assert torch.allclose(total, torch.ones(8, dtype=torch.float64))
    bias = float(NET.model.conv2.bias[20].detach())
    assert torch.allclose(unit.biases, bias / unit.activations, atol=1e-5)
    assert found.sources == ("conv1",)
    assert len(found.units) == 9
    assert {unit.followed for unit in found.units} == {True}
    below = found.unit("conv1", found.units[0].feeders[0].channel)
    assert [(feeder.layer, feeder.channel) for feeder in below.feeders] == [("input", 0)]
    assert below.patches.shape == below.projections.shape == (9, 1, 7, 7)
    assert "removal confirms the ranking." in found.verdict


def test_a_planted_circuit_is_found_among_decoys_with_large_kernels() -> None:
    model = planted_circuit()
    images = torch.rand(80, 1, 10, 10, generator=torch.Generator().manual_seed(1))
    circuit = dv.circuit(dv.DeconvNet(model), images, "2", channel=0, **QUIET)
    norms = model[2].weight[0].detach().flatten(1).norm(dim=1)
    assert set(norms.topk(6).indices.tolist()) == {0, 1, 3, 4, 6, 7}, "the decoys have the large kernels"
    assert {(feeder.layer, feeder.channel) for feeder in circuit.units[0].feeders} == {("0", 2), ("0", 5)}
    assert re.match(
        r"Channel 0 of 2 is fed most by 0 [25] and 0 [25], which bring 100% of its activation\. Without the first 2 it "
        r"loses 100% \(100% to 100%\) of it on other images, .*: removal confirms the ranking\.$",
        circuit.verdict,
    )


def test_silent_channels_few_images_and_biases_are_said() -> None:
    model: Any = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 1))
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([-1000.0, 1000.0, 0.0]))
        model[2].weight[1] = 0
        model[2].weight[2] = 1
    net, images = dv.DeconvNet(model.eval()), torch.rand(6, 1, 8, 8)
    silent, biased, few = (dv.circuit(net, images, "2", channel=channel, **QUIET) for channel in range(3))
    assert silent.verdict == "Channel 0 of 2 is above zero on none of these images, so nothing feeds it."
    assert biased.verdict == "Channel 1 of 2 is fired by its biases; no channel adds to it."
    assert few.verdict.endswith("3 other images on which it fires are too few to check this by removing channels.")
    one = dv.circuit(net, images[:2], "2", channel=2, **QUIET)
    assert one.verdict.endswith(" 1 other image on which it fires is too few to check this by removing channels.")
    alone = dv.circuit(net, images[:1], "2", channel=2, **QUIET)
    assert alone.verdict.endswith(" It fires on no other image, so this is not checked by removing channels.")
    with torch.no_grad():
        model[2].bias[2] = 1000.0
    faint = dv.circuit(net, images, "2", channel=2, **QUIET)
    assert faint.units[0].adding
    assert faint.verdict == (
        "Channel 2 of 2 is fired by its biases; the channels that add most to it bring less than 1% together."
    )
    for one in (silent, biased, few):
        assert one.figure().axes
        assert json.loads(json.dumps(one.as_json()))["verdict"] == one.verdict


def test_signals_have_a_circuit_without_pictures() -> None:
    model = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Conv1d(4, 3, 3)).eval()
    circuit = dv.circuit(dv.DeconvNet(model), torch.randn(40, 2, 20), "2", channel=1, depth=5, **QUIET)
    assert {feeder.layer for feeder in circuit.units[0].feeders} == {"0"}
    assert {len(unit.patches) for unit in circuit.units} == {0}
    assert circuit.figure().axes


def test_it_is_saved_drawn_and_exported(found: Circuit, tmp_path: Path) -> None:
    loaded = Circuit.load(found.save(tmp_path / "circuit.safetensors"))
    assert str(loaded) == str(found)
    assert loaded.figure(layer="conv1", channel=found.units[1].channel).axes
    facts = found.as_json()
    root = facts["units"][0]
    assert (root["layer"], root["channel"], root["candidates"]) == ("conv2", 20, 24)
    assert [one["removed"] for one in root["removal"]] == [1, 2, 4, 8]
    assert root["removal"][-1]["lost"]["mean"] > root["removal"][-1]["random"]["mean"]
    assert root["feeders"][0]["adds"]["mean"] == pytest.approx(found.units[0].feeders[0].share.mean)


def test_the_command_writes_a_picture_and_a_page(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    for number in range(20):
        Image.fromarray((IMAGES[number, 0] * 255).byte().numpy()).save(tmp_path / "images" / f"{number}.png")
    asked = ["circuit", "mnist", "images", "--layer", "conv2", "--channel", "20", "--page", "page.html"]
    assert cli.main([*asked, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["circuit-conv2-20.png", "page.html"]
    assert said["units"][0]["feeders"]
    assert cli.main([*asked, "--depth", "2", "--out", "circuit-conv2-20.png"]) == 0
    assert "Channel 20 of conv2 is fed most by conv1" in capsys.readouterr().out
    text = Path("page.html").read_text("utf-8")
    assert "unsafe-inline" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_the_page_is_walked_down_and_back(page: Any, found: Circuit, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    page.goto(found.write_page(tmp_path / "page.html").as_uri())
    playwright.expect(page.locator("h1")).to_have_text("conv2, channel 20")
    assert page.locator("#feeders li").count() == 8
    first = found.units[0].feeders[0]
    page.locator("#feeders button").first.click()
    playwright.expect(page.locator("h1")).to_have_text(f"conv1, channel {first.channel}")
    playwright.expect(page.locator("#feeders li")).to_contain_text("pixels of the image")
    assert page.url.endswith(f"#conv2%2020/conv1%20{first.channel}")
    page.reload()
    playwright.expect(page.locator("h1")).to_have_text(f"conv1, channel {first.channel}")
    page.go_back()
    playwright.expect(page.locator("h1:focus")).to_have_text("conv2, channel 20")
    page.go_forward()
    playwright.expect(page.locator("h1:focus")).to_have_text(f"conv1, channel {first.channel}")
    page.locator("#way button").first.click()
    playwright.expect(page.locator("h1:focus")).to_have_text("conv2, channel 20")
    assert page.evaluate("window.hacked === undefined")
