"""The transforms of Figure 5 of Zeiler and Fergus, as functions of images (N, C, H, W) and a value t."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from deconvviz.arguments import described, listed
from deconvviz.arguments import known as is_known
from deconvviz.errors import InputError, did_you_mean
from deconvviz.projection.fill import Fill, fill_of

Transform = Callable[[Tensor, Any], Tensor]  # images (N, C, ...) and t -> images of the same number


class Known(NamedTuple):
    """A transform with a name. identity: the t that changes nothing. usual: default values, from the images' height."""

    label: str
    identity: float
    apply: Callable[[Tensor, Any, list[float]], Tensor]
    usual: Callable[[int], list[float]]


def translated(images: Tensor, t: int, fill: list[float]) -> Tensor:
    """Images moved down by t whole pixels, exactly."""
    nearest = TF.InterpolationMode.NEAREST
    moved: Tensor = TF.affine(images, 0.0, [0, int(t)], 1.0, [0.0, 0.0], interpolation=nearest, fill=fill)
    return moved


def scaled(images: Tensor, t: float, fill: list[float]) -> Tensor:
    """Images enlarged t times about their centre, bilinear."""
    bilinear = TF.InterpolationMode.BILINEAR
    larger: Tensor = TF.affine(images, 0.0, [0, 0], float(t), [0.0, 0.0], interpolation=bilinear, fill=fill)
    return larger


def rotated(images: Tensor, t: float, fill: list[float]) -> Tensor:
    """Images turned by t degrees about their centre, counter-clockwise, bilinear."""
    turned: Tensor = TF.rotate(images, float(t), interpolation=TF.InterpolationMode.BILINEAR, fill=fill)
    return turned


def _shifts(height: int) -> list[float]:
    """Whole pixels up to a quarter of the height each way, about twenty."""
    step = max(1, round(height / 40))
    reach = height // 4 // step
    return [step * n for n in range(-reach, reach + 1)]


TRANSFORMS = {
    "translation": Known("vertical translation (pixels, down)", 0.0, translated, _shifts),
    "scale": Known("scale (ratio)", 1.0, scaled, lambda height: [n / 10 for n in range(10, 19)]),
    "rotation": Known("rotation (degrees, counter-clockwise)", 0.0, rotated, lambda height: list(range(0, 360, 15))),
}


class Transformation(NamedTuple):
    """A transform of images: its name, what t measures, the values of t, and the function."""

    name: str
    label: str
    values: list[Any]
    apply: Transform


def transformation(
    transform: str | Transform, values: Sequence[float] | None, x: Tensor, fill: Fill, preprocess: Any
) -> Transformation:
    """A transform by name, or a user's function. Raises InputError for anything else."""
    numbers = None if values is None else _numbers(values)
    if callable(transform):
        if numbers is None:
            raise InputError("a transform of one's own has no usual values; give values=[...]")
        name = getattr(transform, "__name__", type(transform).__name__).strip("<>")
        return Transformation(name, name, numbers, transform)
    if not isinstance(transform, str) or transform not in TRANSFORMS:
        names = ", ".join(map(repr, TRANSFORMS))
        close = did_you_mean(transform, TRANSFORMS) if isinstance(transform, str) else ""
        raise InputError(f"a transform is one of {names} or a function, not {described(transform)}{close}")
    if x.ndim != 4:
        raise InputError(
            f"{transform} is for images (N, C, H, W), not an input of shape {tuple(x.shape)}; give a function"
        )
    known = TRANSFORMS[transform]
    fills_borders(fill, x[:1], preprocess)
    numbers = known.usual(x.shape[2]) if numbers is None else numbers
    for t in numbers:
        if transform == "translation" and t != int(t):
            raise InputError(f"a translation is in whole pixels, not {t:g}")
        if transform == "scale" and t <= 0:
            raise InputError(f"a scale is above zero, not {t:g}")

    def apply(images: Tensor, t: float) -> Tensor:  # exact at the identity
        return (
            images if t == known.identity else _transformed(known, images, t, fills_borders(fill, images, preprocess))
        )

    return Transformation(transform, known.label, numbers, apply)


def _numbers(values: Any) -> list[Any]:
    several = listed(values)
    numbers = several and [item.item() if getattr(item, "ndim", None) == 0 else item for item in several]
    if numbers is None:
        raise InputError(f"the values to transform by are a list of finite numbers, not {described(values)}")
    if not numbers:
        raise InputError("there are no values to transform by; give at least one")
    for t in numbers:
        if isinstance(t, bool) or not isinstance(t, Real) or not math.isfinite(t):
            raise InputError(f"the values to transform by are finite numbers, not {described(t)}")
    return numbers


def fills_borders(fill: Fill, images: Tensor, preprocess: Any) -> list[list[float]]:
    """The network's input behind the borders of each image, per channel. Raises InputError unless it is one colour."""
    if is_known(fill, ("blur",)):
        raise InputError("what comes in at the borders of an image has one colour; give another fill than 'blur'")
    colours: list[list[float]] = fill_of(fill, images, preprocess).flatten(1).tolist()
    return colours


def _transformed(known: Known, images: Tensor, t: Any, colours: list[list[float]]) -> Tensor:
    """The transformed images; those of one colour behind their borders together."""
    if all(colour == colours[0] for colour in colours):
        return known.apply(images, t, colours[0])
    return torch.cat([known.apply(images[n : n + 1], t, colour) for n, colour in enumerate(colours)])


def applied(chosen: Transformation, images: Tensor, t: Any) -> Tensor:
    """The transformed images. Raises InputError if the function does not return as many images."""
    moved = chosen.apply(images.clone(), t)
    if not isinstance(moved, Tensor):
        raise InputError(f"the transform {chosen.name} returns images as a tensor, not {type(moved).__name__}")
    if moved.ndim != images.ndim or len(moved) != len(images):
        raise InputError(
            f"the transform {chosen.name} got images {tuple(images.shape)} and returned {tuple(moved.shape)} at "
            f"t = {t}; their number and their axes must stay"
        )
    return moved
