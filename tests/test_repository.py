"""What the workflow on GitHub, the hooks before a commit, `.ci/run` and `make` say of each other."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = (ROOT / ".github" / "workflows" / "checks.yml").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def recipe(target: str) -> str:
    """The commands of a target of `make`."""
    return re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1]


def test_the_workflow_tests_every_python_that_is_promised():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    promised = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    assert re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.+)\]", WORKFLOW)[1]) == promised
    assert setup["options"]["python_requires"] == f">={promised[0]}"


def test_the_workflow_and_ci_run_what_make_has():
    on_github = re.findall(r"run: make ([\w-]+)", WORKFLOW)
    on_one_machine = re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert on_one_machine == ["check", "test", "docs", "package"]
    assert set(on_github) == {*on_one_machine, "line-coverage", "install"}
    assert all(recipe(target) for target in set(on_github) - {"install"})


def test_what_runs_before_a_commit_is_a_part_of_make_check():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    programs = set(re.findall(r"entry: \.venv/bin/(?:python -m )?(\w+)", hooks))
    assert programs == {"ruff", "codespell_lib", "mypy", "oxlint"}
    assert programs <= set(re.findall(r"\w+", recipe("check")))


def test_the_linters_are_of_one_version_everywhere():
    pinned = (ROOT / "constraints.txt").read_text("utf-8")
    for name in ("codespell", "import-linter", "mypy", "oxlint", "ruff"):
        assert re.search(rf"^{name}==[\d.]+$", pinned, re.MULTILINE), name
