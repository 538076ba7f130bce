"""`explore`: a page in the browser that shows what a network responds to, from a server on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from deconvviz.arguments import FLAG, NET, TEXT, instance, list_of, optional, takes, whole_from
from deconvviz.errors import DependencyError, InputError
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.atlas_values import AtlasValues
from deconvviz.explorer.guard import is_loopback
from deconvviz.explorer.known import KnownChannels
from deconvviz.explorer.networks import Networks
from deconvviz.explorer.python_lines import PythonLines
from deconvviz.explorer.worker import Worker
from deconvviz.io.default_device import on_the_cpu
from deconvviz.mining.matching import check_scan
from deconvviz.net import DeconvNet
from deconvviz.results import TopActivations

if TYPE_CHECKING:
    from typing_extensions import Self

HEADER_SECONDS = 15.0  # for the head of a request to arrive
END_SECONDS = 5.0  # for the server to end
SHORTEST_TOKEN = 16
LINES = PythonLines(
    ["# net is the DeconvNet that was given to dv.explore"], ["# dataset is the data set that was given to it"]
)


@takes(
    net=NET,
    top=optional(instance("what scan returns", TopActivations)),
    classes=list_of(TEXT, "names"),
    host=TEXT,
    port=whole_from(0, 2**16),
    token=optional(TEXT),
    open_browser=FLAG,
)
@on_the_cpu
def explore(
    net: DeconvNet,
    images: Any = None,
    *,
    top: TopActivations | None = None,
    classes: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    open_browser: bool = True,
) -> Explorer:
    """Open a page that shows what a network responds to in images, while you look.

    A server starts in a thread of this process, and the browser opens its page. It ends with `Explorer.close`, at the
    end of a ``with`` block, or with the program; in a script call `Explorer.wait`.

    Args:
        net: The network.
        images: A data set whose images can be chosen, as for `scan`, with items by number. None: only images that are
            given on the page.
        top: What `scan` found in this data set; the page then shows values over the data set.
        classes: Class names, where neither the data set nor the weights have them.
        host: The address to listen on. Only this machine reaches the default.
        port: The port; 0 for a free one.
        token: What the address must carry, at least 16 characters; None for a random one. It must be given if other
            machines can reach `host`.
        open_browser: Whether to open the page.

    Returns:
        An `Explorer` with the address of the page.

    Raises:
        InputError: If an argument does not fit, or nothing can listen on this host and port.
        DependencyError: If Starlette or Uvicorn is not installed.

    Example:
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> from deconvviz.data.mnist import MnistTest
        >>> with explore(DeconvNet(mnist_cnn()), MnistTest(), open_browser=False) as explorer:
        ...     explorer.url.startswith("http://127.0.0.1:")
        True
    """
    check_server_installed()
    check_reach(host, token)
    networks = Networks(net, images)
    if top is not None:
        check_scan(net, networks.data, top)
    lines = PythonLines(LINES.network, LINES.dataset, net.style.name)
    explorer = Explorer(networks, top, classes, lines=lines, host=host, port=port, token=token)
    if open_browser:
        webbrowser.open(explorer.url)
    return explorer


class Explorer:
    """A running explorer.

    Attributes:
        url: The address of the page, with the token.
    """

    def __init__(
        self,
        networks: Networks,
        top: TopActivations | None,
        classes: Sequence[str],
        *,
        lines: PythonLines,
        host: str,
        port: int,
        token: str | None,
        atlas: AtlasValues | None = None,
    ) -> None:
        self._worker = Worker()
        self._ended = threading.Event()
        try:
            self._listener = listener(host, port)
            known = KnownChannels(networks, top, atlas)
            token = token or secrets.token_urlsafe(24)
            app = _application(Answers(networks, classes), known, lines, self._worker, token=token, host=host)
            self._server = _server(app)
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
            shown = f"[{shown}]" if ":" in shown else shown
            self.url = f"http://{shown}:{self._listener.getsockname()[1]}/?token={quote(token, safe='')}"
        except BaseException:
            self._worker.close()
            raise
        self._thread = threading.Thread(target=self._run, name="deconvviz explorer's server", daemon=True)
        self._thread.start()
        self._worker.ask("", "scan", 1, known.scanning(), behind=True)

    def __repr__(self) -> str:
        return f"Explorer({self.url.partition('?')[0]!r}{', closed' if self._ended.is_set() else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait(self) -> None:
        """Wait until the explorer is closed, from another thread or by Ctrl-C."""
        try:
            while not self._ended.wait(0.5):  # so that Ctrl-C is heard on every system
                pass
        finally:
            self.close()

    def close(self) -> None:
        """End the server and its work."""
        self._server.should_exit = True
        self._thread.join(END_SECONDS)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(END_SECONDS)
        self._worker.close()
        self._listener.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        finally:
            self._ended.set()


def _application(
    answers: Answers, known: KnownChannels, lines: PythonLines, worker: Worker, *, token: str, host: str
) -> Any:
    from deconvviz.explorer.app import Application  # noqa: PLC0415  needs Starlette
    from deconvviz.explorer.guard import Guard  # noqa: PLC0415
    from deconvviz.explorer.questions import Questions  # noqa: PLC0415

    networks = answers.networks
    title = type(networks.given.model).__name__
    if networks.pictures is not None:
        title += f" · {networks.pictures.dataset}"
    questions = Questions(answers, known, lines, title)
    return Guard(Application(questions, networks.clients, worker).asgi, token, host)


def _server(app: Any) -> Any:
    import uvicorn  # noqa: PLC0415  may not be installed
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415

    class Protocol(H11Protocol):
        """Closes connections whose request does not begin in time."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # asyncio does it only where the listener named its protocol; the body would wait for the head's receipt
            with contextlib.suppress(OSError):  # the client has gone already
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clock = self.loop.call_later(HEADER_SECONDS, self._close_silent)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._clock.cancel()  # it would hold the connection and its last request until then

        def _close_silent(self) -> None:
            if not self.headers and not self.transport.is_closing():
                self.transport.close()

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=1,
        )
    )


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises InputError if nothing can listen there."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, UnicodeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition(" (while ")[0]  # Python adds the address
        raise InputError(
            f"the explorer cannot listen on host {host!r}, port {port} ({why}); give another port, or 0 for a free one"
        ) from error


def check_reach(host: str, token: str | None) -> None:
    """Raise InputError if other machines can reach the host and no token is given, or if the token is too short."""
    if token is None and not is_loopback(host):
        raise InputError(
            f"other machines can reach host {host!r}, so the explorer needs a token; give one of {SHORTEST_TOKEN} "
            f"characters or more, or leave the host out"
        )
    if token is not None and not (len(token) >= SHORTEST_TOKEN and token.isascii() and token.isprintable()):
        raise InputError(f"a token has {SHORTEST_TOKEN} characters or more, all printable ASCII")


def check_server_installed() -> None:
    """Raise DependencyError if the libraries of the server are not installed."""
    for name in ("starlette", "uvicorn"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise DependencyError(
                f"the explorer needs {name}, which cannot be imported ({error}); "
                "install it with: pip install starlette uvicorn"
            ) from error
