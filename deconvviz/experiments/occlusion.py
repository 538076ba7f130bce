"""Occlusion (Zeiler and Fergus, Figure 7): a network's response while a patch slides over its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, NET, TEXT, list_of, takes
from deconvviz.errors import InputError
from deconvviz.experiments._layers import class_scores
from deconvviz.experiments._occluder import Occluder, pixels
from deconvviz.images import displayed
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.firing import fires_at
from deconvviz.models.notes import classes_of_model
from deconvviz.net import DeconvNet
from deconvviz.projection.fill import Fill, fill_of
from deconvviz.projection.model_call import images_of
from deconvviz.projection.units import check_finite_activations, one_each
from deconvviz.recording.layer_names import LayerName, layer_name, layers_of_kind
from deconvviz.recording.placement import where_double
from deconvviz.recording.tape import Tape
from deconvviz.results import Occlusion
from deconvviz.results.words import counted


@takes(net=NET, classes=list_of(TEXT, "names"), progress=FLAG)
@on_the_cpu
def occlusion(
    net: DeconvNet,
    inputs: Any,
    *,
    target: int | Sequence[int] | None = None,
    layer: LayerName | None = None,
    channel: int | Sequence[int] | None = None,
    patch: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: Fill = "grey",
    batch_size: int = 32,
    classes: Sequence[str] = (),
    progress: bool = True,
) -> Occlusion:
    """Slide a patch over each image, and measure a feature map and a class probability at every position.

    One sweep gives the three maps of Figure 7: the activation summed over the feature map, the probability of the class
    (by softmax, unless the model ends in one), and the most probable class. Zeiler and Fergus do not say which feature
    map is "the strongest"; here it is the one with the largest sum, which is also what they plot.

    Args:
        net: The network. Its output must be scores of at least two classes.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`.
        target: The true class, for all images or one per image; None for each image's most probable class.
        layer: The layer of the feature map; None for the last convolution, after its rectifier if it has one.
        channel: The channel of the feature map, for all images or one per image; None for the one with the largest sum
            on the whole image.
        patch: Size of the patch in pixels, one number or (height, width); None for a fifth of the shorter side.
        stride: Step in pixels, one number or (height, width); None for a quarter of the patch. Patches lie entirely
            inside the image at 0, stride, 2 * stride ..., and a last one is flush with the border. With a stride up to
            the patch's size, every pixel is covered.
        fill: "grey" as in Zeiler and Fergus, the middle of the displayed range; "black", "white"; "mean", each image's
            mean colour; "blur"; or a number in the units of the network's input (`deconvviz.projection.fill`).
        batch_size: Covered images per forward pass.
        classes: Class names, for tables and figures; () for those of the model, where they are known.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Occlusion`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> images, labels = mnist_test()
        >>> found = occlusion(DeconvNet(mnist_cnn()), images[:2], patch=8, stride=4, progress=False)
        >>> found.tops.tolist(), found.probability.shape
        ([0, 4, 8, 12, 16, 20], torch.Size([2, 6, 6]))
    """
    images = images_of(inputs, net.model, net.preprocess, "occlusion")
    size = _patch(patch, images)
    step = pixels(max(1, min(size) // 4) if stride is None else stride, "stride")
    colours = fill_of(fill, images, net.preprocess)
    watched = _Followed(net, images, layer, colours, batch_size=batch_size, classes=classes)
    watched.choose(channel, target)
    result = watched.result(size, step, displayed(colours, net.preprocess).mean((2, 3)), progress)
    return replace(result, verdict=_verdict(result))


class _Followed:
    """The feature map and the class of each image that are followed, and the pass that follows them."""

    def __init__(
        self,
        net: DeconvNet,
        x: Tensor,
        layer: LayerName | None,
        colours: Tensor,
        *,
        batch_size: int,
        classes: Sequence[str],
    ) -> None:
        self.net, self.images, self.classes = net, x, tuple(classes)
        tape = net.trace(x[:1]).tape
        self.layer = _last_map(tape, net.model) if layer is None else layer_name(layer, net.model)
        scores = class_scores(tape)
        if scores is None:
            shapes = [tuple(call.value.shape) for name, call in tape.layers.items() if name.split("[")[0] == "output"]
            raise InputError(
                f"occlusion follows the probability of a class, so the model must return the scores of two classes or "
                f"more, (N, classes), not {' and '.join(map(str, shapes))}"
            )
        self.output, self.shares = scores.layer, scores.softmax
        self.occluder = Occluder(net, x, dict.fromkeys((self.layer, self.output)), colours, batch_size)
        whole = self.occluder.whole()
        self.maps, self.scores = whole[self.layer], whole[self.output].flatten(1)
        if classes and len(classes) != self.scores.shape[1]:
            raise InputError(f"there are {len(classes)} names of classes and {self.scores.shape[1]} classes")
        known = classes_of_model(net.model)
        if not classes and len(known) == self.scores.shape[1]:
            self.classes = known

    def choose(self, channel: int | Sequence[int] | None, target: int | Sequence[int] | None) -> None:
        """Choose channel and class; the defaults are those that are strongest on the whole image."""
        check_finite_activations(self.layer, self.maps)
        self.channels = _each(channel, _sums(self.maps), "channel").to(self.maps.device)
        self.targets = _each(target, self.scores, "class")
        self.followed = self.maps[torch.arange(len(self.maps)), self.channels]  # (N, ...)

    def result(self, size: tuple[int, int], step: tuple[int, int], fill: Tensor, progress: bool) -> Occlusion:
        """The result without its verdict. fill: the colour of the patch as displayed, (images, C)."""
        tops, lefts = (_starts(*along_axis) for along_axis in zip(self.images.shape[2:], size, step, strict=True))
        activation, probability, predicted = self.sweep(size, tops, lefts, progress)
        whole_activation, whole_probability, whole_predicted = self.unoccluded()
        return Occlusion(
            patch=size,
            tops=torch.tensor(tops),
            lefts=torch.tensor(lefts),
            fill=fill,
            activation=activation,
            probability=probability,
            predicted=predicted,
            whole_activation=whole_activation,
            whole_probability=whole_probability,
            whole_predicted=whole_predicted,
            targets=self.targets.cpu(),
            projection=self.net.project_units(self.images, self.layer, self.units()),
            classes=self.classes,
            verdict="",
        )

    def unoccluded(self) -> tuple[Tensor, Tensor, Tensor]:
        """Activation, probability and most probable class of the images as they are, (N,)."""
        probability = _of_targets(self.shares(self.scores), self.targets)
        return _sums(self.followed[:, None])[:, 0].cpu(), probability.cpu(), self.scores.argmax(1).cpu()

    def units(self) -> list[tuple[int, int, Sequence[int]]]:
        """The strongest unit of each followed map."""
        dims = self.followed.shape[1:]
        flat = self.followed.reshape(len(self.followed), -1).argmax(1)
        places = torch.stack(torch.unravel_index(flat, dims), 1).tolist() if dims else [[]] * len(flat)
        return list(zip(range(len(flat)), self.channels.tolist(), places, strict=True))

    def sweep(
        self, size: tuple[int, int], tops: Sequence[int], lefts: Sequence[int], progress: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Activation, probability and most probable class with a patch at each place, (N, rows, columns)."""
        boxes = [(top, left, top + size[0], left + size[1]) for top in tops for left in lefts]
        jobs = [(n, box) for n in range(len(self.maps)) for box in boxes]
        owners = torch.arange(len(self.maps), device=self.maps.device).repeat_interleave(len(boxes))
        activation = where_double(torch.empty(len(jobs), device=self.maps.device)).double()
        probability, predicted = torch.empty_like(activation), torch.empty_like(owners)

        def seen(name: str, rows: slice, maps: Tensor) -> None:
            own = owners[rows]
            if name == self.layer:
                numbers = torch.arange(len(own), device=maps.device)
                activation[rows] = _sums(maps[numbers, self.channels[own]][:, None])[:, 0]
            if name == self.output:
                probability[rows] = _of_targets(self.shares(maps), self.targets[own])
                predicted[rows] = maps.flatten(1).argmax(1)

        with progress_bar(total=len(jobs), unit="image", desc="occlusion", shown=progress) as bar:
            self.occluder.sweep(jobs, seen, bar.update)
        for name, values in ((self.layer, activation), (self.output, probability)):
            check_finite_activations(name, values)
        shape = (len(self.maps), len(tops), len(lefts))
        return activation.cpu().view(shape), probability.cpu().view(shape), predicted.cpu().view(shape)


def _patch(asked: int | tuple[int, int] | None, x: Tensor) -> tuple[int, int]:
    size = pixels(max(1, min(x.shape[2:]) // 5) if asked is None else asked, "patch")
    if size[0] > x.shape[2] or size[1] > x.shape[3]:
        height, width = x.shape[2:]
        raise InputError(f"a patch of {size[0]} x {size[1]} pixels is larger than the images of {height} x {width}")
    return size


def _starts(length: int, size: int, step: int) -> list[int]:
    """Where patches begin along one axis: every `step` pixels, and flush with the end."""
    last = length - size
    return [*range(0, last, step), last]


def _last_map(tape: Tape, model: nn.Module) -> str:
    """The last convolution that ran, or the rectifier behind it."""
    last = layers_of_kind(tape, model)[-1]
    place, rectified = fires_at(tape, last)
    return place if rectified else last


def _sums(maps: Tensor) -> Tensor:
    """(N, channels): the activation summed over each map, in float64."""
    maps = where_double(maps)
    return maps.flatten(2).sum(2, dtype=torch.float64) if maps.ndim > 2 else maps.double()


def _of_targets(probabilities: Tensor, targets: Tensor) -> Tensor:
    """(N,): of probabilities (N, classes), those of each image's class."""
    return probabilities.gather(1, targets.to(probabilities.device)[:, None])[:, 0]


def _each(choice: int | Sequence[int] | None, strengths: Tensor, what: str) -> Tensor:
    """One index for each image, (N,). strengths: (N, indices), of which None takes the largest."""
    count, among = strengths.shape
    asked = strengths.argmax(1) if choice is None else choice
    return torch.tensor(one_each(asked, count, what, range(among)), device=strengths.device)


def _verdict(result: Occlusion) -> str:
    whole, lowest = float(result.whole_probability.mean()), float(result.probability.flatten(1).amin(1).mean())
    count = len(result.targets)
    matters = "No position matters much: at the worst one," if lowest > 0.8 * whole else "At the worst position,"
    size = " x ".join(map(str, result.patch))
    mean = f" (means over {count} images)" if count > 1 else ""
    return (
        f"{matters} a patch of {size} pixels lowers the probability of the class from {whole:.2f} to {lowest:.2f}"
        f"{mean}, and the most probable class changes at {float(result.changed.mean()):.0%} of the positions; "
        f"{_meeting(result)}."
    )


def _meeting(result: Occlusion) -> str:
    """Whether the patches that most reduce the map and the class overlap, on images where positions differ in both."""
    layer = result.projection.provenance.layer
    vary = [maps.flatten(1).amax(1) > maps.flatten(1).amin(1) for maps in (result.probability, result.activation)]
    known = vary[0] & vary[1]
    count, all_of = int(known.sum()), len(known)
    if not count:
        what = f"the map of {layer}" if vary[0].any() else "the class"
        return f"no position reduces {what} more than another, so the two cannot be compared"
    distance = (result.lowest(result.probability) - result.lowest(result.activation)).abs()
    meeting = int(((distance < torch.tensor(result.patch)).all(1) & known).sum())
    where = f"in {meeting} of {counted(count, 'image')} " if all_of > 1 else ""
    overlaps = "overlaps" if where or meeting else "does not overlap"
    left = "" if count == all_of else f", without {all_of - count} on which no position differs from another"
    return (
        f"{where}the patch that most reduces the map of {layer} {overlaps} the one that most reduces the class "
        f"(chance: {float(_by_chance(result)[known].mean()):.0%}{left})"
    )


def _by_chance(result: Occlusion) -> Tensor:
    """Per image the share of positions whose patch overlaps the one that most reduces the class, (images,)."""
    worst = result.lowest(result.probability)
    shares = []
    for axis, starts in enumerate((result.tops, result.lefts)):
        shares.append(((starts[None] - worst[:, axis, None]).abs() < result.patch[axis]).double().mean(1))
    return shares[0] * shares[1]
