"""Figures that can be read: sizes of text, lines and colours that can be told apart, keys of scales, and frames."""

from __future__ import annotations

import io
import itertools

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from matplotlib.text import Text

import deconvviz as dv
from deconvviz import figures
from deconvviz.figures import marks
from deconvviz.images import signed_as_rgb
from tests.figures.test_own_axes import with_figures
from tests.helpers.other_inputs import OfPairs, OfPictures, OfSignals, OfVolumes
from tests.helpers.public_functions import DATA, NET, QUIET

LEAST = 8  # points


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def said(figure):
    return " ".join(text.get_text().replace("\n", " ") for text in texts(figure))


@pytest.fixture(scope="module")
def every_figure():
    return {name: result.figure() for name, result in with_figures().items()}


def test_no_text_is_small(every_figure):
    small = {
        (name, text.get_text())
        for name, figure in every_figure.items()
        for text in texts(figure)
        if text.get_fontsize() < LEAST
    }
    assert small == set()


def test_lines_differ_by_more_than_colour(every_figure):
    """Lines with names of their own in one panel have other dashes or another marker."""
    for name, figure in every_figure.items():
        for axes in figure.findobj(matplotlib.axes.Axes):
            lines = [line for line in axes.lines if not line.get_label().startswith("_") and len(line.get_xdata()) > 1]
            looks = [(str(line._dash_pattern), line.get_marker()) for line in lines]
            assert len(set(looks)) == len(looks), name
    assert len({(str(style["linestyle"]), style["marker"]) for style in map(marks.line, range(49))}) == 49


def as_deuteranopes_see(colour):
    """An sRGB colour for an eye without green receptors, in CIE Lab (Viénot, Brettel and Mollon, 1999)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in matplotlib.colors.to_rgb(colour)]
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    seen = np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]])
    rgb = np.clip(np.linalg.inv(to_lms) @ seen @ to_lms @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in to_xyz @ rgb / np.array([0.9505, 1, 1.089])
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_colours_survive_deuteranopia():
    seen = [as_deuteranopes_see(colour) for colour in marks.COLOURS]
    apart = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 15
    usual = [as_deuteranopes_see(colour) for colour in matplotlib.colormaps["tab10"].colors[:7]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(usual, 2)) < 10, "the rule can tell"
    for kind, ends in (("sign", 2), ("heat", 3)):
        colours = [as_deuteranopes_see(colour) for colour in marks.ramp(kind)[:: (marks.KEY_STEPS - 1) // ends].numpy()]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 25
    brightness = [as_deuteranopes_see(colour)[0] for colour in marks.ramp("heat").numpy()]
    assert (np.diff(brightness) > 0).all()


# Texts within the canvas, however it is saved

LONG = "encoder.stages.3.blocks.11.mixer.pointwise_convolution_2_with_a_name_in_one_word"


def beyond(figure):
    """How far what is drawn leaves the canvas, in inches."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    boxes = [figure.get_tightbbox(renderer)]
    for axes in figure.findobj(matplotlib.axes.Axes):
        if legend := axes.get_legend():
            boxes.append(legend.get_window_extent(renderer).transformed(figure.dpi_scale_trans.inverted()))
    width, height = figure.get_size_inches()
    return max(max(-box.x0, -box.y0, box.x1 - width, box.y1 - height) for box in boxes)


def named(module, name):
    """A network whose only layer has a name of several parts."""
    for part in reversed(name.split(".")):
        parent = torch.nn.Module()
        parent.add_module(part, module)
        parent.forward = module.__call__
        module = parent
    return module


def test_nothing_is_drawn_beyond_the_canvas(every_figure):
    left = {name: round(beyond(figure), 2) for name, figure in every_figure.items()}
    assert {name: by for name, by in left.items() if by > 0.02} == {}


def few_and_long(channels):
    """Figures of one or two channels of a layer with a long name."""
    torch.manual_seed(0)
    net = dv.DeconvNet(named(torch.nn.Conv2d(channels, 2, 3), LONG))
    x = torch.rand(1, channels, 9, 9)
    one = net.project(x, LONG, channel=0)
    called = ["hartebeest or another animal of the plain, AUC 0.97 on held-out images"] * 2
    signals = dv.DeconvNet(named(torch.nn.Conv1d(2, 2, 5), LONG))
    signal = signals.project(torch.rand(1, 2, 40), LONG, channel=0)
    return {
        "one": one.figure(sigma=1.5),
        "whole": one.figure(crop=False, scale="shared"),
        "overlay": one.overlay(),
        "top of one": figures.top_grid([one], sigma=1.5, names=called),
        "top of two": figures.top_grid([one, one], overlay=0.6, names=called),
        "strip": net.reconstruct(x, LONG).figure(title=f"reconstructed from {LONG}"),
        "filter": net.filters(LONG).figure(channel=0),
        "map": net.activations(x, LONG).figure(channel=1),
        "comparison": dv.compare(net, x, layer=LONG, methods="guided", progress=False).figure(),
        "signal": signal.figure(sigma=1.5),
        "signal, overlay": signal.overlay(),
        "top of signals": figures.top_grid([signal], names=called),
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_figures_of_few_channels_with_long_names_are_not_clipped(channels):
    left = {name: round(beyond(figure), 2) for name, figure in few_and_long(channels).items()}
    assert {name: by for name, by in left.items() if by > 0.02} == {}


def test_lines_are_broken_where_they_are_too_wide():
    text = "features.9.expand3x3, deconvnet: projections (each on its own scale) and patches"
    for width in (0.8, 1.7, 3.5):
        lines = marks.wrapped(text, width, 11).split("\n")
        assert max(marks.inches(line, 11) for line in lines) <= width
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        for line, following in itertools.pairwise(lines):
            more = following.split(" ")[0].split(".")[0]
            assert marks.inches(f"{line} {more}", 11) > width, "a line is as full as it can be"
    assert marks.wrapped("a\n\nb", 1, 8) == "a\n\nb"
    assert marks.wrapped("W", 0.01, 8) == "W", "one character is not broken"


# Keys


def test_figures_of_signals_have_a_key():
    net, x = dv.DeconvNet(OfSignals()), torch.rand(1, 2, 40)
    p = net.project(x, "3", channel=[0, 1])
    words = "projection: below zero, zero, above zero; "
    for figure in (p.figure(), figures.top_grid([p]), net.reconstruct(x, "3").figure()):
        assert f"{words}each on its own scale" in said(figure)
    for figure in (p.figure(scale="shared"), figures.top_grid([p], scale="shared")):
        assert f"{words}all on one scale" in said(figure)


@pytest.mark.parametrize("name", ["MixedChannels", "ReadingTest", "NetworkDiff", "Circuit", "Filters"])
def test_figures_of_small_projections_have_a_key(every_figure, name):
    words = "zero (grey), above zero in each colour; all on one scale"
    if name != "Filters":  # which read three channels
        words = "zero (white), above zero; each on its own scale"
    assert f"below zero, {words}" in said(every_figure[name])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_key_says_what_the_colours_are(channels):
    net = dv.DeconvNet(OfPictures(channels))
    p = net.project(torch.rand(1, channels, 12, 12), "second", channel=[0, 1])
    zero = "grey" if channels == 3 else "white"
    for figure in (
        p.figure(),
        figures.top_grid([p]),
        net.reconstruct(torch.rand(1, channels, 9, 9), "second").figure(),
    ):
        assert f"below zero, zero ({zero}), above zero" in said(figure)
        assert "each on its own scale" in said(figure)
        ramps = [
            [patch.get_facecolor()[:3] for patch in legend.findobj(Rectangle) if patch.get_fill()]
            for axes in figure.findobj(matplotlib.axes.Axes)
            if (legend := axes.get_legend())
        ]
        (drawn,) = [ramp for ramp in ramps if len(ramp) >= marks.KEY_STEPS]
        steps = torch.linspace(-1, 1, marks.KEY_STEPS)
        expected = signed_as_rgb(steps.expand(channels, 1, -1), 1.0)[0]
        assert np.allclose(drawn[-marks.KEY_STEPS :], expected, atol=1e-6)
    for figure in (p.figure(scale="shared"), figures.top_grid([p], scale="shared")):
        assert "all on one scale" in said(figure)
        assert "each on its own scale" not in said(figure)
    assert "no energy (the image alone) to the highest" in said(p.overlay())


# Frames


def frames(figure):
    """The boxes that are framed in the only panel, each with its left and top edge and its size."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and not patch.get_fill()]
    return [(patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()) for patch in found]


def seen(model, x, place):
    """The box of pixels that a unit depends on, by autograd."""
    leaf = x.clone().requires_grad_()
    model(leaf)[place].backward()
    rows, columns = leaf.grad[0].abs().sum(0).nonzero().T
    return int(rows.min()), int(columns.min()), int(rows.max() + 1 - rows.min()), int(columns.max() + 1 - columns.min())


def test_whole_images_have_a_frame_around_the_receptive_field():
    torch.manual_seed(0)
    model, x = OfPictures(), torch.rand(1, 3, 20, 24)
    p = dv.DeconvNet(model).project(x, "second", channel=1, position=(13, 5))
    top, left, height, width = seen(model, x, (0, 1, 13, 5))
    figure = p.figure(crop=False)
    enlarge = -(-96 // (2 * 24 + 3))
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    blank = (sheet != 1).any(axis=(1, 2)).nonzero()[0][0]  # rows above the tile: room for its label
    beside = (sheet != 1).any(axis=(0, 2)).nonzero()[0][0]
    expected = [
        (beside + enlarge * (left + shift) - 0.5, blank + enlarge * top - 0.5, enlarge * width, enlarge * height)
        for shift in (0, 24 + 1)
    ]
    assert np.allclose(frames(figure), expected)
    assert len(frames(p.overlay())) == 1
    assert frames(p.figure()) == frames(p.overlay(crop=True)) == []


def test_frames_of_volumes_of_pairs_and_at_borders():
    volume = dv.DeconvNet(OfVolumes()).project(torch.rand(1, 1, 12, 14, 16), "3", channel=0, position=(1, 2, 3))
    assert len(frames(volume.figure(crop=False))) == 6
    pair = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16), torch.rand(1)
    of_pair = dv.DeconvNet(OfPairs()).project(pair, "both", channel=0, position=(0, 0))
    sizes = {(round(width), round(height)) for _, _, width, height in frames(of_pair.figure(crop=False))}
    enlarge = -(-96 // (4 * 16 + 5))
    assert sizes == {(3 * enlarge, 3 * enlarge), (5 * enlarge, 5 * enlarge)}, "at the border, as far as it lies inside"
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(27, 2))
    assert frames(dv.DeconvNet(model).project(torch.rand(1, 3, 3, 3), "1", channel=0).figure(crop=False)) == []


def test_names_of_many_layers_are_left_out_and_not_small():
    """Every second or third layer is named, where all names would not have room."""
    torch.manual_seed(0)
    net = dv.DeconvNet(torch.nn.Sequential(*(torch.nn.Conv2d(1, 1, 1) for _ in range(60))).eval())
    images, boxes = torch.rand(8, 1, 4, 4), {"corner": [(0, 0, 2, 2)] * 8}
    labelled, quiet = (images, torch.arange(8) % 2), {"progress": False}
    found = [
        dv.scan(net, images, **quiet),
        dv.experiments.correspondence(net, images, boxes, draws=1, **quiet),
        dv.experiments.decoding(net, images, seeds=1, **quiet),
        dv.experiments.diagnose(net, images, **quiet),
        dv.experiments.probe(net, labelled, folds=2, epochs=1, **quiet),
        dv.evidence.clarity(net, images, **quiet),
        dv.evidence.randomisation(net, images[:1], "59", methods="gradient", seeds=1, **quiet),
    ]
    layers = {str(number) for number in range(60)}
    for result in found:
        figure = result.figure()
        named = {text for axes in figure.findobj(matplotlib.axes.Axes) for text in names_of(axes.xaxis, axes.yaxis)}
        assert 15 <= len(named & layers) <= 40, type(result).__name__
        assert min(text.get_fontsize() for text in texts(figure)) >= LEAST, type(result).__name__


def names_of(*axes):
    return [text.get_text() for axis in axes for text in axis.get_ticklabels()]


def test_long_names_of_classes_are_shortened():
    """A name keeps its beginning, and what follows it."""
    torch.manual_seed(0)
    net = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)).eval())
    images, long = torch.rand(40, 1, 6, 6), "a class name that goes on and on " * 4
    top = dv.scan(net, (images, torch.arange(40) % 2), classes=[long, f"{long}!"], progress=False)
    for figure in (top.labels["0"].figure(), dv.project_top(net, images, top, layer="0", progress=False).figure()):
        named = [line for text in texts(figure) for line in text.get_text().split("\n") if "…" in line]
        assert len(named) == 2
        assert all("a class name" in line and len(line) <= 50 for line in named)
    assert all(", AUC 0." in line for line in named)  # of the strongest images


def test_nothing_of_a_figure_of_one_channel_is_cut():
    """Title and key wrap where they are wider than the two squares."""
    top = dv.scan(NET, DATA, layers="2", k=3, **QUIET)
    figure = dv.project_top(NET, DATA, top, layer="2", channel=[0], **QUIET).figure()
    figure.savefig(io.BytesIO())
    right, width = 0.0, figure.bbox.width
    for text in texts(figure):
        if not any(letter.isalpha() for letter in text.get_text()):  # of the axes, which are hidden
            continue
        box = text.get_window_extent()
        assert box.x0 >= 0, text.get_text()
        right = max(right, box.x1)
    assert 0.5 * width < right <= width
