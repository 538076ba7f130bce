"""A client of the explorer that sends exactly the requests it is told, right or hostile."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.explorer.serve import Explorer
from deconvviz.images import Preprocess

TOKEN = "a-token-of-the-tests"


class Answered(NamedTuple):
    """Status, headers and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One browser: it has its own cookie."""

    def __init__(self, explorer: Explorer) -> None:
        self.address = urlsplit(explorer.url)
        self.numbers = itertools.count(1)
        self.cookie = ""
        opened = self.send("GET", f"/?{self.address.query}")
        self.cookie = opened.headers["set-cookie"].partition(";")[0]

    @property
    def port(self) -> int:
        return int(self.address.port or 0)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Answered:
        """Send a request; headers whose value is None are left out."""
        sent: dict[str, str | None] = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie or None}
        if method == "POST":
            sent["Origin"] = f"http://127.0.0.1:{self.port}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in sent:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answered(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def ask(self, question: str, lane: str = "", **fields: object) -> Answered:
        """Ask a question of the page's."""
        words = urlencode({**fields, "lane": lane or question, "number": next(self.numbers)})
        return self.send("GET", f"/{question}?{words}" if "/" in question else f"/api/{question}?{words}")

    def give(self, content: bytes, name: str = "a.png", **fields: str) -> Answered:
        """Give an image."""
        return self.send("POST", f"/api/images?{urlencode({'name': name, **fields})}", content)

    def raw(self, content: bytes, *, wait: float = 5) -> bytes:
        """Send bytes as they are and return the beginning of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait) as connection:
            connection.sendall(content)
            try:
                return connection.recv(4096)
            except TimeoutError:
                return b""


def png(size: tuple[int, int] = (12, 12), seed: int = 0, mode: str = "L") -> bytes:
    """A PNG of random pixels."""
    channels = {"L": 1, "RGB": 3}[mode]
    pixels = torch.randint(0, 256, (size[1], size[0], channels), generator=torch.Generator().manual_seed(seed))
    array = pixels.to(torch.uint8).numpy()
    Image.fromarray(array[..., 0] if mode == "L" else array).save(content := io.BytesIO(), "PNG")
    return content.getvalue()


def small_net() -> dv.DeconvNet:
    """A network of two convolutions on grey images of 12 x 12 pixels, with five classes."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(96, 5),
    )
    return dv.DeconvNet(model.eval(), preprocess=Preprocess(12, (0.5,), (0.25,)))


def small_images(count: int = 8) -> torch.Tensor:
    return torch.randn(count, 1, 12, 12, generator=torch.Generator().manual_seed(5))
