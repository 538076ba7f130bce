"""The items of any dataset as numbered network inputs; items that cannot be read are set aside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from PIL import EpsImagePlugin
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Sampler, TensorDataset

from deconvviz.data.items import label_of, prepared_inputs, unfit_for_networks
from deconvviz.data.loader_processes import QuietLoader, begin_loading, loader_batches
from deconvviz.errors import DataError, DeconvVizError, InputError
from deconvviz.results import Broken

NOT_FINITE = "it holds values that are NaN or infinite"


class Item(NamedTuple):
    """One image of a dataset: its index, either the network's input or the reason why there is none, and its label, if
    any. The input is a tensor, or a tuple of tensors if the network takes several.
    """

    number: int
    image: Any
    error: str | InputError  # of the item itself, or how the dataset is used
    label: int | None = None


class Batch(NamedTuple):
    """Consecutive items: inputs (N, C, ...), indices and labels of those that could be read, and the broken ones.

    Inputs are a tensor, or a tuple of tensors if the network takes several.
    """

    number: int
    numbers: Tensor
    images: Any
    broken: tuple[tuple[int, str], ...]
    labels: tuple[int | None, ...]


class _Numbered(Dataset[Item]):
    """A dataset whose items know their index, and report that they are broken instead of raising an error."""

    def __init__(self, dataset: Any, preprocess: Any) -> None:
        self.dataset, self.preprocess = dataset, preprocess

    def __getitem__(self, index: int) -> Item:
        return numbered(index, lambda: self.dataset[index], self.preprocess)


def numbered(index: int, load: Callable[[], Any], preprocess: Any) -> Item:
    """The item with an index, with the reason if it cannot be read, instead of raising an error."""
    try:
        item = load()
        image = prepared_inputs(item, preprocess)
    except InputError as error:
        return Item(index, None, error)  # not raised, since a process that loads would wrap it
    except Exception as error:
        return Item(index, None, said(error))
    several = isinstance(image, tuple)
    if not all(bool(all_finite(part[None])) for part in (image if several else (image,)) if part.is_floating_point()):
        return Item(index, None, NOT_FINITE)
    return Item(index, image, "", None if several else label_of(item))


def all_finite(images: Tensor) -> Tensor:
    """Whether all numbers of each image (N, ...) are finite, (N,), where the images lie."""
    if not images.numel() or images.ndim < 2:
        return images.isfinite() if images.numel() else torch.ones(len(images), dtype=torch.bool, device=images.device)
    numbers = images.flatten(1)  # both extremes are NaN if a number is; this is ten times faster than to ask each
    return torch.stack([numbers.amin(1), numbers.amax(1)]).isfinite().all(0)


def said(error: Exception) -> str:
    """The message of a foreign error, on one line."""
    try:
        return f"{type(error).__name__}: {error}".partition("\n")[0]
    except Exception:  # its `__str__` may fail
        return type(error).__name__


@contextlib.contextmanager
def batches(
    dataset: Any, preprocess: Any, size: int, wanted: Callable[[int], bool], *, workers: int = 0
) -> Iterator[Iterator[Batch]]:
    """The batches of a dataset for whose number `wanted` holds: items ``number * size`` and on, `size` of them.

    Tensors are cut into batches, and each batch is a copy. Other datasets with a length and ``[index]`` are read by
    `workers` processes, at most one per batch, which end with the context; iterables are read through. The random state
    is unchanged, although loaders draw a seed.

    Raises:
        InputError: If images of one batch have different shapes.
        DataError: If a loader process dies.
    """
    generator = _batches(dataset, preprocess, size, wanted, workers)
    with torch.random.fork_rng(devices=[]), contextlib.closing(generator):
        yield generator


def _batches(
    dataset: Any, preprocess: Any, size: int, wanted: Callable[[int], bool], workers: int
) -> Generator[Batch, None, None]:
    one_input = len(getattr(preprocess, "arguments", ())) < 2
    if one_input and (tensors := _tensors(dataset)) is not None:
        yield from _cut(*tensors, size, wanted)
        return
    if is_indexed(dataset):
        items, samples = _Numbered(dataset, preprocess), _Samples(len(dataset), size, wanted)
        begin = partial(begin_loading, ghostscript=EpsImagePlugin.gs_binary) if workers else None
        gather, useful = partial(_gathered, size), min(workers, len(samples))
        loader = QuietLoader(items, batch_sampler=samples, num_workers=useful, collate_fn=gather, worker_init_fn=begin)
        with contextlib.closing(loader_batches(loader)) as every:
            for loaded in every:
                if isinstance(loaded, InputError):
                    raise loaded
                yield loaded
        return
    gathered: list[Item] = []
    number = 0
    for index, item in enumerate(read(dataset)):
        if wanted(number):
            gathered.append(numbered(index, partial(_same, item), preprocess))
        if (index + 1) % size == 0:
            if wanted(number):
                yield _batch(number, gathered)
            gathered, number = [], number + 1
    if gathered:
        yield _batch(number, gathered)


def _gathered(size: int, items: list[Item]) -> Batch | InputError:
    """Items as a batch, in the process that loads them; an error is not raised, since it would be wrapped."""
    try:
        return _batch(items[0].number // size, items)
    except InputError as error:
        return error


# Tensors


def _tensors(dataset: Any) -> tuple[Tensor, Tensor | None] | None:
    """The images and labels of a dataset that is nothing but tensors fit for a network, else None."""
    images, labels = dataset, None
    if type(dataset) is TensorDataset and 1 <= len(dataset.tensors) <= 2:
        images, labels = (*dataset.tensors, None)[:2]
    plain = type(images) is Tensor and images.ndim > 1 and not unfit_for_networks(images)
    return (images.detach(), labels) if plain else None


def _cut(
    images: Tensor, labels: Tensor | None, size: int, wanted: Callable[[int], bool]
) -> Generator[Batch, None, None]:
    """Batches of tensors, which read nothing from another device once they have begun."""
    elsewhere = images.device.type != "cpu"
    finite = torch.cat([all_finite(part) for part in images.split(4096)]).cpu() if elsewhere else None
    labels = None if labels is None else labels.detach().cpu()
    for first in _Samples(len(images), size, wanted).firsts():
        part = images[first : first + size]
        fit = all_finite(part) if finite is None else finite[first : first + size]
        kept = fit.nonzero()[:, 0]
        # Copied, since a model may write into its input, and contiguous, as stacked items are.
        whole = part.clone(memory_format=torch.contiguous_format) if len(kept) == len(part) else None
        chosen = part.index_select(0, kept.to(part.device)) if whole is None and len(kept) else whole
        broken = tuple((first + index, NOT_FINITE) for index in (~fit).nonzero()[:, 0].tolist())
        own_labels = (
            [None] * len(kept) if labels is None else [label_of((None, labels[first + index])) for index in kept]
        )
        yield Batch(first // size, first + kept, chosen, broken, tuple(own_labels))


class _Samples(Sampler[list[int]]):
    """The items of each wanted batch, one batch at a time, because there may be many millions."""

    def __init__(self, count: int, size: int, wanted: Callable[[int], bool]) -> None:
        self.count, self.size, self.wanted = count, size, wanted

    def __len__(self) -> int:
        """The number of batches, wanted or not."""
        return (self.count + self.size - 1) // self.size

    def firsts(self) -> Iterator[int]:
        """The first item of each wanted batch."""
        for number in range(len(self)):
            if self.wanted(number):
                yield number * self.size

    def __iter__(self) -> Iterator[list[int]]:
        for first in self.firsts():
            yield list(range(first, min(first + self.size, self.count)))


def read(dataset: Any) -> Iterator[Any]:
    """The items of an iterable. Raises DataError if it fails, because no item follows after that."""
    number = -1
    try:
        for number, item in enumerate(dataset):  # noqa: B007
            yield item
    except DeconvVizError:
        raise
    except Exception as error:
        raise DataError(f"the dataset cannot be read behind its first {number + 1} items: {said(error)}") from error


def is_indexed(dataset: Any) -> bool:
    """Whether a dataset has a length and items by index; otherwise it is read from start to end."""
    if isinstance(dataset, IterableDataset):  # which inherits an `[index]` that it does not have, and may have a length
        return False
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")


def _same(item: Any) -> Any:
    return item


def _batch(number: int, items: list[Item]) -> Batch:
    if misuse := next((item.error for item in items if isinstance(item.error, InputError)), None):
        raise misuse
    images = [(item.number, item.image) for item in items if item.image is not None]
    broken = tuple((item.number, str(item.error)) for item in items if item.image is None)
    stacked = _stacked(images) if images else None
    labels = tuple(item.label for item in items if item.image is not None)
    return Batch(number, torch.tensor([index for index, _ in images], dtype=torch.long), stacked, broken, labels)


def _stacked(images: Sequence[tuple[int, Any]]) -> Any:
    """Images with their indices as one tensor, or each of several inputs as one."""
    if isinstance(images[0][1], tuple):
        return tuple(
            _stacked(list(zip([n for n, _ in images], column, strict=True)))
            for column in zip(*(inputs for _, inputs in images), strict=True)
        )
    shapes = {tuple(image.shape): index for index, image in images}
    if len(shapes) > 1:
        (shape, first), (other_shape, second), *_ = shapes.items()
        raise InputError(
            f"images {first} and {second} have shapes {shape} and {other_shape}, which cannot form one batch; give the "
            f"network a "
            f"preprocess that makes them alike, such as deconvviz.images.Preprocess(size=224), or batch_size=1"
        )
    kinds = {(image.dtype, image.device): index for index, image in images}
    if len(kinds) > 1:
        (a, first), (b, second), *_ = kinds.items()
        raise InputError(
            f"images {first} and {second} are {a[0]} on {a[1]} and {b[0]} on {b[1]}, which cannot form one batch; make "
            f"them alike"
        )
    return torch.stack([image for _, image in images])


def none_readable(broken: Sequence[Broken]) -> DataError:
    """The error for a dataset without a usable item."""
    some = "; ".join(f"{item.name}: {item.reason}" for item in broken[:3])
    return DataError(f"none of the {len(broken)} items could be read: {some}" if some else "the dataset is empty")
