"""Items of any dataset as numbered inputs of a network, with those that cannot be read set aside."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset, TensorDataset

from deconvviz.data.folder import ImageFolder
from deconvviz.errors import DataError, InputError
from deconvviz.results import Broken

IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input")
LABEL_KEYS = ("label", "labels", "target", "y")


class Item(NamedTuple):
    """One image of a dataset: its number, either the network's input or why there is none, and its label, if any."""

    number: int
    image: Tensor | None
    error: str | InputError  # of the item itself, or how the dataset is used
    label: int | None = None


class Batch(NamedTuple):
    """Consecutive items: of those that could be read inputs (N, C, ...), numbers and labels; and the broken ones."""

    number: int
    numbers: Tensor
    images: Tensor | None
    broken: tuple[tuple[int, str], ...]
    labels: tuple[int | None, ...]


def as_dataset(data: Any) -> Any:
    """A dataset from what a user gives: a folder of images, a tensor (N, C, ...), (images, labels), or one already."""
    if isinstance(data, (str, os.PathLike)):
        return ImageFolder(data)
    if isinstance(data, (tuple, list)) and [getattr(part, "ndim", 0) > 0 for part in data] == [True, True]:
        images, labels = data
        if labels.ndim == 1 < images.ndim and len(images) == len(labels):
            return TensorDataset(images, labels)
    if isinstance(data, Tensor) and not data.ndim:
        raise InputError("a dataset of one number has no images; give a tensor (N, C, H, W)")
    if isinstance(data, Iterable) or hasattr(data, "__getitem__"):
        return data
    raise InputError(f"a dataset is a folder, a tensor, a torch dataset or an iterable, not {type(data).__name__}")


def image_of(item: Any) -> Any:
    """The image in an item: the item itself, the first of a tuple, or the entry of a mapping called so."""
    if isinstance(item, Mapping):
        for key in IMAGE_KEYS:
            if key in item:
                return item[key]
        raise InputError(f"an item has the entries {sorted(map(str, item))}; the image must be one of {IMAGE_KEYS}")
    return item[0] if isinstance(item, (tuple, list)) else item


def label_of(item: Any) -> int | None:
    """The label in an item, if it has one that is a number."""
    given = None
    if isinstance(item, Mapping):
        given = next((item[key] for key in LABEL_KEYS if key in item), None)
    elif isinstance(item, (tuple, list)) and len(item) > 1:
        given = item[1]
    try:
        return None if given is None or int(given) < 0 else int(given)
    except (TypeError, ValueError):
        return None


def prepared_image(item: Any, preprocess: Callable[[Any], Tensor] | None) -> Tensor:
    """The network's input (C, ...) from an item of a dataset. Raises InputError where it is none."""
    image = image_of(item)
    if not isinstance(image, Tensor):
        if preprocess is None:
            raise InputError(
                f"the dataset gives a {type(image).__name__}, and the network has no preprocess to make a tensor of it"
            )
        image = preprocess(image)
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"an image must come as a floating-point tensor (C, H, W), not {kind}")
    return image


class _Numbered(Dataset[Item]):
    """A dataset whose items say which they are, and that they are broken instead of raising."""

    def __init__(self, dataset: Any, preprocess: Any) -> None:
        self.dataset, self.preprocess = dataset, preprocess

    def __getitem__(self, index: int) -> Item:
        return _item(index, lambda: self.dataset[index], self.preprocess)


def _item(index: int, load: Callable[[], Any], preprocess: Any) -> Item:
    try:
        item = load()
        image = prepared_image(item, preprocess)
    except InputError as error:
        return Item(index, None, error)  # not raised, since a process that loads would wrap it
    except Exception as error:
        return Item(index, None, f"{type(error).__name__}: {error}".partition("\n")[0])
    if not bool(torch.isfinite(image).all()):
        return Item(index, None, "it holds values that are NaN or infinite")
    return Item(index, image, "", label_of(item))


def _collated(items: list[Item]) -> list[Item]:
    return items


@contextlib.contextmanager
def batches(
    dataset: Any, preprocess: Any, size: int, wanted: Callable[[int], bool], workers: int = 0, pin: bool = False
) -> Iterator[Iterator[Batch]]:
    """The batches of a dataset for whose number `wanted` holds: items ``number * size`` and on, `size` of them.

    Datasets with a length and ``[index]`` are read by `workers` processes, which end with the context; iterables are
    read through. Random numbers are what they would have been: loaders draw a seed.
    Raises InputError where images of one batch have different shapes, DataError where a process that loads dies.
    """
    found = _batches(dataset, preprocess, size, wanted, workers, pin)
    with torch.random.fork_rng(devices=[]), contextlib.closing(found):
        yield found


def _batches(
    dataset: Any, preprocess: Any, size: int, wanted: Callable[[int], bool], workers: int, pin: bool
) -> Generator[Batch, None, None]:
    if is_indexed(dataset):
        count = len(dataset)
        numbers = [number for number in range(-(-count // size)) if wanted(number)]
        samples = [list(range(number * size, min((number + 1) * size, count))) for number in numbers]
        numbered = _Numbered(dataset, preprocess)
        quiet = _quiet if workers else None
        loader = DataLoader(
            numbered, batch_sampler=samples, num_workers=workers, collate_fn=_collated, worker_init_fn=quiet
        )
        with contextlib.closing(_loaded(loader)) as every:
            for number, loaded in zip(numbers, every, strict=True):
                yield _batch(number, loaded, pin)
        return
    gathered: list[Item] = []
    number = 0
    for index, item in enumerate(dataset):
        if wanted(number):
            gathered.append(_item(index, partial(_same, item), preprocess))
        if (index + 1) % size == 0:
            if wanted(number):
                yield _batch(number, gathered, pin)
            gathered, number = [], number + 1
    if gathered:
        yield _batch(number, gathered, pin)


def _quiet(worker: int) -> None:
    """Let a process that loads not print that it lost its parent, which knows why."""
    sys.excepthook = lambda *_: None


def _loaded(loader: DataLoader[Item]) -> Generator[list[Item], None, None]:
    iterator = None
    try:
        iterator = iter(loader)
        _awaited_only(iterator)
        yield from iterator
    except (EOFError, OSError, RuntimeError) as error:
        workers = getattr(iterator, "_workers", None)
        if not workers or (isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)):
            raise
        how = _ended(workers) or f"cannot be heard any more ({error or type(error).__name__})"
        one = "the process that loads" if len(workers) == 1 else f"one of the {len(workers)} processes that load"
        raise DataError(f"{one} images {how}; use fewer, or none to see what happens") from error
    finally:
        # torch ends them when its iterator is forgotten, which an error that remembers where it happened can delay.
        getattr(iterator, "_shutdown_workers", lambda: None)()


def _awaited_only(iterator: Any) -> None:
    """Let torch report the death of a process where its items are awaited, within 5 seconds, and nowhere else.

    Its signal handler would raise at once, but from whatever the main thread is doing: in the middle of a file it
    writes, or in a finaliser, where Python swallows the error.
    """
    if getattr(iterator, "_worker_pids_set", False):
        _remove_worker_pids(id(iterator))  # there is no public way
        iterator._worker_pids_set = False


def _ended(workers: list[BaseProcess]) -> str:
    """How the first of the processes that ended did so, if one did."""
    gone = connection.wait([worker.sentinel for worker in workers], timeout=5)  # connections break a moment earlier
    for worker in workers:
        if worker.sentinel in gone:
            worker.join(timeout=5)  # and its status comes a moment later
    status = next((worker.exitcode for worker in workers if worker.exitcode is not None), None)
    if status is None:
        return ""
    if status >= 0:
        return f"ended with exit status {status}"
    out = {signal.SIGKILL.value: ", as when memory runs out", signal.SIGBUS.value: ", as when shared memory runs out"}
    return f"was killed by the system ({signal.strsignal(-status)}{out.get(-status, '')})"


def is_indexed(dataset: Any) -> bool:
    """Whether a dataset has a length and items by number; otherwise it is read from its start to its end."""
    return hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")


def _same(item: Any) -> Any:
    return item


def _batch(number: int, items: list[Item], pin: bool) -> Batch:
    if misuse := next((item.error for item in items if isinstance(item.error, InputError)), None):
        raise misuse
    images = [(item.number, item.image) for item in items if item.image is not None]
    broken = tuple((item.number, str(item.error)) for item in items if item.image is None)
    shapes = {tuple(image.shape): index for index, image in images}
    if len(shapes) > 1:
        (one, first), (other, second), *_ = shapes.items()
        raise InputError(
            f"images {first} and {second} have shapes {one} and {other}, which cannot be one batch; give the network a "
            f"preprocess that makes them alike, such as deconvviz.images.Preprocess(size=224), or batch_size=1"
        )
    stacked = torch.stack([image for _, image in images]) if images else None
    if stacked is not None and pin:
        stacked = stacked.pin_memory()
    labels = tuple(item.label for item in items if item.image is not None)
    return Batch(number, torch.tensor([index for index, _ in images], dtype=torch.long), stacked, broken, labels)


def name_of_item(dataset: Any, index: int) -> str:
    """The file name of an item, where the dataset has names; otherwise its number."""
    own = None if isinstance(dataset, Tensor) else getattr(dataset, "names", None)  # a tensor's are of its axes
    names = own or [str(sample[0]) for sample in getattr(dataset, "samples", None) or ()]
    return names[index] if index < len(names) else str(index)


def none_readable(broken: Sequence[Broken]) -> DataError:
    """The error for a dataset of which nothing could be used."""
    some = "; ".join(f"{one.name}: {one.reason}" for one in broken[:3])
    return DataError(f"none of the {len(broken)} items could be read: {some}" if some else "the dataset is empty")


def classes_of(dataset: Any) -> list[str]:
    """The names of the labels, where the dataset has them."""
    return [str(name) for name in getattr(dataset, "classes", None) or ()]


def short_name(dataset: Any) -> str:
    """What to call a dataset in one line: its own name, that of its folder, or of its type."""
    if name := getattr(dataset, "name", None):
        return str(name)
    root = getattr(dataset, "root", None)
    return Path(root).resolve().name if root is not None else type(dataset).__name__
