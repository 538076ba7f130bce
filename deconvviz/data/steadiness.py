"""Whether a dataset gives the same image each time it is asked for one, as it must where images are read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from deconvviz.data.items import prepared_image
from deconvviz.data.naming import name_of_item
from deconvviz.errors import InputError
from deconvviz.recording.placement import Placement

TIMES, ITEMS = 4, 3


def changes(load: Callable[[], Tensor]) -> bool:
    """Whether an image changes when it is loaded again a few times.

    Example:
        >>> import torch
        >>> changes(lambda: torch.zeros(2)), changes(lambda: torch.rand(2))
        (False, True)
    """
    first = load()
    return any(again.shape != first.shape or not again.equal(first) for again in (load() for _ in range(TIMES)))


def check_steady(dataset: Any, numbers: Sequence[int], net: Any) -> None:
    """Raise InputError if one of a few items is another image each time it is read.

    numbers: the items; -1 for none.
    """
    preprocess = Placement.of(net.model).preprocess(net.preprocess)
    for number in sorted({*numbers} - {-1})[:ITEMS]:
        if changes(lambda: prepared_image(dataset[number], preprocess)):  # noqa: B023  called at once
            raise changed(name_of_item(dataset, number))


def changed(name: str) -> InputError:
    """The error for an item that changes, by its name."""
    return InputError(
        f"item {name} is another image each time it is read, as with random crops or flips, so what the scan found in "
        f"it is not there any more; leave random transforms out of the dataset and of preprocess, and scan again"
    )
