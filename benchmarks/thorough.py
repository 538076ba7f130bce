"""Compares a network with the reference: on whole maps and windows, alone and in a batch, in three styles."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from unittest.mock import patch

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
LEAST = 1e-5  # relative to the signal sent: a few units in the last place in float64


def check(architecture: Architecture) -> Row:
    """The fields of the network's row. Runs in float64, except for networks that insist on float32."""
    with ExitStack() as asked:
        return _checked(architecture, asked)


def _checked(architecture: Architecture, asked: ExitStack) -> Row:
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
    tolerance = DOUBLE_TOLERANCE if _in_double(model, x, asked) else TOLERANCE
    if tolerance == DOUBLE_TOLERANCE:
        x, other = x.double(), other.double()
    try:
        row |= _compared(model, x, other, tolerance)
    except DeconvVizError as error:
        row["reason"] = f"{type(error).__name__}: {error}"
    return row | {"seconds": time.monotonic() - started}


def _in_double(model: nn.Module, x: Tensor, asked: ExitStack) -> bool:
    """Whether the network runs in float64, if need be with its own requests for float32 replaced until `asked` ends."""
    model.double()
    for attempt in range(2):
        if attempt:
            asked.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float64)
            asked.enter_context(patch.object(Tensor, "float", Tensor.double))
        try:
            with torch.no_grad():
                model(x.double())
        except RuntimeError:
            continue
        return True
    asked.close()
    model.float()
    return False


def _brings_float32(trace: dv.Trace) -> bool:
    return any(
        value.dtype == torch.float32 for operation in trace.tape.operations for value in operation.outputs if value
    )


def _compared(model: nn.Module, x: Tensor, other: Tensor, tolerance: float) -> Row:
    table = dv.DeconvNet(model).layers(x)
    calls = module_calls(model, table)
    picked = [calls[place] for place in spread(len(calls), LAYERS)]
    found = Counter[str]()
    worst, errors, linearised, stopped = (0.0, ""), [], dict[str, None](), dict[str, None]()
    coarse = False
    for style in STYLES:
        net = dv.DeconvNet(model, style)
        runs = {
            name: [ReferenceRun(model, image[None], [call for _, call in picked], style) for image in images]
            for name, images in (("x", x), ("other", other))
        }
        each = [run for of in runs.values() for run in of]
        living = [(name, call) for name, call in picked if all(call in run.activations for run in each)]
        names = [name for name, _ in living]
        traces = {"x": net.trace(x, names), "other": net.trace(other[1:], names)} if names else {}
        if "x" in traces and _brings_float32(traces["x"]):
            tolerance, coarse = TOLERANCE, True
        for name, call in living:
            comparison = _Layer(net, runs, traces, {"x": x, "other": other}, name, call)
            if not comparison.channels:
                continue
            found["layers"] += 1
            for way, of in comparison.ways:
                with windows_forced() as kinds:
                    error = way()
                found["windows"] += bool(kinds)
                found["projections"] += 1
                worst = max(worst, (error, f"{name}, {style}, {way.__name__.strip('_')}"))
                if not error <= tolerance and error > comparison.sensitivity(of):
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
    if coarse:
        row["remark"] = "partly in float32, which it asks for itself"
    row["linearised"] = dict(Counter(item.partition(" in ")[0] for item in linearised).most_common())
    return row | ({"reason": f"{len(errors)} wrong: {'; '.join(errors[:3])}"} if errors else {})


class _Layer:
    """One channel of one layer, projected in all ways. The reference runs each image alone, so samples cannot mix."""

    def __init__(
        self,
        net: dv.DeconvNet,
        runs: dict[str, list[ReferenceRun]],
        traces: dict[str, dv.Trace],
        images: dict[str, Tensor],
        name: str,
        call: Call,
    ) -> None:
        self.net, self.runs, self.traces, self.images, self.name, self.call = net, runs, traces, images, name, call
        self.linearised: list[str] = []
        self.stopped: list[str] = []
        trace = traces["x"]
        self.axis = channel_axis(trace.tape, trace.layer(name).value)
        activations = torch.cat([run.activations[call] for run in runs["x"]])
        firing = alive(activations, self.axis, len(runs["x"]))
        self.channels = ([channel for channel in firing if self._shows(channel)] or firing)[:1]
        self.projected: dict[str, list[tuple[int, tuple[int, ...]]]] = {"x": [], "other": []}

    def _shows(self, channel: int) -> bool:
        """Whether the strongest unit has a projection other than zero in each image; zero would always be right."""
        for run in self.runs["x"]:
            of_channel = run.activations[self.call].select(self.axis, channel)
            place = [int(axis) for axis in torch.unravel_index(of_channel.argmax(), of_channel.shape)]
            place.insert(self.axis, channel)
            if not run.pixels(self.call, tuple(place)).any():
                return False
        return True

    @property
    def ways(self) -> list[tuple[Callable[[], float], str]]:
        """The ways of asking for a projection, each with the images it needs."""
        of_x = [self._batch, self._windows_of_a_trace, self._all, self._windows]
        return [(way, "x") for way in of_x] + [(way, "other") for way in (self._alone, self._windows_of_another)]

    def _batch(self) -> float:
        self.projection = self.net.project(self.traces["x"], self.name, channel=self.channels, window="full")
        self.units = [(unit.sample, unit.channel, unit.position) for unit in self.projection.units]
        self.linearised += self.projection.provenance.linearised
        self.stopped += self.projection.provenance.stopped
        return self._error(self.projection, "x")

    def _windows_of_a_trace(self) -> float:
        return self._error(self.net.project(self.traces["x"], self.name, channel=self.channels), "x")

    def _all(self) -> float:
        """Compare a reconstruction."""
        sent = torch.stack([run.activations[self.call].norm() for run in self.runs["x"]])
        found = self.net.reconstruct(self.traces["x"], self.name).pixels
        return _difference(found, self._reconstructed(self.runs["x"]), sent)

    def _alone(self) -> float:
        return self._error(
            self.net.project(self.traces["other"], self.name, channel=self.channels, window="full"), "other", 1
        )

    def _windows(self) -> float:
        """Compare windows of a single image."""
        one = [unit for unit in self.units if unit[0] == 0]
        return self._error(self.net.project_units(self.images["x"][:1], self.name, one), "x")

    def _windows_of_another(self) -> float:
        """Compare windows of another image: what was cached about the network must still be right."""
        return self._error(self.net.project_units(self.images["other"], self.name, self.units), "other")

    def _error(self, projection: dv.Projection, of: str, sample: int | None = None) -> float:
        places = []
        for unit in projection.units:
            n = unit.sample if sample is None else sample
            places.append((n, index_of(unit, self.runs[of][n].activations[self.call], self.axis, 1, 0)))
        self.projected[of] += places
        values = torch.stack([self.runs[of][n].activations[self.call][place] for n, place in places])
        said = torch.tensor([unit.activation for unit in projection.units], dtype=values.dtype)
        off = float(((said - values).abs() / values.abs().clamp(min=ROUNDING)).max())
        return max(off * 1e-3, _difference(projection.pixels, self._pixels(self.runs[of], places), values))

    def _pixels(self, runs: list[ReferenceRun], places: list[tuple[int, tuple[int, ...]]]) -> Tensor:
        return torch.cat([runs[n].pixels(self.call, place) for n, place in places])

    def _reconstructed(self, runs: list[ReferenceRun]) -> Tensor:
        return torch.cat([run.sent_back(self.call, run.activations[self.call]) for run in runs])

    def sensitivity(self, of: str) -> float:
        """How much the reference changes, for the units projected so far, if the image changes a little."""
        x = self.images[of]
        noise = (1e-12 if x.dtype == torch.float64 else 1e-6) * torch.randn_like(x)
        one, two = (
            [ReferenceRun(self.net.model, image[None], [self.call], self.net.style.name) for image in x + sign * noise]
            for sign in (1, -1)
        )
        places = list(dict.fromkeys(self.projected[of]))
        values = torch.stack([one[n].activations[self.call][place] for n, place in places])
        moved = _difference(self._pixels(one, places), self._pixels(two, places), values)
        return max(moved, _difference(self._reconstructed(one), self._reconstructed(two), torch.zeros(len(x)).to(x)))


def _difference(found: Tensor, wanted: Tensor, sent: Tensor) -> float:
    """The largest ||a - b|| / ||b||, where rounding errors of the signal sent do not count."""
    error = (found - wanted).flatten(1).norm(dim=1)
    least = (sent.abs() * LEAST).clamp(min=1e-30)
    return float((error / torch.maximum(wanted.flatten(1).norm(dim=1), least)).nan_to_num(nan=torch.inf).max())
