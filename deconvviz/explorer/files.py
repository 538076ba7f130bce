"""Projections and reconstructions as files to save: a picture, and the result itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deconvviz.io.atomic import safe_name
from deconvviz.io.ownership import picture_of
from deconvviz.results import Projection, Reconstruction

Saved = Projection | Reconstruction
DPI = 150


def projection_picture(found: Saved) -> tuple[str, bytes]:
    """The figure of a result: the file's name and its content."""
    return f"{_stem(found)}.png", picture_of(found.figure(), "png", dpi=DPI)


def projection_file(found: Saved) -> tuple[str, bytes]:
    """A result as the file that its `load` reads: the file's name and its content."""
    with tempfile.TemporaryDirectory() as folder:
        path = found.save(Path(folder) / "result.safetensors")
        return f"{_stem(found)}.safetensors", Path(path).read_bytes()


def _stem(found: Saved) -> str:
    parts = ["deconvviz", found.provenance.layer]
    if isinstance(found, Projection):
        parts.append(str(found.units[0].channel))
    return safe_name("-".join(parts)).encode("ascii", "replace").decode().replace("?", "_").replace('"', "_")
