"""What makes a projection of a deep layer readable: the comparison in docs/readable.md, as pictures and by the test of reading.

    python -m benchmarks.readable --squeezenet FILE --vgg16 FILE --photos FOLDER [FOLDER ...] --out out/readable

Each way of drawing a projection is read by the observers of `dv.reading_test`, on the same questions. The weights are those
of `benchmarks.reading`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

import deconvviz as dv
from benchmarks.reading import files_in, vgg16
from benchmarks.timing import circumstances
from deconvviz.figures.marks import HEAT
from deconvviz.images import Preprocess, as_rgb, signed_as_rgb, to_input
from deconvviz.models.by_name import load_model
from deconvviz.reading.conditions import PictureSource, References, as_picture
from deconvviz.reading.pieces import small
from deconvviz.results.energy import energy, smoothed

LAYERS = {"squeezenet": ("features.7.expand3x3", "features.10.expand3x3"), "vgg16": ("features.21",)}
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
    parser.add_argument("--photos", nargs="+", metavar="DIR", required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    paths = [path for folder in given.photos for path in files_in(folder)]
    found = {"circumstances": circumstances("cpu"), "images": len(paths)}
    for name, layers in LAYERS.items():
        if not (weights := getattr(given, name)):
            continue
        model = vgg16(weights) if name == "vgg16" else load_model("torchvision:squeezenet1_1", weights).model
        net = dv.DeconvNet(model, preprocess=Preprocess(given.size))
        for layer in layers:
            started = time.perf_counter()
            scores = read(net, paths, layer, given)
            found[f"{name} {layer}"] = {**scores, "seconds": time.perf_counter() - started}
            print(f"\n{name}, {layer}\n{json.dumps(scores, indent=1)}", flush=True)
            (given.out / "readable.json").write_text(json.dumps(found, indent=1) + "\n")


def read(net: dv.DeconvNet, paths: Sequence[str], layer: str, given: argparse.Namespace) -> dict[str, object]:
    """The mean score of each way and its interval, per observer; the pictures are written."""
    Treated.seen = {}
    channels = net.layers(torch.zeros(1, 3, given.size, given.size))[layer].shape[1]
    chosen = torch.randperm(channels, generator=torch.Generator().manual_seed(0))[: given.channels].tolist()
    with (
        mock.patch("deconvviz.reading.reading.PictureSource", Treated),
        mock.patch("deconvviz.reading.reading.chosen_conditions", lambda *_: list(WAYS)),
    ):
        test = dv.reading_test(
            net, paths, layer, channel=sorted(chosen), questions=given.questions, batch_size=8, progress=False
        )
    draw(Treated.seen).savefig(given.out / f"{type(net.model).__name__}-{layer}.png", dpi=110)
    return {
        observer: {
            way: [round(number, 3) for number in (score.mean, score.low, score.high)]
            for way in WAYS
            if (score := test.score(observer, way))
        }
        for observer in test.observers
    }


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
            signed = {
                "deconvnet": raw[channel],
                "sigma 1": blurred(raw[channel], 1.0),
                "sigma 2": blurred(raw[channel], 2.0),
                "luminance": luminance(raw[channel]),
                "local contrast": local_contrast(raw[channel]),
                "phases": moved[channel],
                "guided": guided[channel],
                "guided, sigma 1": blurred(guided[channel], 1.0),
            }
            drawn = {way: References(as_picture(small(x)), signed=True) for way, x in signed.items()}
            drawn["overlay"] = References(overlaid(plain[channel]["patches"].pictures, small_energy(raw[channel])))
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
        return {channel: torch.stack([x for _, x in sorted(parts, key=lambda p: p[0])]) for channel, parts in cut.items()}

    def _phases(self, channels: Sequence[int]) -> dict[int, Tensor]:
        """The mean of the projections of the image moved by none and by half of the stride, moved back."""
        stride = self.windows.stride
        half = [round(step / 2) for step in stride] if stride else [0, 0]
        shifts = [(down, right) for down in (0, half[0]) for right in (0, half[1])]
        parts = [self._whole("deconvnet", channels, shift) for shift in shifts]
        return {channel: torch.stack([part[channel] for part in parts]).mean(0) for channel in channels}


def by_image(
    units: dict[int, list[tuple[int, tuple[int, ...]]]],
) -> dict[int, list[tuple[int, tuple[int, ...], int]]]:
    """Per image the channel, position and rank of its units."""
    found: dict[int, list[tuple[int, tuple[int, ...], int]]] = {}
    for channel, places in units.items():
        for rank, (number, place) in enumerate(places):
            found.setdefault(number, []).append((channel, place, rank))
    return found


# Ways of drawing


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


def draw(seen: dict[int, dict[str, References]]) -> Figure:
    """The first of the strongest images of some channels, in every way."""
    channels = sorted(seen)[:SHOWN]
    ways = [way for way in WAYS if way != "another channel"]
    figure = Figure(figsize=(1.45 * len(ways), 1.55 * 2 * len(channels) + 0.3), facecolor="white", layout="constrained")
    grid = figure.subplots(2 * len(channels), len(ways), squeeze=False)
    for row, panels in enumerate(grid):
        channel, rank = channels[row // 2], row % 2
        for way, panel in zip(ways, panels, strict=True):
            shown = seen[channel][way]
            picture = shown.pictures[rank]
            signed = signed_as_rgb(2 * picture - 1, 1.0) if shown.signed else as_rgb(picture)
            panel.imshow(signed.numpy(), interpolation="nearest")
            panel.set(xticks=[], yticks=[])
            if row == 0:
                panel.set_title(way, fontsize=9)
            if way == ways[0]:
                panel.set_ylabel(f"channel {channel}", fontsize=8)
    return figure


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
