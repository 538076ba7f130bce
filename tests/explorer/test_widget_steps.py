"""The notebook's widget step by step: what is shown is always what is chosen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.io.pages import web_file
from tests.explorer.test_notebook_widget import cell, show  # noqa: F401  a fixture
from tests.helpers.chromium import CHROMIUM, until

pytest.importorskip("anywidget", reason="needs anywidget")
pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")

TITLE = "document.querySelector('.panel:nth-child(3) h3').textContent"
FRAMED = "!document.querySelector('.stage .frame').hidden"
FIGURES = "document.querySelector('.figures').offsetParent !== null"


def chosen(page: Any, traits: str) -> None:
    """Set traits, as Python does."""
    page.evaluate(f"for (const [name, value] of Object.entries({traits})) model.set(name, value)")


def test_a_layer_without_a_unit_shows_none(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    cell.locator(".layers button").first.click()
    until(cell, f"{TITLE} === 'Unit' && !({FRAMED}) && !({FIGURES})")
    chosen(cell, "{layer: '3', channel: 2}")  # the unit before, which is shown again
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED} && {FIGURES}")


def test_a_map_is_one_of_its_own_layer(cell: Any) -> None:  # noqa: F811
    until(cell, "document.querySelectorAll('.map').length === 6")
    cell.evaluate("() => { window.held = []; window.sent = model.send; model.send = content => held.push(content); }")
    cell.locator(".layers button").first.click()
    until(cell, "held.length === 1")
    cell.locator(".map[data-channel='5']").click()  # layer 0 has four channels
    cell.evaluate("async () => { model.send = sent; for (const content of held) await sent(content); }")
    until(cell, f"{TITLE} === '3 channel 5'")
    assert cell.evaluate("[model.get('layer'), model.get('channel')]") == ["3", 5]
    until(cell, "document.querySelectorAll('.map').length === 6")


def test_a_unit_that_there_is_not_is_not_the_one_before(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    chosen(cell, "{channel: 99}")
    until(
        cell, "document.querySelector('[role=alert]').textContent.includes(\"layer '3' has channels 0 to 5, not 99\")"
    )
    assert cell.evaluate(f"[{TITLE}, {FRAMED}, {FIGURES}]") == ["3 channel 99", False, False]
    chosen(cell, "{channel: 1}")
    until(cell, f"{TITLE} === '3 channel 1' && {FRAMED} && {FIGURES}")
    until(cell, "document.querySelector('[role=alert]').hidden")


AGAIN = """async source => {
  const {default: widget} = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
  ended();
  window.held = [];
  window.sent = model.send;
  model.send = content => content.name === "image" ? held.push(content) : sent(content);
  window.ended = widget.render({model, el: document.getElementById("cell")});
}"""


def test_a_layer_is_described_when_its_maps_come_before_the_image(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    chosen(cell, "{image: 1}")
    until(cell, "document.querySelector('.panel p').textContent === 'image 1'")
    cell.evaluate(AGAIN, web_file("bundles/widget.js").decode())  # shown anew, at a view that did not come with it
    until(cell, "held.length === 1 && document.querySelectorAll('.map').length === 6")
    cell.evaluate("() => Promise.all(held.map(sent))")
    until(cell, "document.querySelector('.panel:nth-child(2) p').textContent.startsWith('Conv2d, 6 channels of 4')")


IMPATIENT = """() => {
  const real = window.setTimeout.bind(window);
  window.setTimeout = (act, wait) => real(act, wait === 4000 ? 50 : wait);
  window.sent = model.send;
}"""
ALERT = "document.querySelector('[role=alert]')"
WORDS = "kernel does not answer. It is busy, not running, or was started anew; then run the cell again."
SILENT = f"{ALERT}.textContent.includes('{WORDS}') && !{ALERT}.hidden"


def test_a_kernel_that_does_not_answer_is_said_until_it_does(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    cell.evaluate(IMPATIENT)
    cell.evaluate("() => { window.held = []; model.send = content => held.push(content); }")
    cell.locator(".map[data-channel='4']").click()
    until(cell, SILENT)
    cell.locator(".map[data-channel='2']").click()  # which came with the widget
    cell.wait_for_timeout(100)
    assert cell.evaluate(SILENT)
    cell.locator(".map[data-channel='5']").click()
    cell.evaluate("async () => { model.send = sent; for (const content of held) await sent(content); }")
    until(cell, f"{TITLE} === '3 channel 5'")
    until(cell, f"{ALERT}.hidden")


def test_a_kernel_that_was_started_anew_is_said(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    cell.evaluate("() => { window.sent = model.send; model.send = () => { throw new Error('Cannot send'); }; }")
    cell.locator(".map[data-channel='4']").click()
    until(cell, SILENT)
    cell.locator(".stage").click()
    cell.wait_for_timeout(50)
    assert cell.evaluate(SILENT)
    cell.evaluate("() => { model.send = sent; }")
    cell.locator(".map[data-channel='5']").click()
    until(cell, f"{TITLE} === '3 channel 5' && {ALERT}.hidden")


def test_a_place_that_is_refused_is_not_the_one_before(cell: Any) -> None:  # noqa: F811
    cross, place = "!document.querySelector('.cross').hidden", "!document.querySelector('.at').hidden"
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    cell.locator(".stage").click()
    until(cell, f"{cross} && {place}")
    cell.evaluate("() => { window.sent = model.send; model.send = one => sent({...one, fields: {at: '99,99'}}); }")
    cell.locator(".stage").click(position={"x": 20, "y": 20})
    until(cell, f"!{ALERT}.hidden")
    assert cell.evaluate(f"[{cross}, {place}]") == [False, False]
    cell.evaluate("() => { window.held = []; model.send = content => held.push(content); }")
    cell.locator(".stage").click(position={"x": 20, "y": 20})
    until(cell, f"held.length === 1 && {cross}")
    assert not cell.evaluate(place), "the list of another place"
    cell.evaluate("model.set('image', 1)")
    cell.evaluate("async () => { model.send = sent; for (const content of held) await sent(content); }")
    until(cell, "document.querySelector('.panel p').textContent === 'image 1'")
    assert cell.evaluate(f"[{cross}, {place}]") == [False, False]


TWICE = """async source => {
  const {default: widget} = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
  const el = document.body.appendChild(document.createElement("div"));
  el.id = "again";
  widget.render({model, el});
}"""


def test_a_widget_that_is_shown_twice_and_one_of_another_network(cell: Any) -> None:  # noqa: F811
    until(cell, f"{TITLE} === '3 channel 2' && {FRAMED}")
    cell.evaluate(TWICE, web_file("bundles/widget.js").decode())
    other = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 3, 5), nn.ReLU()))
    show(cell, other.explore(torch.ones(1, 1, 9, 9), "0", channel=1), "other")
    titles = "[...document.querySelectorAll('.panel:nth-child(3) h3')].map(one => one.textContent).join()"
    until(cell, f"{titles} === '3 channel 2,3 channel 2,0 channel 1'")
    cell.locator("#again .map[data-channel='4']").click()
    until(cell, f"{titles} === '3 channel 4,3 channel 4,0 channel 1'")
    cell.locator("#other .map[data-channel='2']").click()
    until(cell, f"{titles} === '3 channel 4,3 channel 4,0 channel 2'")
    cell.locator("#cell .layers button").first.click()
    until(cell, f"{titles} === 'Unit,Unit,0 channel 2'")
    count = "[...document.querySelectorAll('.maps')].map(one => one.children.length).join()"
    until(cell, f"{count} === '4,4,3'")
