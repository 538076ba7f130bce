"""Evolution: what changes between checkpoints is found where it changes, and nowhere else."""

from __future__ import annotations

import math
import os
import pickle

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.errors import CheckpointError, DataError, InputError, MissingFileError, UnknownLayerError
from deconvviz.experiments import evolution
from deconvviz.models import MnistCNN, TrainingSettings, initialised, mnist_cnn, train_mnist
from deconvviz.models.checkpoints import HiddenCheckpointsWarning, checkpoint_files, snapshot
from deconvviz.results import Evolution

ACROSS = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 0, 0]])
DOWN = ACROSS.T


def two_layers() -> nn.Sequential:
    """Two filters, a rectifier, and a layer of two channels above."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Conv2d(2, 2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.stack([ACROSS, DOWN])[:, None])
        model[2].weight.copy_(torch.eye(2)[:, :, None, None])
    return model


def lines() -> torch.Tensor:
    """Image 0 has a line across, image 1 a line down, fainter images follow."""
    images = torch.zeros(4, 1, 7, 7)
    images[0, 0, 2], images[1, 0, :, 4] = 1, 1
    images[2:] = images[:2] / 2
    return images


def changed(model: nn.Module, **weights: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**snapshot(model), **{name.replace("_", "."): value for name, value in weights.items()}}


def everything(found: Evolution, layer: str) -> list[float]:
    curves = found.changed[layer], found.jumps[layer], found.moves[layer], found.remaining[layer]
    return torch.cat([curve.flatten() for curve in curves]).tolist()


def test_equal_checkpoints_do_not_drift():
    model = initialised(0)
    found = evolution(
        dv.DeconvNet(model),
        [snapshot(model)] * 3,
        mnist_test()[0][:20],
        layers=["conv1", "conv2", "fc2"],
        progress=False,
    )
    for layer, channels in (("conv1", 24), ("conv2", 48), ("fc2", 10)):
        assert found.images[layer].shape == (channels, 3)
        assert (found.images[layer] == found.images[layer][:, :1]).all()
        assert set(everything(found, layer)) == {0.0}
        assert found.settled[layer] == 0
        assert len({(row[0].image, row[0].position) for row in found.grids[layer]} | {None}) > 1
        for row in found.grids[layer]:
            assert all(torch.equal(unit.pixels, row[0].pixels) for unit in row)
    assert "1 training run is too few to say which of 3 layers settle first" in found.verdict


def test_rounding_is_no_change():
    model = initialised(0)
    steps = [{name: share * weight for name, weight in snapshot(model).items()} for share in (0.3, 0.7, 1.1)]
    found = evolution(dv.DeconvNet(model), steps, mnist_test()[0][:20], layers=["conv1", "conv2"], progress=False)
    for layer in ("conv1", "conv2"):
        assert set(everything(found, layer)) == {0.0}
        assert found.settled[layer] == 0
        assert found.half_times[layer].tolist() == [[0, 0]]


def test_a_filter_that_switches_makes_its_strongest_image_change_there():
    model = two_layers()
    turned = changed(model, **{"0_weight": torch.stack([DOWN, DOWN])[:, None]})
    found = evolution(dv.DeconvNet(model), [snapshot(model)] * 2 + [turned] * 2, lines(), layers="0", progress=False)
    assert found.images["0"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]
    assert found.changed["0"].tolist() == [0, 0.5, 0]
    # The projection of a linear filter is the filter: three equal pixels each, of which the two share one.
    apart = math.sqrt(2 / 3)
    assert torch.allclose(found.moves["0"], torch.tensor([[0, apart, 0], [0, 0, 0]], dtype=torch.float64), atol=1e-7)
    assert found.remaining["0"][:, 1:].tolist() == [[pytest.approx(apart), 0, 0], [0, 0, 0]]
    assert found.jumps["0"][1].tolist() == [0, 0, 0]
    # On whole images the line across lies at rows 2, the line down at column 4: one pixel or none in common.
    assert found.jumps["0"][0, 1] == pytest.approx(apart) or found.jumps["0"][0, 1] == pytest.approx(1)
    assert found.settled["0"] == 2
    before, after = found.grids["0"][0][1], found.grids["0"][0][2]
    assert (before.image, after.image, before.activation, after.activation) == (0, 1, 3, 3)
    assert torch.equal(before.pixels[0], 3 * ACROSS)
    assert torch.equal(after.pixels[0], 3 * DOWN)
    assert torch.equal(after.patch[0], DOWN)


def test_what_changes_above_does_not_move_what_lies_below():
    model = two_layers()
    crossed = changed(model, **{"2_weight": torch.eye(2).flip(0)[:, :, None, None]})
    found = evolution(dv.DeconvNet(model), [snapshot(model), crossed], lines(), progress=False)
    assert found.layers == ("0", "2")
    assert set(everything(found, "0")) == {0.0}
    assert found.changed["2"].tolist() == [1]
    assert found.moves["2"].tolist() == [[pytest.approx(math.sqrt(2 / 3))]] * 2
    assert found.settled == {"0": 0, "2": 1}
    assert "lower layers settle" not in found.verdict  # of one run


def test_a_layer_is_settled_once_half_of_the_first_distance_is_left_for_good():
    model = nn.Sequential(nn.Conv2d(1, 1, (1, 2), bias=False))
    steps = {}
    for step, degrees in ((10, 90), (20, 20), (30, 60), (50, 25), (90, 0)):
        turned = torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        steps[f"step {step}"] = {"0.weight": turned.view(1, 1, 1, 2)}
    found = evolution(dv.DeconvNet(model), steps, torch.rand(5, 1, 3, 3), progress=False)
    expected = [math.sqrt(1 - math.cos(math.radians(degrees))) for degrees in (90, 20, 60, 25, 0)]
    assert found.remaining["0"][0].tolist() == pytest.approx(expected, abs=1e-7)
    assert found.times == (10, 20, 30, 50, 90)
    assert found.settled["0"] == 50  # at 20 it is below half, but not for good


def test_channels_that_never_fire_have_no_strongest_image_to_change():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    silent = changed(model, **{"0_weight": torch.stack([ACROSS, -DOWN])[:, None], "0_bias": torch.tensor([0.0, -1])})
    louder = changed(model, **{"0_weight": torch.stack([DOWN, -ACROSS])[:, None], "0_bias": torch.tensor([0.0, -1])})
    found = evolution(dv.DeconvNet(model), [silent, louder], lines(), progress=False)
    assert found.changed["0"].tolist() == [1]  # of the one that fires
    assert found.grids["0"][1][0].activation == -1


def test_the_model_is_left_as_it_was_also_after_an_error():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()).train()
    with torch.no_grad():
        model(torch.rand(4, 1, 5, 5))
    before, tensors = snapshot(model), [id(parameter) for parameter in model.parameters()]
    other = {name: value + 1 for name, value in before.items()}
    broken = {**before, "0.weight": before["0.weight"] * math.nan}
    overflows = {**before, "0.weight": before["0.weight"] * 1e38, "1.weight": before["1.weight"] * 1e38}
    net, data = dv.DeconvNet(model), torch.rand(4, 1, 5, 5)
    evolution(net, [other, before], data, progress=False)
    for weights, said in (
        ([other, broken, other], "checkpoint '1' holds values that are NaN or infinite, in 0.weight"),
        ([other, overflows, other], "checkpoint '1': "),  # what is wrong, the scan says
        ([other, {"0.weight": before["0.weight"]}], "checkpoint '1' does not fit Sequential: 0.bias is missing"),
    ):
        with pytest.raises((InputError, CheckpointError), match=said):
            evolution(net, weights, data, layers="1", progress=False)
        now = model.state_dict()
        assert all(torch.equal(value, now[name]) for name, value in before.items())
        assert [id(parameter) for parameter in model.parameters()] == tensors
        assert all(module.training for module in model.modules())


def test_a_generator_may_train_the_very_model():
    model = two_layers()

    def trained():
        for step in (1, 5):
            with torch.no_grad():
                model[0].weight.copy_(torch.stack([ACROSS if step == 1 else DOWN, DOWN])[:, None])
            yield step, model.state_dict()

    found = evolution(dv.DeconvNet(model), trained(), lines(), layers="0", progress=False)
    assert found.images["0"].tolist() == [[0, 1], [1, 1]]
    assert found.times == (1, 5)
    assert torch.equal(model[0].weight[0, 0], DOWN)  # as the generator left it


def test_projections_are_those_of_a_network_with_these_weights():
    states = [snapshot(initialised(seed)) for seed in (1, 2)]
    images = mnist_test()[0][:30]
    found = evolution(
        dv.DeconvNet(initialised(0)), states, images, layers=["conv2", "fc1"], channel={"conv2": [3, 40], "fc1": [7]}
    )
    for layer, rows in found.grids.items():
        for row in rows:
            for state, unit in zip(states, row, strict=True):
                model = MnistCNN()
                model.load_state_dict(state)
                top = dv.scan(dv.DeconvNet(model), images, layers=layer, k=1, progress=False)
                assert int(top.images[layer][unit.channel, 0]) == unit.image
                projection = dv.DeconvNet(model).project(
                    images[unit.image][None],
                    layer,
                    channel=unit.channel,
                    position=unit.position or "max",
                    window="full",
                )
                (top_, bottom), (left, right) = unit.field
                assert torch.allclose(projection.pixels[0, :, top_:bottom, left:right], unit.pixels, atol=1e-5)
                assert torch.equal(images[unit.image][:, top_:bottom, left:right], unit.patch)
    assert found.measured == {"conv2": (3, 40), "fc1": (7,)}


def test_by_default_five_convolutions_and_the_channels_that_end_strongest():
    model = nn.Sequential(*(nn.Conv2d(1 if not n else 8, 8, 1) for n in range(9)), nn.Flatten(), nn.Linear(32, 3))
    last = snapshot(model)
    found = evolution(dv.DeconvNet(model), [last, last], torch.rand(6, 1, 2, 2), progress=False)
    assert found.layers == ("0", "2", "4", "6", "8")
    strongest = dv.scan(dv.DeconvNet(model), torch.zeros(1, 1, 2, 2), layers="8", progress=False)
    assert len(strongest.values["8"]) == 8
    assert [len(rows) for rows in found.grids.values()] == [6] * 5


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A folder that the trainer wrote, ten epochs of a narrow network on few digits."""
    folder = tmp_path_factory.mktemp("training")
    images, labels = mnist_test()
    settings = TrainingSettings(epochs=10, learning_rate=3e-3, batch_size=16, threads=1)
    architecture = {"channels": (4, 6), "width": 16}
    train_mnist(images[:200], labels[:200], settings=settings, checkpoints=folder, progress=False, **architecture)
    return folder


def test_a_training_is_read_from_its_folder(training, tmp_path):
    model = MnistCNN(channels=(4, 6), width=16)
    found = evolution(dv.DeconvNet(model), training, mnist_test()[0][:50], progress=False)
    assert found.checkpoints == tuple(f"epoch-{epoch:03d}" for epoch in range(1, 11))
    assert found.times == tuple(range(1, 11))
    for layer in ("conv1", "conv2"):
        left = found.remaining[layer].mean(0)
        assert left[0] > left[5] > left[-1] == 0
    assert found.count == 50
    loaded = Evolution.load(found.save(tmp_path / "found.safetensors"))
    assert str(loaded) == str(found)
    assert torch.equal(loaded.grids["conv2"][2][3].pixels, found.grids["conv2"][2][3].pixels)
    figure = loaded.figure(columns=4)
    assert found.verdict in figure._supxlabel.get_text()
    assert len(figure.axes) == 6, "two grids, the key of their colours, three curves"
    assert {text.get_text() for text in figure.axes[0].texts} >= {"1", "4", "7", "10", "patch"}


def test_checkpoints_come_in_the_natural_order_of_their_names(tmp_path):
    for name in ("epoch-10.pt", "epoch-9.pth", "epoch-100.safetensors", "state.pt", "notes.txt", ".epoch-3.pt"):
        (tmp_path / name).touch()
    with pytest.warns(HiddenCheckpointsWarning, match=r"left out: \.epoch-3\.pt \(hidden\)$"):
        files = checkpoint_files(tmp_path)
    assert [path.name for path in files] == ["epoch-9.pth", "epoch-10.pt", "epoch-100.safetensors"]


def test_a_folder_of_hidden_checkpoints_holds_none(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in (".epoch-1.pt", ".epoch-2.safetensors", ".notes.txt"):
        (tmp_path / "run" / name).touch()
    assert cli.main(["evolve", "mnist", "run", "mnist"]) == 2
    said = capsys.readouterr().err
    assert said == "deconvviz: the folder 'run' holds no checkpoints but hidden ones, which are left out\n"


def test_hidden_checkpoints_beside_others_are_said_once_and_not_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    good = snapshot(mnist_cnn())
    for number in (1, 2):
        torch.save(good, tmp_path / "run" / f"epoch-{number}.pt")
    (tmp_path / "run" / ".epoch-3.pt").write_text("no weights")
    (tmp_path / "images").mkdir()
    Image.new("L", (28, 28), 99).save(tmp_path / "images" / "a.png")
    assert cli.main(["evolve", "mnist", "run", "images", "--layers", "conv1", "--channel", "0", "--out", "out"]) == 0
    assert capsys.readouterr().err == "note: of the folder 'run' were left out: .epoch-3.pt (hidden)\n"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_mistakes_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = two_layers()
    net, good = dv.DeconvNet(model), snapshot(model)
    (tmp_path / "run").mkdir()

    def refused(kind, said, checkpoints=(good, good), data=None, **options):
        with pytest.raises(kind, match=said):
            evolution(net, checkpoints, lines() if data is None else data, progress=False, **options)

    refused(MissingFileError, "there is no folder 'nowhere' of checkpoints", "nowhere")
    refused(CheckpointError, "the folder 'run' holds no checkpoints", tmp_path.joinpath("run").name)
    save_file(good, "run/epoch-1.safetensors")
    refused(InputError, "in the folder 'run' there is only 'epoch-1'; give two or more", "run")
    save_file({**good, "0.weight": torch.zeros(5, 1, 3, 3)}, "run/epoch-2.safetensors")
    refused(CheckpointError, r"'run/epoch-2.safetensors' does not fit Sequential: 0.weight is 5 x 1 x 3 x 3", "run")
    (tmp_path / "run/epoch-2.safetensors").write_bytes(b"\x01" * 20)
    refused(CheckpointError, "'run/epoch-2.safetensors' is truncated", "run")
    (tmp_path / "run/epoch-2.safetensors").unlink()
    (tmp_path / "run/epoch-2.pt").write_bytes(pickle.dumps(Malicious()))
    refused(CheckpointError, "epoch-2.pt' (holds Python objects|is truncated or neither)", "run")
    assert not (tmp_path / "ran").exists()
    refused(InputError, "there is none; give two or more", [])
    refused(InputError, "checkpoint 1 is a Sequential; it must be a state dict", [good, model])
    refused(UnknownLayerError, "there is no layer '1.weight' in Sequential", layers=["1.weight"])
    refused(InputError, "layer '0' has channels 0 to 1, not 2", channel=[0, 2])
    refused(InputError, "there is no channel to project; layer '0' has channels 0 to 1", channel=[])
    refused(InputError, "channels are given for layer '2', which is not among", layers="0", channel={"2": [0]})
    refused(DataError, "the dataset is empty", data=lines()[:0])
    refused(InputError, "give a dataset with items by number", data=iter(lines()))


def test_the_command_writes_and_prints(training, tmp_path, capsys):
    (tmp_path / "digits").mkdir()
    for n, digit in enumerate(mnist_test()[0][:20]):
        Image.fromarray((digit[0] * 255).round().byte().numpy()).save(tmp_path / "digits" / f"{n:02d}.png")
    out = tmp_path / "out"
    call = ["evolve", "mnist", training, tmp_path / "digits", "--layers", "conv1", "fc2", "--channel", 0, 3]
    assert cli.main([str(word) for word in [*call, "--out", out]]) == 0
    printed = capsys.readouterr().out
    found = Evolution.load(out / "evolve.safetensors")
    assert str(found) in printed
    assert [[row[0].channel for row in rows] for rows in found.grids.values()] == [[0, 3], [0, 3]]
    assert found.images["conv1"].shape == (4, 10)  # as narrow as the network that was trained
    with Image.open(out / "evolve.png") as picture:
        assert min(picture.size) > 600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mnist", "nowhere", "mnist"], "there is no folder 'nowhere' of checkpoints"),
        (["mnist", "empty", "mnist"], "the folder 'empty' holds no checkpoints"),
        (["zfnet", "TRAINING", "mnist"], "epoch-010.safetensors' does not fit ZFNet"),
        (["mnist", "TRAINING", "mnist", "--layers", "conv9"], "there is no layer 'conv9'"),
        (["mnist", "TRAINING", "DIGITS", "--channel", "4"], "layer 'conv1' has channels 0 to 3, not 4"),
        (["mnist", "TRAINING", "empty"], "the folder 'empty' holds no image files"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, training, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "digits").mkdir()
    Image.new("L", (28, 28), 128).save(tmp_path / "digits" / "one.png")
    names = {"TRAINING": str(training), "DIGITS": "digits"}
    assert cli.main(["evolve", *(names.get(word, word) for word in arguments)]) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    assert said in printed[-1]
    assert all(line.startswith(("deconvviz: ", "note: ")) for line in printed)
