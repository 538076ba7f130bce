"""The atlas of pairs: a folder with a page per layer, which shows both channels of each pair of two networks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from deconvviz.errors import OutputError
from deconvviz.figures.network_diff import block
from deconvviz.figures.single_page import png_address, write_page
from deconvviz.io.atomic import safe_name
from deconvviz.results import LayerDiff, NetworkDiff, PairPictures
from deconvviz.results.base import printable
from deconvviz.results.words import counted

LEGENDS = {
    1: "Projections: red pixels should be brighter for the channel to fire more, blue ones darker.",
    3: "Projections: grey is zero, where the image has no effect.",
}


def page_names(result: NetworkDiff) -> list[str]:
    """The file names of the pages of the layers, in their order; each is another one."""
    names: list[str] = []
    for layer in result.layers:
        name = safe_name(layer.name.replace(" / ", "-"))
        while f"{name}.html" in names or name == "index":
            name += "_"
        names.append(f"{name}.html")
    return names


def write(result: NetworkDiff, path: str | os.PathLike[str]) -> Path:
    """Write the pages, each atomically. See `NetworkDiff.write_pages`."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{os.fspath(path)!r} cannot be a folder for pages: {error.strerror}") from error
    files = page_names(result)
    common: dict[str, Any] = {
        "networks": [printable(name) for name in result.networks],
        "images": f"{counted(result.images, 'image')} of {printable(result.dataset)}",
        "layers": [
            {"file": file, "name": printable(layer.name), "verdict": printable(layer.verdict)}
            for file, layer in zip(files, result.layers, strict=True)
        ],
    }
    for file, layer in zip(files, result.layers, strict=True):
        without = len(layer.pairs) - len(layer.examples)
        write_page(
            *(folder / file, "diff", {"rows": _rows(layer)}),
            **common,
            here=file,
            title=printable(f"{layer.name} in two networks"),
            verdict=printable(layer.verdict),
            legend=LEGENDS[layer.examples[0].projections[0].shape[1]] if layer.examples else "",
            left_out=f" {counted(without, 'pair')} without pictures." if without else "",
        )
    title = "Two networks, channel by channel"
    return write_page(
        folder / "index.html", "diff", {"rows": None}, **common, here="", title=title, verdict=result.overall
    )


def _rows(layer: LayerDiff) -> list[dict[str, Any]]:
    shown: tuple[dict[int, str], dict[int, str]] = ({}, {})
    for example in layer.examples:
        for side, channel in enumerate(layer.pairs[example.pair].tolist()):
            shown[side][channel] = png_address(_channel_picture(example, side))
    return [
        {
            "a": row["channel"],
            "b": row["counterpart"],
            "state": row["state"],
            "correlation": row["correlation"],
            "low": row["low"],
            "high": row["high"],
            "untrained": row["untrained"],
            "likeness": row["pictures"],
            "fires": [row["fires before"], row["fires after"]],
            "pictures": [shown[0].get(row["channel"]), shown[1].get(row["counterpart"])],
        }
        for row in layer.table()
    ]


def _channel_picture(example: PairPictures, side: int) -> torch.Tensor:
    """The patches and the projections of one channel of a pair, (h, w, 3)."""
    patches, projections = block(example.patches[side], False), block(example.projections[side], True)
    return torch.cat([patches, torch.full((patches.shape[0], 2, 3), 0.6), projections], 1)
