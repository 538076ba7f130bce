"""What the documents show runs: every Python block, the examples, and the commands they name."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from deconvviz import cli

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [d for d in DOCUMENTS if blocks(d, "python")], ids=lambda path: path.name)
def test_python_blocks_run(path, tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), scope)


def test_commands_in_the_documents_exist(capsys):
    found = [
        shlex.split(line, comments=True)
        for path in DOCUMENTS
        for block in blocks(path, "sh")
        for line in block.splitlines()
        if line.startswith("deconvviz ")
    ]
    assert len(found) >= 4
    for _, command, *arguments in found:
        given = cli.build_parser(command).parse_args([command, *arguments])
        assert given.run is cli.COMMANDS[command].run


def test_links_between_documents_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_example_of_top_images(tmp_path, monkeypatch, capsys):
    out = tmp_path / "nine.png"
    monkeypatch.setattr(sys, "argv", ["top_nine.py", "--channel", "29", "--out", str(out)])
    runpy.run_path(str(ROOT / "examples" / "top_nine.py"), run_name="__main__")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 9
    values = [float(re.search(r": (\d+\.\d+) at", line)[1]) for line in printed]
    assert values == sorted(values, reverse=True)
    assert sum(", a 4:" in line for line in printed) >= 7  # this channel looks for the crossing in a four
    with Image.open(out) as picture:
        assert picture.width > 300
