"""Commands show a progress bar on a terminal only, because it would fill a log."""

from __future__ import annotations

from deconvviz import cli


def test_compare_shows_no_bar_in_a_log(tmp_path, capsys):
    words = ["compare", "mnist", "mnist:0", "--layer", "conv1", "--channel", "0", "--methods", "deconvnet"]
    assert cli.main([*words, "--out", str(tmp_path / "c.png")]) == 0
    assert capsys.readouterr().err == ""
