"""Image files that a CSV or JSON file lists, with labels and boxes.

A CSV file has a header and one line per image, with a column for the path, and if wanted columns for the label and the
box: ``path,label,top,left,bottom,right``, where bottom and right are one past the last pixel. A JSON file is a list of
the same, ``[{"path": "a.png", "label": "cat", "box": [top, left, bottom, right]}]``, a JSON Lines file one of these in
each line. Paths are relative to the file's folder.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from deconvviz.data.items import numbers_of_text
from deconvviz.data.parts import BOX
from deconvviz.errors import DataError, ImageFileError, MissingFileError
from deconvviz.images import read_image
from deconvviz.io.atomic import may_hang
from deconvviz.io.safetensors_files import json_of

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image")
LABEL_COLUMNS = ("label", "class", "target")
MANIFEST_ENDINGS = (".csv", ".json", ".jsonl")


class Manifest:
    """The images that a file lists, cut to their boxes; ``manifest[i]`` is (image, label).

    Labels that are text are names of classes, whole numbers are numbers of classes, and other numbers values.

    Attributes:
        root: The folder of the file.
        names: The paths, as they stand in the file.
        classes: The names of the classes, sorted; empty if labels are numbers.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it has another format, or lists no image.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "photos.csv"
        >>> _ = file.write_text("path,label\\na.png,dog\\nb.png,cat\\n")
        >>> Manifest(file).names, Manifest(file).classes
        (['a.png', 'b.png'], ['cat', 'dog'])
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file() or may_hang(path):
            raise MissingFileError(f"there is no file {os.fspath(path)!r} that lists images")
        self.root = self.path.resolve().parent
        self.name = self.path.name
        rows = list(_rows(self.path))
        if not rows:
            raise DataError(f"{os.fspath(path)!r} lists no images")
        self.names = [self._named(number, row) for number, row in rows]
        self.boxes = [self._box(number, row) for number, row in rows]
        labels = [_label(row) for _, row in rows]
        self.classes: list[str] = []
        self.labels: list[Any] = [-1 if label is None else label for label in labels]
        if any(isinstance(label, str) for label in labels):
            self.classes, self.labels = numbers_of_text(None if label is None else str(label) for label in labels)

    def _named(self, number: int, row: Mapping[str, Any]) -> str:
        path = next((row[name] for name in PATH_COLUMNS if row.get(name)), None)
        if isinstance(path, str):
            return path
        columns = ", ".join(PATH_COLUMNS)
        where = f"row {number} of {str(self.path)!r}"
        raise DataError(f"{where} names no image; its path must stand under one of {columns}")

    def _box(self, number: int, row: Mapping[str, Any]) -> tuple[int, ...] | None:
        sides = row.get("box")
        if sides in (None, ""):
            sides = [row.get(name) for name in BOX]
            if all(side in (None, "") for side in sides):
                return None
        try:
            box = tuple(map(int, sides))
            if len(box) != 4 or not 0 <= box[0] < box[2] or not 0 <= box[1] < box[3]:
                raise ValueError
        except (TypeError, ValueError):
            raise DataError(
                f"row {number} of {str(self.path)!r}: a box is four whole numbers, {', '.join(BOX)}, not {sides!r}"
            ) from None
        return box

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        image, box = read_image(self.root / self.names[index], all_levels=True), self.boxes[index]
        if box is not None:
            top, left, bottom, right = box
            if bottom > image.height or right > image.width:
                raise ImageFileError(
                    f"the box {box} of {self.names[index]!r} does not lie in its {image.height} x {image.width} pixels"
                )
            image = image.crop((left, top, right, bottom))
        return image, self.labels[index]

    def contents(self) -> Iterator[tuple[str, object]]:
        """What tells this dataset from others: for each image its path and box, and the size of its file."""
        for name, box in zip(self.names, self.boxes, strict=True):
            path = self.root / name
            yield f"{name} {box}", path.stat().st_size if path.is_file() else None


def _label(row: Mapping[str, Any]) -> Any:
    """A row's label: a whole number, another number, text, or None."""
    label = next((row[name] for name in LABEL_COLUMNS if row.get(name) not in (None, "")), None)
    if isinstance(label, str):
        for number in (int, float):
            try:
                return number(label)
            except ValueError:
                continue
    return label


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a file with their numbers, from 1."""
    kind = path.suffix.lower().lstrip(".")
    try:
        if kind == "csv":
            yield from _csv_rows(path)
            return
        text = path.read_text("utf-8-sig")
        rows = [json_of(line) for line in text.splitlines() if line.strip()] if kind == "jsonl" else json_of(text)
    except (csv.Error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{str(path)!r} is not a {kind.upper()} file ({error})") from error
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) for row in rows):
        raise DataError(f'{str(path)!r} must hold [{{"path": "a.png", "label": "cat"}}]')
    yield from enumerate(rows, start=1)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file, strict=True)
        columns = lines.fieldnames or ()
        if not set(columns) & set(PATH_COLUMNS):
            raise DataError(
                f"{str(path)!r} has the columns {', '.join(columns) or 'of an empty file'}; one of them must be the "
                f"path, under one of the names {', '.join(PATH_COLUMNS)}"
            )
        for number, row in enumerate(lines, start=1):
            if None in row:
                raise DataError(f"row {number} of {str(path)!r} has more values than there are columns")
            yield number, row
