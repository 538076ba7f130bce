"""What the explorer answers, against the library's own functions and plain torch."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.explorer.networks import moved
from deconvviz.images import signed_as_rgb, to_pil
from deconvviz.results import Projection
from tests.helpers.explorer_client import TOKEN, Client, png, small_images, small_net

pytest.importorskip("starlette", reason="needs starlette and uvicorn")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")

NET, IMAGES = small_net(), small_images()


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with dv.explore(NET, IMAGES, token=TOKEN, open_browser=False) as explorer:
        yield Client(explorer)


def picture_at(address: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def activations(layer: int, image: int = 3) -> torch.Tensor:
    with torch.no_grad():
        return NET.model[: layer + 1](IMAGES[image : image + 1])[0]


def test_the_layers_of_an_image(client: Client) -> None:
    found = client.ask("image", image="data-3").json
    assert [layer["name"] for layer in found["layers"]] == [*"0123456", "output"]
    first = found["layers"][0]
    assert (first["kind"], first["shape"], first["field"], first["channels"]) == ("Conv2d", [4, 12, 12], [3, 3], 4)
    assert first["active"] == pytest.approx(float((activations(0) > 0).float().mean()))
    assert found["size"] == [12, 12]
    shares = activations(6).softmax(0)
    assert [one["share"] for one in found["classes"]] == pytest.approx(shares.topk(3).values.tolist(), rel=1e-4)
    best = shares.topk(3).indices.tolist()
    assert [(one["name"], one["layer"], one["channel"]) for one in found["classes"]] == [(str(n), "6", n) for n in best]
    assert found["name"] == "image 3"


def test_the_maps_of_a_layer(client: Client) -> None:
    found = client.ask("maps", image="data-3", layer="4").json
    expected = activations(4)
    assert found["channels"] == 6
    assert found["dims"] == [4, 4]
    assert found["maximum"] == pytest.approx(expected.flatten(1).amax(1).tolist(), abs=1e-5)
    for channel, place in enumerate(found["place"]):
        assert float(expected[channel][tuple(place)]) == float(expected[channel].max())
    sprite, columns = picture_at(found["sprite"]["url"]), found["sprite"]["columns"]
    for channel in range(6):
        row, column = divmod(channel, columns)
        cell = sprite[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        levels = (expected[channel] / expected[channel].max().clamp(min=1e-30) * 255).round()
        assert (cell == levels.to(torch.uint8).numpy()).all()


def test_a_layer_without_maps_has_values(client: Client) -> None:
    found = client.ask("maps", image="data-3", layer="6").json
    assert found["dims"] == []
    assert "sprite" not in found
    assert found["maximum"] == pytest.approx(activations(6).tolist(), abs=1e-5)


@pytest.mark.parametrize("style", ["deconvnet", "guided", "gradient"])
def test_a_unit_is_the_projection_of_the_library(client: Client, style: str) -> None:
    found = client.ask("unit", image="data-3", layer="3", channel=2, position="1,2", style=style).json
    own = dv.DeconvNet(NET.model, style).project(IMAGES[3:4], "3", channel=2, position=(1, 2))
    assert found["box"] == own.receptive_fields[0].tolist()
    assert found["value"] == pytest.approx(float(activations(3)[2, 1, 2]), rel=1e-5)
    expected = np.asarray(to_pil(signed_as_rgb(own.crops[0])))
    assert (picture_at(found["projection"]) == expected).all()
    rank = int((activations(3)[:, 1, 2] > activations(3)[2, 1, 2]).sum()) + 1
    assert found["rank"] == rank


def test_a_unit_without_a_position_is_the_strongest(client: Client) -> None:
    found = client.ask("unit", image="data-3", layer="3", channel=2).json
    assert found["value"] == pytest.approx(float(activations(3)[2].max()), rel=1e-5)


def test_random_weights_are_others(client: Client) -> None:
    own, random = (
        client.ask("unit", image="data-3", layer="3", channel=2, position="1,2", random=random).json
        for random in (0, 1)
    )
    assert random["value"] != own["value"]
    assert client.ask("unit", image="data-3", layer="3", channel=2, position="1,2").json == own


def test_units_that_fire_at_a_place(client: Client) -> None:
    found = client.ask("place", image="data-3", at="5,8").json["layers"]
    first = next(layer for layer in found if layer["layer"] == "1")
    assert first["position"] == [5, 8]
    values = activations(1)[:, 5, 8]
    expected = [int(channel) for channel in values.argsort(descending=True) if values[channel] > 0]
    assert [unit["channel"] for unit in first["units"]] == expected
    deep = next(layer for layer in found if layer["layer"] == "4")
    top, left = (2 * p + (8 - 1) / 2 - 1 for p in deep["position"])  # the middle of a field of 8 pixels, every 2
    assert abs(top - 5) <= 1
    assert abs(left - 8) <= 1


def test_signals_are_bands_with_units_at_their_places() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 3, 5, stride=2), nn.ReLU(), nn.Conv1d(3, 4, 3), nn.Flatten(), nn.Linear(32, 2))
    signals = torch.randn(3, 2, 24, generator=torch.Generator().manual_seed(1))
    with dv.explore(dv.DeconvNet(model), signals, token=TOKEN, open_browser=False) as explorer:
        client = Client(explorer)
        placed = client.ask("place", image="data-1", at="0,12").json["layers"]
        sprite = client.ask("maps", image="data-1", layer="1").json["sprite"]
        strip = client.ask("dataset", start=0, count=1).json["sprite"]
    with torch.no_grad():
        maps = [model[:n](signals[1:2])[0] for n in (1, 2, 3)]
    assert [(one["layer"], one["position"]) for one in placed] == [("0", [5]), ("1", [5]), ("2", [4])]
    for values, one in zip(maps, placed, strict=True):
        here = values[:, one["position"][0]]
        assert [unit["channel"] for unit in one["units"]] == [
            int(n) for n in here.argsort(descending=True) if here[n] > 0
        ]
    assert sprite["cell"] == [2, 10]
    sheet, row, column = picture_at(sprite["url"]), 2 // sprite["columns"], 2 % sprite["columns"]
    levels = (maps[1][2] / maps[1][2].max().clamp(min=1e-30) * 255).round().to(torch.uint8).numpy()
    for line in (0, 1):
        assert (sheet[row * 2 + line, column * 10 : column * 10 + 10] == levels).all()
    small = np.asarray(Image.open(io.BytesIO(base64.b64decode(strip["url"].partition(",")[2]))))
    assert float(small[26:38].std()) > 20  # a band of a quarter of the height, on plain grey
    assert float(small[:20].std()) < 3


def test_a_moved_image(client: Client) -> None:
    x = moved(IMAGES[3:4], (2, -3))
    assert torch.equal(x[:, :, 2:, :9], IMAGES[3:4, :, :10, 3:])
    assert torch.equal(x[:, :, 0, :9], IMAGES[3:4, :, 0, 3:])
    with torch.no_grad():
        expected = NET.model[:1](x)[0].flatten(1).amax(1)
    found = client.ask("maps", image="data-3", layer="0", shift="2,-3").json
    assert found["maximum"] == pytest.approx(expected.tolist(), abs=1e-5)
    assert "cannot be moved by 12 and 0" in client.ask("maps", image="data-3", layer="0", shift="12,0").json["error"]


@pytest.mark.parametrize(("shift", "size"), [((0, 0), 200), ((2, -3), 150), ((-1, 4), 50)])
def test_an_image_of_another_size(client: Client, shift: tuple[int, int], size: int) -> None:
    """Against an interpolation written out: the image is larger about its middle, and then moved."""
    image, length = IMAGES[3, 0].double(), 12
    expected = torch.zeros(length, length, dtype=torch.float64)
    for row in range(length):
        for column in range(length):
            places = [(p + 0.5 - 6 - by) * 100 / size + 6 - 0.5 for p, by in zip((row, column), shift, strict=True)]
            (top, down), (left, right) = ((int(np.floor(place)), place - np.floor(place)) for place in places)
            for r, of_row in ((top, 1 - down), (top + 1, down)):
                for c, of_column in ((left, 1 - right), (left + 1, right)):
                    value = image[min(max(r, 0), length - 1), min(max(c, 0), length - 1)]
                    expected[row, column] += of_row * of_column * value
    x = moved(IMAGES[3:4], shift, size)
    torch.testing.assert_close(x[0, 0].double(), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        maxima = NET.model[:1](x)[0].flatten(1).amax(1)
    found = client.ask("maps", image="data-3", layer="0", shift=f"{shift[0]},{shift[1]},{size}").json
    assert found["maximum"] == pytest.approx(maxima.tolist(), abs=1e-5)


def test_an_image_of_ones_own(client: Client) -> None:
    key = client.give(png(seed=4), "my.png").json["image"]
    found = client.ask("image", image=key).json
    assert found["name"] == "my.png"
    pixels = np.asarray(Image.open(io.BytesIO(png(seed=4))))
    assert (picture_at(found["picture"])[..., 0] == pixels).all()
    assert [key, "my.png"] in client.ask("state").json["own"]
    other = client.give(png(seed=5), "another.png").json["image"]
    client.give(png(seed=6), "camera.jpg", live="1")
    own = client.ask("own").json
    assert own["items"] == [[other, "another.png"], [key, "my.png"]]
    small = Image.open(io.BytesIO(base64.b64decode(own["sprite"]["url"].partition(",")[2])))
    side = own["sprite"]["cell"][0]
    assert small.size == (2 * side, side)
    means = [float(np.asarray(small)[:, place * side : (place + 1) * side].mean()) for place in (0, 1)]
    expected = [float(np.asarray(Image.open(io.BytesIO(png(seed=n)))).mean()) for n in (5, 4)]
    assert means == pytest.approx(expected, abs=3)


def test_the_strip_of_the_data_set(client: Client) -> None:
    found = client.ask("dataset", start=6, count=24).json
    assert [item[:2] for item in found["items"]] == [[6, "6"], [7, "7"]]
    assert client.ask("dataset", start=100, count=5).json["items"] == []


def test_reconstruction_of_a_whole_layer(client: Client) -> None:
    found = client.ask("reconstruction", image="data-3", layer="3").json
    expected = np.asarray(to_pil(signed_as_rgb(NET.reconstruct(IMAGES[3:4], "3").pixels[0])))
    assert (picture_at(found["picture"]) == expected).all()


def test_files_that_are_saved(client: Client, tmp_path: Path) -> None:
    given = {"image": "data-3", "layer": "3", "channel": 2, "position": "1,2"}
    saved = client.ask("save/result", **given)
    assert saved.headers["content-disposition"] == 'attachment; filename="deconvviz-3-2.safetensors"'
    (tmp_path / "a.safetensors").write_bytes(saved.body)
    own = NET.project(IMAGES[3:4], "3", channel=2, position=(1, 2))
    torch.testing.assert_close(Projection.load(tmp_path / "a.safetensors").pixels, own.pixels)
    with Image.open(io.BytesIO(client.ask("save/picture", **given).body)) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"style": "guided"},
        {"seed": "one"},
        {"random": 1},
        {"shift": "1,-2"},
        {"shift": "1,-2,150"},
        {"position": "0,1"},
    ],
)
def test_the_lines_of_python_make_the_same_projection(
    client: Client, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"image": "data-3", "layer": "3", "channel": 2, **options}
    saved = client.ask("save/result", **given)
    (tmp_path / "a.safetensors").write_bytes(saved.body)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"net": small_net(), "dataset": IMAGES}
    exec(client.ask("python", **given).json["lines"], names)
    expected = Projection.load(tmp_path / "a.safetensors")
    torch.testing.assert_close(names["projection"].pixels, expected.pixels)
    assert (tmp_path / "projection.png").exists()


def test_the_lines_of_python_read_the_file_that_was_given(client: Client) -> None:
    key = client.give(png(seed=6), "it's · mine.png").json["image"]
    lines = client.ask("python", image=key, layer="3", channel=1).json["lines"]
    assert """x = to_input("it's · mine.png", net.preprocess)""" in lines


def test_mistakes_are_sentences(client: Client) -> None:
    assert "did you mean" in client.ask("maps", image="data-0", layer="00").json["error"]
    given = {
        "the data set has images 0 to 7, not '8'": {"image": "data-8", "layer": "0"},
        "a request lacks 'layer'": {"image": "data-0"},
        "the explorer does not have this image (any more); give it again ('own-1')": {"image": "own-1", "layer": "0"},
        "shift is a whole number, not 'a'": {"image": "data-0", "layer": "0", "shift": "a,b"},
        "an image has a size of 25 to 800 percent, not 5000": {"image": "data-0", "layer": "0", "shift": "0,0,5000"},
    }
    for sentence, fields in given.items():
        answer = client.ask("maps", **fields)
        assert (answer.status, answer.json["error"]) == (422, sentence)
    answer = client.ask("unit", image="data-0", layer="0", channel=99)
    assert answer.status == 422
    assert "99" in answer.json["error"]
    answer = client.give(b"not an image", "a.png")
    assert (answer.status, answer.json["error"]) == (422, "'a.png' is not an image file that Pillow can read")
