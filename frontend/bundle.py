"""Bundles of the web pages' modules, each one script, for pages that cannot load modules.

    python -m frontend.bundle

Browsers refuse modules from ``file://``, so the atlas has one classic script; a notebook takes one module for its
widget, and one style sheet, which must not reach out of it. A bundle holds the modules as they are, each in a function
of its own, after those that it needs. The modules keep to a part of the language in which this is simple: imports are
of relative files, by name or as a whole, each on one line; what is exported is a constant, a function or a class, where
it is declared; and no module needs itself by way of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

WEB = Path(__file__).resolve().parents[1] / "deconvviz" / "web"

_IMPORT = re.compile(r'import (?:(\{[^}]*\})|\* as (\w+)) from "(\.{1,2}/[\w./-]+\.js)";')
_EXPORT = re.compile(r"export ((?:const|class|(?:async )?function\*?) (\w+).*)")
_OTHER = re.compile(r"\s*(import|export)\b")

_WIDGET_STYLES = ("shared/base.css", "shared/panels.css", "widget/widget.css")


class BundleError(Exception):
    """A module uses what a bundle cannot hold."""


def bundle(entry: str, web: Path = WEB, *, exported: str | None = None) -> str:
    """The script of a module and of all that it needs.

    Args:
        entry: The module where the page begins, as a path in `web`.
        web: The folder of the modules.
        exported: What of that module the bundle exports as a module's default; None for a classic script.

    Raises:
        BundleError: If a module is not in the part of the language that a bundle can hold.
    """
    found: dict[str, str] = {}
    _collect(entry, web.resolve(), found, ())
    body = "".join(found.values())
    if exported is not None:
        return f"{_head('//', '')}{body}\nexport default {_identifier(entry)}.{exported};\n"
    return f'{_head("//", "")}(() => {{\n"use strict";\n{body}}})();\n'


def _collect(name: str, web: Path, found: dict[str, str], within: tuple[str, ...]) -> None:
    """Add a module to `found`, after those that it needs; within: the modules that need it."""
    if name in within:
        raise BundleError(f"modules need each other: {' -> '.join((*within, name))}")
    if name in found:
        return
    lines, names = [], []
    for number, line in enumerate((web / name).read_text("utf-8").splitlines(), 1):
        if match := _IMPORT.fullmatch(line):
            needed = (web / name).parent.joinpath(match[3]).resolve().relative_to(web).as_posix()
            _collect(needed, web, found, (*within, name))
            lines.append(f"const {(match[1] or match[2]).replace(' as ', ': ')} = {_identifier(needed)};")
        elif match := _EXPORT.fullmatch(line):
            names.append(match[2])
            lines.append(match[1])
        elif _OTHER.match(line):
            raise BundleError(f"{name}, line {number}: a bundle cannot hold {line.strip()!r}")
        else:
            lines.append(line)
    start, end = f"const {_identifier(name)} = (() => {{", f"return {{ {', '.join(names)} }};\n}})();"
    found[name] = "\n".join(["", f"// {name}", start, *lines, end, ""])


def widget_styles() -> str:
    """The style sheet of the widget: that of the pages, within the widget's element."""
    colours, *others = ((WEB / name).read_text("utf-8") for name in ("shared/colours.css", *_WIDGET_STYLES))
    return "\n".join([_head("/*", " */") + colours.replace(":root", ".deconvviz"), ".deconvviz {", *others, "}", ""])


def _head(start: str, end: str) -> str:
    return (
        f"{start} Made from files in deconvviz/web by `python -m frontend.bundle`: change those, not this one.{end}\n"
    )


def _identifier(name: str) -> str:
    return "$" + re.sub(r"\W", "_", name.removesuffix(".js"))


BUNDLES: dict[str, Callable[[], str]] = {  # files in web/bundles, and what makes them
    "atlas.js": lambda: bundle("atlas/main.js"),
    "widget.css": widget_styles,
    "widget.js": lambda: bundle("widget/main.js", exported="widget"),
}


def main() -> None:
    for name, made in BUNDLES.items():
        path = WEB / "bundles" / name
        path.write_text(made(), "utf-8")
        print(f"{path.relative_to(WEB.parents[1])}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
