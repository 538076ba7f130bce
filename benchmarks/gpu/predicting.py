"""What a card would take for one unit per image beside plain batched autograd, predicted from counts, without a card.

An operation takes the time in which its bytes pass the card's memory, and that of its multiplications. How long those
take is known from autograd, which was timed on one H100: what remains of its time when its own bytes have passed.
Bytes and multiplications are counted on a pretend accelerator of the tests, of units that join a call: what a call
takes once, such as reading the filters, is left out. So is what a kernel takes beside them, and the host's time, which
overlaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import deconvviz as dv
from benchmarks import timing
from benchmarks.gpu import limits
from benchmarks.gpu.settings import BFLOAT16_LAST, FLOAT32, TF32_LAST, Arithmetic, Row, Run, at_most
from benchmarks.projection import random_places
from benchmarks.rivals import Bare, build

BANDWIDTH = 2.5e12  # bytes per second that such a card's memory was seen to pass
GOAL = 1.3
# Milliseconds per unit of autograd with 64 images at once, forward alone and altogether (torch 2.11).
H100 = {
    "features.21": {FLOAT32: (0.769, 1.217), TF32_LAST: (0.184, 0.360), BFLOAT16_LAST: (0.123, 0.225)},
    "features.28": {FLOAT32: (0.812, 1.352), TF32_LAST: (0.196, 0.387), BFLOAT16_LAST: (0.131, 0.238)},
}


@dataclass(frozen=True)
class Work:
    """What one more unit takes: bytes read and written, and multiplications."""

    moved: float
    products: float

    def __sub__(self, other: Work) -> Work:
        return Work(self.moved - other.moved, self.products - other.products)

    def milliseconds(self, reference: Work, measured: float) -> float:
        """How long it takes if other work of this kind takes so many milliseconds."""
        per_product = (measured - 1e3 * reference.moved / BANDWIDTH) / reference.products
        return 1e3 * self.moved / BANDWIDTH + self.products * per_product


def whole_maps(run: Run) -> list[Row]:
    """Layers whose units see most of the image."""
    columns = ("layer", "arithmetic", "multiplications", "bytes", "predicted, ms", "time / autograd's", "goal", "")
    timing.heading("Predicted beside batched autograd: VGG16, one image per unit", columns)
    return [row for layer in list(H100)[: run.count(2, 1)] for row in _layer(run, layer)]


def _layer(run: Run, layer: str) -> list[Row]:
    ours, halves, autograd, forward = _counted(run, layer)
    rows = []
    for arithmetic, (ahead, both) in H100[layer].items():
        parts = [(ours, autograd, both)]
        if arithmetic is BFLOAT16_LAST:  # signals travel back in float32, and products are rounded to TF32
            once, all_back = H100[layer][TF32_LAST]
            parts = [(halves[0], forward[1], ahead), (halves[1], autograd - forward[0], all_back - once)]
        predicted = sum(part.milliseconds(reference, measured) for part, reference, measured in parts)
        work = [sum(part.products for part, *_ in parts) / sum(other.products for _, other, _ in parts)]
        work += [sum(part.moved for part, *_ in parts) / sum(other.moved for _, other, _ in parts)]
        verdict = run.verdict(predicted / both, GOAL, at_most=True)
        cells = [*(f"{part:.2f}" for part in work), timing.number(predicted), f"{predicted / both:.2f}", str(GOAL)]
        timing.line([layer, arithmetic.name, *cells, verdict])
        rows.append(at_most(f"{layer}, {arithmetic.name}: predicted time / batched autograd's", GOAL, predicted / both))
    return rows


def _counted(run: Run, layer: str) -> tuple[Work, tuple[Work, Work], Work, tuple[Work, Work]]:
    """Our work in float32; forward and back in bfloat16; autograd's in float32; and forward alone in both types."""
    from tests.helpers.pretend_device import PretendDevice, pretending  # noqa: PLC0415 - patches torch

    model = build("vgg16")
    model.classifier = nn.Identity()

    def counts(device: PretendDevice, call: Callable[[torch.Tensor], object], x: torch.Tensor) -> dict[str, Work]:
        """By the type of what operations make, for each of the images after the first half."""
        found, half = [], len(x) // 2
        call(x[:half])  # which finds out the shapes of results
        for images in (x, x[:half]):
            with device.counted() as counted:
                call(images)
            found.append(counted)
        moved, products = (Counter(getattr(found[0], kind)) for kind in ("moved", "products"))
        moved.subtract(found[1].moved)
        products.subtract(found[1].products)
        return {kind: Work(number / half, products[kind] / half) for kind, number in moved.items()}

    def in_type(arithmetic: Arithmetic) -> tuple[dict[str, Work], dict[str, Work], dict[str, Work]]:
        with pretending("cuda") as device, arithmetic.switched():
            there = arithmetic.applied(model.to(device.name))
            x = arithmetic.applied(torch.randn(4, 3, run.side, run.side).to(device.name))
            net, bare, plain = dv.DeconvNet(there), Bare(there, layer), limits.WholeMaps(there, layer)
            places = random_places(bare(x[:1]).shape[1:], len(x))
            units = [(sample, channel, position) for sample, (channel, position) in enumerate(places)]
            ours = counts(device, lambda x: net.project_units(x, layer, units[: len(x)]), x)
            halves = arithmetic is BFLOAT16_LAST
            autograd = {} if halves else counts(device, lambda x: plain(x, places[: len(x)]), x)
            return ours, autograd, counts(device, bare, x)

    single, autograd, forward = in_type(FLOAT32)
    halves, _, half_forward = in_type(BFLOAT16_LAST)
    ahead = halves.pop("bfloat16")
    return _sum(single), (ahead, _sum(halves)), _sum(autograd), (_sum(forward), _sum(half_forward))


def _sum(by_type: dict[str, Work]) -> Work:
    return Work(sum(part.moved for part in by_type.values()), sum(part.products for part in by_type.values()))
