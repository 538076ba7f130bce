"""The command read."""

from __future__ import annotations

import json
from pathlib import Path

from deconvviz.cli import main

QUICK = ["read", "mnist", "digits.npy", "--layer", "conv1", "--channel", "3", "--questions", "8"]


def test_read_writes_a_figure_and_a_page_and_prints_scores(tmp_path: Path, monkeypatch, capsys) -> None:
    import numpy as np

    from deconvviz.data import mnist_test

    monkeypatch.chdir(tmp_path)
    np.save("digits.npy", mnist_test()[0][:120].numpy())
    command = [*QUICK, "--pictures", "patches", "deconvnet", "--observers", "template", "--page", "q.html", "--json"]
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [row["pictures"] for row in facts["table"]] == ["patches", "deconvnet"]
    assert facts["channels"][0]["questions"] == 8
    assert facts["files"] == ["read-conv1.png", "q.html"]
    assert Path("read-conv1.png").is_file()
    assert "<title>Which piece fires the channel? conv1</title>" in Path("q.html").read_text("utf-8")

    assert main([*QUICK, "--out", "b.png", "--page", "q.html", "--observers", "template"]) == 0, "a page is replaced"
    Path("q.html").write_text("mine")
    assert main([*QUICK, "--out", "b.png", "--page", "q.html"]) == 2
    assert "'q.html' was not written by deconvviz" in capsys.readouterr().err
    assert main([*QUICK, "--out", "b.png", "--page", "q.txt"]) == 2
    assert "a page cannot be written as 'q.txt'; its ending must be .html" in capsys.readouterr().err
