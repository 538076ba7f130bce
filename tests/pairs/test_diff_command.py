"""The command diff, and its pages in Chromium (skipped without Playwright or a Chromium)."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deconvviz as dv
from deconvviz.cli import main
from deconvviz.data import mnist_test
from deconvviz.io.ownership import is_ours
from deconvviz.models import mnist_cnn, save_weights
from deconvviz.results import NetworkDiff
from tests.helpers.chromium import CHROMIUM

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("diff")
    model: Any = mnist_cnn().requires_grad_(False)
    np.save(made / "digits.npy", mnist_test()[0][:60].numpy())
    save_weights(model, made / "a.safetensors")
    model.conv1.weight[4], model.conv1.bias[4] = 0, -1
    save_weights(model, made / "b.safetensors")
    return made


def test_two_checkpoints_are_compared(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(folder)
    command = ["diff", "mnist", "digits.npy", "--layers", "conv1", "--pictures", "4", "--weights"]
    assert main([*command, "a.safetensors", "b.safetensors", "--pages", "pairs", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["networks"] == ["a.safetensors", "b.safetensors"]
    assert facts["table"][0]["vanished"] == 1
    assert facts["channels"]["conv1"][-1]["channel"] == 4
    assert facts["files"] == ["diff-mnist.png", "pairs/index.html"]
    assert {path.name for path in Path("pairs").iterdir()} == {"index.html", "conv1.html"}

    assert main([*command, "b.safetensors", "--out", "d.png", "--pages", "pairs"]) == 0, "own pages are replaced"
    assert "1 vanished" in capsys.readouterr().out, "the model as it comes, and one file"
    Path("pairs/conv1.html").write_text("mine")
    assert main([*command, "b.safetensors", "--out", "d.png", "--pages", "pairs"]) == 2
    assert "'pairs/conv1.html' was not written by deconvviz" in capsys.readouterr().err


def test_mistakes_are_named(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(folder)
    command = ["diff", "mnist", "digits.npy", "--out", "e.png"]
    for arguments, said in {
        (): "there is one network; give the weights of two with --weights A B, or a second with --other",
        ("--weights", "a", "b", "c"): "--weights takes the files of two networks, not 3",
        ("--weights", ""): "--weights is empty",
        ("--weights", "a.safetensors", "--layers", "conv9"): "the first network: there is no layer 'conv9'",
        ("--weights", "a.safetensors", "--layers", "conv1=conv9"): "the second network: there is no layer 'conv9'",
        ("--weights", "a.safetensors", "--out", "a.safetensors"): "",
        ("--weights", "a.safetensors", "b.safetensors", "--pages", "digits.npy"): "",
    }.items():
        assert main([*command, *arguments]) == 2, arguments
        assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    net, other = (dv.DeconvNet(mnist_cnn(pretrained=pretrained)) for pretrained in (True, False))
    images = mnist_test()[0][:40]
    found = dv.diff(net, net, images, layers="conv1", pictures=3, progress=False)
    apart = dv.diff(net, other, images, layers="conv2", pictures=3, progress=False)
    evil = dataclasses.replace(apart[0], layers=(EVIL, EVIL))
    both: NetworkDiff = dataclasses.replace(found, layers=(found[0], evil), networks=(EVIL, "b"))
    return both.write_pages(tmp_path_factory.mktemp("pages") / "pairs")


def test_pages_need_nothing_else(written: Path) -> None:
    pages = sorted(written.parent.iterdir())
    assert len(pages) == 3
    for page in pages:
        text = page.read_text("utf-8")
        assert is_ours(page)
        assert "unsafe-inline" not in text
        assert not re.search(r'src="(?!data:)|href="(?!data:|[^":/]+\.html")', text)


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")
def test_pairs_are_sorted_and_filtered_in_a_browser(written: Path, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in sorted(written.parent.iterdir()):
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("window.hacked") is None
        assert axe.Axe().run(page).violations_count == 0
    page.goto((written.parent / "conv1.html").as_uri())
    assert (page.locator("#pairs li").count(), page.locator("#others li").count()) == (3, 21)
    assert page.locator("#pairs li img").count() == 6
    assert page.locator("#others img").count() == 0
    page.select_option("#order", "a")
    listed = page.locator("#others li h2").all_inner_texts()
    assert listed == sorted(listed, key=lambda text: int(text.split()[1]))
    page.locator("#states input").first.uncheck()
    assert page.locator("li").count() == 0
    assert not page.locator("#without").is_visible()
    assert page.locator("#count").inner_text() == "0 of 24 shown"
    assert all(url.startswith(("file:", "data:")) for url in asked)
    context.close()
