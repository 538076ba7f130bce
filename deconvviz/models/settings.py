"""How to train: every piece that a run can be asked for, in one frozen value, stored with the weights."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from deconvviz.arguments import described, known
from deconvviz.errors import InputError

OPTIMISERS = ("gradient-descent", "mini-batch", "stochastic", "momentum", "rmsprop", "adam")
SCHEDULES = ("constant", "cosine")
UNLABELLED = ("refuse", "ignore")


@dataclass(frozen=True)
class TrainingSettings:
    """What a training does; the same settings, data and initial weights give the same weights again.

    optimiser: "gradient-descent" (one step an epoch, on the gradient of the whole training set),
        "mini-batch" (a step per batch), "stochastic" (a step per image), "momentum" (mini-batches, with
        `momentum`), "rmsprop" or "adam" (mini-batches, with torch's constants).
    learning_rate: the step size, before the schedule.
    batch_size: images in a mini-batch. Gradient descent only cuts its pass over the data with it; stochastic
        does not read it.
    epochs: passes over the training images, at most.
    momentum: share of the last step that goes into the next, in [0, 1).
    schedule: "constant", or "cosine" from `learning_rate` down to zero at the last step (Loshchilov and
        Hutter 2017, one cycle).
    warm_up: over this many epochs the learning rate first rises from zero in equal steps. Without it, the
        large first steps of Adam leave many rectifiers that never fire again.
    l1, l2: the loss gains ``l1 * sum |w| + l2 * sum w²`` over the weights of linear and convolutional layers,
        not over biases and normalisation.
    patience: early stopping, after this many epochs in a row without a lower validation loss, and then the
        weights of the best epoch are restored; None trains all epochs and keeps the last weights.
    validation: share of the images held out for the validation curves, in (0, 1).
    rotation, translation, flip: augmentation, drawn anew for every image and epoch: an angle in degrees up to
        ±rotation, a shift of whole pixels up to ±translation on each axis, a mirror image every second time.
    unlabelled: what to do with images whose label is -1: "refuse" or "ignore" them.
    random_state: decides the held-out images, their order in each epoch, augmentation and dropout.
    threads: how many CPU threads train. The last bits of a sum depend on it; None leaves torch's number.

    Raises InputError for a value out of range.

    >>> TrainingSettings(optimiser="adagrad")
    Traceback (most recent call last):
    deconvviz.errors.InputError: optimiser is one of gradient-descent, mini-batch, ..., adam, not 'adagrad'
    """

    optimiser: str = "adam"
    learning_rate: float = 1e-3
    batch_size: int = 128
    epochs: int = 10
    momentum: float = 0.9
    schedule: str = "constant"
    warm_up: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    patience: int | None = None
    validation: float = 0.1
    rotation: float = 0.0
    translation: int = 0
    flip: bool = False
    unlabelled: str = "refuse"
    random_state: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (("optimiser", OPTIMISERS), ("schedule", SCHEDULES), ("unlabelled", UNLABELLED)):
            if not known(getattr(self, name), choices):
                raise InputError(f"{name} is one of {', '.join(choices)}, not {described(getattr(self, name))}")
        for name in ("batch_size", "epochs", "patience", "threads"):
            value = getattr(self, name)
            optional = name in ("patience", "threads")
            if not (optional and value is None) and (not _is_whole(value) or value < 1):
                raise InputError(f"{name} is a whole number from 1{' or None' * optional}, not {described(value)}")
        for name in ("random_state", "translation"):
            if not _is_whole(getattr(self, name)) or getattr(self, name) < 0:
                raise InputError(f"{name} is a whole number from 0, not {described(getattr(self, name))}")
        for name in ("learning_rate", "momentum", "validation", "warm_up", "l1", "l2", "rotation"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise InputError(f"{name} is a finite number, not {described(value)}")
        for name, good, wanted in (
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "in [0, 1)"),
            ("validation", 0 < self.validation < 1, "in (0, 1)"),
            ("warm_up", self.warm_up >= 0, "of epochs from 0"),
            ("l1", self.l1 >= 0, "from 0"),
            ("l2", self.l2 >= 0, "from 0"),
            ("rotation", 0 <= self.rotation <= 180, "in [0, 180] degrees"),
        ):
            if not good:
                raise InputError(f"{name} is a number {wanted}, not {described(getattr(self, name))}")

    @property
    def augments(self) -> bool:
        """Whether training images are changed at all."""
        return bool(self.rotation or self.translation or self.flip)

    def as_dict(self) -> dict[str, Any]:
        """The settings by name, ready for JSON."""
        return dataclasses.asdict(self)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
