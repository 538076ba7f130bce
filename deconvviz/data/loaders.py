"""The items behind a `torch.utils.data.DataLoader`, which gives batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
    default_convert,
)

from deconvviz.data.batches import is_indexed
from deconvviz.errors import InputError


def items_of(loader: DataLoader[Any]) -> Any:
    """The items of a loader, each alone: those of its dataset, by number if the loader gives none of them twice.

    The order in which the loader would give them does not matter. A `collate_fn` of the user's own makes each item as
    it would make a batch of one. Items that `drop_last` leaves out are there.
    """
    sampler, order = loader.sampler, loader.batch_sampler
    data: Any = loader.dataset
    if loader.collate_fn not in (default_collate, default_convert):
        collated = CollatedStream if isinstance(data, IterableDataset) else Collated
        data = collated(data, loader.collate_fn, order is not None)
    if not is_indexed(data):
        return data
    if type(order) not in (BatchSampler, type(None)):
        return Drawn(data, order)
    if type(sampler) is SubsetRandomSampler:
        return Subset(data, sorted(sampler.indices))
    shuffles = type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(data)
    each_once = shuffles or type(sampler) in (SequentialSampler, DistributedSampler)
    return data if each_once else Drawn(data, [sampler])


class Collated(Dataset[Any]):
    """A dataset whose items pass a loader's `collate_fn`, each alone."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], batched: bool) -> None:
        self.dataset, self.collate, self.batched = dataset, collate, batched

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return collated(self.dataset[index], self.collate, self.batched)


class CollatedStream(IterableDataset[Any]):
    """An iterable whose items pass a loader's `collate_fn`, each alone."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any], batched: bool) -> None:
        self.dataset, self.collate, self.batched = dataset, collate, batched

    def __iter__(self) -> Iterator[Any]:
        for item in self.dataset:
            yield collated(item, self.collate, self.batched)


class Drawn(IterableDataset[Any]):
    """Items of a dataset in an order that a sampler draws, some of them maybe twice or never."""

    def __init__(self, dataset: Any, numbers: Any) -> None:
        self.dataset, self.numbers = dataset, numbers

    def __iter__(self) -> Iterator[Any]:
        for several in self.numbers:
            for number in several:
                yield self.dataset[number]


def collated(item: Any, collate: Callable[[Any], Any], batched: bool) -> Any:
    """What `collate` makes of an item: the only row of the batch that it makes, if it makes batches.

    Example:
        >>> import torch
        >>> collated((torch.zeros(2), 3), lambda batch: {"x": torch.stack([x for x, _ in batch])}, True)
        {'x': tensor([0., 0.])}
    """
    if not batched:
        return collate(item)
    batch = collate([item])
    return item if isinstance(batch, (list, tuple)) and len(batch) == 1 and batch[0] is item else _only_row(batch)


def _only_row(part: Any) -> Any:
    """The only row of a batch: of a tensor, array or list, or of each part of a tuple, list or mapping of these."""
    if isinstance(part, Mapping):
        return {name: _only_row(column) for name, column in part.items()}
    if isinstance(part, (list, tuple)) and len(part) != 1:
        return tuple(map(_only_row, part))
    try:
        (row,) = part
    except (TypeError, ValueError):
        what = f"of shape {tuple(part.shape)}" if hasattr(part, "shape") else type(part).__name__
        raise InputError(
            f"the loader's collate_fn makes no batch of one from one item, but something {what}; give its dataset"
        ) from None
    return row
