"""The readers, seeds and changes of `make fuzz`, and a few changed files for every reader, without atheris."""

from __future__ import annotations

import dataclasses
import io
import random
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from deconvviz.errors import DeconvVizError
from deconvviz.results import Result
from fuzz.__main__ import NAMES
from fuzz.mutation import changed
from fuzz.readers import READERS, example, kinds


def seeds(reader: str, folder: Path) -> list[bytes]:
    folder.mkdir()
    READERS[reader].seeds(folder)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def flipped(content: bytes, chance: random.Random) -> bytes:
    """A bit of it turned over, or its end cut off."""
    changed = bytearray(content)
    if changed:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed[: chance.randrange(len(changed) + 1)] if chance.random() < 0.2 else changed)


def test_the_command_knows_all_readers():
    assert tuple(READERS) == NAMES


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_takes_its_seeds_and_refuses_all_else_with_an_error_of_its_own(tmp_path: Path, reader: str):
    path, chance = tmp_path / "work" / READERS[reader].name, random.Random(0)
    path.parent.mkdir()
    whole = seeds(reader, tmp_path / "seeds")
    for seed in whole:
        path.write_bytes(seed)
        READERS[reader].read(path)
    taken = refused = 0
    for _ in range(150):
        path.write_bytes(
            changed(chance.choice(whole), READERS[reader].form, lambda content: flipped(content, chance), chance)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of odd pickles
            try:
                READERS[reader].read(path)
                taken += 1
            except DeconvVizError:
                refused += 1
    assert taken > 0
    assert refused > 20


def same(one: object, other: object) -> bool:
    if dataclasses.is_dataclass(one):
        fields = [field.name for field in dataclasses.fields(one)]
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in fields)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))  # type: ignore[arg-type]
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)  # type: ignore[call-overload,index]
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_kind_of_result_is_the_same_after_saving_and_loading(tmp_path: Path, kind: type[Result]):
    result = example(kind)
    assert same(kind.load(result.save(tmp_path / "result")), result)


def test_a_change_of_an_archive_gets_past_its_packing(tmp_path: Path):
    archive, chance, reached = seeds("weights, torch", tmp_path / "seeds")[0], random.Random(0), set()
    for _ in range(50):
        made = changed(archive, "zip", lambda content: content + b"!", chance)
        if made != archive + b"!":
            with zipfile.ZipFile(io.BytesIO(made)) as parts:
                reached |= {name for name in parts.namelist() if parts.read(name).endswith(b"!")}
    assert any(name.endswith("data.pkl") for name in reached)
    assert len(reached) > 1
