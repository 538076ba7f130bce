"""Feature quality by depth (Zeiler and Fergus, Table 7): how well linear classifiers predict the class by layer.

The classifiers are logistic, one against the rest, trained by stochastic gradient descent
(`sklearn.linear_model.SGDClassifier`, L2 penalty 1e-4). Features are standardised and divided by the square root of
their number, so that an image has a norm near 1 in every layer and the penalty means the same everywhere. Zeiler and
Fergus use linear support vector machines and give no further details.

Features are written to a temporary folder and read from there a few rows at a time, so they need not fit into memory;
the numbers do not depend on this.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from deconvviz.arguments import CLASS_NAMES, FLAG, NET, RANDOM_STATE, check_counts, takes, whole_from
from deconvviz.data.batches import batches, is_indexed, none_readable
from deconvviz.data.datasets import as_dataset
from deconvviz.data.naming import classes_of, name_of_item
from deconvviz.errors import DependencyError, InputError
from deconvviz.experiments._labels import required_labels
from deconvviz.experiments._layers import features, hidden_layers
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import check_finite
from deconvviz.recording.layer_names import Layers, layer_names
from deconvviz.recording.placement import Placement
from deconvviz.results.probe import Probe
from deconvviz.results.top_activations import Broken
from deconvviz.results.words import agreeing, counted

PENALTY = 1e-4
READ = 2**22  # numbers read at once


@takes(net=NET, random_state=RANDOM_STATE, workers=whole_from(0), classes=CLASS_NAMES, progress=FLAG)
@on_the_cpu
def probe(
    net: DeconvNet,
    dataset: Any,
    *,
    layers: Layers = None,
    pool: int | None = 6,
    folds: int = 5,
    epochs: int = 20,
    random_state: int = 0,
    batch_size: int = 32,
    workers: int = 0,
    classes: Sequence[str] = (),
    progress: bool = True,
) -> Probe:
    """Measure how well linear classifiers on the features of each layer predict the classes of a dataset.

    Features are stored as float32 in the folder for temporary files (set TMPDIR for another one) and removed at the
    end.

    Args:
        net: The network.
        dataset: As for `deconvviz.scan`, with labels: a pair (images, labels), a folder with one sub-folder per class,
            a torch dataset, or an iterable of (image, label) or of mappings. Items that cannot be read are skipped and
            listed.
        layers: Layer names; None for all hidden layers.
        pool: Average larger maps to this many positions per axis: 6, as in the paper's last maps, so that no layer has
            hundreds of thousands of features; None for no averaging.
        folds: Number of stratified cross-validation folds.
        epochs: Training epochs of the classifiers.
        random_state: Seed of the folds and of the order of training.
        batch_size: Images per forward pass.
        workers: Number of processes that load images.
        classes: Class names, for datasets that have none or other ones.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Probe`.

    Raises:
        InputError: If labels are missing, there is only one class, a class has fewer images than folds, or an option is
            out of range.
        UnknownLayerError: If a layer does not exist.
        DataError: If nothing can be read.
        DependencyError: If scikit-learn is not installed.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> images, labels = mnist_test()
        >>> net = DeconvNet(mnist_cnn())
        >>> found = probe(net, (images[:200], labels[:200]), layers=["relu3"], folds=3, progress=False)
        >>> float(found.accuracy.mean()) > 0.9
        True
    """
    check_counts(epochs=epochs, batch_size=batch_size, **({} if pool is None else {"pool": pool}))
    check_counts(2, folds=folds)
    named = layer_names(layers, net.model)
    _sklearn("sklearn.model_selection")  # raises before the work
    with tempfile.TemporaryDirectory(prefix="deconvviz-probe-") as folder:
        store = _Store(net, Path(folder), named, pool, list(classes))
        store.fill(as_dataset(dataset), batch_size, workers, progress)
        return _probed(store, folds=folds, epochs=epochs, random_state=random_state, progress=progress)


def _probed(store: _Store, *, folds: int, epochs: int, random_state: int, progress: bool) -> Probe:
    """Train and test classifiers on the stored features."""
    names, labels = store.classes(folds)
    splits = _sklearn("sklearn.model_selection").StratifiedKFold(folds, shuffle=True, random_state=random_state)
    parts = list(splits.split(np.zeros((len(labels), 1)), labels))
    accuracy = torch.zeros(len(store.layers), folds, dtype=torch.float64)
    with progress_bar(total=accuracy.numel(), unit="fold", desc="probe", shown=progress) as bar:
        for row, layer in enumerate(store.layers):
            stored = store.read(layer)
            for fold, (train, test) in enumerate(parts):
                accuracy[row, fold] = _accuracy(stored, labels, train, test, epochs=epochs, random_state=random_state)
                bar.update()
    chance = float(np.bincount(labels).max() / len(labels))
    return Probe(
        layers=tuple(store.layers),
        features=tuple(store.sizes[layer] for layer in store.layers),
        accuracy=accuracy,
        chance=chance,
        classes=tuple(names),
        images=len(labels),
        broken=tuple(store.broken),
        pool=store.pool,
        verdict=_verdict(store.layers, accuracy, chance, len(labels)),
    )


class _Store:
    """The features of layers in files, a row of float32 for each image, and the images' labels."""

    def __init__(
        self, net: DeconvNet, folder: Path, layers: list[str] | None, pool: int | None, names: list[str]
    ) -> None:
        self.net, self.folder, self.pool = net, folder, pool
        self.layers = layers or []
        self.labels: list[int] = []
        self.sizes: dict[str, int] = {}
        self.broken: list[Broken] = []
        self.names = names

    def fill(self, data: Any, batch_size: int, workers: int, progress: bool) -> None:
        """Run the network over a dataset once."""
        self.names = self.names or classes_of(data)
        placement = Placement.of(self.net.model)
        total = len(data) if is_indexed(data) else None
        with contextlib.ExitStack() as stack, Restored() as settings:
            bar = stack.enter_context(progress_bar(total=total, unit="image", desc="features", shown=progress))
            files: dict[str, BinaryIO] = {}
            loading = batches(
                *(data, placement.preprocess(self.net.preprocess), batch_size, lambda number: True), workers=workers
            )
            for batch in settings.enter_context(loading):
                self.broken += [Broken(n, name_of_item(data, n), reason) for n, reason in batch.broken]
                bar.update(len(batch.numbers) + len(batch.broken))
                if batch.images is None:
                    continue
                self._label(data, batch.numbers.tolist(), batch.labels)
                images = placement.moved(batch.images)
                if not files:
                    self.layers = self.layers or hidden_layers(self.net.trace(images[:1]))
                    files = {name: stack.enter_context(open(self._file(name), "wb")) for name in self.layers}
                self._write(images, files)
        if not self.labels:
            raise none_readable(self.broken)

    def _label(self, data: Any, numbers: Sequence[int], labels: Sequence[int | None]) -> None:
        self.labels += required_labels(data, numbers, labels)

    def _write(self, images: torch.Tensor, files: dict[str, BinaryIO]) -> None:
        trace = self.net.trace(images, self.layers)
        for name, file in files.items():
            rows = features(trace, name, self.pool).float().cpu()
            check_finite(rows, f"layer {name!r}")
            if self.sizes.setdefault(name, rows.shape[1]) != rows.shape[1]:
                raise InputError(
                    f"layer {name!r} has {self.sizes[name]} features of some images and {rows.shape[1]} of others; "
                    f"give the network a preprocess that makes images of one size"
                )
            file.write(rows.numpy().tobytes())

    def _file(self, layer: str) -> Path:
        return self.folder / f"{self.layers.index(layer)}.float32"

    def read(self, layer: str) -> Any:
        """The features (images, features), on the disk."""
        shape = (len(self.labels), self.sizes[layer])
        return np.memmap(self._file(layer), np.float32, "r", shape=shape)

    def classes(self, folds: int) -> tuple[list[str], NDArray[np.int64]]:
        """The names of the classes that occur, and each image's class number."""
        known, numbers, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        names = [self.names[label] if label < len(self.names) else str(label) for label in known]
        if len(known) < 2:
            raise InputError(f"all {len(numbers)} images are of one class, {names[0]}; a classifier needs at least two")
        if counts.min() < folds:
            fewest = int(counts.argmin())
            raise InputError(
                f"class {names[fewest]} has {counted(int(counts[fewest]), 'image')}, fewer than the {folds} folds; "
                f"give more images of it, or fewer folds"
            )
        return names, numbers.astype(np.int64)


def _accuracy(
    stored: Any,
    labels: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    *,
    epochs: int,
    random_state: int,
) -> float:
    """Train on some rows, and return the share of the others that is classified correctly."""
    scaler = _sklearn("sklearn.preprocessing").StandardScaler()
    size = stored.shape[1]
    for rows in _chunks(train, size):
        scaler.partial_fit(stored[rows])
    # Not averaged: scikit-learn's averages depend on where the rows are cut into parts.
    model = _sklearn("sklearn.linear_model").SGDClassifier(
        loss="log_loss", alpha=PENALTY, shuffle=False, random_state=random_state
    )

    def scaled(rows: NDArray[np.int64]) -> Any:
        return scaler.transform(stored[rows]) / np.float32(math.sqrt(size))

    order = np.random.default_rng(random_state)
    for _ in range(epochs):
        for rows in _chunks(order.permutation(train), size):
            model.partial_fit(scaled(rows), labels[rows], classes=np.arange(labels.max() + 1))
    right = sum(int((model.predict(scaled(rows)) == labels[rows]).sum()) for rows in _chunks(test, size))
    return right / len(test)


def _chunks(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    step = max(1, READ // size)
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _sklearn(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"probe trains classifiers with scikit-learn, and {name!r} cannot be imported ({error}); install it with: "
            "pip install scikit-learn"
        ) from error


def _verdict(layers: Sequence[str], accuracy: torch.Tensor, chance: float, images: int) -> str:
    """A difference counts only above two standard errors of an accuracy on so many images."""
    means = accuracy.mean(1)

    def error(share: float) -> float:
        return math.sqrt(share * (1 - share) / images)

    if chance + 2 * error(chance) >= 1:
        return (
            f"{counted(images, 'image')} {agreeing(images, 'is', 'are')} "
            f"too few to say whether a layer predicts the classes: chance is {chance:.3f}, and "
            f"even classifying all of them correctly would not be significant."
        )
    best = int(means.argmax())
    top = f"{layers[best]} with {means[best]:.3f}, and chance is {chance:.3f}"
    if float(means[best]) < chance + 2 * error(chance):
        return f"No layer predicts the classes: the best is {top}."
    first, last = float(means[0]), float(means[-1])
    tells = f"a linear classifier is right on {last:.3f} of the images from {layers[-1]}"
    if len(layers) == 1:
        return f"{tells[0].upper()}{tells[1:]}; chance is {chance:.3f}."
    noise = 2 * math.hypot(error(first), error(last))
    how = "rises" if last - first > noise else "falls" if first - last > noise else "neither rises nor falls clearly"
    return f"Accuracy {how} with depth: {tells} and on {first:.3f} from {layers[0]}; the best layer is {top}."
