"""Bad and odd inputs: each gives the right result, or one sentence; nothing that was there before is lost.

The tables are in `tests.helpers.invalid_inputs`; each of their rows is a test.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from deconvviz import cli
from tests.helpers.invalid_inputs import calls as bad_calls
from tests.helpers.invalid_inputs import checkpoints as bad_checkpoints
from tests.helpers.invalid_inputs import commands as bad_commands
from tests.helpers.invalid_inputs import datasets as bad_data
from tests.helpers.invalid_inputs import exploring as bad_exploring
from tests.helpers.invalid_inputs import figures as bad_figures
from tests.helpers.invalid_inputs import files as bad_files
from tests.helpers.invalid_inputs import images as bad_images
from tests.helpers.invalid_inputs import labels as bad_labels
from tests.helpers.invalid_inputs import models as bad_models
from tests.helpers.invalid_inputs import networks as bad_networks
from tests.helpers.invalid_inputs import outputs as bad_outputs
from tests.helpers.invalid_inputs import reading as bad_reading
from tests.helpers.invalid_inputs import scans as bad_scans
from tests.helpers.invalid_inputs import synthesis as bad_synthesis
from tests.helpers.invalid_inputs import uncertain as bad_uncertain
from tests.helpers.invalid_inputs import units as bad_units
from tests.helpers.invalid_inputs.case import Case, pattern, picture, workshop

CASES: list[Case] = [
    case
    for table in (
        *(bad_calls, bad_units, bad_models, bad_images, bad_data, bad_scans, bad_files, bad_outputs),
        *(bad_checkpoints, bad_reading, bad_synthesis, bad_uncertain, bad_figures),
        *(bad_networks, bad_labels),
        bad_exploring,
    )
    for case in table.CASES
]


def test_names_are_unique_and_there_are_many():
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)) >= 150


def check_sentence(said: str, expected: str) -> None:
    if not pattern(expected).fullmatch(said) or len(said.splitlines()) > 1:
        pytest.fail(f"said: {said[:500]}\nexpected: {expected[:500]}", pytrace=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_python(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if case.error is None:
        assert case.how(tmp_path) == case.expected
    else:
        with pytest.raises(case.error) as caught:
            case.how(tmp_path)
        check_sentence(str(caught.value), case.expected)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "nothing half-written is left"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with files to go wrong with, and the current one."""
    workshop(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listed(folder):
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("command", bad_commands.CASES, ids=lambda command: command.name[:60])
def test_commands(command, folder, capsys):
    before = listed(folder)
    assert cli.main(shlex.split(command.arguments)) == command.status
    shown = capsys.readouterr()
    *notes, said = shown.err.splitlines()
    assert all(note.startswith(("note: ", "left out: ")) for note in notes)
    check_sentence(said.removeprefix("deconvviz: "), command.sentence)
    assert shown.out == ""
    assert listed(folder) == before, "nothing is written, and nothing lost"


@pytest.mark.parametrize("arguments", bad_commands.UNPARSED)
def test_commands_that_do_not_parse(arguments, folder, capsys):
    before = listed(folder)
    with pytest.raises(SystemExit, match="2"):
        cli.main(shlex.split(arguments))
    usage, *_, said = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: deconvviz")
    assert said.startswith("deconvviz")
    assert ": error: " in said
    assert listed(folder) == before


def test_every_command_is_tried():
    tried = {case.arguments.split()[0] for case in bad_commands.CASES}
    assert tried == cli.COMMANDS.keys() - {"completion"}  # which the parser alone can refuse


# As other programs see it


def started(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "deconvviz", *arguments], stderr=subprocess.PIPE, text=True, **options
    )


def test_ctrl_c_while_the_model_runs(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom torch import nn\n"
        "class Slow(nn.Conv2d):\n"
        "    def __init__(self): super().__init__(3, 4, 3)\n"
        "    def forward(self, x):\n"
        "        print('running', flush=True)\n"
        "        time.sleep(300)\n"
    )
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # jobs in a shell's background do not hear Ctrl-C
    with started("layers", "slow.py:Slow", cwd=tmp_path, stdout=subprocess.PIPE, preexec_fn=heard) as process:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=100)
    assert process.returncode == 130
    assert said == "interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device that is always full")
def test_a_table_that_cannot_be_printed():
    with open("/dev/full", "w") as full, started("layers", "mnist", stdout=full) as process:
        _, said = process.communicate(timeout=100)
    assert process.returncode == 2
    assert said == "deconvviz: No space left on device\n"


def test_a_reader_that_goes_away():
    with started("layers", "mnist", stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_a_terminal_that_knows_ascii_only(tmp_path):
    name = os.fsdecode(b"\xff\xe5\x9b\xbe.png")
    picture().save(tmp_path / name)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with started(
        "project", "mnist", name, "--layer", "conv1", cwd=tmp_path, stdout=subprocess.PIPE, env=environment
    ) as process:
        shown, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, "")
    assert shown.splitlines()[-1] == "_\\u56fe-conv1.png"
    assert (tmp_path / "_\u56fe-conv1.png").is_file()
