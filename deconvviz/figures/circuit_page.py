"""The page on which a circuit can be walked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from deconvviz.figures.reading import rgb
from deconvviz.figures.single_page import png_address, write_page
from deconvviz.images import tiled
from deconvviz.results import Circuit, CircuitUnit
from deconvviz.results.base import printable

PICTURES_ACROSS = 3  # pictures


def write(result: Circuit, path: str | os.PathLike[str]) -> Path:
    """Write the page, atomically. See `Circuit.write_page`."""
    facts = result.as_json()["units"]
    pictures = map(_pictures, result.units)
    return write_page(
        path,
        "circuit",
        {"units": [{**known, **shown} for known, shown in zip(facts, pictures, strict=True)]},
        title=printable(f"What feeds channel {result.channel} of {result.layer}"),
        verdict=printable(result.verdict),
        projections=f"Projections of its strongest units ({printable(result.style)})",
        images=f"The intervals are over {_ranking(result)}.",
    )


def _ranking(result: Circuit) -> str:
    return f"half of the {result.images} images that fire it most"


def _pictures(unit: CircuitUnit) -> dict[str, Any]:
    others = 1 - sum(feeder.share.mean for feeder in unit.feeders)
    return {
        "projections": _sheet(unit.projections, True),
        "patches": _sheet(unit.patches, False),
        "others": others - float(unit.biases.mean()) if len(unit.biases) else None,
    }


def _sheet(pictures: Tensor, is_signed: bool) -> str | None:
    return (
        png_address(tiled(rgb(pictures, is_signed), PICTURES_ACROSS, gap=1, background=0.6)) if len(pictures) else None
    )
