"""The folder of a scan's state: what belongs together, who may use it, and files that no scan wrote."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.errors import DataError, InputError, OutputError
from deconvviz.images import to_pil
from deconvviz.io.atomic import replacing
from deconvviz.io.locks import alone
from deconvviz.mining import state
from deconvviz.mining.progress import Runs, ScanProgress
from deconvviz.mining.ranks import Ranks
from tests.helpers.disagreeing_scans import IMAGES, Called, net, scan

# A model that does the same


@pytest.mark.parametrize(
    ("before", "now", "named"),
    [
        ({}, {"activation": nn.Tanh}, r"its structure was '\(1\): ReLU\(\)' and is now '\(1\): Tanh\(\)'"),
        ({}, {"stride": 2}, r"its structure was '\(0\): Conv2d.*stride=\(1, 1\)\)' and is now .*stride=\(2, 2\)\)'"),
        ({}, {"shift": 0.5}, "its model was 'Sequential [0-9a-f]+' and is now 'Sequential [0-9a-f]+'"),
        (
            {"activation": partial(Called, torch.relu)},
            {"activation": partial(Called, torch.tanh)},
            r"its output of layer '3' on the first image was [-.\d]+ and is now [-.\d]+",
        ),
        (
            {"activation": partial(Called, torch.relu)},
            {"activation": partial(Called, lambda x: torch.relu(x).double().float()[:, :, 1:])},
            r"its output of layer '3' on the first image was of shape \[2, 4, 4\] and is now of shape \[2, 3, 4\]",
        ),
    ],
)
def test_a_state_of_a_model_that_does_something_else_is_refused(tmp_path, before, now, named):
    scan(net(**before), state=tmp_path)
    with pytest.raises(InputError, match=f"belongs to another scan: {named}"):
        scan(net(**now), state=tmp_path)
    scan(net(**before), state=tmp_path)


def test_a_hook_that_changes_what_a_layer_returns_is_seen(tmp_path):
    given = net()
    scan(given, state=tmp_path)
    given.model[0].register_forward_hook(lambda module, args, output: output + 1)
    with pytest.raises(InputError, match="its output of layer '0' on the first image was"):
        scan(given, state=tmp_path)


def test_rounding_of_other_threads_and_devices_is_not_another_model(tmp_path):
    first = scan(net(activation=partial(Called, torch.relu)), state=tmp_path)
    rounded = net(activation=partial(Called, lambda x: torch.relu(x).half().float()))
    assert torch.equal(scan(rounded, state=tmp_path).images["3"], first.images["3"])


# Iterables


def halfway(images):
    """An iterable that ends with an error."""
    yield from images[:19]
    raise OSError("the line is dead")


def test_an_iterable_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SECONDS", 0)
    monkeypatch.setattr(state, "SHARE", 0)
    with pytest.raises(DataError, match="behind its first 19 items"):
        scan(data=halfway(IMAGES), state=tmp_path)
    assert ScanProgress.load(tmp_path / "rank-0.safetensors")[0].done.runs == [[0, 3]]
    top = scan(data=iter(IMAGES), state=tmp_path)
    assert top.count == 40
    assert torch.equal(top.images["3"], scan().images["3"])


OTHER = IMAGES.clone()
OTHER[17] += 0.1


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (IMAGES[:18], IMAGES),  # its last batch was not full
        (IMAGES, IMAGES[:18]),
        (IMAGES, IMAGES[:20]),
        (IMAGES, OTHER),
        (IMAGES, torch.cat([IMAGES[:8], IMAGES[12:], IMAGES[8:12]])),
    ],
    ids=["longer", "shorter", "shorter by batches", "another image", "another order"],
)
def test_another_iterable_is_refused(tmp_path, before, now):
    scan(data=iter(before), state=tmp_path)
    with pytest.raises(InputError, match="belongs to another scan: the iterable no longer gives the same images"):
        scan(data=iter(now), state=tmp_path)
    assert scan(data=iter(before), state=tmp_path).count == len(before)


def test_an_iterable_that_begins_with_another_image_is_refused_at_once(tmp_path):
    scan(data=iter(IMAGES), state=tmp_path)
    rest = iter(IMAGES.flip(0))
    with pytest.raises(InputError, match=r"its dataset was 'an iterable that begins .* and is now 'an iterable"):
        scan(data=rest, state=tmp_path)
    assert len(list(rest)) == 39


def test_an_iterable_that_grew_by_whole_batches_is_read_on(tmp_path):
    scan(data=iter(IMAGES[:20]), state=tmp_path)
    top = scan(data=iter(IMAGES), state=tmp_path)
    assert torch.equal(top.images["3"], scan().images["3"])
    assert top.count == 40


# Files


def test_a_copied_file_does_not_count_images_twice(tmp_path):
    scan(state=tmp_path)
    shutil.copy(tmp_path / "rank-0.safetensors", tmp_path / "rank-7.safetensors")
    said = "would count images twice: 'rank-0.safetensors' and 'rank-7.safetensors' both have batch 0; remove the one"
    with pytest.raises(InputError, match=said):
        scan(state=tmp_path)
    os.unlink(tmp_path / "rank-7.safetensors")
    scan(state=tmp_path)


@pytest.mark.parametrize(
    "name",
    ["rank-0 (copy).safetensors", "rank-x.safetensors", "rank-01.safetensors", "rank-0.safetensors.bak", "rank-"],
)
def test_a_file_that_no_scan_wrote_is_named(tmp_path, name):
    scan(state=tmp_path)
    shutil.copy(tmp_path / "rank-0.safetensors", tmp_path / name)
    with pytest.raises(DataError, match=r"holds 'rank-.*', which was not written by a scan; remove it"):
        scan(state=tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in files here")
def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "rank-3.safetensors")
    with pytest.raises(DataError, match=r"holds 'rank-3.safetensors', which was not written by a scan"):
        scan(state=tmp_path)
    (tmp_path / "rank-3.safetensors").rename(tmp_path / "rank-0.safetensors")
    with pytest.raises(OutputError, match="is a device or pipe"):
        scan(state=tmp_path)
    with pytest.raises(InputError, match="is a file; name a folder"):
        scan(state=tmp_path / "rank-0.safetensors")


def test_a_state_that_does_not_add_up_is_not_counted(tmp_path):
    scan(state=tmp_path)
    path = tmp_path / "rank-0.safetensors"
    progress, identity = ScanProgress.load(path)
    progress.count += 108
    progress.save(path, identity)
    with pytest.raises(DataError, match="is inconsistent: it covers 148 of 40 items; remove it and scan again"):
        scan(state=tmp_path)


def test_what_two_lists_of_batches_share():
    runs = Runs([(0, 3), (10, 12)])
    assert runs.shared(Runs([(4, 9), (13, 20)])) is None
    assert runs.shared(Runs([(3, 3)])) == 3
    assert runs.shared(Runs([(12, 30)])) == Runs([(12, 30)]).shared(runs) == 12
    assert Runs([(0, 100)]).shared(Runs([(50, 51)])) == 50
    assert Runs().shared(runs) is None


# One job at a time


def test_a_second_scan_on_the_folder_is_refused_and_the_first_one_keeps_its_files(tmp_path):
    entered, leave = threading.Event(), threading.Event()
    written = []

    def first():
        with alone(tmp_path), contextlib.suppress(KeyError), replacing(tmp_path / "rank-0.safetensors") as temporary:
            written.append(temporary)
            entered.set()
            leave.wait(60)
            raise KeyError  # it does not end well

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert entered.wait(60)
        with pytest.raises(OutputError, match=r"another job .* is writing to .*; wait until it ends, or name another"):
            scan(state=tmp_path)
        assert written[0].exists()
    finally:
        leave.set()
        thread.join()
    assert scan(state=tmp_path).count == 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0.safetensors"]


HOLDS = """
import os, sys, time
from deconvviz.images import to_pil
from deconvviz.io.locks import alone
with alone(sys.argv[1]):
    if os.fork() == 0:  # as a process that loads images
        time.sleep(60)
        os._exit(0)
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_the_lock_of_a_killed_scan_does_not_stay_with_its_children(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert holder.stdout.readline() == b"holds\n"
        with pytest.raises(OutputError, match="another job"):
            scan(state=tmp_path)
        holder.kill()
        holder.wait()
        assert scan(state=tmp_path).count == 40
    finally:
        os.killpg(holder.pid, signal.SIGKILL)  # the child, too
        holder.stdout.close()


def test_without_a_job_there_is_one_process(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert (Ranks().rank, Ranks().world) == (0, 1)


def test_numbers_of_numpy_are_options_of_a_state(tmp_path):
    count = torch.tensor(3).numpy()[()]
    assert dv.scan(net(), IMAGES, k=count, batch_size=count, state=tmp_path, progress=False).k == 3


def photos(folder):
    for number in range(3):
        picture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(number))
        to_pil(picture).save(folder / f"{number}.png")
    return str(folder)


def test_a_rank_left_in_the_environment_is_said_and_not_obeyed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (tmp_path / "in").mkdir()
    out = tmp_path / "top.safetensors"
    assert cli.main(["scan", "mnist", photos(tmp_path / "in"), "--layers", "conv1", "--out", str(out)]) == 0
    assert "note: RANK=1 is set, but WORLD_SIZE is not" in capsys.readouterr().err
    assert out.exists()


def test_random_weights_of_the_command_line_are_the_same_each_time(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    code = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))\n"
    (tmp_path / "net.py").write_text(code)
    command = ["scan", f"{tmp_path / 'net.py'}:net", photos(tmp_path / "in"), "--size", "8"]
    for name in ("1", "2"):
        torch.manual_seed(int(name))
        assert cli.main([*command, "--state", str(tmp_path / "state"), "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
