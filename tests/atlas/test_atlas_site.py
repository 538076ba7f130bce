from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from deconvviz.atlas.output_folder import call, rounded
from deconvviz.atlas.site import AtlasChannel, AtlasUnit, Site
from deconvviz.atlas.tiles import GUTTER, Fit, placed, stretched
from deconvviz.errors import InputError
from tests.helpers.files import contents
from tests.helpers.synthetic_atlas import channels, header, layer, picture, write

SMALL = header(size=(28, 28), k=4, images=50)


def received(path: Path) -> tuple[str, Any]:
    """Key and value of a file of data."""
    found = re.fullmatch(r'atlas\.receive\("([\w-]+)", (.*)\);\n', path.read_text("ascii"))
    assert found
    return found[1], json.loads(found[2])


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        assert opened.format == "WEBP"
        return np.asarray(opened.convert("RGBA"))


def flat(value: int, *size: int) -> NDArray[np.uint8]:
    return np.full((*size, 3), value, np.uint8)


def unit(value: float, shade: int, box: tuple[int, int, int, int], image: int = 0, name: str = "a") -> AtlasUnit:
    size = box[2] - box[0], box[3] - box[1]
    return AtlasUnit(
        value=value,
        image=image,
        name=name,
        label="",
        box=box,
        position=(0, 0),
        patch=flat(shade, *size),
        projection=flat(255 - shade, *size),
    )


def channel(number: int, *units: AtlasUnit, firing: float = 0.5, state: str = "") -> AtlasChannel:
    return AtlasChannel(
        channel=number,
        firing=firing,
        state=state,
        mean=0.1,
        maximum=2.0,
        histogram=((0.0, 1.0, 3),),
        units=units,
        inputs=(("b", 1, -0.5),),
    )


def black(_: int) -> NDArray[np.uint8]:
    return flat(0, 28, 28)


# What lies where


def test_tiles_lie_where_the_data_say(tmp_path: Path) -> None:
    site = Site(tmp_path, SMALL)
    inside, corner = unit(2.0, 10, (3, 4, 8, 9)), unit(1.0, 90, (0, 24, 3, 28))  # cut above and to the right
    site.add_layer(layer("a", 20, (5, 5)), (channel(n, *((inside, corner) if n == 17 else ())) for n in range(20)))
    site.finish(black)
    about = received(tmp_path / "data/index.js")[1]["layers"][0]
    height, width, factor = about["tile"]
    assert (height, width, factor, about["block"]) == (110, 110, 22, 15)

    sheet = pixels(tmp_path / "sheets/0-1.webp")  # channels 15 to 19
    pitch = 110 + GUTTER
    assert sheet.shape == (2 * 5 * pitch, 4 * pitch + GUTTER, 4)
    for part, shade in ((0, 10), (1, 245)):
        top = (2 * 2 + part) * pitch
        assert (sheet[top : top + 110, :110] == (shade, shade, shade, 255)).all()
    cut = sheet[2 * 2 * pitch : 2 * 2 * pitch + 110, pitch : pitch + 110]
    present = np.zeros((110, 110), bool)
    present[2 * 22 :, : 4 * 22] = True  # two rows are missing above, a column to the right
    assert (cut[present] == (90, 90, 90, 255)).all()
    assert (cut[~present][:, 3] == 0).all()
    assert (sheet[2 * 2 * pitch :, 2 * pitch :][:, :, 3] == 0).all(), "a unit that is not there is transparent"


def test_the_grid_has_a_mosaic_per_channel(tmp_path: Path) -> None:
    site = Site(tmp_path, SMALL)
    shades = {0: 20, 35: 60, 36: 130, 40: 200}
    site.add_layer(
        layer("a", 41, (5, 5)),
        (channel(n, *[unit(1.0, shades.get(n, 0) + rank, (5, 5, 10, 10)) for rank in range(3)]) for n in range(41)),
    )
    site.finish(black)
    about = received(tmp_path / "data/index.js")[1]["layers"][0]
    height, width, factor = about["cell"]
    assert (height, width, factor) == (2 * 45 + 1, 2 * 45 + 1, 9)
    pitch = 91 + GUTTER
    for kind, sign in (("p", 1), ("t", -1)):
        first, second = (pixels(tmp_path / f"sheets/0-{kind}{number}.webp") for number in (0, 1))
        assert first.shape == (6 * pitch, 6 * pitch, 4)
        assert second.shape == (pitch, 5 * pitch, 4)
        for number, sheet in ((0, first), (35, first), (36, second), (40, second)):
            y, x = number % 36 // 6 * pitch, number % 36 % 6 * pitch
            for rank, (down, across) in enumerate([(0, 0), (0, 46), (46, 0)]):
                shade = (shades[number] + rank) * sign % 255
                assert (sheet[y + down : y + down + 45, x + across : x + across + 45, :3] == shade).all()
            assert (sheet[y + 46 : y + 91, x + 46 : x + 91, 3] == 0).all()


def test_the_data_are_those_given(tmp_path: Path) -> None:
    site = Site(tmp_path, SMALL)
    units = unit(2.34567891, 1, (0, 0, 5, 5), 7, "x.png"), unit(-1.0, 1, (1, 1, 6, 6), 3)
    given = [
        channel(0, *units, firing=0.9999999),
        channel(1, firing=0.0, state="dead"),
        channel(2, *units, firing=1.0, state="always"),
    ]
    site.add_layer(layer("a", 3, (5, 5)), [*given[:2], replace(given[2], mean=float("nan"), maximum=float("inf"))])
    asked: list[int] = []
    page = site.finish(lambda number: (asked.append(number), flat(10 * number, 28, 28))[1])

    assert page == tmp_path / "index.html"
    assert asked == [3, 7]
    assert received(tmp_path / "data/images.js") == ("images", [3, 7])
    key, statistics = received(tmp_path / "data/0.js")
    assert key == "0"
    assert statistics == {
        "state": ["", "dead", "always"],
        "firing": [0.99999, 0, 1],
        "mean": [0.1, 0.1, None],
        "maximum": [2, 2, None],
    }
    _, details = received(tmp_path / "data/0-0.js")
    assert details[0] == {
        "units": [[2.3457, 7, "x.png", "", [0, 0, 5, 5], [0, 0]], [-1, 3, "a", "", [1, 1, 6, 6], [0, 0]]],
        "histogram": [[0, 1, 3]],
        "inputs": [["b", 1, -0.5]],
    }
    index = received(tmp_path / "data/index.js")[1]
    assert {key: index["layers"][0][key] for key in ("dead", "always", "cover", "empty")} == {
        "dead": 1,
        "always": 1,
        "cover": [0, 2],
        "empty": [1],
    }
    pictures = pixels(tmp_path / "images/0.webp")
    assert pictures.shape == (84 + GUTTER, 2 * (84 + GUTTER), 4)
    for left, shade in ((0, 30), (86, 70)):
        assert np.abs(pictures[:84, left : left + 84, :3] - float(shade)).max() <= 8
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["files"] == len(contents(tmp_path))
    assert manifest["layers"] == index["layers"]


@pytest.mark.parametrize("field", [(1, 1), (28, 28), (33, 33), (99, 99), (300, 400), None])
@pytest.mark.parametrize("k", [1, 5, 25])
def test_any_size_and_count(tmp_path: Path, field: tuple[int, int] | None, k: int) -> None:
    about = replace(header(size=(120, 160), k=k, images=20), input_shape=(1, 3, 120, 160))
    one = layer("a", 3, field)
    write(tmp_path, [one], about)
    described = received(tmp_path / "data/index.js")[1]["layers"][0]
    height, width, _ = described["tile"]
    assert max(height, width) <= 112
    assert max(described["cell"][:2]) <= 97
    channels_here = min(3, described["block"])
    sheet = pixels(tmp_path / "sheets/0-0.webp")
    assert sheet.shape[:2] == (2 * channels_here * (height + GUTTER), k * (width + GUTTER) + GUTTER)
    assert abs(int(sheet[0, 0, 3]) - 255) == 0 or field is not None, "a whole input has no border"


def test_large_pictures_are_reduced_and_stay_alike() -> None:
    whole = picture(1, (224, 224))
    fit = Fit.within((224, 224), 112)
    tile = fit.scaled(placed(whole, (0, 0, 224, 224), (224, 224)))
    means = whole.reshape(112, 2, 112, 2, 3).mean((1, 3))
    assert tile.shape == (112, 112, 4)
    assert np.abs(tile[..., :3] - means).mean() < 4
    assert (tile[..., 3] == 255).all()


def test_a_field_larger_than_said_still_fits() -> None:
    fit = Fit.within((5, 5), 112)
    assert fit.scaled(placed(flat(9, 8, 6), (0, 0, 8, 6), (5, 5))).shape == (110, 110, 4)


# Hostile text


HOSTILE = "</script><script>x</script>\"'&\u2028\u2029😀\ud800\\../../etc"


def test_text_cannot_leave_its_string(tmp_path: Path) -> None:
    text = call("3", {HOSTILE: [HOSTILE]})
    assert text.isascii()
    assert "<" not in text
    assert text.count("\n") == 1
    (tmp_path / "3.js").write_text(text)
    assert received(tmp_path / "3.js") == ("3", {HOSTILE: [HOSTILE]})


def test_names_are_never_file_names(tmp_path: Path) -> None:
    about = replace(SMALL, title=HOSTILE, model=HOSTILE, dataset=HOSTILE, provenance={HOSTILE: HOSTILE})
    out = tmp_path / "out"
    write(out, [layer(name, 2, (3, 3)) for name in ("../../evil", "a/b", HOSTILE, "")], about)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    folders = {path.name for path in out.iterdir() if path.is_dir()}
    assert folders == {"assets", "data", "sheets", "images"}
    page = (out / "index.html").read_text("utf-8")
    assert "<script>x" not in page
    assert "&lt;/script&gt;&lt;script&gt;x" in page
    names = [one["name"] for one in received(out / "data/index.js")[1]["layers"]]
    assert names == ["../../evil", "a/b", HOSTILE.replace("\ud800", "\\ud800"), "(model)"]


def test_numbers_are_short() -> None:
    assert [rounded(value) for value in (1 / 3, -2.0, 1e-12, 123456.7)] == [0.33333, -2, 1e-12, 123460]


# Unfinished, older and foreign folders


def test_the_manifest_is_last_and_building_again_repairs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, [layer("a", 40, (3, 3)), layer("b", 10, (3, 3))], SMALL)
    whole = contents(out)

    def stops(after: int) -> Iterator[AtlasChannel]:
        for one in channels(layer("a", 40, (3, 3)), SMALL):
            if one.channel == after:
                raise KeyboardInterrupt
            yield one

    site = Site(out, SMALL)
    assert not (out / "manifest.json").exists()
    with pytest.raises(KeyboardInterrupt):
        site.add_layer(layer("a", 40, (3, 3)), stops(20))
    assert not (out / "data/index.js").exists()
    assert not (out / "manifest.json").exists()

    def fails(number: int) -> NDArray[np.uint8]:
        raise OSError(f"image {number} is gone")

    site = Site(out, SMALL)
    site.add_layer(layer("a", 40, (3, 3)), channels(layer("a", 40, (3, 3)), SMALL))
    with pytest.raises(OSError, match="is gone"):
        site.finish(fails)
    assert not (out / "data/index.js").exists()

    (out / "sheets/0-0.webp").unlink()
    (out / "data/0.js").unlink()
    write(out, [layer("a", 40, (3, 3)), layer("b", 10, (3, 3))], SMALL)
    assert contents(out) == whole


def test_an_older_atlas_is_shown_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write(tmp_path, [layer("a", 40, (3, 3)), layer("b", 10, (3, 3))], SMALL)
    old, page = contents(tmp_path), (tmp_path / "index.html").read_text()
    for _ in range(2):  # stopped, and stopped again
        site = Site(tmp_path, replace(SMALL, title="the new one"))
        site.add_layer(layer("a", 20, (3, 3)), channels(layer("a", 20, (3, 3)), SMALL))
        now = contents(tmp_path)
        kept = {name: now[f"older/{name}"] for name in old if "/" in name}
        assert kept == {name: content for name, content in old.items() if "/" in name}
        assert now["index.html"].decode() == page.replace('="assets/', '="older/assets/')
        assert "manifest.json" not in now
    write(tmp_path, [layer("a", 20, (3, 3))], replace(SMALL, title="the new one"))
    found = contents(tmp_path)
    assert not (tmp_path / "older").exists()
    write(tmp_path / "elsewhere", [layer("a", 20, (3, 3))], replace(SMALL, title="the new one"))
    assert found == contents(tmp_path / "elsewhere")


def test_stale_files_go_and_foreign_files_stay(tmp_path: Path) -> None:
    write(tmp_path, [layer("a", 80, (3, 3)), layer("b", 10, (3, 3))], SMALL)
    foreign = ["notes.txt", "data/mine.json", "data/notes.js", "sheets/photo.png", "images/cat.webp", "deep/0.js"]
    foreign += ["assets/older.js"]  # no list of an atlas has it
    for name in foreign:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    half = tmp_path / "sheets/.9-0.webp.deconvviz-ab12cd_9.webp"
    half.write_text("a killed build left this")

    write(tmp_path, [layer("a", 20, (3, 3))], SMALL)
    now = contents(tmp_path)
    assert all(now[name] == b"mine" for name in foreign)
    assert not half.exists()
    assert {name for name in now if name.startswith("data/")} == {
        *("data/index.js", "data/images.js", "data/search.js", "data/0.js", "data/0-0.js", "data/0-1.js"),
        *("data/mine.json", "data/notes.js"),
    }


def test_refusals(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        Site(file, SMALL)
    with pytest.raises(InputError, match="has other files in it"):
        Site(tmp_path, SMALL)
    (tmp_path / "index.html").write_text("<title>my page</title>")
    with pytest.raises(InputError, match="has other files in it"):
        Site(tmp_path, SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "index.html"]
    (tmp_path / "empty").mkdir()
    Site(tmp_path / "empty", SMALL)
    Site(tmp_path / "new/folder", SMALL)
    with pytest.raises(InputError, match="k of 1 or more"):
        Site(tmp_path / "other", replace(SMALL, k=0))


def test_channels_have_to_be_all_and_in_order(tmp_path: Path) -> None:
    site = Site(tmp_path, SMALL)
    with pytest.raises(InputError, match="has 3 channels, and 2 were given"):
        site.add_layer(layer("a", 3, (3, 3)), [channel(0), channel(1)])
    with pytest.raises(InputError, match="channel 2 was given in the place of 1"):
        site.add_layer(layer("a", 3, (3, 3)), [channel(0), channel(2)])
    site.add_layer(layer("a", 1, (3, 3)), [channel(0)])
    with pytest.raises(InputError, match="has a layer 'a' already"):
        site.add_layer(layer("a", 1, (3, 3)), [channel(0)])


def test_a_layer_is_written_as_it_comes(tmp_path: Path) -> None:
    site, one = Site(tmp_path, SMALL), layer("a", 100, (3, 3))

    def watched() -> Iterator[AtlasChannel]:
        for made in channels(one, SMALL):
            if made.channel == 50:
                assert (tmp_path / "sheets/0-t0.webp").exists()
                assert (tmp_path / "sheets/0-2.webp").exists()
            yield made

    site.add_layer(one, watched())


def test_reduced_projections_keep_their_contrast():
    faint = np.full((20, 20, 4), 255, np.uint8)
    faint[..., :3] = 128
    faint[:10, :, 0], faint[10:, :, 1] = 138, 118  # ten levels up, ten down
    shown = stretched(faint, 128)
    assert shown[0, 0].tolist() == [255, 128, 128, 255]
    assert shown[15, 0].tolist() == [128, 0, 128, 255]
    white = np.full((4, 4, 4), 255, np.uint8)
    white[..., :3] = (235, 250, 255)
    assert stretched(white, 255)[0, 0].tolist() == [0, 191, 255, 255]
    blank = np.full((3, 3, 4), 128, np.uint8)
    assert stretched(blank, 128) is blank  # nothing to stretch
