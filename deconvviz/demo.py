"""The demonstration: a page that shows what the bundled network sees in the bundled digits."""

from __future__ import annotations

import base64
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from captum.attr import Deconvolution, GuidedBackprop, IntegratedGradients, Saliency
from matplotlib.figure import Figure
from torch import Tensor

from deconvviz import __version__, figures
from deconvviz.atlas.build import build_atlas
from deconvviz.atlas.output_folder import check_folder
from deconvviz.data import MnistTest
from deconvviz.errors import InputError, OutputError
from deconvviz.figures.dark import darkened
from deconvviz.io.atomic import check_writable, replacing
from deconvviz.io.locks import alone
from deconvviz.io.ownership import UNSIGNED, is_ours, picture_of, signed
from deconvviz.io.pages import web_page
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.mining.project_top import project_top
from deconvviz.mining.scan import scan
from deconvviz.models import mnist_cnn
from deconvviz.net import DeconvNet
from deconvviz.results import TopActivations

DEMO_LAYERS = ("conv1", "conv2")
TOP_IMAGES = 9
ATLAS_CHANNELS = {"fc1": range(16)}  # with pictures in the atlas; every channel of the other layers has them
DEMO_BATCH = 128  # images that are recorded together: they are small
SECTIONS = (
    *("filters-conv1", "filters-conv2", "activations-conv1", "activations-conv2", "top-conv1", "top-conv2"),
    *("reconstructions", "captum"),
)
SILENT_AMONG = 200  # test images among which one is looked for on which a unit is silent
DIGITS = (0, 1, 2, 3)  # indices of test images for reconstructions: a 7, a 2, a 1 and a 0


@dataclass(frozen=True)
class Section:
    """One picture of the page, with a heading and an explanation."""

    name: str
    heading: str
    words: str
    figure: Figure


def build_demo(out: str | os.PathLike[str], progress: bool = True) -> Path:
    """Write the demonstration's pictures (PNG), its page and an atlas into `out`; the path of its ``index.html``.

    The page holds the pictures itself, the atlas lies beside it in ``atlas``; neither needs a network. Of the first
    linear layer, the atlas shows 16 channels, so that it is made in seconds.
    Pictures, page and atlas that are there already are replaced where the library wrote them and nobody has changed
    them. Raises InputError where `out` is a file, OutputError where another job writes there or one of the files is
    somebody's, and what `deconvviz.build_atlas` raises for the folder of the atlas.
    """
    folder = Path(out)
    if os.path.isfile(out):
        raise InputError(f"{os.fspath(out)!r} is a file; name a folder to write the demonstration to")
    for name in ("index.html", *(f"{picture}.png" for picture in SECTIONS)):
        check_writable(folder / name)
        if os.path.lexists(folder / name) and not is_ours(folder / name):
            shown = os.fspath(folder / name)
            raise OutputError(f"{shown!r} was not written by deconvviz, or was changed since; name another folder")
    check_folder(folder / "atlas")
    with Restored(alone(folder)):
        return _built(folder, progress)


def _built(folder: Path, progress: bool) -> Path:
    """See `build_demo`."""
    started = time.monotonic()
    model, data = mnist_cnn(), MnistTest()
    images, labels = data.tensors
    net = DeconvNet(model)
    top = scan(net, data, k=TOP_IMAGES, batch_size=500, progress=progress)
    steps: list[Callable[[], list[Section]]] = [
        lambda: _filter_sections(net),
        lambda: _activations(net, images),
        lambda: _top_activations(net, top, images),
        lambda: _reconstructions(net, images),
        lambda: _beside_captum(net, images, labels),
    ]
    sections: list[Section] = []
    for step in progress_bar(steps, desc="demo", unit="section", shown=progress):
        sections.extend(step())
    pictures = []
    for section in progress_bar(sections, desc="pictures", unit="picture", shown=progress):
        png = picture_of(section.figure, "png", dpi=130)
        with replacing(folder / f"{section.name}.png") as beside:
            beside.write_bytes(png)
        dark = picture_of(darkened(section.figure), "png", dpi=130)
        encoded = {"png": base64.b64encode(png).decode(), "dark": base64.b64encode(dark).decode()}
        pictures.append({**vars(section), **encoded})
    title = "What a small network sees in digits"
    atlas, few = folder / "atlas", ATLAS_CHANNELS
    build_atlas(net, data, top, out=atlas, channel=few, batch_size=DEMO_BATCH, title=title, progress=progress)
    channels = {layer: len(values) for layer, values in top.values.items()}
    strongest = {layer: values[list(few.get(layer, range(len(values)))), 0] for layer, values in top.values.items()}
    pictured = sum(int((values > 0).sum()) for values in strongest.values())  # the others never respond
    page = web_page(
        "demo.html",
        title=title,
        generator=UNSIGNED,
        introduction=(
            "A network with two convolutions and two linear layers reads handwritten digits. As in Zeiler and "
            "Fergus, one forward pass is recorded and then reversed: unpool, rectify, filter with the transposed "
            "weights. The resulting projection shows in pixels what activated a unit. Projections are signed: at "
            "red pixels a brighter image would increase the activation, at blue pixels it would decrease it."
        ),
        sections=pictures,
        atlas="atlas/index.html",
        channels=f"{pictured} of {sum(channels.values())}",
        footer=f"deconvviz {__version__}, torch {torch.__version__}; {time.monotonic() - started:.0f} seconds.",
    )
    with replacing(folder / "index.html") as beside:
        beside.write_bytes(signed(page.encode()))
    return folder / "index.html"


def _filter_sections(net: DeconvNet) -> list[Section]:
    first, second = (net.filters(layer) for layer in DEMO_LAYERS)
    size = first.weight.shape[2:]
    return [
        Section(
            "filters-conv1",
            "Filters of the first convolution",
            f"Each of the {len(first)} squares is one filter of {size[0]} by {size[1]} pixels. They "
            "detect strokes and edges in different directions, with a bright side (red) and a dark one (blue).",
            first.figure(columns=8),
        ),
        Section(
            "filters-conv2",
            "Filters of the second convolution",
            f"Each block is one filter, with one small square for each of its {second.weight.shape[1]} input channels. "
            "The weights alone say little: what such a filter detects depends on what its input channels detect.",
            second.figure(columns=8, planes=range(second.weight.shape[1])),
        ),
    ]


def _activations(net: DeconvNet, images: Tensor) -> list[Section]:
    trace = net.trace(images[:1], DEMO_LAYERS)
    return [
        Section(
            f"activations-{layer}",
            f"Activation maps after the {order} convolution",
            words,
            net.activations(trace, layer).figure(columns=9),
        )
        for layer, order, words in (
            ("conv1", "first", "The same 7 after every filter: each map shows where its kind of edge is."),
            ("conv2", "second", "These maps are coarser: a channel responds to a combination, such as a corner or the "
             "end of a stroke, and is silent elsewhere. The rectifier that follows removes negative values (blue)."),
        )
    ]  # fmt: skip


def _top_activations(net: DeconvNet, top: TopActivations, images: Tensor) -> list[Section]:
    sections = []
    for layer, order in zip(DEMO_LAYERS, ("first", "second"), strict=True):
        found = project_top(net, images, top, layer=layer, batch_size=DEMO_BATCH, progress=False)
        sections.append(
            Section(
                f"top-{layer}",
                f"The nine strongest images of every channel, {order} convolution",
                f"The {TOP_IMAGES} of {top.count:,} test images that activate each channel of {layer} most: "
                "on the left the projection, on the right the image patch. "
                + (
                    "Each channel detects one kind of stroke, at one angle."
                    if layer == "conv1"
                    else "The patches differ, and the projections look alike: the same bend, crossing or stroke end in "
                    "each. In part that is the channel's own filters: where the same unit is silent, its projection "
                    f"has a cosine of {silent_control(net, top, images, layer):.2f} with that of the strongest image "
                    "(1: the same picture)."
                ),
                found.figure(columns=4),
            )
        )
    return sections


def silent_control(net: DeconvNet, top: TopActivations, images: Tensor, layer: str) -> float:
    """How alike projections of a unit are where it is strongest and where it is silent: the mean cosine over channels.

    The unit is the same in both: the channel at the position of its strongest activation. It is silent on the first
    image, of `SILENT_AMONG`, on which it is not above zero there; channels that are never silent are left out.

    Args:
        net: The network.
        top: A scan of the images.
        images: The images.
        layer: A layer of maps with two axes.
    """
    maps = net.trace(images[:SILENT_AMONG], layer).activations[layer]
    strong: list[tuple[int, int, tuple[int, int]]] = []
    silent: list[tuple[int, int, tuple[int, int]]] = []
    for channel, ((row, column), *_) in enumerate(top.positions[layer].tolist()):
        off = (maps[:, channel, row, column] <= 0).nonzero().flatten().tolist()
        if off and float(top.values[layer][channel, 0]) > 0:
            strong.append((len(strong), channel, (row, column)))
            silent.append((off[0], channel, (row, column)))
    strongest = images[[int(top.images[layer][channel, 0]) for _, channel, _ in strong]]
    projected = net.project_units(strongest, layer, strong, seed="one").pixels.flatten(1)
    control = net.project_units(images[:SILENT_AMONG], layer, silent, seed="one").pixels.flatten(1)
    return float(torch.nn.functional.cosine_similarity(projected, control).mean())


def _reconstructions(net: DeconvNet, images: Tensor) -> list[Section]:
    chosen = images[list(DIGITS)]
    layers = ("conv1", "pool1", "conv2", "pool2", "fc1", "fc2")
    trace = net.trace(chosen, layers)
    return [
        Section(
            "reconstructions",
            "Images reconstructed from whole layers",
            "All activations of a layer are projected at once. The first layers still contain the digit, pooling "
            "makes it coarser, and after the linear layers only what distinguishes the classes is left.",
            figures.reconstruction_strip([net.reconstruct(trace, layer) for layer in layers]),
        )
    ]


def _beside_captum(net: DeconvNet, images: Tensor, labels: Tensor) -> list[Section]:
    image, target = images[:1], int(labels[0])
    attributions = {"deconvviz": net.project(image, "fc2", channel=target, seed="one").pixels[0]}
    model = mnist_cnn().eval()  # Captum's hooks stay on a copy
    with Restored(warnings.catch_warnings()):
        warnings.simplefilter("ignore")  # Captum announces its hooks
        for method in (Deconvolution, GuidedBackprop, Saliency, IntegratedGradients):
            pixels = method(model).attribute(image.clone().requires_grad_(), target=target)
            attributions[method.__name__] = pixels.detach()[0]
    difference = (attributions["deconvviz"] - attributions["Deconvolution"]).norm() / attributions["deconvviz"].norm()
    return [
        Section(
            "captum",
            "Comparison with Captum",
            f"Why {target}? The same digit and class, explained by deconvviz and by four of Captum's methods, each on "
            "its own symmetric scale. On a simple network like this one, Captum's Deconvolution agrees with deconvviz "
            f"(relative difference {float(difference):.0e}); with functional or shared rectifiers it does not.",
            figures.attribution_strip(image[0], attributions),
        )
    ]
