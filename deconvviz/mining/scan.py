"""Mining a dataset: one pass, all layers, the k strongest units of every channel.

`scan` runs the model over the dataset once, in inference mode. As a layer runs, its maps are reduced on the device to
their maximum per image and channel; nothing else is kept, so memory does not grow with the dataset. Positions are
looked up only in images that may enter a channel's list.

The result does not depend on the order in which batches are seen: ranks of a distributed job take every n-th batch
and merge, an interrupted scan goes on with the batches that are left, and the outcome is the same to the last bit as
that of one uninterrupted process with the same batch size. Ties go to the lower image number.

>>> import deconvviz as dv
>>> from deconvviz.data import mnist_test
>>> from deconvviz.models import mnist_cnn
>>> images, _ = mnist_test()
>>> top = scan(dv.DeconvNet(mnist_cnn()), images[:200], ["conv2"], k=3, progress=False)
>>> top.images["conv2"].shape, top.positions["conv2"].shape
(torch.Size([48, 3]), torch.Size([48, 3, 2]))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from deconvviz import __version__
from deconvviz.arguments import FLAG, NET, PATH, check_counts, optional, takes
from deconvviz.data.batches import as_dataset, batches, none_readable
from deconvviz.data.identity import difference, identity_of
from deconvviz.data.naming import name_of_item, short_name
from deconvviz.data.source import Source, content_of
from deconvviz.errors import DataError, InputError
from deconvviz.io.locks import alone
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.progress import Progress, ScanState, checked_folder
from deconvviz.mining.ranks import Ranks
from deconvviz.mining.reducer import Scanner, unpacked
from deconvviz.mining.tally import bin_edges
from deconvviz.net import DeconvNet
from deconvviz.projection.units import layer_names
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.isolation import as_it_was, on_the_cpu
from deconvviz.recording.restoring import Restored
from deconvviz.results import Broken, ChannelStatistics, ScanProvenance, TopActivations


@takes(net=NET, state=optional(PATH), strict=FLAG, progress=FLAG)
@on_the_cpu
def scan(
    net: DeconvNet,
    dataset: Any,
    layers: str | Iterable[str] | None = None,
    k: int = 9,
    batch_size: int = 64,
    state: str | os.PathLike[str] | None = None,
    per_image: int = 1,
    workers: int = 0,
    strict: bool = False,
    progress: bool = True,
) -> TopActivations:
    """The k strongest units of every channel over a dataset, and how often and how strongly its channels fire.

    dataset: a tensor (N, C, ...), a pair (images, labels), a folder of images, a torch dataset or an iterable; items
        are images, (image, label) or mappings with an ``image``. What is no tensor goes through the net's preprocess.
    layers: names as `DeconvNet.layers` lists them; None for all convolution and linear modules.
    state: a folder to keep progress in; the same call goes on from there. It is refused for another scan.
    per_image: how many units of one image a channel's list may hold. Of two whose receptive fields share more than
        half of their extent along every axis only the stronger one counts.
    workers: processes that load images.
    strict: raise at the first item that cannot be read, instead of listing it in the result.
    progress: show a bar with the rate and the time left.

    Under torch.distributed each rank sees its share and all return the whole result.
    Raises InputError for images that do not fit the model, activations that are not finite, layers that mix the samples
    of a batch, and a state that belongs to another scan; UnknownLayerError; DataError under `strict`, where no item
    can be read, or where a process that loads images ended.
    """
    check_counts(k=k, batch_size=batch_size, per_image=per_image)
    check_counts(0, workers=workers)
    k, batch_size, per_image, workers = int(k), int(batch_size), int(per_image), int(workers)
    asked = layer_names(layers, "scan; name at least one, or give layers=None for all convolutions")
    ranks, source = Ranks(), Source(as_dataset(dataset))
    if source.indexed and not source.count:
        raise none_readable([])
    options = {"k": k, "batch size": batch_size, "units per image": per_image, "layers": asked}
    data, streamed = source.data, state is not None and not source.indexed

    def learnt(images: Tensor) -> Scanner:
        with Restored(as_it_was(net.model), torch.no_grad()):
            return Scanner(net, asked, images[:1], k, per_image, batch_size > 1)

    with Restored() as held:
        scanner, kept = _begun(net, source, ranks, state, options, learnt, held)
        done = kept.done
        seen = kept.own.count + len(kept.own.broken)
        total = source.count if source.indexed else None
        shown = progress and ranks.rank == 0
        bar = progress_bar(total=total, initial=seen, unit="image", desc="scan", shown=shown, smoothing=0.05)
        loading = batches(
            *(source.items(), net.preprocess, batch_size),
            lambda n: (n % ranks.world == ranks.rank and n not in done) or kept.comes_again(n),
            workers,
            next(net.model.parameters(), torch.empty(0)).is_cuda,
        )
        with bar, Restored() as settings:
            found = settings.enter_context(loading)
            for batch in found:
                content = content_of(batch) if streamed else 0
                if kept.comes_again(batch.number):
                    kept.compare(batch.number, content)
                    continue
                if strict and batch.broken:
                    number, reason = batch.broken[0]
                    raise DataError(f"item {name_of_item(data, number)} cannot be read: {reason}")
                if batch.images is not None:
                    scanner = scanner or learnt(batch.images)
                    # Batch by batch, so that other threads can use a model between them.
                    with Restored(as_it_was(net.model), torch.no_grad()):
                        scanner.run(batch, kept.own.tallies)
                kept.own.add(batch, content)
                kept.save()
                others = (len(batch.numbers) + len(batch.broken)) * ranks.world  # about as far as this one
                bar.update(others if total is None else min(others, total - bar.n))
        kept.compared()
        kept.save(now=True)
        whole = kept.whole(ranks, source.count, batch_size)
    provenance = ScanProvenance(
        type(net.model).__name__,
        fingerprint(net.model),
        short_name(data),
        batch_size,
        per_image,
        {"deconvviz": __version__, "torch": str(torch.__version__)},
    )
    return _result(whole, data, provenance)


def _begun(
    net: DeconvNet,
    source: Source,
    ranks: Ranks,
    state: str | os.PathLike[str] | None,
    options: dict[str, Any],
    learnt: Callable[[Tensor], Scanner],
    held: Restored,
) -> tuple[Scanner | None, ScanState]:
    """What an earlier scan left, where all processes of the job, and that scan, do the same.

    held: keeps the folder of the state for this job.
    """
    if state is None and ranks.world == 1:
        return None, ScanState(None, {}, ranks)
    scanners: list[Scanner] = []

    def identity() -> dict[str, Any]:
        if state is not None and ranks.rank == 0:
            held.enter_context(alone(checked_folder(state)))
        kept = {"state": "kept" if state is not None else "none"}
        found = options | kept | identity_of(net.model, source, net.preprocess)
        first = source.first(net.preprocess)
        if first is not None:
            scanners.append(learnt(first[None]))
        return found | {"layers on the first image": scanners[0].shown if scanners else None}

    identities = ranks.each(identity)
    for rank, other in enumerate(identities):
        if what := difference(identities[0], other):
            raise InputError(
                f"the processes of this job do different scans: the {what[0]} is {what[1]} in process 0 and {what[2]} "
                f"in process {rank}; give all of them the same model, weights, data and options"
            )
    states: list[ScanState] = []
    ranks.each(lambda: states.append(ScanState(state, identities[0], ranks, not source.indexed)))
    return next(iter(scanners), None), states[0]


def _result(whole: Progress, data: Any, provenance: ScanProvenance) -> TopActivations:
    broken = tuple(
        Broken(number, name_of_item(data, number), reason) for number, reason in sorted(whole.broken.items())
    )
    if not whole.count:
        raise none_readable(broken)
    tallies = whole.tallies
    edges = bin_edges()
    return TopActivations(
        {layer: tally.values for layer, tally in tallies.items()},
        {layer: tally.images for layer, tally in tallies.items()},
        {layer: unpacked(tally.positions, int(tally.dimensions)) for layer, tally in tallies.items()},
        {
            layer: ChannelStatistics(
                tally.fired.double() / whole.count, tally.mean(whole.count), tally.maximum, tally.histogram, edges
            )
            for layer, tally in tallies.items()
        },
        whole.count,
        broken,
        provenance,
    )
