"""The folder of a training run: the weights of each epoch, and the state from which an interrupted run resumes.

::

    epoch-001.safetensors   weights after the first epoch, readable with `load_weights`
    epoch-002.safetensors
    state.pt                weights, optimiser and curves after the last whole epoch; tensors and plain values

Files are written atomically, the state last, so a run may be killed at any moment. The state records the settings, the
data and the model that it belongs to; others are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from deconvviz.errors import CheckpointError, MissingFileError, left_out
from deconvviz.io.atomic import check_writable, remove_leftovers, replacing
from deconvviz.io.locks import alone
from deconvviz.io.ownership import is_ours
from deconvviz.io.safetensors_files import checked
from deconvviz.models.matching import Weights
from deconvviz.models.settings import TrainingSettings
from deconvviz.models.torch_files import load_plain
from deconvviz.models.weights import check_fit, copy_weights, read_weights, save_weights

CHECKPOINT_FORMAT = 1  # raised when a state can no longer be read by older code
STATE = "state.pt"
RUN = "run"  # the metadata entry of an epoch's weights that says of which run they are
WEIGHT_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".pth.tar", ".th", ".bin")  # of files with weights
STATE_ENTRIES = {  # of the state
    "deconvviz": int,
    "identity": dict[str, str],
    "curves": dict[str, tuple[float, ...]],
    "best_weights": dict[str, torch.Tensor] | None,
    "weights": dict[str, torch.Tensor],
    "optimiser": dict[str, Any],
}
CURVES = ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy")


class HiddenCheckpointsWarning(UserWarning):
    """A folder of checkpoints holds hidden files of weights, which are left out."""


@dataclass
class TrainingProgress:
    """A run's progress: its curves, and the best weights if early stopping restores them."""

    curves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CURVES})
    best_weights: Weights | None = None

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return len(self.curves["validation_loss"])

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the lowest validation loss; the first of equals, 0 before any."""
        losses = self.curves["validation_loss"]
        return losses.index(min(losses)) + 1 if losses else 0


def checkpoint_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The weights files of a folder, by their `WEIGHT_ENDINGS`, in natural order: ``epoch-9`` before ``epoch-10``.

    The trainer's own state is not among them.

    Raises:
        MissingFileError: If the folder does not exist.
        CheckpointError: If it contains no weights files.
    """
    shown = os.fspath(folder)
    if not os.path.isdir(folder):  # False for a name that no file can have
        raise MissingFileError(f"there is no folder {shown!r} of checkpoints")
    named = [path for path in Path(folder).iterdir() if path.name.endswith(WEIGHT_ENDINGS) and path.is_file()]
    files = [path for path in named if path.name != STATE and not path.name.startswith(".")]
    hidden = [path.name for path in named if path.name.startswith(".")]
    if hidden and not files:
        raise CheckpointError(f"the folder {shown!r} holds no checkpoints but hidden ones, which are left out")
    if hidden:
        message = left_out(folder, dict.fromkeys(hidden, "hidden"))
        warnings.warn(message, HiddenCheckpointsWarning, stacklevel=2)
    if not files:
        raise CheckpointError(f"the folder {shown!r} holds no checkpoints: no file ends in {', '.join(WEIGHT_ENDINGS)}")
    return sorted(files, key=lambda path: [(int(n or -1), text) for text, n in re.findall(r"(\D*)(\d*)", path.name)])


def checkpoint_name(path: Path) -> str:
    """The name of a weights file without its ending."""
    ending = max((ending for ending in WEIGHT_ENDINGS if path.name.endswith(ending)), key=len, default="")
    return path.name.removesuffix(ending)


def run_identity(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: TrainingSettings
) -> dict[str, str]:
    """What decides the outcome of a run, by name: settings, data, and the model with its initial weights."""
    identity = {f"setting {name}": repr(value) for name, value in settings.as_dict().items()}
    if settings.loss == "cross-entropy":
        del identity["setting loss"]  # the only loss of older versions, whose runs can still be resumed
    if settings.schedule == "constant":
        del identity["setting epochs"]  # more epochs then continue the same run
    identity["images"] = f"{' x '.join(map(str, images.shape))} of {images.dtype}, digest {_digest(images)}"
    identity["labels"] = f"{len(labels)}, digest {_digest(labels)}"
    identity["model"] = repr(model)
    identity["initial weights"] = f"digest {_digest(*model.state_dict().values())}"
    return identity


def snapshot(model: nn.Module) -> Weights:
    """A copy of the model's parameters and buffers, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


class CheckpointFolder:
    """The folder of a run's weights and state, created when the first epoch is saved."""

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, str]) -> None:
        self.path = Path(path)
        self.identity = dict(identity)
        self.run = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]
        if os.path.exists(path) and not self.path.is_dir():
            raise CheckpointError(f"{os.fspath(path)!r} is a file; checkpoints need a folder")
        check_writable(self.path / STATE)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Lock the folder for this job. Raises OutputError if another job trains there."""
        return alone(self.path)

    def save(
        self, progress: TrainingProgress, model: nn.Module, optimiser: torch.optim.Optimizer, metadata: dict[str, str]
    ) -> None:
        """Write the weights of the epoch just done, then the state."""
        save_weights(model, self.path / f"epoch-{progress.epoch:03d}.safetensors", metadata={**metadata, RUN: self.run})
        state = {
            "deconvviz": CHECKPOINT_FORMAT,
            "identity": self.identity,
            "curves": progress.curves,
            "best_weights": progress.best_weights,
            "weights": snapshot(model),
            "optimiser": optimiser.state_dict(),
        }
        with replacing(self.path / STATE) as beside:
            # Where the disk is full, writing bytes says so and torch.save does not; given a path, it would also put the
            # temporary name into the bytes.
            torch.save(state, content := io.BytesIO())
            beside.write_bytes(content.getbuffer())

    def resume(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> TrainingProgress:
        """Restore model and optimiser to the state of the run in this folder; do nothing if there is none.

        Raises CheckpointError if the state cannot be read or belongs to another run, or if weights in the place of a
        later epoch belong to another run or were changed.
        """
        if not (self.path / STATE).exists():
            self._check_later(0)
            self._remove_leftovers()
            return TrainingProgress()
        state = self._read()
        differences = [
            name
            for name in {**self.identity, **state["identity"]}
            if self.identity.get(name) != state["identity"].get(name)
        ]
        if differences:
            name = differences[0]
            more = f", {', '.join(differences[1:])}" if differences[1:] else ""
            raise CheckpointError(
                f"{os.fspath(self.path)!r} holds another run, with other {name}{more}: "
                f"{_short_digest(state['identity'].get(name))} then, {_short_digest(self.identity.get(name))} now; "
                f"repeat that call exactly, or choose another folder"
            )
        name = repr(os.fspath(self.path / STATE))
        check_fit(model, state["best_weights"] or state["weights"], name)
        entries = self._optimiser_entries(state["optimiser"], optimiser)
        self._check_later(len(state["curves"]["validation_loss"]))
        copy_weights(model, state["weights"], name)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})
        self._remove_leftovers()
        return TrainingProgress(state["curves"], state["best_weights"])

    def _check_later(self, epoch: int) -> None:
        """Raise CheckpointError if there are weights of an epoch after `epoch` that this run did not write."""
        for path in sorted(self.path.glob("epoch-*.safetensors")):
            number = path.stem.removeprefix("epoch-")
            if number.isdecimal() and int(number) > epoch and not self._is_own(path):
                raise CheckpointError(f"{os.fspath(path)!r} is not of this run, or was changed; choose another folder")

    def _is_own(self, path: Path) -> bool:
        return is_ours(path) and read_weights(path)[1].get(RUN) == self.run

    def _read(self) -> dict[str, Any]:
        path = self.path / STATE
        state = load_plain(path)
        version = state.get("deconvviz", CHECKPOINT_FORMAT) if isinstance(state, dict) else CHECKPOINT_FORMAT
        if isinstance(version, int) and version != CHECKPOINT_FORMAT:
            raise CheckpointError(f"{os.fspath(path)!r} has format {version!r}; this version reads {CHECKPOINT_FORMAT}")
        if not isinstance(state, dict) or set(state) != set(STATE_ENTRIES):
            raise self._no_state()
        try:
            for name, hint in STATE_ENTRIES.items():
                checked(state[name], hint, name)
            if set(state["curves"]) != set(CURVES) or len({len(curve) for curve in state["curves"].values()}) > 1:
                raise TypeError(f"curves are not {', '.join(CURVES)} of one length")
        except TypeError as error:
            raise self._no_state(f" ({error})") from error
        return state

    def _optimiser_entries(
        self, optimiser_state: dict[str, Any], optimiser: torch.optim.Optimizer
    ) -> dict[int, dict[str, Any]]:
        """The checked state that an optimiser keeps of each parameter; everything else follows from the settings."""
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        wanted = _kept_by(optimiser)
        try:
            entries: dict[int, dict[str, Any]] = checked(
                optimiser_state.get("state"), dict[int, dict[str, Any]], "optimiser"
            )
            for number, kept in entries.items():
                if not 0 <= number < len(parameters) or set(kept) != set(wanted):
                    raise TypeError(f"the optimiser has {', '.join(kept)} of parameter {number}")
                for name, value in kept.items():
                    shape = parameters[number].shape if wanted[name] == (1,) else wanted[name]
                    if getattr(value, "shape", None) != shape:
                        raise TypeError(f"the optimiser's {name} does not fit parameter {number}")
                    if value is not None and not (value.isfinite().all() and (value.ndim or value >= 0)):
                        raise TypeError(f"the optimiser's {name} of parameter {number} holds impossible values")
        except TypeError as error:
            raise self._no_state(f" ({error})") from error
        return entries

    def _no_state(self, why: str = "") -> CheckpointError:
        return CheckpointError(f"{os.fspath(self.path / STATE)!r} is no training state{why}; choose another folder")

    def _remove_leftovers(self) -> None:
        remove_leftovers(self.path, rf"epoch-\d+\.safetensors|{re.escape(STATE)}")


def _kept_by(optimiser: torch.optim.Optimizer) -> dict[str, tuple[int, ...] | None]:
    """Names and shapes of what such an optimiser keeps for a parameter of shape (1,) after a step."""
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    known = inspect.signature(type(optimiser)).parameters
    options = {name: value for name, value in optimiser.defaults.items() if name in known}
    fresh = type(optimiser)([parameter], **options)
    fresh.step()
    return {name: getattr(value, "shape", None) for name, value in fresh.state[parameter].items()}


def _digest(*tensors: torch.Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _short_digest(value: str | None) -> str:
    if value is None:
        return "not there"
    text = " ".join(value.split())
    return text if len(text) <= 120 else f"{text[:117]}..."
