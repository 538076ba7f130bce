"""Datasets written to files in every form that can be read, and what a scan must find in them."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import deconvviz as dv

COUNT = 6
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8), dtype=np.uint8)
LABELS = [0, 1, 1, 0, 1, 0]
CLASSES = ["cat", "dog"]


def png(number: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(content, "PNG")
    return content.getvalue()


def files(folder: Path) -> list[str]:
    names = [f"{CLASSES[label]}/{number}.png" for number, label in enumerate(LABELS)]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return names


def csv_of(folder: Path) -> str:
    rows = [f"{name},{CLASSES[label]}" for name, label in zip(files(folder), LABELS, strict=True)]
    (folder / "list.csv").write_text("\n".join(["path,label", *rows]))
    return "list.csv"


def json_of(folder: Path) -> str:
    rows = [{"file_name": name, "class": CLASSES[label]} for name, label in zip(files(folder), LABELS, strict=True)]
    (folder / "list.json").write_text(json.dumps(rows))
    (folder / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "list.json"


def json_lines_of(folder: Path) -> str:
    json_of(folder)
    return "list.jsonl"


def npy(folder: Path) -> str:
    np.save(folder / "x.npy", PIXELS)
    return "x.npy"


def npz(folder: Path) -> str:
    np.savez_compressed(folder / "x.npz", x_test=PIXELS, y_test=np.array(LABELS))
    return "x.npz"


def zipped(folder: Path) -> str:
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, label in enumerate(LABELS):
            archive.writestr(f"photos/{CLASSES[label]}/{number}.png", png(number))
        archive.writestr("__MACOSX/photos/cat/._0.png", b"no image")
        archive.writestr("photos/read.me", b"no image")
    return "x.zip"


def added(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def shards(folder: Path) -> str:
    """Two shards in WebDataset's layout; labels as numbers, or in JSON."""
    for shard in range(2):
        with tarfile.open(folder / f"s-{shard:03}.tar", "w") as archive:
            for number in range(3 * shard, 3 * shard + 3):
                added(archive, f"{number:04}.png", png(number))
                added(archive, f"{number:04}.mask.png", b"no image")
                if shard:
                    added(archive, f"{number:04}.json", json.dumps({"label": LABELS[number]}).encode())
                else:
                    added(archive, f"{number:04}.cls", str(LABELS[number]).encode())
    return "s-{000..001}.tar"


def tar_of_folders(folder: Path) -> str:
    with tarfile.open(folder / "x.tar", "w") as archive:
        for number, label in enumerate(LABELS):
            added(archive, f"{CLASSES[label]}/{number}.png", png(number))
    return "x.tar"


def factory(folder: Path) -> str:
    np.save(folder / "numbers.npy", PIXELS)
    (folder / "mine.py").write_text(
        "import numpy, torch\n"
        "def photos():\n"
        "    pixels = torch.from_numpy(numpy.load('numbers.npy'))[:, None] / 255\n"
        f"    return torch.utils.data.TensorDataset(pixels, torch.tensor({LABELS}))\n"
    )
    return "mine.py:photos"


WAYS: dict[str, tuple[Callable[[Path], str], list[str], bool]] = {  # the spec, the classes, and whether it has labels
    "CSV": (csv_of, CLASSES, True),
    "JSON": (json_of, CLASSES, True),
    "JSON lines": (json_lines_of, CLASSES, True),
    "npy": (npy, [], False),
    "npz": (npz, [], True),
    "zip": (zipped, CLASSES, True),
    "shards": (shards, [], True),
    "tar": (tar_of_folders, CLASSES, True),
    "a factory": (factory, [], True),
}


def strongest(net: dv.DeconvNet, order: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Each channel's strongest value, and its image, from one plain call of the model."""
    with torch.no_grad():
        values = net.model(torch.from_numpy(PIXELS[order])[:, None] / 255).flatten(2).amax(2).max(0)
    return values.values.double(), values.indices.tolist()


def order_of(way: str) -> list[int]:
    """The images in the order of the dataset: zip archives are sorted by name."""
    return sorted(range(COUNT), key=lambda n: (CLASSES[LABELS[n]], n)) if way == "zip" else list(range(COUNT))
