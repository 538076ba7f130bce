"""Diagnosis (Zeiler and Fergus, Section 4.1 and Figure 6): problems of filters and channels.

In the first layers of a network, Zeiler and Fergus saw dead features, dominating filters, extreme frequencies with few
in between, and aliasing from a large stride; changing the architecture removed these problems. Here each problem is a
number measured over a dataset, with a limit, for every convolution:

- *dead*: after a rectifier, above zero at no position of any image; without a rectifier, constant.
- *always on*: after a rectifier, above zero at every position of every image.
- *duplicate*: for two channels that are not dead, the correlation of their values over all positions and images, or the
  cosine similarity of their filters (in the same group), is at least `similar`. The later channel is reported.
  Correlations over too few values to exclude chance are ignored.
- *RMS*: sqrt(mean w²) of a filter exceeds `outlier` times the layer's median, or in the first layer `rms_limit`, if
  given. Zeiler and Fergus used 0.1, for inputs in about [-128, 128].
- *frequencies*: the share of the first layer's filter energy in the middle frequencies is less than half of that of
  white noise (`deconvviz.models.filters.frequency_bands`).
- *aliasing*: for a strided layer, more than half of the energy of a channel's response before subsampling lies above
  the stride's Nyquist limit (`deconvviz.models.filters.aliased_energy`).

Channels are measured after the normalisation and the rectifier that follow a convolution, if nothing else reads the
values in between. The dataset is read once, and only sums are kept, so memory does not grow with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deconvviz.arguments import FLAG, NET, NUMBER, WHOLE, optional, takes
from deconvviz.data.batches import batches, is_indexed, none_readable
from deconvviz.data.datasets import as_dataset
from deconvviz.data.naming import name_of_item
from deconvviz.errors import InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.mining.firing import fires_at
from deconvviz.mining.scanned_layers import ScannedLayers
from deconvviz.models.filters import FILTERED, aliased_energy, bands_of_noise, filter_rms, frequency_bands
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import Call, refuse_misfit
from deconvviz.recording.isolation import as_it_was
from deconvviz.recording.layer_names import Layers, check_layers, layer_names, layers_of_kind, module_called
from deconvviz.recording.observer import AllLayersSeen, Observer
from deconvviz.recording.placement import Placement
from deconvviz.results import Broken, Diagnosis, Flag, LayerFacts
from deconvviz.results.words import agreeing, counted

TOGETHER = 8  # samples whose maps are added in one step
CHANCE = 0.05  # probability at which a layer's duplicates by correlation may arise by chance


@takes(net=NET, similar=NUMBER, outlier=NUMBER, rms_limit=optional(NUMBER), batch_size=WHOLE, progress=FLAG)
@on_the_cpu
def diagnose(
    net: DeconvNet,
    dataset: Any,
    *,
    layers: Layers = None,
    similar: float = 0.98,
    outlier: float = 3.0,
    rms_limit: float | None = None,
    batch_size: int = 32,
    progress: bool = True,
) -> Diagnosis:
    """Find problems of channels and filters over a dataset.

    The problems are: dead, always on, duplicate, RMS, frequencies and aliasing; docs/experiments.md gives their
    criteria.

    Args:
        net: The network.
        dataset: As for `deconvviz.scan`.
        layers: Names of convolutions and linear layers; None for all convolutions.
        similar: Correlation or cosine similarity from which channels are duplicates.
        outlier: Multiple of the median RMS above which a filter is an outlier.
        rms_limit: Absolute limit for the RMS of the first layer's filters; None for no limit.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Diagnosis`.

    Raises:
        InputError: If a limit is out of range, a layer has no filters, or the images do not fit.
        DataError: If the dataset is empty.
        UnknownLayerError: If a layer does not exist.
    """
    if not 0 < similar <= 1 or not outlier > 1 or batch_size < 1 or (rms_limit is not None and not rms_limit > 0):
        raise InputError(
            f"similar lies in (0, 1], outlier is above 1, rms_limit and batch_size are above 0, not similar={similar}, "
            f"outlier={outlier}, rms_limit={rms_limit}, batch_size={batch_size}"
        )
    asked = layer_names(layers, net.model)
    dataset = as_dataset(dataset)
    if is_indexed(dataset) and not len(dataset):
        raise none_readable([])
    watched, broken, count = _watched(net, dataset, asked, batch_size, progress)
    facts = tuple(layer.facts() for layer in watched)
    first = next((layer for layer in watched if isinstance(layer.module, FILTERED)), watched[0])
    flags = tuple(
        flag for layer in watched for flag in layer.flags(similar, outlier, rms_limit if layer is first else None)
    )
    if isinstance(first.module, FILTERED):
        flags += _extremes(first)
    return Diagnosis(
        layers=facts,
        flags=flags,
        first=first.layer,
        filters=first.weight.cpu().clone(),
        count=count,
        broken=tuple(broken),
        verdict=_verdict(facts, flags, count, [entry.layer for entry in watched if not entry.can_tell(similar)]),
    )


# Which layers, and where they are looked at


def _watched(
    net: DeconvNet, dataset: Any, asked: list[str] | None, batch_size: int, progress: bool
) -> tuple[list[_Watched], list[Broken], int]:
    """Sums over the dataset for each layer, the items that could not be read, and the number of the others."""
    watched: list[_Watched] = []
    broken: list[Broken] = []
    count = 0
    total = len(dataset) if is_indexed(dataset) else None
    placement = Placement.of(net.model)
    loading = batches(dataset, placement.preprocess(net.preprocess), batch_size, lambda _: True)
    bar = progress_bar(total=total, unit="image", desc="diagnose", shown=progress)
    with bar, Restored(as_it_was(net.model)) as settings:
        loaded = settings.enter_context(loading)
        for batch in loaded:
            broken += [Broken(number, name_of_item(dataset, number), reason) for number, reason in batch.broken]
            count += len(batch.numbers)
            bar.update(len(batch.numbers) + len(batch.broken))
            if batch.images is not None:
                x = placement.moved(batch.images)
                watched = watched or _found(net, x[:1], asked, batch_size > 1)
                _look(net.model, x, watched)
    if not count:
        raise none_readable(broken)
    return watched, broken, count


@on_the_cpu
def _found(net: DeconvNet, sample: Tensor, asked: Sequence[str] | None, batched: bool) -> list[_Watched]:
    tape = net.trace(sample).tape
    asked = asked or layers_of_kind(tape, net.model, FILTERED)
    check_layers(asked, tape.layers, net.model)
    called = {name: module_called(name, net.model) for name in asked}
    for name in asked:
        if not isinstance(called[name], (*FILTERED, nn.Linear)):
            kind = tape.layers[name].kind
            raise InputError(f"layer {name!r} is a {kind}; only convolutions and linear layers have filters")
    ordered = [name for name in tape.layers if name in set(asked)]
    places = {name: fires_at(tape, name) for name in ordered}
    scanned = ScannedLayers.of(net, [place for place, _ in places.values()], sample, batched).layers
    return [_Watched(name, called[name], *places[name], scanned[places[name][0]].channel_axis) for name in ordered]


def _look(model: nn.Module, x: Tensor, watched: Sequence[_Watched]) -> None:
    looker = _ChannelReader(model, watched)
    try:
        with Restored(torch.no_grad(), looker.observing()), contextlib.suppress(AllLayersSeen):
            model(x)
    except Exception as error:
        refuse_misfit(model, Call((x,), {}), error)
        raise


class _ChannelReader(Observer):
    """Hands maps to the layers that are watched, and what goes into those with a stride."""

    def __init__(self, model: nn.Module, watched: Sequence[_Watched]) -> None:
        super().__init__(model, {layer.seen_at for layer in watched})
        self.watched = watched

    @on_the_cpu
    def module_entered(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        for entry in self.watched:
            if entry.strided and entry.layer == self.current_layer:
                with torch._C.DisableTorchFunction():
                    entry.respond(args[0] if args else kwargs["input"])

    @on_the_cpu
    def layer_returned(self, name: str, kind: str, tensor: Tensor) -> bool:
        for layer in self.watched:
            if layer.seen_at == name:
                layer.add(tensor)
        return True


# What is kept of a layer


class _Watched:
    """Sums over the dataset of one layer's values; moments are about its mean in the first maps seen."""

    def __init__(self, layer: str, module: Any, seen_at: str, rectified: bool, axis: int) -> None:
        self.layer, self.module, self.seen_at, self.rectified, self.axis = layer, module, seen_at, rectified, axis
        self.weight: Tensor = module.weight.detach()
        self.stride = tuple(module.stride) if isinstance(module, FILTERED) else ()
        self.strided = any(step > 1 for step in self.stride)
        channels = len(self.weight)
        self.count = 0
        self.above = torch.zeros(channels, dtype=torch.long)
        self.low = torch.full((channels,), torch.inf, dtype=torch.float64)
        self.high = -self.low
        self.middle: Tensor | None = None
        self.sums = torch.zeros(channels, dtype=torch.float64)
        self.products = torch.zeros(channels, channels, dtype=torch.float64)
        self.aliased, self.energy = (torch.zeros(channels, dtype=torch.float64) for _ in range(2))

    def add(self, maps: Tensor) -> None:
        """Maps (N, ...), channels along the layer's axis."""
        for part in maps.split(TOGETHER):
            values = part.movedim(self.axis, 0).flatten(1)
            values = values.to(torch.promote_types(values.dtype, torch.float32))
            if not bool(torch.isfinite(values).all()):
                raise InputError(f"the activations of layer {self.seen_at!r} are not all finite on this data")
            if self.middle is None:
                self.middle = values.mean(1, keepdim=True)
            self.count += values.shape[1]
            self.above += (values > 0).sum(1).cpu()
            self.low = torch.minimum(self.low, values.amin(1).cpu().double())
            self.high = torch.maximum(self.high, values.amax(1).cpu().double())
            values = values - self.middle
            self.sums += values.sum(1).cpu().double()
            self.products += (values @ values.T).cpu().double()

    def respond(self, x: Tensor) -> None:
        """Add the layer's response to input (N, C, ...) without its stride."""
        module = self.module
        convolution = (F.conv1d, F.conv2d, F.conv3d)[len(self.stride) - 1]
        padding = module.padding
        if module.padding_mode != "zeros":
            x, padding = F.pad(x, module._reversed_padding_repeated_twice, module.padding_mode), 0
        for part in x.split(TOGETHER):
            dense = convolution(part, module.weight, None, 1, padding, module.dilation, module.groups)
            above, energy = aliased_energy(dense, self.stride)
            self.aliased += above.cpu()
            self.energy += energy.cpu()

    # Verdict

    @property
    def silent(self) -> Tensor:
        """Dead channels, (channels,)."""
        return self.high <= 0 if self.rectified else self.low == self.high

    def correlations(self) -> Tensor:
        """(channels, channels); NaN on the diagonal and for channels that do not vary."""
        mean = self.sums / self.count
        covariance = self.products / self.count - mean[:, None] * mean
        spread = covariance.diagonal().clamp(min=0).sqrt()
        spread[self.low == self.high] = torch.nan
        correlations: Tensor = covariance / spread[:, None] / spread
        return correlations.fill_diagonal_(torch.nan)

    def can_tell(self, similar: float) -> bool:
        """Whether a correlation of `similar` exceeds chance, given the number of values and of pairs of channels.

        For n independent values, two channels reach r with a probability of at most (1 - r²)^((n - 2) / 2) / 2.
        """
        pairs = len(self.weight) * (len(self.weight) - 1) / 2
        if self.count < 3:
            return not pairs
        by_chance: float = pairs / 2 * (1 - similar**2) ** ((self.count - 2) / 2)
        return by_chance <= CHANCE

    def cosines(self) -> Tensor:
        """Between filters, (channels, channels); NaN between groups, on the diagonal and for filters of zeros."""
        flat = self.weight.flatten(1).cpu().double()
        flat = flat / flat.norm(dim=1, keepdim=True)
        group = torch.arange(len(flat)) // (len(flat) // getattr(self.module, "groups", 1))
        cosines = torch.where(group[:, None] == group, flat @ flat.T, torch.nan)
        return cosines.fill_diagonal_(torch.nan)

    def bands(self) -> Tensor:
        """(channels, 3); NaN where filters have no extent."""
        if self.weight[0, 0].numel() < 2 or not isinstance(self.module, FILTERED):
            return torch.full((len(self.weight), 3), torch.nan, dtype=torch.float64)
        return frequency_bands(self.weight).cpu()

    def facts(self) -> LayerFacts:
        return LayerFacts(
            layer=self.layer,
            seen_at=self.seen_at,
            rectified=self.rectified,
            stride=self.stride,
            active=self.above.double() / self.count,
            correlation=_largest(self.correlations()),
            cosine=_largest(self.cosines()),
            rms=filter_rms(self.weight).cpu().double(),
            bands=self.bands(),
            aliasing=self.aliased / self.energy if self.strided else torch.full_like(self.energy, torch.nan),
        )

    def flags(self, similar: float, outlier: float, rms_limit: float | None) -> list[Flag]:
        facts, dead = self.facts(), self.silent
        flags = [Flag("dead", self.layer, int(channel), 0.0) for channel in dead.nonzero()]
        if self.rectified:
            flags += [Flag("always on", self.layer, int(channel), 1.0) for channel in (self.low > 0).nonzero()]
        correlations = self.correlations() if self.can_tell(similar) else torch.full_like(self.products, torch.nan)
        alike = torch.fmax(correlations, self.cosines()).nan_to_num(-2.0)
        alike[dead], alike[:, dead] = -2.0, -2.0
        for channel, row in enumerate(alike.tril()):
            if bool((row[:channel] >= similar).any()):
                other = int(row[:channel].argmax())
                flags.append(Flag("duplicate", self.layer, channel, float(row[other]), other))
        limit = outlier * float(facts.rms.median())
        over = (facts.rms > limit) & (limit > 0) | (facts.rms > (rms_limit or torch.inf))
        flags += [Flag("RMS", self.layer, int(channel), float(facts.rms[channel])) for channel in over.nonzero()]
        torn = (facts.aliasing > 0.5).nonzero()
        return flags + [Flag("aliasing", self.layer, int(channel), float(facts.aliasing[channel])) for channel in torn]


def _largest(pairs: Tensor) -> Tensor:
    """The largest of each row, without NaN; NaN where there is nothing else."""
    largest = pairs.nan_to_num(-2.0).amax(1)
    return torch.where(largest < -1.5, torch.nan, largest)


def _extremes(first: _Watched) -> tuple[Flag, ...]:
    """Whether the filters have little energy between low and high frequencies."""
    mid = float(first.bands()[:, 1].nanmean())
    noise = float(bands_of_noise(first.weight.shape[2:])[1])
    return (Flag("frequencies", first.layer, None, mid),) if mid < noise / 2 else ()


def _verdict(facts: Sequence[LayerFacts], flags: Sequence[Flag], count: int, unsure: Sequence[str]) -> str:
    """unsure: layers with too few values for correlations."""
    channels = sum(len(layer.rms) for layer in facts)
    looked = f"Of {counted(channels, 'channel')} in {counted(len(facts), 'layer')}, on {counted(count, 'image')}"
    words = {
        "dead": ("is dead", "are dead"),
        "always on": ("is always on", "are always on"),
        "duplicate": ("is a duplicate of another", "are duplicates of others"),
        "RMS": ("is an outlier by the RMS of its filter", "are outliers by the RMS of their filters"),
        "aliasing": ("is mostly aliasing", "are mostly aliasing"),
    }
    said = []
    for problem, (singular, plural) in words.items():
        if number := sum(flag.problem == problem for flag in flags):
            said.append(f"{number} {agreeing(number, singular, plural)}")
    extremes = next((flag for flag in flags if flag.problem == "frequencies"), None)
    healthy = "none is dead, always on, a duplicate, an outlier or mostly aliasing"
    spoken = f"{looked}, {', '.join(said) if said else healthy}"
    if unsure:
        spoken += f"; there are too few values to find duplicates in {', '.join(unsure)}"
    if extremes is None:
        return f"{spoken}."
    return f"{spoken}; the filters of {extremes.layer} have {extremes.value:.0%} of their energy in mid frequencies."
