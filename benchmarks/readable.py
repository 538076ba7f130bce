"""What makes a projection of a deep layer readable: ways of drawing it, as pictures and by the test of reading.

    python -m benchmarks.readable --squeezenet FILE --vgg16 FILE --photos FOLDER [FOLDER ...] --out out/readable
    python -m benchmarks.readable --squeezenet FILE --vgg16 FILE --pictures chelsea.png coffee.png --out out

The second form draws out/readable.png alone: the strongest unit of each network and picture, in every way.
Each way of drawing a projection is read by the observers of `dv.reading_test`, on the same questions, and compared with
the projection as it is. The weights are those of `benchmarks.reading`. Each layer is written to readable.json when
it is done, and one that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

import deconvviz as dv
from benchmarks.reading import CALLED, DASH, files_in, vgg16
from benchmarks.timing import circumstances
from deconvviz.figures.marks import HEAT
from deconvviz.images import Preprocess, as_rgb, displayed, signed_as_rgb, to_input
from deconvviz.intervals import LEVEL, holm
from deconvviz.models.by_name import load_model
from deconvviz.reading.conditions import PictureSource, References, as_picture
from deconvviz.reading.pieces import UnitWindows, small
from deconvviz.results import ReadingTest
from deconvviz.results.energy import energy, smoothed

LAYERS = {"squeezenet": ("features.7.expand3x3", "features.10.expand3x3"), "vgg16": ("features.21", "features.28")}
LUMINANCE = (0.299, 0.587, 0.114)
ALPHA = 0.6
FLOOR = 0.1  # of the largest contrast, below which local contrast normalisation raises nothing
SHOWN = 3  # channels in a picture
# By name, as conditions of the test; "deconvnet" is the projection as it is.
WAYS = (
    "patches",
    "deconvnet",
    "sigma 1",
    "sigma 2",
    "luminance",
    "local contrast",
    "phases",
    "guided",
    "guided, sigma 1",
    "overlay",
    "another channel",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/readable"))
    parser.add_argument("--channels", type=int, default=12, help="channels per layer, at random (%(default)s)")
    parser.add_argument("--questions", type=int, default=10, help="questions per channel (%(default)s)")
    parser.add_argument("--size", type=int, default=224, help="pixels of the images' sides (%(default)s)")
    parser.add_argument("--squeezenet", metavar="FILE")
    parser.add_argument("--vgg16", metavar="FILE")
    parser.add_argument("--photos", nargs="+", metavar="DIR", default=[])
    parser.add_argument("--pictures", nargs="+", metavar="IMAGE")
    parser.add_argument("--layers", nargs="+", metavar="NETWORK:LAYER", help="only these")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.pictures:
        figure = draw(dict(strongest(given)))
        figure.savefig(given.out / "readable.png", dpi=75)
        return
    paths = [path for folder in given.photos for path in files_in(folder)]
    file = given.out / "readable.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    found |= {"circumstances": circumstances("cpu"), "images": len(paths)}
    for name, layers in LAYERS.items():
        if not (weights := getattr(given, name)):
            continue
        net = network(name, weights, given.size)
        for layer in layers:
            if f"{name} {layer}" in found or (given.layers and f"{name}:{layer}" not in given.layers):
                continue
            started = time.perf_counter()
            test = read(net, paths, layer, given)
            seconds = time.perf_counter() - started
            found[f"{name} {layer}"] = {"ways": compared(test), "seconds": seconds}
            print(f"\n{name}, {layer} ({seconds:.0f} s)\n\n" + "\n".join(markdown(test)), flush=True)
            file.write_text(json.dumps(found, indent=1) + "\n")


def network(name: str, weights: str, size: int) -> dv.DeconvNet:
    model = vgg16(weights) if name == "vgg16" else load_model("torchvision:squeezenet1_1", weights).model
    return dv.DeconvNet(model, preprocess=Preprocess(size))


def strongest(given: argparse.Namespace) -> Iterator[tuple[str, dict[str, References]]]:
    """Per network and picture, the strongest unit of the first of its layers, drawn in every way."""
    for name, layers in LAYERS.items():
        if not (weights := getattr(given, name)):
            continue
        net = network(name, weights, given.size)
        for path in given.pictures:
            x = to_input([path], net.preprocess)
            row = net.layers(x)[layers[0]]
            windows = UnitWindows.of(row, x.shape[1:])
            maps = net.trace(x, layers[0]).activations[layers[0]][0]
            edge = [extent // 5 for extent in maps.shape[1:]]  # of units that see only the picture
            inner = maps[:, edge[0] : -edge[0] or None, edge[1] : -edge[1] or None]
            channel, down, right = map(int, torch.unravel_index(inner.argmax(), inner.shape))
            place = down + edge[0], right + edge[1]

            def cut(style: str, shift: tuple[int, int] = (0, 0)) -> Tensor:
                styled = dv.DeconvNet(net.model, style)  # noqa: B023  called at once
                moved = torch.roll(x, shift, (2, 3))  # noqa: B023
                found = styled.project_units(moved, layers[0], [(0, channel, place)])  # noqa: B023
                back = torch.roll(found.whole(0).float(), (-shift[0], -shift[1]), (1, 2))
                return windows.cut(back, place, fill=0.0)[None]  # noqa: B023

            moved = torch.stack([cut("deconvnet", shift) for shift in half_strides(windows)]).mean(0)
            patch = small(windows.cut(displayed(x, net.preprocess)[0], place)[None])
            ways = in_every_way(cut("deconvnet"), cut("guided"), moved, patch)
            called = f"{CALLED[name]}, {Path(path).stem}\n{layers[0]}\nchannel {channel}"
            yield called, {"patches": References(patch), **ways}


def read(net: dv.DeconvNet, paths: Sequence[str], layer: str, given: argparse.Namespace) -> ReadingTest:
    """The test of reading with one condition per way; the pictures are written."""
    Treated.seen = {}
    channels = net.layers(torch.zeros(1, 3, given.size, given.size))[layer].shape[1]
    chosen = torch.randperm(channels, generator=torch.Generator().manual_seed(0))[: given.channels].tolist()
    with (
        mock.patch("deconvviz.reading.reading.PictureSource", Treated),
        mock.patch("deconvviz.reading.reading.chosen_conditions", return_value=list(WAYS)),
    ):
        test = dv.reading_test(
            net, paths, layer, channel=sorted(chosen), questions=given.questions, batch_size=8, progress=False
        )
    shown = {f"channel {n}": Treated.seen[n] for n in sorted(Treated.seen)[:SHOWN]}
    draw(shown).savefig(given.out / f"{type(net.model).__name__}-{layer}.png", dpi=110)
    return test


def compared(test: ReadingTest) -> list[dict[str, Any]]:
    """Per observer and way the score, and how it differs from that of the projection; p by Holm over the ways."""
    found: list[dict[str, Any]] = []
    for observer in test.observers:
        differences = [test.difference(observer, way, "deconvnet") for way in WAYS]
        p = holm([math.nan if way == "deconvnet" else d.p for way, d in zip(WAYS, differences, strict=True)])
        for way, difference, probability in zip(WAYS, differences, p, strict=True):
            score = test.score(observer, way)._asdict()
            found.append(
                {"observer": observer, "way": way, **score, "minus deconvnet": difference[:3], "p": probability}
            )
    return found


def markdown(test: ReadingTest) -> list[str]:
    """The rows of docs/readable.md: a way, and per observer the score and the difference."""
    rows = compared(test)
    lines = []
    for way in WAYS:
        cells = []
        for row in rows:
            if row["way"] == way:
                mean, low, high = row["minus deconvnet"]
                star = "**" if row["p"] <= LEVEL else ""
                cells.append(f"{row['mean']:.2f} ({row['low']:.2f}{DASH}{row['high']:.2f})")
                cells.append("" if way == "deconvnet" else f"{star}{mean:+.2f}{star} ({low:+.2f} to {high:+.2f})")
        lines.append(f"| {' | '.join([way, *cells])} |")
    return lines


class Treated(PictureSource):
    """The pictures of channels, drawn in every way."""

    seen: dict[int, dict[str, References]] = {}  # noqa: RUF012  of the last layer

    def references(
        self, channels: Sequence[int], generator: torch.Generator, batch_size: int
    ) -> dict[int, dict[str, References]]:
        """Per channel and way its pictures."""
        object.__setattr__(self, "names", ("patches", "another channel"))
        plain = super().references(channels, generator, batch_size)
        raw, guided = (self._whole(style, channels) for style in ("deconvnet", "guided"))
        moved = self._phases(channels)
        found = {}
        for channel in channels:
            patches = plain[channel]["patches"].pictures
            drawn = in_every_way(raw[channel], guided[channel], moved[channel], patches)
            drawn |= plain[channel]
            found[channel] = {way: drawn[way] for way in WAYS if way in drawn}
        object.__setattr__(self, "names", WAYS)
        Treated.seen.update(found)
        return found

    def _units(self, channel: int) -> list[tuple[int, tuple[int, ...]]]:
        images, positions = (part[self.layer][channel].tolist() for part in (self.top.images, self.top.positions))
        return [(n, tuple(place)) for n, place in zip(images, positions, strict=True)]

    def _whole(self, style: str, channels: Sequence[int], shift: tuple[int, int] = (0, 0)) -> dict[int, Tensor]:
        """Per channel the projections of its strongest units, cut to what they see, (k, C, h, w)."""
        net = dv.DeconvNet(self.net.model, style, preprocess=self.net.preprocess)
        cut: dict[int, list[tuple[int, Tensor]]] = {channel: [] for channel in channels}
        for number, units in by_image({channel: self._units(channel) for channel in channels}).items():
            x = torch.roll(to_input([self.data[number]], self.net.preprocess), shift, (2, 3))
            found = net.project_units(x, self.layer, [(0, channel, place) for channel, place, _ in units])
            for row, (channel, place, rank) in enumerate(units):
                back = torch.roll(found.whole(row).float(), (-shift[0], -shift[1]), (1, 2))
                cut[channel].append((rank, self.windows.cut(back, place, fill=0.0)))
        return {
            channel: torch.stack([x for _, x in sorted(parts, key=lambda p: p[0])]) for channel, parts in cut.items()
        }

    def _phases(self, channels: Sequence[int]) -> dict[int, Tensor]:
        """The mean of the projections of the image moved by none and by half of the stride, moved back."""
        parts = [self._whole("deconvnet", channels, shift) for shift in half_strides(self.windows)]
        return {channel: torch.stack([part[channel] for part in parts]).mean(0) for channel in channels}


def by_image(units: dict[int, list[tuple[int, tuple[int, ...]]]]) -> dict[int, list[tuple[int, tuple[int, ...], int]]]:
    """Per image the channel, position and rank of its units."""
    found: dict[int, list[tuple[int, tuple[int, ...], int]]] = {}
    for channel, places in units.items():
        for rank, (number, place) in enumerate(places):
            found.setdefault(number, []).append((channel, place, rank))
    return found


# Ways of drawing


def half_strides(windows: UnitWindows) -> list[tuple[int, int]]:
    """None and half of a layer's stride, along both axes."""
    half = [round(step / 2) for step in windows.stride] if windows.stride else [0, 0]
    return [(down, right) for down in (0, half[0]) for right in (0, half[1])]


def in_every_way(raw: Tensor, guided: Tensor, moved: Tensor, patches: Tensor) -> dict[str, References]:
    """Projections (k, C, h, w) of units, drawn in every way; patches are as they are read."""
    signed = {
        "deconvnet": raw,
        "sigma 1": blurred(raw, 1.0),
        "sigma 2": blurred(raw, 2.0),
        "luminance": luminance(raw),
        "local contrast": local_contrast(raw),
        "phases": moved,
        "guided": guided,
        "guided, sigma 1": blurred(guided, 1.0),
    }
    drawn = {way: References(as_picture(small(x)), signed=True) for way, x in signed.items()}
    return {**drawn, "overlay": References(overlaid(patches, small_energy(raw)))}


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """Each channel of pictures (k, C, h, w), smoothed by a Gaussian."""
    return torch.stack([torch.stack([smoothed(plane, sigma) for plane in one.double()]) for one in pictures]).float()


def luminance(pictures: Tensor) -> Tensor:
    """The brightness of signed colours, as grey in three channels."""
    grey = (pictures * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return grey.expand_as(pictures).clone()


def local_contrast(pictures: Tensor) -> Tensor:
    """Each pixel divided by the root mean square around it (a Gaussian of a twelfth of the side)."""
    sigma = max(pictures.shape[-2:]) / 12
    around = blurred(pictures.square().sum(1, keepdim=True), sigma).clamp(min=0).sqrt()
    least = FLOOR * around.flatten(1).amax(1).view(-1, 1, 1, 1)
    return pictures / torch.maximum(around, least).clamp(min=1e-12)


def small_energy(pictures: Tensor) -> Tensor:
    """(k, 1, h, w), from 0 to 1, of the size of pictures as they are read."""
    sigma = 0.05 * max(pictures.shape[-2:])
    maps = torch.stack([energy(one, sigma) for one in pictures])[:, None].float()
    return small(maps)


def overlaid(patches: Tensor, heat: Tensor) -> Tensor:
    """Patches with the colour of their energy laid over them."""
    colour = torch.from_numpy(matplotlib.colormaps[HEAT](heat[:, 0].numpy())[..., :3]).float().permute(0, 3, 1, 2)
    return (1 - ALPHA * heat) * patches + ALPHA * heat * colour


def draw(seen: Mapping[str, Mapping[str, References]]) -> Figure:
    """Per name the first of the strongest units in every way, one row each."""
    ways = [way for way in WAYS if way != "another channel"]
    size = 1.45 * len(ways) + 0.3, 1.5 * len(seen) + 0.3
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    grid = figure.subplots(len(seen), len(ways), squeeze=False)
    for panels, (name, drawn) in zip(grid, seen.items(), strict=True):
        for way, panel in zip(ways, panels, strict=True):
            shown, signed = drawn[way].pictures[0], drawn[way].signed
            picture = signed_as_rgb(2 * shown - 1, 1.0) if signed else as_rgb(shown)
            panel.imshow(picture.numpy(), interpolation="nearest")
            panel.set(xticks=[], yticks=[])
        panels[0].set_ylabel(name, fontsize=8)
    for way, panel in zip(ways, grid[0], strict=True):
        panel.set_title(way, fontsize=10)
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
