"""A page that marimo exports shows the widget's first view, though no kernel runs.

Skipped without marimo or Chromium.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chromium import CHROMIUM
from tests.helpers.explorer_client import small_images, small_net
from tests.helpers.explorer_page import shows

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")]
NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    from tests.helpers.explorer_client import small_images, small_net
    small_net().explore(small_images(3), "3", channel=2)
    return
"""
ROOT = Path(__file__).parents[2]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the exported page is. Its scripts, which it takes from the internet, come with marimo."""
    marimo = pytest.importorskip("marimo")
    pytest.importorskip("anywidget")
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    command = [sys.executable, "-m", "marimo", "--yes", "export", "html", "notebook.py", "-o", "exported.html"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "dist").symlink_to(Path(marimo.__file__).parent / "_static")
    exported = (tmp_path / "exported.html").read_text("utf-8")
    own, count = re.subn(r"https://cdn\.jsdelivr\.net/npm/@marimo-team/frontend@[\w.]+/dist", "/dist", exported)
    assert count
    (tmp_path / "page.html").write_text(own, "utf-8")
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()


def test_the_exported_page_shows_the_unit(browser: Any, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(address, wait_until="commit", timeout=120_000)
    page.locator(".deconvviz .figures img").first.wait_for(timeout=120_000)
    pictures = page.locator(".deconvviz .figures img")  # in a shadow tree, which the page's own queries do not enter
    for _ in range(1200):
        if pictures.evaluate_all("all => all.filter(one => one.naturalWidth).length") == 4:
            break
        page.wait_for_timeout(50)
    assert pictures.evaluate_all("all => all.filter(one => one.naturalWidth).length") == 4
    expected = small_net().project(small_images(3)[:1], "3", channel=2).units[0]
    shows(page, ".deconvviz .panel:nth-child(3) h3", "3 channel 2")
    shows(page, ".deconvviz .numbers", f"{expected.activation:.3g}".replace("-", "\u2212"))
    page.close()
