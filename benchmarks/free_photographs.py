"""Write a folder of photographs that are CC0 or in the public domain, for measurements and figures.

    apt-get download gcompris-qt-data && dpkg-deb -x gcompris-qt-data_*.deb gcompris
    python -m benchmarks.free_photographs gcompris/usr/share/gcompris-qt/rcc photos

The educational software GCompris (Debian package `gcompris-qt-data`, 3.1) has photographs in its activities, and beside
them a README that names author, source and licence of each. Those that are free of conditions are written, with a list
of their authors and sources in photos/CREDITS.tsv. The files with the ending .rcc are resources of Qt.
"""

from __future__ import annotations

import argparse
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ACTIVITIES = ("categorization", "erase", "explore_farm_animals", "explore_world_animals", "explore_world_music")
FREE = re.compile(r"public domain|CC0", re.IGNORECASE)
PACKED, FOLDER = 1, 2  # flags of an entry in a resource file


class Credit(NamedTuple):
    """Who made a photograph, where it comes from, and on what terms."""

    author: str
    source: str
    licence: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("resources", type=Path, help="folder of GCompris's .rcc files")
    parser.add_argument("out", type=Path, help="folder for the photographs")
    given = parser.parse_args()
    lines = []
    for activity in ACTIVITIES:
        files = dict(resources((given.resources / f"{activity}.rcc").read_bytes()))
        for folder, text in ((name.rpartition("/")[0], files[name]) for name in files if name.endswith("/README")):
            for name, credit in credits_of(text.decode()).items():
                content = files.get(f"{folder}/{name}")
                if content is None or not FREE.match(credit.licence):
                    continue
                path = given.out / f"{activity}-{folder.rpartition('/')[2]}" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                lines.append("\t".join((path.relative_to(given.out).as_posix(), *credit)))
    (given.out / "CREDITS.tsv").write_text("\n".join(sorted(lines)) + "\n", "utf-8")
    print(f"{len(lines)} photographs in {given.out}")


def resources(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The files in a resource file of Qt, with their paths."""
    magic, version, tree, data, names = struct.unpack(">4sIIII", content[:20])
    if magic != b"qres":
        raise SystemExit("this is no resource file of Qt")
    size = 14 if version == 1 else 22  # bytes of an entry

    def entries(number: int, path: str) -> Iterator[tuple[str, bytes]]:
        place = tree + number * size
        (flags,) = struct.unpack(">H", content[place + 4 : place + 6])
        if flags & FOLDER:
            count, first = struct.unpack(">II", content[place + 6 : place + 14])
            for child in range(first, first + count):
                (name,) = struct.unpack(">I", content[tree + child * size :][:4])
                (length,) = struct.unpack(">H", content[names + name :][:2])
                letters = content[names + name + 6 : names + name + 6 + 2 * length]  # behind a hash of 4 bytes
                yield from entries(child, f"{path}/{letters.decode('utf-16-be')}")
            return
        (start,) = struct.unpack(">I", content[place + 10 : place + 14])
        (length,) = struct.unpack(">I", content[data + start : data + start + 4])
        held = content[data + start + 4 : data + start + 4 + length]
        yield path, zlib.decompress(held[4:]) if flags & PACKED else held

    yield from entries(0, "")


def credits_of(readme: str) -> dict[str, Credit]:
    """Per photograph what a README says of it; its paragraphs have lines such as "License: Public Domain"."""
    found: dict[str, Credit] = {}
    for paragraph in re.split(r"\n\s*\n", readme):
        said = dict(re.findall(r"^(Copyright|Source|Licen[sc]e): *(.*)$", paragraph, re.MULTILINE))
        licence = said.get("License", said.get("Licence", ""))
        for name in re.findall(r"^(?:Files: *)?(\S+\.webp)\s*$", paragraph, re.MULTILINE):
            found[name] = Credit(said.get("Copyright", ""), said.get("Source", ""), licence)
    return found


if __name__ == "__main__":
    main()
