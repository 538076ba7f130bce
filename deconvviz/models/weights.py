"""Reading and writing weights files, without ever running code from a file.

Files are written as safetensors. They are read from safetensors, or from a torch checkpoint under
``weights_only=True``: a state dict, bare or under one of the keys in `WRAPPERS`, with the name prefixes of DataParallel
and torch.compile removed. A file that contains anything other than weights is refused, and a model is changed only
after all names and shapes are known to fit.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import torch
from safetensors import safe_open
from torch import nn

from deconvviz.arguments import MODULE, PATH, mapping_of, optional, takes
from deconvviz.errors import CheckpointError, MissingFileError
from deconvviz.io.atomic import may_hang
from deconvviz.io.safetensors_files import DAMAGE, WRITER, write_tensors

WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which checkpoints keep the state dict
PREFIXES = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before each name
PICKLES = 5  # in a file as torch wrote them before 1.6
NAMES_SHOWN = 3  # how many of the names that do not fit an error lists

Weights = dict[str, torch.Tensor]
WORDS = mapping_of(str, "a mapping from names to texts")


@takes(model=MODULE, path=PATH, metadata=optional(WORDS))
def save_weights(model: nn.Module, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the model's parameters and buffers to the safetensors file `path`, whole or not at all."""
    # One copy each: safetensors refuses tensors that share memory, such as tied weights.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    return write_tensors(path, tensors, metadata or {})


@takes(model=MODULE, path=PATH)
def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Copy the weights in the file `path` into `model`, which keeps its device and dtype.

    Raises:
        MissingFileError: If the file does not exist.
        CheckpointError: If it cannot be read, contains more than weights, or does not have exactly the model's names
            and shapes (the first differences are given).

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "linear.safetensors")
        >>> _ = save_weights(nn.Linear(2, 1), path)
        >>> load_weights(nn.Linear(3, 1), path)
        Traceback (most recent call last):
        deconvviz.errors.CheckpointError: '...' does not fit Linear: weight is 1 x 2 in the file, 1 x 3 in ...
    """
    weights, _ = read_weights(path)
    copy_weights(model, weights, name=repr(os.fspath(path)))


def copy_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Copy `weights` into `model`; `name` is what an error calls them. See `load_weights`."""
    fitting = check_fit(model, weights, name)
    try:
        model.load_state_dict(fitting)
    except (RuntimeError, TypeError) as error:  # a model with rules of its own for what it loads
        raise CheckpointError(f"{name} does not fit {type(model).__name__}: {error}") from error


def check_fit(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> Weights:
    """`weights` under the model's own names, where `copy_weights` can take them. Raises CheckpointError elsewhere."""
    expected = model.state_dict()
    own = _without_prefix(weights, expected)
    faults = _faults(own, expected)
    if faults:
        more = f" and {len(faults) - NAMES_SHOWN} more" if len(faults) > NAMES_SHOWN else ""
        raise CheckpointError(f"{name} does not fit {type(model).__name__}: {'; '.join(faults[:NAMES_SHOWN])}{more}")
    return own


@takes(path=PATH)
def read_weights(path: str | os.PathLike[str]) -> tuple[Weights, dict[str, str]]:
    """The tensors of a weights file by name, on the CPU, and its metadata (empty for a torch checkpoint).

    Raises MissingFileError and CheckpointError as `load_weights` does.
    """
    name = os.fspath(path)
    if not os.path.exists(path):
        raise MissingFileError(f"there is no file {name!r} to load weights from")
    _check_readable(path)
    try:
        with Path(path).open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{name!r} cannot be read ({error.strerror})") from error
    # A safetensors file is eight bytes of length and then JSON; its suffix may be anything.
    if name.endswith(".safetensors") or start[8:] == b"{":
        return _read_safetensors(name)
    return _read_torch(name), {}


def _read_safetensors(name: str) -> tuple[Weights, dict[str, str]]:
    try:
        with safe_open(name, framework="pt") as stored:
            metadata = {name: text for name, text in (stored.metadata() or {}).items() if name != WRITER}
            return {key: stored.get_tensor(key) for key in stored.keys()}, metadata  # noqa: SIM118  not a mapping
    except (OSError, *DAMAGE) as error:
        raise CheckpointError(f"{name!r} is truncated or not a safetensors file ({error})") from error


def _read_torch(name: str) -> Weights:
    content = load_plain(name)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name!r} holds a {type(content).__name__}, not a state dict (names and tensors)")
    strangers = [_entry_name(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strangers or not content:
        held = f"entries that are no tensors: {', '.join(strangers[:NAMES_SHOWN])}" if strangers else "nothing"
        raise CheckpointError(
            f"{name!r} holds {held}; wanted is a state dict, bare or under one of {', '.join(WRAPPERS)}"
        )
    return {str(key): value for key, value in content.items()}


def load_plain(path: str | os.PathLike[str]) -> object:
    """The content of a file written by `torch.save`, on the CPU, if it is only tensors and plain values.

    Raises CheckpointError for everything else, including files that would run code when unpickled.
    """
    _check_readable(path)
    try:
        _refuse_bombs(path)
        return torch.load(os.fspath(path), map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        if "GLOBAL" in str(error) or "TorchScript" in str(error):
            raise CheckpointError(
                f"{os.fspath(path)!r} holds Python objects besides weights, and loading them could run any "
                f"code; save the state dict alone (torch.save(model.state_dict(), ...)) or use safetensors"
            ) from error
        raise CheckpointError(
            f"{os.fspath(path)!r} is truncated or neither a safetensors file nor a torch checkpoint"
        ) from error


def _check_readable(path: str | os.PathLike[str]) -> None:
    if may_hang(path):
        raise CheckpointError(f"{os.fspath(path)!r} cannot be read (it is a device, pipe or socket)")


def _refuse_bombs(path: str | os.PathLike[str]) -> None:
    """Raise CheckpointError if a checkpoint needs far more memory than it has bytes, and ValueError for garbage.

    torch allows a pickle to call `bytearray`, which fills as much memory as the pickle says, and unpacks what is
    compressed or listed twice; `torch.save` never writes this.
    """
    size, name = Path(path).stat().st_size, os.fspath(path)
    with Path(path).open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        if not zipped:
            called = {word for _ in range(PICKLES) for word in _globals(file)}
        else:
            with zipfile.ZipFile(file) as archive:
                parts = archive.infolist()
                if any(part.compress_type for part in parts) or sum(part.file_size for part in parts) > size:
                    raise CheckpointError(
                        f"{name!r} would unpack to more than its {size:,} bytes; torch.save packs nothing"
                    )
                inner = [part for part in parts if part.filename.endswith(".pkl")]
                called = {word for part in inner for word in _globals(archive.open(part))}
    if any(word.endswith("bytearray") for word in called):
        raise CheckpointError(f"{name!r} asks for memory in a way that no state dict does; it is refused")


def _globals(file: IO[bytes]) -> Iterator[str]:
    """The functions and classes that the next pickle in `file` names."""
    return (str(word) for code, word, _ in pickletools.genops(file) if code.name == "GLOBAL")


def _without_prefix(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> Weights:
    stripped = dict(weights)
    for prefix in PREFIXES:
        wrapped = all(name.startswith(prefix) for name in stripped)
        if wrapped and not any(name.startswith(prefix) for name in expected):
            stripped = {name[len(prefix) :]: value for name, value in stripped.items()}
    return stripped


def _faults(weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> list[str]:
    missing = [
        f"{_entry_name(name)} is missing"
        for name in expected
        # Checkpoints from before torch 0.4.1 have no such counter, and torch itself does without.
        if name not in weights and not name.endswith("num_batches_tracked")
    ]
    unknown = [f"{_entry_name(name)} is unknown to the model" for name in weights if name not in expected]
    unequal = [
        f"{name} is {_size_text(value)} in the file, {_size_text(expected[name])} in the model"
        for name, value in weights.items()
        if name in expected and value.shape != expected[name].shape
    ]
    return unequal + missing + unknown or [
        fault for name, value in weights.items() if name in expected and (fault := _fault(name, value, expected[name]))
    ]


def _fault(name: str, value: torch.Tensor, expected: torch.Tensor) -> str:
    """What is wrong with a tensor of the right shape, or ''."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return f"{name} is sparse, quantised or without values in the file"
    if expected.is_floating_point() and not value.is_floating_point():
        return f"{name} is {value.dtype} in the file, {expected.dtype} in the model"
    return f"{name} holds values that are no number (NaN)" if value.is_floating_point() and value.isnan().any() else ""


def _entry_name(name: object) -> str:
    text = str(name)
    return text if len(text) <= 80 and text.isprintable() else f"{text[:80]!r}..."


def _size_text(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"
