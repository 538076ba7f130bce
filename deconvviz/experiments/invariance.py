"""Invariance (Zeiler and Fergus, Figure 5): how far features move when images are shifted, scaled or rotated.

For images x and a transform T_t, the module measures the distance ||f(x) - f(T_t x)||_2 of a layer's features as a
function of t, also divided by ||f(x)||_2, and the class probability. Zeiler and Fergus compare the first and the last
hidden layer: small transforms change the first at once, the last one less.

In addition, it measures each layer's distance between unrelated images. Features after a rectifier are never negative
and therefore never far apart; without this scale, a layer to which all images look alike would seem invariant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, NET, check_counts, takes, without_values
from deconvviz.errors import InputError
from deconvviz.evidence.metrics import enough
from deconvviz.experiments._layers import class_scores, features, hidden_layers
from deconvviz.experiments._transforms import Transform, Transformation, applied, transformation
from deconvviz.images import displayed
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.projection.fill import Fill
from deconvviz.projection.model_call import check_finite, prepared
from deconvviz.projection.units import one_each
from deconvviz.recording.layer_names import Layers, layer_names
from deconvviz.recording.placement import where_double
from deconvviz.results.invariance import Invariance, mean_and_deviation
from deconvviz.results.words import counted

EXAMPLES = 7  # pictures of the first image, at most


@takes(net=NET, progress=FLAG)
@on_the_cpu
def invariance(
    net: DeconvNet,
    inputs: Any,
    *,
    layers: Layers = None,
    transform: str | Transform = "translation",
    values: Sequence[float] | None = None,
    target: int | Sequence[int] | None = None,
    fill: Fill = "black",
    batch_size: int = 32,
    progress: bool = True,
) -> Invariance:
    """How far layers' features move when images are transformed, and how the class probability changes.

    Where t changes nothing, the distance is exactly 0. Distances are computed in float64.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`. They are transformed after preprocessing.
        layers: Layer names; None for the first and the last hidden layer, after their rectifiers, as in the paper.
        transform: "translation" (vertical, in whole pixels, down), "scale" (a factor, about the centre), "rotation" (in
            degrees, counter-clockwise, about the centre), or a function of images (N, C, ...) and t that returns
            images.
        values: Values of t. None for shifts up to a quarter of the height, scales from 1 to 1.8, or angles from 0 to
            345 in steps of 15.
        target: The class whose probability is measured, for all images or one per image; None for the class predicted
            without the transform.
        fill: The border: "black", "grey" or "white" as displayed, "mean" for each image's mean colour, or a number in
            the units of the network's input (`deconvviz.projection.fill`). The paper does not specify it.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Invariance`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If a layer does not exist.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> found = invariance(DeconvNet(mnist_cnn()), mnist_test()[0][:8], values=[0, 1])
        >>> found.layers, float(found.relative["relu1"][0].max())
        (('relu1', 'relu3'), 0.0)
        >>> bool((found.relative["relu3"][1] < found.relative["relu1"][1]).all())
        True
    """
    check_counts(batch_size=batch_size)
    images = _images(inputs, net)
    wanted = transformation(transform, values, images, fill, net.preprocess)
    return _Measure(net, images, layer_names(layers, net.model), target).result(images, wanted, batch_size, progress)


def _images(inputs: Any, net: DeconvNet) -> Tensor:
    call = prepared(inputs, net.model, net.preprocess)
    if len(call.args) != 1 or call.kwargs or not isinstance(call.args[0], Tensor):
        raise InputError("invariance is for networks that take one batch of images")
    if odd := without_values(call.first):
        raise InputError(f"invariance needs images with numbers, not {odd}")
    return call.first.detach()


class _Measure:
    """Runs a network and reads what is compared: the features of layers, and the probability of each image's target."""

    def __init__(
        self, net: DeconvNet, images: Tensor, layers: list[str] | None, target: int | Sequence[int] | None
    ) -> None:
        self.net = net
        first = net.trace(images[:1])
        if layers:
            net.trace(images[:1], layers)  # raises for an unknown layer
        self.layers = layers or list(dict.fromkeys([(hidden := hidden_layers(first))[0], hidden[-1]]))
        self.scores = class_scores(first.tape)
        self.output = self.scores.layer if self.scores else None
        self.targets = torch.full((len(images) if self.output else 0,), -1)  # -1: the class that will be predicted
        if target is not None and not self.output:
            raise InputError("a target was given, but the model returns no classes (N, classes)")
        if target is not None and self.output:
            classes = range(first.activations[self.output].shape[1])
            self.targets = torch.tensor(one_each(target, len(images), "class", classes))

    def result(self, images: Tensor, wanted: Transformation, batch_size: int, progress: bool) -> Invariance:
        distances, relative, others, probability, changed = self.over(images, wanted, batch_size, progress)
        some = torch.linspace(0, len(wanted.values) - 1, min(EXAMPLES, len(wanted.values))).round().long().tolist()
        examples = torch.cat([applied(wanted, images[:1], wanted.values[n]) for n in some])
        return Invariance(
            transform=wanted.name,
            label=wanted.label,
            values=tuple(map(float, wanted.values)),
            layers=tuple(self.layers),
            distances=distances,
            relative=relative,
            others=others,
            targets=tuple(self.targets.tolist()),
            probability=probability if self.output else None,
            example_values=tuple(float(wanted.values[n]) for n in some),
            examples=displayed(examples, self.net.preprocess),
            verdict=_verdict(wanted, relative, others, probability if self.output else None, changed),
        )

    def _read(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Features by layer (N, features) in float64, and probabilities (N, classes)."""
        trace = self.net.trace(images, [*self.layers, *([self.output] if self.output else [])])
        layer_features = {name: where_double(features(trace, name)).double() for name in self.layers}
        for name, values in layer_features.items():
            check_finite(values, f"layer {name!r}")
        if not (self.scores and self.output):
            return layer_features, images.new_zeros(0)
        return layer_features, self.scores.softmax(trace.activations[self.output])

    def over(self, images: Tensor, wanted: Transformation, batch_size: int, progress: bool) -> tuple[Any, ...]:
        """Distances, relative distances, those between images, probabilities, and which values change an image."""
        shape = (len(wanted.values), len(images))
        distances = {name: torch.zeros(shape, dtype=torch.float64) for name in self.layers}
        norms, others = (
            {name: torch.zeros(len(images), dtype=torch.float64) for name in self.layers} for _ in range(2)
        )
        probability = torch.zeros(shape, dtype=torch.float64)
        changed = torch.zeros(len(wanted.values), dtype=torch.bool)
        before, _ = self._read(images[-1:])
        steps = range(0, len(images), batch_size)
        for start in progress_bar(steps, unit="batch", desc="invariance", shown=progress):
            batch = slice(start, start + batch_size)
            plain, scores = self._read(images[batch])
            if self.output:
                self.targets[batch] = torch.where(self.targets[batch] < 0, scores.argmax(1).cpu(), self.targets[batch])
            for name, vectors in plain.items():
                norms[name][batch] = vectors.norm(dim=1).cpu()
                others[name][batch] = (vectors - torch.cat([before[name], vectors[:-1]])).norm(dim=1).cpu()
                before[name] = vectors[-1:]
            for row, t in enumerate(wanted.values):
                moved = applied(wanted, images[batch], t)
                changed[row] |= not torch.equal(moved, images[batch])
                transformed, scores = self._read(moved)
                for name, vectors in transformed.items():
                    distances[name][row, batch] = _distance(name, vectors, plain[name], t)
                if self.output:
                    probability[row, batch] = scores.cpu().gather(1, self.targets[batch, None])[:, 0]
        alone = len(images) < 2
        return (
            distances,
            {name: _share_of_norm(values, norms[name]) for name, values in distances.items()},
            {
                name: torch.full_like(values, torch.nan) if alone else _share_of_norm(values, norms[name])
                for name, values in others.items()
            },
            probability,
            changed,
        )


def _distance(layer: str, moved: Tensor, plain: Tensor, t: Any) -> Tensor:
    if moved.shape != plain.shape:
        raise InputError(
            f"layer {layer!r} has {plain.shape[1]} features of an image and {moved.shape[1]} of the one transformed by "
            f"t = {t}; the transform must keep the size of images"
        )
    distance: Tensor = (moved - plain).norm(dim=1)
    return distance.cpu()


def _share_of_norm(distance: Tensor, norm: Tensor) -> Tensor:
    """Of the features' norm; NaN where that is zero."""
    return torch.where(norm > 0, distance / norm, torch.nan)


def _verdict(
    wanted: Transformation,
    relative: dict[str, Tensor],
    others: dict[str, Tensor],
    probability: Tensor | None,
    changed: Tensor,
) -> str:
    if not changed.any():
        return f"The {wanted.name} changes no image at these values, so nothing was measured."
    means = {name: by_value[changed].mean(0) for name, by_value in relative.items()}  # (images,)
    (first, early), *_, (last, late) = [*means.items()] * 2
    said = []
    for name in dict.fromkeys([first, last]):
        silent = int(means[name].isnan().sum())
        if not enough(len(means[name]) - silent, len(means[name])):
            images = counted(len(means[name]), "image")
            said.append(f"{name} is zero on {silent} of {images}, too many for a verdict")
            continue
        between, _ = mean_and_deviation(others[name])
        left = f" (without {counted(silent, 'image')} on which it is zero)" if silent else ""
        beside = "" if math.isnan(between) else f" (another image is {between:.2f} away)"
        said.append(f"{name} moves by {mean_and_deviation(means[name])[0]:.2f} of its norm{beside}{left}")
    verdict = f"Under {wanted.name}, on average over values that change the image, {' and '.join(said)}"
    both = int((~(late + early).isnan()).sum())
    if first != last and enough(both, len(early)):
        verdict += f"; {last} moves less than {first} on {int((late < early).sum())} of {counted(both, 'image')}"
    if probability is not None:
        lowest = probability.mean(1)
        worst = int(lowest.argmin())
        verdict += f"; the probability of the class is lowest at {wanted.values[worst]:g}, {float(lowest[worst]):.2f}"
    return f"{verdict}."
