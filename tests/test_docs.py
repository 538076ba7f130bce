"""What the documents show runs: every Python block, the examples, and the commands they name."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import deconvviz as dv
from deconvviz import cli
from deconvviz.models import mnist_cnn

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
sys.path.insert(0, str(ROOT / "docs"))


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [d for d in DOCUMENTS if blocks(d, "python")], ids=lambda path: path.stem)
def test_python_blocks_run(path, tmp_path, monkeypatch, registry):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()  # which the documents take as given
    for number in range(9):
        Image.effect_noise((64, 64), 20 + 10 * number).convert("RGB").save(tmp_path / "photos" / f"{number}.png")
    scope: dict[str, object] = {}
    left_out = set()
    for block in blocks(path, "python"):
        asked = set(re.findall(r"^(?:import|from) (timm|transformers|open_clip)\b", block, re.MULTILINE))
        if missing := {name for name in asked if not importlib.util.find_spec(name)}:
            left_out |= missing
            continue
        exec(compile(block, path.name, "exec"), scope)
    if left_out:
        pytest.skip(f"the blocks that need {' and '.join(sorted(left_out))}; the others ran")


def test_commands_in_the_documents_exist(capsys):
    lines = [
        re.split(r"^deconvviz | -m deconvviz ", line)[-1]
        for path in DOCUMENTS
        for block in blocks(path, "sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("deconvviz ") or " -m deconvviz " in line
    ]
    assert len(lines) >= 30
    for command, *arguments in (shlex.split(line, comments=True) for line in lines):
        given = cli.build_parser(command).parse_args([command, *arguments])
        assert given.run is cli.COMMANDS[command].run


def test_the_tests_that_documents_name_exist():
    named = {
        found
        for path in DOCUMENTS
        for found in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", path.read_text("utf-8"))
    }
    assert len(named) >= 6
    for file, name in named:
        assert not name or f"\ndef {name}(" in (ROOT / file).read_text("utf-8"), (file, name)


def test_targets_of_make_in_the_documents_exist():
    known = set(re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)[1].split())
    asked = {name for path in DOCUMENTS for name in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text("utf-8"), re.M)}
    assert {"demo", "test", "docs"} <= asked <= known


@pytest.mark.skipif(sys.version_info < (3, 11), reason="argparse words its help differently before Python 3.11")
def test_the_page_of_commands_is_what_help_says():
    """If not: python docs/commands.py."""
    commands = importlib.import_module("commands")
    assert commands.PAGE.read_text("utf-8").split() == commands.page().split()


def test_the_drawn_way_back_is_that_of_the_library(tmp_path, monkeypatch):
    """The drawings' own steps, in plain torch, are compared with the projection as they are drawn."""
    drawings = importlib.import_module("drawings")
    monkeypatch.setattr(drawings, "IMAGES", tmp_path)
    drawings.main()
    assert len(list(tmp_path.glob("concepts-*.png"))) == 3


def test_the_table_in_the_tutorial_is_what_is_printed():
    shown = blocks(ROOT / "docs" / "tutorial.md", "text")[0].removesuffix("...\n")
    assert str(dv.DeconvNet(mnist_cnn()).layers(torch.zeros(1, 1, 28, 28))).startswith(shown)


def test_links_between_documents_lead_somewhere():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).is_file(), f"{path.name}: {target}"


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
