"""The labels of a batch, for experiments that cannot do without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deconvviz.data.naming import name_of_item
from deconvviz.errors import InputError


def required_labels(data: Any, numbers: Sequence[int], labels: Sequence[int | None]) -> list[int]:
    """The labels of the items with these numbers.

    Raises:
        InputError: If an item has none.
    """
    known = [label for label in labels if label is not None]
    if len(known) < len(labels):
        number = numbers[list(labels).index(None)]
        raise InputError(
            f"item {name_of_item(data, number)} has no label; give (images, labels), a folder with a "
            f"sub-folder for each class, or a dataset whose items are (image, label)"
        )
    return known
