"""The command explore: the address, its lines of Python, and its end by Ctrl-C."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deconvviz.cli import build_parser, main
from deconvviz.explorer.serve import Explorer
from deconvviz.models.inputs import InputWishes
from deconvviz.results import Projection
from tests.helpers.explorer_client import Client

pytest.importorskip("uvicorn", reason="needs starlette and uvicorn")


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """What a command has started, while it would wait."""
    found: list[Explorer] = []

    def look(explorer: Explorer) -> None:
        found.append(explorer)
        raise KeyboardInterrupt

    monkeypatch.setattr(Explorer, "wait", look)
    monkeypatch.setattr(Explorer, "close", lambda explorer: None)
    assert main(["explore", *arguments, "--no-browser"]) == 0
    monkeypatch.undo()
    return found[0]


def test_mnist_works_with_nothing_else_and_its_lines_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(monkeypatch, "mnist", "--style", "guided") as explorer:
        assert capsys.readouterr().out == f"{explorer.url}\n"
        client = Client(explorer)
        assert client.ask("state").json["dataset"] == {"name": "the MNIST test set", "count": 10000}
        given = {"image": "data-3", "layer": "conv2", "channel": 5}
        (tmp_path / "a.safetensors").write_bytes(client.ask("save/result", **given).body)
        monkeypatch.chdir(tmp_path)
        names: dict[str, Any] = {}
        exec(client.ask("python", **given).json["lines"], names)
        torch.testing.assert_close(names["projection"].pixels, Projection.load("a.safetensors").pixels)
        assert names["projection"].provenance.style["name"] == "guided"


def test_the_lines_load_the_model_as_the_options_do() -> None:
    from deconvviz.cli.explore import _lines

    options = {
        "weights": None,
        "pretrained": False,
        "mean": [0.5],
        "std": [0.25],
        "channels": 3,
        "preprocess": None,
        "bands": None,
    }
    options |= {
        "bands": None,
        "size": (32, 32),
        "device": "cpu",
        "dtype": "float64",
        "style": "deconvnet",
        "root": None,
        "channels_last": False,
    }
    args = SimpleNamespace(model="torchvision:squeezenet1_1", **options)
    names: dict[str, Any] = {}
    exec("\n".join(["import deconvviz as dv", *_lines(args, None).network]), names)
    assert next(names["net"].model.parameters()).dtype == torch.float64
    assert names["loaded"].shape == (3, 32, 32)


def test_the_lines_have_all_that_is_asked_of_the_input() -> None:
    from deconvviz.cli.explore import _lines

    given = "explore file.py:make --size 8 9 --mean 0.5 --std 0.2 --channels 3 --bands 2 1 0 --channels-last"
    args = build_parser("explore").parse_args([*given.split(), "--preprocess", "own.py:make"])
    lines = "\n".join(_lines(args, None).network)
    asked = [f"{field.name}=" for field in dataclasses.fields(InputWishes) if f"{field.name}=" not in lines]
    assert asked == []
    assert "size=(8, 9)" in lines
    assert "channels_last=True" in lines


def test_ctrl_c_ends_it_with_status_0(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deconvviz", "explore", "mnist", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()  # or else a failure would never end
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert said.endswith("the explorer has ended\n")


def test_a_port_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["explore", "mnist", "--no-browser", "--port", str(port)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    why = os.strerror(errno.EADDRINUSE)
    assert said == (
        f"deconvviz: the explorer cannot listen on host '127.0.0.1', port {port} ({why}); give another port, or 0 for a"
        f" free one"
    )
