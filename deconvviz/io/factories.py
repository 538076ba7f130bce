"""Functions named as ``path/to/file.py:name`` or ``package.module:name``; loading one runs the code around it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from deconvviz.errors import DeconvVizError, MissingFileError, did_you_mean


class Purpose(NamedTuple):
    """What a function is loaded for.

    Attributes:
        what: What it makes, with its article.
        forms: The ways to name one.
        error: The error for a function that is not there.
    """

    what: str
    forms: str
    error: type[DeconvVizError]


def factory_of(home: str, name: str, purpose: Purpose) -> Callable[..., Any]:
    """The function `name` of a file or module. Raises MissingFileError or the purpose's error if there is none."""
    module = _module_from_file(home, purpose) if home.endswith(".py") else _imported(home, purpose)
    factory: Callable[..., Any] | None = getattr(module, name, None)
    if factory is None or not callable(factory):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise purpose.error(f"{home!r} has no factory {name!r}{did_you_mean(name, known)}")
    return factory


def _module_from_file(path: str, purpose: Purpose) -> ModuleType:
    if not os.path.isfile(path):
        raise MissingFileError(f"there is no file {path!r} to take {purpose.what} from")
    factory = importlib.util.spec_from_file_location(Path(path).stem, path)
    if factory is None or factory.loader is None:
        raise purpose.error(f"{path!r} is no Python file")
    module = importlib.util.module_from_spec(factory)
    factory.loader.exec_module(module)
    return module


def _imported(name: str, purpose: Purpose) -> ModuleType:
    if name.startswith("."):
        raise purpose.error(
            f"there is no module {name!r} to take {purpose.what} from; {purpose.what} is {purpose.forms}"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")  # a package in the current folder, as `python -m` would find it
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise purpose.error(
            f"there is no module {name!r} to take {purpose.what} from ({error}); {purpose.what} is {purpose.forms}"
        ) from error
