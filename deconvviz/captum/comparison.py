"""`compare`: what deconvviz and Captum's methods say about one unit of one image, side by side, and how far they agree.

A class is a unit of the layer "output". A method that fails on a model leaves its reason in its place, and the others
go on. Captum's Deconvolution and GuidedBackprop are held against the right result: where they are the plain gradient,
or something else, the comparison says so.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import captum
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from deconvviz import __version__, images
from deconvviz.arguments import METHODS, TEXT, described, optional, takes
from deconvviz.captum.attribution import NeuronDeconvNetAttribution
from deconvviz.captum.methods import OF_A_CLASS, OF_A_NEURON, STEPS, Method, aimed, explained, grad_cam, patch
from deconvviz.errors import InputError, did_you_mean
from deconvviz.evidence.deletion import areas
from deconvviz.evidence.methods import Judged
from deconvviz.evidence.metrics import Box, cut, heatmap, library, overlap, spearman, ssim
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import prepared
from deconvviz.projection.receptive_field import channel_axis, receptive_fields
from deconvviz.projection.units import LayerActivations, Position, choose_units
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Tape, Value
from deconvviz.results import Attributed, Comparison, Provenance, Unit
from deconvviz.trace import Trace

STYLES = ("deconvnet", "guided")
SEED = 0
NOISE = 0.1  # standard deviation of infidelity's noise and radius of sensitivity's, in standard deviations of the input
NOISES, SHIFTS = 32, 3  # how many of them
MEASURES: Mapping[str, Callable[[Tensor, Tensor], float]] = {"Spearman": spearman, "SSIM": ssim, "overlap": overlap}
SAME = 1e-4  # relative difference of equal pictures in float32
Explain = Callable[[Tensor], Tensor]  # (N, C, H, W) to attributions of that shape


@takes(layer=optional(TEXT), methods=METHODS)
def compare(
    model: nn.Module | DeconvNet,
    x: Any,
    target: int | None = None,
    layer: str | None = None,
    channel: int | None = None,
    position: Position = "max",
    methods: Sequence[str] | None = None,
    preprocess: Any = None,
) -> Comparison:
    """Attributions of one class, or of one unit of a layer, by several methods.

    model: a module, or a `DeconvNet`, whose preprocess is used. preprocess: for a module, as `DeconvNet` takes it.
    x: one image: a tensor (1, C, H, W), a path or a PIL image.
    target: the class; None: the strongest.
    layer, channel, position: a unit in place of a class; None: the strongest channel. position: as for `project`, one.
    methods: names of some; None: all. For a class "deconvnet", "guided" and `captum_methods.OF_A_CLASS`, for a unit
        the same and `captum_methods.OF_A_NEURON`.

    Raises InputError where the input is not one image, or a target and a layer are both given, UnknownLayerError for
    a layer that is not there, DependencyError without scikit-image and SciPy.
    """
    library("skimage.metrics")
    net = _handle(model, preprocess)
    image = _one_image(x, net)
    if layer is not None and target is not None:
        raise InputError(
            f"a target is a class; give the class {described(target)} or a unit of layer {layer!r}, not both"
        )
    if layer is None and channel is not None:
        raise InputError(f"channel {described(channel)} of which layer? give the layer, or the class as target")
    name = layer or "output"
    chosen = _methods(methods, OF_A_CLASS if name == "output" else OF_A_NEURON)
    trace = net.trace(image, name)
    unit, index = _unit(trace, name, target if layer is None else channel, position)
    cam = _before(trace.tape, trace.layer(name).value, net.model)
    field = receptive_fields(trace.tape, trace.layer(name).value, [index])[0]
    run = _Run(net, image, unit, index, cam)
    found = [run.attributed(method) for method in chosen]
    scores = {score: {one.name: run.scored(score, one) for one in found} for score in SCORES}
    found = [run.with_troubles(one) for one in found]
    return Comparison(
        images.displayed(image, net.preprocess)[0],
        unit,
        torch.from_numpy(field),
        tuple(found),
        _agreement(found, tuple((int(first), int(last)) for first, last in field)),
        scores,
        _settings(image, cam),
        _provenance(net, trace, name),
    )


class _Run:
    """One image and one unit, explained by method after method.

    index: of the unit in what its layer returns, without the batch axis. cam: the layer of Grad-CAM, or ''.
    """

    def __init__(self, net: DeconvNet, image: Tensor, unit: Unit, index: tuple[int, ...], cam: str) -> None:
        self.net, self.image, self.layer, self.index, self.cam = net, image, unit.layer, index, cam
        self.activation, self.checked = unit.activation, False  # whether the copy was seen to be of the same unit
        self.unit = unit
        self.known: dict[str, Tensor] = {}
        self.ranked: dict[str, tuple[Tensor, Tensor]] = {}
        self.troubles: dict[str, list[str]] = {}
        self.noise = NOISE * float(image.std())

    def explain(self, name: str) -> Explain:
        """A method, ready to explain the unit on other images."""
        if name in STYLES:
            return partial(self._mirrored, NeuronDeconvNetAttribution(self.net.model, self.layer, name))
        return self._captum({**OF_A_NEURON, **OF_A_CLASS}[name])

    def _captum(self, method: Method) -> Explain:
        aim = aimed(self.net.model, self.layer, self.index, self.cam)
        if not self.checked:
            with Restored(EvalMode(aim.model), torch.no_grad()):
                found = float(aim.model(self.image)[(0, *self.index)])
            if not math.isclose(found, self.activation, rel_tol=1e-3, abs_tol=1e-6):
                # As where a function that is numbered is also called on what does not depend on the image.
                raise InputError(f"the copy for Captum has {found:.4g} there, not {self.activation:.4g}: another layer")
            self.checked = True
        return partial(explained, method, aim)

    def _mirrored(self, method: NeuronDeconvNetAttribution, x: Tensor) -> Tensor:
        found: Tensor = method.attribute(x, self.index)
        return found.contiguous()

    def picture(self, name: str) -> Tensor:
        """What a method gives for the image, (1, C, H, W), computed once."""
        if name not in self.known:
            self.known[name] = self.explain(name)(self.image)
        return self.known[name]

    def attributed(self, name: str) -> Attributed:
        """What a method gives, how long it takes, and what is to be said about it."""
        try:
            explain = self.explain(name)
            start = _now(self.image)
            self.known[name] = explain(self.image)
            seconds = _now(self.image) - start
        except Exception as error:  # whatever a method cannot do on this model, the others may
            return Attributed(name, None, math.nan, _reason(error))
        try:
            remark = self._remark(name)
        except Exception as error:
            remark = f"not held against deconvviz ({_reason(error)})"
        return Attributed(name, self.known[name][0].cpu(), seconds, remark)

    def _remark(self, name: str) -> str:
        """Which layer Grad-CAM weighs, and whether a method that rests on its own idea of a rectifier is right."""
        if name == "LayerGradCam":
            return f"of layer {self.cam}"
        if name not in _HELD_AGAINST:
            return ""
        style, product = _HELD_AGAINST[name]
        gradient, right = (self.picture(known) for known in ("Saliency", style))
        factor = self.image if product == "input" else self._cam() if product == "cam" else torch.ones(())
        theirs = self.known[name]
        if not right.any():
            return f"blank, as {style} is" if not self.known[name].any() else f"{style} is blank here"
        rectifies = _difference(gradient, right) > SAME
        where = f"of layer {self.cam}; " if product == "cam" else ""
        if rectifies and _difference(theirs, gradient * factor) < 1e-6:
            what = {"input": "input x gradient", "cam": "plain gradient x Grad-CAM", "": "plain gradient"}[product]
            return f"{where}{what}: its rectifiers are not seen"
        if product == "input":
            return ""  # what it should be is not known
        differs = _difference(theirs, right * factor)
        return where + (f"same as {style}" if differs < SAME else f"differs from {style} by {differs:.0%}")

    def _cam(self) -> Tensor:
        """The map that GuidedGradCam multiplies with."""
        return self._captum(grad_cam)(self.image) * self.image.shape[1]

    # Captum's scores

    def scored(self, score: str, method: Attributed) -> float:
        """One of Captum's scores of a method; NaN, and a word about it, where it cannot be computed."""
        if method.pixels is None:
            return math.nan
        try:
            with Restored(torch.random.fork_rng(devices=[self.image.device] if self.image.is_cuda else [])):
                torch.manual_seed(SEED)
                return float(SCORES[score](self, method.name))
        except Exception as error:  # as where a model takes one image at a time only
            self.troubles.setdefault(method.name, []).append(f"no {score}: {_reason(error)}")
            return math.nan

    def infidelity(self, name: str) -> Tensor:
        """Captum's infidelity, normalised, under Gaussian noise."""

        def perturbed(x: Tensor) -> tuple[Tensor, Tensor]:
            noise = self.noise * torch.randn_like(x)
            return noise, x - noise

        found: Tensor = infidelity(
            aimed(self.net.model, self.layer, self.index, "").model,
            perturbed,
            self.image,
            self.known[name],
            target=self.index,
            n_perturb_samples=NOISES,
            max_examples_per_batch=8,
            normalize=True,
        )
        return found

    def sensitivity(self, name: str) -> Tensor:
        """Captum's maximal sensitivity in a small box around the image."""
        explain = self.explain(name)
        found: Tensor = sensitivity_max(
            lambda inputs: (explain(inputs[0]),), self.image, perturb_radius=self.noise, n_perturb_samples=SHIFTS
        )
        return found

    def areas(self, name: str) -> tuple[Tensor, Tensor]:
        """Deletion and insertion of the evidence, on the unit's own activation."""
        if name not in self.ranked:
            judged = Judged(self.net, self.image, self.layer, self.unit.channel, self.unit.position)
            heat = cut(heatmap(self.known[name])[0], judged.box(0))
            self.ranked[name] = areas(judged, [heat])
        return self.ranked[name]

    def with_troubles(self, method: Attributed) -> Attributed:
        """The method, with what could not be computed about it in its remark."""
        said = [method.remark, *self.troubles.get(method.name, [])]
        return replace(method, remark="; ".join(filter(None, said)))


SCORES: Mapping[str, Callable[[_Run, str], Tensor]] = {
    "infidelity": _Run.infidelity,
    "sensitivity": _Run.sensitivity,
    "deletion": lambda run, name: run.areas(name)[0],
    "insertion": lambda run, name: run.areas(name)[1],
}

# For Captum's methods that rest on their own idea of a rectifier: the style that they mean, and what it is times.
_HELD_AGAINST = {
    "Deconvolution": ("deconvnet", ""),
    "NeuronDeconvolution": ("deconvnet", ""),
    "GuidedBackprop": ("guided", ""),
    "NeuronGuidedBackprop": ("guided", ""),
    "GuidedGradCam": ("guided", "cam"),
    "DeepLift": ("deconvnet", "input"),
    "NeuronDeepLift": ("deconvnet", "input"),
}


# What is compared


def _handle(model: Any, preprocess: Any) -> DeconvNet:
    if isinstance(model, DeconvNet):
        return model if preprocess is None else DeconvNet(model.model, model.style, preprocess)
    return DeconvNet(model, preprocess=preprocess)


def _one_image(x: Any, net: DeconvNet) -> Tensor:
    call = prepared(x, net.preprocess)
    given = call.first
    if len(call.args) + len(call.kwargs) != 1 or given.ndim != 4 or len(given) != 1:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in call.tensors().values())
        raise InputError(f"methods are compared on one image (1, C, H, W), not on input of shape {shapes}")
    return given.detach().contiguous()


def _methods(asked: Sequence[str] | None, captums: Mapping[str, Method]) -> list[str]:
    known = [*STYLES, *captums]
    asked = [asked] if isinstance(asked, str) else asked
    for name in asked or ():
        if name not in known:
            listed = ", ".join(map(repr, known))
            raise InputError(f"there is no method {name!r} here{did_you_mean(name, known)}; there are {listed}")
    if asked is not None and not asked:
        raise InputError("there is no method to compare; name at least one, or give None for all")
    return known if asked is None else list(dict.fromkeys(asked))


def _unit(trace: Trace, layer: str, channel: int | None, position: Position) -> tuple[Unit, tuple[int, ...]]:
    """The unit that is meant, and its index in what the layer returns, without the batch axis."""
    value, activations = trace.layer(layer).value, trace.activations[layer]
    if isinstance(position, str) and position == "all":
        raise InputError("methods are compared on one unit; give its position, or 'max' for the strongest")
    axis = channel_axis(trace.tape, value)
    if not value.shape or value.shape[0] != 1:
        raise InputError(f"layer {layer!r} has shape {value.shape}, which has no batch axis of one image")
    chosen = choose_units(LayerActivations(layer, activations, 1, axis), channel, position)
    unit = max(chosen.units, key=lambda one: one.activation)
    index = list(unit.position)
    index.insert(axis - 1, unit.channel)
    return unit, tuple(index)


def _before(tape: Tape, layer: Value, model: nn.Module) -> str:
    """The last module before a layer whose maps have positions, as Grad-CAM wants it; '' where there is none."""
    modules, makers, before, waiting = dict(model.named_modules()), tape.makers(), set(), [layer]
    while waiting:
        for value in getattr(makers.get(waiting.pop().id), "inputs", ()):
            if value.id not in before:
                before.add(value.id)
                waiting.append(value)
    found = [
        named
        for named in tape.layers.values()
        if named.name in modules
        and f"{named.name}_1" not in tape.layers  # a hook of Captum's would see its last call
        and named.value.id in before
        and len(named.value.shape) == 4
        and max(named.value.shape[2:]) > 1
    ]
    return max(found, key=lambda named: named.value.id).name if found else ""


# Numbers


def _agreement(found: Sequence[Attributed], box: Box) -> dict[str, Tensor]:
    heats = [None if one.pixels is None else cut(heatmap(one.pixels[None])[0], box) for one in found]
    tables = {}
    for name, measure in MEASURES.items():
        table = torch.full((len(found), len(found)), math.nan, dtype=torch.float64)
        for (i, first), (j, second) in itertools.combinations_with_replacement(enumerate(heats), 2):
            if first is not None and second is not None:
                table[i, j] = table[j, i] = measure(first, second)
        tables[name] = table
    return tables


def _difference(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||."""
    return float((a - b).norm() / b.norm().clamp(min=torch.finfo(b.dtype).tiny))


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    short = said if len(said) <= 160 else said[:157] + "..."
    return f"{type(error).__name__}: {short}" if short else type(error).__name__


def _provenance(net: DeconvNet, trace: Trace, layer: str) -> Provenance:
    versions = {"deconvviz": __version__, "torch": str(torch.__version__), "captum": captum.__version__}
    model = type(net.model).__name__, fingerprint(net.model)
    return Provenance(*model, layer, {"name": ", ".join(STYLES)}, "one", trace.linearised, (), versions)


def _settings(image: Tensor, cam: str) -> tuple[str, ...]:
    height, width = patch(image)
    return (
        "Agreement is that of absolute attributions, summed over channels, within the receptive field.",
        f"Infidelity (Captum's, normalised): {NOISES} times Gaussian noise of {NOISE:g} standard deviations of the "
        f"input. Sensitivity (Captum's, the largest): {SHIFTS} samples within as much. Seed {SEED}.",
        "Deletion (lower is better) and insertion (higher is better) measure the unit's activation as the "
        "pixels ranked first are replaced by zeros, or inserted into zeros, within the receptive field: see "
        "docs/evidence.md.",
        f"Baselines are zero; integrated gradients in {STEPS} steps; occlusion by {height} x {width} pixels; "
        f"Saliency keeps its sign; Grad-CAM is that of layer {cam or '(none has positions)'}.",
    )
