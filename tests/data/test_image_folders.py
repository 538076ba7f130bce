"""What belongs to a folder of images: nothing is counted or left out in silence, and no output is put among them."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import ImageFolder
from deconvviz.data.folder import ImageFolderWarning
from deconvviz.errors import DataError, InputError
from deconvviz.models import mnist_cnn


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Two classes of digits in the folder photos, and the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("cats/a.png", "dogs/b.png"):
        put(Path("photos") / name)
    return tmp_path


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((28, 28), 90).save(path)


def read(root: str = "photos") -> tuple[list[str], dict[str, str], str]:
    """Names, what was left out, and the warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = ImageFolder(root)
    assert [one.category for one in caught] == [ImageFolderWarning] * bool(folder.left_out)
    assert all(len(folder[number]) == 2 for number in range(len(folder)))
    return folder.names, folder.left_out, "".join(str(one.message) for one in caught)


def test_hidden_files_and_folders_are_left_out_and_said(photos):
    for name in (".git/objects/c.png", "cats/._a.png", ".ipynb_checkpoints/a.png", "dogs/.thumbs/b.png"):
        put(photos / "photos" / name)
    Path("photos/.DS_Store").write_text("no image")
    names, left_out, said = read()
    assert names == ["cats/a.png", "dogs/b.png"]
    assert left_out == dict.fromkeys([".git", ".ipynb_checkpoints", "cats/._a.png", "dogs/.thumbs"], "hidden")
    assert said == (
        "of the folder 'photos' were left out: .git (hidden), .ipynb_checkpoints (hidden), cats/._a.png (hidden), "
        "dogs/.thumbs (hidden)"
    )


def test_linked_classes_and_files_count(photos):
    put(photos / "elsewhere" / "deep" / "c.png")
    Path("photos/birds").symlink_to("../elsewhere")
    Path("photos/cats/d.png").symlink_to("../../elsewhere/deep/c.png")
    Path("photos/dogs/self").symlink_to("self")  # neither an image nor a folder
    deep = Path("photos") / Path(*["d"] * 600)
    put(deep / "e.png")
    assert read()[0].pop(-2) == f"{'d/' * 600}e.png"
    shutil.rmtree("photos/d")
    names, left_out, _ = read()
    assert names == ["birds/deep/c.png", "cats/a.png", "cats/d.png", "dogs/b.png"]
    assert left_out == {}
    assert ImageFolder("photos").classes == ["birds", "cats", "dogs"]
    Path("linked").symlink_to("photos")
    assert read("linked")[0] == names


def test_links_that_lead_back_are_left_out_and_said(photos):
    put(photos / "elsewhere" / "c.png")
    Path("photos/birds").symlink_to("../elsewhere")
    Path("elsewhere/round").symlink_to(".")
    Path("elsewhere/home").symlink_to("../photos")
    Path("photos/again").symlink_to("cats")
    Path("photos/up").symlink_to("..")
    names, left_out, _ = read()
    assert names == ["birds/c.png", "cats/a.png", "dogs/b.png"]
    assert left_out == dict.fromkeys(["again", "birds/home", "birds/round", "up"], "a link back into the folder")


def test_what_only_looks_like_an_image_is_left_out_and_said(photos):
    Path("photos/gone.png").symlink_to("nowhere.png")
    Path("photos/self.png").symlink_to("self.png")
    os.mkfifo("photos/pipe.png")
    put(photos / "photos" / "folder.png" / "e.png")
    names, left_out, _ = read()
    assert names == ["cats/a.png", "dogs/b.png", "folder.png/e.png"]
    assert left_out == {"gone.png": "a broken link", "pipe.png": "no file", "self.png": "a broken link"}
    for number in range(6):
        put(photos / "photos" / f".{number}.png")
    assert read()[2].endswith("4.png (hidden) and 4 more")


def test_a_folder_that_cannot_be_listed_is_refused(photos, monkeypatch):
    real = os.scandir

    def forbidden(path):
        if Path(path).name == "dogs":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", forbidden)  # root is forbidden nothing
    with pytest.raises(
        DataError, match=r"the folder 'photos/dogs', which .* cannot be listed: Permission denied; make"
    ):
        ImageFolder("photos")


def test_commands_say_what_is_left_out_once_and_scans_do(photos, capsys):
    put(photos / "photos" / ".git" / "c.png")
    words = ["mnist", "photos", "--layers", "conv1", "--out", "top.safetensors"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as a user may have asked for
        assert cli.main(["scan", *words]) == 0
    assert capsys.readouterr().err == "note: of the folder 'photos' were left out: .git (hidden)\n"
    assert cli.main(["occlusion", "mnist", "photos", "--patch", "20", "--stride", "9"]) == 0
    assert capsys.readouterr().err == "note: of the folder 'photos' were left out: .git (hidden)\n"
    net = dv.DeconvNet(mnist_cnn(), preprocess=dv.images.Preprocess(28, (0.0,), (1.0,)))
    with pytest.warns(ImageFolderWarning, match="left out"):
        dv.scan(net, "photos", layers="conv1", progress=False)


# An atlas and its images


APART = "the atlas {!r} and the folder of images {!r} must not contain each other; name a folder outside the images"


@pytest.mark.parametrize(
    ("data", "out"),
    [
        (".", None),
        ("photos", "photos/at"),
        ("photos", "photos/cats/deep/at"),
        ("linked", "photos/at"),
        ("photos", "linked/at"),
    ],
)
def test_no_atlas_is_built_among_its_images_nor_around_them(data, out, photos, capsys, monkeypatch):
    Path("linked").symlink_to("photos")
    monkeypatch.setattr("deconvviz.models.by_name.load_model", lambda *_: pytest.fail("the work began"))
    before = sorted(photos.rglob("*"))
    assert cli.main(["atlas", "mnist", data, "--no-evidence", *(["--out", out] if out else [])]) == 2
    assert capsys.readouterr().err == f"deconvviz: {APART.format(out or 'atlas', data)}\n"
    assert sorted(photos.rglob("*")) == before


def test_the_state_of_a_scan_does_not_lie_in_the_atlas(photos, capsys):
    assert cli.main(["atlas", "mnist", "photos", "--no-evidence", "--out", "at", "--state", "at/state"]) == 2
    said = "deconvviz: the state 'at/state' would lie in the atlas 'at'; name another folder\n"
    assert capsys.readouterr().err == said
    assert not Path("at").exists()


def test_a_data_set_in_an_older_atlas_is_not_shown_there(photos, capsys):
    words = ["--layers", "conv1", "--no-evidence", "--out", "at"]
    assert cli.main(["atlas", "mnist", "photos", *words]) == 0
    before = {path: path.read_bytes() for path in Path("at").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert cli.main(["atlas", "mnist", "at/images", *words]) == 2
    assert capsys.readouterr().err == f"deconvviz: {APART.format('at', 'at/images')}\n"
    assert before == {path: path.read_bytes() for path in Path("at").rglob("*") if path.is_file()}


def test_nor_from_python(photos):
    net = dv.DeconvNet(mnist_cnn(), preprocess=dv.images.Preprocess(28, (0.0,), (1.0,)))
    top = dv.scan(net, "photos", layers="conv1", progress=False)
    before = sorted(photos.rglob("*"))
    with pytest.raises(InputError, match="must not contain each other"):
        dv.build_atlas(net, "photos", top, out="photos/at", progress=False, evidence=False)
    assert sorted(photos.rglob("*")) == before
