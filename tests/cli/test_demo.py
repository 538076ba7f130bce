"""The demonstration: its pictures, and a page that holds them and needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

from PIL import Image

from deconvviz import cli, demo
from deconvviz.models import mnist_cnn

SECTIONS = [
    *("filters-conv1", "filters-conv2", "activations-conv1", "activations-conv2", "top-conv1", "top-conv2"),
    *("reconstructions", "captum"),
]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.images, self.dark, self.links, self.names = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.images.append(attributes)
        if tag == "source" and attributes["media"] == "(prefers-color-scheme: dark)":
            self.dark.append(attributes["srcset"])
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        self.names += [attributes["id"]] if "id" in attributes else []


def test_the_demo_is_one_page_with_its_pictures(tmp_path, capsys):
    folder = tmp_path / "a folder" / "demo"
    assert cli.main(["demo", "--out", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'index.html'}\n"
    text = (folder / "index.html").read_text("utf-8")
    page = Page(text)
    assert page.names == SECTIONS == [*demo.SECTIONS]
    assert {link for link in page.links if not link.startswith("data:")} == {
        "atlas/index.html",
        *(f"#{name}" for name in SECTIONS),
    }
    assert not re.search(r"https?://", text)
    assert {path.name for path in folder.iterdir()} == {"index.html", "atlas", *(f"{name}.png" for name in SECTIONS)}
    manifest = json.loads((folder / "atlas" / "manifest.json").read_text())
    assert [layer["name"] for layer in manifest["layers"]] == ["conv1", "conv2", "fc1", "fc2"]
    weights = {layer: len(getattr(mnist_cnn(), layer).weight) for layer in ("conv1", "conv2", "fc1", "fc2")}
    pictured = sum(weights.values()) - weights["fc1"] + 15  # channel 8 of the 16 of fc1 never responds
    assert f"Browse {pictured} of {sum(weights.values())} channels" in text
    for name, image in zip(SECTIONS, page.images, strict=True):
        png = base64.b64decode(image["src"].partition("base64,")[2])
        assert png == (folder / f"{name}.png").read_bytes()
        assert len(Image.open(io.BytesIO(png)).convert("RGB").getcolors(2**24)) > 50, name
        assert image["alt"]
    for address in page.dark:
        picture = Image.open(io.BytesIO(base64.b64decode(address.partition("base64,")[2]))).convert("RGB")
        assert picture.getpixel((0, 0)) == (0x1C, 0x1E, 0x24)
    assert len(page.dark) == len(SECTIONS)
    assert re.search(r"relative difference [0-9]e-0[67]|relative difference 0e\+00", text)
