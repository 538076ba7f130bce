"""`synthesize`: pictures that excite channels most, by gradient ascent (activation maximisation)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from deconvviz import images
from deconvviz.arguments import (
    FLAG,
    NET,
    RANDOM_STATE,
    described,
    instance,
    listed,
    once,
    optional,
    takes,
    whole,
    whole_from,
)
from deconvviz.errors import InputError, UnsupportedOperation
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.backward import Met
from deconvviz.projection.device_costs import recorded_bytes
from deconvviz.projection.half_precision import wide
from deconvviz.projection.provenance import provenance
from deconvviz.projection.units import LayerActivations, channels_of, check_units
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.isolation import as_it_was
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.recording.layer_output import layer_output
from deconvviz.results import SyntheticPictures, TopActivations
from deconvviz.synthesis.ascent import Ascent
from deconvviz.synthesis.canvas import Canvas, canvas_of
from deconvviz.trace import Trace

ASCENT_STEPS = 128
BELOW_ZERO = 0.01  # what an activation below zero counts, against one above
KEPT_TWICE = 2  # autograd keeps what operations return, and makes gradients of the same size


class Shown(Protocol):
    """What shows how far the work is, such as a progress bar."""

    def update(self, n: int, /) -> object:
        """Note that so many steps of single pictures were taken."""


class Begins(Protocol):
    """Begins to show work of `total` steps of single pictures."""

    def __call__(self, *, total: int) -> AbstractContextManager[Shown]: ...


@takes(
    net=NET,
    top=optional(instance("a TopActivations", TopActivations)),
    variants=whole_from(1),
    steps=whole_from(1),
    batch_size=optional(whole_from(1)),
    random_state=RANDOM_STATE,
    progress=FLAG,
)
def synthesize(
    net: DeconvNet,
    layer: LayerName,
    *,
    channel: int | Iterable[int] | None = None,
    position: str | Sequence[int] = "all",
    examples: Any = None,
    size: int | Sequence[int] | None = None,
    variants: int = 1,
    steps: int = ASCENT_STEPS,
    top: TopActivations | None = None,
    batch_size: int | None = None,
    random_state: int = 0,
    progress: bool = True,
) -> SyntheticPictures:
    """Make pictures that excite channels of a layer as much as possible, from noise (activation maximisation).

    Gradient ascent by Adam on Fourier coefficients with decorrelated colours, while the picture is turned, scaled and
    shifted at random, as in Lucid (Olah, Mordvintsev and Schubert 2017). Such a picture shows what excites a channel in
    principle. Whether anything of the kind occurs in data, it does not show: compare it with the strongest images.

    Args:
        net: The network. Its style is not used.
        layer: The layer, by name or as a module of the model.
        channel: One channel, several, or None for all.
        position: "all" for the channel's mean over its map, which makes textures; "middle" or an index for one unit.
        examples: Images such as the network takes. They tell the size of the pictures and, if there is no preprocess
            that does, between which numbers they lie. Without examples and a preprocess, that is between 0 and 1.
        size: Height and width of the pictures in pixels, one number for both; None for those of the examples, or of
            what the preprocess makes.
        variants: Pictures per channel, from different random numbers.
        steps: Number of steps.
        top: What `scan` found on a data set, to compare the activations with.
        batch_size: Pictures in a batch; None for as many as memory allows. Each is made as if it were alone.
        random_state: Seed of the random numbers.
        progress: Show a progress bar.

    Returns:
        A `deconvviz.results.SyntheticPictures`.

    Raises:
        InputError: If an argument does not fit, or the network takes anything but images.
        UnknownLayerError: If the layer does not run.
        UnsupportedOperation: If no gradient of the layer reaches the input.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.models import mnist_cnn
        >>> net = dv.DeconvNet(mnist_cnn())
        >>> found = dv.synthesize(net, "conv2", channel=[3, 20], size=28, steps=8, progress=False)
        >>> found.pictures.shape, bool((found.activations > found.started).all())
        (torch.Size([2, 1, 1, 28, 28]), True)
    """
    options = {"examples": examples, "size": size, "variants": variants, "steps": steps, "top": top}
    options |= {"batch_size": batch_size, "random_state": random_state}
    begin = partial(progress_bar, unit="step", desc="synthesis", shown=progress)
    return synthesized(net, layer_name(layer, net.model), channel=channel, position=position, begin=begin, **options)


@on_the_cpu
def synthesized(
    net: DeconvNet,
    name: str,
    *,
    channel: int | Iterable[int] | None,
    position: str | Sequence[int],
    examples: Any,
    size: int | Sequence[int] | None,
    begin: Begins,
    variants: int = 1,
    steps: int = ASCENT_STEPS,
    top: TopActivations | None = None,
    batch_size: int | None = None,
    random_state: int = 0,
) -> SyntheticPictures:
    """As `synthesize`, with checked arguments; `begin` begins to show how far the work is."""
    canvas = canvas_of(net, examples, size)
    blank = canvas.inputs(torch.full((1, *canvas.shape), 0.5, dtype=canvas.low.dtype, device=canvas.low.device))
    trace = net.trace(blank, name)
    seen = trace.activations_of(name)
    channels = channels_of(once(channel), seen.channels, name)
    best = None if top is None else _best(net, top, name, channels)
    aim = _Aim(seen, _place(seen, position))
    work = [(number, variant) for number in channels for variant in range(variants)]
    apart = trace.layer(name).value.id in trace.apart
    at_once = (batch_size or _at_once(trace)) if apart else 1
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    with begin(total=steps * len(work)) as shown:
        for start in range(0, len(work), at_once):
            part = work[start : start + at_once]
            stepped = partial(shown.update, len(part))
            parts.append(_made(net.model, aim, canvas, part, steps=steps, random_state=random_state, stepped=stepped))
    inputs, found, started = (torch.cat(values) for values in zip(*parts, strict=True))
    pictures = images.displayed(inputs, net.preprocess).float().cpu()
    return SyntheticPictures(
        channels=tuple(channels),
        pictures=pictures.view(len(channels), variants, *pictures.shape[1:]),
        activations=found.view(len(channels), variants),
        started=started.view(len(channels), variants),
        best=best,
        position="all" if aim.place is None else aim.place,
        steps=steps,
        random_state=random_state,
        provenance=provenance(net.model, None, name, seed="", met=Met(), settings=trace.settings),
    )


class _Aim:
    """What is to be excited: the channels of a layer, at all positions or at one."""

    def __init__(self, seen: LayerActivations, place: tuple[int, ...] | None) -> None:
        self.layer, self.axis, self.place = seen.layer, seen.channel_axis, place
        self.flat = 0
        for at, size in zip(place or (), seen.dims, strict=False):
            self.flat = self.flat * size + at

    def maps(self, running: EvalMode, inputs: Tensor, channels: Tensor, opened: bool = False) -> Tensor:
        """The map of each input's own channel, (N, positions)."""
        with Restored(running.writes):
            output = layer_output(running.model, self.layer, inputs, opened=opened)
        activations = LayerActivations(self.layer, output, len(inputs), self.axis)
        every = activations.maps(list(range(activations.channels)))
        own = every.gather(1, channels.view(-1, 1, 1).expand(-1, 1, every.shape[2]))[:, 0]
        own = own.abs() if own.is_complex() else own.to(wide(own.dtype))
        return own if self.place is None else own[:, self.flat, None]

    def score(self, running: EvalMode, channels: Tensor, inputs: Tensor, opened: bool) -> Tensor:
        """How much each input excites its channel; a sum, since Adam's steps do not depend on its size.

        Where there are several positions, what lies below zero hardly counts: not all of them need to fire.

        Args:
            running: The block in which the model runs.
            channels: The channel of each.
            inputs: The inputs.
            opened: Whether rectifiers that return zero pass gradients, too.
        """
        own = self.maps(running, inputs, channels, opened)
        total = (leaky_relu(own, BELOW_ZERO) if own.shape[1] > 1 else own).sum(1)
        if not total.requires_grad:
            raise UnsupportedOperation(
                f"no gradient of layer {self.layer!r} reaches the input, so no picture can be made; the model detaches "
                f"it, or computes without gradients"
            )
        return total

    def reached(self, running: EvalMode, inputs: Tensor, channels: Tensor) -> Tensor:
        """The highest activation of each input's channel, on the CPU."""
        return self.maps(running, inputs, channels).detach().amax(1).cpu()


def _made(
    model: nn.Module,
    aim: _Aim,
    canvas: Canvas,
    work: Sequence[tuple[int, int]],
    *,
    steps: int,
    random_state: int,
    stepped: Callable[[], Any],
) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs of some channels and variants, their activations, and those of the noise from which they began."""
    channels = torch.tensor([number for number, _ in work]).to(canvas.low.device)
    with as_it_was(model, observed=True) as running:
        running.enter_context(torch.inference_mode(False))
        running.enter_context(torch.enable_grad())
        for parameter in running.parts.parameters:
            if parameter.is_leaf:
                parameter.requires_grad_(False)  # `as_it_was` undoes this
        seeds = [(random_state, *one) for one in work]
        ascent = Ascent.begun(canvas, lambda *given: aim.score(running, channels, *given), seeds, steps)
        started = aim.reached(running, ascent.inputs(), channels)
        ascent.run(stepped)
        inputs = ascent.inputs()
        found = aim.reached(running, inputs, channels)
    if not bool(inputs.isfinite().all()) or not bool(found.isfinite().all()):
        raise InputError(
            f"the activations of layer {aim.layer!r} or their gradients are not finite, so no picture can be made; "
            f"give the model in a wider type, such as model.float() makes"
        )
    return inputs, found, started


def _place(seen: LayerActivations, position: Any) -> tuple[int, ...] | None:
    """The position that is meant; None for all. Raises InputError if the layer has none such."""
    if isinstance(position, str) and position == "all":
        return None
    if isinstance(position, str) and position == "middle":
        return tuple(size // 2 for size in seen.dims)
    numbers = [whole(number) for number in listed(position) or [None]]
    if None in numbers or (isinstance(position, str)):
        raise InputError(f'position is "all", "middle" or an index such as (3, 4), not {described(position)}')
    place = tuple(number for number in numbers if number is not None)
    check_units(seen.layer, (1, seen.channels, *seen.dims), 1, [(0, 0, place)])
    return place


def _best(net: DeconvNet, top: TopActivations, layer: str, channels: Sequence[int]) -> Tensor:
    """The highest activations that a scan of the network found."""
    if top.provenance.fingerprint != fingerprint(net.model):
        model = type(net.model).__name__
        raise InputError(f"the scan is of a {top.provenance.model} with other weights than this {model}; scan again")
    if layer not in top.values:
        raise InputError(f"the scan has no layer {layer!r}; scan it, or give no top")
    values = top.values[layer][list(channels), 0].float()
    return torch.where(values.isfinite(), values, 0.0)


def _at_once(trace: Trace) -> int:
    """How many pictures memory allows at once, from the run on one of them."""
    made = [value for operation in trace.tape.operations for value in operation.outputs if value is not None]
    each = sum(torch.Size(value.shape).numel() * value.dtype.itemsize for value in made)
    return max(1, recorded_bytes(trace.call.first.device) // max(1, KEPT_TWICE * each))
