"""The files of an atlas: those that it listed and nobody changed are replaced and removed, and no others."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deconvviz.atlas.inventory import _HEADER, JOURNAL, Inventory
from deconvviz.atlas.output_folder import left_alone
from deconvviz.atlas.site import Site
from deconvviz.errors import DeconvVizError, InputError, OutputError
from tests.helpers.files import contents
from tests.helpers.synthetic_atlas import channels, header, layer, write

SMALL = header(size=(28, 28), k=2, images=20)
LARGE, LITTLE = [layer("a", 40, (3, 3)), layer("b", 10, (3, 3))], [layer("a", 10, (3, 3))]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole atlas, to be copied."""
    return write(tmp_path_factory.mktemp("whole") / "at", LARGE, SMALL).parent


@pytest.fixture
def at(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "at"))


def put(path: Path, text: str = "mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_manifest_lists_every_other_file_with_its_size_and_digest(whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    found = contents(whole)
    del found["manifest.json"]
    assert manifest["written"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in found.items()
    }
    assert manifest["files"] == len(found) + 1


BESIDE = ["assets/custom.css", "assets/analytics.js", "notes.txt", "data/mine.json", "sheets/photo.png", "deep/0.js"]
IN_THE_WAY = [
    "images/12.webp",
    "data/2024.js",
    "older/images/3.webp",
    "sheets/9-t0.webp",
    "older/data/index.js",
    JOURNAL,
]


def test_files_beside_an_atlas_s_stay_and_are_named(at: Path) -> None:
    before = {name: put(at / name).read_bytes() for name in BESIDE}
    put(at / "older" / "mine.txt")
    assert sorted(left_alone(at)) == sorted(["deep", *BESIDE[:5], "older/mine.txt"])
    write(at, LITTLE, SMALL)
    now = contents(at)
    assert {name: now[name] for name in BESIDE} == before
    assert now["older/mine.txt"] == b"mine"
    write(at.parent / "new", LITTLE, SMALL)
    assert {name: now[name] for name in now if name not in [*BESIDE, "older/mine.txt"]} == contents(at.parent / "new")


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_a_file_that_an_atlas_might_write_over_is_refused(name: str, at: Path) -> None:
    put(at / name)
    before = contents(at)
    with pytest.raises(OutputError, match=rf"{name}' was not written by an atlas, or was changed since; move it away"):
        Site(at, SMALL)
    assert contents(at) == before


@pytest.mark.parametrize("name", ["index.html", "manifest.json", "assets/style.css", "data/0.js", "sheets/0-0.webp"])
def test_a_file_of_the_atlas_that_was_changed_is_no_longer_the_atlas_s(name: str, at: Path) -> None:
    with (at / name).open("ab") as file:
        file.write(b" ")
    before = contents(at)
    with pytest.raises(DeconvVizError, match=r"changed since|was changed"):
        Site(at, SMALL)
    assert contents(at) == before


def test_a_file_that_was_removed_is_written_again(at: Path) -> None:
    before = contents(at)
    for name in ("data/0.js", "assets/atlas.js"):
        (at / name).unlink()
    write(at, LARGE, SMALL)
    assert contents(at) == before


LINKS: dict[str, Callable[[Path, Path], object]] = {
    "images": lambda at, away: (
        shutil.move(at / "images", away / "images") and (at / "images").symlink_to(away / "images")
    ),
    "older": lambda at, away: (at / "older").symlink_to(away),
    "data/0.js": lambda at, away: (
        shutil.move(at / "data/0.js", away / "0.js") and (at / "data/0.js").symlink_to(away / "0.js")
    ),
    "data/77.js": lambda at, away: (at / "data/77.js").symlink_to(away / "nowhere"),
    "index.html": lambda at, away: (
        shutil.move(at / "index.html", away / "x") and (at / "index.html").symlink_to(away / "x")
    ),
}


@pytest.mark.parametrize("name", LINKS)
def test_no_link_is_followed(name: str, at: Path, tmp_path: Path) -> None:
    away = tmp_path / "away"
    put(away / "mine")
    LINKS[name](at, away)
    before, outside = contents(at), contents(away)
    with pytest.raises(OutputError, match=rf"{name}' is a link, and an atlas follows none"):
        Site(at, SMALL)
    assert (contents(at), contents(away)) == (before, outside)


def test_a_list_that_names_other_files_removes_none(at: Path, tmp_path: Path) -> None:
    """Of an atlas that a stranger made."""
    mine = put(tmp_path / "mine.js"), put(at / "notes.txt"), put(at / "assets" / "custom.css")
    (at / "manifest.json").unlink()
    strange = "../mine.js", "data/../../mine.js", "notes.txt", "assets/custom.css", "assets/../notes.txt"
    lines = [f"4 {hashlib.sha256(b'mine').hexdigest()} {name}\n".encode() for name in strange]
    for name, content in contents(at).items():
        lines.append(f"{len(content)} {hashlib.sha256(content).hexdigest()} {name}\n".encode())
    (at / JOURNAL).write_bytes(_HEADER + b"".join(lines))
    write(at, LITTLE, SMALL)
    assert [path.read_text() for path in mine] == ["mine"] * 3


def test_scripts_that_the_page_of_an_earlier_version_had_are_removed(at: Path) -> None:
    (at / "manifest.json").unlink()
    put(at / "assets" / "app.js", "earlier")
    lines = [
        f"{len(content)} {hashlib.sha256(content).hexdigest()} {name}\n".encode()
        for name, content in contents(at).items()
    ]
    (at / JOURNAL).write_bytes(_HEADER + b"".join(lines))
    write(at, LITTLE, SMALL)
    assert sorted(path.name for path in (at / "assets").iterdir()) == [
        "atlas.js", "base.css", "colours.css", "style.css"
    ]  # fmt: skip


@pytest.mark.parametrize("change", ["no list", "an older version's", "a list that was changed"])
def test_an_atlas_without_a_list_is_refused(change: str, at: Path) -> None:
    manifest = json.loads((at / "manifest.json").read_text())
    (at / "manifest.json").unlink()
    if change == "an older version's":
        put(at / "manifest.json", json.dumps({"format": "deconvviz atlas", "version": 1, "files": 3}))
    elif change == "a list that was changed":
        put(at / "manifest.json", json.dumps(manifest, indent=2))
    before = contents(at)
    with pytest.raises(
        InputError, match="holds an atlas whose list of files is missing or was changed, or an older ver"
    ):
        Site(at, SMALL)
    assert contents(at) == before


def test_a_build_that_was_killed_anywhere_knows_its_files_and_no_others(at: Path) -> None:
    """Killed is what raises here: nothing is tidied up."""
    writes = 0
    real = Inventory.write

    def counted(inventory: Inventory, name: str, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == last:
            raise KeyboardInterrupt
        real(inventory, name, content)

    others = {name: put(at / name).read_bytes() for name in BESIDE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Inventory, "write", counted)
        for last in (1, 3, 9, 12, 14, 25):
            writes = 0
            with pytest.raises(KeyboardInterrupt):
                write(at, LARGE, replace(SMALL, title=str(last)))
            assert (at / JOURNAL).is_file()
    write(at, LITTLE, SMALL)
    now = contents(at)
    assert {name: now.pop(name) for name in BESIDE} == others
    write(at.parent / "new", LITTLE, SMALL)
    assert now == contents(at.parent / "new")


def test_a_file_that_comes_while_an_atlas_is_built_stops_it_and_stays(at: Path) -> None:
    site = Site(at, SMALL)
    put(at / "data" / "0.js")
    with pytest.raises(OutputError, match=r"data/0.js' was not written by an atlas"):
        site.add_layer(LITTLE[0], channels(LITTLE[0], SMALL))
    assert (at / "data" / "0.js").read_text() == "mine"


def test_a_journal_that_was_cut_off_is_read_as_far_as_it_goes(at: Path) -> None:
    Site(at, SMALL)
    whole = (at / JOURNAL).read_bytes()
    entries = len([line for line in whole.split(b"\n") if line]) - 1  # below the heading
    (at / JOURNAL).write_bytes(whole[:-20] + bytes(10))
    assert sum(map(len, Inventory(at).known.values())) == entries - 1
