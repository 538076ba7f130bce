"""`DeconvNet.explore`: what the widget answers, sets and refuses, and what its page does with that in Chromium."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz.errors import DeconvVizError, DependencyError, InputError, UnknownLayerError
from deconvviz.io.pages import web_file
from tests.helpers.chromium import CHROMIUM, Watched, until
from tests.helpers.explorer_client import png, small_images, small_net

pytest.importorskip("anywidget", reason="needs anywidget")


def asked(widget: Any, name: str, **fields: Any) -> dict[str, Any]:
    """What the widget sends for a question of its page."""
    sent: list[Any] = []
    widget.send = sent.append
    widget._heard(widget, {"view": "v", "lane": "l", "name": name, "fields": fields}, [])
    del widget.send
    (said,) = sent
    assert (said["view"], said["lane"]) == ("v", "l")
    return dict(said)


def test_it_begins_with_the_strongest_channel_of_the_first_convolution() -> None:
    net, images = small_net(), small_images(3)
    maps = net.activations(images[:1], "0").maps[0]
    widget = net.explore(images)
    assert (widget.layer, widget.channel, widget.image) == ("0", int(maps.amax((1, 2)).argmax()), 0)
    assert net.explore(images, net.model[3], channel=2).layer == "3"


def test_it_answers_as_the_network_does() -> None:
    net, images = small_net(), small_images(3)
    widget = net.explore(images, "3", channel=2)
    expected = net.project(images[1:2], "3", channel=4)
    fields = {"image": "data-1", "layer": "3", "channel": 4, "position": "", "random": 0, "style": "deconvnet"}
    answer = asked(widget, "unit", **fields)["answer"]
    assert answer["value"] == pytest.approx(expected.units[0].activation)
    assert tuple(answer["position"]) == expected.units[0].position
    widget.image, widget.channel = 1, 4
    torch.testing.assert_close(widget.projection().pixels, expected.pixels)
    widget.position = "2,1"
    at = net.project(images[1:2], "3", channel=4, position=(2, 1))
    torch.testing.assert_close(widget.projection().pixels, at.pixels)


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("unit", {"image": "data-0", "layer": "nope", "channel": 0}, "has no activations of 'nope'"),
        ("unit", {"image": "data-9", "layer": "3", "channel": 0}, "the data set has images 0 to 2, not '9'"),
        ("maps", {"image": "data-0"}, "a request lacks 'layer'"),
        ("state", {}, "the widget asks for image, maps, unit, place, not 'state'"),
    ],
)
def test_what_it_cannot_answer_is_a_sentence(name: str, fields: dict[str, Any], sentence: str) -> None:
    assert sentence in asked(small_net().explore(small_images(3)), name, **fields)["error"]


def test_what_is_set_wrongly_is_refused() -> None:
    widget = small_net().explore(small_images(3), "3", channel=2)
    with pytest.raises(InputError, match="the images are 0 to 2, not 3"):
        widget.image = 3
    with pytest.raises(UnknownLayerError, match="no activations of 'nope'"):
        widget.layer = "nope"
    with pytest.raises(InputError, match="a position is whole numbers with commas, such as '3,5', or '', not 'abc'"):
        widget.position = "abc"
    assert (widget.image, widget.layer, widget.position) == (0, "3", "")
    widget.channel = None
    with pytest.raises(InputError, match="no channel is chosen; set the widget's channel"):
        widget.projection()
    assert "image/png" not in widget._repr_mimebundle_()[0], "and it is shown without a picture"


def test_what_is_given_wrongly_is_refused() -> None:
    with pytest.raises(InputError, match="layer '3' has channels 0 to 5, not 6"):
        small_net().explore(small_images(3), "3", channel=6)
    with pytest.raises(InputError, match="is for networks that take one batch of images"):
        small_net().explore((small_images(1), small_images(1)))
    with pytest.raises(DeconvVizError):
        small_net().explore(small_images(1), "nope")


def test_without_anywidget_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "deconvviz.explorer.notebook", raising=False)
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(DependencyError, match=r"pip install anywidget"):
        small_net().explore(small_images(1))


def test_its_picture_is_that_of_the_unit() -> None:
    widget = small_net().explore(small_images(3), "3", channel=2)
    data, _ = widget._repr_mimebundle_()
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert 'alt="layer 3, channel 2"' in data["text/html"]


def test_images_of_files_have_their_names(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        (tmp_path / name).write_bytes(png(seed=number))
    widget = small_net().explore([tmp_path / "a.png", str(tmp_path / "b.png")])
    assert [asked(widget, "image", image=f"data-{n}")["answer"]["name"] for n in (0, 1)] == ["a.png", "b.png"]
    assert asked(small_net().explore(small_images(2)), "image", image="data-1")["answer"]["name"] == "image 1"


def test_marimo_shows_it_as_a_widget() -> None:
    pytest.importorskip("marimo")
    from marimo._output.formatting import try_format

    shown = try_format(small_net().explore(small_images(1)))
    assert shown.exception is None
    assert "<marimo-anywidget" in str(shown.data)


# In Chromium, with a model that hands messages to the widget as a notebook does

MODEL = """async ([source, styles, state, id]) => {
  const {default: widget} = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
  const heard = {};
  const model = {
    get: name => state[name],
    set: (name, value) => {
      if (state[name] === value) return;
      state[name] = value;
      (heard[`change:${name}`] || []).forEach(one => one());
    },
    save_changes: () => {},
    on: (event, one) => (heard[event] ||= []).push(one),
    off: (event, one) => { heard[event] = (heard[event] || []).filter(other => other !== one); },
    send: async content => {
      const said = await window[`kernel_${id}`](content);
      (heard["msg:custom"] || []).forEach(one => one(said));
    },
  };
  if (id === "cell") Object.assign(window, {model, heard});
  const style = document.createElement("style");
  style.textContent = styles;
  document.head.append(style);
  const el = document.body.appendChild(document.createElement("div"));
  el.id = id;
  const ended = widget.render({model, el});
  if (id === "cell") window.ended = ended;
}"""


def show(page: Any, widget: Any, name: str) -> list[str]:
    """Show a widget in a cell of that name; returns the names of the questions that it will have asked."""
    questions: list[str] = []

    def kernel(content: Any) -> Any:
        questions.append(content["name"])
        return asked(widget, content["name"], **content["fields"]) | {"view": content["view"], "lane": content["lane"]}

    page.expose_function(f"kernel_{name}", kernel)
    traits = ("_about", "_first", "image", "layer", "channel", "position", "random")
    state = {trait: widget.get_state()[trait] for trait in traits}
    page.evaluate(MODEL, [web_file(f"bundles/widget.{kind}").decode() for kind in ("js", "css")] + [state, name])
    return questions


@pytest.fixture
def cell(browser: Any) -> Iterator[Any]:
    """A page that shows the widget."""
    widget = small_net().explore(small_images(3), "3", channel=2)
    context = browser.new_context(viewport={"width": 1000, "height": 700})
    context.set_default_timeout(20_000)
    watched = Watched(context.new_page())
    watched.page.set_content("<h1>A notebook</h1>")
    watched.page.questions = show(watched.page, widget, "cell")
    yield watched.page
    assert watched.wrong == []
    context.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_its_page_in_chromium(cell: Any) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    shows = lambda selector, text: playwright.expect(cell.locator(selector).first).to_contain_text(text)  # noqa: E731
    shows(".panel:nth-child(3) h3", "3 channel 2")
    until(cell, "[...document.querySelectorAll('.figures img')].filter(one => one.naturalWidth).length === 4")
    assert cell.questions == [], "the first view came with the widget"
    assert cell.locator(".map").count() == 6
    cell.locator(".map[data-channel='4']").click()
    shows(".panel:nth-child(3) h3", "3 channel 4")
    expected = small_net().project(small_images(3)[:1], "3", channel=4)
    shows(".numbers", f"{expected.units[0].activation:.3g}".replace("-", "\u2212"))
    cell.locator(".layers button").first.click()
    until(cell, "document.querySelectorAll('.map').length === 4")
    assert cell.evaluate("model.get('layer')") == "0"
    cell.evaluate("model.set('image', 2)")  # as from Python
    shows(".panel:nth-child(1) p", "2")
    side = cell.locator(".stage").bounding_box()["width"]
    cell.locator(".stage").click(position={"x": side / 2, "y": side / 2})
    shows(".at", "Firing at row 6, column 6")
    cell.locator(".at .chip").first.click()
    shows(".panel:nth-child(3) h3", "channel")
    assert cell.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily") != cell.evaluate(
        "getComputedStyle(document.querySelector('.deconvviz h3')).fontFamily"
    ), "the notebook keeps its own style"
    cell.evaluate("model.set('layer', 'nope')")
    shows("[role=alert]", "has no activations of 'nope'")
    cell.evaluate("ended()")
    assert cell.evaluate("Object.values(heard).flat().length") == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_a_late_answer_takes_no_place_of_one_that_came_with_the_widget(cell: Any) -> None:
    until(cell, "[...document.querySelectorAll('.figures img')].filter(one => one.naturalWidth).length === 4")
    title = "document.querySelector('.panel:nth-child(3) h3').textContent"
    patch = "document.querySelector('[data-name=patch] img').src"
    first = cell.evaluate(patch)
    cell.evaluate("() => { window.held = []; window.sent = model.send; model.send = content => held.push(content); }")
    cell.locator(".map[data-channel='4']").click()
    until(cell, "held.length === 1")
    cell.evaluate("model.set('channel', 2)")
    cell.wait_for_timeout(50)
    cell.evaluate("async () => { model.send = sent; for (const content of held) await sent(content); }")
    cell.wait_for_timeout(100)
    assert (cell.evaluate(title), cell.evaluate(patch)) == ("3 channel 2", first)
    cell.locator(".map[data-channel='4']").click()  # and its lane goes on
    until(cell, f"{title} === '3 channel 4'")


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_its_page_has_no_violation_of_wcag(cell: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    until(cell, "[...document.querySelectorAll('.figures img')].filter(one => one.naturalWidth).length === 4")
    for theme in ("light", "dark"):
        cell.evaluate(f"document.querySelector('.deconvviz').dataset.theme = '{theme}'")
        found = axe.run(cell, context="#cell", options={"runOnly": ["wcag2a", "wcag2aa"]}).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []


def test_the_network_keeps_its_own_style() -> None:
    net = dv.DeconvNet(small_net().model, "guided")
    widget = net.explore(small_images(1), "3", channel=2)
    assert widget._about["styles"][0] == "guided"
    torch.testing.assert_close(widget.projection().pixels, net.project(small_images(1), "3", channel=2).pixels)
