"""`DeconvNet`: units and their order, traces, images and given signals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.images import Preprocess
from deconvviz.models.mnist import mnist_cnn

# Units


def test_units_come_by_sample_then_channel(net, x):
    projection = net.project(x, "wide", channel=[5, 2])
    activations = net.trace(x, "wide").activations["wide"]
    assert [(u.sample, u.channel) for u in projection.units] == [(0, 5), (0, 2), (1, 5), (1, 2)]
    for unit in projection.units:
        channel = activations[unit.sample, unit.channel]
        assert unit.layer == "wide"
        assert unit.activation == float(channel.max()) == float(channel[unit.position])


def test_no_channel_means_all_and_one_channel_is_one(net, x):
    assert [u.channel for u in net.project(x[:1], "wide").units] == list(range(8))
    assert [u.channel for u in net.project(x[:1], "wide", channel=3).units] == [3]
    assert [u.channel for u in net.project(x[:1], "wide", channel=torch.tensor([3, 1])).units] == [3, 1]
    assert [u.channel for u in net.project(x[:1], "wide", channel=np.arange(2)).units] == [0, 1]


def test_positions(net, x):
    activations = net.trace(x, "wide").activations["wide"]
    for position in ((1, 2), [1, 2]):
        for window in ("auto", "full"):
            units = net.project(x, "wide", channel=4, position=position, window=window).units
            assert [u.position for u in units] == [(1, 2), (1, 2)]
            found, recorded = [u.activation for u in units], activations[:, 4, 1, 2].tolist()
            # On crops some processors add up in another order.
            assert found == (recorded if window == "full" else pytest.approx(recorded, rel=1e-6))
    units = net.project(x, "wide", channel=4, position=torch.tensor([[3, 0], [1, 2]])).units
    assert [u.position for u in units] == [(3, 0), (1, 2)]
    units = net.project(x, "wide", channel=[0, 1], position="all").units
    assert [u.position for u in units[:16]] == [(i, j) for i in range(4) for j in range(4)]
    assert [u.activation for u in units] == activations[:, :2].flatten().tolist()


def test_of_equal_activations_the_first_position_is_taken():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    unit = dv.DeconvNet(model).project(torch.ones(1, 1, 3, 3), "1", channel=0).units[0]
    assert unit.position == (0, 0)


def test_linear_layers_have_channels_and_no_position(net, x):
    projection = net.project(x, "fc", channel=[0, 4])
    assert [u.position for u in projection.units] == [()] * 4
    assert projection.receptive_fields.tolist() == [[[0, 15], [0, 13]]] * 4
    assert torch.equal(net.project(x, "fc", channel=[0, 4], position=()).pixels, projection.pixels)


def test_the_seed_scales_the_projection(net, x):
    by_activation, by_one = net.project(x, "wide", channel=4), net.project(x, "wide", channel=4, seed="one")
    values = torch.tensor([u.activation for u in by_activation.units])
    positive = values > 0
    assert positive.any()
    scaled = by_one.pixels * values[:, None, None, None]
    assert torch.allclose(by_activation.pixels[positive], scaled[positive], rtol=1e-4, atol=1e-7)
    assert (by_activation.provenance.seed, by_one.provenance.seed) == ("activation", "one")


def test_one_and_three_dimensional_networks():
    for rank, size in ((1, (21,)), (3, (8, 9, 10))):
        pool = getattr(nn, f"MaxPool{rank}d")(2)
        model = nn.Sequential(getattr(nn, f"Conv{rank}d")(2, 3, 3), nn.ReLU(), pool)
        projection = dv.DeconvNet(model).project(torch.randn(2, 2, *size), "2", channel=[0, 2])
        assert projection.pixels.shape == (4, 2, *size)
        sizes = projection.receptive_fields[..., 1] - projection.receptive_fields[..., 0]
        assert sizes.tolist() == [[4] * rank] * 4


def test_a_network_that_moves_its_batch_axis_is_walked_sample_by_sample():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn, self.fc = nn.Conv2d(1, 4, 3), nn.LSTM(24, 5), nn.Linear(5, 3)

        def forward(self, x):
            x = self.conv(x)
            return self.fc(self.rnn(x.permute(3, 0, 1, 2).flatten(2))[0])

    model = Reader().double()
    images = torch.randn(3, 1, 8, 9, dtype=torch.float64)
    net = dv.DeconvNet(model, "gradient")
    projection = net.project(images, "fc", channel=[0], position="all", seed="one")
    assert [u.sample for u in projection.units] == [n for n in range(3) for _ in range(len(projection.units) // 3)]
    leaf = images.clone().requires_grad_()
    made = model(leaf)  # (time, samples, classes)
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        time, label = unit.position
        (expected,) = torch.autograd.grad(made[time, unit.sample, label], leaf, retain_graph=True)
        assert torch.allclose(pixels, expected[unit.sample], rtol=1e-10, atol=1e-14)


def test_statistics_of_the_batch_tie_samples_together():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Conv2d(2, 2, 1))
    net, x = dv.DeconvNet(model), torch.randn(2, 1, 6, 6)
    with pytest.raises(InputError, match=r"in 1 normalises with the statistics of the batch.*one sample at a time"):
        net.project(x, "2", channel=0)
    assert net.project(x[:1], "2", channel=0).provenance.linearised == ("aten.native_batch_norm in 1",)
    assert len(net.project(x, "0", channel=0).units) == 2


# Traces


def test_activations_and_switches_are_those_of_torch():
    model, images = mnist_cnn(), torch.rand(2, 1, 28, 28)
    trace = dv.DeconvNet(model).trace(images)
    expected = model.relu1(model.norm1(model.conv1(images)) if hasattr(model, "norm1") else model.conv1(images))
    pooled, switches = nn.functional.max_pool2d(expected, 2, return_indices=True)
    assert torch.equal(trace.activations["relu1"], expected)
    assert torch.equal(trace.activations["pool1"], pooled)
    assert torch.equal(trace.switches["pool1"], switches)
    assert list(trace.switches) == ["pool1", "pool2"]


def test_switches_of_one_dimensional_pooling_have_its_shape():
    model, x = nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(3, 2)), torch.randn(1, 1, 12)
    _, expected = nn.functional.max_pool1d(model[0](x), 3, 2, return_indices=True)
    assert torch.equal(dv.DeconvNet(model).trace(x).switches["1"], expected)


def test_a_trace_serves_many_projections(net, x):
    trace = net.trace(x, ["wide", "fc"])
    for layer in ("wide", "fc"):
        assert torch.equal(net.project(trace, layer, channel=1).pixels, net.project(x, layer, channel=1).pixels)
    with pytest.raises(UnknownLayerError, match=r"this trace has no activations of 'stem' .*recorded for 2 layers"):
        net.project(trace, "stem", channel=0)


# Images


def test_images_and_paths_go_through_the_preprocessing(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    preprocess = Preprocess(28, (0.5,), (0.5,))
    net = dv.DeconvNet(mnist_cnn(), preprocess=preprocess)
    expected = net.project(preprocess(picture)[None], "conv2", channel=3)
    for given in (picture, tmp_path / "a.png", str(tmp_path / "a.png"), [picture]):
        assert torch.equal(net.project(given, "conv2", channel=3).pixels, expected.pixels)
    assert torch.allclose(expected.images[0], preprocess.inverse(preprocess(picture)))
    assert net.project([picture, tmp_path / "a.png"], "conv2", channel=3).pixels.shape == (2, 1, 28, 28)


def test_torchvisions_preprocessing_is_undone_for_display():
    from torchvision.transforms._presets import ImageClassification

    net = dv.DeconvNet(nn.Conv2d(3, 2, 3), preprocess=ImageClassification(crop_size=16, resize_size=16))
    shown = net.project(Image.new("RGB", (20, 20), (255, 0, 0)), "output", channel=0).images
    assert torch.allclose(shown[0, :, 8, 8], torch.tensor([1.0, 0.0, 0.0]), atol=1e-6)


# Lists of units, and signals


def test_units_of_different_samples_channels_and_places_travel_together():
    net, x = dv.DeconvNet(mnist_cnn()), torch.rand(3, 1, 28, 28)
    wanted = [(2, 5, (3, 4)), (0, 1, (0, 0)), (2, 7, (9, 9)), (1, 5, (2, 8))]
    found = net.project_units(x, "conv2", wanted)
    for row, (sample, channel, position) in enumerate(wanted):
        alone = net.project(x[sample][None], "conv2", channel=channel, position=position)
        assert torch.allclose(found.pixels[row], alone.pixels[0], atol=1e-6)
        assert torch.equal(found.receptive_fields[row], alone.receptive_fields[0])
        assert found.units[row].activation == pytest.approx(alone.units[0].activation, rel=1e-5)
        assert (found.units[row].sample, found.units[row].channel, found.units[row].position) == wanted[row]
    for odd in ((3, 0, (0, 0)), (0, 0, (0,)), (0, 99, (0, 0)), (0, 0, (0, -1))):
        with pytest.raises(InputError, match="there is no unit"):
            net.project_units(x, "conv2", [odd])
    with pytest.raises(InputError, match="there is no unit to project"):
        net.project_units(x, "conv2", [])


def test_units_of_samples_that_do_not_stay_apart_keep_their_order():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv1d(2, 5, 3), nn.LSTM(5, 4)

        def forward(self, x):
            return self.rnn(self.conv(x).permute(2, 0, 1))[0]

    torch.manual_seed(0)
    net, x = dv.DeconvNet(Rows()), torch.randn(3, 2, 9)
    wanted = [(2, 1, (3,)), (0, 3, (0,)), (2, 0, (5,)), (1, 2, (6,))]
    found = net.project_units(x, "rnn[0]", [(n, c, (*p, 0)) for n, c, p in wanted])
    for row, (sample, channel, position) in enumerate(wanted):
        alone = net.project(x[sample][None], "rnn[0]", channel=channel, position=(*position, 0))
        assert torch.allclose(found.pixels[row], alone.pixels[0], atol=1e-6)
        assert found.units[row].sample == sample


def test_a_given_signal_is_sent_back_in_place_of_the_activations():
    torch.manual_seed(0)
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 3)).double())
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    trace = net.trace(x)
    signal = torch.zeros_like(trace.activations["2"])
    signal[0, 1, 2, 3], signal[1, 2, 0, 0] = 1, -2
    sent = net.reconstruct(trace, "2", signal=signal)
    first = net.project(x[:1], "2", channel=1, position=(2, 3), seed="one").pixels
    assert (sent.pixels[0] - first[0]).norm() <= 1e-12 * first.norm()
    assert sent.pixels[1].norm() > 0
    assert sent.provenance.seed == "given"
    with pytest.raises(
        InputError, match=r"the signal has shape \(2, 3\) and layer '2' \(2, 3, 4, 4\); they must be equal"
    ):
        net.reconstruct(x, "2", signal=signal[:, :, 0, 0])
