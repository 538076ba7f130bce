"""Values that are not finite, and names that are no text: the explorer answers with JSON all the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import deconvviz as dv
from tests.helpers.explorer_client import TOKEN, Client, png, small_images, small_net

pytest.importorskip("starlette", reason="needs starlette and uvicorn")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")


def strict(body: bytes) -> Any:
    """JSON as browsers read it, which know no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(body, parse_constant=refuse)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(value: float) -> None:
    net = small_net()
    net.model[6].weight.data[1, 0] = value
    with dv.explore(net, small_images(2), token=TOKEN, open_browser=False) as explorer:
        client = Client(explorer)
        image = client.ask("image", image="data-0")
        assert (image.status, strict(image.body)["classes"]) == (200, [])
        maps = strict(client.ask("maps", image="data-0", layer="6").body)
        assert [one is None for one in maps["maximum"]] == [False, True, False, False, False]
        unit = client.ask("unit", image="data-0", layer="6", channel=1)
        assert (unit.status, unit.json["error"]) == (
            422,
            "the activations of layer '6' are not all finite on this input",
        )
        known = client.ask("known", image="data-0", layer="6", channel=1)
        assert known.status == 200
        assert all(one["added"] is not None for one in strict(known.body)["inputs"])
        evidence = client.ask("evidence", image="data-0", layer="6", channel=1).body.splitlines()
        assert "not all finite" in strict(evidence[-1])["error"]
        assert client.ask("unit", image="data-0", layer="3", channel=1).status == 200


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    for name in (b"a.png", b"\xff\xfe.png"):
        try:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(png())
        except OSError:
            pytest.skip("this system has no such names")
    with dv.explore(small_net(), str(tmp_path), token=TOKEN, open_browser=False) as explorer:
        client = Client(explorer)
        strip = client.ask("dataset", start=0, count=5)
        assert strip.status == 200
        assert [number for number, _, _ in strict(strip.body)["items"]] == [0, 1]
        for number in (0, 1):
            image = client.ask("image", image=f"data-{number}")
            assert image.status == 200
            assert strict(image.body)["name"].endswith(".png")
            assert client.ask("python", image=f"data-{number}", layer="3", channel=0).status == 200
