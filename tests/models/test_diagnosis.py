"""What learning curves are said to mean, with the numbers."""

from __future__ import annotations

import math

import pytest

from deconvviz.errors import InputError
from deconvviz.models import diagnose_fit


@pytest.mark.parametrize(
    ("curves", "parts"),
    [
        (
            ([1.0, 0.05, 0.02], [1.0, 0.06, 0.03], [0.6, 0.98, 0.995], [0.6, 0.97, 0.99]),
            ("good fit: at epoch 3 ", " accuracies of 99.5 % and 99.0 % and losses of 0.020 and 0.030"),
        ),
        (
            ([2.3, 2.1], [2.3, 2.2], [0.1, 0.25], [0.1, 0.24]),
            ("underfitting: at epoch 2 ", " 25.0 % and 24.0 % and losses of 2.100 and 2.200; ", " below 90 %"),
        ),
        (
            ([1.0, 0.3, 0.01], [1.0, 0.4, 0.9], [0.6, 0.9, 1.0], [0.6, 0.9, 0.91]),
            (
                "overfitting: the validation loss rose from 0.400 at epoch 2 to 0.900 at epoch 3, ",
                " the training loss is 0.010; the accuracies are 100.0 % and 91.0 %",
            ),
        ),
        (
            ([0.5, 0.2], [0.6, 0.5], [0.8, 0.95], [0.8, 0.85]),
            ("overfitting: at epoch 2 ", " of 0.200 and 0.500; the accuracies are 10.0 points apart"),
        ),
        # A validation loss that wavers near zero is no overfitting.
        (([0.02, 0.015], [0.02, 0.026], [0.99, 0.995], [0.99, 0.99]), ("good fit: ", " of 0.015 and 0.026")),
    ],
)
def test_curves_are_diagnosed_with_their_numbers(curves: tuple, parts: tuple[str, ...]):
    sentence = diagnose_fit(*curves)
    assert sentence.startswith(parts[0])
    assert sentence.endswith(parts[-1])
    assert all(part in sentence for part in parts)


def test_curves_that_cannot_be_judged_are_refused():
    with pytest.raises(InputError, match="one value per epoch each and one epoch at least, not 0, 0, 0, 0"):
        diagnose_fit([], [], [], [])
    with pytest.raises(InputError, match="not 2, 1, 1, 1"):
        diagnose_fit([1.0, 2.0], [1.0], [1.0], [1.0])
    with pytest.raises(InputError, match="NaN"):
        diagnose_fit([math.nan], [1.0], [1.0], [1.0])
