"""Weights in and out of files: every kind that fits, and nothing but weights."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deconvviz.errors import CheckpointError, MissingFileError
from deconvviz.models import load_weights, read_weights, save_weights
from tests.helpers.mnist_networks import small


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("bare.pt", lambda state: state),
        ("state_dict.pth", lambda state: {"state_dict": state, "epoch": 3}),
        ("model.bin", lambda state: {"model": state, "optimizer": {}}),
        ("model_state_dict.pt", lambda state: {"model_state_dict": state}),
        ("parallel.pt", lambda state: {f"module.{name}": value for name, value in state.items()}),
        ("compiled.pt", lambda state: {f"_orig_mod.{name}": value for name, value in state.items()}),
    ],
)
def test_torch_checkpoints_load_bare_wrapped_and_prefixed(tmp_path: Path, name: str, wrap):
    source, target = small(1), small(2)
    torch.save(wrap(source.state_dict()), tmp_path / name)
    load_weights(target, tmp_path / name)
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.dat"])
def test_safetensors_go_in_and_out_whatever_the_suffix(tmp_path: Path, name: str):
    source = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    source["b"].weight = source["a"].weight  # tied
    save_weights(source, tmp_path / name, metadata={"note": "tied"})
    target = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    load_weights(target, tmp_path / name)
    assert torch.equal(target["b"].weight, source["a"].weight)
    assert read_weights(tmp_path / name)[1] == {"note": "tied"}


def test_weights_come_in_the_models_number_type(tmp_path: Path):
    source = small(1)
    save_weights(source, tmp_path / "w.safetensors")
    target = small(2).double()
    load_weights(target, tmp_path / "w.safetensors")
    assert torch.equal(target.conv1.weight, source.conv1.weight.double())


def test_old_checkpoints_without_batch_counters_load(tmp_path: Path):
    source = small(1, batch_norm=True)
    state = {name: value for name, value in source.state_dict().items() if "num_batches" not in name}
    torch.save(dict(state), tmp_path / "old.pt")
    target = small(2, batch_norm=True)
    load_weights(target, tmp_path / "old.pt")
    assert torch.equal(target.conv2.weight, source.conv2.weight)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("fc2.bias"), "does not fit MnistCNN: fc2.bias is missing"),
        (lambda s: s.update(extra=torch.ones(1)), "does not fit MnistCNN: extra is unknown to the model"),
        (
            lambda s: s.update({"conv1.weight": torch.ones(3, 1, 5, 5)}),
            "conv1.weight is 3 x 1 x 5 x 5 in the file, 3 x 1 x 7 x 7 in the model",
        ),
        (
            lambda s: [s.pop(name) for name in list(s)[:5]],
            "conv1.weight is missing; conv1.bias is missing; conv2.weight is missing and 2 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(tmp_path: Path, change, sentence: str):
    state = dict(small(1).state_dict())
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    model = small(2)
    with pytest.raises(CheckpointError, match=r"w\.safetensors") as caught:
        load_weights(model, tmp_path / "w.safetensors")
    assert sentence in str(caught.value)
    assert torch.equal(model.conv2.weight, small(2).conv2.weight)


class Malicious:
    """Unpickling it would run a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("writer", ["torch", "torch in a dict", "old torch", "pickle"])
def test_pickled_code_is_refused_and_not_run(tmp_path: Path, writer: str):
    path, bomb = tmp_path / "bomb.pt", Malicious(tmp_path / "ran")
    if writer == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        content = {"state_dict": small().state_dict(), "x": bomb} if "dict" in writer else bomb
        torch.save(content, path, _use_new_zipfile_serialization=writer != "old torch")
    with pytest.raises(CheckpointError):
        load_weights(small(), path)
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_model_is_refused_with_the_way_out(tmp_path: Path):
    torch.save(small(), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"holds Python objects besides weights.*save the state dict alone"):
        load_weights(small(), tmp_path / "model.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "bin"])
@pytest.mark.parametrize("content", [b"", b"x", b"garbage " * 100, b"PK\x03\x04" + b"\0" * 50, b"\x80\x02}q\x00."])
def test_garbage_is_a_checkpoint_error(tmp_path: Path, suffix: str, content: bytes):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_weights(small(), path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
def test_truncated_files_are_checkpoint_errors(tmp_path: Path, suffix: str, kept: float):
    path = tmp_path / f"w.{suffix}"
    if suffix == "pt":
        torch.save(small().state_dict(), path)
    else:
        save_weights(small(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CheckpointError, match="truncated"):
        load_weights(small(), path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (torch.ones(3), "holds a Tensor, not a state dict"),
        ([1, 2], "holds a list, not a state dict"),
        ({}, "holds nothing; wanted is a state dict"),
        ({"epoch": 3, "loss": 0.1}, "entries that are no tensors: epoch, loss"),
    ],
)
def test_checkpoints_without_weights_are_refused(tmp_path: Path, content: object, sentence: str):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(small(), tmp_path / "w.pt")


def test_missing_files_and_folders(tmp_path: Path):
    with pytest.raises(MissingFileError, match=r"there is no file .*nowhere\.pt"):
        load_weights(small(), tmp_path / "nowhere.pt")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(small(), tmp_path)
