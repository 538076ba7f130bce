"""The settings of a training run, as one frozen value that is stored with the weights."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from deconvviz.arguments import described, known
from deconvviz.errors import InputError

OPTIMISERS = ("gradient-descent", "mini-batch", "stochastic", "momentum", "rmsprop", "adam")
LOSSES = ("cross-entropy", "mse")
SCHEDULES = ("constant", "cosine")
UNLABELLED = ("refuse", "ignore")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The settings of a training run; the same settings, data and initial weights reproduce the same weights.

    Args:
        optimiser: "gradient-descent" (one step per epoch, on the gradient of the whole training set), "mini-batch" (a
            step per batch), "stochastic" (a step per image), "momentum" (mini-batches, with `momentum`), "rmsprop" or
            "adam" (mini-batches, with torch's constants).
        loss: What the steps lower: "cross-entropy" of the softmax, or "mse", the mean squared difference between the
            softmax and the label (1 for its class, 0 for the others). The second is smaller and has smaller gradients,
            above all where the network is sure and wrong. Curves and early stopping measure the cross-entropy of both,
            so that runs can be compared.
        learning_rate: The step size, before the schedule.
        batch_size: Images per mini-batch. Gradient descent only splits its pass over the data by it; stochastic ignores
            it.
        epochs: Maximum number of passes over the training images.
        momentum: Share of the last step that goes into the next, in [0, 1).
        schedule: "constant", or "cosine" from `learning_rate` down to zero at the last step (Loshchilov and Hutter
            2017, one cycle).
        warm_up: Number of epochs over which the learning rate rises from zero in equal steps. Without it, Adam's large
            first steps kill many rectifiers.
        l1: Adds ``l1 * sum abs(w)`` over the weights of linear and convolutional layers to the loss, without biases and
            normalisation.
        l2: Adds ``l2 * sum w²`` over the same weights.
        patience: Early stopping after this many epochs in a row without a lower validation loss; the weights of the
            best epoch are restored. None trains all epochs and keeps the last weights.
        validation: Share of the images held out for the validation curves, in (0, 1).
        rotation: Augmentation: an angle up to ±rotation degrees, drawn for every image and epoch.
        translation: Augmentation: a shift of whole pixels up to ±translation on each axis.
        flip: Augmentation: a mirror image with probability one half.
        unlabelled: "refuse" or "ignore" images whose label is -1.
        random_state: Seed of the held-out images, their order in each epoch, augmentation and dropout.
        threads: Number of CPU threads, on which the last bits of a sum depend; None for torch's number.

    Raises:
        InputError: If a value is out of range.

    Example:
        >>> TrainingSettings(optimiser="adagrad")
        Traceback (most recent call last):
        deconvviz.errors.InputError: optimiser is one of gradient-descent, mini-batch, ..., adam, not 'adagrad'
    """

    optimiser: str = "adam"
    loss: str = "cross-entropy"
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
        choices_of = {"optimiser": OPTIMISERS, "loss": LOSSES, "schedule": SCHEDULES, "unlabelled": UNLABELLED}
        for name, choices in choices_of.items():
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
