"""Results: saved and loaded, whole or not at all, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import deconvviz as dv
from deconvviz.errors import DataError, InputError, MissingFileError, did_you_mean
from deconvviz.io.atomic import replacing
from deconvviz.results import LearningCurves, Projection, Reconstruction


@pytest.fixture
def projection():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid(), nn.Conv2d(2, 2, 1))
    return dv.DeconvNet(model).project(torch.randn(2, 1, 6, 6), "2", channel=[1, 0])


def test_a_projection_is_the_same_after_saving_and_loading(projection, tmp_path):
    found = Projection.load(projection.save(tmp_path / "new" / "projection.safetensors"))
    assert found.units == projection.units
    assert found.provenance == projection.provenance
    assert found.provenance.linearised == ("aten.sigmoid in 1",)
    for name in ("pixels", "receptive_fields", "images"):
        assert torch.equal(getattr(found, name), getattr(projection, name))


def test_curves_and_their_settings_are_the_same_after_loading(tmp_path):
    curves = LearningCurves(
        epochs=(1,),
        train_loss=(0.5,),
        validation_loss=(0.6,),
        train_accuracy=(0.9,),
        validation_accuracy=(0.8,),
        diagnosis="good",
        settings={"seed": 3, "rate": 0.1, "names": ("a",)},
    )
    assert LearningCurves.load(curves.save(tmp_path / "curves")) == curves


def test_what_was_there_stays_when_saving_fails(projection, tmp_path, monkeypatch):
    path = projection.save(tmp_path / "projection")
    before = path.read_bytes()

    def full(target, content):
        with target.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        projection.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["projection"]


def test_files_that_are_no_results(projection, tmp_path):
    with pytest.raises(MissingFileError, match=r"no file '.*nothing' to load a Projection from"):
        Projection.load(tmp_path / "nothing")
    (tmp_path / "garbage").write_bytes(b"garbage")
    save_file({"a": torch.zeros(1)}, tmp_path / "other")
    save_file(
        {}, tmp_path / "odd", metadata={"deconvviz": json.dumps({"format": 1, "result": {"kind": "os", "fields": {}}})}
    )
    cut = projection.save(tmp_path / "cut")
    cut.write_bytes(cut.read_bytes()[:-10])
    for name in ("garbage", "other", "odd", "cut"):
        with pytest.raises(DataError, match=f"{name}' is not a result saved by deconvviz"):
            Projection.load(tmp_path / name)
    with pytest.raises(DataError, match="holds a Projection, not a Reconstruction"):
        Reconstruction.load(projection.save(tmp_path / "projection"))
    save_file({}, tmp_path / "newer", metadata={"deconvviz": json.dumps({"format": 99})})
    with pytest.raises(DataError, match="has format 99; this version reads 1"):
        Projection.load(tmp_path / "newer")


def test_the_fingerprint_follows_the_weights():
    model = nn.Conv2d(1, 2, 3)
    net, x = dv.DeconvNet(model), torch.randn(1, 1, 6, 6)
    first, again = (net.project(x, "output").provenance.fingerprint for _ in range(2))
    model.weight.data[1, 0, 2, 2] += 0.1
    assert first == again != net.project(x, "output").provenance.fingerprint


def test_files_are_replaced_whole(tmp_path):
    path = tmp_path / "page.html"
    with replacing(path) as beside:
        beside.write_text("old")
    path.chmod(0o400)

    def interrupted():
        with replacing(path) as beside:
            beside.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    with replacing(path) as beside:
        assert beside.stat().st_mode & 0o200  # what cannot be written may be replaced
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o400
    assert list(tmp_path.iterdir()) == [path]


def test_suggestions():
    assert did_you_mean("conv_1", ["conv1", "pool"]) == "; did you mean 'conv1'?"
    assert did_you_mean("zzz", ["conv1"]) == ""


def test_pictures_go_to_tensorboard(projection, tmp_path):
    given = []

    class Writer:
        def add_image(self, *arguments):
            given.append(arguments)

    projection.add_to_tensorboard(Writer())
    projection.add_to_tensorboard(Writer(), "seen/2", step=7, crop=False)
    assert [(tag, step) for tag, _, step in given] == [("Projection/2", None), ("seen/2", 7)]
    pixels = given[0][1]
    assert pixels.dtype == torch.uint8
    assert pixels.shape[0] == 3
    assert len(pixels.flatten(1).unique(dim=1)[0]) > 20  # a picture, not one colour
    with pytest.raises(InputError, match="there is no figure for a LayerTable"):
        dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 1))).layers(torch.zeros(1, 1, 3, 3)).add_to_tensorboard(Writer())


def test_a_real_tensorboard_shows_the_picture(projection, tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        projection.add_to_tensorboard(writer, step=3)
    events = EventAccumulator(str(tmp_path)).Reload()
    (image,) = events.Images("Projection/2")
    assert (image.step, image.width > 100, image.height > 100) == (3, True, True)
