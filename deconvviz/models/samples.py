"""Validation of images and labels before training."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from deconvviz.arguments import without_values
from deconvviz.errors import DataError, InputError, ModelError
from deconvviz.io.restoring import Restored
from deconvviz.models.randomness import generator
from deconvviz.recording.eval_mode import EvalMode

NO_LABEL = -1


def checked_samples(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor | None, unlabelled: str = "refuse"
) -> tuple[torch.Tensor, torch.Tensor]:
    """The images (N, C, H, W) and their labels (N,), without unlabelled ones if these are ignored.

    The model is run on one image, to find its number of classes.

    Raises:
        InputError: If images or labels have a wrong type.
        DataError: If pixels are not finite, if labels are missing, too few, too many or out of range, or if there are
            no images.
        ModelError: If the model has no parameters or does not return one row of logits per image.
    """
    _check_images(images)
    if labels is None:
        raise DataError(f"labels are missing: {len(images)} images, no labels")
    if not isinstance(labels, torch.Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        kind = labels.dtype if isinstance(labels, torch.Tensor) else type(labels).__name__
        raise InputError(f"labels are a tensor of whole numbers, not {kind}")
    if labels.shape != images.shape[:1]:
        raise DataError(f"{len(images)} images need labels of shape ({len(images)},), not {tuple(labels.shape)}")
    labels = labels.long()
    _check_labels(labels, count_classes(model, images), unlabelled)
    kept = labels != NO_LABEL
    if not kept.any():
        raise DataError(f"none of the {len(images)} images has a label")
    return (images, labels) if kept.all() else (images[kept], labels[kept])


def held_out_split(count: int, share: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of the images to train on and of those held out: a random `share`, at least one of each.

    >>> training, held_out = held_out_split(10, share=0.2, seed=0)
    >>> len(training), len(held_out), sorted(torch.cat([training, held_out]).tolist()) == list(range(10))
    (8, 2, True)
    """
    if count < 2:
        raise DataError(f"training needs two labelled images or more, one to hold out, not {count}")
    order = torch.randperm(count, generator=generator(seed, "validation"), device="cpu")
    held = min(max(round(count * share), 1), count - 1)
    return order[held:], order[:held]


def as_input(images: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """The images on the model's device and in its number type."""
    return images.to(first_parameter(model))


def first_parameter(model: nn.Module) -> nn.Parameter:
    """The parameter that tells the model's device and number type. Raises ModelError where there is none."""
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        raise ModelError(f"{type(model).__name__} has no parameters to train")
    return parameter


def count_classes(model: nn.Module, images: torch.Tensor) -> int:
    """The number of logits per image, from a run on the first image; modes are restored."""
    try:
        with Restored(EvalMode(model), torch.no_grad()):
            logits = cast(object, model(as_input(images[:1], model)))
    except RuntimeError as error:
        shape = " x ".join(map(str, images.shape[1:]))
        raise InputError(f"{type(model).__name__} cannot take images of {shape}: {error}") from error
    if not isinstance(logits, torch.Tensor) or logits.dim() != 2 or len(logits) != 1:
        output = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"{type(model).__name__} must give logits (1, classes) for one image, not {output}")
    return logits.shape[1]


def _check_images(images: torch.Tensor) -> None:
    if isinstance(images, torch.Tensor) and (odd := without_values(images)):
        raise InputError(f"images are a tensor of floating-point numbers, not {odd}")
    if not isinstance(images, torch.Tensor) or not images.is_floating_point():
        kind = images.dtype if isinstance(images, torch.Tensor) else type(images).__name__
        raise InputError(f"images are a tensor of floating-point numbers, not {kind}")
    if images.dim() != 4:
        raise InputError(f"images have the shape (N, C, H, W), not {tuple(images.shape)}")
    if images.numel() == 0:
        raise DataError(f"there are no pixels to train on: the images have the shape {tuple(images.shape)}")
    if not images.isfinite().all():
        bad = ~images.flatten(1).isfinite().all(dim=1)
        raise DataError(
            f"{int(bad.sum())} images hold NaN or infinite pixels, the first is image {int(bad.nonzero()[0])}"
        )


def _check_labels(labels: torch.Tensor, classes: int, unlabelled: str) -> None:
    outside = (labels >= classes) | (labels < NO_LABEL)
    if outside.any():
        first = int(outside.nonzero()[0])
        raise DataError(
            f"{int(outside.sum())} labels are outside 0 to {classes - 1}, the first is {int(labels[first])} "
            f"of image {first}"
        )
    missing = int((labels == NO_LABEL).sum())
    if missing and unlabelled == "refuse":
        raise DataError(
            f"{missing} of {len(labels)} images have no label ({NO_LABEL}); label them, or train with "
            f"unlabelled='ignore'"
        )
