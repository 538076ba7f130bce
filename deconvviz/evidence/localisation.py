"""Localisation by the pointing game (Zhang et al. 2016, arXiv 1608.00507): is the strongest pixel inside the object?

`digit_benchmark` creates images in which the object's place is known: a digit among distractors (pieces of other
digits), on a canvas that the reference network reads at every position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, RANDOM_STATE, WHOLE, described, is_whole, takes
from deconvviz.data import mnist_test
from deconvviz.errors import InputError
from deconvviz.evidence.limits import blank_pictures, too_few
from deconvviz.evidence.methods import BASELINES, RIVALS, Attribution, Judged, chosen_methods, share_score
from deconvviz.evidence.metrics import enough, heatmap
from deconvviz.images import Preprocess, displayed
from deconvviz.intervals import FEWEST, LEVEL, binomial_tail, holm, paired_difference
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.models.mnist import MnistCNN, mnist_cnn
from deconvviz.net import DeconvNet
from deconvviz.projection.units import Position
from deconvviz.recording.layer_names import LayerName
from deconvviz.results.evidence import Localisation, Score
from deconvviz.results.summary import summary
from deconvviz.results.words import listing

DIGIT_SIDE = 28  # pixels of a digit


@takes(net=NET, methods=METHODS_OR_FUNCTIONS, progress=FLAG)
@on_the_cpu
def localisation(
    net: DeconvNet,
    inputs: Any,
    boxes: Tensor,
    *,
    layer: LayerName = "output",
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    progress: bool = True,
) -> Localisation:
    """The share of images on which the pixel that a method ranks first lies in the known object.

    The brightest pixel, the strongest edge, the centre and a random pixel are added as baselines. Blank pictures are
    left out and counted.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`.
        boxes: (N, 2, 2), per image and axis the object's first pixel and one past the last.
        layer: The unit's layer.
        channel: As for `deletion`.
        position: As for `deletion`.
        methods: As for `deletion`.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Localisation`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.
    """
    judged = Judged(net, inputs, layer, channel, position)
    boxes = _checked_boxes(boxes, judged.x)
    points, found = {}, {}
    asked = {**chosen_methods(methods), **BASELINES}
    for name, method in progress_bar(asked.items(), unit="method", desc="localisation", shown=progress):
        heat = heatmap(method(net.model, judged.x, judged.layer, judged.places))
        point = torch.stack(torch.unravel_index(heat.flatten(1).argmax(1), heat.shape[1:]), 1)
        inside, empty = ((point >= boxes[..., 0]) & (point < boxes[..., 1])).all(1), heat.flatten(1).amax(1) == 0
        points[name] = torch.where(empty[:, None], -1, point)
        found[name] = torch.where(empty, torch.nan, inside.double())
    sides = boxes[..., 1] - boxes[..., 0]
    chance = float((sides.prod(1) / torch.Size(judged.x.shape[2:]).numel()).mean())
    shown = displayed(judged.x, net.preprocess)
    return Localisation(
        images=shown,
        boxes=boxes,
        points=points,
        hits={name: share_score(values) for name, values in found.items()},
        chance=chance,
        verdict=_verdict(found, chance),
    )


def _checked_boxes(boxes: Any, x: Tensor) -> Tensor:
    """Boxes as whole numbers on the CPU. Raises InputError if they are not, are empty, or lie outside the images."""
    shape = (len(x), 2, 2)
    if not isinstance(boxes, Tensor) or tuple(boxes.shape) != shape:
        shown = tuple(boxes.shape) if isinstance(boxes, Tensor) else described(boxes)
        raise InputError(f"boxes are of shape {shape}, one for each image, not {shown}")
    checked = boxes.cpu().long() if is_whole(boxes) else torch.zeros(shape, dtype=torch.long)
    inside = (
        (checked[..., 0] >= 0) & (checked[..., 0] < checked[..., 1]) & (checked[..., 1] <= torch.tensor(x.shape[2:]))
    )
    if not inside.all():
        raise InputError(
            f"boxes are whole numbers: per axis the first pixel of the object and one past its last, in images of "
            f"{x.shape[2]} x {x.shape[3]} pixels; that of image {int((~inside).flatten(1).any(1).nonzero()[0])} is none"
        )
    return checked


def _verdict(found: Mapping[str, Tensor], chance: float) -> str:
    """found: per method (images,), 1 for a hit, 0 for none, NaN for a blank picture."""
    hits = {name: share_score(values) for name, values in found.items()}
    names = [name for name in found if name not in BASELINES]
    tests = [_against_chance(hits[name], chance) for name in names]
    rivals = [rival for rival in RIVALS if rival in found and not math.isnan(hits[rival].mean)]
    tests += [paired_difference(found[name], found[rival]).p for name in names for rival in rivals]
    adjusted = holm(tests)
    against_rivals = iter(adjusted[len(names) :])
    said, images = [], len(found["random"])
    for place, name in enumerate(names):
        better = [rival for rival in rivals if next(against_rivals) <= LEVEL and hits[name].mean > hits[rival].mean]
        score = hits[name]
        if not enough(score.images, images):
            said.append(blank_pictures(name, score.images, images))
            continue
        left = "" if score.images == images else f" (without {images - score.images} on which its picture is blank)"
        others = [RIVALS[rival] for rival in rivals if rival not in better]
        means = (
            _means(score, chance, adjusted[place] <= LEVEL, others) if score.images >= FEWEST else too_few(score.images)
        )
        said.append(f"{name} points at the object on {score.mean:.0%} of the images{left}, {means}")
    beside = "".join(f"{RIVALS[rival]} {hits[rival].mean:.0%}, " for rival in rivals)
    return f"{'; '.join(said)} ({beside}a random pixel {chance:.0%})."


def _against_chance(hits: Score, chance: float) -> float:
    """The two-sided probability that a random pixel hits so often or so rarely."""
    count = round(hits.mean * hits.images) if hits.images else 0
    return min(
        1.0,
        2 * binomial_tail(count, hits.images, chance),
        2 * binomial_tail(hits.images - count, hits.images, 1 - chance),
    )


def _means(hits: Score, chance: float, surely: bool, others: Sequence[str]) -> str:
    """surely: whether chance would do this at most once in 20 times; others: baselines that do not surely do worse."""
    if not surely:
        return "which chance would do, too"
    if hits.mean < chance:
        return "far below chance: the network reads elsewhere"
    return f"better than chance, but no better than {listing(others)}" if others else "better than every baseline"


# The built-in benchmark


class DigitBenchmark(NamedTuple):
    """A network, images (N, 1, side, side), the digits' labels (N,), and boxes (N, 2, 2) around them."""

    net: DeconvNet
    images: Tensor
    labels: Tensor
    boxes: Tensor

    def __repr__(self) -> str:
        return summary(self)


@takes(count=WHOLE, distractors=WHOLE, side=WHOLE, random_state=RANDOM_STATE)
@on_the_cpu
def digit_benchmark(count: int = 100, distractors: int = 6, *, side: int = 84, random_state: int = 0) -> DigitBenchmark:
    """Create test digits among distractors, and the reference network applied to a whole canvas.

    The network's class scores are those of the 28 x 28 window with the highest score. A distractor is the central 14 x
    14 piece of a digit of another class. The same random_state gives the same images.

    Args:
        count: Number of images.
        distractors: Number of distractors per image.
        side: Side of the square canvas in pixels.
        random_state: Seed of the images.

    Raises:
        InputError: If the canvas has no room for the digit and the distractors.

    Example:
        >>> found = digit_benchmark(count=4)
        >>> found.images.shape, found.boxes[0].diff().flatten().tolist()
        (torch.Size([4, 1, 84, 84]), [28, 28])
    """
    if side < DIGIT_SIDE or count < 1 or distractors < 0:
        raise InputError(
            f"a benchmark has 1 image or more, of {DIGIT_SIDE} pixels or more, and 0 distractors or more, "
            f"not {count} images of {side} pixels with {distractors}"
        )
    random = torch.Generator().manual_seed(random_state)
    digits, labels = mnist_test()
    order = torch.randperm(len(digits), generator=random)
    images, boxes = torch.zeros(count, 1, side, side), torch.empty(count, 2, 2, dtype=torch.long)
    picked = order[:count]
    for n, digit in enumerate(picked.tolist()):
        taken = torch.zeros(side, side, dtype=torch.bool)
        top, left = _free_place(taken, DIGIT_SIDE, random)
        images[n, 0, top : top + DIGIT_SIDE, left : left + DIGIT_SIDE] = digits[digit, 0]
        boxes[n] = torch.tensor([[top, top + DIGIT_SIDE], [left, left + DIGIT_SIDE]])
        others = order[labels[order] != labels[digit]]
        for other in others[torch.randint(len(others), (distractors,), generator=random)].tolist():
            top, left = _free_place(taken, DIGIT_SIDE // 2, random)
            images[n, 0, top : top + DIGIT_SIDE // 2, left : left + DIGIT_SIDE // 2] = digits[other, 0, 7:21, 7:21]
    net = DeconvNet(Anywhere(mnist_cnn()), preprocess=Preprocess(None, (0.0,), (1.0,)))
    return DigitBenchmark(net, images, labels[picked], boxes)


def _free_place(taken: Tensor, size: int, random: torch.Generator) -> tuple[int, int]:
    """A free square of a canvas, which is marked as taken."""
    side = len(taken)
    for _ in range(1000):
        top, left = torch.randint(side - size + 1, (2,), generator=random).tolist()
        if not taken[top : top + size, left : left + size].any():
            taken[top : top + size, left : left + size] = True
            return top, left
    raise InputError(f"a canvas of {side} pixels has no room for so many distractors; make it larger, or them fewer")


class Anywhere(nn.Module):
    """The reference network at every place of a canvas: linear layers as convolutions, the best place per class."""

    def __init__(self, model: MnistCNN) -> None:
        super().__init__()
        parts = dict(model.named_children())
        read, decide = _as_convolution(parts.pop("fc1"), 7), _as_convolution(parts.pop("fc2"), 1)
        rectifier = parts.pop("relu3")
        parts.pop("dropout", None)
        self.scores = nn.Sequential(*parts.values(), read, rectifier, decide)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (N, 10) of canvases (N, 1, H, W)."""
        scores: Tensor = self.scores(x)
        return scores.amax((2, 3))


def _as_convolution(linear: nn.Module, side: int) -> nn.Conv2d:
    """A linear layer over maps of side x side as a convolution, which reads them at every place."""
    assert isinstance(linear, nn.Linear)
    convolution = nn.Conv2d(linear.in_features // side**2, linear.out_features, side)
    with Restored(torch.no_grad()):
        convolution.weight.copy_(linear.weight.view(convolution.weight.shape))
        if convolution.bias is not None:
            convolution.bias.copy_(linear.bias)
    return convolution
