"""Synthetic pictures in an atlas: those of `synthesize`, cut as patches are, shown, foretold, and kept by a restart."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.atlas import estimate as estimates
from deconvviz.atlas.inventory import Inventory
from deconvviz.data import mnist_test
from deconvviz.errors import UnsupportedOperation
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn
from deconvviz.reading.synthetic_references import of_units_in_the_middle
from tests.helpers.chromium import CHROMIUM, until
from tests.helpers.files import contents
from tests.helpers.pretend_device import pretending
from tests.helpers.synthetic_atlas import header, layer, read_script, synthetic, write

QUIET: dict[str, Any] = {"progress": False, "evidence": False}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of ascent in place of 128."""

    def few(*given: Any, **options: Any) -> Any:
        return of_units_in_the_middle(*given, **{**options, "steps": min(3, options["steps"])})

    monkeypatch.setattr("deconvviz.atlas.synthetic.of_units_in_the_middle", few)


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGBA"))


def colours() -> tuple[dv.DeconvNet, Tensor]:
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3))
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.4, generator=generator)
    nn.init.ones_(model[0].bias)
    return dv.DeconvNet(model.eval()), torch.rand(6, 3, 12, 12, generator=generator) * 0.5 + 0.2


# What is in the sheets


@pytest.mark.usefixtures("quick")
def test_a_tile_is_what_the_unit_in_the_middle_sees_of_the_picture(tmp_path: Path) -> None:
    net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:40]
    top = dv.scan(net, images, layers=["conv2", "fc1"], k=2, progress=False)
    channels = {"conv2": [3, 20], "fc1": [int(top.values["fc1"][:, 0].argmax())]}
    dv.build_atlas(net, images, top, out=tmp_path, channel=channels, synthesize=True, **QUIET)
    index = read_script(tmp_path / "data/index.js")
    assert index["synthetic"] is True
    for number, (name, side) in enumerate([("conv2", 20), ("fc1", 28)]):  # the fields are 16 and the whole image
        entry = index["layers"][number]
        height, width, factor = entry["tile"]
        made = dv.synthesize(
            net, name, channel=channels[name], position="middle", examples=images, size=side, steps=3, progress=False
        )
        for row, channel in enumerate(channels[name]):
            whole = made.pictures[row, 0]
            middle = net.project(whole[None], name, channel=channel, position=made.position)
            (upper, lower), (left, right) = middle.receptive_fields[0].tolist() if name == "conv2" else [(0, 28)] * 2
            block, place = divmod(channel, entry["block"])
            sheet = pixels(tmp_path / f"sheets/{number}-s{block}.webp")
            assert sheet.shape[1] == width + 2
            tile = sheet[place * (height + 2) :][:height, :width]
            assert (tile[..., 3] == 255).all()
            seen = tile[factor // 2 :: factor, factor // 2 :: factor, 0] / 255
            expected = whole[0, upper:lower, left:right].numpy()
            assert np.abs(seen - expected).max() < (0.003 if factor >= 7 else 0.1)
            details = read_script(tmp_path / f"data/{number}-{block}.js")[place]
            assert details["synthetic"] == pytest.approx(float(made.activations[row, 0]), rel=1e-3)


@pytest.mark.usefixtures("quick")
def test_channels_without_pictures_and_atlases_without_the_option_have_none(tmp_path: Path) -> None:
    net, images = colours()
    top = dv.scan(net, images, k=1, progress=False)
    dv.build_atlas(net, images, top, out=tmp_path / "with", channel={"0": [1]}, layers="0", synthesize=True, **QUIET)
    entry = read_script(tmp_path / "with/data/index.js")["layers"][0]
    sheet = pixels(tmp_path / "with/sheets/0-s0.webp")
    tiles = [sheet[at * (entry["tile"][0] + 2) :][: entry["tile"][0], : entry["tile"][1], 3] for at in range(5)]
    assert [bool(tile.any()) for tile in tiles] == [False, True, False, False, False]
    details = read_script(tmp_path / "with/data/0-0.js")
    assert ["synthetic" in one for one in details] == [False, True, False, False, False]
    dv.build_atlas(net, images, top, out=tmp_path / "without", **QUIET)
    assert not list((tmp_path / "without/sheets").glob("*-s*"))
    assert read_script(tmp_path / "without/data/index.js")["synthetic"] is False


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("preprocess", [None, Preprocess(12, mean=[0.5] * 3, std=[0.25] * 3)])
def test_pictures_lie_in_the_range_of_the_images(preprocess: Preprocess | None, tmp_path: Path) -> None:
    """Of what a preprocess makes of black and white, or of the numbers of the images."""
    net, images = colours()
    net = dv.DeconvNet(net.model, preprocess=preprocess)
    top = dv.scan(net, images, layers=["0"], k=1, progress=False)
    dv.build_atlas(net, images, top, out=tmp_path, synthesize=True, **QUIET)
    sheet = pixels(tmp_path / "sheets/0-s0.webp")
    shown = sheet[sheet[..., 3] == 255][:, :3] / 255
    # The pictures are near their middle after three steps: (0.2 + 0.7) / 2 of the images, or grey by the preprocess.
    assert shown.mean() == pytest.approx(0.5 if preprocess else 0.45, abs=0.05)
    assert shown.std() > 0.01


@pytest.mark.usefixtures("quick")
def test_an_accelerator_makes_the_same_atlas(tmp_path: Path) -> None:
    net, images = colours()
    top = dv.scan(net, images, k=1, progress=False)
    dv.build_atlas(net, images, top, out=tmp_path / "here", synthesize=True, **QUIET)
    with pretending("cuda") as device:
        there = dv.DeconvNet(net.model.to(device.name))
        dv.build_atlas(there, images, top, out=tmp_path / "there", synthesize=True, **QUIET)
    here, there = (contents(tmp_path / name) for name in ("here", "there"))
    sheets = [name for name in here if name.startswith("sheets")]
    assert len([name for name in sheets if "-s" in name]) == 2
    assert {name: there[name] for name in sheets} == {name: here[name] for name in sheets}


@pytest.mark.usefixtures("quick")
def test_the_unit_in_the_middle_sees_nothing_beyond_its_picture(tmp_path: Path) -> None:
    """In a layer of large steps, whose map of a small picture has few units."""
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 1)))
    nn.init.ones_(net.model[3].bias)
    images = torch.rand(4, 3, 48, 48)
    top = dv.scan(net, images, layers=["3"], k=1, progress=False)
    dv.build_atlas(net, images, top, out=tmp_path, synthesize=True, channel={"3": [0]}, **QUIET)
    entry = read_script(tmp_path / "data/index.js")["layers"][0]
    assert (entry["field"], entry["stride"]) == ([7, 7], [4, 4])
    height, width, _ = entry["tile"]
    assert (pixels(tmp_path / "sheets/0-s0.webp")[:height, :width, 3] == 255).all()


# Building


@pytest.mark.usefixtures("quick")
def test_a_build_that_was_killed_goes_on_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, images = colours()
    top = dv.scan(net, images, k=1, progress=False)

    def build(name: str, synthesize: bool = True) -> dict[str, bytes]:
        return contents(dv.build_atlas(net, images, top, out=tmp_path / name, synthesize=synthesize, **QUIET).parent)

    whole, write_file = build("undisturbed"), Inventory.write

    def until_file(last: str, inventory: Inventory, name: str, content: bytes) -> None:
        if name == last:
            raise KeyboardInterrupt
        write_file(inventory, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Inventory, "write", lambda *given: until_file("sheets/1-s0.webp", *given))
        with pytest.raises(KeyboardInterrupt):
            build("killed")
        patch.setattr(Inventory, "write", lambda *given: until_file("data/index.js", *given))
        with pytest.raises(KeyboardInterrupt):
            build("without them", synthesize=False)
    assert build("without them") == whole
    made: list[tuple[str, int, int]] = []

    def noted(net: Any, name: str, *given: Any, **options: Any) -> Any:
        made.append((name, len(options["channels"]), options["steps"]))
        return of_units_in_the_middle(net, name, *given, **{**options, "steps": min(3, options["steps"])})

    monkeypatch.setattr("deconvviz.atlas.synthetic.of_units_in_the_middle", noted)
    assert build("killed") == whole
    firing = int((top.values["2"][:, 0] > 0).sum())
    assert made == [("0", 1, 1), ("2", 1, 1), ("2", firing, 128)], "each layer is tried, and the second one made"


def test_what_cannot_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.second(self.first(x).detach())
            return found

    net, images = dv.DeconvNet(Detached()), colours()[1]
    nn.init.ones_(net.model.get_submodule("second").bias)
    top = dv.scan(net, images, k=1, progress=False)
    with pytest.raises(UnsupportedOperation, match="no gradient of layer 'second' reaches the input"):
        dv.build_atlas(net, images, top, out=tmp_path / "at", synthesize=True, **QUIET)
    assert not (tmp_path / "at" / "index.html").exists()


@pytest.mark.usefixtures("quick")
def test_the_command_says_how_far_the_pictures_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "digits.npy", mnist_test()[0][:12].numpy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deconvviz.atlas.progress.ASCENT_STEPS", 3)
    words = "atlas mnist digits.npy --k 2 --no-evidence --synthesize --layers conv1 conv2 --limit 3"
    assert cli.main(words.split()) == 0
    _, *layers = capsys.readouterr().err.splitlines()  # the first line says how long it will take
    assert [re.sub(r"\d+ s\b", "T", line) for line in layers] == [
        "conv1 (1 of 2): 6 of 12 units and 3 of 6 synthetic pictures, T, about T left",
        "conv2 (2 of 2): 12 of 12 units and 6 of 6 synthetic pictures, T",
    ]
    shown = read_script(Path("atlas/data/index.js"))["provenance"]["synthetic pictures"]
    assert shown == "activation maximisation of the unit in the middle, 128 steps, seed 0"


@pytest.mark.usefixtures("quick")
def test_the_estimate_of_time_contains_the_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that is a second further whenever it is read, but for four more steps, which take four seconds."""
    net, images = colours()
    top = dv.scan(net, images, layers=["0"], k=1, progress=False)
    foretold: list[float] = []
    monkeypatch.setattr(estimates, "FEWEST_UNITS", 1)
    monkeypatch.setattr("deconvviz.atlas.build.duration", lambda seconds: foretold.append(seconds) or "1 s")
    for out, synthesize in (("without", False), ("with", True)):
        options = {**QUIET, "progress": True, "workers": 0}
        clock = itertools.chain([0.0, 1.0, 6.0] if synthesize else [], itertools.count(7.0))
        monkeypatch.setattr(estimates, "time", SimpleNamespace(monotonic=clock.__next__))
        dv.build_atlas(net, images, top, out=tmp_path / out, synthesize=synthesize, **options)
    firing = int((top.values["0"][:, 0] > 0).sum())
    assert firing == 5
    # Four more steps for each of three channels took four seconds more.
    assert foretold[1] - foretold[0] == pytest.approx(firing * 128 * 4 / (4 * 3))


# The page

ABOUT = replace(header(size=(56, 56), k=9, images=60), synthetic=True)
LAYERS = [layer("features.3", 20, (21, 21)), replace(layer("classifier", 3, None), shape=(3,))]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    page = write(tmp_path_factory.mktemp("atlas") / "out", LAYERS, ABOUT)
    return lambda channel: f"{page.as_uri()}#/{channel}"


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_the_page_shows_the_picture_and_says_what_it_is(page: Any, address: Callable[[str], str]) -> None:
    for channel, times in ((7, 1.5), (17, 2.19)):
        page.goto("about:blank")
        page.goto(address(f"features.3/{channel}"))
        shown = page.locator("figure.synthetic")
        shown.scroll_into_view_if_needed()
        until(page, "(img => img && img.complete && img.naturalWidth)(document.querySelector('.synthetic img'))")
        assert shown.locator("img").get_attribute("alt") == (
            f"Synthetic picture of features.3 channel {channel}, made from noise; its activation is 14.3"
        )
        said = shown.locator("figcaption").inner_text()
        assert f"The activation reaches 14.3, {times} times that of the strongest image." in said
        assert "so that the unit in the middle of the map fires as strongly as possible" in said
        assert "nowhere shown to tell better than patches which images fire a channel" in said
        with Image.open(io.BytesIO(shown.locator(".tile").screenshot())) as taken:
            seen = np.asarray(taken.convert("RGB").resize((21, 21), Image.Resampling.BOX), float)
        assert np.abs(seen - synthetic(channel, (21, 21)).picture)[1:-1, 1:-1].mean() < 6
    page.goto(address("classifier/1"))
    until(page, "document.querySelector('h1')?.textContent === 'classifier channel 1'")
    assert "the unit in the middle" not in page.locator(".synthetic figcaption").inner_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_dead_channel_has_no_picture_and_no_page_scrolls_sideways(page: Any, address: Callable[[str], str]) -> None:
    page.goto(address("features.3/5"))
    until(page, "document.querySelector('.notice')")
    assert page.locator(".synthetic").count() == 0
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(address("features.3/7"))
    until(page, "document.querySelector('.synthetic')")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
