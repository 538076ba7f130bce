"""Mining against brute force over all activations, and what it says of datasets that are odd or broken."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset

import deconvviz as dv
from deconvviz.data import ImageFolder, mnist_test
from deconvviz.errors import DataError, InputError, UnknownLayerError
from deconvviz.images import Preprocess
from deconvviz.mining.layer_results import LayerResults
from deconvviz.mining.statistics import BINS, PER_OCTAVE, RunningStatistics, bin_edges
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model
from deconvviz.results import TopActivations

SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def net():
    return dv.DeconvNet(mnist_cnn())


@pytest.fixture(scope="module")
def digits():
    return mnist_test()[0]


def activations_of(net, images, layers, batch_size):
    """All activations (N, channels, ...) of layers, computed in the same batches."""
    found = {layer: [] for layer in layers}

    def kept(to):
        return lambda module, args, output: to.append(output.clone())

    hooks = [net.model.get_submodule(layer).register_forward_hook(kept(to)) for layer, to in found.items()]
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            net.model.eval()(images[start : start + batch_size])
    for hook in hooks:
        hook.remove()
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def brute_force(activations, k):
    """Values, images and positions (channels, k) by sorting everything; ties to the lower image, then position."""
    n, channels, *dims = activations.shape
    flat = activations.reshape(n, channels, -1)
    best, where = flat.max(2)
    order = best.T.sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = (
        torch.stack(torch.unravel_index(where.T.gather(1, order), dims), -1) if dims else where.T[..., None][..., :0]
    )
    return best.T.gather(1, order).double(), order, places[:, :k] if not dims else places


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


# Layers of every kind


class Sequences(nn.Module):
    """Convolutions over (N, C, L), then channels last, then an LSTM that has time first."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.rnn = nn.Conv1d(2, 5, 3), nn.LayerNorm(5), nn.LSTM(5, 4)

    def forward(self, x):
        x = self.norm(self.conv(x).transpose(1, 2)).relu()
        return self.rnn(x.transpose(0, 1))[0]


def test_channels_last_functional_calls_and_sequences():
    net, images = dv.DeconvNet(Sequences().eval()), torch.randn(20, 2, 12)
    top = dv.scan(net, images, layers=["norm", "relu"], k=3, batch_size=7, progress=False)
    with torch.no_grad():
        every = net.model.norm(net.model.conv(images).transpose(1, 2)).transpose(1, 2)
    values, numbers, places = brute_force(every, 3)
    assert torch.allclose(top.values["norm"], values, 1e-5)
    assert torch.equal(top.images["norm"], numbers)
    assert torch.equal(top.positions["norm"], places)
    assert torch.equal(top.values["relu"], top.values["norm"].clamp(min=0))
    with pytest.raises(InputError, match=r"'rnn\[0\]' mixes the samples of a batch; scan it with batch_size=1"):
        dv.scan(net, images, layers="rnn[0]", progress=False)
    alone = dv.scan(net, images, layers="rnn[0]", k=1, batch_size=1, progress=False)
    with torch.no_grad():
        outputs = torch.stack([net.model(image[None])[:, 0] for image in images])  # (N, time, channels)
    assert torch.allclose(alone.values["rnn[0]"][:, 0], outputs.amax((0, 1)).double(), 1e-5)


def test_calls_of_a_function_are_counted_alike_with_and_without_a_tape():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.offset = nn.Conv2d(1, 2, 3), nn.Parameter(torch.ones(2, 1, 1))

        def forward(self, x):
            return torch.relu(self.conv(x)) * torch.relu(self.offset)

    net = dv.DeconvNet(Twice())
    assert "relu" in [layer.name for layer in net.layers(torch.randn(1, 1, 5, 5))]
    images = torch.randn(3, 1, 5, 5)
    assert dv.scan(net, images, layers="relu", k=1, progress=False).values["relu"].shape == (2, 1)

    class First(Twice):
        def forward(self, x):
            return torch.relu(self.offset) * torch.relu(self.conv(x))

    with pytest.raises(UnknownLayerError, match="no layer 'relu' in First; did you mean 'relu_1'"):
        dv.scan(dv.DeconvNet(First()), images, layers="relu", progress=False)
    first = dv.DeconvNet(First())
    top = dv.scan(first, images, layers="relu_1", k=1, progress=False)
    with torch.no_grad():
        expected = first.model.conv(images).relu().amax((2, 3)).amax(0)
    assert torch.allclose(top.values["relu_1"][:, 0], expected.double())
    assert torch.equal(first.trace(images, "relu_1").activations["relu_1"].amax((0, 2, 3)), expected)

    class Between(First):
        def __init__(self):
            super().__init__()
            self.behind = nn.Conv2d(2, 1, 2)

        def forward(self, x):
            return torch.relu(self.behind(super().forward(x)))  # here the other call's maps are of another size

    between = dv.DeconvNet(Between())
    top = dv.scan(between, images, layers="relu_2", k=1, progress=False)
    with torch.no_grad():
        assert top.values["relu_2"].item() == pytest.approx(float(between.model(images).max()))


def test_images_of_different_sizes_one_at_a_time():
    model = nn.Sequential(nn.Conv2d(1, 2, 3)).eval()
    images = [torch.randn(1, size, size + 2) for size in (9, 30, 14)]
    top = dv.scan(dv.DeconvNet(model), images, k=3, batch_size=1, progress=False)
    for channel in range(2):
        for value, number, place in zip(
            top.values["0"][channel], top.images["0"][channel], top.positions["0"][channel], strict=True
        ):
            with torch.no_grad():
                found = model(images[number][None])[0, channel]
            assert float(found[tuple(place)]) == float(found.max()) == pytest.approx(float(value))
    with pytest.raises(InputError, match="images 0 and 1 have shapes"):
        dv.scan(dv.DeconvNet(model), images, progress=False)


# Datasets


class Named(Dataset):
    """Items as mappings; one cannot be read, one is NaN."""

    def __init__(self, images, broken=()):
        self.images, self.broken = images, broken

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError("the disk is sad")
        return {"image": self.images[index], "label": index % 3}


def test_all_kinds_of_datasets_give_the_same(net, digits):
    images = digits[:50]
    expected = dv.scan(net, images, progress=False, batch_size=8)
    labels = torch.arange(50)
    for dataset in (
        (images, labels),
        torch.utils.data.TensorDataset(images, labels),
        Named(images),
        list(images),
        (image for image in images),
        ((image, 3) for image in images),
    ):
        found = dv.scan(net, dataset, progress=False, batch_size=8)
        for layer in expected.layers:
            assert torch.equal(found.values[layer], expected.values[layer])
            assert torch.equal(found.images[layer], expected.images[layer])
    workers = dv.scan(net, Named(images), progress=False, batch_size=8, workers=2)
    assert torch.equal(workers.images["conv2"], expected.images["conv2"])


def test_broken_items_are_listed_and_left_out(net, digits):
    images = digits[:30].clone()
    images[12, 0, 0, 0] = torch.nan
    top = dv.scan(net, Named(images, broken=(3, 29)), batch_size=8, k=30, progress=False)
    assert [(one.image, one.reason) for one in top.broken] == [
        (3, "OSError: the disk is sad"),
        (12, "it holds values that are NaN or infinite"),
        (29, "OSError: the disk is sad"),
    ]
    assert top.count == 27
    kept = sorted(set(range(30)) - {3, 12, 29})
    assert top.images["conv1"][0].sort().values.tolist() == [-1] * 3 + kept
    with pytest.raises(DataError, match="item 3 cannot be read: OSError: the disk is sad"):
        dv.scan(net, Named(images, broken=(3,)), batch_size=8, on_error="raise", progress=False)
    with pytest.raises(DataError, match="none of the 30 items could be read"):
        dv.scan(net, Named(images, broken=range(30)), progress=False)


def test_a_folder_with_broken_files(tmp_path, digits):
    for number in range(6):
        place = tmp_path / ("odd" if number % 2 else "even") / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray((digits[number, 0] * 255).byte().numpy()).save(place)
    (tmp_path / "odd" / "0.png").write_bytes(b"no image at all")
    (tmp_path / "notes.txt").write_text("not an image, and not meant as one")
    net = dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,)))
    top = dv.scan(net, tmp_path, k=6, batch_size=4, progress=False)
    assert ImageFolder(tmp_path).names == [f"even/{n}.png" for n in (0, 2, 4)] + [f"odd/{n}.png" for n in (0, 1, 3, 5)]
    assert [(one.name, one.image) for one in top.broken] == [("odd/0.png", 3)]
    assert "is not an image file" in top.broken[0].reason
    straight = dv.scan(net, digits[[0, 2, 4, 1, 3, 5]], k=6, progress=False)
    translated = torch.tensor([0, 1, 2, 4, 5, 6])[straight.images["conv2"]]
    assert torch.equal(top.images["conv2"], translated)


def test_what_is_refused(net, digits):
    with pytest.raises(UnknownLayerError, match="there is no layer 'conv3' in MnistCNN; did you mean 'conv2'"):
        dv.scan(net, digits[:3], layers="conv3", progress=False)
    with pytest.raises(InputError, match="k must be a whole number of at least 1, not 0"):
        dv.scan(net, digits[:3], k=0, progress=False)
    with pytest.raises(DataError, match="the dataset is empty"):
        dv.scan(net, digits[:0], progress=False)
    with pytest.raises(InputError, match="a dataset is a folder"):
        dv.scan(net, 7, progress=False)
    with pytest.raises(InputError, match="there is no layer to look at"):
        dv.scan(net, digits[:3], layers=[], progress=False)
    with pytest.raises(InputError, match="first convolution, 'conv1'"):
        dv.scan(net, torch.randn(3, 2, 28, 28), progress=False)
    with pytest.raises(InputError, match="no preprocess"):
        dv.scan(net, [Image.new("L", (28, 28))], progress=False)
    with pytest.raises(InputError, match="has the entries"):
        dv.scan(net, [{"picture": digits[0]}], progress=False)
    nets = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3)))
    nets.model[0].weight.data[1] = 1e38
    with pytest.raises(InputError, match="'0' are not all finite on image 2"):
        dv.scan(nets, torch.cat([torch.zeros(2, 1, 5, 5), torch.full((1, 1, 5, 5), 100.0)]), progress=False)
    nets.model[0].weight.data[1] = torch.nan  # from the first image on, on which names are checked
    with pytest.raises(InputError, match="'0' are not all finite on image 0"):
        dv.scan(nets, digits[:3], progress=False)


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


# What is kept of a layer


def test_results_merge_to_the_same_in_any_order():
    torch.manual_seed(1)
    values = (torch.randn(60, 4) * 10).round().double()  # many ties
    numbers = torch.arange(60)
    whole, parts = LayerResults(4, 5, 1), []
    for chunk in torch.randperm(60).split(7):
        part = LayerResults(4, 5, 1)
        for results in (part, whole):
            results.top.enter(values[chunk], numbers[chunk], numbers[chunk, None].expand(-1, 4))
            results.statistics.add(values[chunk])
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
    running.add(values.float().double())
    assert float(running.mean(8)) == 2.5 / 8
    assert len(bin_edges()) == BINS + 1
    assert bin_edges()[-2] / bin_edges()[-2 - PER_OCTAVE] == 2


# Real weights and photographs, where they are at hand


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
