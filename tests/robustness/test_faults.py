"""Some of the faults of `make faults`, the disk that they are put into, and that nothing is written any other way."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from faults.operations import Operation
from faults.power import states
from tests.helpers.syntax import tree_of

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="faults are put in by way of /proc and /dev/full")


@linux
def test_a_command_that_is_disturbed_gives_the_same_when_it_is_started_again():
    call = [sys.executable, "-m", "faults", "scan", "train", "atlas, again", "--every", "53"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, capture_output=True, text=True, timeout=600, check=False, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"(\d+) faults injected, 0 failures", done.stdout)[0]) > 40


# What a power cut may leave

TEMPORARY = [Operation("create", "d/.a"), Operation("sync file", "d/.a", content=b"new!")]
RENAMED = [*TEMPORARY, Operation("rename", "d/.a", "d/a", b"new!")]


def found(log: list[Operation], done: int) -> set[tuple[tuple[str, bytes], ...]]:
    before = {"d/": b"", "d/a": b"old"}
    trees = [{path: content for path, content in tree.items() if path != "d/"} for tree in states(before, log, done)]
    return {tuple(sorted(tree.items())) for tree in trees}


def test_before_a_file_is_synced_anything_may_be_in_it():
    half = [b"", b"ne", bytes(4), b"new!"]
    assert found(TEMPORARY, 1) == {(("d/a", b"old"),), *((("d/.a", content), ("d/a", b"old")) for content in half)}
    unsynced = [Operation("create", "d/.a"), Operation("rename", "d/.a", "d/a", b"new!")]
    assert {(("d/a", content),) for content in half} < found(unsynced, 2)


def test_a_rename_is_sure_only_when_its_folder_was_synced():
    temporary = (("d/.a", b"new!"), ("d/a", b"old"))
    assert found(RENAMED, 3) == {(("d/a", b"old"),), (("d/a", b"new!"),), temporary}
    assert found([*RENAMED, Operation("sync folder", "d")], 4) == {(("d/a", b"new!"),)}
    assert found([*RENAMED, Operation("sync folder", ".")], 4) == found(RENAMED, 3)


def test_a_folder_that_was_not_synced_may_be_gone_with_all_that_is_in_it():
    log = [Operation("make folder", "d/e"), Operation("create", "d/e/b"), Operation("sync folder", "d/e")]
    assert found(log, 3) == {(("d/a", b"old"),), (("d/a", b"old"), ("d/e/", b""), ("d/e/b", b""))}
    removed = [Operation("remove", "d/a")]
    assert found(removed, 1) == {(), (("d/a", b"old"),)}


# No other way of writing

WRITERS = {
    "write_text",
    "write_bytes",
    "savefig",
    "save_file",
    "touch",
    "mkdir",
    "rename",
    "tofile",
    "savez",
    "imwrite",
}
OTHERS = {  # to memory, to a temporary folder that goes when the work ends, and a folder alone
    ("figures/network_diff_pages.py", "mkdir"),
    ("figures/canvas.py", "savefig"),
    ("io/ownership.py", "savefig"),
    ("experiments/probe.py", "open"),
}


def _writes(tree: ast.AST, inside: bool = False) -> list[ast.Call]:
    """Calls that write a file and are not in a block of `replacing`."""
    here: list[ast.Call] = []
    for node in ast.iter_child_nodes(tree):
        replaced = isinstance(node, ast.With) and any("replacing(" in ast.unparse(item) for item in node.items)
        if isinstance(node, ast.Call) and not inside:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            opened = name == "open" and any(re.fullmatch(r"[rb]*[wax+][b+t]*", mode) for mode in modes)
            writer = name in WRITERS and isinstance(node.func, ast.Attribute)
            if writer or opened or ast.unparse(node.func) in ("torch.save", "json.dump", "pickle.dump"):
                here.append(node)
        here += _writes(node, inside or replaced)
    return here


def test_every_file_is_written_by_replacing():
    others = []
    for path in sorted((ROOT / "deconvviz").rglob("*.py")):
        name = path.relative_to(ROOT / "deconvviz").as_posix()
        for call in _writes(tree_of(path.read_text("utf-8"))):
            if name != "io/atomic.py" and (name, ast.unparse(call.func).rpartition(".")[2]) not in OTHERS:
                others.append(f"{name}:{call.lineno}: {ast.unparse(call)}")
    assert others == []
    planted = tree_of("with replacing(a) as b:\n    b.write_text('')\na.write_text('')\nopen(a, 'wb')\na.open('r')")
    assert [call.lineno for call in _writes(planted)] == [3, 4]
