"""How Sphinx builds the documentation: `make docs`, then open out/docs/index.html."""

from __future__ import annotations

import re
from typing import Any

import deconvviz

project = "deconvviz"
author = "the deconvviz developers"
copyright = f"2026, {author}"
release = version = deconvviz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
default_role = "py:obj"  # single backticks in docstrings: a link where the name is known, code where it is not

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
smartquotes = False

html_theme = "furo"
html_title = f"deconvviz {release}"
html_copy_source = False
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

linkcheck_timeout = 20

ARGUMENTS = re.compile(r"([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): ")
MARKUP = re.compile(r"(``.+?``|`[^`]+`|(?<!\w)\*\w[^*]*\w\*(?!\w))")  # code and emphasis


def as_restructured_text(*given: Any) -> None:
    """Make the docstrings' plain text what Sphinx reads: lines such as ``name: what it is`` become a list."""
    lines: list[str] = given[-1]
    written: list[str] = []
    starts, listed, quoted = True, False, False
    for line in lines:
        text = line.strip()
        quoted = line.startswith(">>>") or (quoted and bool(text))
        if quoted or not text:
            written.append(line)
            starts, listed = not text, listed and quoted
            continue
        found = ARGUMENTS.match(line)
        if found and (starts or listed):
            written += [*[""] * (not starts), f"- **{found[1]}**: {_escaped(line[found.end() :])}"]
            listed = True
        else:
            written.append(f"  {_escaped(text)}" if listed else _escaped(line))
        starts = False
    lines[:] = written


def _escaped(text: str) -> str:
    """Stars and bars are products and norms, not markup."""
    parts = MARKUP.split(text)
    parts[::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def nothing_to_say(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what a named tuple says of its fields, which is their number."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", nothing_to_say)
    app.connect("autodoc-process-docstring", as_restructured_text)
