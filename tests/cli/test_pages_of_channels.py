"""Many channels of `top` on the pages of a PDF, and the sharpness of pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deconvviz.io.ownership import is_ours
from tests.helpers.command_line import run

NETWORK = """
import torch
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 7, 3))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETWORK)
    np.save("x.npy", np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32))
    return tmp_path


def test_pages_of_a_pdf(folder, capsys):
    """Every channel that fires, three to a page; the shown file is deconvviz's, and may be replaced."""
    arguments = ["top", "nets.py:net", "x.npy", "--layer", "0", "--k", 2, "--most", 7, "--per-page", 3]
    run(*arguments, "--out", "a.pdf", "--json")
    content = Path("a.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 3
    assert content.startswith(b"%PDF")
    assert is_ours("a.pdf")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 7, 3))
    torch.manual_seed(0)
    model[0].reset_parameters()
    strongest = model(torch.from_numpy(np.load("x.npy"))).amax((0, 2, 3))
    rows = json.loads(capsys.readouterr().out)["table"]
    shown = {row["channel"]: row["activation"] for row in rows if row["rank"] == 1}
    assert shown == pytest.approx(dict(enumerate(strongest.tolist())), rel=1e-4)
    run(*arguments, "--out", "a.pdf", "--per-page", 7)
    assert len(re.findall(rb"/Type /Page\b", Path("a.pdf").read_bytes())) == 1


def test_pictures_have_200_dots_per_inch(folder):
    run("top", "nets.py:net", "x.npy", "--layer", "0", "--k", 1, "--channel", 0, "--out", "a.png")
    with Image.open("a.png") as opened:
        assert [round(dots) for dots in opened.info["dpi"]] == [200, 200]
