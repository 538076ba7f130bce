"""One job at a time in a folder, and what killed writers leave: seen as dead, and never taken for somebody's file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import OutputError
from deconvviz.io import atomic, locks
from deconvviz.io.atomic import check_writable, remove_leftovers, replacing
from deconvviz.io.locks import LOCK, alone

HOLDER = """
import sys, time
from deconvviz.io.locks import alone
with alone(sys.argv[1]):
    print("held", flush=True)
    time.sleep(300)
"""
WRITER = """
import sys, time
from deconvviz.io.atomic import replacing
with replacing(sys.argv[1]) as beside:
    beside.write_text("half")
    print("held", flush=True)
    time.sleep(300)
"""


def started(code: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(tmp_path):
    first = started(HOLDER, tmp_path)
    try:
        with pytest.raises(OutputError, match=rf"another job \(process {first.pid} on .+\) is writing to .*; wait"):
            alone(tmp_path).__enter__()
    finally:
        killed(first)
    assert (tmp_path / LOCK).exists()
    with alone(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_thread_is_refused_and_the_same_may_enter_again(tmp_path):
    said: list[BaseException] = []

    def other() -> None:
        try:
            with alone(tmp_path / "." / "x"):
                said.append(AssertionError("it got in"))
        except OutputError as error:
            said.append(error)

    with alone(tmp_path / "x"), alone(tmp_path / "x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert isinstance(said[0], OutputError)
    with alone(tmp_path / "x"):
        pass


def test_folders_that_were_made_for_the_lock_go_where_nothing_was_written(tmp_path):
    with pytest.raises(KeyError), alone(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with alone(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").write_text("mine")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "mine"]


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="cannot be written"):
        alone(tmp_path / "out").__enter__()
    assert (tmp_path / "mine").read_text() == "mine"


def test_where_a_disk_has_no_locks_the_file_is_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "hold", lambda handle: None)
    with alone(tmp_path):
        locks._mine.clear()  # as another process sees it
        with pytest.raises(OutputError, match=r"if it is gone, remove '.*deconvviz-lock'"):
            alone(tmp_path).__enter__()
        locks._mine[os.path.realpath(tmp_path)] = (os.getpid(), threading.get_ident())
    assert list(tmp_path.iterdir()) == []
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / LOCK).write_text(f"process {gone.pid} on {locks.socket.gethostname()}")
    with alone(tmp_path):
        pass
    (tmp_path / LOCK).write_text("process 1 on elsewhere.example")
    with pytest.raises(OutputError, match=r"another job \(process 1 on elsewhere.example\)"):
        alone(tmp_path).__enter__()


def test_what_a_killed_writer_left_goes_when_the_file_is_written_again_and_a_living_one_s_stays(tmp_path):
    target = tmp_path / "curves.png"
    dead, living = started(WRITER, target), started(WRITER, target)
    try:
        assert len(list(tmp_path.iterdir())) == 2
        killed(dead)
        check_writable(target)
        assert len(list(tmp_path.iterdir())) == 1
        remove_leftovers(tmp_path, r"curves\.png")
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        killed(living)
    remove_leftovers(tmp_path, r"curves\.png")
    assert list(tmp_path.iterdir()) == []


def test_hidden_files_of_somebody_are_no_leftovers(tmp_path):
    mine = [".state.pt.20261127.pt", ".state.pt.original", ".state.pt.my_draft.pt", ".curves.png.20261127.png"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    check_writable(tmp_path / "curves.png")
    remove_leftovers(tmp_path, r"state\.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(mine)


def test_a_link_that_looks_like_a_leftover_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / ".state.pt.deconvviz-abcdefgh.pt"
    link.symlink_to(tmp_path / "mine")
    remove_leftovers(tmp_path, r"state\.pt")
    assert link.is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_temporary_file_that_was_swept_before_it_was_held_is_made_again(tmp_path, monkeypatch):
    real, taken = atomic.hold, []

    def late(handle: int) -> bool | None:
        if not taken:
            taken.append(handle)
            for path in tmp_path.iterdir():
                path.unlink()
        return real(handle)

    monkeypatch.setattr(atomic, "hold", late)
    with replacing(tmp_path / "a") as beside:
        beside.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "new"


# Commands


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder of digits, and the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number, picture in enumerate((mnist_test()[0][:3, 0] * 255).byte().numpy()):
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def atlas(*arguments: str) -> int:
    return cli.main(["atlas", "mnist", "photos", "--layers", "conv1", "--no-evidence", *arguments])


def test_a_second_atlas_command_is_refused_before_it_scans(photos, capsys, monkeypatch):
    monkeypatch.setattr("deconvviz.mining.scan.scan", lambda *_, **__: pytest.fail("it scanned"))
    first = started(HOLDER, photos / "at")
    try:
        assert atlas("--out", "at") == 2
    finally:
        killed(first)
    said = capsys.readouterr().err
    assert said.startswith(f"deconvviz: another job (process {first.pid} on ")
    assert said.count("\n") == 1


def test_only_the_first_rank_builds_an_atlas_of_what_was_found(photos, capsys, monkeypatch):
    assert cli.main(["scan", "mnist", "photos", "--layers", "conv1", "--out", "top.safetensors"]) == 0
    capsys.readouterr()
    for name, value in (("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "1"), ("RANK", "1")):
        monkeypatch.setenv(name, value)
    assert atlas("--top", "top.safetensors") == 0
    assert capsys.readouterr().out == ""
    assert not (photos / "atlas").exists()
    monkeypatch.setenv("RANK", "0")
    assert atlas("--top", "top.safetensors") == 0
    assert (photos / "atlas" / "manifest.json").is_file()
    assert not (photos / "atlas" / LOCK).exists()
