"""Mining a dataset: one pass over it finds the k strongest units of every channel of every layer.

`scan` runs the model over the dataset once, in inference mode. As a layer runs, its maps are reduced on the device to
their maximum per image and channel. Nothing else is kept, so memory does not grow with the dataset. Positions are
looked up only in images that may enter a channel's list.

The result does not depend on the order in which batches are seen. Each process of a distributed job takes every n-th
batch, and an interrupted scan continues with the batches that are left. The merged result is the same, to the last bit,
as that of one uninterrupted process with the same batch size. Ties go to the lower image number.

>>> import deconvviz as dv
>>> from deconvviz.data import mnist_test
>>> from deconvviz.models import mnist_cnn
>>> images, _ = mnist_test()
>>> top = scan(dv.DeconvNet(mnist_cnn()), images[:200], layers=["conv2"], k=3, progress=False)
>>> top.images["conv2"].shape, top.positions["conv2"].shape
(torch.Size([48, 3]), torch.Size([48, 3, 2]))
"""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from deconvviz import __version__
from deconvviz.arguments import CLASS_NAMES, FLAG, NET, PATH, check_counts, one_of, optional, short_text, takes
from deconvviz.data.batches import Batch, batches, none_readable
from deconvviz.data.datasets import as_dataset
from deconvviz.data.digests import Digest
from deconvviz.data.folder import ImageFolder
from deconvviz.data.identity import difference, identity_of
from deconvviz.data.naming import classes_of, name_of_item, short_name
from deconvviz.data.source import Source, content_of
from deconvviz.data.workers import sensible_workers
from deconvviz.errors import DataError, InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.locks import alone
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.mining.label_scores import channel_labels
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.progress import ScanProgress
from deconvviz.mining.ranks import Ranks
from deconvviz.mining.reducer import Scanner
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.mining.state import ScanState, checked_folder
from deconvviz.mining.statistics import bin_edges
from deconvviz.mining.word_labels import FLAG_OR_MASKS, checked_masks
from deconvviz.net import DeconvNet
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.isolation import as_it_was
from deconvviz.recording.layer_names import Layers, layer_names
from deconvviz.recording.placement import Placement, required_arguments
from deconvviz.recording.tape import mapped
from deconvviz.results import Broken, ChannelStatistics, ScanProvenance, TopActivations


class TextLabelsWarning(UserWarning):
    """Labels of a dataset were not used, since they are text whose classes are not known before the last item."""


@takes(
    net=NET,
    state=optional(PATH),
    on_error=one_of("skip", "raise"),
    classes=CLASS_NAMES,
    labels=FLAG_OR_MASKS,
    progress=FLAG,
)
@on_the_cpu
def scan(
    net: DeconvNet,
    dataset: Any,
    *,
    layers: Layers = None,
    k: int = 9,
    batch_size: int = 64,
    state: str | os.PathLike[str] | None = None,
    per_image: int = 1,
    workers: int | None = None,
    on_error: str = "skip",
    classes: Sequence[str] = (),
    labels: bool | Mapping[str, Any] = True,
    progress: bool = True,
) -> TopActivations:
    """Find the k strongest units of every channel over a dataset, and how often and how strongly its channels fire.

    Under torch.distributed each process sees its share, and all return the whole result.

    Args:
        net: The network.
        dataset: A tensor or array (N, C, ...), 8-bit pictures (N, H, W[, C]), a pair (images, labels), a folder of
            images, a list of image files, a torch dataset, a DataLoader, whose items are read one by one, or an
            iterable. Items are images, paths, pairs (image, label) or mappings with an ``image``. Anything that is
            not a tensor yet is passed through the network's `preprocess`. If the model takes several inputs, items
            are mappings with the names of its arguments, or tuples of them.
        layers: Names as `DeconvNet.layers` lists them; None for all convolutions and linear modules.
        k: Length of each channel's list.
        batch_size: Number of images in a batch.
        state: A folder in which progress is kept, so that the same call continues from there.
        per_image: How many units of one image a channel's list may hold. Of two units whose receptive fields share
            more than half of their extent along every axis only the stronger one counts.
        workers: Number of processes that load images; 0 loads them in this one. None: for a folder of images as many as
            are useful (`deconvviz.data.workers`), and 0 for other datasets.
        on_error: What to do with an item that cannot be read: "skip" lists it in the result, "raise" raises DataError.
        classes: Class names, for datasets that have none or other ones. Figures and the atlas show them.
        labels: Whether to find the label that fits each channel best, if the images have labels (`ChannelLabels`):
            whole numbers from 0 to 2^63 - 1; others take no part. For that the maxima of as many images as fit into
            512 MB are kept. Or the labels themselves, of which an image may have several: a mapping from names to masks
            (N,) of the images, such as `word_labels` returns.
        progress: Show a bar with the rate and the time left.

    Raises:
        InputError: If images do not fit the model, activations are not finite, a layer mixes the samples of a batch,
            or the state belongs to another scan.
        UnknownLayerError: If a layer does not run.
        DataError: If no item can be read, under ``on_error="raise"`` if one cannot be read, or if a process that loads
            images ends.
    """
    check_counts(k=k, batch_size=batch_size, per_image=per_image)
    if workers is not None:
        check_counts(0, workers=workers)
    names = layer_names(layers, net.model)
    ranks, source = Ranks(), Source(as_dataset(dataset))
    if source.indexed and not source.count:
        raise none_readable([])
    options = _ScanOptions(
        layers=names,
        k=int(k),
        batch_size=int(batch_size),
        per_image=int(per_image),
        on_error=on_error,
        labels=bool(labels),
        masks=checked_masks({} if isinstance(labels, bool) else labels, source.count if source.indexed else None),
    )
    job = _Job(net, source, ranks, options)
    with Restored() as lock:
        job.begin(state, lock)
        job.run(None if workers is None else int(workers), progress)
        total = job.finish()
    if labels is True and ranks.rank == 0 and not len(total.labelled.images) and (text := source.text_label()):
        warnings.warn(
            f"the labels are text, such as {short_text(text)}, and are not used; give numbers of classes from 0, "
            f"(images, labels) with a list of labels, or a CSV file with a column label",
            TextLabelsWarning,
            stacklevel=4,
        )
    origin = provenance_of(net, source.data, int(batch_size), int(per_image))
    found = scan_result(total, source.data, origin, classes)
    return replace(found, labels=channel_labels(total.labelled, found.classes, job.device, options.masks))


@dataclass(frozen=True, kw_only=True)
class _ScanOptions:
    """Options of a scan, as for `scan`."""

    layers: list[str] | None
    k: int
    batch_size: int
    per_image: int
    on_error: str
    labels: bool
    masks: Mapping[str, Tensor]

    def labels_of(self, batch: Batch) -> Sequence[int | None]:
        """The labels by which images are kept: their own, or with masks the same one for all."""
        return [0] * len(batch.numbers) if self.masks else batch.labels if self.labels else ()

    def identity(self) -> dict[str, Any]:
        """The options on which the result depends."""
        return {
            "k": self.k,
            "batch size": self.batch_size,
            "units per image": self.per_image,
            "layers": self.layers,
            "labels": Digest(*itertools.chain(*self.masks.items())).text if self.masks else self.labels,
        }


class _Job:
    """This process's part in a scan."""

    def __init__(self, net: DeconvNet, source: Source, ranks: Ranks, options: _ScanOptions) -> None:
        self.net, self.source, self.ranks, self.options = net, source, ranks, options
        self.placement = Placement.of(net.model)
        self.preprocess = self.placement.preprocess(net.preprocess, required_arguments(net.model))
        self.state = ScanState(None, {}, ranks)
        self.compares = False  # whether batches of an iterable that come again are compared
        self.scanned: ScannedLayers | None = None  # known from the first image
        self.scanner: Scanner | None = None

    def begin(self, folder: str | os.PathLike[str] | None, lock: Restored) -> None:
        """Read what an earlier job has left, after checking that it and all processes of this job do the same.

        Args:
            folder: The folder of the state, or None.
            lock: Keeps the folder locked for this job.

        Raises:
            InputError: If they do not do the same.
        """
        if folder is None and self.ranks.world == 1:
            return
        self.compares = folder is not None and not self.source.indexed
        identities = self.ranks.each(lambda: self._identity(folder, lock))
        for rank, identity in enumerate(identities):
            if what := difference(identities[0], identity):
                raise InputError(
                    f"the processes of this job do different scans: the {what[0]} is {what[1]} in process 0 and "
                    f"{what[2]} in process {rank}; give all of them the same model, weights, data and options"
                )
        states: list[ScanState] = []
        streamed = not self.source.indexed
        self.ranks.each(lambda: states.append(ScanState(folder, identities[0], self.ranks, streamed)))
        self.state = states[0]

    def _identity(self, folder: str | os.PathLike[str] | None, lock: Restored) -> dict[str, Any]:
        """The identity of the scan that this process is about to run."""
        if folder is not None and self.ranks.rank == 0:
            lock.enter_context(alone(checked_folder(folder)))
        net, source = self.net, self.source
        kept = {"state": "kept" if folder is not None else "none"}
        if not source.indexed:
            source.first(self.preprocess)  # by which a stream is known
        identity = self.options.identity() | kept | identity_of(net.model, source, net.preprocess)
        first = source.first(self.preprocess)
        if first is not None:
            self.scanned = self._scanned(mapped(first, lambda part: part[None]))
        shown = None if self.scanned is None else dict(self.scanned.on_first_image)
        return identity | {"layers on the first image": shown}

    def _scanned(self, images: Any) -> ScannedLayers:
        options, first = self.options, mapped(images, lambda part: part[:1])
        with Restored(as_it_was(self.net.model), torch.no_grad()):
            return ScannedLayers.of(self.net, options.layers, first, options.batch_size > 1)

    def run(self, workers: int | None, progress: bool) -> None:
        """Scan the batches of this process that are left."""
        own = self.state.own
        total = self.source.count if self.source.indexed else None
        bar = progress_bar(
            total=total,
            initial=own.count + len(own.broken),
            unit="image",
            desc="scan",
            shown=progress and self.ranks.rank == 0,
            smoothing=0.05,
        )
        done = self.state.done

        def is_wanted(number: int) -> bool:
            mine = number % self.ranks.world == self.ranks.rank and number not in done
            return mine or self.state.comes_again(number)

        loading = batches(
            *(self.source.items(), self.preprocess, self.options.batch_size),
            is_wanted,
            workers=self._workers() if workers is None else workers,
        )
        with bar, Restored() as settings:
            for batch in settings.enter_context(loading):
                if self._see(batch):
                    items = (len(batch.numbers) + len(batch.broken)) * self.ranks.world  # others are about as far
                    bar.update(items if total is None else min(items, total - bar.n))
        self.state.check_all_compared()
        self._keep()

    def _workers(self) -> int:
        """How many processes load the images, where the caller does not say."""
        if not isinstance(self.source.data, ImageFolder):
            return 0
        device, first = self.placement.device, self.source.first(self.preprocess)
        on_the_cpu = device is None or device.type == "cpu"
        return sensible_workers(self.source.data, first, self.options.batch_size, on_the_cpu)

    def _see(self, batch: Batch) -> bool:
        """Enter a batch, or compare it with the earlier one; returns whether it was entered."""
        content = content_of(batch) if self.compares else 0
        if self.state.comes_again(batch.number):
            self.state.compare(batch.number, content)
            return False
        if self.options.on_error == "raise" and batch.broken:
            number, reason = batch.broken[0]
            raise DataError(f"item {name_of_item(self.source.data, number)} cannot be read: {reason}")
        if batch.images is not None:
            self.scanned = self.scanned or self._scanned(batch.images)
            options, own = self.options, self.state.own
            self.scanner = self.scanner or Scanner(self.scanned, options.k, options.per_image, own.layers, own.labelled)
            # Batch by batch, so that other threads can use the model in between.
            with Restored(as_it_was(self.net.model), torch.no_grad()):
                self.scanner.run(batch, options.labels_of(batch))
        self.state.own.add(batch, content)
        if self.state.due:
            self._keep()
        return True

    def _keep(self) -> None:
        """Take over what was found on the device, and write it if there is a folder."""
        if self.scanner is not None:
            self.state.own.layers, self.state.own.labelled = self.scanner.results(), self.scanner.labelled()
        self.state.save()

    def finish(self) -> ScanProgress:
        """The merged result of all processes."""
        return self.state.merged(self.ranks, self.source.count, self.options.batch_size)

    @property
    def device(self) -> torch.device:
        """Where the areas under the ROC curve are computed."""
        device = self.placement.device
        return device if device is not None and device.type == "cuda" else torch.device("cpu")


def provenance_of(net: DeconvNet, data: Any, batch_size: int, per_image: int = 1) -> ScanProvenance:
    """The origin of a scan."""
    return ScanProvenance(
        model=type(net.model).__name__,
        fingerprint=fingerprint(net.model),
        dataset=short_name(data),
        batch_size=batch_size,
        per_image=per_image,
        versions={"deconvviz": __version__, "torch": str(torch.__version__)},
    )


def scan_result(total: ScanProgress, data: Any, provenance: ScanProvenance, classes: Sequence[str]) -> TopActivations:
    """What was found, as `scan` returns it."""
    broken = tuple(
        Broken(number, name_of_item(data, number), reason) for number, reason in sorted(total.broken.items())
    )
    if not total.count:
        raise none_readable(broken)
    layers, edges = total.layers, bin_edges()
    return TopActivations(
        values={name: results.top.values for name, results in layers.items()},
        images={name: results.top.images for name, results in layers.items()},
        positions={name: results.top.map_positions() for name, results in layers.items()},
        statistics={name: _statistics(results, total.count, edges) for name, results in layers.items()},
        count=total.count,
        broken=broken,
        provenance=provenance,
        classes=tuple(classes or classes_of(data)),
    )


def _statistics(results: LayerResults, count: int, edges: Tensor) -> ChannelStatistics:
    running = results.statistics
    return ChannelStatistics(
        fires=running.fired.double() / count,
        mean=running.mean(count),
        maximum=running.maximum,
        histogram=running.histogram,
        edges=edges,
        is_dead=results.firing.dead,
        is_always_on=results.firing.always_on,
    )
