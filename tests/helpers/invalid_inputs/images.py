"""Image files of every kind, damaged ones, enormous ones, and files that are no images."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deconvviz.data import read_parts
from deconvviz.errors import ImageFileError, InputError, MissingFileError
from deconvviz.images import Preprocess, read_image
from tests.helpers.invalid_inputs.case import Case, gives, picture, refused

GREY = Image.fromarray(np.array([[0, 50, 100], [150, 200, 250]], dtype=np.uint8))
ROWS = [[0, 50, 100], [150, 200, 250]]


def read(name: str, image: Image.Image, **options: Any) -> Callable[[Path], Any]:
    """Saves an image, and reads it: mode and values."""

    def how(_: Path) -> Any:
        image.save(name, **options)
        found = read_image(name)
        return found.mode, np.asarray(found).tolist()

    return how


def written(name: str, content: bytes) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        Path(name).write_bytes(content)
        return read_image(name)

    return how


def values(kind: Any, *numbers: float) -> Image.Image:
    return Image.fromarray(np.array([numbers], dtype=kind))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png(width: int, height: int) -> bytes:
    """A PNG whose header has this size, without pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def gif(width: int, height: int) -> bytes:
    place = struct.pack("<HHHHB", 0, 0, width, height, 0)
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff," + place + b"\x02\x02D\x01\0;"


def encoded(kind: str) -> bytes:
    import io

    content = io.BytesIO()
    picture((40, 30)).save(content, kind)
    return content.getvalue()


def piped(folder: Path) -> Any:
    os.mkfifo("pipe.png")
    return read_image("pipe.png")


def below_a_file(folder: Path) -> Any:
    Path("file").touch()
    return read_image("file/a.png")


def of_undecodable_name(folder: Path) -> Any:
    name = os.fsdecode(b"\xff\xfe.png")
    GREY.save(name)
    return np.asarray(read_image(name)).tolist()


UPRIGHT = {  # by the tag's number: as it is, mirrored and turned
    0: ROWS,
    1: ROWS,
    2: [[100, 50, 0], [250, 200, 150]],
    3: [[250, 200, 150], [100, 50, 0]],
    4: [[150, 200, 250], [0, 50, 100]],
    5: [[0, 150], [50, 200], [100, 250]],
    6: [[150, 0], [200, 50], [250, 100]],
    7: [[250, 100], [200, 50], [150, 0]],
    8: [[100, 250], [50, 200], [0, 150]],
    9: ROWS,
}
MORE = [Image.new("L", (3, 2), 255)]
BOMB = "is refused as a possible decompression bomb: Image size (3600000000 pixels) exceeds limit of …"
NOT_FINITE = "cannot be read as an image: it holds values that are NaN or infinite"


def marked(_: Path) -> Any:
    Image.new("RGB", (9, 9)).save("a.png")
    Path("parts.csv").write_text("image,part,row,column\na.png,eye,4,5\n")
    return read_parts("parts.csv", ["a.png"], preprocess=max)


CASES: list[Case] = [
    refused(
        "parts behind a preprocess that may move them",
        marked,
        InputError,
        "where a part lies after … is not known; give a deconvviz.images.Preprocess, or mark the parts in images of "
        "the size of the input",
    ),
    gives("a grey image", read("a.png", GREY), ("L", ROWS)),
    gives("one bit", read("a.png", Image.new("1", (2, 1), 1)), ("L", [[255, 255]])),
    gives("grey with opacity", read("a.png", Image.new("LA", (1, 1), (100, 0))), ("L", [[100]])),
    gives("colours with opacity", read("a.png", Image.new("RGBA", (1, 1), (255, 0, 9, 0))), ("RGB", [[[255, 0, 9]]])),
    gives("CMYK", read("a.tif", Image.new("CMYK", (1, 1), (0, 255, 255, 0))), ("RGB", [[[255, 0, 0]]])),
    gives(
        "YCbCr",
        read("a.tif", Image.new("YCbCr", (1, 1), (128, 128, 128)), compression="tiff_lzw"),
        ("RGB", [[[128, 128, 128]]]),
    ),
    gives("a palette", read("a.png", GREY.convert("P")), ("RGB", [[[v] * 3 for v in row] for row in ROWS])),
    gives(
        "a palette with a transparent entry",
        read("a.png", GREY.convert("P"), transparency=0),
        ("RGB", [[[v] * 3 for v in row] for row in ROWS]),
    ),
    gives(
        "the first frame of an animated GIF",
        read("a.gif", GREY, save_all=True, append_images=MORE),
        ("RGB", [[[v] * 3 for v in row] for row in ROWS]),
    ),
    gives("the first frame of an animated PNG", read("a.png", GREY, save_all=True, append_images=MORE), ("L", ROWS)),
    gives("16 bits", read("a.png", values(np.uint16, 0, 256, 65535, 4096)), ("L", [[0, 1, 255, 16]])),
    gives("16 bits, the large byte first", read("a.tif", values(">u2", 0, 256, 65535)), ("L", [[0, 1, 255]])),
    gives("32 bits in the range of 16", read("a.tif", values(np.int32, 0, 256, 65535)), ("L", [[0, 1, 255]])),
    gives("32 bits", read("a.tif", values(np.int32, 0, 2**29, 2**30)), ("L", [[0, 128, 255]])),
    gives("negative whole numbers", read("a.tif", values(np.int32, -5, 65535)), ("L", [[0, 255]])),
    gives("floating point from 0 to 1", read("a.tif", values(np.float32, 0, 0.5, 1)), ("L", [[0, 128, 255]])),
    gives("floating point up to 100", read("a.tif", values(np.float32, -1, 50, 100)), ("L", [[0, 128, 255]])),
    *(
        refused(
            f"floating point with {name}",
            read("a.tif", values(np.float32, 0, value)),
            ImageFileError,
            f"'a.tif' {NOT_FINITE}",
        )
        for name, value in (("NaN", np.nan), ("infinity", np.inf), ("minus infinity", -np.inf))
    ),
    *(
        gives(f"orientation {number}", read("a.png", GREY, exif=turned(number)), ("L", rows))
        for number, rows in UPRIGHT.items()
    ),
    refused(
        "an image of a mode that nothing converts",
        lambda _: Preprocess(8)(Image.new("La", (2, 2))),
        ImageFileError,
        "the image of mode La cannot be converted to RGB or grey: conversion from La to L not supported",
    ),
    refused(
        "bands that are none",
        lambda _: Preprocess(8, (0.5,) * 13, (0.5,) * 13, bands=(0, 1, 13)),
        InputError,
        "bands are three channels from 0 to 12, not (0, 1, 13)",
    ),
    refused(
        "an array with other channels",
        lambda _: Preprocess(8)(np.zeros((8, 8, 5), np.uint16)),
        InputError,
        "an array of uint16 of shape (8, 8, 5) is no picture with 3 channels",
    ),
    refused(
        "PostScript called .png",
        written("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"),
        ImageFileError,
        "'a.png' is not an image file that Pillow can read",
    ),
    gives("one pixel", read("a.png", Image.new("L", (1, 1), 7)), ("L", [[7]])),
    gives(
        "a very long row",
        lambda _: (Image.new("L", (60_000, 1)).save("a.png"), read_image("a.png").size)[1],
        (60_000, 1),
    ),
    gives("a name in Chinese", read("图像 ü.png", GREY), ("L", ROWS)),
    gives("a name with a line break", read("a\nb.png", GREY), ("L", ROWS)),
    gives("a name that is no text", of_undecodable_name, ROWS),
    gives("a name of 250 characters", read("x" * 246 + ".png", GREY), ("L", ROWS)),
    *(
        refused(
            f"a missing file {name[:12]!r}",
            lambda _, name=name: read_image(name),
            MissingFileError,
            f"there is no image file {name!r}",
        )
        for name in ("no.png", "", "a\0b.png", "a\nb.png", "\udcff.png", "x" * 5000, "../" * 50 + "no.png")
    ),
    refused("a file below a file", below_a_file, MissingFileError, "there is no image file 'file/a.png'"),
    refused("a folder", lambda folder: read_image(folder), ImageFileError, "'…' is a folder, not an image file"),
    refused("a pipe", piped, ImageFileError, "'pipe.png' is a device or pipe, not an image file"),
    refused(
        "a device",
        lambda _: read_image("/dev/zero"),
        ImageFileError,
        "'/dev/zero' is a device or pipe, not an image file",
    ),
    *(
        refused(
            f"{name} called .png",
            written("a.png", content),
            ImageFileError,
            "'a.png' is not an image file that Pillow can read",
        )
        for name, content in (
            ("an empty file", b""),
            ("text", b"hello"),
            ("a vector drawing", b"<svg/>"),
            ("zeros", bytes(5000)),
        )
    ),
    *(
        refused(
            f"half a {kind}",
            written("a.png", encoded(kind)[: len(encoded(kind)) // 2]),
            ImageFileError,
            "'a.png' cannot be read as an image: …",
        )
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP")
    ),
    refused(
        "a PNG without pixels", written("a.png", png(5, 5)), ImageFileError, "'a.png' cannot be read as an image: …"
    ),
    refused(
        "a PNG of no size",
        written("a.png", png(0, 0)),
        ImageFileError,
        "'a.png' is not an image file that Pillow can read",
    ),
    refused(
        "a PNG that would unpack to 3.6 GB", written("a.png", png(60_000, 60_000)), ImageFileError, f"'a.png' {BOMB}"
    ),
    refused(
        "a GIF that would unpack to 3.6 GB", written("a.gif", gif(60_000, 60_000)), ImageFileError, f"'a.gif' {BOMB}"
    ),
]
