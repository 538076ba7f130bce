"""What an atlas says of its own pictures: numbers, pictures from random weights, and the page that shows them."""

from __future__ import annotations

import copy
import io
import sys
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.atlas.evidence import COMPARED_CHANNELS, INSERTION_STEPS, JUDGED, installed
from deconvviz.data import MnistTest
from deconvviz.errors import DependencyError
from deconvviz.evidence import METHODS, deletion
from deconvviz.evidence.methods import Judged
from deconvviz.evidence.metrics import spearman
from deconvviz.evidence.randomisation import randomise, weights_of
from deconvviz.images import signed_as_rgb
from deconvviz.models import mnist_cnn
from tests.helpers.chromium import CHROMIUM, until
from tests.helpers.synthetic_atlas import evidence, firing, header, layer, read_script, units, write

SHOWN = {"conv2": [0, 5, 20, 47], "fc2": [3]}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    net, data = dv.DeconvNet(mnist_cnn()), torch.utils.data.Subset(MnistTest(), range(200))
    top = dv.scan(net, data, layers=list(SHOWN), k=4, progress=False)
    out = tmp_path_factory.mktemp("atlas") / "site"
    dv.build_atlas(net, data, top, out=out, channel=SHOWN, batch_size=7, progress=False)
    return net, data, top, out


def strongest(built, layer, channel, count):
    """Image (1, C, H, W) and position of a channel's strongest units."""
    _, data, top, _ = built
    places = zip(top.images[layer][channel].tolist(), top.positions[layer][channel].tolist(), strict=True)
    return [(data[number][0][None], tuple(position)) for number, position in list(places)[:count]]


@pytest.mark.parametrize(("number", "layer"), list(enumerate(SHOWN)))
def test_insertion_gains_are_those_of_deletion(built, number, layer):
    net, *_, out = built
    written = read_script(out / "data" / f"{number}.js")["gain"]
    for channel in SHOWN[layer]:
        found = [
            deletion(
                net, x, layer, channel=channel, position=position or "max", methods=["deconvnet"], steps=INSERTION_STEPS
            )
            .gains["deconvnet"]
            .mean
            for x, position in strongest(built, layer, channel, JUDGED)
        ]
        assert written[channel] == [pytest.approx(mean(found), abs=1e-4), JUDGED]
        assert found[0] > 0
    assert [channel for channel, one in enumerate(written) if one] == SHOWN[layer]


@pytest.mark.parametrize(("number", "layer"), list(enumerate(SHOWN)))
def test_likeness_is_to_the_strongest_other_channels_at_the_place(built, number, layer):
    net, *_, out = built
    written = read_script(out / "data" / f"{number}.js")["alike"]
    for channel in SHOWN[layer]:
        found = []
        for x, position in strongest(built, layer, channel, JUDGED):
            values = net.trace(x, layer).activations[layer][0][(slice(None), *position)]
            others = [one for one in values.argsort(descending=True).tolist() if one != channel][:COMPARED_CHANNELS]
            together = x.expand(1 + COMPARED_CHANNELS, -1, -1, -1)
            heats = Judged(net, together, layer, [channel, *others], position or "max").heatmaps(METHODS["deconvnet"])
            found += [spearman(heats[0], heat) for heat in heats[1:]]
        assert written[channel] == [pytest.approx(mean(found), abs=1e-4), JUDGED]


def test_pictures_from_random_weights_are_of_the_same_units(built):
    net, _, _, out = built
    model = copy.deepcopy(net.model)
    randomise(model, [name for name, module in model.named_modules() if weights_of(module)], 0)
    drawn = dv.DeconvNet(model)
    about = read_script(out / "data" / "index.js")
    height, width, factor = about["layers"][0]["tile"]
    for channel in SHOWN["conv2"]:
        block, row = divmod(channel, about["layers"][0]["block"])
        sheet = np.asarray(Image.open(out / "sheets" / f"0-r{block}.webp"))
        boxes = [unit[4] for unit in read_script(out / "data" / f"0-{block}.js")[row]["units"]]
        for rank, (x, position) in enumerate(strongest(built, "conv2", channel, 4)):
            upper, left, lower, right = boxes[rank]
            pixels = drawn.project(x, "conv2", channel=channel, position=position, seed="one").pixels[0]
            expected = signed_as_rgb(pixels[:, upper:lower, left:right])
            y = row * (height + 2) + (height - factor * (lower - upper) if upper == 0 else 0)
            x_ = rank * (width + 2) + (width - factor * (right - left) if left == 0 else 0)
            tile = sheet[y + factor // 2 :: factor, x_ + factor // 2 :: factor, :3][: lower - upper, : right - left]
            assert np.abs(tile / 255 - expected.numpy()).mean() < 0.02
            own = net.project(x, "conv2", channel=channel, position=position).pixels[0][:, upper:lower, left:right]
            assert np.abs(tile / 255 - signed_as_rgb(own).numpy()).mean() > 0.03


def test_the_network_is_left_as_it_was(built):
    assert all(torch.equal(a, b) for a, b in zip(built[0].model.parameters(), mnist_cnn().parameters(), strict=True))


def small(model, tmp_path, x=None, **options):
    """The statistics of the only layer in the atlas of a small network."""
    net, data = dv.DeconvNet(model), torch.rand(5, 1, 9, 9) if x is None else x
    top = dv.scan(net, data, k=2, progress=False)
    dv.build_atlas(net, data, top, out=tmp_path / "a", layers=[list(top.layers)[-1]], progress=False, **options)
    return read_script(tmp_path / "a" / "data" / "0.js")


def test_what_cannot_be_judged_has_no_number(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    model[0].weight.data[:] = torch.arange(1.0, 10).view(3, 3)
    model[0].bias.data = torch.tensor([-100000.0, 0])
    found = small(model, tmp_path)
    assert (found["gain"][0], found["alike"][0]) == (None, None), "a dead channel"
    assert found["gain"][1][1] == found["alike"][1][1] == 2
    model[0].weight.data[:] = -torch.arange(1.0, 10).view(3, 3)
    model[0].bias.data[:] = 100
    found = small(model, tmp_path)
    assert found["gain"] == [None, None], "units that fire more on an empty image"
    assert found["alike"][0] == [1, 2]
    alone = small(nn.Sequential(nn.Conv2d(1, 1, 3)), tmp_path)
    assert alone["alike"] == [None], "no other channel"
    assert alone["gain"][0]
    point = small(nn.Sequential(nn.Conv2d(1, 3, 1)), tmp_path)
    assert point["alike"] == [None] * 3, "a single pixel has no order"


def test_on_large_images_one_unit_is_judged(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=3, bias=False))
    model[0].weight.data[:] = torch.arange(1.0, 19).view(2, 1, 3, 3)
    found = small(model, tmp_path, torch.rand(3, 1, 128, 128))
    assert [one and one[1] for one in found["gain"] + found["alike"]] == [1, 1, 1, 1]


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, stride=3), nn.Linear(4, 3)

    def forward(self, x):
        return self.second(self.first(x).flatten(2).transpose(1, 2))


def test_layers_without_maps_of_channels_are_not_judged(tmp_path):
    torch.manual_seed(0)
    found = small(ChannelsLast(), tmp_path)
    assert found["gain"] == found["alike"] == [None] * 3
    assert (tmp_path / "a" / "sheets" / "0-r0.webp").exists(), "but there are pictures from random weights"


def test_random_weights_that_overflow_give_blank_pictures(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), *(nn.Conv2d(2, 2, 1) for _ in range(2)))
    nn.init.constant_(model[0].weight, 1)
    for one in model[1:]:  # what cancels here does not with random weights
        one.weight.data[:] = 2.0**63 * torch.tensor([[1, -1], [-1, 1]])[..., None, None]
        nn.init.constant_(one.bias, 1)
    nn.init.constant_(model[0].bias, 0)
    small(model, tmp_path, (1000 * torch.rand(5, 1, 9, 9)).round())
    sheet = np.asarray(Image.open(tmp_path / "a" / "sheets" / "0-r0.webp"))
    assert set(sheet[sheet[..., 3] == 255][:, 0].tolist()) == {255}, "white is zero"


def test_without_evidence_nothing_is_left_of_it(tmp_path, monkeypatch):
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    assert "gain" in small(model, tmp_path)
    assert (tmp_path / "a" / "sheets" / "0-r0.webp").exists()
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert set(small(model, tmp_path, evidence=False)) == {"state", "firing", "mean", "maximum"}
    assert not (tmp_path / "a" / "sheets" / "0-r0.webp").exists()
    assert read_script(tmp_path / "a" / "data" / "index.js")["evidence"] is False


def test_missing_libraries_are_named_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert installed()
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert not installed()  # the demonstration does without
    with pytest.raises(DependencyError, match=r"pip install 'deconvviz\[evidence\]'"):
        small(nn.Sequential(nn.Conv2d(1, 2, 3)), tmp_path)
    assert cli.main(["atlas", "mnist", "nowhere", "--out", "site"]) == 2
    assert "deconvviz[evidence]" in capsys.readouterr().err
    assert cli.main(["atlas", "mnist", "nowhere", "--out", "site", "--no-evidence"]) == 2
    assert "there is no folder 'nowhere'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# The page

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
ABOUT = replace(header(size=(56, 56), k=9, images=60), evidence=True)
LAYERS = [layer("features.0", 12, (5, 5)), layer("features.3", 60, (21, 21))]


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return write(tmp_path_factory.mktemp("atlas") / "out", LAYERS, ABOUT, ["tench"]).as_uri()


def opened(page, address, heading):
    page.goto("about:blank")
    page.goto(address)
    until(page, f"document.querySelector('h1')?.textContent === {heading!r}")


def visible(page):
    return [one.inner_text() for one in page.locator(".why").all() if one.is_visible()]


@in_chromium
def test_badges_and_their_explanations(page, atlas):
    for channel, gain, alike in (
        (20, "Faithful: +0.40 vs. random", "Partly specific: 0.40 similar to other channels"),
        (4, "Misleading: \u22120.10 vs. random", "Not specific: 0.80 similar to other channels"),
        (49, "No better than random (+0.00)", "Specific: 0.20 similar to other channels"),
        (15, "Faithfulness: not scored", "Specificity: not scored"),
    ):
        opened(page, f"{atlas}#/features.3/{channel}", f"features.3 channel {channel}")
        assert page.locator(".evidence .badge").all_text_contents() == [gain, alike]
    opened(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    assert visible(page) == []
    badges = page.locator(".evidence .badge")
    badges.nth(0).hover()
    assert len(visible(page)) == 1
    assert "Random pixels activate the unit sooner" in visible(page)[0]
    assert (
        "2 images, the unit reached 0.10 of its full activation less with the picture\u2019s pixels."
        in visible(page)[0]
    )
    badges.nth(1).hover()
    assert "The picture shows the image more than the unit." in visible(page)[0]
    assert "is 0.80 on average over 1 image:" in visible(page)[0]
    page.mouse.move(5, 500)
    assert visible(page) == []
    for badge in badges.all():
        described = page.locator(f"#{badge.get_attribute('aria-describedby')}")
        assert described.get_attribute("role") == "tooltip"
    assert [evidence(4).gain.mean, evidence(4).alike.mean] == pytest.approx([-0.1, 0.8])


@in_chromium
def test_badges_by_keyboard(page, atlas):
    opened(page, f"{atlas}#/features.3/20", "features.3 channel 20")
    page.locator("a.step").first.focus()
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.badge") == "gain":
            break
    assert "shows pixels that activate the unit" in visible(page)[0]
    page.keyboard.press("Tab")
    assert "is partly specific to the unit" in visible(page)[0]
    page.keyboard.press("Escape")
    assert visible(page) == []
    assert page.url.endswith("#/features.3/20"), "the explanation goes first, and not the page"


@in_chromium
def test_a_dead_channel_says_that_it_is_not_judged(page, atlas):
    assert firing(5) == 0
    opened(page, f"{atlas}#/features.3/5", "features.3 channel 5")
    page.locator(".evidence .badge").first.focus()
    assert visible(page) == ["The channel is dead on these images, so there is no picture to score."]
    assert page.locator("#weights").count() == 0


@in_chromium
def test_the_switch_to_random_weights_and_back(watched, atlas):
    page = watched.page
    opened(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    until(page, "[...document.querySelectorAll('.pair img')].every(img => img.complete && img.naturalWidth)")
    assert not any("/1-r" in url for url in watched.requests), "loaded when they are asked for"
    unit = units(4, 9, (21, 21), (56, 56), 60, ["tench"])[5]
    switch, figure = page.locator("#weights"), page.locator(".pictures").nth(1)

    def shown():
        until(page, "[...document.querySelectorAll('.pair img')].every(img => img.complete && img.naturalWidth)")
        with Image.open(io.BytesIO(figure.locator(".tile").nth(5).screenshot())) as taken:
            return np.asarray(taken.convert("RGB").resize((21, 21), Image.Resampling.BOX), float)

    def near(given):
        return np.abs(shown() - given)[1:-1, 1:-1].mean() < 6

    assert near(unit.projection)
    switch.click()
    assert near(unit.random)
    assert not near(unit.projection)
    assert figure.locator("figcaption").inner_text() == "Projections from random weights"
    assert figure.locator("img").nth(5).get_attribute("alt").startswith("Projection from random weights 6: tench")
    assert switch.get_attribute("aria-pressed") == "true"
    assert page.url.endswith("#/features.3/4?weights=random")
    page.keyboard.press("w")
    assert near(unit.projection)
    assert figure.locator("figcaption").inner_text() == "Projections"
    assert page.url.endswith("#/features.3/4")
    page.keyboard.press("w")
    page.keyboard.press("ArrowRight")
    until(
        page, "location.hash === '#/features.3/6?weights=random' || location.hash === '#/features.3/5?weights=random'"
    )
    page.keyboard.press("ArrowRight")
    until(page, "location.hash === '#/features.3/6?weights=random'")
    assert figure.locator("figcaption").inner_text() == "Projections from random weights", "it stays switched on"
    opened(page, page.url, "features.3 channel 6")
    assert page.locator("#weights").get_attribute("aria-pressed") == "true", "and the address says so"


@in_chromium
def test_the_grid_is_sorted_by_what_speaks_against_its_pictures(page, atlas):
    numbers = "[...document.querySelectorAll('.cells li b')].map(one => +one.textContent)"
    judged = [channel for channel in range(60) if firing(channel) and evidence(channel).gain]
    for sort, sign, measure in (("gain", 1, "gain"), ("alike", -1, "alike")):
        opened(page, f"{atlas}#/features.3?sort={sort}", "features.3")
        until(page, "document.querySelectorAll('.cells li').length > 30")
        expected = sorted(judged, key=lambda one: (sign * round(getattr(evidence(one), measure).mean, 5), one))
        assert page.evaluate(numbers)[:30] == expected[:30]
    assert page.locator("#sort").input_value() == "alike"


@in_chromium
def test_an_atlas_without_evidence_has_no_badges_and_no_switch(page, tmp_path):
    address = write(tmp_path, LAYERS, replace(ABOUT, evidence=False)).as_uri()
    index = tmp_path / "data" / "index.js"
    index.write_text(index.read_text().replace(',"evidence":false', ""))  # as older atlases are
    opened(page, f"{address}#/features.3/4?weights=random", "features.3 channel 4")
    page.keyboard.press("w")
    assert page.locator(".evidence").count() == 0
    assert page.locator("figcaption").all_text_contents() == ["Image patches", "Projections"]
    opened(page, f"{address}#/features.3?sort=gain", "features.3")
    assert page.locator("#sort option").all_text_contents() == ["channel number", "firing rate", "maximum"]
    assert page.locator("#sort").input_value() == "channel"


@in_chromium
def test_on_a_phone_explanations_stay_on_the_page(page, atlas):
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, f"{atlas}#/features.3/4", "features.3 channel 4")
    for name in ("gain", "alike"):
        page.locator(f"[data-badge={name}]").click()
        box = page.locator(f"#why-{name}").bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert len(visible(page)) == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
