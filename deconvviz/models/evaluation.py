"""Evaluation of a classifier: loss, accuracy, and uncertainty by Monte Carlo dropout."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deconvviz.arguments import FLAG, MODULE, RANDOM_STATE, TENSOR, described, takes, whole_from
from deconvviz.errors import InputError, ModelError
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.models.randomness import seed_global
from deconvviz.models.samples import as_input, checked_samples, first_parameter
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.placement import where_double
from deconvviz.recording.random_state import forked
from deconvviz.results.summary import summary


@dataclass(frozen=True)
class Evaluation:
    """A classifier's performance on labelled images.

    Attributes:
        loss: Mean cross-entropy in nats.
        accuracy: Share of correct answers, in [0, 1].
        count: Number of images.
        wrong: Indices of the misclassified images.
    """

    loss: float
    accuracy: float
    count: int
    wrong: tuple[int, ...]

    __repr__ = summary


@dataclass(frozen=True)
class DropoutPrediction:
    """Predictions with dropout left on, over many draws (Gal and Ghahramani 2016).

    Attributes:
        mean: (N, classes), the mean class probabilities.
        std: (N, classes), their standard deviation over the draws (divided by the number of draws).
        entropy: (N,), the entropy of the mean in nats: 0 when certain, log(classes) when undecided.
    """

    mean: torch.Tensor
    std: torch.Tensor
    entropy: torch.Tensor

    __repr__ = summary


@takes(model=MODULE, batch_size=whole_from(1), progress=FLAG)
def evaluate(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, batch_size: int = 500, progress: bool = True
) -> Evaluation:
    """Loss and accuracy of `model` in eval mode, on images (N, C, H, W) with labels (N,). Its modes are restored.

    Args:
        model: The classifier.
        images: (N, C, H, W), floating point.
        labels: (N,), whole numbers.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
        >>> _ = nn.init.zeros_(model[1].weight), nn.init.zeros_(model[1].bias)
        >>> evaluate(model, torch.zeros(4, 1, 1, 1), torch.tensor([0, 0, 0, 1]))
        Evaluation(loss=0.693147..., accuracy=0.75, count=4, wrong=(3,))
    """
    checked_samples(model, images, labels)
    return measured(model, images, labels, batch_size, progress)


def measured(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int, progress: bool = False
) -> Evaluation:
    """As `evaluate`, for samples that have been checked."""
    total, right = 0.0, []
    with Restored(EvalMode(model), torch.no_grad()):
        steps = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        for some, wanted in progress_bar(steps, unit="batch", desc="evaluate", shown=progress):
            logits = where_double(model(as_input(some, model)))
            wanted = wanted.to(logits.device)  # noqa: PLW2901
            total += cross_entropy(logits.double(), wanted, reduction="sum").item()
            right.append((logits.argmax(1) == wanted).cpu())
    correct = torch.cat(right)
    wrong = tuple(torch.nonzero(~correct).flatten().tolist())
    return Evaluation(total / len(images), correct.double().mean().item(), len(images), wrong)


def dropout_layers(model: nn.Module) -> list[nn.Module]:
    """The dropout layers of a model that drop anything.

    Raises:
        ModelError: If there are none. Functional dropout cannot be detected.
    """
    kind = nn.modules.dropout._DropoutNd
    dropouts: list[nn.Module] = [module for module in model.modules() if isinstance(module, kind) and module.p]
    if not dropouts:
        raise ModelError(f"{type(model).__name__} has no dropout layer, so every draw would be the same")
    return dropouts


@takes(model=MODULE, inputs=TENSOR, random_state=RANDOM_STATE, batch_size=whole_from(1), progress=FLAG)
def mc_dropout_predict(
    model: nn.Module,
    inputs: torch.Tensor,
    *,
    samples: int = 50,
    random_state: int = 0,
    batch_size: int = 500,
    progress: bool = True,
) -> DropoutPrediction:
    """Predict with dropout left on, and measure how far the draws agree.

    Only dropout layers run in train mode; batch normalisation and the rest stay in eval mode. Afterwards all modes and
    the global random state are restored. The same random_state and batch size give the same draws.

    Args:
        model: The classifier.
        images: (N, C, H, W), floating point.
        samples: Number of draws.
        random_state: Seed of the draws.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Raises:
        ModelError: If the model has no dropout layers (functional dropout cannot be detected).
        InputError: If the images are not a tensor (N, C, H, W), or samples is below 1.
    """
    if not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples is a whole number from 1, not {described(samples)}")
    if not isinstance(inputs, torch.Tensor) or inputs.dim() != 4 or not len(inputs):
        shape = tuple(inputs.shape) if isinstance(inputs, torch.Tensor) else type(inputs).__name__
        raise InputError(f"images have the shape (N, C, H, W) with N from 1, not {shape}")
    dropouts = dropout_layers(model)
    device = first_parameter(model).device
    means, deviations = [], []
    with Restored(EvalMode(model), forked([device]), torch.no_grad()):
        for dropout in dropouts:
            dropout.train()
        seed_global(device, random_state, "Monte-Carlo dropout")
        for some in progress_bar(torch.split(inputs, batch_size), unit="batch", desc="dropout", shown=progress):
            batch = as_input(some, model)
            draws = torch.stack([where_double(model(batch)).double().softmax(1).cpu() for _ in range(samples)])
            means.append(draws.mean(0))
            deviations.append(draws.std(0, correction=0))
    mean = torch.cat(means)
    return DropoutPrediction(mean, torch.cat(deviations), torch.special.entr(mean).sum(1))
