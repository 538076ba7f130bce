"""Scans against brute force over all activations, and their results."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.statistics import BINS, PER_OCTAVE, RunningStatistics, bin_edges
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model
from deconvviz.results import TopActivations
from tests.helpers.brute_force import activations_of, brute_force

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("batch_size", "count"),
    [(1, 100), (37, 500), (1000, 2000), pytest.param(1, 500, marks=SLOW), pytest.param(1000, 10_000, marks=SLOW)],
)
def test_top_k_is_that_of_all_activations(net, digits, batch_size, count):
    images = digits[:count]
    top = dv.scan(net, images, k=9, batch_size=batch_size, progress=False)
    assert top.layers == ("conv1", "conv2", "fc1", "fc2")
    activations = activations_of(net, images, top.layers, batch_size)
    for layer, every in activations.items():
        values, numbers, places = brute_force(every, 9)
        assert torch.equal(top.values[layer], values)
        assert torch.equal(top.images[layer], numbers)
        if every.ndim > 2:
            assert torch.equal(top.positions[layer], places)
        strongest = every.flatten(2).amax(2) if every.ndim > 2 else every
        statistics = top.statistics[layer]
        assert torch.equal(statistics.fires, (strongest > 0).double().mean(0))
        assert torch.equal(statistics.maximum, strongest.amax(0).double())
        assert torch.allclose(statistics.mean, strongest.double().mean(0), 1e-12)
        assert torch.equal(statistics.histogram.sum(1), torch.full((every.shape[1],), len(images)))
    assert top.count == len(images)


def test_the_histogram_counts_what_lies_between_its_edges(net, digits):
    statistics = dv.scan(net, digits[:300], layers="fc2", progress=False).statistics["fc2"]
    values = activations_of(net, digits[:300], ["fc2"], 64)["fc2"]
    for channel in range(10):
        inside = [
            int(((values[:, channel] >= low) & (values[:, channel] < high)).sum())
            for low, high in zip(statistics.edges[:-1], statistics.edges[1:], strict=True)
        ]
        # A bin's own edge belongs to it on the side away from zero.
        assert statistics.histogram[channel].tolist() == inside


def test_ties_go_to_the_lower_image_and_the_first_position():
    model = nn.Sequential(nn.Conv2d(1, 1, 1))
    nn.init.ones_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    images = torch.zeros(7, 1, 3, 3)
    images[4, 0, 1, 2] = images[4, 0, 2, 0] = images[6, 0, 0, 0] = 5
    for batch_size in (1, 2, 7):
        top = dv.scan(dv.DeconvNet(model), images, k=4, batch_size=batch_size, progress=False)
        assert top.images["0"].tolist() == [[4, 6, 0, 1]]
        assert top.positions["0"].tolist() == [[[1, 2], [0, 0], [0, 0], [0, 0]]]


def test_several_units_of_one_image_keep_apart_by_their_receptive_fields(digits):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 5, stride=2), nn.ReLU(), nn.Conv2d(4, 3, 3))
    net = dv.DeconvNet(model)
    images, k, several = digits[:12], 9, 3
    top = dv.scan(net, images, layers="2", k=k, per_image=several, batch_size=16, progress=False)
    every = activations_of(net, images, ["2"], 16)["2"]
    size, step = net.layers(images[:1])["2"].receptive_field[0], 2
    for channel in range(3):
        units = []
        for number, one in enumerate(every[:, channel]):
            left = one.clone()
            for _ in range(several):
                row, column = divmod(int(left.argmax()), one.shape[1])
                units.append((-float(left[row, column]), number, row, column))
                for other_row in range(one.shape[0]):
                    for other_column in range(one.shape[1]):
                        shared = [size - abs(a - b) * step for a, b in ((row, other_row), (column, other_column))]
                        if min(shared) > size / 2:
                            left[other_row, other_column] = -torch.inf
        expected = sorted(units)[:k]
        assert top.values["2"][channel].tolist() == [-value for value, *_ in expected]
        assert top.images["2"][channel].tolist() == [number for _, number, *_ in expected]
        assert top.positions["2"][channel].tolist() == [[row, column] for *_, row, column in expected]
    assert (top.images["2"].diff() == 0).any()  # some image is there twice


def test_channels_last_finds_the_same(digits):
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
    for parameter in model.parameters():  # of few bits, so that sums are exact in whatever order they are added
        parameter.data = (parameter.data * 64).round() / 64
    images = digits[:60].repeat_interleave(2, 0)  # ties between images, and between positions that are all zero
    images = (images * 16).round() / 16
    straight = dv.scan(dv.DeconvNet(model), images, layers=["2", "3"], k=70, batch_size=16, progress=False)
    turned = model.to(memory_format=torch.channels_last)
    turned[2].register_forward_hook(lambda module, args, output: output.contiguous(memory_format=torch.channels_last))
    last = dv.scan(dv.DeconvNet(turned), images, layers=["2", "3"], k=70, batch_size=16, progress=False)
    for layer in ("2", "3"):
        assert torch.equal(straight.values[layer], last.values[layer])
        assert torch.equal(straight.images[layer], last.images[layer])
        assert torch.equal(straight.positions[layer], last.positions[layer])


def test_fewer_images_than_k(net, digits):
    top = dv.scan(net, digits[:2], layers="conv1", k=5, progress=False)
    assert (top.images["conv1"][:, 2:] == -1).all()
    assert (top.positions["conv1"][:, 2:] == -1).all()
    assert torch.isneginf(top.values["conv1"][:, 2:]).all()
    assert set(top.images["conv1"][0, :2].tolist()) == {0, 1}


def test_units_found_are_the_units_projected(net, digits):
    top = dv.scan(net, digits[:300], layers="conv2", k=2, progress=False)
    for channel in (0, 17, 47):
        for rank in range(2):
            image, place = top.images["conv2"][channel, rank], top.positions["conv2"][channel, rank]
            unit = net.project(digits[image][None], "conv2", channel=channel, position=tuple(place.tolist())).units[0]
            assert unit.activation == pytest.approx(float(top.values["conv2"][channel, rank]), rel=1e-5)


def test_nothing_is_left_on_the_model(digits):
    model = mnist_cnn().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    dv.scan(dv.DeconvNet(model), digits[:70], progress=False)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


# The result


def test_the_result_can_be_saved_printed_and_drawn(net, digits, tmp_path):
    top = dv.scan(net, digits[:40], layers=["conv1", "fc2"], k=3, progress=False)
    again = TopActivations.load(top.save(tmp_path / "top.safetensors"))
    assert torch.equal(again.positions["conv1"], top.positions["conv1"])
    assert torch.equal(again.statistics["fc2"].histogram, top.statistics["fc2"].histogram)
    assert (again.layers, again.k, again.provenance) == (("conv1", "fc2"), 3, top.provenance)
    assert "tensor" not in load_file(tmp_path / "top.safetensors")
    conv1, fc2 = top.table()
    assert (conv1["layer"], conv1["channels"]) == ("conv1", len(top.values["conv1"]))
    assert fc2["strongest"] == float(top.values["fc2"].max())
    assert top.as_json() == {"table": [conv1, fc2], "images": 40, "dataset": "Tensor", "broken": []}
    assert str(top).endswith("40 images of Tensor")
    assert "<td>fc2</td>" in top._repr_html_()
    assert len(top.figure().axes) == 2


# The results of a layer while a scan runs


def test_results_merge_to_the_same_in_any_order():
    torch.manual_seed(1)
    values = (torch.randn(60, 4) * 10).round().double()  # many ties
    numbers = torch.arange(60)
    whole, parts = LayerResults(4, 5, 1), []
    for chunk in torch.randperm(60).split(7):
        part = LayerResults(4, 5, 1)
        for results in (part, whole):
            images = numbers[chunk].expand(4, -1)
            results.top.enter(values[chunk].T, images, images)
            results.statistics.add(values[chunk].T)
        parts.append(part)
    merged = LayerResults(4, 5, 1)
    for part in reversed(parts):
        merged.merge(part)
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, merged.tensors()[name]), name
    order = values.T.sort(dim=1, descending=True, stable=True).indices[:, :5]
    assert torch.equal(whole.top.images, order)


def test_means_are_exact_over_a_wide_range():
    values = torch.tensor([[1e-30], [1e30], [-1e30], [2.5], [-1e-30], [3.4e38], [-3.4e38], [0.0]], dtype=torch.float64)
    running = RunningStatistics(1)
    running.add(values.float().double().T)
    assert float(running.mean(8)) == 2.5 / 8
    assert len(bin_edges()) == BINS + 1
    assert bin_edges()[-2] / bin_edges()[-2 - PER_OCTAVE] == 2


# Real weights and photographs, where they are installed


def test_photographs_through_squeezenet(assets):
    loaded = load_model("torchvision:squeezenet1_1", assets / "models" / "squeezenet1_1-imagenet.safetensors")
    net = dv.DeconvNet(loaded.model, preprocess=loaded.preprocess)
    folder = ImageFolder(assets / "photos")
    some = torch.utils.data.Subset(folder, range(0, len(folder), 3))
    layers = ["features.0", "features.6.expand3x3", "features.12.expand1x1", "classifier.1"]
    top = dv.scan(net, some, layers=layers, k=9, batch_size=10, progress=False)
    images = torch.stack([loaded.preprocess(image) for image, _ in some])
    for layer, every in activations_of(net, images, layers, 10).items():
        values, numbers, places = brute_force(every, 9)
        assert torch.equal(top.values[layer], values)
        assert torch.equal(top.images[layer], numbers)
        assert torch.equal(top.positions[layer], places)
