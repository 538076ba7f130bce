"""How much of the image is left in each layer: linear decoding by depth, with trained and with random weights.

A ridge regression, fitted on some images, decodes others from a layer's maps. Its penalty is chosen on a third part.
What it recovers is what the layer still tells about the image in a form that a linear map can read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from deconvviz import images as pictures
from deconvviz.arguments import FLAG, NET, RANDOM_STATE, check_counts, takes, whole_from
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import InputError
from deconvviz.evidence.randomisation import SEED_STRIDE, with_random_weights
from deconvviz.experiments._layers import POOLS, features, hidden_layers
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import check_finite
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording.layer_names import WEIGHTED, Layers, layer_names, layers_of_kind
from deconvviz.recording.placement import where_double
from deconvviz.results import Broken
from deconvviz.results.decoding import Decoding
from deconvviz.trace import Trace

LONGEST_SIDE = 32  # pixels and positions per axis to which larger images and maps are averaged
PENALTIES = tuple(10.0**power for power in range(-7, 3))  # over the mean squared length of a layer's features
FEWEST_IMAGES = 5
DECODED_EXAMPLES = 3
COLUMNS_AT_ONCE = 4096


@takes(net=NET, seeds=whole_from(1), random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def decoding(
    net: DeconvNet,
    dataset: Any,
    *,
    layers: Layers = None,
    images: int = 1000,
    seeds: int = 3,
    batch_size: int = 64,
    random_state: int = 0,
    progress: bool = True,
) -> Decoding:
    """Decode images linearly from the maps of each layer: why deeper layers look less clear.

    Three fifths of the images fit a ridge regression from maps to pixels, one fifth chooses its penalty, one fifth is
    held out. Images and maps of more than 32 pixels per axis are averaged to 32. Random weights have the deviations
    that the trained ones have.

    Args:
        net: The network; its style is not used.
        dataset: Images, as for `deconvviz.scan`, with items by number. Labels are not used.
        layers: Layer names; None for convolutions, linear layers and the hidden layers behind them.
        images: Number of images, drawn at random; all if there are fewer. More images make a better decoder.
        seeds: Number of times that random weights are drawn.
        batch_size: Number of images that run together.
        random_state: Seed of the images and of the first random weights.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Decoding`.

    Raises:
        InputError: If there are fewer than 5 images, or an option is out of range.
        UnknownLayerError: If a layer does not run.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net = DeconvNet(mnist_cnn())
        >>> found = decoding(net, mnist_test()[0], layers=["conv1", "fc1"], images=100, seeds=1, progress=False)
        >>> found.recovered("conv1").mean > found.recovered("fc1").mean
        True
    """
    check_counts(batch_size=batch_size)
    check_counts(FEWEST_IMAGES, images=images)
    asked, data = layer_names(layers, net.model), as_dataset(dataset)
    if not is_indexed(data):
        raise InputError(f"decoding needs a dataset with a length and items by number, not a {type(data).__name__}")
    generator = torch.Generator().manual_seed(random_state)
    x, broken = _drawn(net, data, images, generator)
    names = asked or _usual_layers(net.trace(x[:1]), net)
    shown = pictures.displayed(x, net.preprocess).cpu().float()
    job = _Decoders(shown, len(x))
    nets = [net, *(with_random_weights(net, random_state + SEED_STRIDE * seed) for seed in range(seeds))]
    found: list[list[_Decoded]] = []
    with progress_bar(total=len(nets) * len(names), unit="layer", desc="decoding", shown=progress) as bar:
        for one in nets:
            found.append([])
            for name in names:
                found[-1].append(job.decode(_LayerMaps.of(one, x, name, batch_size)))
                bar.update()
    return replace(job.result(names, found), broken=broken)


def _drawn(net: DeconvNet, data: Any, count: int, generator: torch.Generator) -> tuple[Tensor, tuple[Broken, ...]]:
    """Images of a dataset that can be read, (N, C, ...), and items that cannot."""
    numbers = torch.randperm(len(data), generator=generator).tolist()
    drawn, broken = DatasetPictures(net, data).readable(numbers, count)
    if len(drawn) < FEWEST_IMAGES:
        raise InputError(f"decoding needs at least {FEWEST_IMAGES} images, and {len(drawn)} of these can be read")
    x = torch.stack(drawn)
    check_finite(x)
    return x, broken


def _usual_layers(trace: Trace, net: DeconvNet) -> list[str]:
    """Convolutions, linear layers and hidden layers, in the order in which they ran."""
    known: set[str] = set()
    with contextlib.suppress(InputError):
        known.update(layers_of_kind(trace.tape, net.model, WEIGHTED))
    with contextlib.suppress(InputError):
        known.update(hidden_layers(trace))
    if not known:
        raise InputError("the model has no hidden layers: neither rectifiers nor two filters; name the layers")
    ids: dict[int, str] = {}
    for name, layer in trace.tape.layers.items():
        if name in known:
            ids.setdefault(layer.value.id, name)
    return [ids[key] for key in sorted(ids)]


@dataclass(frozen=True)
class _LayerMaps:
    """A layer's maps of all images.

    Attributes:
        rows: (images, numbers).
        maps: (images, channels, *positions), averaged to at most `LONGEST_SIDE` positions; None without maps.
        shape: The shape of the maps of one image.
    """

    rows: Tensor
    maps: Tensor | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, net: DeconvNet, x: Tensor, name: str, batch_size: int) -> _LayerMaps:
        rows: list[Tensor] = []
        size: tuple[int, ...] | None = None
        shape: tuple[int, ...] = ()
        for part in x.split(int(batch_size)):
            trace = net.trace(part, [name])
            found = features(trace, name, LONGEST_SIDE).float().cpu()
            check_finite(found, f"layer {name!r}")
            rows.append(found)
            value = trace.layer(name).value
            shape = tuple(value.shape[1:])
            same_rank = len(value.shape) == x.ndim and x.ndim - 2 in POOLS
            has_maps = same_rank and channel_axis(trace.tape, value) == 1
            size = (shape[0], *(min(LONGEST_SIDE, side) for side in shape[1:])) if has_maps else None
        joined = torch.cat(rows)
        return cls(joined, None if size is None else joined.view(len(joined), *size), shape)


class _Decoded(NamedTuple):
    """What was decoded from one layer.

    Attributes:
        errors: (held-out images,), sums of squared errors.
        likeness: (held-out images,), mean absolute correlation of map and image.
        pictures: (examples, C, ...), decoded images.
        strongest: (examples, ...), the strongest map; empty without maps.
        shape: The shape of the maps of one image.
    """

    errors: Tensor
    likeness: Tensor
    pictures: Tensor
    strongest: Tensor
    shape: tuple[int, ...]


class _Decoders:
    """Decoders of the same images from the maps of any layer."""

    def __init__(self, shown: Tensor, count: int) -> None:
        """shown: the images for display, (N, C, ...)."""
        pool: Callable[..., Tensor] | None = POOLS.get(shown.ndim - 2)
        size = [min(LONGEST_SIDE, side) for side in shown.shape[2:]]
        self.targets = shown if pool is None else pool(shown, size)
        fitted, chosen = 3 * count // 5, max(1, count // 5)
        self.fitted = slice(0, fitted)
        self.choosing = slice(fitted, fitted + chosen)
        self.held_out = slice(fitted + chosen, count)
        flat = self.targets.flatten(1).double()
        self.mean = flat[self.fitted].mean(0)
        self.pixels = flat - self.mean

    def decode(self, layer: _LayerMaps) -> _Decoded:
        """Fit on some images, choose the penalty on others, decode the rest."""
        products = _products(layer.rows - layer.rows[self.fitted].mean(0))
        own = products[self.fitted, self.fitted]
        values, axes = torch.linalg.eigh(own)
        scale = float(own.diagonal().mean()) or 1.0
        along = axes.T @ self.pixels[self.fitted]

        def decoded(part: slice, penalty: float) -> Tensor:
            weights: Tensor = axes @ (along / (values.clamp(min=0) + penalty * scale)[:, None])
            return products[part, self.fitted] @ weights

        wrong = [float((decoded(self.choosing, p) - self.pixels[self.choosing]).square().sum()) for p in PENALTIES]
        best = PENALTIES[min(range(len(wrong)), key=wrong.__getitem__)]
        found = decoded(self.held_out, best)
        errors = (found - self.pixels[self.held_out]).square().sum(1)
        examples = (found[:DECODED_EXAMPLES] + self.mean).view(-1, *self.targets.shape[1:]).float()
        likeness, strongest = self._likeness(layer)
        return _Decoded(errors, likeness, examples, strongest, layer.shape)

    def _likeness(self, layer: _LayerMaps) -> tuple[Tensor, Tensor]:
        """The likeness of maps and held-out images, and the strongest maps of the examples."""
        held_out = self.targets[self.held_out]
        blank = torch.zeros(len(held_out[:DECODED_EXAMPLES]), 0, 0)
        if layer.maps is None:
            return torch.full((len(held_out),), torch.nan, dtype=torch.float64), blank
        maps = layer.maps[self.held_out]
        small = POOLS[maps.ndim - 2](held_out.mean(1, keepdim=True), list(maps.shape[2:]))
        alike = (_normal(maps) * _normal(small)).sum(2).abs()
        alike[~_varies(maps).expand_as(alike) | ~_varies(small).expand_as(alike)] = torch.nan
        few = maps[:DECODED_EXAMPLES]
        strongest = few.flatten(2).amax(2).argmax(1)
        return alike.nanmean(1), few[torch.arange(len(few)), strongest]

    def result(self, names: Sequence[str], found: Sequence[Sequence[_Decoded]]) -> Decoding:
        """The result; found: per network, the trained one first, and layer."""
        trained, random = found[0], found[1:]
        return Decoding(
            layers=tuple(names),
            shapes=tuple(one.shape for one in trained),
            errors=torch.stack([one.errors for one in trained]),
            totals=self.pixels[self.held_out].square().sum(1),
            random_errors=torch.stack([torch.stack([one.errors for one in of_seed]) for of_seed in random]),
            likeness=torch.stack([one.likeness for one in trained]),
            random_likeness=torch.stack([torch.stack([one.likeness for one in of_seed]) for of_seed in random]),
            fitted=self.fitted.stop,
            originals=self.targets[self.held_out][:DECODED_EXAMPLES],
            decoded=torch.stack([one.pictures for one in trained]),
            random_decoded=torch.stack([one.pictures for one in random[0]]),
            maps=tuple(one.strongest for one in trained),
        )


def _products(rows: Tensor) -> Tensor:
    """All products of rows (N, numbers), (N, N), in float64."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(COLUMNS_AT_ONCE, 1):
        total += where_double(part @ part.T).double()
    return total


def _normal(maps: Tensor) -> Tensor:
    """Maps (N, C, ...) as vectors (N, C, positions) of mean zero and length one."""
    flat = maps.flatten(2).double()
    centred = flat - flat.mean(2, keepdim=True)
    return F.normalize(centred, dim=2, eps=1e-30)


def _varies(maps: Tensor) -> Tensor:
    """Whether each map varies by more than rounding, (N, C)."""
    flat = maps.flatten(2).double()
    return flat.std(2, correction=0) > 1e-6 * flat.abs().amax(2)
