"""Models that are no longer Python code: TorchScript, exported programs, and objects that hold a model."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.errors import InputError, ModelError
from deconvviz.models import load_weights, save_weights
from deconvviz.models.by_name import load_model
from deconvviz.models.inputs import InputWishes

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning", "ignore:.*pt2.*:UserWarning"
)
X = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))


class Net(nn.Module):
    """Parts in a Sequential, a functional call, groups, batch normalisation, dropout and a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(self.features(x)))
        if x.shape[1] > 100:
            x = x * 2
        return self.fc(self.drop(x.amax((2, 3))))


def net() -> Net:
    torch.manual_seed(0)
    model = Net()
    with torch.no_grad():
        model.features[1].running_mean.uniform_(-0.2, 0.2)
        model.features[1].running_var.uniform_(0.5, 2)
    return model.eval()


def reloaded(model: Any, path: Path) -> Any:
    torch.jit.save(model, path / "m.pt")
    return torch.jit.load(path / "m.pt")


def exported(model: nn.Module) -> torch.export.ExportedProgram:
    """Exported for batches of any size."""
    return torch.export.export(model, (X,), dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})


KINDS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "scripted": lambda model, _: torch.jit.script(model),
    "traced": lambda model, _: torch.jit.trace(model, X),
    "scripted, from a file": lambda model, path: reloaded(torch.jit.script(model), path),
    "traced, from a file": lambda model, path: reloaded(torch.jit.trace(model, X), path),
    "exported": lambda model, _: exported(model),
}


@pytest.mark.parametrize("kind", KINDS)
def test_layers_have_the_names_of_the_modules(tmp_path: Path, kind: str):
    model = net()
    plain, handle = dv.DeconvNet(model), dv.DeconvNet(KINDS[kind](model, tmp_path))
    own = {layer.name: (layer.kind, layer.shape) for layer in plain.layers(X)}
    names = {layer.name: (layer.kind, layer.shape) for layer in handle.layers(X)}
    for name in ("features.0", "features.1", "features.2", "features.3", "conv", "relu", "fc"):
        assert names[name] == own[name]
    for layer in ("features.0", "conv", "relu", "fc"):
        found, expected = (one.project(X, layer, channel=1) for one in (handle, plain))
        assert torch.allclose(found.pixels, expected.pixels, atol=1e-6)
        assert [unit.position for unit in found.units] == [unit.position for unit in expected.units]


@pytest.mark.parametrize("kind", KINDS)
def test_scans_work_by_themselves(tmp_path: Path, kind: str):
    model = net()
    found = dv.scan(dv.DeconvNet(KINDS[kind](model, tmp_path)), X, k=2, progress=False)
    expected = dv.scan(dv.DeconvNet(model), X, k=2, progress=False)
    assert found.layers == expected.layers == ("features.0", "conv", "fc")
    for layer in found.layers:
        assert torch.allclose(found.values[layer], expected.values[layer], atol=1e-6)
        assert torch.equal(found.images[layer], expected.images[layer])


def test_frozen_scripts_and_flat_graphs_scan_by_the_names_that_they_have():
    model = net()
    expected = dv.scan(dv.DeconvNet(model), X, k=1, progress=False)
    frozen = dv.scan(dv.DeconvNet(torch.jit.freeze(torch.jit.script(model))), X, k=1, progress=False)
    assert frozen.layers == ("conv2d", "conv2d_1", "linear")
    flat = dv.scan(dv.DeconvNet(exported(model).module()), X, k=1, progress=False)
    assert flat.layers == ("conv2d", "conv2d_1", "linear")
    for found in (frozen, flat):
        for name, layer in list(zip(found.layers, expected.layers, strict=True))[1:]:  # freezing folds the first norm
            assert torch.allclose(found.values[name], expected.values[layer], atol=1e-5)


def test_a_scripted_model_in_training_mode_is_projected_in_eval_mode_and_left_as_it_was():
    model = net()
    scripted = torch.jit.script(copy.deepcopy(model).train())
    before = {name: value.clone() for name, value in scripted.state_dict().items()}
    found = dv.DeconvNet(scripted).project(X, "fc", channel=0)
    assert torch.allclose(found.pixels, dv.DeconvNet(model).project(X, "fc", channel=0).pixels, atol=1e-6)
    assert all(module.training for module in scripted.modules())
    assert all(torch.equal(value, before[name]) for name, value in scripted.state_dict().items())


def test_copies_of_what_a_script_became_have_weights_of_their_own():
    """As the comparison with random weights needs it."""
    handle = dv.DeconvNet(torch.jit.script(net()))
    other = copy.deepcopy(handle.model)
    with torch.no_grad():
        other.conv.weight.mul_(2)
        other.conv.bias.mul_(2)
        assert torch.allclose(other.conv(other.features(X)), 2 * handle.model.conv(handle.model.features(X)), atol=1e-5)


# On the command line


@pytest.mark.parametrize("name", ["scripted.pt", "exported.pt2"])
def test_the_command_line_takes_the_file_as_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
):
    monkeypatch.chdir(tmp_path)
    model = net()
    if name.endswith("2"):
        torch.export.save(torch.export.export(model, (X[:1],)), name)
    else:
        torch.jit.save(torch.jit.script(model), name)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    options = ["--layer", "conv", "--channel", "4", "--size", "16", "--mean", "0", "--std", "1", "--json"]
    assert cli.main(["project", name, "a.png", *options]) == 0
    (unit,) = json.loads(capsys.readouterr().out)["units"]
    with torch.no_grad():
        maps = model.conv(model.features(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255))[0, 4]
    assert unit["activation"] == pytest.approx(float(maps.max()), rel=1e-4)
    assert unit["position"] == list(divmod(int(maps.argmax()), maps.shape[1]))


def test_the_input_of_a_script_is_that_of_its_first_convolution(tmp_path: Path):
    torch.jit.save(torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())), tmp_path / "grey.pt")
    assert load_model(str(tmp_path / "grey.pt"), wishes=InputWishes(size=9)).shape == (1, 9, 9)
    (tmp_path / "broken.pt").write_bytes((tmp_path / "grey.pt").read_bytes()[:-700])
    with pytest.raises(ModelError):
        load_model(str(tmp_path / "broken.pt"))


# Objects that hold a model


class Learner:
    """As fastai and others have it."""

    def __init__(self) -> None:
        self.model, self.steps = net(), 3


class YOLO(nn.Module):
    """As ultralytics has it: a module that is called for predictions from files."""

    def __init__(self) -> None:
        super().__init__()
        self.model = net()

    def __call__(self, source: Any) -> list[Any]:
        return self.predict(source)

    def predict(self, source: Any) -> list[Any]:
        with torch.inference_mode():
            return [self.model(source)]


@pytest.mark.parametrize(
    ("holder", "sentence"),
    [
        (Learner, "the model must be a torch.nn.Module, not Learner; its attribute 'model' is one"),
        (YOLO, "the model YOLO is called for predictions, not as a module; its attribute 'model' is one"),
    ],
)
def test_what_holds_a_model_is_answered_with_its_attribute(holder: Any, sentence: str):
    with pytest.raises(ModelError, match=sentence):
        dv.DeconvNet(holder())
    assert dv.DeconvNet(holder().model).project(X, "conv", channel=0).pixels.shape == X.shape


def test_a_deconvnet_does_where_a_model_is_asked_for(tmp_path: Path):
    handle = dv.DeconvNet(net(), preprocess=dv.images.Preprocess(16))
    again = dv.DeconvNet(handle, "guided")
    assert again.model is handle.model
    assert again.preprocess is handle.preprocess
    save_weights(handle, tmp_path / "w.safetensors")
    assert load_weights(handle, tmp_path / "w.safetensors").left_random == ()
    attributed = dv.DeconvNetAttribution(handle).attribute(X, target=0)
    assert torch.equal(attributed, dv.DeconvNetAttribution(handle.model).attribute(X, target=0))


def test_layers_may_be_modules():
    model = net()
    handle = dv.DeconvNet(model)
    by_name = handle.project(X, "features.0", channel=1)
    assert torch.equal(handle.project(X, model.features[0], channel=1).pixels, by_name.pixels)
    assert handle.reconstruct(X, model.features).provenance.layer == "features"
    assert dv.scan(handle, X, layers=[model.conv, "fc"], k=1, progress=False).layers == ("conv", "fc")
    assert tuple(handle.trace(X, model.fc).activations) == ("fc",)


FORMS: dict[str, Callable[[nn.Module], Any]] = {
    "script": torch.jit.script,
    "trace": lambda model: torch.jit.trace(model, X),
    "frozen": lambda model: torch.jit.freeze(torch.jit.script(model)),
    "export": lambda model: torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)),
}


@pytest.mark.parametrize("form", ["script", "trace", "export"])
def test_convolutions_of_programs_have_their_numbers(form: str) -> None:
    """`filters` and `diagnose` look at a convolution alone."""
    plain, program = dv.DeconvNet(net()), dv.DeconvNet(FORMS[form](net()))
    found, expected = program.filters("conv"), plain.filters("conv")
    assert torch.equal(found.weight, expected.weight)
    assert found.groups == expected.groups == 2
    tables = [dv.experiments.diagnose(one, X, progress=False).table() for one in (program, plain)]
    assert str(tables[0]) == str(tables[1])  # with NaN


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_convolutions_that_are_no_usual_ones(form: str) -> None:
    torch.manual_seed(0)
    odd = nn.Sequential(nn.Conv2d(3, 4, 3, (2, 1), (1, 2), dilation=(1, 2)), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    program = FORMS[form](odd)
    for name, own in dv.DeconvNet(program).model.named_modules():
        if isinstance(own, nn.Conv2d):
            like: Any = odd[2] if own.in_channels == 4 else odd[0]
            for number in ("stride", "padding", "dilation", "groups", "kernel_size", "out_channels"):
                assert getattr(own, number) == getattr(like, number), (name, number)


def test_a_frozen_convolution_shows_its_filters_in_a_run() -> None:
    program = dv.DeconvNet(torch.jit.freeze(torch.jit.script(net())))
    with pytest.raises(InputError, match="layer 'conv2d_1' does not run alone, and its filters show in a run; give"):
        program.filters("conv2d_1")
    found = program.filters("conv2d_1", trace=program.trace(X))
    assert torch.equal(found.weight, dv.DeconvNet(net()).filters("conv").weight)


def test_programs_with_random_weights() -> None:
    """Graphs of exported programs hold tensors without data, which torch does not copy."""
    program = exported(net())
    found = dv.evidence.clarity(dv.DeconvNet(program), X, layers=["conv"], seeds=2, progress=False)
    expected = dv.evidence.clarity(dv.DeconvNet(net()), X, layers=["conv"], seeds=2, progress=False)
    torch.testing.assert_close(found.trained, expected.trained)
    assert not torch.allclose(found.random, found.trained, atol=0.05)
    for name, tensor in net().state_dict().items():
        assert torch.equal(program.state_dict[name], tensor), name
