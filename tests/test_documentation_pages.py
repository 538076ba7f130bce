"""The documentation as a reader has it: pages of the Python interface, search from the disk, and no line cut off."""

from __future__ import annotations

import importlib
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import deconvviz as dv
from tests.helpers.chromium import CHROMIUM, until

ROOT = Path(__file__).resolve().parents[1]
MODULES = dv._MODULES  # what is documented besides `deconvviz` itself
NO_PAGE = {
    "BASELINES",
    "FORMAT",
    "METHODS",
    "REFERENCE",
    "STYLES",
    "Attribution",
    "Signals",
}  # neither class nor function

in_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium in the path")


def public(module: str) -> dict[str, Any]:
    """The public objects of a module by name."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if getattr(value, "__module__", "") == module and not name.startswith("_")
    ]
    return {name: getattr(found, name) for name in names}


def test_every_public_module_has_a_page() -> None:
    listed = re.findall(r"^   (deconvviz[\w.]*)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert {"deconvviz", *(f"deconvviz.{name}" for name in MODULES)} <= set(listed)
    for name in listed:
        assert pydoc.locate(name) is not None, name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built without a warning."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="needs pip install '.[docs]'")
    out = tmp_path_factory.mktemp("docs")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(out)]
    subprocess.run(build, check=True)
    return out


@pytest.mark.slow
def test_every_public_class_and_function_has_a_page(site: Path) -> None:
    seen = {}
    for module in MODULES:
        for name, value in public(f"deconvviz.{module}").items():
            seen[name] = value
            page = site / "api" / f"deconvviz.{module}.{name}.html"
            if inspect.isclass(value) and issubclass(value, Exception):
                page = site / "api" / f"deconvviz.{module}.html"
            elif name in NO_PAGE:
                continue
            assert f'id="deconvviz.{module}.{name}"' in page.read_text("utf-8"), name
    for name in set(dv.__all__) - {"__version__", *dv._MODULES, *seen}:
        page = (site / "api" / f"deconvviz.{name}.html").read_text("utf-8")
        assert f'id="deconvviz.{name}"' in page
    assert "compare" in set(dv.__all__) - set(seen)


@pytest.mark.slow
def test_the_page_of_a_class_has_what_it_inherits_of_us_and_not_of_others(site: Path) -> None:
    page = (site / "api" / "deconvviz.results.Projection.html").read_text("utf-8")
    for method in ("figure", "save", "load", "overlay"):
        assert f'id="deconvviz.results.Projection.{method}"' in page
    network = (site / "api" / "deconvviz.models.MnistCNN.html").read_text("utf-8")
    assert "state_dict" not in network
    signature = re.sub("<[^>]*>", "", page[page.index('<dt class="sig') : page.index("</dt>")])
    assert "~" not in signature
    assert "pixels: Tensor," in signature
    assert "with_traceback" not in (site / "api" / "deconvviz.errors.html").read_text("utf-8")


@pytest.mark.slow
@in_chromium
def test_search_works_from_the_disk(site: Path, page: Any) -> None:
    """`page` fails for errors on the console and requests that fail."""
    page.goto(f"{(site / 'search.html').as_uri()}?q=receptive+field")
    until(page, "document.querySelectorAll('#search-results li').length > 5")
    page.goto((site / "index.html").as_uri())
    page.fill("input[name=q]", "build_atlas")
    page.press("input[name=q]", "Enter")
    until(page, "document.querySelectorAll('#search-results li a').length > 2")
    found = page.evaluate("[...document.querySelectorAll('#search-results li a')].map(one => one.href)")
    assert found[0].startswith((site / "api").as_uri() + "/deconvviz.build_atlas.html")


@pytest.mark.slow
@in_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_scrolls_sideways_and_no_line_is_cut(site: Path, page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    wrong = {}
    for path in sorted(site.rglob("*.html")):
        if path.relative_to(site).parts[0] in ("_modules", "_static"):
            continue
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        wide = page.evaluate("document.documentElement.scrollWidth")
        cut = page.evaluate(
            "[...document.querySelectorAll('article pre')].filter(one => one.scrollWidth > one.clientWidth)"
            ".map(one => one.textContent.slice(0, 60))"
        )
        if wide > width or cut:
            wrong[path.relative_to(site).as_posix()] = (wide, cut)
    assert not wrong
