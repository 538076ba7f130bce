"""Requests that must get nothing: without the cookie, from other sites, huge, broken, half-sent, many at once.

After them the explorer still answers, and no client sees another one's image.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.explorer import guard
from deconvviz.explorer.clients import MOST_BYTES, MOST_IMAGES
from tests.helpers.explorer_client import TOKEN, Client, png, small_images, small_net
from tests.helpers.hostile_requests import COOKIES, FIELDS, HOSTS, IMAGES_ASKED, ORIGINS, PATHS, RAW, TOKENS, UPLOADED

pytest.importorskip("starlette", reason="needs starlette and uvicorn")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")

SECRET = b"sprite"  # in an answer about maps
MAPS = "/api/maps?image=data-0&layer=0&lane=x&number=1"


@pytest.fixture(scope="module")
def explorer() -> Iterator[Any]:
    with dv.explore(small_net(), small_images(), token=TOKEN, open_browser=False) as explorer:
        yield explorer


@pytest.fixture(scope="module")
def client(explorer: Any) -> Client:
    return Client(explorer)


@pytest.fixture(autouse=True)
def answers_afterwards(client: Client) -> Iterator[None]:
    yield
    assert SECRET in client.ask("maps", image="data-0", layer="0").body


def filled(text: str, client: Client) -> str:
    _, _, value = client.cookie.partition("=")
    known, _, sign = value.partition(".")
    for name, part in {"port": client.port, "own": value, "value": value, "client": known, "sign": sign}.items():
        text = text.replace(f"{{{name}}}", str(part))
    return text


@pytest.mark.parametrize("host", HOSTS)
def test_other_hosts(client: Client, host: str) -> None:
    answer = client.send("GET", MAPS, Host=filled(host, client))
    assert answer.status in (400, 421), host
    assert SECRET not in answer.body
    opened = client.send("GET", f"/?token={TOKEN}", Host=filled(host, client), Cookie=None)
    assert "set-cookie" not in opened.headers


def test_a_request_without_a_host_or_with_two(client: Client) -> None:
    for hosts in ("", f"Host: 127.0.0.1:{client.port}\r\nHost: evil.example\r\n"):
        request = f"GET {MAPS} HTTP/1.1\r\n{hosts}Cookie: {client.cookie}\r\nConnection: close\r\n\r\n"
        assert client.raw(request.encode()).split()[1] in (b"400", b"421")


@pytest.mark.parametrize("origin", ORIGINS)
def test_other_origins(client: Client, origin: str) -> None:
    origin = filled(origin, client)
    answer = client.send("GET", MAPS, Origin=origin)
    assert (answer.status, SECRET in answer.body) == (403, False)
    given = client.send("POST", "/api/images?name=a", png(), Origin=origin)
    assert given.status == 403
    assert "access-control-allow-origin" not in {**answer.headers, **given.headers}


def test_a_post_without_an_origin(client: Client) -> None:
    assert client.send("POST", "/api/images?name=a", png(), Origin=None).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "evil"])
def test_pages_of_other_sites(client: Client, site: str) -> None:
    for kind in ("image", "script", "empty", "iframe"):
        answer = client.send("GET", MAPS, Sec_Fetch_Site=site, Sec_Fetch_Dest=kind)
        assert (answer.status, SECRET in answer.body) == (403, False)
    assert client.send("GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Dest="iframe").status == 403
    assert (
        client.send("GET", "/", Sec_Fetch_Site=site, Sec_Fetch_Dest="document").status == 200
    )  # a link that is clicked


@pytest.mark.parametrize("token", TOKENS)
def test_wrong_tokens(client: Client, token: str) -> None:
    answer = client.send("GET", f"/{token}", Cookie=None)
    assert answer.status in (400, 403)
    assert "set-cookie" not in answer.headers
    assert client.send("GET", f"/api/state?token={TOKEN}&number=1", Cookie=None).status == 403


@pytest.mark.parametrize("cookie", COOKIES)
def test_wrong_cookies(client: Client, cookie: str) -> None:
    for path in (MAPS, "/", "/web/explorer/main.js", "/save/result?image=data-0&layer=0&channel=0&number=1"):
        answer = client.send("GET", path, Cookie=filled(cookie, client))
        assert answer.status in (400, 403), cookie
        assert b"import" not in answer.body


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_lead_nowhere(client: Client, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nCookie: {client.cookie}\r\n"
    answer = client.raw(f"{head}Connection: close\r\n\r\n".encode("latin-1", "replace"))
    assert answer.split()[1] in (b"400", b"404", b"403"), path
    assert b"root:" not in answer


@pytest.mark.parametrize("image", IMAGES_ASKED)
def test_images_are_asked_by_number_only(client: Client, image: str) -> None:
    for question in ("image", "maps", "unit", "place", "python", "save/result"):
        answer = client.ask(question, image=image, layer="0", channel=0, at="1,1")
        assert answer.status == 422, (question, image)
        assert set(answer.json) == {"error"}


@pytest.mark.parametrize("content", UPLOADED)
def test_broken_uploads(client: Client, content: bytes) -> None:
    answer = client.give(content)
    assert answer.status == 422
    assert set(answer.json) == {"error"}


def test_huge_uploads(client: Client) -> None:
    assert client.send("POST", "/api/images?name=a", b"", Content_Length=str(MOST_BYTES + 1)).status == 413
    assert client.send("POST", "/api/images?name=a", b"", Content_Length="9" * 30).status in (400, 413)
    bomb = b"P5 50001 1000 255 "
    assert "decompression bomb" in client.give(bomb).json["error"]
    head = f"POST /api/images?name=a HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nOrigin: http://127.0.0.1:{client.port}\r\n"
    head += f"Cookie: {client.cookie}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n" % 2**20 + b"\x00" * 2**20 + b"\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(head.encode())
        with contextlib.suppress(OSError):  # it is closed before all is sent
            for _ in range(MOST_BYTES // 2**20 + 8):
                connection.sendall(chunk)
        with contextlib.suppress(OSError):
            answer = connection.recv(4096)
            assert not answer or answer.split()[1] == b"422"


@pytest.mark.parametrize("fields", FIELDS, ids=range(len(FIELDS)))
def test_fields_that_do_not_fit(client: Client, fields: dict[str, Any]) -> None:
    answer = client.ask("unit", image="data-0", **{**fields, "lane": str(fields)[:60]})
    if "number" in fields:
        answer = client.send("GET", "/api/unit?image=data-0&layer=0&channel=0&number=x")
    if fields.get("channel") == "٣":
        assert answer.status == 200  # Python reads these digits, too
        return
    assert answer.status == 422
    assert set(answer.json) == {"error"}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "EVIL"])
def test_other_methods(client: Client, method: str) -> None:
    answer = client.send(method, MAPS, Origin=f"http://127.0.0.1:{client.port}")
    assert answer.status in (400, 404, 405)
    assert SECRET not in answer.body
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("content", RAW, ids=range(len(RAW)))
def test_bytes_that_are_no_request(client: Client, content: bytes) -> None:
    with contextlib.suppress(OSError):
        answer = client.raw(content, wait=0.5)
        assert not answer or answer.split()[1] in (b"400", b"403", b"421")


def test_headers_of_every_answer(client: Client) -> None:
    for answer in (
        client.send("GET", "/"),
        client.ask("state"),
        client.send("GET", "/", Cookie=None),
        client.send("GET", "/nothing"),
    ):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    opened = client.send("GET", f"/?token={TOKEN}", Cookie=None)
    assert opened.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")


def test_two_clients_do_not_see_each_others_image(explorer: Any) -> None:
    first, second = Client(explorer), Client(explorer)
    assert first.cookie != second.cookie
    key = first.give(png(seed=1), "first.png").json["image"]
    other = second.give(png(seed=2), "second.png").json["image"]
    for question in (
        "image",
        "maps",
        "unit",
        "place",
        "python",
        "reconstruction",
        "save/result",
        "save/picture",
        "evidence",
        "known",
    ):
        answer = second.ask(question, image=key, layer="0", channel=0, at="1,1")
        assert b"does not have this image" in answer.body, question
        assert b"first.png" not in answer.body
    assert first.ask("state").json["own"] == [[key, "first.png"]]
    assert second.ask("state").json["own"] == second.ask("own").json["items"] == [[other, "second.png"]]
    same = second.give(png(seed=1), "copy.png").json["image"]  # the same bytes are an image of each
    assert second.ask("image", image=same).json["name"] == "copy.png"
    assert first.ask("image", image=key).json["name"] == "first.png"


def test_images_of_a_client_are_bounded(explorer: Any) -> None:
    client = Client(explorer)
    keys = [client.give(png(seed=number)).json["image"] for number in range(MOST_IMAGES + 2)]
    live = [client.give(png(seed=number), live="1").json["image"] for number in range(30, 35)]
    kept = [key for key, _ in client.ask("state").json["own"]]
    assert kept == keys[: -MOST_IMAGES - 1 : -1]
    assert client.ask("maps", image=keys[0], layer="0").status == 422
    assert [client.ask("maps", image=key, layer="0").status for key in live] == [422, 422, 422, 200, 200]


def test_a_flood_of_requests(client: Client, explorer: Any) -> None:
    statuses: list[int] = []

    def ask(number: int) -> None:
        who = client if number % 2 else Client(explorer)
        statuses.append(
            who.ask(
                "unit", lane=f"flood {number % 7}", image=f"data-{number % 8}", layer="3", channel=number % 6
            ).status
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(statuses) == 200
    assert set(statuses) <= {200, 409, 503}
    assert statuses.count(200) >= 100  # those of clients that asked once


def test_half_sent_requests_and_slow_readers_do_not_stall(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.5)
    head = f"POST /api/images?name=a HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nOrigin: http://127.0.0.1:{client.port}\r\n"
    head += f"Cookie: {client.cookie}\r\nContent-Length: 1000\r\n\r\n"
    slow = f"GET /web/explorer/main.js HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nCookie: {client.cookie}\r\n\r\n"
    with contextlib.ExitStack() as stack:
        connections = []
        for content in [head + "half"] * 20 + [head[:40]] * 20 + [slow * 50] * 10:
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", client.port), timeout=10))
            connection.sendall(content.encode())
            connections.append(connection)
        assert SECRET in client.ask("maps", image="data-0", layer="0").body
        start = time.monotonic()
        assert client.give(png(seed=9)).status == 200  # after the half-sent ones have had their time
        assert time.monotonic() - start < 30
        answer = connections[0].recv(4096)
        assert not answer or answer.split()[1] == b"408"


def test_a_host_that_others_reach_needs_a_token() -> None:
    with pytest.raises(InputError, match=r"other machines can reach host '0\.0\.0\.0', so the explorer needs a token"):
        dv.explore(small_net(), host="0.0.0.0", open_browser=False)
    for token in ("short", "ü" * 20, "new\nline-" * 3):
        with pytest.raises(InputError, match="a token has 16 characters or more"):
            dv.explore(small_net(), token=token, open_browser=False)
