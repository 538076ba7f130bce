"""Whether one may believe a unit's projection: measured behind, while one looks.

One image is too few for a verdict on a channel, so here are numbers about the one projection that is shown.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from deconvviz.atlas.evidence import Judge
from deconvviz.evidence.curves import UnitsInImages, gains_in_steps
from deconvviz.evidence.limits import NEAR_CHANCE, too_few
from deconvviz.evidence.metrics import cosine, heatmap
from deconvviz.evidence.steps import told
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.networks import ImageKey
from deconvviz.explorer.worker import Steps
from deconvviz.net import DeconvNet
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.results import Projection
from deconvviz.trace import Trace

INSERTION_STEPS = 8
NO_FAITHFULNESS = "Faithfulness not judged"
STEP_PIXELS = 60_000  # of the images in a forward pass: a click waits for the end of one


class UnitBadges:
    """Judges units of the image that is shown. Only the worker's thread may use it."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def badges(
        self, client: str, image: ImageKey, layer: str, channel: int, position: tuple[int, ...] | None
    ) -> Steps[dict[str, Any]]:
        """How far a unit's projection shows what activates it, and how far it differs from those of other channels.

        Returns:
            Badges, each with a kind (good, weak, bad or none), a few words and a sentence.
        """
        yield 0.05
        trace = self._answers.networks.trace(client, image)
        projection = self._answers.projection(client, image, layer, channel, position=position)
        yield 0.2
        net = self._answers.networks.given
        alike = _alike(Judge(net), trace, projection)
        yield 0.3
        if why := _not_judged(trace, layer):
            return {"badges": [["none", NO_FAITHFULNESS, why], alike]}
        gain = yield from _inserted(net, trace, projection)
        return {"badges": [_gain(gain), alike]}


def _not_judged(trace: Trace, layer: str) -> str:
    """Why no pixels can be inserted for the units of a layer; "" if they can."""
    value = trace.layer(layer).value
    if trace.call.first.ndim != 4:
        return "It is measured by inserting pixels into an image, and this is none."
    if value.id not in trace.apart or channel_axis(trace.tape, value) != 1:
        return f"It is measured where channels lie behind the batch axis, and those of {layer} do not."
    return ""


def _inserted(net: DeconvNet, trace: Trace, projection: Projection) -> Steps[float]:
    """What inserting pixels by a projection gains over a random ranking; NaN if that cannot be measured.

    A step has one forward pass, of as many images as have few pixels together.
    """
    (unit,), (box,) = projection.units, projection.receptive_fields.tolist()
    field = tuple((first, last) for first, last in box)
    if not all(first < last for first, last in field):
        return math.nan
    heat = heatmap(projection.cpu().cut(0, field)[None])[0]
    image = trace.call.first[[unit.sample]]
    units = UnitsInImages(net, unit.layer, image, [(unit.channel, unit.position)], [field])
    batch = max(1, STEP_PIXELS // image[0, 0].numel())
    shares = (1 - 0.7 * 0.9**done for done in itertools.count())  # how many there are, batches that fail decide
    (gain,) = yield from told(gains_in_steps(units, [heat], steps=INSERTION_STEPS, batch_size=batch), shares)
    return gain


def _gain(value: float) -> list[str]:
    """What insertion says of a projection."""
    how = (
        f"The pixels that it ranks first were inserted into an empty image in {INSERTION_STEPS} steps; beside as many "
        f"random pixels the unit reached {abs(value):.2f} of its activation {'more' if value >= 0 else 'less'}."
    )
    if math.isnan(value):
        return ["none", NO_FAITHFULNESS, "The unit does not fire, its picture is blank, or it has no field."]
    if value > NEAR_CHANCE:
        return ["good", f"Faithful: {value:+.2f} vs. random", f"The picture shows pixels that activate the unit. {how}"]
    if value < -NEAR_CHANCE:
        return ["bad", f"Misleading: {value:+.2f} vs. random", f"Random pixels activate the unit sooner. {how}"]
    return ["weak", f"No better than random ({value:+.2f})", how]


def _alike(judge: Judge, trace: Trace, projection: Projection) -> list[str]:
    """How alike a projection is to that of another channel at its place."""
    neighbours = judge.neighbours(trace, projection)
    none = [
        "none",
        "Specificity not measured",
        "The picture or that of another channel is blank, or there is no other.",
    ]
    if neighbours.projection is None:
        return none
    value = cosine(projection.whole(0), neighbours.projection.whole(0))
    if math.isnan(value):
        return none
    beside = f"channel {neighbours.channels[0]}, which fires most beside it at this place,"
    return [
        "none",
        f"Cosine with another channel: {value:.2f}",
        f"The cosine with the projection of {beside} is {value:.2f}; 1 is the same picture, 0 an unrelated one. For a "
        f"verdict, {too_few(1)}, as an atlas does.",
    ]
