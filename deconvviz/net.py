"""`DeconvNet`: a model with a style, and the main entry point of the library.

>>> import torch
>>> from deconvviz.models.mnist import mnist_cnn
>>> from deconvviz.data import mnist_test
>>> images, labels = mnist_test()
>>> net = DeconvNet(mnist_cnn())
>>> projection = net.project(images[:2], "conv2", channel=[3, 5])
>>> projection.pixels.shape
torch.Size([4, 1, 28, 28])
>>> net.activations(images[:2], "conv2").maps.shape
torch.Size([2, 48, 14, 14])
>>> [(unit.sample, unit.channel) for unit in projection.units]
[(0, 3), (0, 5), (1, 3), (1, 5)]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, instance, is_net, once, optional, short_text, takes
from deconvviz.explorable import Explorable
from deconvviz.io.default_device import on_the_cpu
from deconvviz.normalisation import as_preprocess
from deconvviz.operations.regions import NotLocal
from deconvviz.projection.backward import Met, project, reconstruct
from deconvviz.projection.call_inputs import CallInputs
from deconvviz.projection.crop_plan import CropPlan
from deconvviz.projection.cropped import project_trace
from deconvviz.projection.image_batches import images_at_once, may_exceed, tape_of_one
from deconvviz.projection.layer_filters import filters_of
from deconvviz.projection.layer_table import table_of_run
from deconvviz.projection.model_call import Call, checked_signal, prepared
from deconvviz.projection.provenance import provenance, settings_of
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.projection.recorded_call import recorded
from deconvviz.projection.sample_independence import check_alone, check_statistics
from deconvviz.projection.shown_inputs import shown_inputs
from deconvviz.projection.unit_choice import ByChannel, ByPlace, ProjectionOptions, UnitChoice
from deconvviz.projection.units import ChosenUnits, LayerActivations, Position, check_units, checked_units, whole_maps
from deconvviz.recording.isolation import unwrapped
from deconvviz.recording.layer_names import LayerName, Layers, layer_name, layer_names
from deconvviz.recording.model_checks import check_usable
from deconvviz.recording.tape import Tape, Value
from deconvviz.results import FeatureMaps, Filters, LayerTable, Projection, Provenance, Reconstruction
from deconvviz.rules import Style, style_of
from deconvviz.trace import Trace


class DeconvNet(Explorable):
    """A model with a style, which records runs of the model and projects its units to pixels.

    Attributes:
        model: The model, without wrappers such as DataParallel. It is never changed.
        style: The style.
        preprocess: The preprocessing, or None.
        strict: Whether operations without a mirror are refused.
    """

    @takes(strict=FLAG)
    def __init__(
        self, model: nn.Module, style: str | Style = "deconvnet", *, preprocess: Any = None, strict: bool = False
    ) -> None:
        """Wrap a model.

        Args:
            model: Any `torch.nn.Module`; wrappers such as DataParallel, DistributedDataParallel and `torch.compile` are
                removed.
            style: "deconvnet" (Zeiler and Fergus), "guided", "gradient", or a `deconvviz.Style`.
            preprocess: A function from a PIL image to a tensor (C, H, W), or a transform of albumentations or an image
                processor of Hugging Face, to project images and paths. Pictures show the image before normalisation.
            strict: Refuse to linearise operations without a mirror, instead of listing them in the result.

        Raises:
            ModelError: If `model` is not a module, or has neither parameters nor buffers.
            RuleError: If the style is unknown.
        """
        self.model = unwrapped(model)
        check_usable(self.model)
        self.style = style_of(style)
        self.preprocess = as_preprocess(model.preprocess if preprocess is None and is_net(model) else preprocess)
        self.strict = strict

    def __repr__(self) -> str:
        options = f", preprocess={short_text(self.preprocess)}" if self.preprocess is not None else ""
        options += ", strict=True" if self.strict else ""
        return f"{type(self).__name__}({type(self.model).__name__}, style={self.style.name!r}{options})"

    @on_the_cpu
    def layers(self, inputs: Any) -> LayerTable:
        """List the layers that run on an input: modules, and functional calls under the module that makes them.

        Names are those of torchvision's feature extraction: a second call of ``relu`` is ``relu_1``. If a layer returns
        several tensors, there is one row for each: ``rnn[0]``, ``head[scores]``.

        Args:
            inputs: As for `trace`, or a trace.
        """
        if isinstance(inputs, Trace):
            return table_of_run(lambda: inputs.tape, self.style)
        call = prepared(inputs, self.model, self.preprocess)
        return table_of_run(lambda: recorded(self.model, self.style, call, ()), self.style)

    @on_the_cpu
    def trace(self, inputs: Any, layers: Layers = None) -> Trace:
        """Record one forward pass.

        Args:
            inputs: A tensor (N, C, ...), or images or paths if the network has a preprocess. A tuple holds several
                arguments, a mapping keyword arguments: ``(images, mask)``, ``{"pixel_values": images}``. Tensors given
                directly have a batch axis. Tensors in a list, as detectors take them, have none; together they are one
                sample. Tensors on another device are moved to the model's; images and paths get its type, too.
            layers: The layers whose activations are kept; the pass ends after the last of them. None keeps those of
                all layers.

        Raises:
            UnknownLayerError: If a layer does not run.
            InputError: If the input is empty, not finite, or does not fit the model.
        """
        return self._trace(prepared(inputs, self.model, self.preprocess), layer_names(layers, self.model))

    @takes(trace=optional(instance("a Trace", Trace)))
    @on_the_cpu
    def filters(self, layer: LayerName, *, trace: Trace | None = None) -> Filters:
        """The filters of a layer, as it computes with them: after weight normalisation, pruning and the like.

        Args:
            layer: The layer, by name or as a module of the model.
            trace: A trace, for what only a run shows: filters of functional calls, and those of a linear layer, which
                get the shape of the maps that it reads.

        Raises:
            UnknownLayerError: If there is no such layer.
            InputError: If the layer has no filters, or its filters are no pictures.

        Example:
            >>> from deconvviz.models import mnist_cnn
            >>> filters = DeconvNet(mnist_cnn()).filters("conv1")
            >>> filters.weight.shape, filters.grid(columns=12, enlarge=4).size
            (torch.Size([24, 1, 7, 7]), (440, 80))
        """
        name = layer_name(layer, self.model)
        weight, groups, transposed = filters_of(self.model, name, None if trace is None else trace.tape)
        origin = provenance(self.model, None, name, seed="", met=Met(), settings=settings_of(self.model, weight))
        return Filters(weight=weight, groups=groups, transposed=transposed, provenance=origin)

    @on_the_cpu
    def activations(self, inputs: Any, layer: LayerName) -> FeatureMaps:
        """The feature maps of a layer: what it returns for each input.

        Args:
            inputs: As for `trace`, or a trace that has the layer's activations.
            layer: The layer, by name or as a module of the model.

        Raises:
            UnknownLayerError: If the layer does not run.
            InputError: If the input does not fit the model.
        """
        layer, met = layer_name(layer, self.model), Met()
        trace = self._traced(inputs, layer, met)
        apart, samples = trace.layer(layer).value.id in trace.apart, trace.tape.samples
        traces = [trace] if apart or samples == 1 else [self._alone(trace, layer, n) for n in range(samples)]
        maps = whole_maps([one.activations_of(layer) for one in traces], met.finite)
        origin = provenance(self.model, None, layer, seed="", met=met, settings=trace.settings)
        shown = cast(Tensor, shown_inputs(trace.call.first, self.preprocess))
        return FeatureMaps(maps=maps, images=shown, provenance=origin)

    @on_the_cpu
    def project(
        self,
        inputs: Any,
        layer: LayerName,
        *,
        channel: int | Sequence[int] | None = None,
        position: Position = "max",
        seed: str = "activation",
        window: str = "auto",
    ) -> Projection:
        """Project units of a layer back to pixels: what made them fire?

        Args:
            inputs: As for `trace`, or a trace that has the layer's activations.
            layer: The layer, by name or as a module of the model.
            channel: One channel, several, or None for all.
            position: "max" for the strongest position of each channel (the first of equal ones); an index for all
                samples; an integer tensor (samples, dimensions) with one index per sample; or "all". A layer that has
                only channels has no positions.
            seed: The unit's start value: its "activation", as in Zeiler and Fergus, or "one".
            window: "full" computes on whole maps. "auto" computes on the crops that the units see, if that is less
                work: forward and back if positions are given, and only back if the image was recorded.

        Returns:
            A `Projection` with one unit per sample, channel and position, in that order.

        Raises:
            UnknownLayerError: If the layer does not run.
            InputError: If the input does not fit the model, or the layer has no such units.
            UnsupportedOperation: If no signal can reach the input or, under `strict`, if an operation would be
                linearised.
        """
        choice = ByChannel(layer_name(layer, self.model), once(channel), once(position))
        return self._project(inputs, choice, ProjectionOptions(seed, window))

    @on_the_cpu
    def project_units(
        self,
        inputs: Any,
        layer: LayerName,
        units: Sequence[tuple[int, int, Sequence[int]]],
        *,
        seed: str = "activation",
        window: str = "auto",
    ) -> Projection:
        """Project units that are listed one by one, such as those that `scan` finds.

        Args:
            inputs: As for `project`.
            layer: The layer, by name or as a module of the model.
            units: Sample, channel and position of each unit.
            seed: As for `project`.
            window: As for `project`.

        Returns:
            A `Projection` with the units in the order given.

        Raises:
            UnknownLayerError: As for `project`.
            InputError: As for `project`.
            UnsupportedOperation: As for `project`.
        """
        name, options = layer_name(layer, self.model), ProjectionOptions(seed, window)
        return self._project(inputs, ByPlace(name, checked_units(units)), options)

    def _project(self, inputs: Any, choice: UnitChoice, options: ProjectionOptions) -> Projection:
        """Project units from crops of the images, or record the images and go back from there."""
        if isinstance(inputs, Trace):
            return self._project_recorded(inputs, choice, options)
        call, tape = prepared(inputs, self.model, self.preprocess, finite=False), None
        if options.window == "auto" and not choice.depends_on_activations:
            tape = tape_of_one(self.model, self.style, call, choice.layer)
            plan = None if tape is None else CropPlan.of(tape, self.style, choice, call.first)
            if plan is not None and plan.less_than_recording:
                try:
                    return self._project_crops(plan, options)
                except NotLocal:
                    options = replace(options, window="full")
            elif plan is not None:
                options = replace(options, window=plan.window)
        elif may_exceed(call):
            tape = tape_of_one(self.model, self.style, call, choice.layer)
        if tape is not None and may_exceed(call):
            return self._project_in_batches(call, choice, options, tape)
        return self._project_recorded(call, choice, options)

    def _project_recorded(self, inputs: Trace | Call, choice: UnitChoice, options: ProjectionOptions) -> Projection:
        met = Met()
        trace = self._traced(inputs, choice.layer, met)
        if trace.layer(choice.layer).value.id not in trace.apart and trace.tape.samples > 1:
            met.finite.settle()
            return self._project_one_by_one(trace, choice, options)
        return self._project_trace(trace, choice, options, met)

    def _project_in_batches(self, call: Call, choice: UnitChoice, options: ProjectionOptions, tape: Tape) -> Projection:
        """Project where all images at once might take too much memory. `tape` is that of one image."""
        shape, samples = tape.layers[choice.layer].value.shape, len(call.first)
        if not choice.depends_on_activations:
            check_units(choice.layer, shape, samples, choice.places(shape, samples))
        parts = [
            (numbers, self._project_recorded(call.part(numbers, samples), own, options))
            for numbers, own in choice.by_images(samples, images_at_once(tape, self.style))
        ]
        return choice.in_order(CallInputs(call, samples, self.preprocess).joined(parts))

    def _project_crops(self, plan: CropPlan, options: ProjectionOptions) -> Projection:
        met = Met()
        pixels, units = plan.project(options.seed, met)
        met.check(self.strict)
        return Projection(
            pixels=cast(Tensor, pixels),
            units=units,
            receptive_fields=plan.receptive_fields(),
            images=cast(Tensor, shown_inputs(plan.images, self.preprocess)),
            provenance=self._provenance(plan.layer, options.seed, met, settings_of(self.model, plan.images)),
        )

    def _project_one_by_one(self, trace: Trace, choice: UnitChoice, options: ProjectionOptions) -> Projection:
        """Project where a layer mixes the samples of a batch: each sample is recorded alone."""
        parts = [
            ([n], self._project(self._alone(trace, choice.layer, n), own, options))
            for (n,), own in choice.by_images(trace.tape.samples, 1)
        ]
        inputs = CallInputs(trace.call, trace.tape.samples, self.preprocess)
        return choice.in_order(inputs.joined(parts))

    def _project_trace(self, trace: Trace, choice: UnitChoice, options: ProjectionOptions, met: Met) -> Projection:
        value, activations = trace.layer(choice.layer).value, trace.activations_of(choice.layer)
        activations.watch(met.finite)
        chosen = choice.units(activations)
        pixels = self._back(trace, value, chosen, options, met)
        units, places = chosen.read(met.finite)
        met.check(self.strict)
        inputs = CallInputs(trace.call, trace.tape.samples, self.preprocess)
        return Projection(
            units=units,
            provenance=self._provenance(choice.layer, options.seed, met, trace.settings),
            **inputs.of_units(pixels),
            **inputs.fields(trace.tape, value, places),
        )

    def _back(
        self, trace: Trace, value: Value, chosen: ChosenUnits, options: ProjectionOptions, met: Met
    ) -> list[Tensor]:
        """The units' pixels per input, on crops if the options allow that and it is less work.

        Pixels from crops are `CroppedPixels`, of which a `Projection` makes tensors.
        """
        apart, ones = value.id in trace.apart, options.seed == "one"
        if options.window == "auto" and apart and channel_axis(trace.tape, value) == 1:
            x, count, places = trace.call.first, len(chosen.seeds), partial(chosen.places, met.finite)
            pixels = project_trace(trace.tape, self.style, value, places, count=count, x=x, ones=ones, met=met)
            if pixels is not None:
                return [cast(Tensor, pixels)]
        seeds = chosen.seeds
        if ones:
            seeds = replace(seeds, values=torch.ones_like(seeds.values))
        return project(trace.tape, self.style, value, seeds, apart, met=met)

    @on_the_cpu
    def reconstruct(self, inputs: Any, layer: LayerName, *, signal: Tensor | None = None) -> Reconstruction:
        """Reconstruct the input from all activations of a layer at once, with one picture per sample.

        Since the way back is not linear, the picture of several units together is not the sum of their projections.

        Args:
            inputs: As for `project`.
            layer: The layer, by name or as a module of the model.
            signal: A tensor of the activations' shape, to be sent back in their place.

        Raises:
            UnknownLayerError: As for `project`.
            InputError: As for `project`, or if the signal does not fit the layer.
            UnsupportedOperation: As for `project`.
        """
        layer, met = layer_name(layer, self.model), Met()
        trace = self._traced(inputs, layer, met)
        self.check_samples(trace, layer)
        return self.sent_back(trace, layer, signal=signal, met=met)

    def sent_back(
        self, trace: Trace, layer: str, *, signal: Tensor | None = None, met: Met | None = None
    ) -> Reconstruction:
        """As `reconstruct`, for a recorded batch as a whole, even if the model mixes its samples."""
        value, sent, met = trace.layer(layer).value, trace.activations[layer], met or Met()
        LayerActivations(layer, sent).watch(met.finite)
        if signal is not None:
            sent = checked_signal(signal, sent, layer)
        pixels = reconstruct(trace.tape, self.style, value, sent, met=met)
        met.check(self.strict)
        origin = self._provenance(layer, "activation" if signal is None else "given", met, trace.settings)
        inputs = CallInputs(trace.call, trace.tape.samples, self.preprocess)
        return Reconstruction(provenance=origin, **inputs.of_samples(pixels))

    def _traced(self, inputs: Any, layer: str, met: Met) -> Trace:
        """The inputs' run up to a layer; whether they are finite is checked with `met`."""
        if isinstance(inputs, Trace):
            return inputs
        call = prepared(inputs, self.model, self.preprocess, finite=False)
        call.watch(met.finite)
        try:
            return self._trace(call, [layer])
        except Exception:
            met.finite.settle()  # a model may fail because of them
            raise

    def _trace(self, call: Call, wanted: Collection[str] | None) -> Trace:
        settings, tape = settings_of(self.model, call.first), recorded(self.model, self.style, call, wanted)
        return Trace(tape, self.style, call, wanted, settings=settings)

    def check_samples(self, trace: Trace, layer: str) -> None:
        """Raise InputError if a sample has other activations in the batch than it has alone."""
        if trace.layer(layer).value.id not in trace.apart:
            for n in range(trace.tape.samples if trace.tape.samples > 1 else 0):
                self._alone(trace, layer, n)

    def _alone(self, trace: Trace, layer: str, number: int) -> Trace:
        """A trace of one sample alone, which must have the same activations as in the batch."""
        check_statistics(trace.tape)
        alone = self.trace(trace.call.part([number], trace.tape.samples), layer)
        check_alone(trace.tape, layer, trace.activations[layer], alone.activations[layer], number)
        return alone

    def _provenance(self, layer: str, seed: str, met: Met, settings: dict[str, str]) -> Provenance:
        return provenance(self.model, self.style, layer, seed=seed, met=met, settings=settings)
