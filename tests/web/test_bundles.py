"""The bundles of the web pages: what is committed is what the modules make, and what cannot be bundled is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deconvviz.atlas.inventory import ASSETS
from deconvviz.io.pages import web_file
from frontend.bundle import BUNDLES, WEB, BundleError, bundle


@pytest.mark.parametrize("name", BUNDLES)
def test_a_committed_bundle_is_what_its_modules_make(name: str) -> None:
    committed = (WEB / "bundles" / name).read_text("utf-8")
    assert committed == BUNDLES[name](), "run: python -m frontend.bundle"


def test_there_is_no_bundle_without_modules() -> None:
    assert {path.name for path in (WEB / "bundles").iterdir()} == set(BUNDLES)


def test_the_atlas_has_its_script_and_styles() -> None:
    assert web_file(ASSETS["atlas.js"]) == bundle("atlas/main.js").encode()
    assert all(b"{" in web_file(source) for source in ASSETS.values())


def modules(folder: Path, **sources: str) -> Path:
    for name, source in sources.items():
        (folder / f"{name}.js").write_text(source)
    return folder


def test_a_module_exports_what_it_is_asked_for(tmp_path: Path) -> None:
    script = bundle("a.js", modules(tmp_path, a="export const a = 1;\n"), exported="a")
    assert script.endswith("\nexport default $a.a;\n")


def test_the_styles_of_the_widget_stay_within_it() -> None:
    """Braces are balanced, and at the top there is only what belongs to the widget's element."""
    styles, depth, top = BUNDLES["widget.css"](), 0, []
    for line in re.sub(r"/\*.*?\*/", "", styles, flags=re.S).splitlines():
        if depth == 0 and line.strip():
            top.append(line)
        depth += line.count("{") - line.count("}")
        assert depth >= 0
    assert depth == 0
    assert all(line.startswith((".deconvviz", "@media (prefers-color-scheme: dark)")) for line in top), top


def test_each_module_comes_once_and_after_what_it_needs(tmp_path: Path) -> None:
    modules(
        tmp_path,
        main='import * as b from "./b.js";\nimport { a, other as o } from "./a.js";\nb.f(a, o);\n',
        b='import { a } from "./a.js";\nexport function f() {\n  return a;\n}\n',
        a="export const a = 1;\nexport const other = 2;\nconst inner = 3;\n",
    )
    script = bundle("main.js", tmp_path)
    order = [script.index(f"const ${name} = ") for name in ("a", "b", "main")]
    assert order == sorted(order)
    assert script.count("const a = 1;") == 1
    assert "return { a, other };" in script
    assert "const { a, other: o } = $a;\nb.f(a, o);" in script
    assert "const b = $b;" in script
    assert "export" not in script
    assert "import" not in script


@pytest.mark.parametrize(
    "line",
    [
        "export let changes = 1;",
        "export default 1;",
        "export { a };",
        'export * from "./a.js";',
        "export const { a, b } = c;",
        'import a from "./a.js";',
        'import { a } from "elsewhere";',
        "import {",
        'import("./a.js");',
    ],
)
def test_what_a_bundle_cannot_hold_is_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"main\.js, line 2: a bundle cannot hold"):
        bundle("main.js", modules(tmp_path, main=f"const first = 1;\n{line}\n", a="export const a = 1;\n"))


def test_modules_that_need_each_other_are_refused(tmp_path: Path) -> None:
    modules(tmp_path, a='import * as b from "./b.js";\n', b='import * as a from "./a.js";\n')
    with pytest.raises(BundleError, match=r"a\.js -> b\.js -> a\.js"):
        bundle("a.js", tmp_path)
