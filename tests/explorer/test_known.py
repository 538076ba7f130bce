"""What the explorer knows of a channel over the data set: the scan behind, its strongest units, inputs, evidence."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, MissingFileError
from deconvviz.evidence.steps import finished
from deconvviz.explorer.atlas_values import AtlasValues
from deconvviz.explorer.known import KnownChannels, bars_of
from deconvviz.explorer.networks import Networks
from deconvviz.explorer.worker import Worker
from tests.helpers.explorer_client import TOKEN, Client, small_images, small_net

pytest.importorskip("starlette", reason="needs starlette and uvicorn")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")

NET, IMAGES = small_net(), small_images(20)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with dv.explore(NET, IMAGES, token=TOKEN, open_browser=False) as explorer:
        yield Client(explorer)


def known(client: Client, **fields: object) -> Any:
    for _ in range(300):
        found = client.ask("known", **{"image": "data-1", **fields}).json
        if "scanning" not in found:
            return found
        time.sleep(0.1)
    raise AssertionError("the scan does not end")


def lines(client: Client, question: str, **fields: object) -> list[Any]:
    return [json.loads(line) for line in client.ask(question, **fields).body.splitlines()]


def test_values_over_the_data_set_without_a_scan_of_ones_own(client: Client) -> None:
    found = known(client, layer="3", channel=2)
    with torch.no_grad():
        largest = NET.model[:4](IMAGES)[:, 2].flatten(1).amax(1)
    assert found["images"] == 20
    assert found["maximum"] == pytest.approx(float(largest.max()), rel=1e-5)
    assert found["mean"] == pytest.approx(float(largest.double().mean()), rel=1e-5)
    assert found["fires"] == pytest.approx(float((largest > 0).double().mean()))
    assert sum(count for _, _, count in found["bars"]) == 20
    for low, high, count in found["bars"]:
        assert count == int(((largest >= low) & (largest < high)).sum())


def test_a_scan_that_was_given_is_used() -> None:
    top = dv.scan(NET, IMAGES, layers=["3"], k=3, progress=False)
    with dv.explore(NET, IMAGES, top=top, token=TOKEN, open_browser=False) as explorer:
        client = Client(explorer)
        (result,) = lines(client, "strongest", layer="3", channel=2)[-1:]
        units = result["result"]["units"]
        assert [unit["image"] for unit in units] == [f"data-{n}" for n in top.images["3"][2].tolist()]
        assert [unit["value"] for unit in units] == pytest.approx(top.values["3"][2].tolist(), rel=1e-4)
        assert "why" in client.ask("known", image="data-1", layer="1", channel=2).json
    with pytest.raises(InputError, match="the scan is of 20 items, and the dataset has 8; scan again"):
        dv.explore(NET, IMAGES[:8], top=top, open_browser=False)


def test_what_feeds_the_strongest_unit_of_the_image(client: Client) -> None:
    with torch.no_grad():
        read = NET.model[:3](IMAGES[1][None])
        maps = NET.model[3](read)[0, 2]
        row, column = divmod(int(maps.argmax()), maps.shape[1])
        added = (read[0, :, row : row + 3, column : column + 3] * NET.model[3].weight[2]).sum((1, 2))
    inputs = known(client, image="data-1", layer="3", channel=2)["inputs"]
    order = [n for n in added.abs().argsort(descending=True).tolist() if added[n]]
    assert [one["channel"] for one in inputs] == order
    assert {one["layer"] for one in inputs} == {"0"}
    assert [one["added"] for one in inputs] == pytest.approx(added[order].tolist(), rel=1e-4)
    assert known(client, layer="0", channel=2)["inputs"] == []


def test_evidence_is_a_badge_and_a_sentence(client: Client) -> None:
    (result,) = lines(client, "evidence", image="data-1", layer="3", channel=2)[-1:]
    faithful, specific = result["result"]["badges"]
    assert faithful[0] in ("good", "weak", "bad")
    assert "random" in faithful[1]
    assert specific[0] == "none"
    assert "Cosine with another channel: " in specific[1]
    assert "1 image is too few to say; use at least 8" in specific[2]
    assert faithful[2].endswith(".")
    (result,) = lines(client, "evidence", image="data-1", layer="9", channel=2)[-1:]
    assert "9" in result["error"]


def test_a_data_set_that_cannot_be_scanned_says_why() -> None:
    images = IMAGES.clone()
    with dv.explore(NET, [image[:, : 12 - n] for n, image in enumerate(images[:3])], open_browser=False) as explorer:
        found = known(Client(explorer), image="data-0", layer="0", channel=0)
        assert found["why"].startswith("The data set could not be scanned: ")


def test_a_first_image_that_cannot_be_read_does_not_stop_the_scan() -> None:
    images: list[torch.Tensor] = [torch.full_like(IMAGES[0], torch.nan), *IMAGES]
    with dv.explore(NET, images, token=TOKEN, open_browser=False) as explorer:
        assert known(Client(explorer), layer="3", channel=2)["images"] == 20


def scanned(net: dv.DeconvNet, images: Any) -> KnownChannels:
    """What is known after the whole scan, which nobody interrupts."""
    found = KnownChannels(Networks(net, images), None)
    finished(found.scanning())
    return found


class Attention(nn.Module):
    """Tokens that look at each other, by operations from which no one can tell that images stay apart."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        seen: torch.Tensor = self.head(self.attention(tokens, tokens, tokens)[0].mean(1))
        return seen


def test_what_cannot_be_scanned_in_batches_is_scanned_one_by_one() -> None:
    model = Attention().eval()
    found = scanned(dv.DeconvNet(model, strict=False), IMAGES).values("head", 2)
    with torch.no_grad():
        assert found["maximum"] == pytest.approx(float(model(IMAGES)[:, 2].max()), rel=1e-4)
    assert found["images"] == 20
    convolution = nn.Conv2d(1, 3, 3)
    images = [IMAGES[0][:, :10], IMAGES[1], IMAGES[2][:, :, :9]]
    found = scanned(dv.DeconvNet(nn.Sequential(convolution)), images).values("0", 1)
    with torch.no_grad():
        largest = max(float(convolution(image)[1].max()) for image in images)
    assert found["maximum"] == pytest.approx(largest, rel=1e-5)
    assert found["images"] == 3


def test_without_a_data_set() -> None:
    with dv.explore(NET, open_browser=False) as explorer:
        client = Client(explorer)
        assert client.ask("state").json["dataset"] is None
        assert client.ask("dataset", start=0, count=1).status == 422
        assert "without a data set" in client.ask("image", image="data-0").json["error"]


def test_bars_of_a_histogram() -> None:
    infinity = float("inf")
    assert bars_of([0, 2, 0, 1, 0], [-infinity, -1.0, 0.0, 1.0, 2.0, infinity]) == [
        (-1.0, 0.0, 2),
        (0.0, 1.0, 0),
        (1.0, 2.0, 1),
    ]
    assert bars_of([1, 0, 3], [-infinity, -1.0, 1.0, infinity]) == [(-2.0, -1.0, 1), (-1.0, 1.0, 0), (1.0, 2.0, 3)]
    assert bars_of([0, 0], [-infinity, 0.0, infinity]) == []
    assert len(bars_of([1] * 100, [float(n) for n in range(101)])) <= 40


def test_the_scan_behind_ends_with_the_explorer() -> None:
    before = set(threading.enumerate())
    with dv.explore(NET, small_images(400), open_browser=False):
        for _ in range(200):
            if any("scan" in thread.name for thread in {*threading.enumerate()} - before):
                break
            time.sleep(0.05)
    assert not [thread.name for thread in {*threading.enumerate()} - before if "explorer" in thread.name]


def test_values_of_an_atlas(tmp_path: Path) -> None:
    top = dv.scan(NET, IMAGES, layers=["3"], k=3, progress=False)
    page = dv.build_atlas(NET, IMAGES, top, out=tmp_path / "atlas", evidence=False, progress=False)
    atlas = AtlasValues(page.parent, NET, 20)
    known = KnownChannels(Networks(NET, IMAGES), None, atlas)
    assert list(known.scanning()) == []
    values = known.values("3", 2)
    assert values["images"] == 20
    assert values["maximum"] == pytest.approx(float(top.statistics["3"].maximum[2]), rel=1e-4)
    assert sum(count for _, _, count in values["bars"]) == 20
    assert "why" in known.values("0", 2)
    worker = Worker()
    units = worker.ask("", "", 1, known.strongest("3", 2)).result.result(timeout=60)["units"]
    worker.close()
    assert [unit["image"] for unit in units] == [f"data-{n}" for n in top.images["3"][2].tolist()]
    assert [unit["value"] for unit in units] == pytest.approx(top.values["3"][2].tolist(), rel=1e-4)
    others = KnownChannels(Networks(NET, IMAGES.flip(0)), None, atlas)
    with pytest.raises(InputError, match=r"the atlas found .* the dataset has changed; give that of the atlas"):
        finished(others.strongest("3", 2))
    torch.manual_seed(1)
    other = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3)))
    with pytest.raises(InputError, match="other weights"):
        AtlasValues(page.parent, other, None)
    with pytest.raises(InputError, match="is of 20 items, and the dataset has 8; give its dataset"):
        AtlasValues(page.parent, NET, 8)
    with pytest.raises(MissingFileError, match="holds no complete atlas"):
        AtlasValues(tmp_path, NET, None)
