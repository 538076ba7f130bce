"""The labels of a batch, for experiments that cannot do without."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deconvviz.arguments import described
from deconvviz.data.items import given_label
from deconvviz.data.naming import name_of_item
from deconvviz.errors import InputError


def required_labels(data: Any, numbers: Sequence[int], labels: Sequence[int | None]) -> list[int]:
    """The labels of the items with these numbers.

    Raises:
        InputError: If an item has none, or one that is no number of a class.
    """
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        number = numbers[list(labels).index(None)]
        _refuse_other_labels(data, number)
        raise InputError(
            f"item {name_of_item(data, number)} has no label; give (images, labels), a folder with a "
            f"sub-folder for each class, or a dataset whose items are (image, label)"
        )
    return known


def _refuse_other_labels(data: Any, number: int) -> None:
    """Raise InputError if an item has a label that is no number of a class."""
    shown = ""
    with contextlib.suppress(Exception):  # the data set is the caller's
        label = given_label(data[number])
        label = label.item() if isinstance(label, (Tensor, np.ndarray, np.generic)) else label
        shown = described(label) if isinstance(label, (str, float)) else ""
    if shown:
        raise InputError(
            f"the label of item {name_of_item(data, number)} is {shown}, and labels are numbers of classes, from 0"
        )
