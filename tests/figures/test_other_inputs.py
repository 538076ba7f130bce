"""Figures of signals, volumes, pictures with the channels last, lists of pictures, several inputs, videos and numbers.

What is drawn is compared with gradients by autograd, or with the figure of the same network of plain pictures.
"""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import deconvviz as dv
from deconvviz import figures
from deconvviz.data.arrays import ArrayLayoutWarning
from deconvviz.errors import InputError
from deconvviz.images import as_rgb, display_scale, signed_as_rgb
from deconvviz.results import Projection
from tests.helpers.other_inputs import ChannelsLast, OfLists, OfPairs, OfPictures, OfSignals, OfVolumes, cases

SAMPLE, CHANNEL = 1, 2
KINDS = list(cases())


def drawn(figure):
    picture = io.BytesIO()
    figure.savefig(picture, dpi=50)
    return np.asarray(Image.open(picture).convert("RGB"))


def panels(figure):
    """Its axes but the key's."""
    return [axes for axes in figure.findobj(Axes) if axes.get_legend() is None]


def gradients(model, place, *inputs):
    """The gradient of one unit of the model's output with respect to each input."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    model(*leaves)[place].backward()
    return [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_drawn(kind, tmp_path):
    model, inputs, layer = cases()[kind]
    net = dv.DeconvNet(model)
    p = net.project(inputs, layer, channel=[0, 1])
    assert len(np.unique(drawn(p.figure()).reshape(-1, 3), axis=0)) > 10
    for figure in (p[0].overlay(), p[1].figure(crop=False, scale="shared"), net.reconstruct(inputs, layer).figure()):
        assert figure.axes or figure.subfigs
    loaded = Projection.load(p.save(tmp_path / "p.safetensors"))
    for held in ("others", "other_images", "other_fields"):
        assert [*getattr(loaded, held)] == [*getattr(p, held)]
    assert len(str(p).splitlines()) == 1


@pytest.mark.parametrize("kind", ["signals", "volumes", "numbers"])
def test_the_strongest_of_a_dataset_are_drawn(kind):
    model, inputs, layer = cases()[kind]
    net = dv.DeconvNet(model)
    top = dv.scan(net, inputs, layers=[layer], progress=False)
    found = dv.project_top(net, inputs, top, channel=[0, 1, 2], progress=False)
    figure = found.figure()
    assert len(np.unique(drawn(figure).reshape(-1, 3), axis=0)) > 10


# Signals


def test_lines_of_a_signal_and_its_projection_are_on_one_axis_of_time():
    model, x = OfSignals(), torch.rand(2, 2, 40)
    p = dv.DeconvNet(model, "gradient").project(x, "3", channel=CHANNEL, position=(7,), seed="one")[SAMPLE]
    (gradient,) = gradients(model, (SAMPLE, CHANNEL, 7), x)
    seen = gradient[SAMPLE].abs().sum(0).nonzero().flatten()
    first, last = int(seen[0]), int(seen[-1]) + 1
    above, below = panels(p.figure(rate=50))
    assert np.allclose(above.lines[0].get_xdata(), np.arange(first, last) / 50)
    assert (above.get_xlim(), below.get_xlabel()) == (below.get_xlim(), "seconds")
    for axes, expected in ((above, x[SAMPLE]), (below, gradient[SAMPLE])):
        curves = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == last - first]
        shifts = [
            float(np.mean(curve - values.numpy()))
            for curve, values in zip(curves, expected[:, first:last], strict=True)
        ]
        assert shifts[0] > 0  # above the second
        for curve, values, shift in zip(curves, expected[:, first:last], shifts, strict=True):
            assert np.allclose(curve - shift, values.numpy(), atol=1e-6)
    assert panels(p.figure())[1].get_xlabel() == "sample"
    whole = panels(p.figure(crop=False))[0]
    assert whole.get_xlim() == (-0.5, 39.5)


def test_channels_of_a_signal_at_other_levels_keep_to_their_places():
    """Their levels had put each line beside its neighbours', and hidden how it goes."""
    torch.manual_seed(0)
    levels = torch.tensor([500.0, -3.0, 80.0])[None, :, None]
    waves = torch.rand(1, 3, 30) * torch.tensor([1.0, 4.0, 2.0])[None, :, None]
    p = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv1d(3, 2, 9))).project(waves + levels, "0", channel=0)
    first, last = p.receptive_fields[0, 0].tolist()
    shown = waves[0, :, first:last]
    middles = (shown.amax(1) + shown.amin(1)) / 2
    figure = p.figure()
    axes = panels(figure)[0]
    ticks = axes.get_yticks()
    lane = ticks[0] - ticks[1]
    assert lane == pytest.approx(1.1 * float((shown.amax(1) - shown.amin(1)).max()), rel=1e-4)
    for line, tick, wave, middle in zip(axes.lines, ticks, shown, middles, strict=True):
        assert np.allclose(line.get_ydata() - tick, (wave - middle).numpy(), atol=1e-4)
        assert np.abs(line.get_ydata() - tick).max() < lane / 2
    key = panels(figure)[0].figure.axes[-1].get_legend().get_texts()[0].get_text()
    assert key.replace("\n", " ").endswith("signal: each channel about the middle of its range")
    assert "middle" not in str(panels(one_channel().figure())[0].figure.axes[-1].get_legend().get_texts()[0].get_text())


def one_channel():
    return dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv1d(1, 2, 9))).project(torch.rand(1, 1, 30), "0", channel=0)


def test_many_channels_of_a_signal_at_other_levels_are_grey_in_the_middle():
    torch.manual_seed(0)
    waves = torch.rand(1, 20, 30)
    levels = 100 * torch.rand(1, 20, 1)
    p = dv.DeconvNet(torch.nn.Sequential(torch.nn.Conv1d(20, 2, 9))).project(waves + levels, "0", channel=0)
    first, last = p.receptive_fields[0, 0].tolist()
    shown = waves[0, :, first:last]
    middles = (shown.amax(1, keepdim=True) + shown.amin(1, keepdim=True)) / 2
    (drawn,) = panels(p.figure())[0].images
    expected = 0.5 + (shown - middles) / (2 * (shown - middles).abs().max())
    assert np.allclose(drawn.get_array(), expected.numpy(), atol=1e-4)
    assert drawn.get_clim() == (0, 1)


def test_a_signal_with_its_channels_last_is_drawn_as_one_with_them_first():
    class Turned(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = OfSignals()

        def forward(self, x):
            return self.inner(x.transpose(1, 2))

    model, x = Turned(), torch.rand(1, 2, 40)
    last = dv.DeconvNet(model).project(x.transpose(1, 2), "inner.3", channel=0)
    first = dv.DeconvNet(model.inner).project(x, "3", channel=0)
    curves = [[line.get_ydata() for axes in panels(p.figure(crop=False)) for line in axes.lines] for p in (last, first)]
    assert len(curves[0]) == len(curves[1]) > 3
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*curves, strict=True))


@pytest.mark.parametrize("rate", [0, -3, "fast", True, float("nan")])
def test_rates_that_are_none(rate):
    p = dv.DeconvNet(OfSignals()).project(torch.rand(1, 2, 40), "3", channel=0)
    with pytest.raises(InputError, match="rate is "):
        p.figure(rate=rate)
    for image in (figures.projection_image, figures.overlay_image, lambda p: figures.top_image([p])):
        with pytest.raises(InputError, match=r"^signals are drawn as lines, not as tiles; use "):
            image(p)


# Volumes


def test_three_slices_through_the_strongest_place():
    model, x = OfVolumes(), torch.rand(1, 1, 12, 14, 16) * 2
    p = dv.DeconvNet(model, "gradient").project(x, "3", channel=CHANNEL, position=(1, 2, 3), seed="one")
    (gradient,) = gradients(model, (0, CHANNEL, 1, 2, 3), x)
    volume = gradient[0, 0]
    place = np.unravel_index(int(volume.abs().argmax()), volume.shape)
    end = float(np.partition(volume.abs().flatten().numpy(), -1)[int(0.995 * (volume.numel() - 1))]) or None
    shown = np.asarray(figures.projection_image(p, crop=False, enlarge=1)) / 255
    grey = (x[0, 0] - x.min()) / (x.max() - x.min())
    left = 2 + 1
    for axis, at in enumerate(place):
        picture = grey.select(axis, int(at)).numpy()
        height, width = picture.shape
        assert np.allclose(shown[3 : 3 + height, left : left + width, 0], picture, atol=0.003)
        left += width + 1
    for axis, at in enumerate(place):
        expected = signed_as_rgb(volume.select(axis, int(at))[None], end or float(volume.abs().max())).numpy()
        height, width, _ = expected.shape
        assert np.allclose(shown[3 : 3 + height, left : left + width], expected, atol=0.003)
        left += width + 1


# Pictures


def test_channels_last_is_drawn_as_channels_first():
    inner, x = OfPictures(), torch.rand(2, 3, 20, 24)
    first = dv.DeconvNet(inner).project(x, "second", channel=[0, 1])
    last = dv.DeconvNet(ChannelsLast(inner)).project(x.permute(0, 2, 3, 1), "inner.second", channel=[0, 1])
    for crop in (False, True):
        images = [np.asarray(figures.projection_image(p, crop=crop)) for p in (first, last)]
        assert np.array_equal(*images)
    assert torch.equal(first.heatmap(), last.heatmap())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_list_of_pictures_is_drawn_picture_by_picture(channels):
    torch.manual_seed(1)
    model, pictures = OfLists(channels), [torch.rand(channels, 20, 24), torch.rand(channels, 16, 18)]
    p = dv.DeconvNet(model, "gradient").project((pictures,), "inner.second", channel=CHANNEL, seed="one")
    leaves = [picture.clone().requires_grad_() for picture in pictures]
    place = p.units[0].position  # the picture, and where in it
    model(leaves)[place[0], CHANNEL, place[1], place[2]].backward()
    assert p.images.shape == (1, channels, 20, 24)
    assert torch.equal(p.images[0], pictures[0])
    assert torch.equal(p.other_images["[0][1]"][0], pictures[1])
    arrived = [p.pixels[0], p.others["[0][1]"][0]]
    for pixels, leaf in zip(arrived, leaves, strict=True):
        assert torch.allclose(pixels, torch.zeros_like(leaf) if leaf.grad is None else leaf.grad, atol=1e-6)
    shown = np.asarray(figures.projection_image(p, crop=False, enlarge=1)) / 255
    left = 3
    for one in pictures:
        assert np.allclose(shown[3 : 3 + one.shape[1], left : left + one.shape[2]], as_rgb(one), atol=0.003)
        left += one.shape[2] + 1
    for one in arrived:
        expected = signed_as_rgb(one, display_scale(one)).numpy()
        assert np.allclose(shown[3 : 3 + one.shape[1], left : left + one.shape[2]], expected, atol=0.003)
        left += one.shape[2] + 1
    sent = dv.DeconvNet(model).reconstruct((pictures,), "inner.second")
    assert (sent.pixels.shape, sent.others["[0][1]"].shape) == ((1, channels, 20, 24), (1, channels, 16, 18))


def test_each_of_several_inputs_has_its_own_window():
    torch.manual_seed(2)
    model, inputs = OfPairs(), (torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.rand(2))
    p = dv.DeconvNet(model, "gradient").project(inputs, "both", channel=[0, CHANNEL], position=(9, 4), seed="one")
    unit = p[-1]
    assert (unit.units[0].sample, unit.units[0].channel) == (1, CHANNEL)
    found = gradients(model, (1, CHANNEL, 9, 4), *inputs)
    fields = [unit.receptive_fields[0], unit.other_fields["[1]"][0]]
    for field, gradient in zip(fields, found[:2], strict=True):
        (top, bottom), (left, right) = field.tolist()
        seen = gradient[1].abs().sum(0) > 0
        assert seen[top:bottom, left:right].all()
        assert int(seen.sum()) == (bottom - top) * (right - left)
    assert [int(field.diff().max()) for field in fields] == [3, 7]
    assert torch.equal(p.other_images["[1]"], inputs[1])
    shown = np.asarray(figures.projection_image(unit, enlarge=1)) / 255
    (top, bottom), (left, right) = fields[1].tolist()
    assert np.allclose(shown[3:10, 3 + 4 : 3 + 4 + 7], as_rgb(inputs[1][1])[top:bottom, left:right], atol=0.003)
    both = Projection.concatenate([p[:1], unit])
    assert len(both.other_images["[1]"]) == 4
    assert np.array_equal(np.asarray(figures.projection_image(both[1], enlarge=1)), (shown * 255).round())


def test_a_projection_without_units():
    p = dv.DeconvNet(OfPictures()).project(torch.rand(1, 3, 9, 9), "second", channel=0)[:0]
    with pytest.raises(InputError, match=r"^the projection has no units to show$"):
        p.figure()


@pytest.mark.parametrize("form", ["tuples", "mappings"])
def test_the_strongest_pairs_of_a_dataset(form):
    torch.manual_seed(4)
    model, left, right, ages = OfPairs(), torch.rand(6, 3, 16, 16), torch.rand(6, 3, 16, 16), torch.rand(6)
    items = [(left[n], right[n], float(ages[n])) for n in range(6)]
    if form == "mappings":
        items = [dict(zip(("left", "right", "age"), item, strict=True)) for item in items]
    net = dv.DeconvNet(model)
    top = dv.scan(net, items, layers=["both"], k=2, progress=False)
    found = dv.project_top(net, items, top, channel=CHANNEL, progress=False)
    strongest = model(left, right, torch.zeros(6))[:, CHANNEL].amax((1, 2)).topk(2)  # before the number is added
    assert found[0].images == tuple(strongest.indices.tolist())
    shown = found[0].projection
    assert torch.equal(shown.other_images["[1]"], right[strongest.indices])
    assert [unit.activation for unit in shown.units] == pytest.approx(strongest.values.tolist(), abs=1e-5)
    assert figures.top_image([shown], enlarge=1).width > 2 * 2 * (3 + 7)


def test_images_that_are_stretched_are_said_to_be():
    """Of a network without preprocess it is not known how its inputs were normalised."""
    model, x = OfPictures(), torch.randn(1, 3, 12, 12)
    preprocess = dv.images.Preprocess(12)
    for net, said in (
        (dv.DeconvNet(model), True),
        (dv.DeconvNet(model, preprocess=preprocess), False),
        (dv.DeconvNet(model, preprocess=lambda image: preprocess(image)), False),
    ):
        p = net.project(x, "second", channel=[0])
        for figure in (p.figure(), p.overlay(), figures.top_grid([p]), net.reconstruct(x, "second").figure()):
            texts = [text.get_text().replace("\n", " ") for text in figure.findobj(Text)]
            assert any("Images are stretched from their lowest number" in text for text in texts) is said
        if not said:
            assert torch.allclose(p.images, preprocess.inverse(x), atol=0.006)


def test_bytes_with_their_channels_last_are_said_to_be_taken_so():
    pictures = np.zeros((5, 8, 6, 3), np.uint8)
    net = dv.DeconvNet(OfPictures(), preprocess=dv.images.Preprocess(None))
    said = r"^the array of bytes of shape \(5, 8, 6, 3\) is taken for 5 pictures \(N, H, W, C\)$"
    with pytest.warns(ArrayLayoutWarning, match=said):
        dv.scan(net, pictures, layers=["second"], progress=False)


class OfTensors:
    """A step of a transform that takes no PIL image, as torchvision's own for tensors."""

    def __init__(self, mean=None, std=None):
        if mean is not None:
            self.mean, self.std = mean, std

    def __call__(self, x):
        if not isinstance(x, torch.Tensor):
            raise TypeError("it is no tensor")
        return x


class Composed(OfTensors):
    def __init__(self, *steps):
        super().__init__()
        self.transforms = list(steps)


def test_the_normalisation_of_a_transform_of_tensors_is_undone():
    x, mean, std = torch.randn(1, 3, 12, 12), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    step = OfTensors(mean, std)
    expected = (x * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]).clamp(0, 1)
    for preprocess in (step, Composed(OfTensors(), Composed(step))):
        p = dv.DeconvNet(OfPictures(), preprocess=preprocess).project(x, "second", channel=0)
        assert torch.allclose(p.images, expected, atol=1e-6)
    for unknown in (Composed(step, step), Composed(OfTensors((0.5,), (0.5,))), OfTensors("a", "b")):
        p = dv.DeconvNet(OfPictures(), preprocess=unknown).project(x, "second", channel=0)
        assert torch.equal(p.images, x)


@pytest.mark.parametrize("call", ["project", "scan"])
def test_a_preprocess_that_gives_its_channels_last(call):
    net = dv.DeconvNet(OfPictures(), preprocess=lambda image: torch.from_numpy(np.array(image) / 255).float())
    picture = Image.new("RGB", (12, 10), "red")
    calls = {
        "project": lambda: net.project(picture, "second", channel=0),
        "scan": lambda: dv.scan(net, [picture], layers=["second"], progress=False),
    }
    said = r"^the input has shape \([12], 10, 12, 3\); .* end the preprocess with \.movedim"
    with pytest.raises(InputError, match=said):
        calls[call]()


def test_very_many_signals_are_cut_off():
    p = dv.DeconvNet(OfSignals()).project(torch.rand(60, 2, 40), "3", channel=[0, 1])
    figure = p.figure()
    assert len(panels(figure)) == 2 * 100
    assert figure.get_suptitle() == "3, deconvnet: signal and projection (the first 100 of 120)"


@pytest.mark.parametrize("own", [False, True], ids=["alone", "in axes"])
def test_labels_of_signals_of_many_channels_do_not_overlap(own):
    """Placed in inches: a solver of layouts gave up, or ended the process, on some hundred panels."""
    p = dv.DeconvNet(OfSignals(12)).project(torch.rand(3, 12, 40), "3", channel=[0, 1])
    figure = figures.projection_grid(p[0], axes=Figure(figsize=(6, 5)).subplots()) if own else p.figure(rate=100)
    assert figure.get_layout_engine() is None
    figure.draw_without_rendering()
    texts = [figure._suptitle, *(axes.title for axes in panels(figure))]
    texts += [axes.xaxis.label for axes in panels(figure)]
    if not own:  # where panels have the height they want
        texts += [label for axes in panels(figure) for label in axes.get_yticklabels()]
    boxes = [text.get_window_extent() for text in texts if text.get_text()]
    assert len(boxes) >= (3 if own else 12 * 12)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_other_figures_say_that_images_are_stretched():
    image = torch.randn(3, 9, 9)
    for shown, said in ((image, True), (image.sigmoid(), False)):
        figure = figures.attribution_strip(shown, {"none": torch.zeros(3, 9, 9)})
        assert ("Images are stretched" in figure.get_supxlabel()) is said
