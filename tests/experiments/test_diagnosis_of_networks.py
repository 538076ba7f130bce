"""Diagnosis: what was planted in a network is found by name, and nothing else is."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import DataError, InputError, UnknownLayerError
from deconvviz.experiments import diagnose
from deconvviz.models import clip_filter_rms_, mnist_cnn
from deconvviz.models.filters import aliased_energy, bands_of_noise, filter_rms, frequency_bands
from deconvviz.results import Diagnosis


class Planted(nn.Module):
    """Three convolutions: behind a ReLU, behind a batch norm and a functional ReLU, and behind nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(8, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.third = nn.Conv2d(8, 4, 3)

    def forward(self, x):
        x = self.relu(self.first(x))
        x = F.relu(self.norm(self.second(x)))
        return self.third(x)


def healthy(seed: int = 0) -> Planted:
    torch.manual_seed(seed)
    model = Planted().eval()
    with torch.no_grad():
        model.first.bias.zero_()
    return model


def noise(count: int = 12) -> torch.Tensor:
    return torch.randn(count, 2, 9, 9, generator=torch.Generator().manual_seed(1))


def flags(found: Diagnosis) -> set[tuple[str, str, int | None]]:
    return {(flag.problem, flag.layer, flag.channel) for flag in found.flags}


def test_a_healthy_network_has_no_flags():
    found = diagnose(dv.DeconvNet(healthy()), noise(), progress=False)
    assert flags(found) == set()
    assert [(one.seen_at, one.rectified) for one in found.layers] == [
        ("relu", True),
        ("relu_1", True),
        ("third", False),
    ]
    assert "Of 20 channels in 3 layers, on 12 images, none is dead" in found.verdict
    assert found.remarks() == []


def test_what_was_planted_is_found_and_nothing_else():
    model = healthy()
    with torch.no_grad():
        model.first.bias[2] = -100  # dead
        model.first.bias[5] = 100  # always on
        model.second.weight[:, 5] = 0  # or what comes next is always on or dead, too
        model.first.weight[6], model.first.bias[6] = 1.5 * model.first.weight[1], 0
        model.norm.bias[0] = -100  # dead behind the norm
        model.norm.bias[3] = 100
        model.second.weight[7] = -model.second.weight[4]  # a duplicate, as the norm turns it round
        model.norm.weight[7] = -1
        model.third.weight[2] = 0  # constant
        model.third.weight[0] *= 10
    found = diagnose(dv.DeconvNet(model), noise(), progress=False)
    assert flags(found) == {
        ("dead", "first", 2),
        ("always on", "first", 5),
        ("duplicate", "first", 6),
        ("dead", "second", 0),
        ("always on", "second", 3),
        ("duplicate", "second", 7),
        ("dead", "third", 2),
        ("RMS", "third", 0),
    }
    assert {flag.layer: flag.other for flag in found.flagged("duplicate")} == {"first": 1, "second": 4}
    assert [flag.value for flag in found.flagged("duplicate")] == [pytest.approx(1, abs=1e-5)] * 2
    first, second, third = found.layers
    assert (first.active[2], first.active[5]) == (0, 1)
    assert math.isnan(first.correlation[2])
    assert second.cosine[7] < 0.5  # only what they do is alike
    assert third.rms[0] == pytest.approx(float(model.third.weight[0].detach().square().mean().sqrt()))
    remarks = found.remarks()
    assert remarks[0].startswith("dead: first 2; second 0; third 2. Remedy: ")
    assert remarks[2].startswith("duplicate: first 6 (like 1); second 7 (like 4). Remedy: ")
    assert "3 are dead, 2 are always on, 2 are duplicates of others, 1 is an outlier" in found.verdict


def test_equal_filters_are_duplicates_though_they_fire_differently():
    model = healthy()
    with torch.no_grad():
        model.first.weight[3] = model.first.weight[0]
        model.first.bias[3] = -1.0
    found = diagnose(dv.DeconvNet(model), noise(), layers="first", progress=False)
    assert flags(found) == {("duplicate", "first", 3)}
    assert found.layers[0].correlation[3] < 0.9
    assert found.layers[0].cosine[3] == pytest.approx(1)


def test_filters_of_different_groups_are_not_compared():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU())
    with torch.no_grad():
        model[0].weight[2] = model[0].weight[0]
        model[0].bias.zero_()
    found = diagnose(dv.DeconvNet(model), noise(), progress=False)
    assert flags(found) == set()
    assert float(found.layers[0].cosine.max()) < 0.98


def test_what_is_read_beside_its_rectifier_is_not_dead_there():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3)

        def forward(self, x):
            y = self.conv(x)
            return y + F.relu(y)

    model = Skip()
    with torch.no_grad():
        model.conv.bias[0] = -100
    found = diagnose(dv.DeconvNet(model), noise(), progress=False)
    assert (found.layers[0].seen_at, found.layers[0].rectified, flags(found)) == ("conv", False, set())


def test_correlations_are_those_over_all_positions_however_the_data_are_cut():
    model, x = healthy(), noise(21)
    with torch.no_grad():
        maps = F.relu(model.first(x)).movedim(1, 0).flatten(1).double()
    expected = torch.corrcoef(maps).fill_diagonal_(-2).amax(1)
    for batch_size in (1, 4, 21):
        found = diagnose(dv.DeconvNet(model), x, layers="first", batch_size=batch_size, progress=False)
        assert torch.allclose(found.layers[0].correlation, expected, atol=1e-5)
        assert torch.equal(found.layers[0].active, (maps > 0).double().mean(1))


def test_the_rms_limit_is_for_the_first_layer():
    model = healthy()
    found = diagnose(dv.DeconvNet(model), noise(), rms_limit=0.1, progress=False)
    over = filter_rms(model.first.weight) > 0.1
    assert flags(found) == {("RMS", "first", int(channel)) for channel in over.nonzero()}
    assert over.any()


def test_frequency_shares_of_pure_filters_are_exact():
    ramp = torch.arange(8.0)
    waves = [torch.ones(8, 8), torch.cos(2 * math.pi * 2 / 8 * ramp).expand(8, 8), torch.cos(math.pi * ramp)[:, None]]
    filters = torch.stack([one.expand(8, 8) for one in waves])[:, None]
    assert torch.allclose(frequency_bands(filters), torch.eye(3, dtype=torch.float64), atol=1e-12)
    mixed = 3 * filters[:1] + 4 * filters[2:]
    assert frequency_bands(mixed)[0].tolist() == pytest.approx([9 / 25, 0, 16 / 25])
    assert frequency_bands(torch.zeros(1, 1, 8, 8)).isnan().all()
    assert bands_of_noise((3, 3)).tolist() == pytest.approx([1 / 9, 4 / 9, 4 / 9])
    random = torch.randn(4000, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(frequency_bands(random).mean(0), bands_of_noise((7, 7)), atol=0.01)


def test_extreme_frequencies_with_little_between_are_said_of_the_layer():
    model = nn.Sequential(nn.Conv2d(1, 2, 8), nn.ReLU())
    with torch.no_grad():
        model[0].weight[0] = 1.0
        model[0].weight[1] = torch.cos(math.pi * torch.arange(8.0))
    found = diagnose(dv.DeconvNet(model), torch.randn(20, 1, 10, 10), progress=False)
    assert ("frequencies", "0", None) in flags(found)
    assert "the filters of 0 have 0% of their energy in mid frequencies" in found.verdict


@pytest.mark.parametrize(("cycles", "share"), [(3, 0.0), (6, 0.0), (11, 1.0), (15, 1.0)])
def test_a_sinusoid_is_aliasing_above_half_the_sampling_rate_and_not_below(cycles, share):
    wave = torch.cos(2 * math.pi * cycles / 32 * torch.arange(32.0))
    for maps in (wave.expand(1, 1, 32, 32), wave[:, None].expand(1, 1, 32, 32)):  # the limit of stride 2 is 8 cycles
        above, energy = aliased_energy(maps, (2, 2))
        assert float(above / energy) == pytest.approx(share, abs=1e-6)
    above, energy = aliased_energy(wave.expand(1, 1, 32, 32), (2, 1))  # across, nothing is left out
    assert float(above / energy) == pytest.approx(0, abs=1e-6)


def test_aliasing_of_white_noise_is_the_share_of_frequencies():
    above, energy = aliased_energy(torch.randn(60, 1, 33, 33), (2, 2))
    assert float(above / energy) == pytest.approx(1 - (17 / 33) ** 2, abs=0.02)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_aliasing_of_a_layer_is_of_its_response_before_the_stride(mode):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=4, padding=1, bias=False, padding_mode=mode), nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[0, 0, 1, 1] = 1  # as it is
        model[0].weight[1, 0] = torch.tensor([1.0, 2, 1])[:, None] * torch.tensor([1.0, 2, 1]) / 16  # smoothed
    x = torch.randn(30, 1, 32, 32)
    found = diagnose(dv.DeconvNet(model), x, progress=False).layers[0]
    assert found.aliasing[0] > 0.9
    assert found.aliasing[1] < found.aliasing[0] - 0.2
    dense = nn.Conv2d(1, 2, 3, padding=1, bias=False, padding_mode=mode)
    dense.load_state_dict(model[0].state_dict())
    with torch.no_grad():
        above, energy = aliased_energy(dense(x), (4, 4))
    assert torch.allclose(found.aliasing, above / energy, atol=1e-6)
    assert math.isnan(diagnose(dv.DeconvNet(healthy()), noise(), layers="first", progress=False).layers[0].aliasing[0])


def test_clipping_scales_filters_back_to_the_limit():
    model = nn.Sequential(nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1), nn.Linear(1, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.3, -0.1, 0.3, 0.1], [0.1, 0.1, -0.1, 0.1]]).view(2, 1, 2, 2))
        model[2].weight.copy_(torch.tensor([0.3, 0.4]).view(1, 2, 1, 1))
        model[3].weight.fill_(7)
    before = model[0].weight.clone()
    assert clip_filter_rms_(model, layers=["0"]) == 1
    assert torch.allclose(model[0].weight[0], before[0] * 0.1 / math.sqrt(0.05))
    assert torch.equal(model[0].weight[1], before[1])
    assert model[2].weight.flatten().tolist() == pytest.approx([0.3, 0.4])
    assert clip_filter_rms_(model) == 1
    assert model[2].weight.flatten().tolist() == pytest.approx(
        [0.3 * 0.1 / math.sqrt(0.125), 0.4 * 0.1 / math.sqrt(0.125)]
    )
    assert clip_filter_rms_(model, limit=0.2) == 0
    assert model[3].weight.item() == 7


def test_clipping_refuses_what_it_cannot_do():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1)))
    for options, kind, said in (
        ({"limit": 0}, InputError, "above zero, not 0"),
        ({"layers": ["conv"]}, UnknownLayerError, "there is no layer 'conv' in Sequential"),
        ({"layers": ["1"]}, InputError, "layer '1' is a ReLU; only filters of convolutions"),
        ({"layers": ["2"]}, InputError, "layer '2' computes its filters from other weights"),
    ):
        with pytest.raises(kind, match=said):
            clip_filter_rms_(model, **options)


def test_training_goes_on_with_clipped_filters():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 26 * 26, 10))
    images, labels = mnist_test()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(5):
        optimiser.zero_grad()
        F.cross_entropy(model(images[:32]), labels[:32]).backward()
        optimiser.step()
        clip_filter_rms_(model, 0.15)
        assert float(filter_rms(model[0].weight).max()) <= 0.15 * (1 + 1e-6)


def test_the_model_is_left_as_it_was():
    model = healthy().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnose(dv.DeconvNet(model), noise(), progress=False)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_mistakes_in_python():
    net = dv.DeconvNet(healthy())

    def refused(kind, said, data=None, network=net, **options):
        with pytest.raises(kind, match=said):
            diagnose(network, noise() if data is None else data, progress=False, **options)

    refused(UnknownLayerError, "there is no layer 'frist' in Planted; did you mean 'first'", layers="frist")
    refused(InputError, "layer 'relu' is a ReLU; only convolutions and linear layers", layers=["relu"])
    refused(DataError, "the dataset is empty", data=noise()[:0])
    refused(InputError, "not similar=1.5", similar=1.5)
    refused(InputError, "the first convolution, 'first', takes", data=torch.rand(3, 1, 9, 9))
    linear = dv.DeconvNet(nn.Sequential(nn.Flatten(), nn.Linear(162, 3)))
    refused(InputError, "the model Sequential runs no convolution; name the layers", network=linear)
    found = diagnose(linear, noise(), layers="1", progress=False)
    assert found.layers[0].bands.isnan().all()
    assert found.figure().axes


def test_a_result_is_saved_drawn_and_printed(tmp_path):
    model = healthy()
    with torch.no_grad():
        model.first.bias[2] = -100
    found = diagnose(dv.DeconvNet(model), noise(), progress=False)
    loaded = Diagnosis.load(found.save(tmp_path / "found.safetensors"))
    assert str(loaded) == str(found)
    assert "dead: first 2. Remedy: " in str(found)
    assert loaded.as_json()["flags"] == [{"problem": "dead", "layer": "first", "channel": 2, "value": 0.0}]
    figure = loaded.figure()
    assert found.verdict in figure._supxlabel.get_text()
    frames = [
        patch for patch in figure.axes[0].patches if patch.get_edgecolor()[:3] == pytest.approx((0x44 / 255,) * 3)
    ]
    assert len(frames) == 1


def test_the_command_writes_and_prints(tmp_path, capsys):
    (tmp_path / "digits").mkdir()
    for n, digit in enumerate(mnist_test()[0][:20]):
        Image.fromarray((digit[0] * 255).round().byte().numpy()).save(tmp_path / "digits" / f"{n:02d}.png")
    call = ["diagnose", "mnist", str(tmp_path / "digits"), "--out", str(tmp_path / "out"), "--similar", "0.8"]
    assert cli.main(call) == 0
    printed = capsys.readouterr().out
    found = Diagnosis.load(tmp_path / "out" / "diagnose.safetensors")
    assert str(found) in printed
    expected = diagnose(dv.DeconvNet(mnist_cnn()), mnist_test()[0][:20], similar=0.8, progress=False)
    assert flags(found) == flags(expected)
    with Image.open(tmp_path / "out" / "diagnose.png") as picture:
        assert min(picture.size) > 600
    assert cli.main([*call, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == found.verdict


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnist", "mnist", "--layers", "conv9"], "there is no layer 'conv9'"),
        (["mnist", "mnist", "--layers", "pool1"], "layer 'pool1' is a MaxPool2d"),
        (["mnist", "empty"], "the folder 'empty' holds no image files"),
        (["mnist", "mnist", "--outlier", "0.5"], "outlier is above 1"),
        (["mnist", "mnist", "--weights", "no.pt"], "there is no file 'no.pt'"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert cli.main(["diagnose", *arguments]) == 2
    assert said in capsys.readouterr().err
