"""What is known of a channel over the data set: its values, its strongest units, and the channels that feed it.

Without a scan, the beginning of the data set is scanned behind, a batch at a time, while the worker has nothing else to
do.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from torch.utils.data import Subset

from deconvviz.data.source import LOOKED_AT
from deconvviz.errors import DataError, InputError
from deconvviz.explorer.atlas_values import AtlasValues
from deconvviz.explorer.encoding import shown_image, shown_signed
from deconvviz.explorer.networks import OF_THE_DATASET, ImageKey, Networks
from deconvviz.explorer.worker import Steps
from deconvviz.mining.project_top import project_top
from deconvviz.mining.scan import scan
from deconvviz.reading.fed_units import FeederSearch, nearest, sources_of
from deconvviz.results import ChannelTop, TopActivations

SCANNED = 1000  # images that are scanned behind, at most
BATCH_PIXELS = 100_000  # numbers in a batch of that scan: a step has to be short
MOST_IN_A_BATCH = 64
BARS_SHOWN = 40  # of a histogram
INPUTS_SHOWN = 8
KEPT_CHANNELS = 64  # whose strongest units are kept


class KnownChannels:
    """What a scan says of channels. Only the worker's thread may use it."""

    def __init__(self, networks: Networks, top: TopActivations | None, atlas: AtlasValues | None = None) -> None:
        self._networks, self._data, self._atlas = networks, networks.data, atlas
        self.top = top
        self.share = 1.0 if top is not None else 0.0  # of the scan behind
        self._tops: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
        self._failed = ""

    def scanning(self) -> Steps[None]:
        """Scan the beginning of the data set, a batch in each step."""
        if self._data is None or self.top is not None or self._atlas is not None:
            return
        self._data = Subset(self._data, range(min(SCANNED, len(self._data))))
        scanned = _Scan(self._networks, self._data)
        try:
            for self.share in scanned.steps():
                yield self.share
            self.top, self._failed = scanned.top, scanned.failed
        finally:
            scanned.stop()
            self.share = 1.0

    def values(self, layer: str, channel: int) -> dict[str, Any]:
        """The histogram of a channel's strongest value in each image; the reason if there is none."""
        if self._atlas is not None:
            if (found := self._atlas.channel(layer, channel)) is None:
                return {"why": f"The atlas has no values of {layer}."}
            return {"images": self._atlas.images, **{key: found[key] for key in ("fires", "mean", "maximum", "bars")}}
        if self.top is None:
            if self._data is None:
                return {"why": "Start the explorer with a data set to see this channel's values over it."}
            return {"why": self._failed} if self._failed else {"scanning": self.share}
        if layer not in self.top.values:
            return {"why": f"The scan has no values of {layer}; those of convolutions and linear layers are known."}
        statistics = self.top.statistics[layer]
        if not 0 <= channel < len(statistics.fires):
            raise InputError(f"layer {layer!r} has channels 0 to {len(statistics.fires) - 1}, not {channel}")
        counts, edges = statistics.histogram[channel].tolist(), statistics.edges.tolist()
        return {
            "images": self.top.count,
            "fires": float(statistics.fires[channel]),
            "mean": float(statistics.mean[channel]),
            "maximum": float(statistics.maximum[channel]),
            "bars": bars_of(counts, edges),
        }

    def strongest(self, layer: str, channel: int) -> Steps[dict[str, Any]]:
        """The channel's strongest units over the data set, projected."""
        if self._atlas is not None:
            return (yield from self._of_the_atlas(layer, channel))
        if self.top is None or layer not in self.top.values:
            return {"units": []}
        key = layer, channel
        if key not in self._tops:
            yield 0.05
            projected = project_top(
                self._networks.given, self._data, self.top, layer=layer, channel=[channel], progress=False
            )
            self._tops[key] = {"units": _shown(projected[0]) if len(projected) else []}
            while len(self._tops) > KEPT_CHANNELS:
                self._tops.popitem(last=False)
        return self._tops[key]

    def _of_the_atlas(self, layer: str, channel: int) -> Steps[dict[str, Any]]:
        """The channel's strongest units in the atlas, projected one by one."""
        found = self._atlas.channel(layer, channel) if self._atlas is not None else None
        pictures, units = self._networks.pictures, []
        if self._atlas is None or found is None or pictures is None:
            return {"units": []}
        for image, number, position, before in found["units"]:
            x, label = pictures.load_alone(image)
            projection = self._networks.given.project_units(x[None], layer, [(0, number, position)]).cpu()
            self._atlas.check_recomputed(layer, projection.units[0], image, before, found["maximum"])
            top = ChannelTop(
                channel=channel, projection=projection, images=(image,), names=(pictures.name(image),), labels=(label,)
            )
            units += _shown(top)
            yield len(units) / len(found["units"])
        return {"units": units}

    def inputs(self, client: str, image: ImageKey, layer: str, channel: int) -> list[dict[str, Any]]:
        """The channels that add most to a channel's strongest unit in an image, or take most from it."""
        trace = self._networks.trace(client, image)
        if layer not in trace.activations:
            return []
        activations, given = trace.activations_of(layer), self._networks.given
        if not 0 <= channel < activations.channels:
            return []
        strongest = int(activations.maps([channel]).flatten().argmax())
        position = np.unravel_index(strongest, activations.dims) if activations.dims else ()
        names = nearest(trace, layer, sources_of(trace, given, None))
        search = FeederSearch(given, layer, names)
        fed = search.units(self._networks.input(client, image), [(0, channel, tuple(map(int, position)))])
        added = [(name, n, value) for name in names for n, value in enumerate(fed.added[name][0].tolist()) if value]
        added = [one for one in added if math.isfinite(one[2])]
        added.sort(key=lambda one: -abs(one[2]))
        return [{"layer": name, "channel": n, "added": value} for name, n, value in added[:INPUTS_SHOWN]]


class _Scan:
    """A scan in a thread of its own that runs only during a step: the model has one user at a time."""

    def __init__(self, networks: Networks, data: Any) -> None:
        self._size = _batch_size(networks, len(data))
        self._networks, self._data = networks, data
        self._go, self._reached = threading.Semaphore(0), threading.Semaphore(0)
        self._at, self._begun, self._ended, self._stopped = 0, False, False, False
        self.top: TopActivations | None = None
        self.failed = ""
        self._thread: threading.Thread | None = None

    def steps(self) -> Steps[None]:
        self._thread = threading.Thread(target=self._run, name="deconvviz explorer's scan", daemon=True)
        self._thread.start()
        while not self._ended:
            self._go.release()
            self._reached.acquire()
            yield self._at / len(self._data)

    def stop(self) -> None:
        self._stopped = True
        self._go.release()
        if self._thread is not None:
            self._thread.join(timeout=30)

    def _run(self) -> None:
        try:
            try:
                self.top = self._scanned(self._size)
            except InputError:  # images of several sizes, or a layer that mixes the samples of a batch
                if self._size == 1 or self._stopped:
                    raise
                self.top = self._scanned(1)
        except Exception as error:  # shown where the values would be
            self.failed = f"The data set could not be scanned: {error}"
        finally:
            self._ended = True
            self._reached.release()

    def _scanned(self, batch_size: int) -> TopActivations:
        data = _Gated(self, self._data)
        return scan(self._networks.given, data, batch_size=batch_size, workers=0, progress=False)

    def before(self, number: int) -> None:
        """Called before an item is read: waits for the next step after as many as fit into one."""
        if self._stopped:
            raise InputError("the explorer has ended")
        if number % self._size == 0:
            self._at = max(self._at, number)
            if self._begun:
                self._reached.release()
            self._begun = True
            self._go.acquire()


def _batch_size(networks: Networks, count: int) -> int:
    """How many images are scanned in a step, from the size of the first one that can be read."""
    for number in range(min(LOOKED_AT, count)):
        with contextlib.suppress(DataError, InputError):
            numbers = networks.input("", ImageKey(f"{OF_THE_DATASET}{number}")).numel()
            return max(1, min(MOST_IN_A_BATCH, BATCH_PIXELS // max(1, numbers)))
    return 1


class _Gated:
    """A data set that waits for its turn."""

    def __init__(self, gate: _Scan, data: Any) -> None:
        self._gate, self._data = gate, data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, number: int) -> Any:
        self._gate.before(number)
        return self._data[number]


def bars_of(counts: list[int], edges: list[float]) -> list[tuple[float, float, int]]:
    """The occupied bins of a histogram as (low, high, count), several in one bar where there are many."""
    occupied = [number for number, count in enumerate(counts) if count]
    if not occupied:
        return []
    edges = [2 * edges[1], *edges[1:-1], 2 * edges[-2]]  # the outermost ones are infinite
    first, last = occupied[0], occupied[-1] + 1
    step = -(-(last - first) // BARS_SHOWN)
    starts = range(first, last, step)
    return [(edges[a], edges[min(a + step, last)], sum(counts[a : min(a + step, last)])) for a in starts]


def _shown(top: ChannelTop) -> list[dict[str, Any]]:
    """A channel's strongest units as the page shows them."""
    found = []
    for row, unit in enumerate(top.projection.units):
        box = top.projection.receptive_fields[row].tolist()
        places: tuple[Any, ...] = (..., *(slice(first, last) for first, last in box))
        found.append(
            {
                "image": f"data-{top.images[row]}",
                "name": top.names[row],
                "label": top.labels[row],
                "value": unit.activation,
                "position": list(unit.position),
                "patch": shown_image(top.projection.images[unit.sample][places]),
                "projection": shown_signed(top.projection.cut(row, box)),
                "pixels": [last - first for first, last in box],
            }
        )
    return found
