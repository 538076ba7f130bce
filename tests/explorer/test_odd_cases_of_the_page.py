"""The explorer's page with networks, data and addresses that are not the usual ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.explorer.conftest import LAYOUTS
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_page import shows

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


@contextlib.contextmanager
def page_of(browser: Any, net: dv.DeconvNet, data: Any, address: str) -> Iterator[Any]:
    """A page on a network of one's own, which says nothing on the console."""
    with dv.explore(net, data, open_browser=False) as explorer:
        context = browser.new_context(**LAYOUTS["desktop"])
        watched = Watched(context.new_page())
        watched.page.goto(f"{explorer.url}#{address}")
        yield watched.page
        assert [said for said in watched.wrong if not said.startswith("failed: ") and "422" not in said] == []
        context.close()


def test_a_signal_is_a_band(browser: Any) -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 5), nn.ReLU())
    with page_of(browser, dv.DeconvNet(model), torch.randn(3, 2, 40), "layer=0&channel=1") as page:
        shows(page, "#facts", "activation")
        until(page, "document.querySelector('#stage .frame').hidden === false")
        image, frame = (page.locator(f"#stage {name}").bounding_box() for name in (".image", ".frame"))
        assert image["height"] >= 40
        assert frame["height"] >= 40
        assert frame["width"] < image["width"] / 4
        page.locator("#stage").click(position={"x": image["width"] / 2, "y": 20})
        shows(page, "#at", "Firing at row 0, column 20")
        assert "false" not in page.locator("#at").text_content()
        shows(page, "#badges", "Faithfulness not judged")
