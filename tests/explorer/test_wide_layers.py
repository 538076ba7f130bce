"""Layers of many channels on the explorer's page."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import deconvviz as dv
from tests.helpers.chromium import CHROMIUM
from tests.helpers.explorer_page import shows

pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def test_numbers_of_channels_are_whole(browser: Any) -> None:
    """As activations, with three digits, 2,048 would be 2050."""
    page = browser.new_page()
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2048, 3), nn.Flatten()))
    with dv.explore(net, torch.randn(1, 1, 3, 3), open_browser=False) as explorer:
        page.goto(f"{explorer.url}#layer=0&channel=2047")
        shows(page, "#layers", "Conv2d \u00b7 2,048 \u00d7 1 \u00d7 1 \u00b7 sees 3 \u00d7 3")
        shows(page, "#layers", "Flatten \u00b7 2,048 \u00b7 sees the whole input")
        shows(page, "#layer-facts", "2,048 channels of 1 \u00d7 1")
        shows(page, "#facts", "of 2,048")
    page.close()
