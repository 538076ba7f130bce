"""Progress where standard error is no terminal: a line now and then, for every command that takes long."""

from __future__ import annotations

import sys

import pytest

from deconvviz import cli
from deconvviz.io import progress_bar as bars
from deconvviz.io.progress_bar import lines_in_a_log, progress_bar


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(bars, "SECONDS_TO_THE_FIRST", 0.0)


@pytest.mark.usefixtures("hasty")
def test_a_bar_becomes_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with lines_in_a_log(), progress_bar(total=2, desc="compare", shown=True) as bar:
        bar.set_postfix_str("gradient", refresh=False)
        bar.update()
        bar.update()
    lines = capsys.readouterr().err.splitlines()
    assert "compare: 1 of 2, gradient, 00:00 so far, 00:00 left" in lines
    assert all(line.startswith("compare: ") for line in lines)


def test_the_first_line_comes_after_seconds_and_others_after_half_a_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])

    def second() -> None:
        now[0] += 1

    with lines_in_a_log(), progress_bar(total=70, desc="scan", shown=True) as bar:
        for _ in range(70):
            second()
            bar.update()
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "scan: 5 of 70",
        "scan: 35 of 70",
        "scan: 65 of 70",
    ]
    with lines_in_a_log():
        for _ in progress_bar(range(40), desc="scan", shown=True):
            second()
    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == ["scan: 5 of 40", "scan: 35 of 40"]


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with lines_in_a_log(), progress_bar(range(3), desc="scan", shown=True) as bar:
        assert list(bar) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("hasty")
def test_elsewhere_and_on_a_terminal_it_stays_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(progress_bar(range(2), desc="scan", shown=True))
    assert "\r" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with lines_in_a_log():
        list(progress_bar(range(2), desc="scan", shown=True))
    assert "\r" in capsys.readouterr().err


@pytest.mark.usefixtures("hasty")
def test_evidence_says_how_far_it_is(capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["evidence", "mnist", "mnist:0", "mnist:1", "--layer", "conv1", "--measures", "selectivity"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("selectivity: 1 of 2, ") for line in lines)
    assert all(len(line) < 120 for line in lines)
