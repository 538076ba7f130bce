"""Checkpoints as trainers write them: names, wrappers and numbers beside the weights, heads for other classes."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.errors import CheckpointError, InputError
from deconvviz.experiments import evolution
from deconvviz.models import load_weights, read_weights
from deconvviz.models.by_name import load_model

X = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(3))


class Net(nn.Module):
    """Two convolutions and a head, with parts in a Sequential."""

    def __init__(self, num_classes: int = 7, head: nn.Module | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3))
        self.fc = head or nn.Linear(5, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x).amax((2, 3)))


class Detector(nn.Module):
    """Six anchors at each place: scores for each class, and four numbers of a box, which come after them."""

    def __init__(self, num_classes: int = 91) -> None:
        super().__init__()
        self.features, self.scores = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 6 * num_classes, 3)
        self.boxes = nn.Conv2d(5, 6 * 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        return torch.cat([self.scores(maps), self.boxes(maps)], 1)


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.extra = Net(), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.extra(self.backbone(x))


def net(seed: int = 1, **options: Any) -> Net:
    torch.manual_seed(seed)
    return Net(**options).eval()


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def wrapped_inside(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As where only the features were given to DataParallel."""
    return {name.replace("features.", "features.module."): value for name, value in state.items()}


def profiled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    counts = {"total_ops": torch.zeros(1), "features.0.total_params": torch.zeros(1)}
    return {**state, **counts}


BESIDE = {
    "best_acc": np.float64(0.5),
    "accuracies": np.array([1.0, 2.0]),
    "args": argparse.Namespace(lr=0.1, out=pathlib.Path("out")),
    "when": datetime.datetime(2024, 1, 2),
    "counts": collections.defaultdict(list, {"a": [1]}),
    "epoch": 3,
    "step": torch.tensor(7),
}

CHECKPOINTS = {
    "Lightning": lambda s: {"state_dict": under("model.", s), "epoch": 3, "hyper_parameters": {"lr": np.float32(1)}},
    "net": lambda s: {"net": s, "acc": 93.5, "epoch": 1},
    "model_state": lambda s: {"model_state": s},
    "weights": lambda s: {"weights": s},
    "params": lambda s: {"params": s},
    "ema": lambda s: {"ema": {"module": s, "decay": 0.99}},
    "a name of one's own": lambda s: {"my_network": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "the trained one before its average": lambda s: {"ema": {k: v * 2 for k, v in s.items()}, "model": s},
    "DataParallel in Lightning": lambda s: {"state_dict": under("model.module.", s)},
    "compiled in Lightning": lambda s: {"state_dict": under("model._orig_mod.", s)},
    "wrapped in the middle": wrapped_inside,
    "FSDP": lambda s: under("_fsdp_wrapped_module.", s),
    "with a loss": lambda s: {"state_dict": {**under("net.", s), "criterion.weight": torch.ones(7)}},
    "profiled": profiled,
    "numbers beside": lambda s: {"state_dict": s, **BESIDE},
    "numbers in it": lambda s: {**s, "epoch": 3, "best_acc": np.float64(0.5)},
    "nested": lambda s: {"checkpoint": {"model": s}},
}


def fits(model: nn.Module, source: nn.Module) -> bool:
    """Whether two networks give exactly the same result."""
    with torch.no_grad():
        return torch.equal(model.eval()(X), source.eval()(X))


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_trainers_checkpoint_loads(tmp_path: Path, kind: str):
    source, model = net(1), net(2)
    torch.save(CHECKPOINTS[kind](dict(source.state_dict())), tmp_path / "w.ckpt")
    loaded = load_weights(model, tmp_path / "w.ckpt")
    assert fits(model, source)
    assert loaded.left_random == ()


def test_what_was_renamed_and_dropped_is_said_in_one_line(tmp_path: Path):
    state = under("net.", profiled(dict(net(1).state_dict())))
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(7)}}, tmp_path / "w.pt")
    loaded = load_weights(net(2), tmp_path / "w.pt")
    path = str(tmp_path / "w.pt")
    assert str(loaded) == (
        f"{path!r}: names without 'net.'; not used: net.total_ops, net.features.0.total_params, criterion.weight"
    )
    assert loaded.entry == "state_dict"
    torch.save(net(1).state_dict(), path)
    assert str(load_weights(net(2), path)) == ""


def test_weights_without_the_models_own_prefix_load(tmp_path: Path):
    source, model = net(1), Holder()
    torch.save(source.state_dict(), tmp_path / "w.pt")
    loaded = load_weights(model, tmp_path / "w.pt")
    assert fits(model.backbone, source)
    assert loaded.left_random == ("extra.weight", "extra.bias")


def test_weights_that_fit_under_two_names_are_not_guessed(tmp_path: Path):
    state = {**under("encoder_q.", dict(net(1).state_dict())), **under("encoder_k.", dict(net(2).state_dict()))}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"fits under several names, 'encoder_k\.' and 'encoder_q\.'"):
        load_weights(net(3), tmp_path / "w.pt")


# Heads


@pytest.mark.parametrize("file", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("head", [nn.Linear(5, 4), nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3)), None])
def test_a_head_that_does_not_fit_is_left_out_for_layers_before_it(tmp_path: Path, file: str, head: nn.Module | None):
    source, model = net(1, head=head), net(2)
    state = {name: value for name, value in source.state_dict().items() if head is not None or "fc" not in name}
    (save_file if file.endswith("s") else torch.save)(state, tmp_path / file)
    loaded = load_weights(model, tmp_path / file)
    assert loaded.left_random == ("fc.weight", "fc.bias")
    assert "not in it and random: fc.weight, fc.bias" in str(loaded)
    assert fits(model.features, source.features)
    projected = dv.DeconvNet(model).project(X, "features.3", channel=1)
    expected = dv.DeconvNet(source).project(X, "features.3", channel=1)
    assert torch.equal(projected.pixels, expected.pixels)


def test_layers_of_a_random_head_are_refused_until_it_is_trained(tmp_path: Path):
    torch.save(net(1, num_classes=4).state_dict(), tmp_path / "w.pt")
    model = net(2)
    load_weights(model, tmp_path / "w.pt")
    handle = dv.DeconvNet(model)
    for layer in ("fc", "output"):
        with pytest.raises(InputError, match=f"layer '{layer}' depends on the weights of 'fc', which are random"):
            handle.project(X, layer, channel=0)
    assert dv.scan(handle, X, k=1, progress=False).layers == ("features.0", "features.3")
    with torch.no_grad():
        model.fc.weight.mul_(2)
        model.fc.bias.mul_(2)
    assert handle.project(X, "fc", channel=0).pixels.shape == X.shape


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s.pop("features.3.weight"), "features.3.weight is missing"),
        (lambda s: [s.pop(n) for n in list(s) if n.startswith("features.3")], "features.3.weight is missing"),
        (lambda s: s.pop("fc.bias"), "fc.bias is missing"),
        (lambda s: s.update({"features.0.weight": torch.ones(6, 3, 3, 3)}), "features.0.weight is 6 x 3 x 3 x 3 in"),
        (lambda s: s.update({"norm.weight": torch.ones(5)}), "norm.weight is unknown to the model"),
        (lambda s: s.update({"features.4.weight": torch.ones(5, 5)}), "features.4.weight is unknown to the model"),
    ],
)
def test_what_is_no_head_must_fit(tmp_path: Path, change, sentence: str):
    state = dict(net(1).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(net(2), tmp_path / "w.pt")


def test_a_trunk_takes_the_weights_of_a_whole_network(tmp_path: Path):
    source, trunk = net(1), net(2).features
    torch.save(source.state_dict(), tmp_path / "w.pt")
    loaded = load_weights(trunk, tmp_path / "w.pt")
    assert fits(trunk, source.features)
    assert loaded.dropped == ("fc.weight", "fc.bias")


# The number of classes


FACTORIES = """
from tests.models.test_checkpoints_from_trainers import Detector, Net, net

def made():
    return net(2)

def told(num_classes=7):
    return Net(num_classes)
"""


@pytest.mark.parametrize(("factory", "classes"), [("told", 4), ("made", 7)])
def test_the_number_of_classes_is_taken_from_the_file(tmp_path: Path, factory: str, classes: int):
    (tmp_path / "nets.py").write_text(FACTORIES)
    source = net(1, num_classes=4)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    loaded = load_model(f"{tmp_path / 'nets.py'}:{factory}", tmp_path / "w.pt")
    assert loaded.model.eval()(X).shape == (1, classes)
    assert ("random: fc.weight, fc.bias" in loaded.remark) == (classes == 7)
    assert fits(loaded.model.features, source.features)


def test_heads_with_several_outputs_for_each_class_are_made_for_the_classes_of_the_file(tmp_path: Path):
    (tmp_path / "nets.py").write_text(FACTORIES)
    source = Detector(5)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    loaded = load_model(f"{tmp_path / 'nets.py'}:Detector", tmp_path / "w.pt")
    assert loaded.model.scores.weight.shape == (30, 5, 3, 3)
    assert fits(loaded.model, source)


def test_torchvision_models_are_made_for_the_classes_of_the_file(tmp_path: Path):
    models = pytest.importorskip("torchvision.models")
    source = models.squeezenet1_1(weights=None, num_classes=5)
    torch.save({"model": source.state_dict()}, tmp_path / "w.pth")
    loaded = load_model("torchvision:squeezenet1_1", tmp_path / "w.pth")
    assert loaded.remark == ""
    own, theirs = loaded.model.state_dict(), source.state_dict()
    assert all(torch.equal(own[key], theirs[key]) for key in theirs)


def test_the_command_line_says_it_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "nets.py").write_text(FACTORIES)
    torch.save({"state_dict": under("model.", dict(net(1, num_classes=4).state_dict()))}, tmp_path / "w.ckpt")
    model = ("layers", f"{tmp_path / 'nets.py'}:made", "--weights", str(tmp_path / "w.ckpt"), "--size", "12")
    assert cli.main(model) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "w.ckpt" in line]
    assert len(said) == 1
    assert said[0].endswith("w.ckpt': names without 'model.'; not in it and random: fc.weight, fc.bias")


# Files that are no weights


class Secret:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return pathlib.Path.touch, (pathlib.Path("/nowhere/touched"),)


class Own:
    """A class of the user's own."""


def savez(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda p: torch.jit.save(torch.jit.trace(net(), X), p), "is a TorchScript archive, a whole model"),
        (lambda p: torch.jit.save(torch.jit.script(nn.Conv2d(3, 4, 3)), p), "is a TorchScript archive"),
        (lambda p: torch.export.save(torch.export.export(net(), (X,)), p), "is an exported program, a whole model"),
        (lambda p: torch.save(net(), p), r"holds Python objects besides weights \(tests\.\S*\.Net\).*state dict alone"),
        (lambda p: torch.save({"model": net()}, p), r"holds Python objects besides weights"),
        (lambda p: torch.save({"state_dict": {}, "cfg": Own()}, p), r"besides weights \(tests\.\S*\.Own\)"),
        (lambda p: torch.save({"state_dict": {}, "cfg": Secret()}, p), r"besides weights"),
        (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid"), "is a pointer of Git LFS"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "is an HDF5 file, as Keras writes"),
        (lambda p: p.write_bytes(b"<!DOCTYPE html><html>"), "is a web page, not a file of weights"),
        (savez, "is a NumPy archive"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore:.*pt2.*:UserWarning")
def test_other_files_are_named_and_answered(tmp_path: Path, write, sentence: str):
    write(tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=sentence):
        load_weights(net(), tmp_path / "w.pt")
    assert not Path("/nowhere/touched").exists()


def test_settings_beside_the_weights_are_not_made(tmp_path: Path):
    """What stands beside the weights is read as an empty stand-in: no class of it is called."""
    torch.save({"state_dict": net().state_dict(), **BESIDE}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        pickled = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    assert b"argparse" in pickled
    before = set(torch.serialization.get_safe_globals())
    assert set(read_weights(tmp_path / "w.pt")[0]) == set(net().state_dict())
    assert set(torch.serialization.get_safe_globals()) == before


# Folders of checkpoints


def test_evolution_reads_the_names_that_trainers_use(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    for number, name in enumerate(("a1.ckpt", "a2.pth.tar", "a3.th", "a4.pt", "a5.bin")):
        torch.save({"state_dict": under("module.", dict(net(number).state_dict()))}, folder / name)
    (folder / "notes.tar").write_bytes(b"x")
    found = evolution(dv.DeconvNet(net(9)), folder, torch.rand(3, 3, 12, 12), channel=0, progress=False)
    assert found.checkpoints == ("a1", "a2", "a3", "a4", "a5")
