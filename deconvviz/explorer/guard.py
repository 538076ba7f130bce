"""Who may ask the explorer: only a browser that opened the address with the token, on a page of the explorer itself.

The first address carries the token. It is exchanged for a cookie that scripts cannot read and that no other site's page
can have sent. The Host header must be a name of this machine, so that a page of another site whose name was pointed
here cannot ask; the Origin, where there is one, must be the host.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_SECONDS = 20.0  # for a body to arrive
SEND_SECONDS = 20.0  # for a reader to take a part of an answer
OPEN_FIRST = (
    "This page belongs to `deconvviz explore`. Open the address that the command printed, with its token; "
    "a restarted explorer has a new one."
)
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """An ASGI application in front of another one, which it lets see only requests that are allowed.

    The inner application finds who asks in ``scope["client_key"]``.
    """

    def __init__(self, app: App, token: str, host: str) -> None:
        """Guard an application.

        Args:
            app: The application.
            token: What the first address carries.
            host: The address or name that the server was asked to listen on.
        """
        self._app, self._token = app, token
        self._names = {"localhost", host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        if is_loopback(host):
            self._names = {"localhost", host.lower()}
        self._loopback = is_loopback(host)
        self._secret = hashlib.sha256(b"deconvviz explorer " + token.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        sending = _Sending(send)
        refusal = self._refusal(scope, headers)
        if refusal:
            await _refuse(sending, *refusal)
            return
        client = self._client(headers, scope)
        if not client and self._is_first(scope):
            client = secrets.token_hex(16)
            sending.more = [(b"set-cookie", self._cookie(client, scope).encode())]
        if not client:
            await _refuse(sending, 403, OPEN_FIRST)
            return
        scope["client_key"] = client
        await self._app(scope, _Receiving(receive), sending)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Why a request is refused whoever asks, as a status and a sentence; None if it is not."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not self._is_here(headers["host"]):
            return 421, "This address is not one of the explorer's."
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{headers['host'].lower()}",):
            return 403, "Pages of other sites may not ask the explorer."
        if scope["method"] not in ("GET", "HEAD") and origin is None:
            return 403, "The request says nothing of the page that it comes from."
        top = scope["path"] == "/" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not top:
            return 403, "Pages of other sites may not ask the explorer."
        return None

    def _is_here(self, host: str) -> bool:
        """Whether a Host header names this machine; only names can be pointed elsewhere, addresses cannot."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname, parts.port
        except ValueError:
            return False
        if not name or parts.netloc != host or "@" in host:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._loopback

    def _is_first(self, scope: Scope) -> bool:
        """Whether this is the first address, with the right token."""
        try:
            given = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=8).get("token", [""])
        except ValueError:
            return False
        right = hmac.compare_digest(given[0].encode("utf-8", "replace"), self._token.encode())
        return scope["path"] == "/" and scope["method"] in ("GET", "HEAD") and len(given) == 1 and right

    def _client(self, headers: Mapping[str, str], scope: Scope) -> str:
        """Who asks, by the cookie; "" without a valid one.

        Other programs on other ports of this machine have cookies here, too, which need not be what Python reads.
        """
        own = _cookie_name(scope)
        for cookie in headers.get("cookie", "").split(";"):
            name, _, value = cookie.strip().partition("=")
            client, _, sign = value.partition(".")
            if (
                name == own
                and client
                and hmac.compare_digest(sign.encode("utf-8", "replace"), self._sign(client).encode())
            ):
                return client
        return ""

    def _sign(self, client: str) -> str:
        return hmac.new(self._secret, client.encode("utf-8", "replace"), "sha256").hexdigest()

    def _cookie(self, client: str, scope: Scope) -> str:
        return f"{_cookie_name(scope)}={client}.{self._sign(client)}; Path=/; HttpOnly; SameSite=Strict"


class _Receiving:
    """The body of a request, which has to arrive in time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._whole = False

    async def __call__(self) -> Message:
        if self._whole:  # waits for the client to go, however long
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), BODY_SECONDS)
        except asyncio.TimeoutError:
            return {"type": "http.disconnect"}
        self._whole = not message.get("more_body", False)
        return message


class _Sending:
    """The answer, with the headers of every answer, which has to be read in time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.more: list[tuple[bytes, bytes]] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", ()), *own, *self.more]}
        await asyncio.wait_for(self._send(message), SEND_SECONDS)


async def _refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with a sentence and close the connection, so that a body that is still coming is not read."""
    content = sentence.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(content)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _cookie_name(scope: Scope) -> str:
    """The cookie's name, with the port: cookies are shared by all ports of a host."""
    return f"deconvviz-{(scope.get('server') or ('', 0))[1]}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
