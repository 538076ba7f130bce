"""A network of the zoo against the reference: in whole maps and windows, alone and in a batch, in three styles."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

import deconvviz as dv
from benchmarks.architectures import Architecture
from benchmarks.check import DOUBLE_TOLERANCE, ROUNDING, TOLERANCE, Row, alive, enliven, index_of, module_calls, spread
from deconvviz.errors import DeconvVizError
from deconvviz.projection.receptive_field import channel_axis
from tests.helpers.autograd_reference import Call, ReferenceRun
from tests.helpers.forced_windows import windows_forced

STYLES = ("deconvnet", "guided", "gradient")
LAYERS = 3


def check(architecture: Architecture) -> Row:
    """Everything that the table says about it. In float64, but for networks that bring float32 of their own."""
    started = time.monotonic()
    torch.manual_seed(zlib.crc32(architecture.key.encode()))
    model = architecture.build().eval().requires_grad_(False)
    x, other = (torch.randn(2, *architecture.shape) for _ in range(2))
    row: Row = {
        "shape": list(x.shape),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "remark": architecture.remark,
        "status": "refused",
    }
    enliven(model, x)
    tolerance = DOUBLE_TOLERANCE if _in_double(model, x) else TOLERANCE
    if tolerance == DOUBLE_TOLERANCE:
        x, other = x.double(), other.double()
    else:
        row["remark"] = "; ".join(filter(None, [row["remark"], "in float32, which it asks for itself"]))
    try:
        row |= _compared(model, x, other, tolerance)
    except DeconvVizError as error:
        row["reason"] = f"{type(error).__name__}: {error}"
    return row | {"seconds": time.monotonic() - started}


def _in_double(model: nn.Module, x: Tensor) -> bool:
    try:
        with torch.no_grad():
            model.double()(x.double())
    except RuntimeError:
        model.float()
        return False
    return True


def _compared(model: nn.Module, x: Tensor, other: Tensor, tolerance: float) -> Row:
    table = dv.DeconvNet(model).layers(x)
    calls = module_calls(model, table)
    picked = [calls[place] for place in spread(len(calls), LAYERS)]
    found = Counter[str]()
    worst, errors, linearised, stopped = (0.0, ""), [], dict[str, None](), dict[str, None]()
    for style in STYLES:
        net = dv.DeconvNet(model, style)
        runs = {
            name: ReferenceRun(model, images, [call for _, call in picked], style)
            for name, images in (("x", x), ("other", other))
        }
        living = [(name, call) for name, call in picked if all(call in run.activations for run in runs.values())]
        names = [name for name, _ in living]
        traces = {"x": net.trace(x, names), "other": net.trace(other[1:], names)} if names else {}
        for name, call in living:
            comparison = _Layer(net, runs, traces, {"x": x, "other": other}, name, call)
            if not comparison.channels:
                continue
            found["layers"] += 1
            for way in comparison.ways:
                with windows_forced() as kinds:
                    error = way()
                found["windows"] += bool(kinds)
                found["projections"] += 1
                worst = max(worst, (error, f"{name}, {style}, {way.__name__.strip('_')}"))
                if not error <= tolerance and error > comparison.sensitivity():
                    errors.append(f"{name} ({style}, {way.__name__.strip('_')}): {error:.1e}")
                elif not error <= tolerance:
                    found["unsure"] += 1
            linearised |= dict.fromkeys(comparison.linearised)
            stopped |= dict.fromkeys(comparison.stopped)
    if not found["layers"]:
        raise RuntimeError("no layer with a living unit was found")
    row: Row = {"status": "wrong" if errors else "exact", "error": worst[0], "worst": worst[1], "table": len(table)}
    row |= {"layers": len(picked), "projections": found["projections"], "windows": found["windows"]}
    row |= {"unsure": found["unsure"], "stopped": list(stopped)}
    row["linearised"] = dict(Counter(item.partition(" in ")[0] for item in linearised).most_common())
    return row | ({"reason": f"{len(errors)} wrong: {'; '.join(errors[:3])}"} if errors else {})


class _Layer:
    """One channel of one layer, all ways of asking for it. Samples do not meet, so one reference serves them all."""

    def __init__(
        self,
        net: dv.DeconvNet,
        runs: dict[str, ReferenceRun],
        traces: dict[str, dv.Trace],
        images: dict[str, Tensor],
        name: str,
        call: Call,
    ) -> None:
        self.net, self.runs, self.traces, self.images, self.name, self.call = net, runs, traces, images, name, call
        self.linearised: list[str] = []
        self.stopped: list[str] = []
        activations, trace = runs["x"].activations[call], traces["x"]
        self.axis = channel_axis(trace.tape, trace.layer(name).value)
        rows = len(activations) % len(images["x"])
        self.channels = [] if rows else alive(activations, self.axis, len(images["x"]))[:1]
        self.moved: float | None = None

    @property
    def ways(self) -> list[Callable[[], float]]:
        return [self._batch, self._windows_of_a_trace, self._all, self._alone, self._windows, self._windows_of_another]

    def _batch(self) -> float:
        self.projection = self.net.project(self.traces["x"], self.name, self.channels, window="full")
        self.units = [(unit.sample, unit.channel, unit.position) for unit in self.projection.units]
        self.linearised += self.projection.provenance.linearised
        self.stopped += self.projection.provenance.stopped
        return self._error(self.projection, "x")

    def _windows_of_a_trace(self) -> float:
        return self._error(self.net.project(self.traces["x"], self.name, self.channels), "x")

    def _all(self) -> float:
        """A reconstruction."""
        run = self.runs["x"]
        wanted = run.sent_back(self.call, run.activations[self.call])
        sent = run.activations[self.call].unflatten(0, (2, -1)).flatten(1).norm(dim=1)
        return _difference(self.net.reconstruct(self.traces["x"], self.name).pixels, wanted, sent)

    def _alone(self) -> float:
        return self._error(self.net.project(self.traces["other"], self.name, self.channels, window="full"), "other", 1)

    def _windows(self) -> float:
        """Of one image alone."""
        one = [unit for unit in self.units if unit[0] == 0]
        return self._error(self.net.project_units(self.images["x"][:1], self.name, one), "x")

    def _windows_of_another(self) -> float:
        """After the first images: what was learnt about the network must still be right."""
        return self._error(self.net.project_units(self.images["other"], self.name, self.units), "other")

    def _error(self, projection: dv.Projection, of: str, sample: int | None = None) -> float:
        run = self.runs[of]
        activations = run.activations[self.call]
        pixels, sent = [], []
        for unit in projection.units:
            n = unit.sample if sample is None else sample
            place = index_of(unit, activations, self.axis, len(self.images["x"]), n)
            pixels.append(run.pixels(self.call, place)[n])
            sent.append(activations[place])
        values = torch.stack(sent)
        said = torch.tensor([unit.activation for unit in projection.units], dtype=values.dtype)
        off = float(((said - values).abs() / values.abs().clamp(min=ROUNDING)).max())
        return max(off * 1e-3, _difference(projection.pixels, torch.stack(pixels), values))

    def sensitivity(self) -> float:
        """How far the reference itself moves where the image moves in its last digits."""
        if self.moved is None:
            x, model, style = self.images["x"], self.net.model, self.net.style.name
            step = 1e-12 if x.dtype == torch.float64 else 1e-6
            noise = step * torch.randn_like(x)
            runs = [ReferenceRun(model, x + sign * noise, [self.call], style) for sign in (1, -1)]
            activations = runs[0].activations[self.call]
            places = [index_of(unit, activations, self.axis, len(x), unit.sample) for unit in self.projection.units]
            one, two = (
                torch.stack([run.pixels(self.call, place)[place[0] * len(x) // len(activations)] for place in places])
                for run in runs
            )
            self.moved = _difference(one, two, torch.stack([activations[place] for place in places]))
            sent = [run.sent_back(self.call, run.activations[self.call]) for run in runs]
            self.moved = max(self.moved, _difference(*sent, torch.zeros(len(x), dtype=x.dtype)))
        return self.moved


def _difference(found: Tensor, wanted: Tensor, sent: Tensor) -> float:
    """||a - b|| / ||b||, the largest; rounding of what was sent counts as that much."""
    error = (found - wanted).flatten(1).norm(dim=1)
    least = (sent.abs() * ROUNDING).clamp(min=1e-30)
    return float((error / torch.maximum(wanted.flatten(1).norm(dim=1), least)).nan_to_num(nan=torch.inf).max())
