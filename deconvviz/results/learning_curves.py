"""What a training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from deconvviz.results.base import Result


@dataclass(frozen=True)
class LearningCurves(Result):
    """How a training went, one entry per epoch, with what the curves say about the fit.

    diagnosis: one sentence: underfitting, good fit or overfitting, with the numbers that say so.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]  # in [0, 1]
    validation_accuracy: tuple[float, ...]
    diagnosis: str
    settings: dict[str, Any] = field(default_factory=dict)
