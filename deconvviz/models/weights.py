"""Reading and writing weights files, without ever running code from a file.

Files are written as safetensors. They are read from safetensors, or from a torch checkpoint as `torch_files` does: a
state dict, bare or under one of the keys in `WRAPPERS`, under the names that `matching` finds. A model is changed only
after all names and shapes are known to fit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn

from deconvviz.arguments import MODULE, PATH, mapping_of, optional, takes
from deconvviz.errors import CheckpointError, MissingFileError
from deconvviz.io.safetensors_files import DAMAGE, WRITER, write_tensors
from deconvviz.models.matching import NAMES_SHOWN, Match, Weights, entry_name, match
from deconvviz.models.torch_files import check_readable, load_plain
from deconvviz.recording.untrained import mark_untrained

# Keys under which checkpoints keep the state dict, the usual ones first; one of another name is found, too.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "model_state", "net", "network", "weights", "params"),
    *("state_dict_ema", "model_ema", "ema", "params_ema"),
)
NO_WEIGHTS = ("optim", "sched", "lr_", "scaler", "amp", "callbacks", "loops")  # beginnings of keys of other things
NESTED = 3  # how deep a state dict is looked for

WORDS = mapping_of(str, "a mapping from names to texts")


@takes(model=MODULE, path=PATH, metadata=optional(WORDS))
def save_weights(model: nn.Module, path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None) -> Path:
    """Write the model's parameters and buffers to the safetensors file `path`, whole or not at all."""
    # One copy each: safetensors refuses tensors that share memory, such as tied weights.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    return write_tensors(path, tensors, metadata or {})


@dataclass(frozen=True)
class LoadedWeights:
    """What `load_weights` made of a file. Printed, it is one line, which is empty if the file fitted as it was.

    Attributes:
        file: The path of the file.
        entry: The entry of the checkpoint that the weights were taken from, "" for the file as a whole.
        renamed: How names in the file were changed to those of the model, in words, or "".
        dropped: Names of the file that the model has no place for: counts of profilers, another head, a loss.
        left_random: Names of the model that are not in the file: a head, whose tensors keep their values.
    """

    file: str
    entry: str
    renamed: str
    dropped: tuple[str, ...]
    left_random: tuple[str, ...]

    def __str__(self) -> str:
        words = [self.renamed] if self.renamed else []
        words += [f"not used: {_several(self.dropped)}"] if self.dropped else []
        words += [f"not in it and random: {_several(self.left_random)}"] if self.left_random else []
        return f"{self.file!r}: {'; '.join(words)}" if words else ""


@takes(model=MODULE, path=PATH)
def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> LoadedWeights:
    """Copy the weights in the file `path` into `model`, which keeps its device and dtype.

    Names may have prefixes that the model's have not (``module.``, ``model.``, ``_orig_mod.``), or lack its own. A head
    for other classes, or none in the file, is left out: its tensors keep their values, and a projection of a layer that
    needs them is refused.

    Returns:
        What was renamed, dropped and left out.

    Raises:
        MissingFileError: If the file does not exist.
        CheckpointError: If it cannot be read, would have to run code, or does not fit the model (the first differences
            are given).

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "linear.safetensors")
        >>> _ = save_weights(nn.Linear(2, 1), path)
        >>> load_weights(nn.Sequential(nn.Linear(2, 1)), path).renamed
        "names under '0.'"
        >>> load_weights(nn.Linear(3, 1), path)
        Traceback (most recent call last):
        deconvviz.errors.CheckpointError: '...' does not fit Linear: weight is 1 x 2 in the file, 1 x 3 in ...
    """
    return load_states(model, read_states(path))


@dataclass(frozen=True)
class States:
    """The state dicts that a file holds.

    Attributes:
        file: The path of the file.
        entries: The tensors of each state dict, by the entry where it stands; the most usual entry first.
        beside: Names of what stands in the same entry and is no tensor.
        metadata: The metadata of a safetensors file.
    """

    file: str
    entries: dict[str, Weights]
    beside: dict[str, tuple[str, ...]]
    metadata: dict[str, str]


def load_states(model: nn.Module, states: States) -> LoadedWeights:
    """Copy the state dict that fits best into `model`, see `load_weights`."""
    entry, fit = best_match(model, states)
    name = repr(states.file)
    _check_faults(model, fit, name)
    _copy(model, fit, name)
    mark_untrained(model, fit.left_out, name)
    dropped = (*fit.dropped, *states.beside[entry])
    return LoadedWeights(states.file, entry, fit.renamed, dropped, fit.left_out)


def best_match(model: nn.Module, states: States) -> tuple[str, Match]:
    """The entry of a file that fits a model best, and how."""
    expected = model.state_dict()
    matches = {entry: match(weights, expected, repr(states.file)) for entry, weights in states.entries.items()}
    return max(matches.items(), key=lambda pair: (not pair[1].faults, len(pair[1].tensors)))


def copy_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Copy `weights` for all of `model` into it; `name` is what an error calls them."""
    _copy(model, _whole_match(model, weights, name), name)


def check_fit(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Raise CheckpointError where `copy_weights` cannot take `weights`."""
    _whole_match(model, weights, name)


def _whole_match(model: nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> Match:
    expected = model.state_dict()
    fit = match(weights, expected, name)
    _check_faults(model, fit, name)
    if fit.left_out:
        raise CheckpointError(
            f"{name} does not fit {type(model).__name__}: there is nothing that fits {_several(fit.left_out)}"
        )
    return fit


def _check_faults(model: nn.Module, fit: Match, name: str) -> None:
    if fit.faults:
        more = f" and {len(fit.faults) - NAMES_SHOWN} more" if len(fit.faults) > NAMES_SHOWN else ""
        shown = "; ".join(fit.faults[:NAMES_SHOWN])
        raise CheckpointError(f"{name} does not fit {type(model).__name__}: {shown}{more}")


def _copy(model: nn.Module, fit: Match, name: str) -> None:
    try:
        model.load_state_dict(fit.tensors, strict=not fit.left_out)
    except (RuntimeError, TypeError) as error:  # a model with rules of its own for what it loads
        raise CheckpointError(f"{name} does not fit {type(model).__name__}: {error}") from error


@takes(path=PATH)
def read_weights(path: str | os.PathLike[str]) -> tuple[Weights, dict[str, str]]:
    """The tensors of a weights file by name, on the CPU, and its metadata (empty for a torch checkpoint).

    Of a checkpoint with several state dicts, the one under the most usual name, such as ``state_dict``.

    Raises MissingFileError and CheckpointError as `load_weights` does.
    """
    states = read_states(path)
    return next(iter(states.entries.values())), states.metadata


def read_states(path: str | os.PathLike[str]) -> States:
    """All state dicts of a weights file, on the CPU. Raises MissingFileError and CheckpointError as `load_weights`."""
    name = os.fspath(path)
    if not os.path.exists(path):
        raise MissingFileError(f"there is no file {name!r} to load weights from")
    check_readable(path)
    try:
        with Path(path).open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{name!r} cannot be read ({error.strerror})") from error
    # A safetensors file is eight bytes of length and then JSON; its suffix may be anything.
    if name.endswith(".safetensors") or start[8:] == b"{":
        weights, metadata = _read_safetensors(name)
        return States(name, {"": weights}, {"": ()}, metadata)
    return _read_torch(name)


def _read_safetensors(name: str) -> tuple[Weights, dict[str, str]]:
    try:
        with safe_open(name, framework="pt") as stored:
            metadata = {name: text for name, text in (stored.metadata() or {}).items() if name != WRITER}
            return {key: stored.get_tensor(key) for key in stored.keys()}, metadata  # noqa: SIM118  not a mapping
    except (OSError, *DAMAGE) as error:
        raise CheckpointError(f"{name!r} is truncated or not a safetensors file ({error})") from error


def _read_torch(name: str) -> States:
    content = load_plain(name)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name!r} holds a {type(content).__name__}, not a state dict (names and tensors)")
    entries_found = dict(_state_dicts(content, ""))
    # A number that is a tensor may stand beside a state dict.
    entries = {
        entry: value for entry, value in entries_found.items() if any(value.ndim for value in _tensors(value).values())
    } or {entry: value for entry, value in entries_found.items() if _tensors(value)}
    if not entries:
        strangers = [entry_name(key) for key in content]
        held = f"entries that are no tensors: {', '.join(strangers[:NAMES_SHOWN])}" if strangers else "nothing"
        raise CheckpointError(
            f"{name!r} holds {held}; wanted is a state dict, bare or under one of {', '.join(WRAPPERS[:3])}"
        )
    order = sorted(entries, key=lambda entry: (_rank(entry), -len(entries[entry])))
    return States(
        name,
        {entry: _tensors(entries[entry]) for entry in order},
        {entry: tuple(key for key in entries[entry] if _is_beside(entries[entry][key])) for entry in order},
        {},
    )


def _state_dicts(content: Mapping[object, object], entry: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Everything in a checkpoint that may be a state dict, by its place (``ema.module``)."""
    if entry.count(".") >= NESTED or not all(isinstance(key, str) for key in content):
        return
    yield entry, {str(key): value for key, value in content.items()}
    for key, value in content.items():
        if isinstance(value, Mapping) and not str(key).lower().startswith(NO_WEIGHTS):
            yield from _state_dicts(value, f"{entry}.{key}" if entry else str(key))


def _tensors(content: Mapping[str, object]) -> Weights:
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}


def _is_beside(value: object) -> bool:
    return not isinstance(value, (torch.Tensor, Mapping))


def _rank(entry: str) -> int:
    last = entry.partition(".")[0]
    return 0 if not entry else WRAPPERS.index(last) + 1 if last in WRAPPERS else len(WRAPPERS) + 1


def _several(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(map(entry_name, names[:NAMES_SHOWN]))}{more}"
