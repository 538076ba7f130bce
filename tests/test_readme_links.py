"""The command that checks README.md from outside the repository, asked of a server on this machine."""

from __future__ import annotations

import functools
import http.server
import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture(scope="module")
def published() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(ROOT))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_every_picture_and_link_is_there(published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme_links = importlib.import_module("readme_links")
    inside = tmp_path / "README.md"
    text = (ROOT / "README.md").read_text("utf-8").replace("](https://", "](#")  # other sites are not asked here
    inside.write_text(text, "utf-8")
    assert readme_links.main(["--at", published, str(inside)]) == 0
    count = len(set(readme_links.links(text)))
    assert count > 30
    assert capsys.readouterr().out == f"{count} of {count} links answer\n"


def test_what_does_not_answer_is_named(published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme_links = importlib.import_module("readme_links")
    wrong = tmp_path / "wrong.md"
    wrong.write_text(f"![a](docs/images/hero.png) [b](docs/none.md#here) [c]({published}/gone) [d](#here)")
    assert readme_links.main(["--at", published, str(wrong)]) == 1
    assert capsys.readouterr().out == (f"{published}/gone: 404\n{published}/docs/none.md: 404\n1 of 3 links answer\n")
    assert readme_links.main([str(wrong)]) == 1
    assert "0 of 1 links answer; 2 links to files of the repository were not asked for" in capsys.readouterr().out
