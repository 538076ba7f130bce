"""Mining: `scan` beside a bare loop over the same images, from memory and from JPEG files, and the atlas."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

import deconvviz as dv
from benchmarks import timing
from benchmarks.gpu.settings import TF32, TF32_LAST, Arithmetic, Row, Run, at_least, at_most
from benchmarks.rivals import build
from benchmarks.timing import Contender

MODELS = (("vgg16", 64, 2048, 8.0), ("resnet50", 128, 4096, 20.0))  # batch, images, percent over the bare loop
AUTOCAST = "bfloat16 by autocast, channels_last"
KINDS = {TF32.name: TF32, TF32_LAST.name: TF32_LAST, AUTOCAST: TF32_LAST}
WORKERS = 16


def scans(run: Run) -> list[Row]:
    """All convolutions, images in the host's memory, k = 9."""
    timing.heading("scan", ("model", "arithmetic", "batch", "bare, images/s", "scan, images/s", "overhead", "goal", ""))
    goals = []
    for name, batch, count, goal in MODELS:
        images = torch.randn(run.count(count, 8), 3, run.side, run.side, generator=torch.Generator().manual_seed(1))
        measure = functools.partial(_scanned, images, run.count(batch), goal)
        goals += run.each(measure, [(name, kind) for kind in KINDS])
    return goals


def _scanned(images: Tensor, batch: int, goal: float, run: Run, name: str, kind: str) -> Row:
    arithmetic = KINDS[kind]
    with arithmetic.switched(), _autocast(run, kind == AUTOCAST):
        return _scan(run, name, images, batch, goal, arithmetic, kind)


@contextlib.contextmanager
def _autocast(run: Run, on: bool) -> Iterator[None]:
    with torch.autocast(run.device, dtype=torch.bfloat16, enabled=on):
        yield


def _scan(run: Run, name: str, images: Tensor, batch: int, goal: float, arithmetic: Arithmetic, label: str) -> Row:
    model = arithmetic.applied(build(name, run.device))
    net = dv.DeconvNet(model)
    layers = [each for each, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    count = len(images)
    found = run.measure(
        {
            "bare": Contender(lambda: bare(run, model, images, batch), count),
            "scan": Contender(lambda: dv.scan(net, images, layers=layers, batch_size=batch, progress=False), count),
        }
    )
    overhead = 100 * (timing.ratio(found["scan"], found["bare"])[1] - 1)
    rates = [f"{1 / found[each].median:,.0f}" for each in ("bare", "scan")]
    verdict = run.verdict(overhead, goal, at_most=True)
    timing.line([name, label, str(batch), *rates, f"{overhead:+.1f} %", f"{goal:g} %", verdict])
    return at_most(f"scan of {name}, {label}: percent over the bare loop", goal, overhead)


@torch.inference_mode()
def bare(run: Run, model: nn.Module, images: Tensor, batch: int) -> None:
    """The loop that somebody would write who wants nothing but the outputs."""
    for part in images.split(batch):
        model(part.pin_memory().to(run.device, non_blocking=True) if run.device == "cuda" else part)


# From files


def write_photographs(folder: Path, count: int) -> None:
    """JPEG files of 500 x 375 pixels: coloured clouds, which decode as slowly as photographs do."""
    generator = torch.Generator().manual_seed(2)
    for number in range(count):
        clouds = sum(_noise(side, generator) / 2**octave for octave, side in enumerate((4, 16, 64, 256)))
        picture = (127 + 60 * clouds).clamp(0, 255).byte()
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number:05d}.jpg", quality=90)


def _noise(side: int, generator: torch.Generator) -> Tensor:
    small = torch.randn(1, 3, side, side, generator=generator)
    return nn.functional.interpolate(small, size=(375, 500), mode="bilinear")[0]


class _Photographs(torch.utils.data.Dataset[Tensor]):
    """The loader that somebody would write: torchvision's transforms for ImageNet."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.iterdir())
        norm = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self.transform = transforms.Compose(
            [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), norm]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tensor:
        picture: Tensor = self.transform(Image.open(self.files[number]).convert("RGB"))
        return picture


def files(run: Run) -> list[Row]:
    """ResNet-50 over JPEG files: loading and decoding are part of it."""
    workers = min(WORKERS, os.cpu_count() or 1)
    columns = ("model", "files", "workers", "bare, images/s", "scan, images/s", "scan / bare", "goal", "")
    timing.heading("scan of JPEG files of 500 x 375", columns)
    model = build("resnet50", run.device)
    net = dv.DeconvNet(model, preprocess=dv.images.Preprocess(size=224))
    with tempfile.TemporaryDirectory() as name:
        folder, count = Path(name), run.count(3000, 8)
        _in_processes(folder, count, workers)

        def by_hand() -> None:
            loader = torch.utils.data.DataLoader(
                _Photographs(folder), batch_size=128, num_workers=workers, pin_memory=run.device == "cuda"
            )
            with torch.inference_mode():
                for part in loader:
                    model(part.to(run.device, non_blocking=True))

        def scan() -> None:
            dv.scan(net, folder, batch_size=128, workers=workers, progress=False)

        short = Run(run.device, run.smoke, min(run.rounds, 2))
        found = short.measure({"bare": Contender(by_hand, count), "scan": Contender(scan, count)})
    rate = timing.ratio(found["bare"], found["scan"])[1]
    rates = [f"{1 / found[each].median:,.0f}" for each in ("bare", "scan")]
    timing.line(["resnet50", str(count), str(workers), *rates, f"{rate:.2f}", "0.95", run.verdict(rate, 0.95)])
    return [at_least("scan of JPEG files, ResNet-50: images per second / the bare loader's", 0.95, rate)]


def _in_processes(folder: Path, count: int, workers: int) -> None:
    """Write the files, many of them by several processes."""
    if count < 100:
        write_photographs(folder, count)
        return
    parts = [folder / f"part{number}" for number in range(workers)]
    for part in parts:
        part.mkdir()
    context = torch.multiprocessing.get_context("spawn")
    share = -(-count // workers)
    with context.Pool(workers) as pool:
        pool.starmap(write_photographs, [(part, share) for part in parts])
    written = 0
    for part in parts:
        for file in sorted(part.iterdir()):
            if written < count:
                file.rename(folder / f"{part.name}-{file.name}")
                written += 1
            else:
                file.unlink()
        part.rmdir()


# The atlas


def atlas(run: Run, photographs: Path | None) -> list[Row]:
    """SqueezeNet, all 26 convolutions, 3,944 channels, with evidence."""
    timing.heading("Atlas of SqueezeNet with evidence", ("layers", "images", "scan, s", "atlas, s", "goal", ""))
    model = build("squeezenet1_1", run.device)
    net = dv.DeconvNet(model, preprocess=dv.images.Preprocess(size=run.side))
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    layers = layers[: run.count(len(layers), 2)]
    with tempfile.TemporaryDirectory() as name:
        folder = photographs or Path(name) / "photographs"
        if photographs is None:
            folder.mkdir()
            write_photographs(folder, run.count(128, 12))
        scanned: list[dv.TopActivations] = []
        seconds = _timed(run, lambda: scanned.append(dv.scan(net, folder, layers=layers, progress=False)))
        out = Path(name) / "atlas"
        built = _timed(run, lambda: dv.build_atlas(net, folder, scanned[0], out=out, progress=False))
    verdict = run.verdict(seconds + built, 60, at_most=True)
    timing.line([str(len(layers)), str(scanned[0].count), timing.number(seconds), timing.number(built), "60", verdict])
    return [at_most("atlas of SqueezeNet with evidence, scan included: seconds", 60, seconds + built)]


def _timed(run: Run, call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    if run.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
