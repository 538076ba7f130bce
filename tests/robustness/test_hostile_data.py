"""Data files that a stranger made: one clear sentence, and no more memory than the file has bytes."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from deconvviz.data import parse_idx, read_idx, read_parts
from deconvviz.errors import DataError
from tests.helpers.untrusted_content import at_most


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[" * 100_000, r"is not a JSON file \(it is nested too deeply\)"),
        ('{"eye": {"a.png": [1, 2], "a.png": [3, 4]}}', r"is not a JSON file \('a.png' comes twice\)"),
        ('{"eye": {"a.png": [1e999, 2]}}', "a place is whole numbers"),
        ('{"eye": [1, 2]}', "must hold"),
    ],
)
def test_parts_in_odd_json_are_refused(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "parts.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_parts(tmp_path / "parts.json", ["a.png"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("a.png,eye,1,2,3", "line 3 of .* has more values than there are columns"),
        ("a.png,eye,1", r"line 3 of .*: a place is whole numbers, .* not \['1', None\]"),
        ("a.png", r"line 3 of .*: a place is whole numbers, .* not \[None, None\]"),
    ],
)
def test_a_line_of_csv_with_too_much_or_too_little_is_refused(tmp_path: Path, line: str, sentence: str):
    (tmp_path / "parts.csv").write_text(f"image,part,row,column\na.png,nose,1,2\n{line}\n")
    with pytest.raises(DataError, match=sentence):
        read_parts(tmp_path / "parts.csv", ["a.png"])


def test_no_more_of_a_gzip_bomb_is_read_than_its_header_promises(tmp_path: Path):
    small = b"\0\0\x08\x01" + struct.pack(">I", 100)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(small + bytes(100_000_000), 1))
    with at_most(5e6), pytest.raises(DataError, match="after its end: its header promises 100 values, it holds more"):
        read_idx(tmp_path / "bomb.gz", 1)


def test_an_idx_file_that_promises_too_much_is_refused():
    for packed in (lambda b: b, gzip.compress):
        with pytest.raises(DataError, match="'labels' is refused: its header promises 4,294,967,295 values"):
            parse_idx(packed(b"\0\0\x08\x01" + b"\xff" * 4 + bytes(100)), 1, name="labels")
