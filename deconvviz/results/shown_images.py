"""Images for display that are taken from the network's inputs when they are read, and only those that are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Maker = Callable[[Tensor | None], Tensor]


class ShownImages:
    """Images (N, C, ...) for display, made when they are first read.

    Until then the inputs stay where they lie, such as on a GPU.

    >>> shown = ShownImages([(3, lambda rows: torch.arange(3.0) if rows is None else torch.arange(3.0)[rows])])
    >>> len(shown), shown.one(-1), shown.all()
    (3, tensor(2.), tensor([0., 1., 2.]))
    """

    def __init__(self, parts: Sequence[tuple[int, Maker]]) -> None:
        """Prepare the images.

        Args:
            parts: The numbers of images that follow one another, each with the function that makes them on the CPU. It
                is given which ones (n,), or None for all.
        """
        self._parts = list(parts)
        self._count = sum(count for count, _ in parts)
        self._made: Tensor | None = None

    def __len__(self) -> int:
        return self._count

    def one(self, number: int) -> Tensor:
        """One image, (C, ...); no other one is read."""
        parts, made = self._parts, self._made  # in this order, since another thread may make them meanwhile
        if made is not None:
            return made[number]
        if not -len(self) <= number < len(self):
            raise IndexError(f"there is no image {number}; there are {len(self)}")
        number %= len(self)
        for count, make in parts:
            if number < count:
                return make(torch.tensor([number], device="cpu"))[0]
            number -= count
        raise AssertionError("the parts hold fewer images than they count")

    def all(self) -> Tensor:
        """All images, (N, C, ...); the inputs are then let go."""
        made = self._made
        if made is None:
            self._made = made = self.some(None)
            self._parts = []
        return made

    def some(self, rows: Tensor | None) -> Tensor:
        """The images with the numbers `rows` (n,), or all; nothing is kept."""
        sources, made = self._parts, self._made
        if made is not None:
            return made if rows is None else made[rows]
        if rows is not None:
            return torch.stack([self.one(number) for number in rows.tolist()])
        parts = [make(None) for _, make in sources]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all images; at most one is read to know it."""
        return (len(self), *self.one(0).shape)

    def __reduce__(self) -> tuple[Callable[[Tensor], Tensor], tuple[Tensor]]:
        """Copied and pickled as a tensor, since the function that makes them may be the user's own."""
        return _as_it_is, (self.all(),)


def _as_it_is(images: Tensor) -> Tensor:
    return images


def joined(parts: Sequence[Tensor | ShownImages]) -> Tensor | ShownImages:
    """The images of several, one after the other."""
    if all(isinstance(part, Tensor) for part in parts):
        return torch.cat(list(parts))  # type: ignore[arg-type]
    return ShownImages([(len(part), _taking(part)) for part in parts])


def _taking(part: Tensor | ShownImages) -> Maker:
    if isinstance(part, ShownImages):
        return part.some
    return lambda rows: part if rows is None else part[rows]


class ImagesField:
    """The field `images` of a result: a tensor, or `ShownImages`, of which one is made when it is first read."""

    def __set__(self, result: object, images: Tensor | ShownImages) -> None:
        vars(result)["images"] = images

    def __get__(self, result: object, owner: type) -> Tensor:
        images: Tensor | ShownImages = vars(result)["images"]
        return images.all() if isinstance(images, ShownImages) else images
