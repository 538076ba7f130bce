"""Units, their projections, and tables of layers."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from deconvviz.errors import InputError
from deconvviz.results.base import Result, Tabular, as_html, as_rows, as_text, kind
from deconvviz.results.cropped_pixels import CroppedPixels
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
    """

    pixels: torch.Tensor
    units: tuple[Unit, ...]
    receptive_fields: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)

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
        return cls.joined(numbered, joined(images))

    @classmethod
    def joined(
        cls, parts: Sequence[tuple[Sequence[int], Projection]], images: torch.Tensor | ShownImages
    ) -> Projection:
        """Join projections of some samples each into one.

        Args:
            parts: Pairs of the samples' numbers in the whole batch and their projection.
            images: The images of all samples.
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
        )


class _Pixels:
    """The field `Projection.pixels`: a tensor, or windows from which it is made when it is first read."""

    def __set__(self, projection: Projection, pixels: torch.Tensor | CroppedPixels) -> None:
        vars(projection)["pixels"] = pixels

    def __get__(self, projection: Projection, owner: type) -> torch.Tensor:
        pixels: torch.Tensor | CroppedPixels = vars(projection)["pixels"]
        if isinstance(pixels, torch.Tensor):
            return pixels
        if "whole" not in vars(projection):
            vars(projection)["whole"] = pixels.whole()
        whole: torch.Tensor = vars(projection)["whole"]
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
    """

    pixels: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)


Reconstruction.images = ImagesField()  # type: ignore[assignment]


@kind
@dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """One row of a network's layer table.

    Per spatial dimension, the unit at position p sees `receptive_field` input pixels, starting at p * stride + offset.
    Stride, offset and receptive field are None if the layer sees the whole input (after a linear layer, global pooling
    or another operation that is not local).

    Attributes:
        name: The layer's name.
        kind: The module's class, or the function's name.
        shape: Shape of the output.
        stride: Distance between neighbouring units in input pixels.
        offset: First input pixel of the unit at position 0.
        receptive_field: Size of the receptive field in input pixels.
        linearised: Operations in this layer that the style would linearise.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None
    linearised: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerTable(Tabular):
    """The layers of one recorded run, in the order in which they finished. It prints as a table.

    Attributes:
        layers: One entry per layer.
    """

    layers: tuple[LayerInfo, ...]

    def __iter__(self) -> Any:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str | int) -> LayerInfo:
        return self.layers[name] if isinstance(name, int) else {layer.name: layer for layer in self.layers}[name]

    def table(self) -> list[dict[str, Any]]:
        """One row per layer; stride and receptive field are None if the layer sees the whole input."""
        return [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "shape": layer.shape,
                "stride": layer.stride,
                "receptive field": layer.receptive_field,
                "linearised": layer.linearised,
            }
            for layer in self.layers
        ]

    def _rows(self) -> list[tuple[str, ...]]:
        return as_rows([{**row, "receptive field": row["receptive field"] or "whole input"} for row in self.table()])

    def __str__(self) -> str:
        return as_text(self._rows())

    def _repr_html_(self) -> str:
        return as_html(self._rows())
