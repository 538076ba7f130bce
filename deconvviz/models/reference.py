"""The origin of the bundled weights, and how to reproduce them.

>>> from deconvviz.models.weights import read_weights
>>> from importlib import resources
>>> _, metadata = read_weights(str(resources.files("deconvviz.models") / BUNDLED))
>>> json.loads(metadata["training"])["settings"].items() <= REFERENCE.as_dict().items()
True
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from deconvviz.arguments import MODULE, PATH, RANDOM_STATE, takes
from deconvviz.io.restoring import Restored
from deconvviz.models.evaluation import Evaluation
from deconvviz.models.mnist import BUNDLED, MnistCNN, architecture_metadata
from deconvviz.models.randomness import seed_global
from deconvviz.models.settings import TrainingSettings
from deconvviz.models.training import TrainingResult, train
from deconvviz.models.weights import save_weights
from deconvviz.recording.random_state import forked

__all__ = ["BUNDLED", "REFERENCE", "initialised", "save_trained", "train_mnist"]

REFERENCE = TrainingSettings(
    optimiser="adam",
    learning_rate=1e-3,
    batch_size=64,
    epochs=20,
    schedule="cosine",
    warm_up=2.0,
    patience=8,
    validation=1 / 12,
    rotation=10.0,
    translation=2,
    random_state=0,
    threads=2,
)
"""What the bundled weights were trained with, on MNIST's 60,000 training images, 5,000 of them held out."""


@takes(random_state=RANDOM_STATE)
def initialised(random_state: int, **architecture: Any) -> MnistCNN:
    """An untrained `MnistCNN` whose weights depend only on `random_state`; the global random state is unchanged.

    Example:
        >>> torch.equal(initialised(3).conv1.weight, initialised(3).conv1.weight)
        True
    """
    cpu = torch.device("cpu")
    with Restored(forked([cpu])):
        seed_global(cpu, random_state, "initial weights")
        return MnistCNN(**architecture)


def train_mnist(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    settings: TrainingSettings = REFERENCE,
    checkpoints: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **architecture: Any,
) -> tuple[MnistCNN, TrainingResult]:
    """Train a new `MnistCNN` on images (N, 1, 28, 28) in [0, 1], and return it in eval mode with the training result.

    `architecture` holds the options of `MnistCNN`. All random numbers come from the settings' random_state. With
    `REFERENCE` and MNIST's training images, this reproduces the bundled weights. Everything else is as for `train`.
    """
    model = initialised(settings.random_state, **architecture)
    result = train(model, images, labels, settings=settings, checkpoints=checkpoints, progress=progress)
    return model.eval(), result


@takes(model=MODULE, path=PATH)
def save_trained(
    model: MnistCNN, path: str | os.PathLike[str], result: TrainingResult, *, test: Evaluation | None = None
) -> Path:
    """Save weights with their origin, so that `mnist_cnn(weights=path)` loads them.

    The metadata gets two JSON entries: "architecture", and "training" with the settings, the kept epoch, the validation
    (and, if given, test) loss and accuracy, and the torch version.
    """
    curves, kept = result.curves, result.kept_epoch - 1
    training: dict[str, Any] = {
        "settings": curves.settings,
        "epochs": len(curves.epochs),
        "kept_epoch": result.kept_epoch,
        "validation": {"loss": curves.validation_loss[kept], "accuracy": curves.validation_accuracy[kept]},
        "torch": str(torch.__version__),
    }
    if test is not None:
        training["test"] = {"loss": test.loss, "accuracy": test.accuracy, "images": test.count}
    return save_weights(model, path, metadata={**architecture_metadata(model), "training": json.dumps(training)})
