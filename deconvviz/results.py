"""Frozen results that producers fill and renderers read.

A result holds tensors and plain values only, never a model. Each can be saved to one safetensors file
(tensors as they are, everything else as JSON in the file's metadata; written beside and renamed, so a file
that exists is complete), loaded again, drawn with `figure()` and shown in a notebook.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from deconvviz.errors import DataError, MissingFileError
from deconvviz.files import replacing

FORMAT = 1  # raised when a saved result can no longer be read by older code

R = TypeVar("R", bound="Result")


class Result:
    """What every result can do; a frozen dataclass derives from it."""

    def figure(self, **options: Any) -> Any:
        """The result as a matplotlib Figure; `options` are those of its renderer in `deconvviz.figures`."""
        # Looked up when called: results stay below the floor of the figures and load no matplotlib.
        return importlib.import_module("deconvviz.figures").draw(self, **options)

    def add_to_tensorboard(self, writer: Any, tag: str = "", step: int | None = None, **options: Any) -> None:
        """Hand the figure to a TensorBoard writer as an image.

        writer: a `torch.utils.tensorboard.SummaryWriter`, or what has its ``add_image``.
        tag: what TensorBoard calls it; by default the type of the result and its layer. step: as `add_image` takes it.
        options: as for `figure`.
        """
        with Image.open(io.BytesIO(self._png(**options))) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB")))
        layer = getattr(getattr(self, "provenance", None), "layer", "")
        named = tag or "/".join(filter(None, (type(self).__name__, layer)))
        writer.add_image(named, pixels.permute(2, 0, 1), step)

    def _png(self, **options: Any) -> bytes:
        picture = io.BytesIO()
        self.figure(**options).savefig(picture, format="png", bbox_inches="tight")
        return picture.getvalue()

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self._png()).decode()
        return f'<img alt="{html.escape(repr(type(self).__name__))}" src="data:image/png;base64,{encoded}">'

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result to the file `path` (safetensors); what was there before is replaced whole."""
        tensors: dict[str, torch.Tensor] = {}
        manifest = {"format": FORMAT, "result": _encode(self, "", tensors)}
        with replacing(path) as beside:
            save_file(tensors, beside, metadata={"deconvviz": json.dumps(manifest)})
        return Path(path)

    @classmethod
    def load(cls: type[R], path: str | os.PathLike[str]) -> R:
        """Read what `save` wrote. Raises MissingFileError, or DataError for any other file."""
        if not Path(path).is_file():
            raise MissingFileError(f"there is no file {os.fspath(path)!r} to load a {cls.__name__} from")
        try:
            with safe_open(os.fspath(path), framework="pt") as stored:
                manifest = json.loads((stored.metadata() or {})["deconvviz"])
                if manifest["format"] != FORMAT:
                    raise DataError(
                        f"{os.fspath(path)!r} has format {manifest['format']!r}; this version reads {FORMAT}"
                    )
                result = _decode(manifest["result"], stored)
        except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise DataError(f"{os.fspath(path)!r} is no result saved by deconvviz ({error})") from error
        if not isinstance(result, cls):
            raise DataError(f"{os.fspath(path)!r} holds a {type(result).__name__}, not a {cls.__name__}")
        return result


def _encode(value: Any, key: str, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if dataclasses.is_dataclass(value):
        fields = {
            f.name: _encode(getattr(value, f.name), f"{key}.{f.name}", tensors) for f in dataclasses.fields(value)
        }
        return {"kind": type(value).__name__, "fields": fields}
    if isinstance(value, dict):
        return {"mapping": [[k, _encode(v, f"{key}.{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (tuple, list)):
        return [_encode(item, f"{key}.{i}", tensors) for i, item in enumerate(value)]
    return value


def _decode(value: Any, stored: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item, stored) for item in value)
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return stored.get_tensor(value["tensor"])
    if "mapping" in value:
        return {k: _decode(v, stored) for k, v in value["mapping"]}
    return KINDS[value["kind"]](**{k: _decode(v, stored) for k, v in value["fields"].items()})


def as_text(rows: list[tuple[str, ...]]) -> str:
    """A table in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def as_html(rows: list[tuple[str, ...]]) -> str:
    """A table for a notebook, its first row the header."""
    header, *body = rows
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    lines = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table><tr>{cells}</tr>{''.join(lines)}</table>"


@dataclass(frozen=True)
class Unit:
    """One neuron: a layer's channel at a position, in one sample, with the activation it had."""

    sample: int
    layer: str
    channel: int
    position: tuple[int, ...]  # empty where the layer has channels only
    activation: float


@dataclass(frozen=True)
class Provenance:
    """Where a picture comes from: enough to say whether two of them may be compared."""

    model: str  # class name
    fingerprint: str  # digest of the model's parameters and buffers, see `deconvviz.fingerprints`
    layer: str
    style: dict[str, str]  # name, and the choice per family of operations
    seed: str  # "activation" or "one"
    linearised: tuple[str, ...]  # operations without a mirror, as "aten.sigmoid in features.3"
    stopped: tuple[str, ...]  # operations where a part of the signal ended: comparisons, integer casts
    versions: dict[str, str]  # of deconvviz and torch


@dataclass(frozen=True)
class Projection(Result):
    """What made units fire, in pixels.

    pixels: (units, *input shape), signed: the last step of a deconvnet is not rectified.
    units: one per row of `pixels`.
    receptive_fields: (units, spatial dimensions, 2), first pixel and one past the last, clipped to the image.
    images: (samples, *input shape), what the network was shown, for display.
    others: the same as `pixels` for further inputs of the model, by their place among its arguments.
    """

    pixels: torch.Tensor
    units: tuple[Unit, ...]
    receptive_fields: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, rows: torch.Tensor) -> Projection:
        """Some of the units, by their rows (n,), in that order."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[rows],
            units=tuple(self.units[row] for row in rows.tolist()),
            receptive_fields=self.receptive_fields[rows],
            others={name: pixels[rows] for name, pixels in self.others.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[tuple[int, Projection]], images: torch.Tensor) -> Projection:
        """One projection of several, each of one sample, whose number is given; images: of all samples."""
        first = parts[0][1]
        return cls(
            torch.cat([part.pixels for _, part in parts]),
            tuple(dataclasses.replace(unit, sample=n) for n, part in parts for unit in part.units),
            torch.cat([part.receptive_fields for _, part in parts]),
            images,
            first.provenance,
            {name: torch.cat([part.others[name] for _, part in parts]) for name in first.others},
        )


@dataclass(frozen=True)
class Reconstruction(Result):
    """All activations of one layer sent back at once: pixels (samples, *input shape), signed."""

    pixels: torch.Tensor
    images: torch.Tensor
    provenance: Provenance
    others: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerInfo:
    """One row of a network's layer table.

    stride, offset, receptive_field: per spatial dimension, in input pixels: the unit at position p sees
        pixels p * stride + offset and on, receptive_field of them. None where the layer sees the whole input
        (behind a linear layer, global pooling or an operation that is not local).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    stride: tuple[float, ...] | None
    offset: tuple[int, ...] | None
    receptive_field: tuple[int, ...] | None
    linearised: tuple[str, ...] = ()  # operations in this layer that the style would linearise


@dataclass(frozen=True)
class LayerTable(Result):
    """The layers of one recorded run, in the order in which they finished. Printing it gives a table."""

    layers: tuple[LayerInfo, ...]

    def __iter__(self) -> Any:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str | int) -> LayerInfo:
        return self.layers[name] if isinstance(name, int) else {layer.name: layer for layer in self.layers}[name]

    def rows(self) -> list[tuple[str, ...]]:
        """The table as text, a header first."""
        header: tuple[str, ...] = ("layer", "kind", "shape", "stride", "receptive field", "linearised")
        return [header] + [
            (
                layer.name,
                layer.kind,
                " x ".join(map(str, layer.shape)),
                "" if layer.stride is None else " x ".join(f"{s:g}" for s in layer.stride),
                "whole input" if layer.receptive_field is None else " x ".join(map(str, layer.receptive_field)),
                ", ".join(layer.linearised),
            )
            for layer in self.layers
        ]

    def __str__(self) -> str:
        return as_text(self.rows())

    def _repr_html_(self) -> str:
        return as_html(self.rows())


@dataclass(frozen=True)
class ChannelStatistics:
    """How the channels of one layer behave over a dataset, by their strongest unit in each image.

    fires: (channels,), the fraction of images on which it is above zero. mean, maximum: (channels,).
    histogram: (channels, bins), on how many images it fell between neighbouring `edges` (bins + 1).
    """

    fires: torch.Tensor
    mean: torch.Tensor
    maximum: torch.Tensor
    histogram: torch.Tensor
    edges: torch.Tensor

    @property
    def dead(self) -> torch.Tensor:
        """Channels that fire on no image, (n,)."""
        return (self.fires == 0).nonzero().flatten()

    @property
    def always_on(self) -> torch.Tensor:
        """Channels that fire on every image, (n,)."""
        return (self.fires == 1).nonzero().flatten()


@dataclass(frozen=True)
class Broken:
    """An item of a dataset that could not be read."""

    image: int
    name: str
    reason: str


@dataclass(frozen=True)
class ScanProvenance:
    """What a scan ran over: enough to say whether two may be compared."""

    model: str
    fingerprint: str
    dataset: str
    batch_size: int
    per_image: int
    versions: dict[str, str]


@dataclass(frozen=True)
class TopActivations(Result):
    """The k strongest units of every channel over a dataset, strongest first; of equals the lower image first.

    values: per layer (channels, k), activations; -inf where the dataset has fewer than k images.
    images: per layer (channels, k), numbers of the images in the dataset; -1 for none.
    positions: per layer (channels, k, dimensions), indices into the channel's map; -1 for none.
    statistics: per layer.
    count: images that were read. broken: those that could not be.
    """

    values: dict[str, torch.Tensor]
    images: dict[str, torch.Tensor]
    positions: dict[str, torch.Tensor]
    statistics: dict[str, ChannelStatistics]
    count: int
    broken: tuple[Broken, ...]
    provenance: ScanProvenance

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.values)

    @property
    def k(self) -> int:
        return next(iter(self.values.values())).shape[1]

    def rows(self) -> list[tuple[str, ...]]:
        """One row of text per layer, a header first."""
        rows: list[tuple[str, ...]] = [("layer", "channels", "dead", "always on", "median rate", "strongest")]
        for layer, found in self.statistics.items():
            counts = len(found.fires), len(found.dead), len(found.always_on)
            strongest = float(found.maximum.max())
            rows.append((layer, *map(str, counts), f"{float(found.fires.median()):.1%}", f"{strongest:.4g}"))
        return rows

    def __str__(self) -> str:
        broken = f", {len(self.broken)} could not be read" if self.broken else ""
        return f"{as_text(self.rows())}\n{self.count:,} images of {self.provenance.dataset}{broken}"

    def _repr_html_(self) -> str:
        return as_html(self.rows())


@dataclass(frozen=True)
class LearningCurves(Result):
    """How a training went, one entry per epoch, with what the curves say about the fit.

    diagnosis: one sentence: underfitting, good fit or overfitting, with the numbers that say so.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]  # in [0, 1]
    validation_accuracy: tuple[float, ...]
    diagnosis: str
    settings: dict[str, Any] = field(default_factory=dict)


# What a saved file may name: loading builds these and nothing else.
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *(Unit, Provenance, Projection, Reconstruction, LayerInfo, LayerTable, LearningCurves),
        *(ChannelStatistics, Broken, ScanProvenance, TopActivations),
    )
}
