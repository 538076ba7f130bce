"""The places of object parts in images, marked by hand in a CSV or JSON file.

A CSV file has a header and one line per image and part: ``image,part,top,left,bottom,right`` for boxes, where bottom
and right are one past the last pixel, or ``image,part,row,column`` for points. The same in JSON is ``{"left eye":
{"a.png": [top, left, bottom, right], "b.png": [row, column]}}``. Images are named as they are given to the network, or
by their file name alone.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deconvviz.arguments import PATH, list_of, short_text, takes
from deconvviz.errors import DataError, InputError, MissingFileError, did_you_mean
from deconvviz.images import Preprocess, read_image
from deconvviz.io.safetensors_files import json_of

PartPlace = tuple[int, ...]  # a box (top, left, bottom, right), or a point (row, column)
BOX, POINT = ("top", "left", "bottom", "right"), ("row", "column")


@takes(path=PATH, images=list_of(PATH, "paths"))
def read_parts(
    path: str | os.PathLike[str], images: Sequence[str | os.PathLike[str]], *, preprocess: Any = None
) -> dict[str, list[PartPlace]]:
    """Read the places that a file marks: for each part one per image, in the order of `images`.

    Args:
        path: The CSV or JSON file.
        images: Names or paths of the images.
        preprocess: None if places are pixels of the network's input. Otherwise places are pixels of the image files,
            and are converted as a `Preprocess` or a preset of torchvision moves them.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it has another format, omits a part of an image, marks one twice, or marks a place that the
            preprocessing cuts off.
        InputError: If it is not known where the preprocessing moves a place.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "parts.csv"
        >>> _ = file.write_text("image,part,row,column\\na.png,eye,4,5\\nb.png,eye,6,7\\n")
        >>> read_parts(file, ["photos/b.png", "photos/a.png"])
        {'eye': [(6, 7), (4, 5)]}
    """
    if not Path(path).is_file():
        raise MissingFileError(f"there is no file {os.fspath(path)!r} to read parts from")
    shown = os.fspath(path)
    places: dict[str, dict[str, PartPlace]] = {}
    for image, part, place in (_from_json if shown.endswith(".json") else _from_csv)(Path(path)):
        marked = places.setdefault(part, {})
        if image in marked:
            raise DataError(f"{shown!r} marks the part {part!r} of {image!r} twice")
        marked[image] = place
    if not places:
        raise DataError(f"{shown!r} marks no parts")
    return {
        part: [_moved(image, _part_of(shown, part, marked, image), preprocess) for image in images]
        for part, marked in places.items()
    }


def _part_of(shown: str, part: str, marked: Mapping[str, PartPlace], image: str | os.PathLike[str]) -> PartPlace:
    name = os.fspath(image)
    for known in (name, Path(name).name):
        if known in marked:
            return marked[known]
    raise DataError(f"{shown!r} does not mark the part {part!r} of {name!r}{did_you_mean(Path(name).name, marked)}")


def _from_csv(path: Path) -> list[tuple[str, str, PartPlace]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = csv.DictReader(file, strict=True)
            columns = tuple(lines.fieldnames or ())
            wanted = next((names for names in (BOX, POINT) if set(columns) == {"image", "part", *names}), None)
            if wanted is None:
                raise DataError(
                    f"{str(path)!r} has the columns {', '.join(columns) or 'of an empty file'}; they must be image, "
                    f"part, and either {', '.join(BOX)} or {', '.join(POINT)}"
                )
            numbered = list(enumerate(lines, start=2))
            if longer := [number for number, line in numbered if None in line]:
                raise DataError(f"line {longer[0]} of {str(path)!r} has more values than there are columns")
            return [
                (
                    line["image"],
                    line["part"],
                    _place([line[name] for name in wanted], f"line {number} of {str(path)!r}"),
                )
                for number, line in numbered
            ]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{str(path)!r} is not a CSV file ({error})") from error


def _from_json(path: Path) -> list[tuple[str, str, PartPlace]]:
    try:
        rows = json_of(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{str(path)!r} is not a JSON file ({error})") from error
    if not isinstance(rows, dict) or not all(isinstance(marked, dict) for marked in rows.values()):
        raise DataError(f'{str(path)!r} must hold {{"part": {{"image": [top, left, bottom, right] or [row, column]}}}}')
    return [
        (image, part, _place(place, f"part {part!r} of {image!r} in {str(path)!r}"))
        for part, marked in rows.items()
        for image, place in marked.items()
    ]


def _place(item: Any, where: str) -> PartPlace:
    numbers = list(item) if isinstance(item, list) else []
    try:
        if len(numbers) not in (2, 4) or any(
            isinstance(number, bool) or float(number) != int(float(number)) for number in numbers
        ):
            raise ValueError
        return tuple(int(float(number)) for number in numbers)
    except (TypeError, ValueError, OverflowError):
        said = f"{where}: a place is whole numbers, {', '.join(BOX)} or {', '.join(POINT)}, not {item!r}"
        raise DataError(said) from None


def _moved(image: str | os.PathLike[str], place: PartPlace, preprocess: Any) -> PartPlace:
    """A place in an image file, in the pixels of what the preprocessing makes of it: the centre, resized."""
    if preprocess is None or getattr(preprocess, "size", 0) is None or not Path(image).is_file():
        return place
    width, height = read_image(image).size
    scale, sides = _resizing(preprocess, height, width)
    part = sides[0] / scale, sides[1] / scale
    off = ((height - part[0]) / 2, (width - part[1]) / 2)
    if len(place) == 2:
        moved = tuple(math.floor((at + 0.5 - o) * scale) for at, o in zip(place, off, strict=True))
    else:
        moved = tuple(round((at - o) * scale) for at, o in zip(place, off * 2, strict=True))
    if not all(0 <= at <= side - (len(place) == 2) for at, side in zip(moved, sides * 2, strict=False)):
        shape = f"square of {round(part[0])}" if sides[0] == sides[1] else f"{round(part[0])} x {round(part[1])}"
        raise DataError(
            f"the place {place} of {os.fspath(image)!r} lies outside the image, or outside of its centre {shape} "
            f"pixels, which is all that the network gets of {height} x {width}"
        )
    return moved


def _resizing(preprocess: Any, height: int, width: int) -> tuple[float, tuple[int, int]]:
    """By how much an image is enlarged, and the height and width of the centre that is left."""
    if isinstance(preprocess, Preprocess) and preprocess.size is not None:
        sides = preprocess.size if isinstance(preprocess.size, tuple) else (preprocess.size, preprocess.size)
        return max(sides[0] / height, sides[1] / width), sides
    crop, resized = (getattr(preprocess, f"{name}_size", None) for name in ("crop", "resize"))
    if crop and resized:  # a preset of torchvision
        return int(resized[0]) / min(height, width), (int(crop[0]), int(crop[0]))
    raise InputError(
        f"where a part lies after {short_text(preprocess)} is not known; give a deconvviz.images.Preprocess, or "
        f"mark the parts in images of the size of the input"
    )
