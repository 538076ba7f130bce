"""The learning curves of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deconvviz.results.base import Result


@dataclass(frozen=True, kw_only=True)
class LearningCurves(Result):
    """The course of a training run, one entry per epoch, and a diagnosis of the fit.

    Attributes:
        epochs: Epoch numbers.
        train_loss: Loss on the training images.
        validation_loss: Loss on the held-out images.
        train_accuracy: Accuracy on the training images, in [0, 1].
        validation_accuracy: Accuracy on the held-out images, in [0, 1].
        diagnosis: One sentence: underfitting, good fit or overfitting, with the numbers that show it.
        settings: The settings of the run.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    diagnosis: str
    settings: dict[str, Any] = field(default_factory=dict)
