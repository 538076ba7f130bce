"""Correspondence (Zeiler and Fergus, Table 1): does a layer relate the same part of different images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, MAPPING, NET, RANDOM_STATE, check_counts, described, listed, takes, whole
from deconvviz.errors import InputError
from deconvviz.experiments._occluder import Occluder, PatchBox, pixels
from deconvviz.images import displayed
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.projection.fill import Fill, fill_of
from deconvviz.projection.model_call import images_of
from deconvviz.projection.units import check_finite_activations
from deconvviz.recording.layer_names import WEIGHTED, Layers, layer_names, layers_of_kind
from deconvviz.recording.placement import where_double
from deconvviz.results import Correspondence
from deconvviz.results.correspondence import chance, power
from deconvviz.results.words import agreeing, counted

SURE = 0.05  # a Delta counts as low if its probability by chance is at most this
EFFECT = 0.2  # the share by which a Delta is lower whose chance to be found is told
FEWEST_DRAWS = 19  # draws of a control from which a probability is that low: (1 + 0) / (1 + 19)


@takes(net=NET, parts=MAPPING, random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def correspondence(
    net: DeconvNet,
    inputs: Any,
    parts: Mapping[str, Sequence[Sequence[int]]],
    *,
    layers: Layers = None,
    size: int | tuple[int, int] | None = None,
    within: Sequence[Sequence[int]] | None = None,
    draws: int = 20,
    random_state: int = 0,
    fill: Fill = "grey",
    batch_size: int = 32,
    progress: bool = True,
) -> Correspondence:
    """Cover the same part of each image, and test whether a layer's values change in the same way.

    With eps_i = f(x_i) - f(covered x_i) for a layer f, Delta is the mean over pairs i, j of the Hamming distance
    between sign(eps_i) and sign(eps_j), divided by the dimension. sign(0) = 0 is a sign of its own: a value that
    changes in only one of two images counts as different, a value that changes in neither as equal. If a layer has
    small receptive fields or is rectified, most values are therefore equal and Delta is small. The comparison with the
    controls, and the share of changed values in the table, show what this means.

    There are two controls, with places of the same size as the part: random places, another one in each image and draw;
    and random places that are the same in all images. The second control is not in Zeiler and Fergus: in aligned
    images, such as digits, covering any fixed position changes all images alike.

    Args:
        net: The network.
        inputs: At least two images (N, C, H, W), as for `DeconvNet.trace`.
        parts: For each part's name, one place per image, in pixels of the network's input: a box (top, left, bottom,
            right), where bottom and right are one past the last pixel, or a point (row, column).
            `deconvviz.data.read_parts` reads them from a file.
        layers: Layer names; None for all convolution and linear modules.
        size: Height and width of the box around a point, as one number or two; at the border, the box is moved inside.
        within: Per image, the box in which random places lie, such as the object's; None for the whole image.
        draws: Number of draws for each control. Fewer than 19 cannot decide anything.
        random_state: Seed of the random places.
        fill: As for `occlusion`.
        batch_size: As for `occlusion`.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Correspondence`.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If a layer does not exist.
    """
    x = images_of(inputs, net.model, net.preprocess, "correspondence")
    places = _places(x, parts, within, size=size, draws=draws, random_state=random_state)
    colours = fill_of(fill, x, net.preprocess)
    asked = layer_names(layers, net.model)
    names = asked or layers_of_kind(net.trace(x[:1]).tape, net.model, WEIGHTED, "convolution or linear layer")
    changes = _Changes(Occluder(net, x, dict.fromkeys(names), colours, batch_size))
    result = _measured(changes, places, displayed(x, net.preprocess), displayed(colours, net.preprocess), progress)
    return replace(result, verdict=_verdict(result))


class _Places(NamedTuple):
    """Where to cover images: by part, a box for each image, and such lists of boxes for the draws of both controls."""

    parts: dict[str, list[PatchBox]]
    random: dict[str, list[list[PatchBox]]]
    aligned: dict[str, list[list[PatchBox]]]


def _places(
    x: Tensor,
    parts: Mapping[str, Sequence[Sequence[int]]],
    within: Sequence[Sequence[int]] | None,
    *,
    size: int | tuple[int, int] | None,
    draws: int,
    random_state: int,
) -> _Places:
    if len(x) < 2:
        raise InputError(f"correspondence compares two images or more, not {len(x)}")
    if not parts:
        raise InputError("there is no part to cover; name at least one, with a place for each image")
    check_counts(draws=draws)
    boxes = {name: _boxes(places, f"part {name!r}", x, size) for name, places in parts.items()}
    around = [(0, 0, *x.shape[2:])] * len(x) if within is None else _boxes(within, "within", x, None)
    random = torch.Generator().manual_seed(random_state)
    controls, aligned = (
        {name: [_at_random(own, around, name, random, same) for _ in range(draws)] for name, own in boxes.items()}
        for same in (False, True)
    )
    return _Places(boxes, controls, aligned)


def _measured(changes: _Changes, places: _Places, images: Tensor, colours: Tensor, progress: bool) -> Correspondence:
    """The result without its verdict. images, colours: as displayed."""
    runs = sum(1 + len(draws) for draws in places.random.values())
    with progress_bar(total=runs * len(images), unit="image", desc="correspondence", shown=progress) as bar:
        own = {part: changes.under([boxes], bar) for part, boxes in places.parts.items()}
        drawn = {part: changes.under(draws, bar) for part, draws in places.random.items()}
        same = {part: changes.under(draws, bar)[0] for part, draws in places.aligned.items()}
    return Correspondence(
        layers=tuple(changes.whole),
        differences={part: differences[:, 0] for part, (differences, _) in own.items()},
        control={part: differences for part, (differences, _) in drawn.items()},
        aligned=same,
        changed={part: changed for part, (_, changed) in own.items()},
        control_changed={part: changed for part, (_, changed) in drawn.items()},
        boxes={part: _by_axis(boxes) for part, boxes in places.parts.items()},
        controls={part: torch.stack([_by_axis(boxes) for boxes in draws]) for part, draws in places.random.items()},
        images=images,
        fill=colours.mean((2, 3)),
        verdict="",
    )


class _Changes:
    """How covering changes the signs of layers' values."""

    def __init__(self, occluder: Occluder) -> None:
        self.occluder = occluder
        self.whole = occluder.whole()
        for name, maps in self.whole.items():
            check_finite_activations(name, maps)

    def under(self, places: Sequence[Sequence[PatchBox]], bar: Any) -> tuple[Tensor, Tensor]:
        """Differences (layers, sets, pairs), and the share of values that change (layers,). places: sets of boxes."""
        pairs = list(combinations(range(len(self.occluder.x)), 2))
        differences = torch.empty(len(self.whole), len(places), len(pairs), dtype=torch.float64)
        changed = torch.empty(len(self.whole), len(places), dtype=torch.float64)
        for number, boxes in enumerate(places):
            for layer, signs in enumerate(map(where_double, self._signs(boxes, bar).values())):
                differences[layer, number] = torch.stack([(signs[i] != signs[j]).double().mean() for i, j in pairs])
                changed[layer, number] = (signs != 0).double().mean()
        return differences, changed.mean(1)

    def _signs(self, boxes: Sequence[PatchBox], bar: Any) -> dict[str, Tensor]:
        # Images keep their rows and batches from the run on whole images. So a cover without effect changes nothing,
        # not even by rounding.
        signs = {name: torch.empty_like(maps, dtype=torch.int8) for name, maps in self.whole.items()}

        def seen(name: str, rows: slice, maps: Tensor) -> None:
            check_finite_activations(name, maps)
            signs[name][rows] = (self.whole[name][rows] - maps).sign().to(torch.int8)

        self.occluder.sweep(list(enumerate(boxes)), seen, bar.update)
        return signs


# Places


def _boxes(places: Sequence[Sequence[int]], what: str, x: Tensor, size: int | tuple[int, int] | None) -> list[PatchBox]:
    items = listed(places)
    if items is None:
        raise InputError(f"{what} is a list of places, one for each image, not {described(places)}")
    if len(items) != len(x):
        raise InputError(f"{what} has {len(items)} places for {len(x)} images; give one for each")
    return [_patch_box(place, f"{what} of image {n}", x, size) for n, place in enumerate(items)]


def _patch_box(asked: Any, what: str, x: Tensor, size: int | tuple[int, int] | None) -> PatchBox:
    height, width = x.shape[2:]
    numbers = list(map(whole, listed(asked) or ()))
    place = [number for number in numbers if number is not None]
    if len(place) < len(numbers) or len(place) not in (2, 4):
        raise InputError(
            f"{what}: a place is a box (top, left, bottom, right) or a point (row, column), not {described(asked)}"
        )
    if len(place) == 4:
        top, left, bottom, right = place
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise InputError(
                f"{what}: the box (top, left, bottom, right) = {tuple(place)} is empty or lies outside the image of "
                f"{height} x {width} pixels"
            )
        return top, left, bottom, right
    row, column = place
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"{what}: the point {(row, column)} lies outside the image of {height} x {width} pixels")
    if size is None:
        raise InputError(f"{what} is a point; give the size of the box to cover around it")
    tall, wide = pixels(size, "size")
    if tall > height or wide > width:
        raise InputError(f"a box of {tall} x {wide} pixels is larger than the images of {height} x {width}")
    top, left = min(max(0, row - tall // 2), height - tall), min(max(0, column - wide // 2), width - wide)
    return top, left, top + tall, left + wide


def _at_random(
    boxes: Sequence[PatchBox], around: Sequence[PatchBox], part: str, random: torch.Generator, same: bool
) -> list[PatchBox]:
    """A box in each image, as large as the given one. same: at the same share of the way in all of them."""
    random_boxes = []
    shares = torch.rand(1 if same else len(boxes), 2, generator=random, dtype=torch.float64).expand(len(boxes), 2)
    for n, ((top, left, bottom, right), field) in enumerate(zip(boxes, around, strict=True)):
        tall, wide = bottom - top, right - left
        room = field[2] - field[0] - tall + 1, field[3] - field[1] - wide + 1
        if min(room) < 1:
            raise InputError(f"part {part!r} of image {n}, {tall} x {wide} pixels, has no room within {tuple(field)}")
        row, column = (int(share * free) for share, free in zip(shares[n].tolist(), room, strict=True))
        random_boxes.append((field[0] + row, field[1] + column, field[0] + row + tall, field[1] + column + wide))
    return random_boxes


def _by_axis(boxes: Sequence[PatchBox]) -> Tensor:
    """(images, 2, 2): per axis the first pixel and one past the last."""
    return torch.tensor([[[top, bottom], [left, right]] for top, left, bottom, right in boxes])


def _verdict(result: Correspondence) -> str:
    said = []
    for part in result.differences:
        delta, random, same = (
            float(result.delta(part)[-1]),
            result.average(result.control, part)[-1],
            result.average(result.aligned, part)[-1],
        )
        if not float(result.changed[part][-1]) and not float(result.control_changed[part][-1]):
            said.append(
                f"covering {part} changes nothing, and neither does covering random places, so there is no verdict"
            )
            continue
        numbers = (
            f"Delta {delta:.3f}; random places {float(random.mean()):.3f}, the same place {float(same.mean()):.3f}"
        )
        if len(random) < FEWEST_DRAWS:
            draws = f"{counted(len(random), 'draw')} of random places {agreeing(len(random), 'is', 'are')}"
            said.append(f"{draws} too few to say how consistently covering {part} changes the images ({numbers})")
            continue
        means = "no more consistently than random places do"
        if chance(random, delta) <= SURE:
            means = "more consistently than random places do, but no more than one fixed place does"
            if chance(same, delta) <= SURE:
                means = "more consistently than both controls do, so the layer relates the part"
        elif chance(-random, -delta) <= SURE:
            means = "less consistently than random places do"
        said.append(f"covering {part} changes the images {means} ({numbers})")
    said[-1] += _power_said(result, said[-1])
    more = f" Use at least {FEWEST_DRAWS} draws." if any("too few to say" in sentence for sentence in said) else ""
    return f"In {result.layers[-1]}, {'; '.join(said)}.{more}"


def _power_said(result: Correspondence, last: str) -> str:
    """How often a Delta that is lower by `EFFECT` than that of random places would be found, the least over parts."""
    tested = [
        part
        for part in result.differences
        if float(result.changed[part][-1]) or float(result.control_changed[part][-1])
    ]
    draws = [result.average(result.control, part)[-1] for part in tested]
    if not draws or len(draws[0]) < FEWEST_DRAWS or "too few" in last:
        return ""
    least = min(power(each, EFFECT, SURE) for each in draws)
    given = f"{counted(len(result.images), 'image')} and {counted(len(draws[0]), 'draw')}"
    return f"; with {given}, a Delta lower by {EFFECT:.0%} would be found {least:.0%} of the time"
