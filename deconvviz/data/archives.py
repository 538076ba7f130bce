"""Images in zip archives and tar files, read where they lie; nothing is unpacked to the disk."""

from __future__ import annotations

import io
import itertools
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from PIL import Image

from deconvviz.errors import DataError, ImageFileError, MissingFileError
from deconvviz.images import ENDINGS, decode_image
from deconvviz.io.atomic import may_hang
from deconvviz.io.safetensors_files import json_of

LARGEST_MEMBER = 2**30  # bytes of an image's file
LARGEST_LABEL = 2**20  # bytes of a file with a label


class ZipImages:
    """The images of a zip archive, in the order of their names; ``images[i]`` is (image, label).

    Labels are folders, as in `ImageFolder`; a folder that holds everything is none if there are folders in it.

    Raises:
        MissingFileError: If the file does not exist.
        DataError: If it is no zip archive, or holds no image.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = _checked(path)
        self.name = self.path.name
        self._open: tuple[int, zipfile.ZipFile] | None = None  # and the process that opened it
        try:
            members = self._archive().infolist()
        except Exception as error:  # damaged archives fail in many ways
            raise DataError(f"{os.fspath(path)!r} cannot be read as a zip archive: {error}") from error
        shown = {
            member.filename: member for member in members if not member.is_dir() and _is_shown_image(member.filename)
        }
        self.names = sorted(shown)
        self._members = [shown[name] for name in self.names]
        if not self.names:
            raise DataError(f"{os.fspath(path)!r} holds no image files")
        self.classes, self.labels = folder_labels(self.names)

    def _archive(self) -> zipfile.ZipFile:
        """The archive, opened by this process: processes that load images must not share a file's position."""
        if self._open is None or self._open[0] != os.getpid():
            self._open = os.getpid(), zipfile.ZipFile(self.path)
        return self._open[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": None}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        member = self._members[index]
        _check_size(member.filename, member.file_size, LARGEST_MEMBER)
        content = self._archive().read(member)
        return decode_image(io.BytesIO(content), member.filename), self.labels[index]

    def contents(self) -> Iterator[tuple[str, object]]:
        """What tells this dataset from others: the names and checksums of its images."""
        return ((member.filename, member.CRC) for member in self._members)


class _Member(NamedTuple):
    """A file in a tar file: which tar file, where it begins there, and how many bytes it has."""

    shard: int
    offset: int
    size: int


class TarShards:
    """The images of plain tar files, in their order there; ``images[i]`` is (image, label).

    Files whose names agree up to the first dot belong together, as in WebDataset: ``0001.jpg`` is the image, and
    ``0001.cls`` the number of its class, or ``0001.json`` has it as ``"label"``. Where no image has a label of its own,
    folders are the labels. Where each image lies is noted first, which reads no image. So items have numbers, a scan
    continues where it stopped, and processes can share the work.

    Args:
        pattern: One file, or several: ``shards-{000..009}.tar``, ``{train,test}.tar``.

    Raises:
        MissingFileError: If a file does not exist.
        DataError: If one is no plain tar file, or there is no image.
    """

    def __init__(self, pattern: str | os.PathLike[str]) -> None:
        self.paths = [_checked(path) for path in expanded(os.fspath(pattern))]
        self.name = Path(pattern).name
        self.names: list[str] = []
        self._images: list[_Member] = []
        self._labels: list[_Member | None] = []
        self._in_json: list[bool] = []
        for number, path in enumerate(self.paths):
            self._note(number, path)
        if not self.names:
            raise DataError(f"{os.fspath(pattern)!r} holds no image files")
        self.classes, self.labels = ([], []) if any(self._labels) else folder_labels(self.names)

    def _note(self, number: int, path: Path) -> None:
        """Note where the images and labels of a tar file lie."""
        try:
            with tarfile.open(path, "r:") as archive:
                files = [
                    (member.name, _Member(number, member.offset_data, member.size))
                    for member in archive
                    if _is_plain(member)
                ]
        except Exception as error:
            packed = path.suffix in (".gz", ".bz2", ".xz", ".tgz", ".zst")
            hint = " (a compressed one has to be decompressed first)" if packed else ""
            raise DataError(f"{str(path)!r} cannot be read as a plain tar file{hint}: {error}") from error
        for _, together in itertools.groupby(files, key=lambda file: _key(file[0])):
            by_ending = {_ending(name): (name, member) for name, member in together}
            label = by_ending.get(".cls") or by_ending.get(".json")
            images = {ending: file for ending, file in by_ending.items() if _is_shown_image(file[0])}
            exact = [file for ending, file in images.items() if ending in ENDINGS]
            for name, member in exact or images.values():  # beside a.jpg, a.mask.png is no image
                self.names.append(name)
                self._images.append(member)
                self._labels.append(label[1] if label else None)
                self._in_json.append(".cls" not in by_ending)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, Any]:
        name, label = self.names[index], self._labels[index]
        image = decode_image(io.BytesIO(self._read(self._images[index], name, LARGEST_MEMBER)), name)
        if label is None:
            return image, self.labels[index] if self.labels else -1
        text = self._read(label, name, LARGEST_LABEL)
        return image, json_of(text.decode()).get("label") if self._in_json[index] else text.decode().strip()

    def _read(self, member: _Member, name: str, most: int) -> bytes:
        _check_size(name, member.size, most)
        with open(self.paths[member.shard], "rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    def contents(self) -> Iterator[tuple[str, object]]:
        """What tells this dataset from others: the names and sizes of its images."""
        return ((name, member.size) for name, member in zip(self.names, self._images, strict=True))


def expanded(pattern: str) -> list[str]:
    """The paths that a pattern with braces stands for.

    Example:
        >>> expanded("s-{08..10}.tar"), expanded("{a,b}.tar"), expanded("c.tar")
        (['s-08.tar', 's-09.tar', 's-10.tar'], ['a.tar', 'b.tar'], ['c.tar'])
    """
    braces = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not braces:
        return [pattern]
    first, last, listed = braces.groups()
    if listed is None and int(last) - int(first) >= 10**6:
        raise DataError(f"{pattern!r} stands for more than a million files")
    parts = listed.split(",") if listed else [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
    return [path for part in parts for path in expanded(pattern[: braces.start()] + part + pattern[braces.end() :])]


def folder_labels(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """The folders of images as classes, and each image's; -1 for images in none.

    A folder that holds everything is none if there are folders in it.

    Example:
        >>> folder_labels(["photos/cats/a.png", "photos/dogs/b.png"])
        (['cats', 'dogs'], [0, 1])
    """
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    while any(len(parts) > 1 for parts in folders) and len({parts[:1] for parts in folders}) == 1:
        folders = [parts[1:] for parts in folders]
    classes = sorted({parts[0] for parts in folders if parts})
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [numbers[parts[0]] if parts else -1 for parts in folders]


def _checked(path: str | os.PathLike[str]) -> Path:
    if not os.path.isfile(path) or may_hang(path):
        raise MissingFileError(f"there is no archive {os.fspath(path)!r}")
    return Path(path)


def _check_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise ImageFileError(f"{name!r} would unpack to {size} bytes, more than {most}")


def _is_shown_image(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in ENDINGS and not hidden


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _key(name: str) -> str:
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _ending(name: str) -> str:
    return f".{name.rpartition('/')[2].partition('.')[2]}".lower()
