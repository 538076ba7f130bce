"""One row of the coverage table: compares deconvviz and Captum with the autograd reference on a model's layers."""

from __future__ import annotations

import math
import re
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks.architectures import Architecture
from deconvviz.errors import DeconvVizError, InputError
from deconvviz.projection.receptive_field import channel_axis
from tests.helpers.autograd_reference import Call, ReferenceRun, relative_error

TOLERANCE = 1e-5  # float32
DOUBLE_TOLERANCE = 1e-10
CAPTUM_TOLERANCE = 1e-4  # a loose bound: this only asks whether Captum computes the same thing
ROUNDING = 1e-7
LAYERS = 6
RECURRENT = ("LSTM", "GRU", "RNN")
NOT_THE_LAST_CALL = "only a module's last call can be asked for"
Row = dict[str, Any]


def check(architecture: Architecture) -> Row:
    """Build the model, compare it with the reference and with Captum, and return the fields of its row."""
    started = time.monotonic()
    torch.manual_seed(zlib.crc32(architecture.key.encode()))
    model = architecture.build().eval().requires_grad_(False)
    x = torch.randn(architecture.samples, *architecture.shape)
    row: Row = {
        "shape": list(x.shape),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "remark": architecture.remark,
        "status": "refused",
    }
    enliven(model, x)
    try:
        found, facts = compare(model, x)
    except DeconvVizError as error:
        row["reason"] = f"{type(error).__name__}: {error}"
        return row | {"seconds": time.monotonic() - started}
    worst = max(found, key=lambda each: each.error)
    row |= facts | {"status": "exact", "layers": len(found), "error": worst.error, "worst": worst.name}
    row["checked"] = {each.name: each.error for each in found}
    if len(found) < 5:
        row["remark"] = "; ".join(filter(None, [row["remark"], "only layers with a living unit"]))
    if not worst.error <= TOLERANCE:
        row |= in_double(model, x, found)
    row["seconds"] = time.monotonic() - started
    row["captum"] = ask_captum(model, x[:1], found)
    return row | {"captum_seconds": time.monotonic() - started - row["seconds"]}


# A model on which a wrong rule is visible


def enliven(model: nn.Module, x: Tensor) -> None:
    """Replace constant weights by random ones, and give norms statistics close to those of the data.

    A new model hides errors: its norms do nothing, the last norm of a block may be zero, and layer scales are 1e-6.
    The statistics are drawn around those of the activations, so that gates do not saturate.
    """
    for name, parameter in model.named_parameters():
        if parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
            value = float(parameter.flatten()[0])
            if value == 0 and parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5)
            elif value == 0 and "bias" in name.rpartition(".")[2]:
                parameter.normal_(0, 0.1)
            elif 0 <= value < 0.01 or value == 1:
                parameter.uniform_(0.5, 1.5)
    handles = [module.register_forward_pre_hook(_measure) for module in model.modules() if _has_statistics(module)]
    with torch.no_grad():
        model(x.clone())
    for handle in handles:
        handle.remove()


def _has_statistics(module: nn.Module) -> bool:
    return isinstance(getattr(module, "running_var", None), Tensor) and hasattr(module, "running_mean")


def _measure(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
    size = args[0].pow(2).mean([axis for axis in range(args[0].ndim) if axis != 1]).sqrt().clamp(min=1e-3)
    norm.running_mean.copy_(0.2 * size * torch.randn_like(size))
    norm.running_var.copy_(size**2 * torch.empty_like(size).uniform_(0.5, 1.5))


# Which layers


def module_calls(model: nn.Module, table: dv.LayerTable) -> list[tuple[str, Call]]:
    """The layers that are modules, with the calls by which the reference addresses them. Functional calls are left out.

    So are containers that return the tensor of their last child.
    """
    kinds = {name or "output": type(module).__name__ for name, module in model.named_modules()}
    found: list[tuple[str, Call]] = []
    previous = None
    for layer in table:
        name, bracket, rest = layer.name.partition("[")
        path = tuple(re.findall(r"\[([^]]*)\]", bracket + rest))
        again = re.fullmatch(r"(.+)_(\d+)", name)
        module, number = name, 0
        if kinds.get(module) != layer.kind and again:
            module, number = again[1], int(again[2])
        inside = name == "output" or (previous and previous.name.startswith(f"{name}."))
        same = previous is not None and inside and previous.shape == layer.shape
        previous = layer
        state = layer.kind in RECURRENT and path[:1] == ("1",)  # its samples are on the second axis
        if kinds.get(module) == layer.kind and not same and not state and len(layer.shape) > 1:
            found.append((layer.name, Call("" if module == "output" else module, number, path)))
    return found


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` indices, evenly spaced, including the last one."""
    wanted = min(count, wanted)
    return sorted({round(place * (count - 1) / max(1, wanted - 1)) for place in range(wanted)} | {count - 1})


# deconvviz against the reference


@dataclass
class Compared:
    """A compared layer, and a unit of its first sample with its projection for a seed of one."""

    name: str
    call: Call
    error: float
    unit: tuple[int, ...]
    rows: int  # of one sample of the layer
    pixels: Tensor
    last_call: bool


def compare(model: nn.Module, x: Tensor, wanted: int = LAYERS) -> tuple[list[Compared], Row]:
    """Compare layers spread over the model. If all tried units of a layer are dead, try a neighbouring layer."""
    net = dv.DeconvNet(model)
    table = net.layers(x)
    calls = module_calls(model, table)
    missing = {place: _neighbours(place, len(calls)) for place in spread(len(calls), wanted)}
    found: dict[int, Compared] = {}
    linearised: dict[str, None] = {}
    stopped: dict[str, None] = {}
    for _ in range(15):
        asked = {}
        for place, others in list(missing.items()):
            asked[place] = calls[next(others)]
        run = ReferenceRun(model, x, [call for _, call in asked.values()])
        trace = _traced(net, x, [name for name, _ in asked.values()])
        linearised |= dict.fromkeys(trace.linearised)
        for place, (name, call) in asked.items():
            both = name in trace.activations and call in run.activations
            if both and (compared := _layer(net, trace, run, name, call)):
                found[place] = compared
                stopped |= dict.fromkeys(trace.stopped_at)
                del missing[place]
        del run, trace
        if not missing:
            break
    if not found:
        raise RuntimeError("no layer with a living unit was found")
    facts = {
        "table": len(table),
        "linearised": dict(Counter(item.partition(" in ")[0] for item in linearised).most_common()),
        "stopped": list(stopped),
    }
    return [found[place] for place in sorted(found)], facts


def _neighbours(place: int, count: int) -> Iterator[int]:
    """The index itself, then the others by distance, earlier ones first; the index again when none are left."""
    for distance in range(count):
        for other in {place - distance: None, place + distance: None}:
            if 0 <= other < count:
                yield other
    while True:
        yield place


def _traced(net: dv.DeconvNet, x: Tensor, names: list[str]) -> Any:
    try:
        trace = net.trace(x, list(dict.fromkeys(names)))
    except InputError as error:
        without = [name for name in names if repr(name) not in str(error)]
        if "has no activations" not in str(error) or not without:
            raise
        return _traced(net, x, without)
    trace.stopped_at = []
    return trace


def _layer(net: dv.DeconvNet, trace: Any, run: ReferenceRun, name: str, call: Call) -> Compared | None:
    """Compare one channel of a layer in every sample. None if all tried channels are dead."""
    activations = run.activations[call]
    if len(activations) % trace.tape.samples:  # a module that runs once per sample
        return None
    axis = channel_axis(trace.tape, trace.layer(name).value)
    for channel in alive(activations, axis, trace.tape.samples):
        projection = net.project(trace, name, channel=channel)
        trace.stopped_at.extend(projection.provenance.stopped)
        units = [index_of(unit, activations, axis, trace.tape.samples) for unit in projection.units]
        wholes = [run.pixels(call, unit) for unit in units]
        pixels = torch.stack([whole[unit.sample] for whole, unit in zip(wholes, projection.units, strict=True)])
        values = torch.tensor([unit.activation for unit in projection.units])
        if not bool((pixels.flatten(1).abs().amax(1) > ROUNDING * values.abs()).all()):
            continue  # dead, or what is left of it is rounding, as behind a norm that takes a mean of all there is
        if not torch.allclose(values, torch.stack([activations[unit] for unit in units]).float(), 1e-4, 1e-6):
            raise AssertionError(f"the activations of {name} differ from the reference's: {values.tolist()}")
        error = relative_error(projection.pixels.double(), pixels.double())
        error = error if math.isfinite(error) else math.inf  # so that it is the largest
        first = activations[units[0]]
        seeded = wholes[0][:1] / first if first > 0 else run.pixels(call, units[0], 1.0)[:1]
        rows, last = len(activations) // trace.tape.samples, call.number == run.times[call.module] - 1
        return Compared(name, call, error, units[0], rows, seeded, last)
    return None


def alive(activations: Tensor, axis: int, samples: int, count: int = 4) -> list[int]:
    """A few channels that fire in every sample: first the median of their ranking, then outwards."""
    apart = activations.unflatten(0, (samples, -1)).movedim(axis + 1, 1)
    strongest = apart.flatten(2).amax(2)
    weakest = strongest.amin(0)
    order = [c for c in weakest.argsort(descending=True).tolist() if strongest[:, c].ne(0).all()]
    firing = [c for c in order if weakest[c] > 0] or order
    if not firing:
        return []
    return [firing[place] for place in {len(firing) // 2: 0, len(firing) // 4: 0, 0: 0, len(firing) - 1: 0}][:count]


def index_of(unit: dv.Unit, activations: Tensor, axis: int, samples: int, sample: int | None = None) -> tuple[int, ...]:
    """The index of a unit in its layer's tensor, in its own sample or in the given one."""
    rows = len(activations) // samples
    position = list(unit.position)
    row = position.pop(0) if rows > 1 else 0
    position.insert(axis - 1, unit.channel)
    return ((unit.sample if sample is None else sample) * rows + row, *position)


def in_double(model: nn.Module, x: Tensor, found: list[Compared]) -> Row:
    """Repeat the comparison in double precision, to see whether an error above the tolerance is rounding."""
    again, _ = compare(model.double(), x.double())
    model.float()
    error = max(each.error for each in again)
    wrong = {each.name: each.error for each in found if not each.error <= TOLERANCE}
    if error <= DOUBLE_TOLERANCE:
        return {"double": error, "status": "exact"}
    return {"double": error, "status": "wrong", "reason": f"wrong layers: {wrong}; in float64 {error:.1e}"}


# Captum on the same units


def ask_captum(model: nn.Module, x: Tensor, found: list[Compared]) -> Row:
    """Captum's NeuronDeconvolution: on the model as it is and, if that is not exact, without in-place modules."""
    answer = _captum_on(model, x, found)
    if answer["exact"] < answer["layers"]:
        changed = False
        for module in model.modules():
            if getattr(module, "inplace", False) is True:
                module.inplace, changed = False, True
        if changed:
            answer["out of place"] = _captum_on(model, x, found)
    return answer


def _captum_on(model: nn.Module, x: Tensor, found: list[Compared]) -> Row:
    errors: Counter[str] = Counter()
    worst, exact = 0.0, 0
    modules = dict(model.named_modules())
    for each in found:
        if not each.last_call:  # Captum would use another unit
            errors[NOT_THE_LAST_CALL] += 1
            continue
        try:
            theirs = _without_traces(model, lambda each=each: _attributed(model, modules[each.call.module], x, each))
        except Exception as error:
            errors[f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"] += 1
            continue
        difference = relative_error(theirs.detach().double(), each.pixels.double())
        exact += difference <= CAPTUM_TOLERANCE
        worst = max(worst, difference)
    return {"layers": len(found), "exact": exact, "worst": worst, "errors": dict(errors)}


def _attributed(model: nn.Module, module: nn.Module, x: Tensor, each: Compared) -> Tensor:
    from captum.attr import NeuronDeconvolution  # noqa: PLC0415  slow to import, and only this needs it

    def selected(output: Any) -> Tensor:
        return each.call.tensor(output)[each.unit][None]

    selector = selected if each.call.path or each.rows > 1 else each.unit[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NeuronDeconvolution(model, module).attribute(x.clone().requires_grad_(), selector)


def _without_traces(model: nn.Module, run: Callable[[], Tensor]) -> Tensor:
    """Remove the hooks that Captum leaves behind, even after an error; they would change later results."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    before = [(module, kind, dict(getattr(module, kind))) for module in model.modules() for kind in kinds]
    try:
        return run()
    finally:
        for module, kind, hooks in before:
            getattr(module, kind).clear()
            getattr(module, kind).update(hooks)
