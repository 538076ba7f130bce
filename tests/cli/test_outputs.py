"""What commands may write over: nothing under default names, their own files where named, never what they read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from deconvviz import cli
from deconvviz.errors import CheckpointError, InputError
from deconvviz.io.ownership import UNSIGNED, is_ours, picture_of, signed
from deconvviz.io.safetensors_files import write_tensors
from deconvviz.models import MnistCNN, TrainingSettings, save_weights, train
from deconvviz.results import LearningCurves

# Per command its arguments, and the files that it writes under its default name and with --out chosen/a.png or chosen.
SINGLE = {
    "project mnist x.png --layer conv1": "x-conv1.png",
    "compare mnist x.png": "x-compared.png",
    "scan mnist photos": "top.safetensors",
}
FOLDERS = {
    "occlusion mnist x.png": "occlusion",
    "invariance mnist x.png": "invariance",
    "evolve mnist runs photos": "evolve",
    "correspond mnist x.png x.png --parts parts.csv": "correspond",
    "diagnose mnist photos": "diagnose",
    "probe mnist photos": "probe",
    "uncertainty mnist photos": "uncertainty",
}
OTHERS = {
    "evidence mnist x.png --measures deletion": ("evidence", ["deletion.png", "deletion.safetensors"]),
    "train --root mnist": ("trained", ["mnist_cnn.safetensors", "curves.safetensors", "curves.png"]),
}
WRITES = [
    *((arguments, default, default, f"chosen/{default}") for arguments, default in SINGLE.items()),
    *(
        (arguments, default, f"{default}/{default}{ending}", "chosen")
        for arguments, default in FOLDERS.items()
        for ending in (".png", ".safetensors")
    ),
    *(
        (arguments, default, f"{default}/{name}", "chosen")
        for arguments, (default, names) in OTHERS.items()
        for name in names
    ),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what the commands read, and the current one; a command that gets to its work says so."""

    def reached(*_, **__):
        raise InputError("the work began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deconvviz.models.by_name.load_model", reached)
    monkeypatch.setattr("deconvviz.data.load_mnist", reached)
    for name in ("photos", "runs", "mnist", "chosen"):
        Path(name).mkdir()
    for name in ("x.png", "photos/0.png", "photos/1.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (28, 28), dtype=np.uint8)).save(name)
    Path("parts.csv").write_text("image,part,row,column\nx.png,eye,4,5\n")
    save_weights(MnistCNN(channels=(2, 2), width=2), "runs/epoch-001.safetensors")
    return tmp_path


def run(capsys, *arguments) -> tuple[int, str]:
    status = cli.main([str(argument) for argument in arguments])
    return status, capsys.readouterr().err.removeprefix("deconvviz: ").strip()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def put_ours(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".safetensors":
        write_tensors(path, {"a": torch.zeros(1)}, {})
    else:
        path.write_bytes(picture_of(Figure((1, 1)), path.suffix[1:], dpi=20))


@pytest.mark.parametrize(("arguments", "default", "target", "out"), WRITES)
def test_who_replaces_what(arguments, default, target, out, folder, capsys):
    words = arguments.split()
    named = Path(out) if target == default else Path(out) / Path(target).name
    for path in (Path(target), named):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    before = everything(folder)
    assert run(capsys, *words) == (
        2,
        f"{target!r} already exists, and a default name replaces nothing; give another path with --out, or pass "
        "this one to --out to replace what deconvviz wrote",
    )
    assert run(capsys, *words, "--out", out) == (
        2,
        f"{str(named)!r} was not written by deconvviz, was changed since, or has a format without a mark; give another "
        "path with --out, or replace it with --force",
    )
    assert everything(folder) == before
    for how in (["--force"], ["--out", out, "--force"]):
        assert run(capsys, *words, *how) == (2, "the work began")
    for path in (Path(target), named):
        put_ours(path)
    assert run(capsys, *words)[1].endswith("to replace what deconvviz wrote")
    assert run(capsys, *words, "--out", out) == (2, "the work began")
    assert run(capsys, *words, "--out", default) == (2, "the work began")


READ = "{!r} is read by this command; name another file to write"
AMONG = "{!r} would lie in {!r}, which this command reads; give a path outside with --out"


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("project mnist x.png --layer conv1 --out x.png", READ.format("x.png")),
        ("project mnist x.png --layer conv1 --out link.png", READ.format("link.png")),
        ("project mnist x.png --layer conv1 --out hard.png", READ.format("hard.png")),
        ("project mnist link.png --layer conv1 --out x.png", READ.format("x.png")),
        ("compare mnist x.png --out ./photos/../x.png", READ.format("photos/../x.png")),
        ("scan mnist photos --weights runs/epoch-001.safetensors --out runs/epoch-001.safetensors",
         READ.format("runs/epoch-001.safetensors")),
        ("scan net.py:f photos --out net.py", READ.format("net.py")),
        ("scan mnist photos --out photos/0.png", AMONG.format("photos/0.png", "photos")),
        ("scan mnist photos --out photos/new.jpg", AMONG.format("photos/new.jpg", "photos")),
        ("scan mnist photos --state state --out state/rank-0.safetensors",
         AMONG.format("state/rank-0.safetensors", "state")),
        ("scan mnist linked --out photos/deep/new.jpg", AMONG.format("photos/deep/new.jpg", "linked")),
        ("scan mnist torchvision:MNIST --root mnist --out mnist/raw/t10k", READ.format("mnist/raw/t10k")),
        ("train --root mnist --out mnist", READ.format("mnist/curves.png")),
        ("diagnose mnist photos --out photos", AMONG.format("photos/diagnose.png", "photos")),
        ("diagnose mnist .", AMONG.format("diagnose/diagnose.png", ".")),
        ("probe mnist outer --out photos", AMONG.format("photos/probe.png", "outer")),
        ("occlusion mnist photos --out photos/deep", AMONG.format("photos/deep/occlusion.png", "photos")),
        ("evolve mnist runs photos --out runs", AMONG.format("runs/evolve.safetensors", "runs")),
    ],
)  # fmt: skip
def test_what_is_read_is_never_written(arguments, sentence, force, folder, capsys):
    Path("link.png").symlink_to("x.png")
    os.link("x.png", "hard.png")
    Path("linked").symlink_to("photos")
    Path("outer").mkdir()
    Path("outer/class").symlink_to("../photos")
    Path("net.py").write_text("")
    Path("mnist/raw").mkdir()
    for name in ("mnist/raw/t10k", "mnist/curves.png"):
        Path(name).write_text("data")
    before = everything(folder)
    assert run(capsys, *arguments.split(), *force) == (2, sentence)
    assert everything(folder) == before


def test_a_result_may_lie_beside_the_images_that_it_is_of(folder, capsys):
    assert run(capsys, "scan", "mnist", "photos", "--out", "photos/top.safetensors") == (2, "the work began")


def test_a_link_in_the_place_of_an_output_is_somebody_s(folder, capsys):
    put_ours(Path("elsewhere.png"))
    Path("a.png").symlink_to("elsewhere.png")
    Path("b.png").symlink_to("nowhere.png")
    for name in ("a.png", "b.png"):
        assert (
            "was not written by deconvviz"
            in run(capsys, *["project", "mnist", "x.png", "--layer", "0", "--out"], name)[1]
        )


# Marks


@pytest.mark.parametrize("kind", sorted(Figure().canvas.get_supported_filetypes().keys() - {"pgf"}))
def test_pictures_say_who_wrote_them_until_they_are_changed(kind, tmp_path):
    figure = Figure((2, 1))
    figure.add_subplot().plot([1, 2, 3])
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content := picture_of(figure, kind, dpi=50))
    assert is_ours(path) == (kind not in ("avif", "gif", "raw", "rgba", "svgz"))
    assert UNSIGNED.encode() not in content
    if kind in ("png", "jpg", "jpeg", "tif", "tiff", "webp"):
        with Image.open(path) as opened:  # checks the sums in a PNG
            opened.load()
            assert opened.size == (100, 50)
    for at in (len(content) // 2, len(content) - 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert not is_ours(path)
    path.write_bytes(content + b"\n")
    assert not is_ours(path)


def test_a_picture_that_somebody_drew_on_is_somebody_s(tmp_path):
    path = tmp_path / "a.png"
    put_ours(path)
    assert is_ours(path)
    with Image.open(path) as opened:
        kept = PngImagePlugin.PngInfo()
        kept.add_text("Software", opened.info["Software"])
        drawn = opened.convert("RGB")
    drawn.putpixel((1, 1), (255, 0, 0))
    drawn.save(path, pnginfo=kept)
    assert not is_ours(path)


def test_a_mark_far_from_both_ends_and_one_that_is_copied_count_for_nothing(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(signed(b"x" * 10 + UNSIGNED.encode() + b"y" * 10))
    assert is_ours(path)
    mark = path.read_bytes()[10:-10]
    path.write_bytes(b"my own notes on " + mark)
    assert not is_ours(path)
    path.write_bytes(signed(b"x" * 2**21 + UNSIGNED.encode() + b"y" * 2**21))
    assert not is_ours(path)
    for nothing in (tmp_path, tmp_path / "missing", Path("/dev/zero")):
        assert not is_ours(nothing)


def test_tensors_with_several_entries_have_the_same_bytes_every_time(tmp_path):
    metadata = {name: name for name in "qwertyuiop"}
    for name in ("a", "b"):
        write_tensors(tmp_path / name, {"t": torch.arange(3)}, dict(sorted(metadata.items(), reverse=name == "a")))
        assert is_ours(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# Whole commands


def test_project_again_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["project", "mnist", "mnist:0", "--layer", "conv1", "--channel", "1"]
    assert run(capsys, *words)[0] == 0
    first = Path("mnist-0-conv1.png").read_bytes()
    assert run(capsys, *words)[0] == 2
    assert run(capsys, *words, "--channel", "2", "--out", "mnist-0-conv1.png")[0] == 0
    assert Path("mnist-0-conv1.png").read_bytes() != first
    Path("mnist-0-conv1.png").write_bytes(first + b"edited")
    assert run(capsys, *words, "--out", "mnist-0-conv1.png")[0] == 2
    assert Path("mnist-0-conv1.png").read_bytes() == first + b"edited"
    assert run(capsys, *words, "--out", "mnist-0-conv1.png", "--force")[0] == 0
    assert Path("mnist-0-conv1.png").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["mnist-0-conv1.png"]


def test_a_file_that_comes_while_the_work_is_done_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def slow(*_, **__):
        Path("a.png").write_bytes(b"mine")
        return b"the picture"

    monkeypatch.setattr("deconvviz.io.ownership.picture_of", slow)
    status, said = run(capsys, *["project", "mnist", "mnist:0", "--layer", "conv1", "--channel", "1", "--out", "a.png"])
    assert (status, "was not written by deconvviz" in said) == (2, True)
    assert Path("a.png").read_bytes() == b"mine"


def test_in_python_a_named_path_is_replaced(tmp_path):
    path = tmp_path / "curves"
    path.write_bytes(b"mine")
    LearningCurves(
        epochs=(1,),
        train_loss=(1.0,),
        validation_loss=(1.0,),
        train_accuracy=(0.5,),
        validation_accuracy=(0.5,),
        diagnosis="",
    ).save(path)
    assert LearningCurves.load(path).epochs == (1,)
    assert is_ours(path)


# A training's own files

IMAGES = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def trained(folder: Path, epochs: int = 2, **settings) -> None:
    torch.manual_seed(0)
    model = MnistCNN(channels=(1, 1), width=2)
    train(model, IMAGES, torch.arange(12) % 10, settings=TrainingSettings(epochs=epochs, batch_size=8, **settings),
          checkpoints=folder, progress=False)  # fmt: skip


def test_a_training_replaces_no_checkpoint_but_its_own(tmp_path):
    trained(tmp_path, epochs=1)
    own = (tmp_path / "epoch-001.safetensors").read_bytes()
    (tmp_path / "state.pt").unlink()  # as a kill between the two leaves it
    trained(tmp_path, epochs=1)
    assert (tmp_path / "epoch-001.safetensors").read_bytes() == own
    for content in (b"mine", own[:-1] + bytes([own[-1] ^ 1])):
        (tmp_path / "epoch-002.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"'.*epoch-002.safetensors' is not of this run.*another folder"):
            trained(tmp_path)
        assert (tmp_path / "epoch-002.safetensors").read_bytes() == content
    (tmp_path / "epoch-002.safetensors").unlink()
    (tmp_path / "state.pt").unlink()
    with pytest.raises(CheckpointError, match="is not of this run"):  # the library's, of another run
        trained(tmp_path, epochs=1, random_state=3)
    assert (tmp_path / "epoch-001.safetensors").read_bytes() == own
    trained(tmp_path)


# The demonstration


@pytest.mark.parametrize("name", ["index.html", "filters-conv1.png", "captum.png", "atlas/mine.txt"])
@pytest.mark.parametrize("named", [[], ["--out", "demo"]])
def test_the_demonstration_checks_all_its_files_before_it_begins(name, named, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deconvviz.demo.scan", lambda *_, **__: pytest.fail("the work began"))
    path = Path("demo") / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    status, said = run(capsys, "demo", *named)
    assert status == 2
    assert f"'{path.parent if 'atlas' in name else path}'" in said
    assert everything(tmp_path) == {f"demo/{name}": b"mine"}


def test_a_whole_demonstration_is_replaced_where_it_is_named_and_a_killed_one_goes_on(tmp_path, monkeypatch, capsys):
    def began(*_, **__):
        raise InputError("the work began")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deconvviz.demo.scan", began)
    put_ours(Path("demo/captum.png"))
    assert run(capsys, "demo") == (2, "the work began")
    Path("demo/index.html").write_bytes(signed(f"<meta content='{UNSIGNED}'>".encode()))
    assert "a default name replaces nothing" in run(capsys, "demo")[1]
    assert run(capsys, "demo", "--out", "demo") == (2, "the work began")
