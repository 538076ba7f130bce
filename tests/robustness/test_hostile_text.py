"""Names of layers, models, files and classes that hold HTML, scripts, formulas or paths: they are text, everywhere."""

from __future__ import annotations

import io
import json
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.images import Preprocess
from deconvviz.io.atomic import safe_name
from deconvviz.io.pages import web_page
from deconvviz.results import Comparison, LayerTable, Localisation, Projection, Reconstruction
from deconvviz.results.base import Result, printable
from deconvviz.results.comparison import Attributed
from deconvviz.results.evidence import Score
from deconvviz.results.layer_table import LayerInfo
from deconvviz.results.projections import Provenance, Unit
from tests.helpers.chromium import CHROMIUM, until
from tests.helpers.untrusted_content import TEXTS, Page

pytestmark = [
    pytest.mark.filterwarnings("ignore:Glyph .* missing:UserWarning"),
    pytest.mark.filterwarnings("ignore:constrained_layout not applied:UserWarning"),  # a name wider than its figure
]

PICTURE = {("img", ""), ("img", "alt"), ("img", "src"), ("img", "style"), ("picture", "")}
PICTURE |= {("source", ""), ("source", "media"), ("source", "srcset")}
TABLE = {("div", ""), ("div", "style"), *((tag, "") for tag in ("table", "tr", "th", "td"))}


def network(name: str) -> nn.Module:
    """A network whose class and second layer are called so; torch does not allow dots in names, its users do."""
    torch.manual_seed(0)
    model = type(name.replace("\0", ""), (nn.Sequential,), {})(nn.Conv2d(1, 2, 3), nn.ReLU())
    model._modules[name] = nn.Conv2d(2, 3, 3)
    return model


def results(name: str) -> dict[str, object]:
    """Every kind of result, all their texts hostile."""
    net = dv.DeconvNet(network(name))
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    projection = net.project(x[:1], name, channel=[0, 1])
    about = Provenance(
        model=name,
        fingerprint=name,
        layer=name,
        style={"name": name},
        seed="one",
        linearised=(name,),
        stopped=(name,),
        versions={name: name},
    )
    unit = Unit(0, name, 1, (0, 0), 0.5)
    boxes = torch.tensor([[[0, 8], [0, 8]]])
    pixels, measure = x[0], {"Spearman": torch.ones(2, 2)}
    methods = (Attributed("deconvnet", pixels, 0.1, name), Attributed(name, None, 0.0, name))
    return {
        "layers": LayerTable(
            (
                LayerInfo(
                    name=name,
                    kind=name,
                    shape=(1, 2),
                    stride=(1.0, 1.0),
                    offset=(0, 0),
                    receptive_field=(3, 3),
                    linearised=(name,),
                ),
            )
        ),
        "projection": Projection(
            pixels=projection.pixels,
            units=(unit, unit),
            receptive_fields=projection.receptive_fields,
            images=x[:1],
            provenance=about,
        ),
        "reconstruction": Reconstruction(projection.pixels[:1], x[:1], about),
        "scan": dv.scan(net, x, layers=name, progress=False),
        "comparison": Comparison(
            image=pixels,
            unit=unit,
            receptive_field=boxes[0],
            methods=methods,
            agreement=measure,
            scores={name: {name: 0.5}},
            settings=(name,),
            provenance=about,
        ),
        "localisation": Localisation(
            images=x[:1],
            boxes=boxes,
            points={name: torch.zeros(1, 2)},
            hits={name: Score(0.5, 0.4, 0.6, 1)},
            chance=0.1,
            verdict=name,
        ),
    }


@pytest.mark.parametrize("text", TEXTS)
def test_results_in_notebooks(text, monkeypatch):
    name = TEXTS[text]
    monkeypatch.setattr(Result, "_png", lambda self: b"drawn elsewhere")
    monkeypatch.setattr(Result, "_light_and_dark", lambda self: (b"drawn elsewhere", b"and in the dark"))
    for kind, result in results(name).items():
        if kind in ("projection", "reconstruction"):  # pictures without text beside them
            assert result._repr_png_() == b"drawn elsewhere"
            continue
        page = Page(result._repr_html_())
        assert page.kinds <= PICTURE | TABLE | {("p", "")}, kind
        for tag, attributes in page.elements:
            if tag == "img":
                assert attributes["src"].startswith("data:image/png;base64,")
                assert attributes["alt"] == type(result).__name__
        assert printable(name) in page.text, kind


@pytest.mark.parametrize("text", ["formulas", "templates", "a script", "entities", "quotes", "many characters"])
def test_figures_show_names_as_they_are(text):
    """As drawings, in which text is text: no formula is made of it, and no element."""
    name = TEXTS[text]
    found = results(name)
    for kind in ("projection", "scan", "comparison", "localisation"):
        drawn = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("matplotlib").rcParams, "svg.fonttype", "none")
            found[kind].figure().savefig(drawn, format="svg")
        root = ElementTree.fromstring(drawn.getvalue())
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "foreignObject", "iframe", "a"}
        assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
        if kind == "projection" and text != "many characters":
            shown = "".join("".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text"))
            assert "".join(name.split()) in "".join(shown.split())


@pytest.mark.parametrize("text", TEXTS)
def test_names_in_terminals(text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(
        f"import torch\nfrom torch import nn\ndef made():\n    torch.manual_seed(0)\n    model = nn.Sequential()\n"
        f"    model._modules[{TEXTS[text]!r}] = nn.Conv2d(1, 2, 3)\n    return model\n"
    )
    assert cli.main(["layers", "nets.py:made"]) == 0
    shown = capsys.readouterr().out
    assert printable(TEXTS[text]) in shown
    assert all(char == "\n" or printable(char) == char for char in shown)


def test_what_steers_a_terminal_is_shown_as_an_escape():
    assert printable("a\x1b[31mb\nc\r\x07\u202ed\ud800") == "a\\x1b[31mb\\nc\\r\\x07\\u202ed\\ud800"
    assert printable("图像 ü \u00a0") == "图像 ü \u00a0"


# Files


NAME = re.compile(r"[\w. ()-]{1,150}\.png")


@pytest.mark.parametrize("text", [*TEXTS, "a NUL", "control characters"])
def test_the_picture_of_a_layer_lies_in_the_current_folder(text, capsys, tmp_path, monkeypatch):
    name = {**TEXTS, "a NUL": "a\0b", "control characters": "\x1b[31m\n"}[text]
    here = tmp_path / "deep" / "er"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    Path("nets.py").write_text(
        f"from torch import nn\ndef made():\n    model = nn.Sequential()\n"
        f"    model._modules[{name!r}] = nn.Conv2d(1, 2, 3)\n    return model\n"
    )
    assert cli.main(["project", "nets.py:made", "mnist:0", "--layer", name, "--size", "28"]) == 0, capsys.readouterr()
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".png"]
    assert len(made) == 1
    assert made[0].parent == here
    assert NAME.fullmatch(made[0].name)
    assert made[0].name.startswith("mnist-0-")
    assert len(made[0].name.encode()) <= 160


def test_safe_names():
    assert safe_name("features.28") == "features.28"
    assert safe_name("seven-conv2") == "seven-conv2"
    assert safe_name("../a\0/b:c") == ".._a__b_c"
    assert len(safe_name("图" * 300).encode()) == 150


# The atlas


class Odd(torch.utils.data.Dataset):
    """Images, files, classes and a dataset called so."""

    def __init__(self, texts: list[str]) -> None:
        self.names, self.classes, self.name = [*texts, "broken"], texts, " ".join(texts)
        self.images = torch.rand(len(texts), 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == len(self.images):
            raise OSError(" ".join(self.classes))
        return self.images[index], index


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """The folder of an atlas in which every text is hostile, alone in its own."""
    torch.manual_seed(0)
    texts = list(TEXTS.values())
    model = type(texts[0], (nn.Sequential,), {})()
    for number, name in enumerate(texts):
        model._modules[name] = nn.Conv2d(1 if not number else 2, 2, 3, padding=1)
    net = dv.DeconvNet(model)
    data = Odd(texts)
    out = tmp_path_factory.mktemp("hostile") / "a" / "b" / "atlas"
    top = dv.scan(net, data, k=3, progress=False)
    dv.build_atlas(net, data, top, out=out, title=" ".join(texts), progress=False, evidence=False)
    return out


def test_the_atlas_names_its_files_itself(atlas):
    above = atlas.parents[2]
    files = [path.relative_to(above).as_posix() for path in above.rglob("*") if path.is_file()]
    assert len(files) > 60
    assert all(re.fullmatch(r"a/b/atlas/((data|sheets|images|assets)/)?[\w-]+\.\w+", name) for name in files)


def test_the_page_of_the_atlas_has_no_more_elements_than_its_template(atlas):
    template = web_page("atlas/index.html", title="$title", generator="deconvviz atlas")
    plain, page = Page(template), Page((atlas / "index.html").read_text("utf-8"))
    title = " ".join(TEXTS.values())
    titled = [
        (tag, {name: value and value.replace("$title", title) for name, value in attributes.items()})
        for tag, attributes in plain.elements
    ]
    assert page.elements == titled  # the title is in attributes of the page's description, as it is
    assert page.text == plain.text.replace("$title", title)


def test_the_data_of_the_atlas_is_text_and_nothing_else(atlas):
    found = {}
    for path in (atlas / "data").glob("*.js"):
        script = path.read_bytes()
        assert b"<" not in script
        said = re.fullmatch(r'atlas\.receive\("([\w-]+)", (.*)\);\n', script.decode("ascii"))
        assert said[1] == path.stem
        found[path.stem] = json.loads(said[2])
    index, texts = found["index"], list(TEXTS.values())
    assert [layer["name"] for layer in index["layers"]] == texts
    assert index["model"] == texts[0]
    assert index["title"] == index["dataset"] == " ".join(texts)
    assert index["broken"] == [["broken", f"OSError: {' '.join(texts)}".partition("\n")[0]]]
    shown = {(unit[2], unit[3]) for key, block in found.items() if "-" in key for one in block for unit in one["units"]}
    assert len(shown) > 3
    assert all(name == label and name in texts for name, label in shown)


@pytest.mark.skipif(CHROMIUM is None or not find_spec("playwright"), reason="needs playwright and a Chromium")
def test_the_atlas_in_a_browser(atlas, page):
    """The fixture `page` fails at a dialog, at any message of the console, and where a script has left its mark."""
    texts, address = list(TEXTS.values()), (atlas / "index.html").as_uri()
    page.goto(address)
    until(page, f"document.querySelectorAll('.card h2').length === {len(texts)}")
    assert page.locator(".card h2").all_text_contents() == texts
    assert page.locator("h1").text_content() == page.title() == " ".join(texts)
    for layer in texts:
        link = f"#/{quote(layer, safe='')}"
        for route, heading in ((link, layer), (f"{link}/1", f"{layer} channel 1")):
            page.evaluate(f"location.hash = {json.dumps(route)}")
            until(page, f"document.querySelector('h1').textContent === {json.dumps(heading)}")
        named = page.locator(".unit-text .name").all_text_contents()
        assert named == page.locator(".unit-text .label").all_text_contents()
        assert set(named) <= set(texts)
        assert page.locator("main script, main iframe, main object, main [onerror], main [onmouseover]").count() == 0
    sources = page.evaluate("[...document.querySelectorAll('[src], [href]')].map(one => one.src || one.href)")
    icon = page.locator("link[rel=icon]").get_attribute("href")
    assert icon.startswith("data:image/png;base64,")
    assert all(source.startswith("file://") or source == icon for source in sources)


def test_the_atlas_of_a_folder_with_hostile_names(tmp_path, capsys, monkeypatch):
    """From the command line: folders and files that a file system allows."""
    monkeypatch.chdir(tmp_path)
    names = [text for text in TEXTS.values() if "/" not in text and len(text) < 200]
    for name in [*names, "a\nb", "\udcff"]:
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.effect_noise((28, 28), 80).save(tmp_path / "data" / name / f"{name}.png")
    (tmp_path / "data" / "\udcff\x1b[31m.png").write_text("broken")
    options = ["--layers", "conv1", "--k", "1", "--no-evidence", "--state", "state"]
    assert cli.main(["atlas", "mnist", "data", "--out", "site", *options]) == 0
    said = capsys.readouterr()
    assert said.out == "site/index.html\n"
    assert "left out: \\udcff\\x1b[31m.png: ImageFileError: " in said.err
    assert said.err.startswith("note: of the folder 'data' were left out: ")
    assert [line.split(" ")[0] for line in said.err.splitlines()] == ["note:", "conv1", "left"]
    index = json.loads(re.search(r", (.*)\);\n", (tmp_path / "site/data/index.js").read_text())[1])
    assert index["images"] == len(names) + 1  # one is hidden


def test_the_page_of_the_demonstration():
    texts = dict.fromkeys(("title", "introduction", "atlas", "channels", "footer", "generator"), TEXTS["a script"])

    def page(text: str) -> Page:
        section = dict.fromkeys(("name", "heading", "words", "png", "dark"), text)
        return Page(web_page("demo.html", **dict.fromkeys(texts, text), sections=[section]))

    plain = page("text")
    for text in TEXTS.values():
        found = page(text)
        assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
        assert found.kinds == plain.kinds
        assert found.text == plain.text.replace("text", text) or "text" in text


def test_what_is_said_of_models_that_are_code(capsys):
    """A MODEL that names a file runs it: the help of every command that takes one says so."""
    for name in (
        "layers",
        "project",
        "scan",
        "atlas",
        "evidence",
        "compare",
        "occlusion",
        "invariance",
        "evolve",
        "diagnose",
    ):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        assert "code in a file or module is run" in " ".join(capsys.readouterr().out.split())


def test_errors_show_hostile_names_as_literals():
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3)), preprocess=Preprocess(8, (0.0,), (1.0,)))
    for wrong in (lambda: net.project(torch.zeros(1, 1, 8, 8), "\x1b[31m\n"), lambda: net.project("\x1b[31m\n", "0")):
        with pytest.raises(dv.errors.DeconvVizError) as caught:
            wrong()
        assert "'\\x1b[31m\\n'" in str(caught.value)
