"""Units, and their projections and reconstructions."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from numpy.typing import NDArray

from deconvviz.errors import InputError
from deconvviz.results.base import Result, array_of, kind
from deconvviz.results.cropped_pixels import CroppedPixels
from deconvviz.results.energy import channel_axis, checked_sigma, energy, usual_sigma
from deconvviz.results.shown_images import ImagesField, ShownImages, joined


@kind
@dataclass(frozen=True)
class Unit:
    """One neuron: a layer's channel at one position in one sample, with its activation.

    Attributes:
        sample: Index in the batch.
        layer: The layer's name.
        channel: The channel.
        position: The position in the feature map; empty if the layer has only channels.
        activation: The recorded activation.
    """

    sample: int
    layer: str
    channel: int
    position: tuple[int, ...]
    activation: float


@kind
@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of a picture: enough to decide whether two pictures can be compared.

    Attributes:
        model: The model's class name.
        fingerprint: Digest of the model's parameters and buffers, see `deconvviz.recording.fingerprint`.
        layer: The layer's name.
        style: The style's name, and its choice for each family of operations.
        seed: "activation", "one", or "given" for a user's own signal.
        linearised: Operations without a mirror, such as "aten.sigmoid in features.3".
        stopped: Operations at which part of the signal ended: comparisons, integer casts.
        versions: Versions of deconvviz and torch.
        detached: Detaches that were ignored, where autograd would have stopped.
        settings: How torch computed when the model ran: device, dtype, layout of the filters, autocast and, on CUDA,
            TF32. Empty in files of format 1.
        random: Modules whose weights were random, since the file that was loaded has none that fit.
    """

    model: str
    fingerprint: str
    layer: str
    style: dict[str, str]
    seed: str
    linearised: tuple[str, ...]
    stopped: tuple[str, ...]
    versions: dict[str, str]
    detached: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    random: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Projection(Result):
    """What activated units, in pixels.

    A projection from crops holds the crops, and makes `pixels` when they are first read. In the same way it holds the
    network's inputs where they lie, and makes `images` of them when they are first read.

    Attributes:
        pixels: (units, input shape), signed, because the last step of a deconvnet is not rectified.
        units: One unit per row of `pixels`.
        receptive_fields: (units, spatial dimensions, 2), the first pixel and one past the last, clipped to the image.
        images: (samples, input shape), the network's inputs, for display.
        provenance: Model, layer, style and linearised operations.
        others: The same as `pixels` for further inputs of the model, by their place among its arguments.
        other_images: The same as `images` for these inputs.
        other_fields: The same as `receptive_fields` for these inputs.
    """

    pixels: torch.Tensor
    units: tuple[Unit, ...]
    receptive_fields: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)
    other_images: dict[str, torch.Tensor] = field(default_factory=dict)
    other_fields: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def crops(self) -> list[torch.Tensor]:
        """Each unit's pixels in its receptive field, (C, then the size of the field)."""
        return [self.cut(row, field) for row, field in enumerate(self.receptive_fields.tolist())]

    def cut(self, row: int, box: Sequence[Sequence[int]]) -> torch.Tensor:
        """The pixels of one unit in a box.

        Args:
            row: The unit.
            box: Per spatial dimension the first pixel and one past the last.

        Returns:
            A tensor (C, then the size of the box).
        """
        held = self.held
        if isinstance(held, CroppedPixels):
            return held.cut(row, box)
        places: tuple[Any, ...] = (..., *(slice(first, last) for first, last in box))
        return held[row][places]

    def whole(self, row: int) -> torch.Tensor:
        """The pixels of one unit, of the input's shape; unlike `pixels` it makes no other unit's."""
        held = self.held
        return held.one(row) if isinstance(held, CroppedPixels) else held[row]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one unit's pixels, that of the input without its batch axis."""
        held = self.held
        return held.shape if isinstance(held, CroppedPixels) else tuple(held.shape[1:])

    def image(self, row: int) -> torch.Tensor:
        """The image that a unit lies in, (C, ...), for display; unlike `images` it makes no other one."""
        held = self.held_images
        number = self.units[row].sample
        return held.one(number) if isinstance(held, ShownImages) else held[number]

    def numpy(self) -> NDArray[Any]:
        """`pixels` as an array, in float32 where NumPy has no such type."""
        return array_of(self.pixels)

    def heatmap(self, *, sigma: float | None = None) -> torch.Tensor:
        """Where the energy of each unit's projection lies in the first input.

        It is the sum over channels of the squares of the pixels, smoothed by a Gaussian, divided by its maximum.

        Args:
            sigma: The standard deviation of the smoothing in pixels, 0 for none; None for a twentieth of the longest
                side of the unit's receptive field.

        Returns:
            A tensor (units, spatial dimensions) on the CPU, from 0 to 1; all zero for a unit without pixels.

        Example:
            >>> import deconvviz as dv
            >>> from deconvviz.data import mnist_test
            >>> from deconvviz.models import mnist_cnn
            >>> p = dv.DeconvNet(mnist_cnn()).project(mnist_test()[0][:1], "conv2", channel=[3, 5])
            >>> p.heatmap().shape, float(p.heatmap(sigma=0).max())
            (torch.Size([2, 28, 28]), 1.0)
        """
        given, axis = checked_sigma(sigma), channel_axis(self.shape)
        fields = self.receptive_fields.tolist()
        sigmas = [usual_sigma(field) if given is None else given for field in fields]
        maps = [energy(self.whole(row).movedim(axis, 0).cpu(), own) for row, own in enumerate(sigmas)]
        return torch.stack(maps) if maps else torch.zeros(0, *self.shape[:axis], *self.shape[axis + 1 :])

    def overlay(self, alpha: float = 0.6, **options: Any) -> Any:
        """The energy of `heatmap` laid over each unit's image, as a figure that says what it is.

        Args:
            alpha: The opacity of the colour where the energy is highest, from 0 to 1.
            **options: Other options of `deconvviz.figures.overlay_grid`, such as `sigma` and `axes`.

        Returns:
            The new figure, or the given `axes`.
        """
        return self.drawn(importlib.import_module(self.drawn_by).overlay_grid, alpha=alpha, **options)

    def cpu(self) -> Projection:
        """The same with its pixels on the CPU. Images that were not read stay where they are."""
        others = {name: pixels.cpu() for name, pixels in self.others.items()}
        return self._with(pixels=cast(torch.Tensor, self.held.cpu()), others=others)

    def _with(self, **fields: Any) -> Projection:
        """The same with other fields; `pixels` must be among them. No images are made."""
        return dataclasses.replace(self, images=cast(torch.Tensor, self.held_images), **fields)

    @property
    def held(self) -> torch.Tensor | CroppedPixels:
        """The pixels as they are held in memory: whole images, or windows of them."""
        held: torch.Tensor | CroppedPixels = vars(self)["pixels"]
        return held

    @property
    def held_images(self) -> torch.Tensor | ShownImages:
        """The images as they are held in memory: for display, or the network's inputs that become them."""
        held: torch.Tensor | ShownImages = vars(self)["images"]
        return held

    def __len__(self) -> int:
        return len(self.units)

    def __iter__(self) -> Iterator[Projection]:
        """Each unit as a projection of its own."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, rows: int | slice | Sequence[int] | torch.Tensor) -> Projection:
        """Some of the units, with all images.

        Args:
            rows: The number of a unit, a slice, several numbers in any order, or a mask (units,).

        Raises:
            IndexError: If there is no such unit.
        """
        rows = self._rows(rows)
        return self._with(
            pixels=cast(torch.Tensor, self.held[rows]),
            units=tuple(self.units[row] for row in rows.tolist()),
            receptive_fields=self.receptive_fields[rows],
            others={name: pixels[rows] for name, pixels in self.others.items()},
            other_fields={name: fields[rows] for name, fields in self.other_fields.items()},
        )

    def _rows(self, rows: Any) -> torch.Tensor:
        """Numbers of units, (n,), from 0."""
        every = torch.arange(len(self), device="cpu")
        if isinstance(rows, slice):
            return torch.tensor(range(len(self))[rows], dtype=torch.long, device="cpu")
        chosen = torch.as_tensor(rows).cpu()
        if chosen.dtype == torch.bool:
            if chosen.shape != every.shape:
                raise IndexError(f"a mask of shape {tuple(chosen.shape)} does not fit {len(self)} units")
            return every[chosen]
        chosen = chosen.reshape(-1)
        if chosen.numel() and (chosen.is_floating_point() or chosen.is_complex()):
            raise IndexError(f"units are chosen by whole numbers, a slice or a mask, not by {rows!r}")
        for number in chosen.tolist():
            if not -len(self) <= number < len(self):
                raise IndexError(f"there is no unit {int(number)}; the projection has {len(self)}")
        return every[chosen.long()]

    @classmethod
    def concatenate(cls, projections: Sequence[Projection]) -> Projection:
        """The units of several projections of one layer, with all their images.

        Raises:
            InputError: If there is none, or if layers, styles or shapes differ.
        """
        parts = list(projections)
        if not parts:
            raise InputError("there is no projection to concatenate; give at least one")
        facts = {
            (p.provenance.layer, p.provenance.style["name"], p.shape, tuple(p.held_images.shape[1:])) for p in parts
        }
        if len(facts) > 1:
            (layer, style, shape, _), (other, other_style, other_shape, _) = sorted(facts)[:2]
            raise InputError(
                f"projections of one layer, style and shape are concatenated, not of {layer!r}, {style}, {shape} and "
                f"{other!r}, {other_style}, {other_shape}"
            )
        images = [part.held_images for part in parts]
        offsets = itertools.accumulate(map(len, images), initial=0)
        numbered = [
            (range(first, first + len(held)), part) for first, held, part in zip(offsets, images, parts, strict=False)
        ]
        others = {
            name: torch.cat([part.other_images[name] for part in parts])
            for name in parts[0].other_images
            if len({part.other_images[name].shape[1:] for part in parts}) == 1
        }
        return cls.joined(numbered, joined(images), others)

    @classmethod
    def joined(
        cls,
        parts: Sequence[tuple[Sequence[int], Projection]],
        images: torch.Tensor | ShownImages,
        other_images: dict[str, torch.Tensor],
    ) -> Projection:
        """Join projections of some samples each into one.

        Args:
            parts: Pairs of the samples' numbers in the whole batch and their projection.
            images: The images of all samples.
            other_images: The further inputs of all samples.
        """
        first = parts[0][1]
        held = [part.held for _, part in parts]
        windows = [part_pixels for part_pixels in held if isinstance(part_pixels, CroppedPixels)]
        whole = len(windows) < len(held)
        return cls(
            pixels=torch.cat([part.pixels for _, part in parts])
            if whole
            else cast(torch.Tensor, CroppedPixels.joined(windows)),
            units=tuple(
                dataclasses.replace(unit, sample=numbers[unit.sample]) for numbers, part in parts for unit in part.units
            ),
            receptive_fields=torch.cat([part.receptive_fields for _, part in parts]),
            images=cast(torch.Tensor, images),
            provenance=first.provenance,
            others={name: torch.cat([part.others[name] for _, part in parts]) for name in first.others},
            other_images=other_images,
            other_fields={
                name: torch.cat([part.other_fields[name] for _, part in parts]) for name in first.other_fields
            },
        )


class _Pixels:
    """The field `Projection.pixels`: a tensor, or windows from which it is made when it is first read."""

    def __set__(self, projection: Projection, pixels: torch.Tensor | CroppedPixels) -> None:
        vars(projection)["pixels"] = pixels

    def __get__(self, projection: Projection, owner: type) -> torch.Tensor:
        pixels: torch.Tensor | CroppedPixels = vars(projection)["pixels"]
        if isinstance(pixels, torch.Tensor):
            return pixels
        if "made_pixels" not in vars(projection):
            vars(projection)["made_pixels"] = pixels.whole()
        whole: torch.Tensor = vars(projection)["made_pixels"]
        return whole


Projection.pixels = _Pixels()  # type: ignore[assignment]
Projection.images = ImagesField()  # type: ignore[assignment]
Projection.__annotations__["pixels"] = "torch.Tensor | CroppedPixels"  # what a saved file may hold


@dataclass(frozen=True)
class Reconstruction(Result):
    """The reconstruction of images from all activations of one layer.

    Attributes:
        pixels: (samples, input shape), signed.
        images: (samples, input shape), the network's inputs, for display.
        provenance: Model, layer, style and linearised operations.
        others: The same as `pixels` for further inputs of the model, by their place among its arguments.
        other_images: The same as `images` for these inputs.
    """

    pixels: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)
    other_images: dict[str, torch.Tensor] = field(default_factory=dict)

    def numpy(self) -> NDArray[Any]:
        """`pixels` as an array, in float32 where NumPy has no such type."""
        return array_of(self.pixels)


Reconstruction.images = ImagesField()  # type: ignore[assignment]
