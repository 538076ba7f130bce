"""Scans that are killed, go on, and run over several ranks: the same bytes in the end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.errors import DataError, InputError
from deconvviz.images import Preprocess
from deconvviz.mining import state
from deconvviz.models import mnist_cnn

ROOT = Path(__file__).parents[2]
JOBS = "tests.helpers.killed_scans"


def run(task, folder, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", JOBS, task, folder, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of an uninterrupted scan."""
    folder = tmp_path_factory.mktemp("whole")
    run("whole", folder)
    return (folder / "whole").read_bytes()


def test_killed_twenty_times_it_ends_with_the_same_bytes(whole, tmp_path):
    said = run("killed", tmp_path, 20)
    unfinished, got = re.findall(r"killed (\d+) of 20, after (\[.*\]) batches", said)[0]
    assert int(unfinished) == 20, said
    assert len(got.split(",")) >= 5, said  # it was killed at different places
    assert (tmp_path / "resumed").read_bytes() == whole


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_give_the_same_bytes(whole, tmp_path, world):
    run("ranks", tmp_path, world)
    for rank in range(world):
        assert (tmp_path / f"ranks-{world}-{rank}").read_bytes() == whole


def test_a_rank_that_dies_ends_the_others_and_the_state_goes_on(whole, tmp_path):
    said = run("death", tmp_path)
    codes, seconds = re.findall(r"codes (\[.*\]) after ([\d.]+) seconds", said)[0]
    assert codes == "[1, -9, 1]", said
    assert float(seconds) < 60
    assert (tmp_path / "ranks-2-0").read_bytes() == whole


# The state in one process


@pytest.fixture
def digits():
    return mnist_test()[0][:60]


def test_a_finished_state_answers_without_running_the_model_on_the_dataset(digits, tmp_path):
    net = dv.DeconvNet(mnist_cnn())
    first = dv.scan(net, digits, k=3, batch_size=16, state=tmp_path / "state", progress=False)
    seen = []
    net.model.register_forward_pre_hook(lambda module, args: seen.extend(args[0].clone()))
    second = dv.scan(net, digits, k=3, batch_size=16, state=tmp_path / "state", progress=False)
    assert first.save(tmp_path / "1").read_bytes() == second.save(tmp_path / "2").read_bytes()
    assert all(torch.equal(image, digits[0]) for image in seen)  # which shows that the model still does the same


def test_what_was_seen_is_kept_when_the_dataset_raises(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0)
    monkeypatch.setattr(state, "SHARE", 0)

    class Fails(list):
        loads = 0

        def __getitem__(self, index):
            Fails.loads += 1
            if index == 40 and Fails.loads < 100:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    items = Fails(digits)
    net = dv.DeconvNet(mnist_cnn())
    with pytest.raises(KeyboardInterrupt):
        dv.scan(net, items, k=3, batch_size=16, state=tmp_path / "state", progress=False)
    Fails.loads = 100
    resumed = dv.scan(net, items, k=3, batch_size=16, state=tmp_path / "state", progress=False)
    assert Fails.loads < 100 + 16 + 60 - 32 + 1  # those that identify it, and the two batches that were left
    straight = dv.scan(net, items, k=3, batch_size=16, progress=False)
    assert torch.equal(resumed.values["conv2"], straight.values["conv2"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"k": 4}, "k was 3 and is now 4"),
        ({"batch_size": 8}, "batch size was 16 and is now 8"),
        ({"layers": "conv1"}, r"layers was None and is now \['conv1'\]"),
        ({"per_image": 2}, "units per image was 1 and is now 2"),
        ({"dataset": 1}, "dataset was 'list of 60 items, [0-9a-f]+' and is now 'list of 60"),
        ({"fewer": 1}, "dataset was 'list of 60 items, [0-9a-f]+' and is now 'list of 59"),
        ({"model": 1}, "model was 'MnistCNN [0-9a-f]+' and is now 'MnistCNN"),
        ({"mean": 0.5}, r"transform was 'Preprocess\(size=28, mean=\(0.0,\).*' and is now 'Preprocess\(size=28, mean"),
    ],
)
def test_a_state_of_another_scan_is_refused_with_what_differs(digits, tmp_path, change, named):
    images = [dv.images.to_pil(image[0][..., None].expand(-1, -1, 3)) for image in digits]

    def scanned(dataset=0, model=0, mean=0.0, fewer=0, **options):
        data = list(images)
        if dataset:
            data[0] = images[5]
        cnn = mnist_cnn()
        if model:
            cnn.conv2.weight.data[7, 3, 2, 2] += 1e-3
        net = dv.DeconvNet(cnn, preprocess=Preprocess(28, (mean,), (1.0,)))
        settings = {"k": 3, "batch_size": 16, "state": tmp_path / "state", "progress": False} | options
        return dv.scan(net, data[: len(data) - fewer], **settings)

    scanned()
    scanned()
    with pytest.raises(InputError, match=f"belongs to another scan: its {named}"):
        scanned(**change)


def test_a_damaged_state_is_named(digits, tmp_path):
    (tmp_path / "rank-0.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(DataError, match="is not a scan state"):
        dv.scan(dv.DeconvNet(mnist_cnn()), digits, state=tmp_path, progress=False)
    with pytest.raises(InputError, match="is a file; name a folder"):
        dv.scan(dv.DeconvNet(mnist_cnn()), digits, state=tmp_path / "rank-0.safetensors", progress=False)


def test_every_number_of_a_tensor_and_every_weight_belong_to_the_scan(tmp_path):
    images, model = torch.randn(200, 1, 6, 6), nn.Sequential(nn.Conv2d(1, 2, 3))
    dv.scan(dv.DeconvNet(model), images, state=tmp_path, progress=False)
    images[123, 0, 3, 4] += 1
    with pytest.raises(InputError, match="its dataset was"):
        dv.scan(dv.DeconvNet(model), images, state=tmp_path, progress=False)
