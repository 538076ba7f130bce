"""Whether deconvviz is right about a network: in whole maps and windows, alone and in a batch, against the reference.

The reference is autograd on the network as Python calls it, with norms written out; finite differences judge it, in the
gradient style and where the derivative is meant to be the one of the function.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import DeconvVizError
from tests.helpers.autograd_reference import Call, ReferenceRun
from tests.helpers.forced_windows import windows_forced
from tests.helpers.random_networks import parts as random_parts
from tests.helpers.random_networks.network import PROBE, Network
from tests.helpers.random_networks.parts import constant

STYLES = ("deconvnet", "guided", "gradient")
TOLERANCE, BY_DIFFERENCES, ROUNDING = 1e-10, 1e-6, 1e-3
IN_SINGLE, IN_HALF = 1e-6, 0.1
LAYER = "probe"
EVERY, OF_A_BATCH, OF_ANOTHER_IMAGE = slice(None), slice(4), slice(4, None)
Units = list[tuple[int, ...]]


@dataclass
class Checked:
    """What came out for one network in one style.

    faults: one line each, starting with "wrong", "error", "refused" or "reference". judged: by finite differences.
    windows: how often windows were used. unstable: whether the reference itself changes as much for images that differ
    in the tenth digit (a tie, a kink, numbers that cancel), so that nothing can be said.
    """

    faults: list[str] = field(default_factory=list)
    worst: float = 0.0
    judged: bool = False
    windows: int = 0
    unstable: bool = False


class _WrittenOver(Exception):
    pass


class Expected:
    """The reference on some images."""

    def __init__(self, model: nn.Module, x: Tensor, style: str) -> None:
        self.call, self.x = Call(LAYER), x
        self.run = ReferenceRun(model, x, [self.call], style)
        self.activations = self.run.activations[self.call]

    def pixels(self, units: Units) -> Tensor:
        """Per unit, those of its sample. As samples do not meet, units of several samples go back at once."""
        found: dict[int, Tensor] = {}
        left = list(range(len(units)))
        while left:
            together = {units[place][0]: place for place in reversed(left)}
            seed = torch.zeros_like(self.activations)
            for place in together.values():
                seed[units[place]] = self.activations[units[place]]
            back = self._sent_back(seed)
            for sample, place in together.items():
                found[place] = back[sample]
            left = [place for place in left if place not in together.values()]
        return torch.stack([found[place] for place in range(len(units))])

    def reconstruction(self) -> Tensor:
        return self._sent_back(self.activations)

    def _sent_back(self, seed: Tensor) -> Tensor:
        try:
            return self.run.sent_back(self.call, seed)
        except RuntimeError as error:
            if "modified by an inplace operation" in str(error):
                raise _WrittenOver from error
            raise


def places(shape: torch.Size, count: int) -> Units:
    """Units (sample, channel, *position), spread over samples, channels and the map, corners first."""
    spread = [(0.0, 0.99), (0.99, 0.0), (0.5, 0.4), (0.99, 0.99), (0.0, 0.0), (0.3, 0.7)]
    return [
        (n % shape[0], n % shape[1], *(int(spread[n % 6][axis % 2] * size) for axis, size in enumerate(shape[2:])))
        for n in range(count)
    ]


def check(network: Network, style: str, first: bool = False, ways: slice = EVERY) -> Checked:
    """All ways of projecting units of the last layer, or some; only up to the first fault, if asked for.

    Where autograd itself refuses to go back, since something that it needs was written over, nothing can be said.
    """
    try:
        return _checked(network, style, first, ways)
    except _WrittenOver:
        return Checked(unstable=True)


def _checked(network: Network, style: str, first: bool, ways: slice) -> Checked:
    made = Checked()
    with warnings.catch_warnings(), as_written():
        warnings.simplefilter("ignore")
        plain = network.built()
    x, y = network.images("x"), network.images("y")
    if network.alone:
        x, y = x[:1], y[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = network.built()
        expected = {name: Expected(plain, images, style) for name, images in (("x", x), ("y", y))}
        for way in _ways(model, style, x, y, expected)[ways]:
            if first and made.faults:
                break
            try:
                with windows_forced() as kinds:
                    what, error = way()
                made.windows += len(kinds)
            except _WrittenOver:
                raise
            except DeconvVizError as refusal:
                made.faults.append(f"refused {way.__name__}: {type(refusal).__name__}: {refusal}")
            except Exception as error:
                made.faults.append(f"error {way.__name__}: {type(error).__name__}: {str(error)[:300]}")
            else:
                made.worst = max(made.worst, error)
                if not error <= (IN_HALF if network.coarse else IN_SINGLE if network.single else TOLERANCE):
                    made.faults.append(f"wrong {way.__name__} ({what}): {error:.1e}")
        values_only = made.faults and all(fault.startswith("wrong") for fault in made.faults)
        if values_only and made.worst <= sensitivity(plain, x, y, style):
            return Checked(unstable=True)
        if style == "gradient" and network.smooth:
            judgement = by_differences(plain, expected["x"])
            made.judged = judgement is not None
            if judgement is not None and not judgement <= BY_DIFFERENCES:
                made.faults.append(f"reference: {judgement:.1e} off finite differences")
    return made


@contextmanager
def as_written() -> Iterator[None]:
    random_parts.as_written = True
    try:
        yield
    finally:
        random_parts.as_written = False


def _ways(
    model: nn.Module, style: str, x: Tensor, y: Tensor, expected: dict[str, Expected]
) -> list[Callable[[], tuple[str, float]]]:
    net = dv.DeconvNet(model, style)
    last = len(x) - 1
    units = places(expected["x"].activations.shape, 2 * len(x))
    asked = [(unit[0], unit[1], unit[2:]) for unit in units]
    traces: dict[str, dv.Trace] = {}

    def trace(name: str, images: Tensor) -> dv.Trace:
        if name not in traces:
            traces[name] = net.trace(images, LAYER)
        return traces[name]

    def compared(projection: dv.Projection, of: str, what: str, sample: int | None = None) -> tuple[str, float]:
        named = [(unit.sample if sample is None else sample, unit.channel, *unit.position) for unit in projection.units]
        values = expected[of].activations[tuple(zip(*named, strict=True))]
        said = torch.tensor([unit.activation for unit in projection.units], dtype=values.dtype)
        off = float(((said - values).abs() / values.abs().clamp(min=ROUNDING)).max())
        return what, max(off * 1e-3, difference(projection.pixels, expected[of].pixels(named), values))

    def rebuilt(found: Tensor, of: str, what: str, samples: slice) -> tuple[str, float]:
        sent = expected[of].activations[samples].flatten(1).norm(dim=1)
        return what, difference(found, expected[of].reconstruction()[samples], sent)

    def layers() -> tuple[str, float]:
        return "table", 0.0 if LAYER in {layer.name for layer in net.layers(x)} else 1.0

    def batch() -> tuple[str, float]:
        return compared(
            net.project(trace("x", x), LAYER, channel=[0, PROBE - 1], window="full"), "x", "strongest, whole maps"
        )

    def windows_of_a_trace() -> tuple[str, float]:
        return compared(net.project_units(trace("x", x), LAYER, asked), "x", "units")

    def reconstruct() -> tuple[str, float]:
        return rebuilt(net.reconstruct(trace("x", x), LAYER).pixels, "x", "batch", slice(None))

    def alone() -> tuple[str, float]:
        one = trace("alone", y[last:])
        return compared(net.project(one, LAYER, channel=1, window="full"), "y", "strongest, whole maps", last)

    def reconstruct_alone() -> tuple[str, float]:
        return rebuilt(net.reconstruct(trace("alone", y[last:]), LAYER).pixels, "y", "alone", slice(last, None))

    def windows() -> tuple[str, float]:
        return compared(net.project(x[:1], LAYER, channel=1, position=units[0][2:]), "x", "one position, one image", 0)

    def windows_of_another_image() -> tuple[str, float]:
        return compared(net.project_units(y, LAYER, asked), "y", "units, after another image")

    return [
        *(layers, batch, windows_of_a_trace, reconstruct, alone, reconstruct_alone),
        *(windows, windows_of_another_image),
    ]


def difference(found: Tensor, wanted: Tensor, sent: Tensor) -> float:
    """||a - b|| / ||b||, the largest; what is but rounding of the signal that was sent counts as that much."""
    error = (found - wanted).flatten(1).norm(dim=1)
    return float(
        (error / wanted.flatten(1).norm(dim=1).clamp(min=sent.abs() * ROUNDING)).nan_to_num(nan=torch.inf).max()
    )


def sensitivity(model: nn.Module, x: Tensor, y: Tensor, style: str) -> float:
    """How much the reference changes where the images change in the tenth digit."""
    worst = 0.0
    for images in (x, y):
        noise = 1e-10 * constant("noise", *images.shape)
        before, after = (Expected(model, images + sign * noise, style) for sign in (1, -1))
        units = places(before.activations.shape, 2 * len(images))
        sent = before.activations[tuple(zip(*units, strict=True))]
        worst = max(worst, difference(before.pixels(units), after.pixels(units), sent))
        for channel in range(PROBE):
            strongest = [strongest_of(each.activations, channel) for each in (before, after)]
            worst = max(worst, 1.0 if strongest[0] != strongest[1] else 0.0)
            sent = before.activations[tuple(zip(*strongest[0], strict=True))]
            worst = max(worst, difference(before.pixels(strongest[0]), after.pixels(strongest[1]), sent))
        sent = before.activations.flatten(1).norm(dim=1)
        worst = max(worst, difference(before.reconstruction(), after.reconstruction(), sent))
    return worst


def strongest_of(activations: Tensor, channel: int) -> Units:
    of_channel = activations[:, channel]
    found = of_channel.flatten(1).argmax(1)
    return [
        (n, channel, *(int(axis) for axis in torch.unravel_index(place, of_channel.shape[1:])))
        for n, place in enumerate(found)
    ]


def by_differences(model: nn.Module, expected: Expected) -> float | None:
    """How far directional derivatives of units are off central differences; None where a kink is too near."""
    x, worst = expected.x, 0.0
    units = places(expected.activations.shape, len(x))
    chosen = tuple(zip(*units, strict=True))
    values = expected.activations[tuple(zip(*units, strict=True))]
    pixels = expected.pixels(units)
    for direction in (constant("first direction", *x.shape), constant("second direction", *x.shape)):
        measured = []
        for step in (2e-4, 1e-4):
            with torch.no_grad():
                ahead, behind = (first_of(model(x + sign * step * direction)) for sign in (1, -1))
            measured.append((ahead[chosen] - behind[chosen]) / (2 * step))
            bent = ((ahead[chosen] + behind[chosen] - 2 * values) / step).abs()
        size = pixels.flatten(1).norm(dim=1) / values.abs().clamp(min=1e-12)
        scale = torch.maximum(size, measured[1].abs()).clamp(min=1e-3)
        fine = (4 * measured[1] - measured[0]) / 3
        if float(((fine - measured[1]).abs() / scale).max()) > BY_DIFFERENCES or float((bent / scale).max()) > 0.05:
            return None
        said = (pixels * direction).flatten(1).sum(1) / torch.where(values == 0, 1.0, values)
        worst = max(worst, float(((said - fine).abs() / scale).max()))
    return worst


def first_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def shrunk(network: Network, style: str) -> tuple[Network, list[str]]:
    """The smallest network found that fails in the same way, and how."""
    faults = check(network, style, first=True).faults
    kinds = {fault.split("(")[0].split(":")[0] for fault in faults}
    smaller = True
    while smaller:
        smaller = False
        for candidate in network.smaller():
            try:
                found = check(candidate, style, first=True).faults
            except Exception:  # taking a step away may leave a network that does not run
                continue
            if kinds & {fault.split("(")[0].split(":")[0] for fault in found}:
                network, faults, smaller = candidate, found, True
                break
    return network, check(network, style).faults


def report(network: Network, style: str) -> str:
    """What is wrong, and a program that shows it."""
    small, faults = shrunk(network, style)
    shown = "\n".join(f"#   {fault}" for fault in faults)
    units = places(torch.Size((len(small.images()), PROBE, *[1] * small.steps[-1].rank)), 1)
    tail = f'print(dv.DeconvNet(model, "{style}").project(x, "{LAYER}", channel={units[0][1]}).pixels)\n'
    return f"# random network {network.seed}, style {style}:\n{shown}\n{small.script()}{tail}"
