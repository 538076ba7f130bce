"""A diagnosis of learning curves: one sentence about the fit, with the numbers that show it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deconvviz.errors import InputError

LOW_ACCURACY = 0.9  # a training accuracy below it is underfitting
WIDE_GAP = 0.03  # training accuracy minus validation accuracy above it is overfitting
RISE = 1.2  # so is a validation loss this many times its minimum ...
LOSS_GAP = 0.05  # ... when it is also this many nats above the training loss


def diagnose_fit(
    train_loss: Sequence[float],
    validation_loss: Sequence[float],
    train_accuracy: Sequence[float],
    validation_accuracy: Sequence[float],
    *,
    attainable: float = 1.0,
) -> str:
    """Underfitting, good fit or overfitting, from curves with one value per epoch.

    Losses are in nats, accuracies in [0, 1], all measured in eval mode on unaugmented images. The last epoch decides:

    - overfitting: the accuracy gap (training minus validation) exceeds `WIDE_GAP`, or the validation loss exceeds
      `RISE` times its minimum and is more than `LOSS_GAP` above the training loss;
    - otherwise underfitting: the training accuracy is below `LOW_ACCURACY` of what the training labels allow, unless
      the validation accuracy is not below it and the training loss is more than `RISE` times the validation loss, as
      with wrong training labels;
    - otherwise good fit.

    Wrong training labels cannot be predicted without memorising them: with 30 % of them, a training accuracy of 70 % is
    perfect. Where validation labels are right, the validation accuracy shows it; where they are as wrong as the others,
    only `attainable` can.

    Args:
        train_loss: Per epoch.
        validation_loss: Per epoch.
        train_accuracy: Per epoch.
        validation_accuracy: Per epoch.
        attainable: The largest training accuracy that the labels allow without memorising them, above 0 and up to 1.

    The thresholds are rules of thumb for problems that can be solved almost perfectly, such as MNIST.

    Raises:
        InputError: If curves are empty, differ in length or contain NaN, or `attainable` is out of range.

    Example:
        >>> diagnose_fit([0.9, 0.30], [0.9, 0.31], [0.7, 0.91], [0.7, 0.905])
        'good fit: at epoch 2 training and validation have accuracies of 91.0 % and 90.5 % and losses of ...'
    """
    curves = (train_loss, validation_loss, train_accuracy, validation_accuracy)
    lengths = [len(curve) for curve in curves]
    if len(set(lengths)) != 1 or not train_loss:
        raise InputError(
            f"curves have one value per epoch each and one epoch at least, not {', '.join(map(str, lengths))}"
        )
    if any(math.isnan(value) for curve in curves for value in curve):
        raise InputError("curves with NaN cannot be judged")
    if not 0 < attainable <= 1:
        raise InputError(f"attainable is an accuracy above 0 and up to 1, not {attainable!r}")
    last = len(train_loss)
    best = min(range(last), key=lambda epoch: validation_loss[epoch])
    lowest, loss, train = validation_loss[best], validation_loss[-1], train_loss[-1]
    gap = train_accuracy[-1] - validation_accuracy[-1]
    losses = f"losses of {train:.3f} and {loss:.3f}"
    accuracies = f"{100 * train_accuracy[-1]:.1f} % and {100 * validation_accuracy[-1]:.1f} %"
    if loss > RISE * lowest and loss - train > LOSS_GAP:
        return (
            f"overfitting: the validation loss rose from {lowest:.3f} at epoch {best + 1} to {loss:.3f} at "
            f"epoch {last}, where the training loss is {train:.3f}; the accuracies are {accuracies}"
        )
    state = f"at epoch {last} training and validation have accuracies of {accuracies} and {losses}"
    if gap > WIDE_GAP:
        return f"overfitting: {state}; the accuracies are {100 * gap:.1f} points apart"
    if train_accuracy[-1] > attainable + WIDE_GAP:
        return f"overfitting: {state}; the labels allow {100 * attainable:.0f} % without memorising wrong ones"
    if train_accuracy[-1] >= LOW_ACCURACY * attainable:
        allowed = "" if attainable == 1 else f"; the labels allow {100 * attainable:.0f} %"
        return f"good fit: {state}{allowed}"
    if validation_accuracy[-1] >= LOW_ACCURACY and train > RISE * loss:
        return f"good fit: {state}; what is missing on the training labels is right on the others, as with wrong labels"
    below = f"{100 * LOW_ACCURACY:.0f} %" + (
        "" if attainable == 1 else f" of the {100 * attainable:.0f} % that the labels allow"
    )
    return f"underfitting: {state}; the training accuracy is below {below}"
