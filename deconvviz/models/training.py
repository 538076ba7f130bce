"""The trainer: from images and labels to weights, reproducible, and resumable after an interruption.

The loss is the cross-entropy of the softmax, computed from logits and so numerically stable, or the mean squared error
of its probabilities; averaged over the images of a step, plus the penalties. One epoch: shuffle, cut into steps,
augment, one optimiser step each; then measure on the held-out images, and on as many of the training images, in eval
mode and as they are, so that the two curves can be compared.

Refused before any training: images that are not finite or not (N, C, H, W); labels that are missing, too few or
out of range; unlabelled images, unless they are to be ignored. To add an optimiser, extend `_optimiser` and
`settings.OPTIMISERS`.

>>> generator = torch.Generator().manual_seed(0)
>>> images = torch.rand(40, 1, 2, 2, generator=generator)
>>> labels = (images.flatten(1).sum(1) > 2).long()
>>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
>>> settings = TrainingSettings(epochs=3, learning_rate=0.1, batch_size=8)
>>> result = train(model, images, labels, settings=settings, progress=False)
>>> len(result.curves.train_loss), result.kept_epoch
(3, 3)
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot
from tqdm import tqdm

from deconvviz.arguments import FLAG, MODULE, PATH, instance, optional, takes
from deconvviz.errors import CheckpointError, InputError
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.models.augmentation import augment
from deconvviz.models.checkpoints import CheckpointFolder, TrainingProgress, run_identity, snapshot
from deconvviz.models.evaluation import measured
from deconvviz.models.learning_curve_diagnosis import diagnose_fit
from deconvviz.models.mnist import architecture_metadata
from deconvviz.models.modes import keeping_modes
from deconvviz.models.randomness import generator, seed_global
from deconvviz.models.samples import as_input, checked_samples, first_parameter, held_out_split
from deconvviz.models.settings import TrainingSettings
from deconvviz.recording.random_state import forked
from deconvviz.results import LearningCurves

SETTINGS = instance("a TrainingSettings", TrainingSettings)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run; the trained model is the one that was passed in.

    Attributes:
        curves: The learning curves.
        best_epoch: The epoch, from 1, with the lowest validation loss.
        kept_epoch: The epoch whose weights the model has now: the best one with early stopping, else the last.
        stopped_early: Whether early stopping ended the run before the last epoch.
    """

    curves: LearningCurves
    best_epoch: int
    kept_epoch: int
    stopped_early: bool


@dataclass(frozen=True, kw_only=True)
class _Training:
    """What stays the same from epoch to epoch; `training` and `held_out` are indices of images."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    images: torch.Tensor
    labels: torch.Tensor
    training: torch.Tensor
    held_out: torch.Tensor
    settings: TrainingSettings

    @property
    def device(self) -> torch.device:
        return first_parameter(self.model).device


@takes(
    model=MODULE,
    settings=optional(instance("a TrainingSettings", TrainingSettings)),
    checkpoints=optional(PATH),
    progress=FLAG,
)
def train(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor | None,
    *,
    settings: TrainingSettings | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> TrainingResult:
    """Train `model`, in place and on its device, to classify the images.

    The caller's random state, the modules' modes and the number of threads are restored. Runs are reproducible bit for
    bit on a CPU with the same torch and the same number of threads; on a GPU, also use
    ``torch.use_deterministic_algorithms(True)``.

    Args:
        model: The classifier.
        images: (N, C, H, W), floating point.
        labels: (N,), whole numbers; -1 for none.
        settings: The settings.
        checkpoints: A folder for the weights of each epoch and the state. The same call again (same settings, data and
            initial weights) resumes after the last whole epoch and ends with the weights of an uninterrupted run; a
            finished run is only loaded. With a constant schedule, a run can also be continued for more epochs.
        progress: Whether to show a progress bar on standard error.

    Raises:
        InputError, DataError, ModelError: As `checked_samples`, before any training; InputError also if the loss is no
            longer finite, for example with too large a learning rate.
        CheckpointError: If the folder contains another run.
        OutputError: If another job trains there.
    """
    settings = settings or TrainingSettings()
    images, checked = checked_samples(model, images, labels, settings.unlabelled)
    training, held_out = held_out_split(len(images), settings.validation, settings.random_state)
    run = _Training(
        model=model,
        optimiser=_optimiser(model, settings),
        images=images,
        labels=checked,
        training=training,
        held_out=held_out,
        settings=settings,
    )
    folder = CheckpointFolder(checkpoints, run_identity(model, images, checked, settings)) if checkpoints else None
    with Restored(folder.alone() if folder else contextlib.nullcontext()):
        return _trained(run, folder, progress)


def _trained(run: _Training, folder: CheckpointFolder | None, progress: bool) -> TrainingResult:
    """Train from the folder's last epoch to the end."""
    model, settings = run.model, run.settings
    done = folder.resume(model, run.optimiser) if folder else TrainingProgress()
    if folder and done.epoch > settings.epochs:
        raise CheckpointError(f"{os.fspath(folder.path)!r} is at epoch {done.epoch}, past {settings.epochs}")
    settled = Restored(keeping_modes(model), torch.enable_grad(), forked([run.device]), _threads(settings.threads))
    with settled, _bar(run, done, progress) as bar:
        while done.epoch < settings.epochs and not _exhausted(done, settings):
            _train_epoch(run, done.epoch + 1, bar)
            _measure(run, done)
            if folder:
                folder.save(done, model, run.optimiser, architecture_metadata(model))
            bar.set_postfix(validation=f"{done.curves['validation_accuracy'][-1]:.2%}")
    if done.best_weights:
        model.load_state_dict(done.best_weights)
    return _training_result(done, settings)


def squared_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The sum over images of the mean over classes of ``(softmax - label)²``, where a label is 1 for its class.

    >>> squared_error(torch.zeros(3, 2), torch.tensor([0, 1, 1])).item()
    0.75
    """
    wanted = one_hot(labels, logits.shape[1])
    return (logits.softmax(1) - wanted).square().mean(1).sum()


LOSS_SUMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {  # over images, by `settings.LOSSES`
    "cross-entropy": functools.partial(cross_entropy, reduction="sum"),
    "mse": squared_error,
}


def penalty(model: nn.Module, l1: float, l2: float) -> torch.Tensor:
    """``l1 * sum |w| + l2 * sum w²`` over the trained parameters with two or more dimensions.

    These are the weights of linear and convolutional layers; biases and normalisation have one dimension.
    Its gradient is ``l1 * sign(w) + 2 * l2 * w``.

    >>> layer = nn.Linear(2, 1)
    >>> layer.weight.data = torch.tensor([[3.0, -4.0]])
    >>> penalty(layer, l1=1.0, l2=0.1).item()
    9.5
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad and weight.dim() >= 2]
    total = torch.zeros((), device=first_parameter(model).device, dtype=first_parameter(model).dtype)
    for weight in weights:
        total = total + l1 * weight.abs().sum() + l2 * weight.square().sum()
    return total


def _optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError(f"every parameter of {type(model).__name__} is frozen (requires_grad is False)")
    if settings.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate)
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=settings.learning_rate)
    momentum = settings.momentum if settings.optimiser == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=momentum)


def _train_epoch(run: _Training, epoch: int, bar: tqdm[NoReturn]) -> None:
    seed = run.settings.random_state
    order = run.training[torch.randperm(len(run.training), generator=generator(seed, "order", epoch), device="cpu")]
    movements = generator(seed, "augmentation", epoch)
    seed_global(run.device, seed, "dropout", epoch)
    steps = torch.split(order, _step_size(run.settings, len(order)))
    run.model.train()
    for number, step in enumerate(steps):
        _set_learning_rate(run, epochs_done=epoch - 1 + number / len(steps), step=1 / len(steps))
        run.optimiser.zero_grad()
        loss = _accumulate_gradient(run, step, movements)
        _refuse_divergence(loss, epoch, run.settings)
        run.optimiser.step()
        bar.update(len(step))
    run.optimiser.zero_grad()


def _accumulate_gradient(run: _Training, step: torch.Tensor, movements: torch.Generator) -> float:
    """Add the gradient of one step's loss to the parameters, piece by piece; return the loss."""
    settings, total = run.settings, 0.0
    for piece in torch.split(step, settings.batch_size):
        batch = run.images[piece]
        if settings.augments:
            batch = augment(batch, settings.rotation, settings.translation, settings.flip, movements)
        logits = run.model(as_input(batch, run.model))
        loss = LOSS_SUMS[settings.loss](logits, run.labels[piece].to(logits.device)) / len(step)
        loss.backward()
        total += loss.item()
    if settings.l1 or settings.l2:
        added = penalty(run.model, settings.l1, settings.l2)
        added.backward()
        total += added.item()
    return total


def _step_size(settings: TrainingSettings, count: int) -> int:
    return {"gradient-descent": count, "stochastic": 1}.get(settings.optimiser, settings.batch_size)


def _set_learning_rate(run: _Training, epochs_done: float, step: float) -> None:
    """Set it for a step of `step` epochs, after `epochs_done`. Unlike torch's schedulers it stores no state."""
    settings, factor = run.settings, 1.0
    if settings.schedule == "cosine":
        factor = (1 + math.cos(math.pi * epochs_done / settings.epochs)) / 2
    if settings.warm_up:
        factor *= min((epochs_done + step) / settings.warm_up, 1.0)
    for group in run.optimiser.param_groups:
        group["lr"] = settings.learning_rate * factor


def _measure(run: _Training, done: TrainingProgress) -> None:
    """Add one point to each curve, and keep the weights if early stopping may restore them."""
    comparable = run.training[: len(run.held_out)]
    for name, part in (("train", comparable), ("validation", run.held_out)):
        measures = measured(run.model, run.images[part], run.labels[part], batch_size=500)
        _refuse_divergence(measures.loss, done.epoch + 1, run.settings)
        done.curves[f"{name}_loss"].append(measures.loss)
        done.curves[f"{name}_accuracy"].append(measures.accuracy)
    if run.settings.patience and done.best_epoch == done.epoch:
        done.best_weights = snapshot(run.model)


def _refuse_divergence(loss: float, epoch: int, settings: TrainingSettings) -> None:
    if not math.isfinite(loss):
        raise InputError(
            f"the loss became {loss} in epoch {epoch}: training diverged, so lower the learning rate "
            f"(now {settings.learning_rate:g})"
        )


def _exhausted(done: TrainingProgress, settings: TrainingSettings) -> bool:
    return settings.patience is not None and done.epoch - done.best_epoch >= settings.patience


def _training_result(done: TrainingProgress, settings: TrainingSettings) -> TrainingResult:
    curves = {name: tuple(curve) for name, curve in done.curves.items()}
    diagnosis = diagnose_fit(
        curves["train_loss"], curves["validation_loss"], curves["train_accuracy"], curves["validation_accuracy"]
    )
    return TrainingResult(
        curves=LearningCurves(
            epochs=tuple(range(1, done.epoch + 1)), diagnosis=diagnosis, settings=settings.as_dict(), **curves
        ),
        best_epoch=done.best_epoch,
        kept_epoch=done.best_epoch if done.best_weights else done.epoch,
        stopped_early=done.epoch < settings.epochs,
    )


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _bar(run: _Training, done: TrainingProgress, shown: bool) -> tqdm[NoReturn]:
    count = len(run.training)
    return progress_bar(
        desc="training", total=run.settings.epochs * count, initial=done.epoch * count, unit=" images", shown=shown
    )
