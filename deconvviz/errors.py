"""The errors a user can cause. Each is one sentence that says what was given and what to give instead.

Every error raised on purpose is a `DeconvVizError`. Each is also the built-in error that one would catch
for the same mistake elsewhere, so that ``except ValueError`` or ``except FileNotFoundError`` keep working::

    DeconvVizError
    ├── InputError            (ValueError)           a tensor, image, channel, position or option that does not fit
    ├── UnknownLayerError     (KeyError)             no such layer; the closest names are suggested
    ├── ModelError            (TypeError)            an object that is no model, or cannot be recorded
    ├── UnsupportedOperation  (NotImplementedError)  an operation with neither mirror nor derivative on the path
    ├── RuleError             (ValueError)           a mirror rule or style that is wrong or defined twice
    ├── MissingFileError      (FileNotFoundError)    a path that does not exist
    ├── OutputError           (OSError)              a file that cannot be written
    ├── ImageFileError        (ValueError)           a file that is no readable image
    ├── DataError             (ValueError)           a dataset file that is missing, truncated or inconsistent
    ├── CheckpointError       (ValueError)           weights that do not fit, or hold more than weights
    └── DependencyError       (ImportError)          an installed package that is missing or broken

>>> try:
...     raise UnknownLayerError("there is no layer 'fc9'")
... except KeyError as error:
...     print(error)
there is no layer 'fc9'
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

ENTRIES_SHOWN = 5  # of what is left out, in a warning


class DeconvVizError(Exception):
    """The base class of the library's own errors. Every message is one line, whatever line breaks its parts contain."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(" ".join(part.splitlines()) if isinstance(part, str) else part for part in said))


class InputError(DeconvVizError, ValueError):
    """A tensor, image, channel, position or option does not fit."""


class UnknownLayerError(DeconvVizError, KeyError):
    """The recorded run has no layer of this name."""

    __str__ = Exception.__str__  # KeyError would print the sentence in quotes


class ModelError(DeconvVizError, TypeError):
    """An object is not a model, or the model cannot be recorded."""


class UnsupportedOperation(DeconvVizError, NotImplementedError):
    """An operation on the path has neither a mirror nor a derivative."""


class RuleError(DeconvVizError, ValueError):
    """A mirror rule or a style is wrong, unknown or defined twice."""


class MissingFileError(DeconvVizError, FileNotFoundError):
    """A path does not exist."""


class OutputError(DeconvVizError, OSError):
    """A file cannot be written; existing files stay unchanged."""


class ImageFileError(DeconvVizError, ValueError):
    """A file is not a readable image."""


class DataError(DeconvVizError, ValueError):
    """A dataset file is missing, truncated or inconsistent."""


class CheckpointError(DeconvVizError, ValueError):
    """Weights do not fit the model, or a file contains more than weights."""


class DependencyError(DeconvVizError, ImportError):
    """A package is missing or broken."""


def unknown_layer(model: Any, name: str, known: Collection[str]) -> UnknownLayerError:
    """The error for a layer that does not exist or did not run. `known` are the layers that did run."""
    kind = type(model).__name__
    if not known:
        said = f"there is no layer {name!r}: no module returns anything that depends on the input in {kind}"
    elif name and name in dict(model.named_modules()):
        said = f"layer {name!r} is a module of the model, but it returned nothing that depends on the input"
    else:
        some = ", ".join(map(repr, [*known][:5])) + (", ..." if len(known) > 5 else "")
        said = f"there is no layer {name!r} in {kind}{did_you_mean(name, known) or f'; the layers are {some}'}"
    return UnknownLayerError(said)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that suggests the closest of `known`, for the end of a sentence; empty if none is close.

    Example:
        >>> did_you_mean("feature.3", ["features.3", "features.30", "classifier"])
        "; did you mean 'features.3' or 'features.30'?"
        >>> did_you_mean("xyz", ["conv1"])
        ''
    """
    close = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(match) for match in close)}?" if close else ""


def left_out(folder: str | os.PathLike[str], reasons: Mapping[str, str]) -> str:
    """A warning that something in a folder is left out: the first few names, each with the reason.

    >>> left_out("photos", {".git": "hidden"})
    "of the folder 'photos' were left out: .git (hidden)"
    """
    shown = [f"{name} ({why})" for name, why in sorted(reasons.items())]
    more = f" and {len(shown) - ENTRIES_SHOWN} more" if len(shown) > ENTRIES_SHOWN else ""
    return f"of the folder {os.fspath(folder)!r} were left out: {', '.join(shown[:ENTRIES_SHOWN])}{more}"
