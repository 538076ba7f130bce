"""`compare`: attributions of one unit of one image by deconvviz and Captum, side by side, and how far they agree.

A class is a unit of the layer "output". If a method fails on a model, its reason stands in its place, and the others
go on. Captum's Deconvolution and GuidedBackprop are compared with the right result: where they are the plain gradient,
or something else, the comparison says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import captum
import torch
from torch import Tensor, nn

from deconvviz import __version__, images
from deconvviz.arguments import FLAG, METHOD_NAMES, SCORE_NAMES, described, takes
from deconvviz.captum.explained_unit import OWN_STYLES, ExplainedUnit
from deconvviz.captum.methods import INTEGRATION_STEPS, OF_A_CLASS, OF_A_NEURON, patch
from deconvviz.captum.remarks import remark_on
from deconvviz.captum.scores import NOISE, NOISES, SCORES, SEED, SHIFTS, UnitScores, score_names
from deconvviz.errors import InputError
from deconvviz.evidence.methods import BASELINES, method_names
from deconvviz.evidence.metrics import FieldRanges, cut, heatmap, library, overlap, spearman, ssim
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.models.notes import classes_of_model
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import prepared
from deconvviz.projection.receptive_field import receptive_fields
from deconvviz.projection.units import Position, choose_units
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.recording.tape import Tape, Value
from deconvviz.results import Attributed, Comparison, Provenance, Unit
from deconvviz.trace import Trace

AGREEMENTS: Mapping[str, Callable[[Tensor, Tensor], float]] = {"Spearman": spearman, "SSIM": ssim, "overlap": overlap}


@takes(methods=METHOD_NAMES, scores=SCORE_NAMES, progress=FLAG)
@on_the_cpu
def compare(
    model: nn.Module | DeconvNet,
    inputs: Any,
    *,
    target: int | None = None,
    layer: LayerName | None = None,
    channel: int | None = None,
    position: Position = "max",
    methods: Sequence[str] | None = None,
    scores: Sequence[str] | None = None,
    preprocess: Any = None,
    progress: bool = True,
) -> Comparison:
    """Compare attributions of one class, or of one unit of a layer, by several methods.

    Args:
        model: A module, or a `DeconvNet`, whose preprocess is used.
        inputs: One image: a tensor (1, C, H, W), a path or a PIL image.
        target: The class; None for the strongest one.
        layer: Layer of a unit, in place of a class.
        channel: Channel of the unit; None for the strongest one.
        position: Position of the unit, as for `DeconvNet.project`.
        methods: Names of some methods; None for all. For a class these are "deconvnet", "guided" and
            `deconvviz.captum.methods.OF_A_CLASS`, for a unit the same two and `deconvviz.captum.methods.OF_A_NEURON`;
            for both also the baselines `deconvviz.evidence.BASELINES`, which know nothing about the network.
        scores: Names of `deconvviz.captum.scores.SCORES`; None for "deletion" and "insertion", "all" for all, which
            takes several times as long.
        preprocess: For a module, as `DeconvNet` takes it.
        progress: Show a bar.

    Raises:
        InputError: If the input is not one image, or a target and a layer are both given.
        UnknownLayerError: If the layer does not run.
        DependencyError: If scikit-image or SciPy is not installed.
    """
    library("skimage.metrics")
    net = _handle(model, preprocess)
    image = _one_image(inputs, net)
    name = _layer_of_unit(net, target, layer, channel)
    every = [*OWN_STYLES, *(OF_A_CLASS if name == "output" else OF_A_NEURON), *BASELINES]
    chosen, asked = method_names(methods, every, every), score_names(scores)
    trace = net.trace(image, name)
    unit, index = _unit(trace, name, target if layer is None else channel, position)
    cam = _last_map_before(trace.tape, trace.layer(name).value, net.model)
    field = receptive_fields(trace.tape, trace.layer(name).value, [index])[0]
    explained = ExplainedUnit(net, image, unit, index, cam)
    attributed, found = _run_methods(explained, chosen, asked, progress)
    return Comparison(
        image=images.displayed(image, net.preprocess)[0],
        unit=unit,
        receptive_field=torch.from_numpy(field),
        methods=tuple(attributed),
        agreement=_agreement(attributed, tuple((int(first), int(last)) for first, last in field)),
        scores=found,
        settings=_settings(image, cam, asked),
        provenance=_provenance(net, trace, name),
        class_name=_class_name(net, unit, trace.activations[name].shape),
    )


def _class_name(net: DeconvNet, unit: Unit, shape: Sequence[int]) -> str:
    """What the model calls a unit of its output of a shape (N, classes)."""
    names = classes_of_model(net.model) if unit.layer == "output" and len(shape) == 2 else ()
    return names[unit.channel] if len(names) == shape[1] else ""


def _layer_of_unit(net: DeconvNet, target: int | None, layer: LayerName | None, channel: int | None) -> str:
    if layer is not None and target is not None:
        named = layer_name(layer, net.model)
        raise InputError(
            f"a target is a class; give the class {described(target)} or a unit of layer {named!r}, not both"
        )
    if layer is None and channel is not None:
        raise InputError(f"channel {described(channel)} of which layer? give the layer, or the class as target")
    return "output" if layer is None else layer_name(layer, net.model)


# Methods and their scores


def _run_methods(
    explained: ExplainedUnit, names: Sequence[str], asked: Sequence[str], progress: bool
) -> tuple[list[Attributed], dict[str, dict[str, float]]]:
    """Each method's attributions, and the scores asked for."""
    with progress_bar(total=len(names) * (1 + len(asked)), desc="compare", shown=progress) as bar:
        attributed = []
        for name in names:
            bar.set_postfix_str(name, refresh=False)
            attributed.append(_attributed(explained, name))
            bar.update()
        scores, failures = _scores(explained, attributed, asked, bar)
    return [_with_failures(result, failures[result.name]) for result in attributed], scores


def _attributed(explained: ExplainedUnit, name: str) -> Attributed:
    """A method's attributions for the image, the time they take, and a remark."""
    try:
        seconds = explained.seconds(name)
    except Exception as error:  # a failure of one method does not stop the others
        return Attributed(name, None, math.nan, _reason(error))
    try:
        remark = remark_on(explained, name)
    except Exception as error:
        remark = f"not held against deconvviz ({_reason(error)})"
    return Attributed(name, explained.attributions(name)[0].cpu(), seconds, remark)


def _scores(
    explained: ExplainedUnit, attributed: Sequence[Attributed], asked: Sequence[str], bar: Any
) -> tuple[dict[str, dict[str, float]], dict[str, list[str]]]:
    """The scores of each method, NaN if they cannot be computed, and for each method why they cannot."""
    scores: dict[str, dict[str, float]] = {score: {} for score in asked}
    failures: dict[str, list[str]] = {result.name: [] for result in attributed}
    computed = UnitScores(explained)
    for score, result in itertools.product(asked, attributed):
        scores[score][result.name] = math.nan
        bar.set_postfix_str(f"{score} of {result.name}", refresh=False)
        bar.update()
        if result.pixels is not None:
            try:
                scores[score][result.name] = computed.score(score, result.name)
            except Exception as error:  # as with a model that takes one image at a time only
                failures[result.name].append(f"no {score}: {_reason(error)}")
    return scores, failures


def _with_failures(result: Attributed, failures: Sequence[str]) -> Attributed:
    """The result, with the scores that cannot be computed in its remark."""
    return replace(result, remark="; ".join(filter(None, [result.remark, *failures])))


# What is compared


def _handle(model: Any, preprocess: Any) -> DeconvNet:
    if isinstance(model, DeconvNet):
        return model if preprocess is None else DeconvNet(model.model, model.style, preprocess=preprocess)
    return DeconvNet(model, preprocess=preprocess)


def _one_image(x: Any, net: DeconvNet) -> Tensor:
    call = prepared(x, net.model, net.preprocess)
    image = call.first
    if len(call.args) + len(call.kwargs) != 1 or image.ndim != 4 or len(image) != 1:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in call.tensors().values())
        raise InputError(f"methods are compared on one image (1, C, H, W), not on input of shape {shapes}")
    return image.detach().contiguous()


def _unit(trace: Trace, layer: str, channel: int | None, position: Position) -> tuple[Unit, tuple[int, ...]]:
    """The unit in question, and its index in what the layer returns, without the batch axis."""
    shape = trace.layer(layer).value.shape
    if isinstance(position, str) and position == "all":
        raise InputError("methods are compared on one unit; give its position, or 'max' for the strongest")
    if not shape or shape[0] != 1:
        raise InputError(f"layer {layer!r} has shape {shape}, which has no batch axis of one image")
    activations = replace(trace.activations_of(layer), samples=1)
    unit = max(choose_units(activations, channel, position).units, key=lambda unit: unit.activation)
    index = list(unit.position)
    index.insert(activations.channel_axis - 1, unit.channel)
    return unit, tuple(index)


def _last_map_before(tape: Tape, layer: Value, model: nn.Module) -> str:
    """Name of the last module before a layer whose maps have positions, as Grad-CAM needs it; "" if there is none."""
    modules, makers = dict(model.named_modules()), tape.makers()
    before: set[int] = set()
    remaining = [layer]
    while remaining:
        for value in getattr(makers.get(remaining.pop().id), "inputs", ()):
            if value.id not in before:
                before.add(value.id)
                remaining.append(value)
    candidates = [
        candidate
        for candidate in tape.layers.values()
        if candidate.name in modules
        and f"{candidate.name}_1" not in tape.layers  # a hook of Captum's would see its last call
        and candidate.value.id in before
        and len(candidate.value.shape) == 4
        and max(candidate.value.shape[2:]) > 1
    ]
    return max(candidates, key=lambda candidate: candidate.value.id).name if candidates else ""


# Numbers


def _agreement(attributed: Sequence[Attributed], box: FieldRanges) -> dict[str, Tensor]:
    """For each measure a table (methods, methods) of how far their heatmaps agree inside a box."""
    heats = [None if result.pixels is None else cut(heatmap(result.pixels[None])[0], box) for result in attributed]
    tables = {}
    for name, measure in AGREEMENTS.items():
        table = torch.full((len(heats), len(heats)), math.nan, dtype=torch.float64)
        for (row, first), (column, second) in itertools.combinations_with_replacement(enumerate(heats), 2):
            if first is not None and second is not None:
                table[row, column] = table[column, row] = measure(first, second)
        tables[name] = table
    return tables


def _reason(error: Exception) -> str:
    """An error in a few words."""
    message = " ".join(str(error).split())
    short = message if len(message) <= 160 else message[:157] + "..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _provenance(net: DeconvNet, trace: Trace, layer: str) -> Provenance:
    versions = {"deconvviz": __version__, "torch": str(torch.__version__), "captum": captum.__version__}
    return Provenance(
        model=type(net.model).__name__,
        fingerprint=fingerprint(net.model),
        layer=layer,
        style={"name": ", ".join(OWN_STYLES)},
        seed="one",
        linearised=trace.linearised,
        stopped=(),
        versions=versions,
    )


def _settings(image: Tensor, cam: str, asked: Sequence[str]) -> tuple[str, ...]:
    height, width = patch(image)
    of_captum = (
        f"Infidelity (Captum's, normalised): {NOISES} times Gaussian noise of {NOISE:g} standard deviations of the "
        f"input. Sensitivity (Captum's, the largest): {SHIFTS} samples within as much. Seed {SEED}."
    )
    left_out = [score for score in SCORES if score not in asked]
    return (
        "Agreement is that of absolute attributions, summed over channels, within the receptive field.",
        *([of_captum] if {"infidelity", "sensitivity"} & set(asked) else []),
        "Deletion (lower is better) and insertion (higher is better) measure the unit's activation as the "
        "pixels ranked first are replaced by zeros, or inserted into zeros, within the receptive field: see "
        "docs/evidence.md. Pixels are ranked by absolute attributions, by signed ones, or by attribution times image.",
        *([f"Left out, to be quick: {'; '.join(left_out)}. Scores 'all' computes them, too."] if left_out else []),
        f"Baselines are zero; integrated gradients in {INTEGRATION_STEPS} steps; "
        f"occlusion by {height} x {width} pixels; "
        f"Saliency keeps its sign; Grad-CAM is that of layer {cam or '(none has positions)'}.",
    )
