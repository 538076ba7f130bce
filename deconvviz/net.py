"""`DeconvNet`: the handle on a model that a user holds.

>>> import torch
>>> from deconvviz.models.mnist import mnist_cnn
>>> from deconvviz.data import mnist_test
>>> images, labels = mnist_test()
>>> net = DeconvNet(mnist_cnn())
>>> projection = net.project(images[:2], "conv2", channel=[3, 5])
>>> projection.pixels.shape
torch.Size([4, 1, 28, 28])
>>> [(unit.sample, unit.channel) for unit in projection.units]
[(0, 3), (0, 5), (1, 3), (1, 5)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from deconvviz import __version__, images
from deconvviz.arguments import FLAG, described, known, once, takes
from deconvviz.errors import DeconvVizError, InputError, ModelError, UnsupportedOperation, unknown_layer
from deconvviz.operations.regions import NotLocal
from deconvviz.projection.backward import Met, keep_for, project, reconstruct, samples_apart
from deconvviz.projection.crop_plan import CropPlan
from deconvviz.projection.cropped import project_trace
from deconvviz.projection.model_call import AXES, CONVOLUTIONS, Call, checked_signal, misfit, prepared, unbound
from deconvviz.projection.receptive_field import channel_axis, layer_geometry, receptive_fields
from deconvviz.projection.sample_independence import check_alone, check_statistics
from deconvviz.projection.unit_choice import ByChannel, ByPlace, UnitChoice
from deconvviz.projection.units import ChosenUnits, Position, check_finite, checked_units, layer_names
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.isolation import on_the_cpu, unwrapped
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Tape, Value
from deconvviz.recording.templates import template
from deconvviz.results import LayerInfo, LayerTable, Projection, Provenance, Reconstruction
from deconvviz.rules import Style, opaque, rule_for, style_of
from deconvviz.trace import Trace


class DeconvNet:
    """A model with a style: records it, and projects its units to pixels. The model is never changed.

    model: any `torch.nn.Module`; DataParallel, DistributedDataParallel and `torch.compile` are looked through.
    style: "deconvnet" (Zeiler and Fergus), "guided", "gradient", or a `deconvviz.Style`.
    preprocess: from a PIL image to a tensor (C, H, W), to project images and paths; where it has an `inverse`,
        or `mean` and `std` as torchvision's have, pictures show the image as it was.
    strict: refuse to linearise operations that have no mirror, instead of listing them in the result.

    Raises ModelError where the model is none, or has neither parameters nor buffers; RuleError for a style that
    is unknown.
    """

    @takes(strict=FLAG)
    def __init__(
        self, model: nn.Module, style: str | Style = "deconvnet", preprocess: Any = None, strict: bool = False
    ) -> None:
        self.model = unwrapped(model)
        if any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in self.model.modules()):
            raise ModelError(
                f"the model {type(self.model).__name__} is quantised, and quantised operations have no mirror; "
                f"project the floating-point model that was quantised"
            )
        named = (*self.model.named_parameters(), *self.model.named_buffers())
        if lazy := next((name for name, one in named if is_lazy(one)), None):
            raise ModelError(
                f"the model {type(self.model).__name__} has lazy modules, and {lazy!r} has no shape yet; "
                f"run the model once on a typical input"
            )
        frozen = isinstance(self.model, torch.jit.ScriptModule)  # whose parameters may have become constants
        if not frozen and next(self.model.parameters(), None) is None and next(self.model.buffers(), None) is None:
            raise ModelError(
                f"the model {type(self.model).__name__} has no parameters, so there is no network to inspect"
            )
        self.style = style_of(style)
        if preprocess is not None and not callable(preprocess):
            raise InputError(f"preprocess is a function from a PIL image to a tensor, not {type(preprocess).__name__}")
        self.preprocess = preprocess
        self.strict = strict

    @on_the_cpu
    def layers(self, x: Any) -> LayerTable:
        """The layers that run on input `x`: modules, and functional calls under the module that makes them.

        x: as for `trace`, or a trace.

        Names are those of torchvision's feature extraction: a second call of ``relu`` is ``relu_1``. Where a
        layer returns several tensors there is one row for each: ``rnn[0]``, ``head[scores]``.
        """
        tape = x.tape if isinstance(x, Trace) else self._record(prepared(x, self.preprocess), ())
        listed: dict[str, dict[str, None]] = {}
        for operation in tape.operations:
            if rule_for(operation, self.style).listed and any(v.carries_signal for v in operation.outputs if v):
                listed.setdefault(operation.where, {})[operation.label] = None
        found = list(tape.layers.values())
        return LayerTable(
            tuple(
                LayerInfo(
                    layer.name,
                    layer.kind,
                    layer.value.shape,
                    geometry.stride,
                    geometry.offset,
                    geometry.receptive_field,
                    tuple(listed.get(layer.name, ())),
                )
                for layer, geometry in zip(found, layer_geometry(tape, found), strict=True)
            )
        )

    @on_the_cpu
    def trace(self, x: Any, layers: str | Collection[str] | None = None) -> Trace:
        """Record one forward pass on `x`.

        x: a tensor (N, C, ...), or images or paths where the network has a preprocess. A tuple is several
            arguments, a mapping keyword arguments: ``(images, mask)``, ``{"pixel_values": images}``. Tensors given
            directly have a batch axis; those in a list, as detectors take them, have none and are one sample together.
        layers: whose activations to keep; the pass ends after the last of them. None: all, to the end.

        Raises UnknownLayerError, and InputError for an input that is empty, not finite or does not fit.
        """
        wanted = layer_names(layers)
        if wanted is not None and not wanted:
            raise InputError("there is no layer to record; name at least one, or give layers=None for all")
        call = prepared(x, self.preprocess)
        return Trace(self._record(call, wanted), self.style, call, wanted)

    @on_the_cpu
    def project(
        self,
        x: Any,
        layer: str,
        channel: int | Sequence[int] | None = None,
        position: Position = "max",
        seed: str = "activation",
        window: str = "auto",
    ) -> Projection:
        """What made units of `layer` fire, in pixels.

        x: as for `trace`, or a trace that has the layer's activations.
        channel: one, several, or None for all.
        position: "max", where the channel is strongest (the first of equals); an index for all samples; an
            integer tensor (samples, dimensions), one index per sample; or "all". Layers that have channels
            only have no position.
        seed: the unit's start value: its "activation", as in Zeiler and Fergus, or "one".
        window: "full" computes on whole maps. "auto" computes on the windows that the units see, where that is less
            work: forward and back where positions are given, and back alone where the image was recorded.

        Returns a `Projection` with one unit per sample, channel and position, in that order.
        Raises UnknownLayerError, InputError, and UnsupportedOperation where no signal can reach the input or,
        under `strict`, where an operation would be linearised.
        """
        layer_names([layer])
        return self._project(x, ByChannel(layer, once(channel), once(position)), _Options(seed, window))

    @on_the_cpu
    def project_units(
        self,
        x: Any,
        layer: str,
        units: Sequence[tuple[int, int, Sequence[int]]],
        seed: str = "activation",
        window: str = "auto",
    ) -> Projection:
        """What made certain units of `layer` fire, in pixels: as `project`, for units (sample, channel, position).

        Where `scan` found them, each has its own image and place. The order is kept.
        """
        layer_names([layer])
        options = _Options(seed, window)
        return self._project(x, ByPlace(layer, checked_units(units)), options)

    def _project(self, x: Any, choice: UnitChoice, options: _Options) -> Projection:
        """Project units from crops of the images, or record the images and go back from there."""
        if options.window == "auto" and not choice.depends_on_activations and not isinstance(x, Trace):
            x = prepared(x, self.preprocess, finite=False)
            plan = self._crop_plan(x, choice)
            if plan is not None and plan.less_than_recording:
                try:
                    return self._project_crops(plan, options)
                except NotLocal:
                    options = replace(options, window="full")
            elif plan is not None:
                options = replace(options, window=plan.window)
        trace = self._traced(x, choice.layer)
        if trace.layer(choice.layer).value.id not in trace.apart and trace.tape.samples > 1:
            return self._project_one_by_one(trace, choice, options)
        return self._project_trace(trace, choice, options)

    def _crop_plan(self, call: Call, choice: UnitChoice) -> CropPlan | None:
        """How to project from crops; None if what runs on the images cannot be known before they are recorded."""
        tape = self._template(call, choice.layer)
        return None if tape is None else CropPlan.of(tape, self.style, choice, call.first)

    def _project_crops(self, plan: CropPlan, options: _Options) -> Projection:
        met = Met()
        pixels, units = plan.project(options.seed, met)
        self._check_strict(met)
        return Projection(
            pixels,
            units,
            plan.receptive_fields(),
            images.displayed(plan.images, self.preprocess),
            self._provenance(plan.layer, options.seed, met),
        )

    def _project_one_by_one(self, trace: Trace, choice: UnitChoice, options: _Options) -> Projection:
        """Project where a layer mixes the samples of a batch: each sample is recorded alone."""
        parts = [
            (n, self._project(self._alone(trace, choice.layer, n), own, options))
            for n, own in choice.by_sample(trace.tape.samples)
        ]
        return choice.in_order(Projection.joined(parts, images.displayed(trace.call.first, self.preprocess)))

    def _project_trace(self, trace: Trace, choice: UnitChoice, options: _Options) -> Projection:
        value, samples = trace.layer(choice.layer).value, trace.tape.samples
        chosen = choice.units(trace.activations_of(choice.layer))
        pixels, met = self._back(trace, value, chosen, options)
        self._check_strict(met)
        return Projection(
            pixels[0],
            chosen.units,
            torch.from_numpy(receptive_fields(trace.tape, value, chosen.map_places(value.shape, samples))),
            images.displayed(trace.call.first, self.preprocess),
            self._provenance(choice.layer, options.seed, met),
            trace.others(pixels),
        )

    def _back(self, trace: Trace, value: Value, chosen: ChosenUnits, options: _Options) -> tuple[list[Tensor], Met]:
        """The units' pixels per input, on crops if the options allow that and it is less work."""
        apart, ones, met = value.id in trace.apart, options.seed == "one", Met()
        if options.window == "auto" and apart and channel_axis(trace.tape, value) == 1:
            x = trace.call.first
            pixels = project_trace(trace.tape, self.style, value, chosen.places(), x=x, ones=ones, met=met)
            if pixels is not None:
                return pixels, met
        seeds = chosen.seeds
        if ones:
            seeds = replace(seeds, values=torch.ones_like(seeds.values))
        return project(trace.tape, self.style, value, seeds, apart)

    def _template(self, call: Call, layer: str) -> Tape | None:
        """What runs on one image of this shape, without numbers; None where the model takes more than an image."""
        if call.kwargs or len(call.args) != 1 or not isinstance(call.args[0], Tensor) or call.first.ndim < 3:
            return None
        if call.first.is_meta:
            return None
        x = call.first
        tape = template(self.model, x[:1], layer, opaque())
        if tape is None or not tape.layers[layer].value.carries_signal:
            return None
        value = tape.layers[layer].value
        local = value.id in samples_apart(tape, self.style) and len(value.shape) == x.ndim
        return tape if local and value.shape[0] == 1 and channel_axis(tape, value) == 1 else None

    @on_the_cpu
    def reconstruct(self, x: Any, layer: str, signal: Tensor | None = None) -> Reconstruction:
        """All activations of `layer` sent back at once: one picture per sample. Arguments as for `project`.

        signal: what to send back in place of the activations, a tensor of their shape. As the way back is not linear,
            the picture of several units together is not the sum of their projections.
        """
        layer_names([layer])
        trace = self._traced(x, layer)
        self.check_samples(trace, layer)
        return self.sent_back(trace, layer, signal)

    def sent_back(self, trace: Trace, layer: str, signal: Tensor | None = None) -> Reconstruction:
        """As `reconstruct`, of a recorded batch together, also where a model mixes its samples."""
        value = trace.layer(layer).value
        check_finite(layer, trace.activations[layer])
        sent = trace.activations[layer]
        if signal is not None:
            sent = checked_signal(signal, sent, layer)
        pixels, met = reconstruct(trace.tape, self.style, value, sent)
        self._check_strict(met)
        shown = images.displayed(trace.call.first, self.preprocess)
        return Reconstruction(
            pixels[0],
            shown,
            self._provenance(layer, "activation" if signal is None else "given", met),
            trace.others(pixels),
        )

    def _traced(self, x: Any, layer: str) -> Trace:
        return x if isinstance(x, Trace) else self.trace(x, [layer])

    def check_samples(self, trace: Trace, layer: str) -> None:
        """Raise InputError where a sample of the batch comes out of `layer` otherwise than it does alone."""
        if trace.layer(layer).value.id not in trace.apart:
            for n in range(trace.tape.samples if trace.tape.samples > 1 else 0):
                self._alone(trace, layer, n)

    def _alone(self, trace: Trace, layer: str, number: int) -> Trace:
        """A sample of the batch recorded alone, which must make no difference to it."""
        check_statistics(trace.tape)
        alone = self.trace(trace.call.sample(number, trace.tape.samples), layer)
        check_alone(trace.tape, layer, trace.activations[layer], alone.activations[layer], number)
        return alone

    def _record(self, call: Call, wanted: Collection[str] | None) -> Tape:
        keep = keep_for(self.style)
        try:
            tape = record(self.model, *call.args, kwargs=call.kwargs, keep=keep, layers=wanted, opaque=opaque())
        except DeconvVizError:
            raise
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            wrong = isinstance(error, TypeError)
            if explained := unbound(self.model, call) if wrong else misfit(self.model, call.first, error):
                raise InputError(explained) from error
            raise
        for layer in tape.layers.values():
            rank = CONVOLUTIONS.get(layer.kind)
            if rank and len(layer.value.shape) == rank + 1:
                raise InputError(
                    f"the input of shape {tuple(call.first.shape)} has no batch axis; "
                    f"give x[None], or a batch (N, {AXES[rank]})"
                )
        for name in wanted or ():
            if name not in tape.layers:
                raise unknown_layer(self.model, name, tape.layers)
            if not tape.layers[name].value.carries_signal:
                raise InputError(f"layer {name!r} returns {tape.layers[name].value.dtype}, which has no activations")
        return tape

    def _check_strict(self, met: Met) -> None:
        if self.strict and met.linearised:
            raise UnsupportedOperation(
                f"under strict=True no operation is linearised, but {' and '.join(met.linearised)} has no mirror"
            )

    def _provenance(self, layer: str, seed: str, met: Met) -> Provenance:
        return Provenance(
            type(self.model).__name__,
            fingerprint(self.model),
            layer,
            {"name": self.style.name, **self.style.choices},
            seed,
            tuple(met.linearised),
            tuple(met.stopped),
            {"deconvviz": __version__, "torch": str(torch.__version__)},
            tuple(met.detached),
        )


@dataclass(frozen=True)
class _Options:
    """Options of a projection. Raises InputError for values that there are not.

    seed: the units' start value, "activation" or "one". window: "auto" or "full".
    """

    seed: str
    window: str

    def __post_init__(self) -> None:
        if not known(self.seed, ("activation", "one")):
            raise InputError(f"the seed is 'activation' or 'one', not {described(self.seed)}")
        if not known(self.window, ("auto", "full")):
            raise InputError(f"the window is 'auto' or 'full', not {described(self.window)}")
