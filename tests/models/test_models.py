"""The networks: what they compute, the shape they have, and what the bundled weights know."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, max_pool2d

from deconvviz.data import mnist_test
from deconvviz.errors import CheckpointError, InputError
from deconvviz.models import MnistCNN, ZFNet, evaluate, initialised, mnist_cnn, read_weights, save_weights
from tests.helpers.mnist_networks import digits, small


def test_the_bundled_weights_know_the_digits():
    """Accuracy of 99.3 % or more on the 10,000 test images, as recorded with the weights."""
    model = mnist_cnn()
    found = evaluate(model, *mnist_test())
    assert found.count == 10000
    assert found.accuracy >= 0.993
    assert len(found.wrong) == round(10000 * (1 - found.accuracy))


def test_the_bundled_file_says_where_it_comes_from():
    path = resources.files("deconvviz.models") / "mnist_cnn.safetensors"
    assert len(path.read_bytes()) < 3_000_000
    weights, metadata = read_weights(str(path))
    training = json.loads(metadata["training"])
    assert json.loads(metadata["architecture"])["channels"] == list(weights["conv1.weight"].shape[:1]) + list(
        weights["conv2.weight"].shape[:1]
    )
    assert training["settings"]["random_state"] == 0
    assert training["test"]["accuracy"] >= 0.993
    assert all(value.isfinite().all() for value in weights.values())


def test_few_channels_of_the_reference_network_are_dead():
    model, (images, _) = mnist_cnn(), mnist_test()
    strongest = {}
    for name in ("relu1", "relu2"):
        model.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: strongest.setdefault(name, []).append(out.amax((0, 2, 3)))
        )
    with torch.no_grad():
        for some in images[:2000].split(500):
            model(some)
    dead = {name: int((torch.stack(found).amax(0) <= 0).sum()) for name, found in strongest.items()}
    assert dead == {"relu1": 0, "relu2": 0}


def test_the_network_is_the_operations_it_says():
    """Forward against a transcription in functional form, also with batch normalisation and in float64."""
    model = small(batch_norm=True).double().eval()
    with torch.no_grad():
        for norm in (model.norm1, model.norm2):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2.0)
            norm.weight.uniform_(0.5, 1.5)
    state = model.state_dict()
    values = images = digits(3).double()
    for number, padding in ((1, 3), (2, 2)):
        values = conv2d(values, state[f"conv{number}.weight"], state[f"conv{number}.bias"], padding=padding)
        mean, var, scale, shift = (
            state[f"norm{number}.{part}"].view(-1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        values = max_pool2d(((values - mean) / (var + 1e-5).sqrt() * scale + shift).clamp(min=0), 2)
    hidden = (values.flatten(1) @ state["fc1.weight"].T + state["fc1.bias"]).clamp(min=0)
    expected = hidden @ state["fc2.weight"].T + state["fc2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected, rtol=1e-12, atol=1e-12)


def test_the_options_add_and_remove_modules():
    plain = [name for name, _ in MnistCNN(dropout=0.0).named_children()]
    full = [name for name, _ in MnistCNN(batch_norm=True, dropout=0.2).named_children()]
    assert plain == ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "relu3", "fc2"]
    assert [name for name in full if name not in plain] == ["norm1", "norm2", "dropout"]
    assert full.index("norm1") == full.index("conv1") + 1
    assert full.index("dropout") == full.index("relu3") + 1


@pytest.mark.parametrize(
    "options", [{"channels": (0, 4)}, {"channels": (4,)}, {"width": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_options_out_of_range_are_refused(options: dict):
    with pytest.raises(InputError):
        MnistCNN(**options)


def test_filters_start_small_linear_layers_as_he_has_it_and_biases_at_zero():
    """Standard deviation 0.02, or sqrt(2 / inputs), within three standard errors of a sample's deviation."""
    model = initialised(0)
    spreads = {"conv1": 0.02, "conv2": 0.02, "fc1": (2 / (48 * 49)) ** 0.5, "fc2": (2 / 128) ** 0.5}
    for name, spread in spreads.items():
        layer = model.get_submodule(name)
        error = 1 / (2 * layer.weight.numel()) ** 0.5
        assert layer.weight.std().item() == pytest.approx(spread, rel=3 * error)
        assert layer.bias.abs().max() == 0


def test_initial_weights_depend_on_the_seed_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = small(1), small(1), small(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.fc1.weight, again.fc1.weight)
    assert not torch.equal(first.fc1.weight, other.fc1.weight)


def test_zfnet_has_the_maps_of_the_paper():
    with torch.device("meta"):
        model, values = ZFNet(), torch.empty(1, 3, 224, 224)
    sizes = {}
    for name, module in model.features.named_children():
        values = module(values)
        sizes[name] = tuple(values.shape[1:])
    assert {name: size for name, size in sizes.items() if name[:4] in ("conv", "pool")} == {
        "conv1": (96, 110, 110),
        "pool1": (96, 55, 55),
        "conv2": (256, 26, 26),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
    }
    assert model.features.conv1.weight.shape == (96, 3, 7, 7)
    assert sum(parameter.numel() for parameter in model.parameters()) == 62_357_608


def test_zfnet_normalises_contrast_as_krizhevsky_did():
    """b = a / (2 + 1e-4 * sum over 5 neighbouring channels of a²) ** 0.75, at the edges of fewer channels."""
    with torch.device("meta"):
        norm = ZFNet(num_classes=2).features.norm1
    values = 50 * torch.rand(1, 7, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.empty_like(values)
    for channel in range(7):
        near = values[:, max(channel - 2, 0) : channel + 3].square().sum(1)
        expected[:, channel] = values[:, channel] / (2 + 1e-4 * near) ** 0.75
    torch.testing.assert_close(norm(values), expected)


def test_zfnet_gives_logits_per_class():
    with torch.device("meta"):
        assert ZFNet(num_classes=7)(torch.empty(2, 3, 224, 224)).shape == (2, 7)


def test_the_architecture_travels_with_the_weights(tmp_path: Path):
    source = small(1, batch_norm=True, dropout=0.0)
    metadata = {"architecture": json.dumps(source.architecture)}
    save_weights(source, tmp_path / "w.safetensors", metadata=metadata)
    loaded = mnist_cnn(weights=tmp_path / "w.safetensors")
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(digits(2)), source.eval()(digits(2)))


@pytest.mark.parametrize("architecture", ["{", '{"depth": 3}', '{"channels": "many"}', "3", '{"dropout": 2}'])
def test_a_wrong_architecture_is_a_checkpoint_error(tmp_path: Path, architecture: str):
    save_weights(small(), tmp_path / "w.safetensors", metadata={"architecture": architecture})
    with pytest.raises(CheckpointError, match="describes no MnistCNN"):
        mnist_cnn(weights=tmp_path / "w.safetensors")


def test_foreign_weights_do_not_fit_the_reference_network(tmp_path: Path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"conv1\.weight is missing"):
        mnist_cnn(weights=tmp_path / "w.pt")


def test_untrained_is_a_choice():
    torch.manual_seed(0)
    assert not torch.equal(mnist_cnn(pretrained=False).conv1.weight, mnist_cnn().conv1.weight)
