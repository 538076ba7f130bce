"""Sphinx configuration: `make docs`, then open out/docs/index.html."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import deconvviz

HERE = Path(__file__).parent

project = "deconvviz"
author = "the deconvviz developers"
copyright = f"2026, {author}"
release = version = deconvviz.__version__

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon", "sphinx.ext.viewcode")
]
myst_heading_anchors = 3
default_role = "py:obj"  # single backticks in docstrings: a link if the name is known, code otherwise
templates_path = ["_templates"]
exclude_patterns = ["_templates"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are fields of their class, not objects of their own
python_maximum_signature_line_length = 100
smartquotes = False

html_theme = "furo"
html_title = f"deconvviz {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it is fetched, which browsers refuse for pages from the disk
pygments_style, pygments_dark_style = "friendly", "github-dark"

linkcheck_timeout = 20

# The Python interface: a page per class and function, made from what the modules say is public.

MODULES = ("results", "images", "figures", "evidence", "experiments", "rules", "models", "data", "errors")
# Classes whose members are not ours.
BASES_OF_OTHERS = (
    "tuple, Exception, Module, Dataset, Widget, DOMWidget, HasTraits, HasDescriptors, "
    "Attribution, GradientAttribution, InternalAttribution, NeuronAttribution"
)


def _public(name: str) -> dict[str, Any]:
    """The public objects of a module by name."""
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == name and key[0] != "_"]
    return {key: getattr(module, key) for key in getattr(module, "__all__", own)}


def _by_kind(objects: dict[str, Any]) -> dict[str, list[str]]:
    """The names of classes, functions and errors."""
    errors = [name for name, value in objects.items() if inspect.isclass(value) and issubclass(value, Exception)]
    classes = [name for name, value in objects.items() if inspect.isclass(value) and name not in errors]
    return {
        "classes": classes,
        "functions": [name for name, value in objects.items() if inspect.isfunction(value)],
        "errors": errors,
    }


_modules = {f"deconvviz.{name}": _public(f"deconvviz.{name}") for name in MODULES}
_elsewhere = {name for objects in _modules.values() for name in objects}
_modules["deconvviz"] = {name: value for name, value in _public("deconvviz").items() if name not in _elsewhere}
autosummary_context = {
    "public": {name: _by_kind(objects) for name, objects in _modules.items()},
    "bases_of_others": BASES_OF_OTHERS,
}
shutil.rmtree(HERE / "api", ignore_errors=True)  # so that no page of an object that is gone stays


def skip_namedtuple_fields(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Skip fields of named tuples, whose docstrings only give their number."""
    return True if str(getattr(member, "__doc__", "")).startswith("Alias for field number") else None


def shorten_defaults(
    app: Any, what: str, name: str, member: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Write `...` for defaults that are no Python, such as `<factory>`: Sphinx would show the signature unparsed."""
    return (re.sub(r"= <(?:[^<>]|<[^<>]*>)*>", "= ...", signature), result) if signature else None


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", shorten_defaults)
    app.connect("autodoc-skip-member", skip_namedtuple_fields)
