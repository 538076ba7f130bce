"""Firefox, driven by its own protocol Marionette: messages of JSON over a socket, each after its length."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
START_SECONDS = 90.0


class Firefox:
    """A session with a Firefox that listens on a port."""

    def __init__(self, port: int) -> None:
        self._socket = _connected(port)
        self._count = 0
        self._received()  # its greeting
        self.ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": False}}})

    def ask(self, command: str, parameters: dict[str, Any] | None = None) -> Any:
        """Have a command done; returns what it answers."""
        self._count += 1
        content = json.dumps([0, self._count, command, parameters or {}]).encode()
        self._socket.sendall(b"%d:%s" % (len(content), content))
        _, number, error, result = self._received()
        assert number == self._count
        if error:
            raise AssertionError(f"{command}: {error['error']}: {error['message']}")
        return result

    def go(self, address: str) -> None:
        self.ask("WebDriver:Navigate", {"url": address})

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.ask("WebDriver:ExecuteScript", {"script": f"return ({script});", "args": [], "sandbox": None})[
            "value"
        ]

    def until(self, condition: str, seconds: float = 30) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"in Firefox this did not become true: {condition}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """Press a key."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.ask("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a selector finds."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        found = self.ask("WebDriver:FindElement", {"using": "css selector", "value": selector})["value"]
        self.ask("WebDriver:ElementClick", {"id": next(iter(found.values()))})

    def picture(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self.ask("WebDriver:TakeScreenshot", {"full": False})["value"])

    def close(self) -> None:
        self._socket.close()

    def _received(self) -> Any:
        length = b""
        while (character := self._read(1)) != b":":
            length += character
        return json.loads(self._read(int(length)))

    def _read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            assert part, "Firefox has ended"
            parts += part
        return parts


def _connected(port: int) -> socket.socket:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            assert time.monotonic() < end, "Firefox does not listen"
            time.sleep(0.1)


@contextlib.contextmanager
def firefox(profile: Path, width: int = 1200, height: int = 850) -> Iterator[Firefox]:
    """A Firefox without a window, with a new profile."""
    assert FIREFOX is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "user.js").write_text(
        f'user_pref("marionette.port", {port});\nuser_pref("datareporting.policy.dataSubmissionEnabled", false);\n'
        'user_pref("app.update.enabled", false);\nuser_pref("browser.shell.checkDefaultBrowser", false);\n'
    )
    command = [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with contextlib.closing(Firefox(port)) as session:
            session.ask("WebDriver:SetWindowRect", {"width": width, "height": height})
            yield session
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
