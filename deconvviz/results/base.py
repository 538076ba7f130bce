"""Base classes of all results: saving, loading, drawing, tables."""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib
import io
import json
import math
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open

from deconvviz.arguments import PATH, checked_as, takes
from deconvviz.errors import DataError, DependencyError, MissingFileError
from deconvviz.io.atomic import may_hang
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.safetensors_files import DAMAGE, check_fields, manifest_of, write_tensors
from deconvviz.results.shown_images import ShownImages
from deconvviz.results.summary import held, summary
from deconvviz.results.words import in_digits

FORMAT = 2  # increased when older code can no longer read a saved result; files of lower formats can be read

K = TypeVar("K")
R = TypeVar("R", bound="Result")


KINDS: dict[str, type[Any]] = {}  # the classes that loading a file may construct


def kind(cls: type[K]) -> type[K]:
    """Register a dataclass that a saved file may contain."""
    KINDS[cls.__name__] = cls
    cls.__repr__ = summary  # type: ignore[method-assign]
    return cls


class Result:
    """Base class of all results, which are frozen dataclasses.

    `drawn_by` names the module whose `draw` creates the figure. It is not imported before it is needed, so that results
    do not depend on the figures and do not load matplotlib.
    """

    drawn_by: ClassVar[str] = "deconvviz.figures"

    def __init_subclass__(cls) -> None:
        kind(cls)  # before `dataclass`, which keeps the `__repr__` that it finds

    def figure(self, *, axes: Any = None, **options: Any) -> Any:
        """The result as a matplotlib Figure, which a notebook shows. It is not registered with pyplot.

        Args:
            axes: Axes of a figure of your own, to draw there instead. If the result has several panels, they stand
                there together, laid out for that place, and its axis is hidden.
            **options: Options of the function in `deconvviz.figures` that draws this type of result.

        Returns:
            The new figure, or `axes`.
        """
        return self.drawn(importlib.import_module(self.drawn_by).draw, axes=axes, **options)

    def drawn(self, draw: Callable[..., Any], *, axes: Any = None, **options: Any) -> Any:
        """What a function draws of the result, with all names as they are; the new figure, or `axes`."""
        drawn = on_the_cpu(draw)(self, axes=axes, **options)
        shown = axes if axes is not None and drawn is axes.figure else drawn
        for text in shown.findobj(lambda artist: hasattr(artist, "set_parse_math")):  # names are not formulas
            if text.get_wrap():  # matplotlib always measures wrapped lines as formulas
                text.set_text(text.get_text().replace("$", r"\$"))
            else:
                text.set_parse_math(False)
        return drawn if axes is None else axes

    def add_to_tensorboard(self, writer: Any, tag: str = "", *, step: int | None = None, **options: Any) -> None:
        """Send the figure to a TensorBoard writer as an image.

        Args:
            writer: A ``torch.utils.tensorboard.SummaryWriter``, or any object with its ``add_image``.
            tag: The image's tag; by default the type of the result and its layer.
            step: The global step, as for ``add_image``.
            **options: As for `figure`.
        """
        with Image.open(io.BytesIO(self._png(**options))) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB")))
        layer = getattr(getattr(self, "provenance", None), "layer", "")
        named = tag or "/".join(filter(None, (type(self).__name__, layer)))
        writer.add_image(named, pixels.permute(2, 0, 1), step)

    def _png(self, **options: Any) -> bytes:
        return self.figure(**options)._repr_png_()  # type: ignore[no-any-return]

    def _repr_png_(self) -> bytes | None:
        """The figure for a notebook; None if `_repr_html_` holds it, next to tables."""
        return None if hasattr(self, "_repr_html_") else self._png()

    def _light_and_dark(self) -> tuple[bytes, bytes]:
        """The figure as PNG on light and on dark paper."""
        figure = self.figure()
        light = figure._repr_png_()
        return light, importlib.import_module("deconvviz.figures.dark").darkened(figure)._repr_png_()

    def _picture_element(self) -> str:
        """The figure, no wider than the page, dark where the reader's system is."""
        light, dark = (
            f"data:image/png;base64,{base64.b64encode(picture).decode()}" for picture in self._light_and_dark()
        )
        return (
            f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
            f'<img alt="{type(self).__name__}" style="max-width:100%;height:auto" src="{light}"></picture>'
        )

    @takes(path=PATH)
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to the safetensors file `path`, atomically, and return the path.

        Args:
            path: The file to write. An existing file is replaced.
        """
        tensors: dict[str, torch.Tensor] = {}
        manifest = {"format": FORMAT, "result": _encode(self, "", tensors)}
        return write_tensors(path, tensors, {"deconvviz": json.dumps(manifest)})

    @classmethod
    def load(cls: type[R], path: str | os.PathLike[str]) -> R:
        """Load a result that `save` wrote.

        Raises:
            MissingFileError: If the file does not exist.
            DataError: If the file is not a saved result of this class.
        """
        checked_as(PATH, "path", path)
        if may_hang(path):
            raise DataError(f"{os.fspath(path)!r} is not a result saved by deconvviz (it is a device, pipe or socket)")
        if not os.path.isfile(path):
            raise MissingFileError(f"there is no file {os.fspath(path)!r} to load a {cls.__name__} from")
        try:
            with safe_open(os.fspath(path), framework="pt") as stored:
                manifest = manifest_of(stored, "deconvviz")
                if manifest["format"] not in range(1, FORMAT + 1):
                    raise DataError(
                        f"{os.fspath(path)!r} has format {manifest['format']!r}; this version reads 1 to {FORMAT}"
                    )
                result = _decode(manifest["result"], stored)
        except DataError:
            raise
        except DAMAGE as error:
            raise DataError(f"{os.fspath(path)!r} is not a result saved by deconvviz ({error})") from error
        if not isinstance(result, cls):
            raise DataError(f"{os.fspath(path)!r} holds a {type(result).__name__}, not a {cls.__name__}")
        return result


class Tabular(Result):
    """A result with a table: printed in columns for people, as records for programs."""

    def table(self) -> list[dict[str, Any]]:
        """One mapping per row, from column name to unrounded value; all rows have the same columns."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """The table as a DataFrame of pandas.

        Raises:
            DependencyError: If pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise DependencyError("pandas is needed for a DataFrame; pip install pandas") from error
        return pandas.DataFrame(self.table())

    def as_json(self) -> dict[str, Any]:
        """The table and its remarks in JSON types; NaN becomes None."""
        return {"table": plain(self.table())}

    def __str__(self) -> str:
        return as_text(as_rows(self.table())) or "no rows"


class Finding(Tabular):
    """A result with a table of measurements and a verdict that says what they mean."""

    verdict: str

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "verdict": self.verdict}

    def __str__(self) -> str:
        return "\n".join(filter(None, [as_text(as_rows(self.table())), self.verdict]))

    def _repr_html_(self) -> str:
        said = html.escape(self.verdict)
        return f"{as_html(as_rows(self.table()))}{self._picture_element()}<p>{said}</p>"


def _encode(value: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, ShownImages):
        value = value.all()
    if isinstance(value, torch.Tensor):
        key = key.encode("utf-8", "backslashreplace").decode("utf-8")  # names in the file are UTF-8
        while key in tensors:  # {"a": {"b": ...}, "a.b": ...}
            key += "'"
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if dataclasses.is_dataclass(value):
        fields = {f.name: _encode(held(value, f.name), f"{key}.{f.name}", tensors) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, "fields": fields}
    if isinstance(value, dict):
        return {"mapping": [[k, _encode(v, f"{key}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_encode(item, f"{key}.{i}", tensors) for i, item in enumerate(value)]
    return value


def _decode(value: Any, stored: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, stored) for item in value)
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return stored.get_tensor(value["tensor"])
    if "mapping" in value:
        return {k: _decode(v, stored) for k, v in value["mapping"]}
    instance = KINDS[value["kind"]](**{k: _decode(v, stored) for k, v in value["fields"].items()})
    check_fields(instance)
    return instance


def array_of(values: torch.Tensor) -> NDArray[Any]:
    """A tensor as an array; numbers of a type that NumPy does not have become float32."""
    values = values.detach().cpu()
    known = values.dtype in (torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128)
    return np.asarray((values if known else values.float()).numpy())


def plain(value: Any) -> Any:
    """A value in JSON types.

    >>> plain({"share": (0.5, math.nan), "at": torch.tensor([1, 2])})
    {'share': [0.5, None], 'at': [1, 2]}
    """
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def as_rows(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Records as rows of text, starting with a header; numbers have three digits, missing values are empty.

    >>> as_rows([{"layer": "conv1", "share": 1 / 3}, {"layer": "conv2", "share": math.nan}]), as_rows([])
    ([('layer', 'share'), ('conv1', '0.333'), ('conv2', '')], [])
    """
    rows: list[tuple[str, ...]] = [tuple(record) for record in records[:1]]
    return rows + [tuple(_cell(value) for value in record.values()) for record in records]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, tuple):
        return (", " if any(isinstance(item, str) for item in value) else " x ").join(map(_cell, value))
    return in_digits(value) if isinstance(value, float) else str(value)


def printable(text: str) -> str:
    """`text` on one line, with invisible characters escaped: they could control a terminal or reverse text.

    >>> printable("a\\nb\\x1b[31m\\u202ec \u00e9")
    'a\\\\nb\\\\x1b[31m\\\\u202ec \u00e9'
    """
    invisible = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control characters, direction marks, surrogates, separators
    return "".join(ascii(char)[1:-1] if unicodedata.category(char) in invisible else char for char in text)


def as_text(rows: list[tuple[str, ...]]) -> str:
    """A table in columns; "" without rows."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def as_html(rows: list[tuple[str, ...]]) -> str:
    """An HTML table for a notebook; the first row is the header. A long or wide one scrolls in its place."""
    if not rows:
        return ""
    header, *body = [tuple(map(printable, row)) for row in rows]
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    table = f"<table><tr>{cells}</tr>{''.join(lines)}</table>"
    return f'<div style="max-height:32em;overflow:auto">{table}</div>'
