"""Sphinx configuration: `make docs`, then open out/docs/index.html."""

from __future__ import annotations

from typing import Any

import deconvviz

project = "deconvviz"
author = "the deconvviz developers"
copyright = f"2026, {author}"
release = version = deconvviz.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_heading_anchors = 3
default_role = "py:obj"  # single backticks in docstrings: a link if the name is known, code otherwise

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are fields of their class, not objects of their own
python_maximum_signature_line_length = 100
smartquotes = False

html_theme = "furo"
html_title = f"deconvviz {release}"
html_copy_source = False
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

linkcheck_timeout = 20


def skip_namedtuple_fields(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Skip fields of named tuples, whose docstrings only give their number."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: Any) -> None:
    app.connect("autodoc-skip-member", skip_namedtuple_fields)
