"""Cookies of other programs on this machine: all ports of a host share them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import deconvviz as dv
from tests.helpers.explorer_client import TOKEN, Client, small_images, small_net

pytest.importorskip("starlette", reason="needs starlette and uvicorn")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with dv.explore(small_net(), small_images(2), token=TOKEN, open_browser=False) as explorer:
        yield Client(explorer)


@pytest.mark.parametrize(
    "other",
    [
        'settings={"theme":"dark","panes":[1,2]}',
        "items[]=1",
        "no value",
        "=nameless",
        "expires=1",
        'username-127-0-0-1-8888="2|1:0|10:17|23:user|44:abc=="',
        "caf\u00e9=1",
        f"long={'x' * 6000}",
    ],
)
def test_they_are_no_matter(client: Client, other: str) -> None:
    for cookies in (f"{other}; {client.cookie}", f"{client.cookie}; {other}"):
        answer = client.send("GET", "/web/explorer/main.js", Cookie=cookies.encode().decode("latin-1"))
        assert answer.status == 200
    assert client.send("GET", "/web/explorer/main.js", Cookie=other.encode().decode("latin-1")).status == 403


def test_one_of_the_same_name_takes_nothing_away_and_gives_nothing(client: Client) -> None:
    name, _, value = client.cookie.partition("=")
    for cookies in (f"{name}=other.sign; {client.cookie}", f"{client.cookie}; {name}=other.sign"):
        assert client.send("GET", "/", Cookie=cookies).status == 200
    for cookies in (
        f"{name}=other.{value.partition('.')[2]}",
        f"{name}=.",
        f"{name}=",
        f"x{client.cookie}",
        f"x={value}",
    ):
        assert client.send("GET", "/", Cookie=cookies).status == 403
