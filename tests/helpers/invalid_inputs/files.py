"""Weights, saved results and data files that are missing, damaged, or of another kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from deconvviz.data import load_mnist, read_idx
from deconvviz.errors import CheckpointError, DataError, InputError, MissingFileError
from deconvviz.models import MnistCNN, load_weights, mnist_cnn
from deconvviz.results import Projection, TopActivations
from tests.helpers.invalid_inputs.case import Case, refused
from tests.helpers.invalid_inputs.datasets import scan


def saved(change: Callable[[bytes], bytes], kind: Any = TopActivations) -> Callable[[Path], Any]:
    """A saved scan that is changed, and loaded."""

    def how(_: Path) -> Any:
        content = scan().save("top").read_bytes()
        Path("top").write_bytes(change(content))
        return kind.load("top")

    return how


def described(manifest: Any) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        save_file({"a": torch.zeros(1)}, "made", metadata={"deconvviz": json.dumps(manifest)})
        return TopActivations.load("made")

    return how


NO_RESULT = "'{}' is not a result saved by deconvviz (…)"

RESULTS: list[Case] = [
    refused(
        "a result that is not there",
        lambda _: TopActivations.load("no"),
        MissingFileError,
        "there is no file 'no' to load a TopActivations from",
    ),
    refused(
        "a result that is a folder",
        lambda folder: TopActivations.load(folder),
        MissingFileError,
        "there is no file '…' to load a TopActivations from",
    ),
    refused("an empty result", saved(lambda content: b""), DataError, NO_RESULT.format("top")),
    refused("half a result", saved(lambda content: content[: len(content) // 2]), DataError, NO_RESULT.format("top")),
    refused(
        "a result of another version",
        saved(lambda content: content.replace(b'\\"format\\": 2', b'\\"format\\": 9')),
        DataError,
        "'top' has format 9; this version reads 1 to 2",
    ),
    refused(
        "a result that names code",
        saved(lambda content: content.replace(b"TopActivations", b"os.system.call")),
        DataError,
        NO_RESULT.format("top"),
    ),
    refused(
        "a result of another kind",
        saved(lambda content: content, Projection),
        DataError,
        "'top' holds a TopActivations, not a Projection",
    ),
    *(
        refused(f"a manifest that is {manifest!r}", described(manifest), DataError, NO_RESULT.format("made"))
        for manifest in (
            [],
            3,
            {},
            {"format": 1},
            {"format": 1, "result": {"kind": ["a"], "fields": {}}},
            {"format": 1, "result": {"tensor": "b"}},
        )
    ),
    refused(
        "a manifest of a number",
        described({"format": 1, "result": 3}),
        DataError,
        "'made' holds a int, not a TopActivations",
    ),
]


def weights(content: Any) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        torch.save(content, "w.pt")
        return load_weights(nn.Linear(2, 1), "w.pt")

    return how


def raw(content: bytes, name: str = "w.pt") -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        Path(name).write_bytes(content)
        return load_weights(nn.Linear(2, 1), name)

    return how


def halved(_: Path) -> Any:
    save_file({"weight": torch.zeros(1, 2), "bias": torch.zeros(1)}, "w.safetensors")
    Path("w.safetensors").write_bytes(Path("w.safetensors").read_bytes()[:-3])
    return load_weights(nn.Linear(2, 1), "w.safetensors")


def idx(content: bytes) -> Callable[[Path], Any]:
    def how(_: Path) -> Any:
        Path("data").write_bytes(content)
        return read_idx("data", 1)

    return how


FIT = "'w.pt' does not fit Linear: "
WANTED = "wanted is a state dict, bare or under one of state_dict, model_state_dict, model"
NO_TORCH = "'w.pt' is truncated or neither a safetensors file nor a torch checkpoint"

FILES: list[Case] = [
    refused(
        "weights that are not there",
        lambda _: mnist_cnn(weights="no"),
        MissingFileError,
        "there is no file 'no' to load weights from",
    ),
    refused(
        "weights of a very long name",
        lambda _: mnist_cnn(weights="x" * 5000),
        MissingFileError,
        f"there is no file '{'x' * 5000}' to load weights from",
    ),
    refused(
        "weights that are a folder",
        lambda folder: mnist_cnn(weights=folder),
        CheckpointError,
        "'…' cannot be read (Is a directory)",
    ),
    *(
        refused(f"weights that are {name}", raw(content), CheckpointError, NO_TORCH)
        for name, content in (("an empty file", b""), ("text", b"hello"), ("zeros", bytes(100)))
    ),
    refused(
        "half of a safetensors file",
        halved,
        CheckpointError,
        "'w.safetensors' is truncated or not a safetensors file (…)",
    ),
    refused(
        "an empty safetensors file",
        raw(b"", "w.safetensors"),
        CheckpointError,
        "'w.safetensors' is truncated or not a safetensors file (…)",
    ),
    *(
        refused(
            f"weights that are {type(content).__name__}",
            weights(content),
            CheckpointError,
            f"'w.pt' holds a {type(content).__name__}, not a state dict (names and tensors)",
        )
        for content in (torch.zeros(3), [1], None)
    ),
    refused("weights of nothing", weights({}), CheckpointError, f"'w.pt' holds nothing; {WANTED}"),
    refused(
        "weights that are numbers",
        weights({"a": 1}),
        CheckpointError,
        f"'w.pt' holds entries that are no tensors: a; {WANTED}",
    ),
    refused(
        "a whole pickled model",
        weights(nn.Linear(2, 1)),
        CheckpointError,
        "'w.pt' holds Python objects besides weights (torch.nn.modules.linear.Linear), and loading them could run any "
        "code; where you trust it, load it with weights_only=False once and save the state dict alone "
        "(torch.save(model.state_dict(), ...))",
    ),
    refused(
        "weights of other names",
        weights({"a": torch.zeros(1)}),
        CheckpointError,
        f"{FIT}weight is missing; bias is missing; a is unknown to the model",
    ),
    refused(
        "weights of other shapes",
        weights({"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}),
        CheckpointError,
        f"{FIT}weight is 1 x 3 in the file, 1 x 2 in the model",
    ),
    refused(
        "weights of another architecture",
        lambda _: (torch.save(nn.Linear(2, 1).state_dict(), "w.pt"), mnist_cnn(weights="w.pt")),
        CheckpointError,
        "'w.pt' does not fit MnistCNN: conv1.weight is missing; conv1.bias is missing; conv2.weight is missing and …",
    ),
    *(
        refused(
            f"a network of channels {channels!r}",
            lambda _, c=channels: MnistCNN(c, 8),
            InputError,
            f"channels are two whole numbers from 1 and width is one, not {channels!r} and 8",
        )
        for channels in ((1,), (0, 1), "ab", 3, (1.5, 2))
    ),
    refused("IDX data that is not there", lambda _: read_idx("no", 1), MissingFileError, "there is no file 'no'"),
    refused(
        "IDX data that is text",
        idx(b"text"),
        DataError,
        "'data' is not an IDX file of unsigned bytes in 1 dimension: it starts with 74657874, not with 00000801",
    ),
    refused(
        "IDX data that is empty",
        idx(b""),
        DataError,
        "'data' is not an IDX file of unsigned bytes in 1 dimension: it starts with nothing, not with 00000801",
    ),
    refused(
        "IDX data that is too short",
        idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7])),
        DataError,
        "'data' is truncated: its header promises 3 values, it holds 1",
    ),
    refused(
        "IDX data that is too long",
        idx(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7, 7])),
        DataError,
        "'data' has bytes after its end: its header promises 1 values, it holds more",
    ),
    refused(
        "IDX data of no values",
        idx(bytes([0, 0, 8, 1, 0, 0, 0, 0])),
        DataError,
        "'data' is empty: its header gives the sizes 0",
    ),
    refused(
        "IDX data that is badly packed",
        idx(b"\x1f\x8bjunk"),
        DataError,
        "'data' is truncated or damaged: gzip says '…'",
    ),
    refused(
        "no folder of training data",
        lambda _: load_mnist("no"),
        MissingFileError,
        "there is no folder 'no' to read MNIST from",
    ),
    refused(
        "a folder without training data",
        lambda _: load_mnist("."),
        DataError,
        "'.' holds no MNIST images: neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz, there "
        "or in MNIST/raw",
    ),
]


CASES = [*RESULTS, *FILES]
