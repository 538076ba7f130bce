"""Recording: what is seen, what it is called, what is kept, and that nothing is left behind."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.feature_extraction import get_graph_node_names

import deconvviz as dv
from deconvviz.errors import ModelError, UnsupportedOperation
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import Kept
from tests.helpers.autograd_reference import randomised, untouched
from tests.helpers.small_networks import Fails, SmallResidual, WritesThroughViews


def labels(tape):
    return [operation.label for operation in tape.operations]


def test_calls_get_torchvisions_names():
    tape = record(SmallResidual(), torch.randn(1, 3, 15, 13))
    assert list(tape.layers) == [
        *("stem", "norm", "relu_in_place", "pool", "twice", "relu", "twice_1", "add", "relu_1", "narrow"),
        *("relu_2", "wide", "down", "add_1", "relu_3", "sub", "relu_4", "mean", "fc", "output"),
    ]
    kinds = [tape.layers[name].kind for name in ("relu", "relu_1", "twice_1", "add", "output")]
    assert kinds == ["ReLU", "relu", "Conv2d", "add", "SmallResidual"]


@pytest.mark.filterwarnings("ignore:NOTE")
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_names_agree_with_torchvisions_feature_extraction(name):
    options = {"init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision.models, name)(weights=None, **options).eval()
    _, expected = get_graph_node_names(model)
    no_tensor = ("x", "size", "getattr", "floordiv", "getitem", "chunk")  # or several, which get a name each
    nodes = {node for node in expected if not node.split(".")[-1].startswith(no_tensor)}
    assert nodes <= set(record(model, torch.zeros(1, 3, 64, 64)).layers)
    assert len(nodes) > 50


def test_only_what_depends_on_the_input_is_recorded():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.raw = nn.Parameter(torch.randn(2, 1, 3, 3))

        def forward(self, x):
            weight = self.raw / self.raw.norm()
            return F.conv2d(x, weight) + torch.arange(2.0).view(2, 1, 1) * torch.zeros_like(x[:, :, :1, :1])

    tape = record(Model(), torch.randn(1, 1, 5, 5))
    assert [label for label in labels(tape) if label != "aten.slice"] == ["aten.convolution", "aten.add"]


def test_in_place_operations_make_new_values_and_keep_old_numbers():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Hardtanh(-0.1, 0.1, inplace=True))
    x = torch.randn(1, 1, 6, 6)
    tape = record(model, x, layers=None)
    before = model[0](x)
    for name, expected in (("0", before), ("1", before.relu()), ("2", before.relu().clamp(-0.1, 0.1))):
        assert torch.equal(tape.data[tape.layers[name].value.id], expected), name
    assert len({layer.value.id for name, layer in tape.layers.items() if name != "output"}) == 3


def test_activations_behind_writes_through_views_are_those_of_the_model():
    model, x = WritesThroughViews(), torch.randn(2, 2, 9, 8)
    caught = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, a, out, name=name: caught.__setitem__(name, out.detach().clone()))
    trace = dv.DeconvNet(model).trace(x)
    for name, expected in caught.items():
        assert torch.equal(trace.activations[name], expected), name


def test_kept_numbers_survive_a_later_write():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.full((1,), 3.0))
            self.register_buffer("scale", torch.ones(1))

        def forward(self, x):
            x = x * self.weight
            y = x * self.scale
            self.scale.fill_(5.0)
            x.mul_(7.0)
            return x + y * self.scale

    model = Model()
    x = torch.tensor([[1.0]])
    with untouched(model):
        tape = record(model, x, keep=lambda operation: Kept(operation.inputs))
    products = [operation for operation in tape.operations if operation.label == "aten.mul"]
    assert [tape.data[p.args[0].id].item() for p in products] == [1.0, 3.0, 3.0, 3.0]
    assert [tape.data[p.args[1].id].item() for p in (products[1], products[3])] == [1.0, 5.0]


def test_the_pass_ends_after_the_last_layer_asked_for():
    ran = []
    model = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(4)))
    for index, module in enumerate(model):
        module.register_forward_hook(lambda *_, index=index: ran.append(index))
    tape = record(model, torch.zeros(1, 1, 2, 2), layers=["1", "0"])
    assert ran == [0, 1]
    assert not tape.complete
    assert set(tape.data) >= {tape.layers["0"].value.id, tape.layers["1"].value.id}


def test_layers_that_return_several_tensors_have_one_name_each():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.rnn = nn.Conv1d(2, 3, 3), nn.LSTM(3, 4, batch_first=True)

        def forward(self, x):
            y, (h, _) = self.rnn(self.body(x).transpose(1, 2))
            return {"all": y, "last": [h]}

    layers = record(Model(), torch.randn(2, 2, 7)).layers
    assert {"rnn[0]", "rnn[1][0]", "rnn[1][1]", "output[all]", "output[last][0]"} <= set(layers)
    assert layers["output[all]"].value is layers["rnn[0]"].value


# The model and its surroundings stay as they were


@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_left_after_a_run(training):
    model = randomised(SmallResidual()).train(training)
    model.pool.train(not training)  # modes that differ within the model
    model.stem.weight.requires_grad_(False)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    model.relu.register_forward_hook(lambda *_: None)
    net, x = dv.DeconvNet(model), torch.randn(2, 3, 15, 13)
    kept = x.clone()
    with untouched(model):
        net.layers(x)
        net.trace(x)
        net.project(x, "wide", channel=[0, 1])
        net.reconstruct(x, "wide")
    assert torch.equal(x, kept)


def test_nothing_is_left_after_a_run_that_raised():
    model, x = Fails().train(), torch.randn(1, 1, 6, 6)
    with untouched(model), pytest.raises(ArithmeticError, match="the model fails here"):
        dv.DeconvNet(model).trace(x)


def test_nothing_is_left_when_a_projection_raises():
    model, x = randomised(SmallResidual()).train(), torch.randn(1, 3, 15, 13)
    with untouched(model), pytest.raises(dv.errors.InputError):
        dv.DeconvNet(model).project(x, "wide", channel=99)


def test_running_statistics_are_put_back():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x):
            return F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)

    model, x = Model(), torch.randn(3, 2, 4, 4)
    with untouched(model):
        dv.DeconvNet(model).trace(x)


def test_an_input_that_the_first_layer_overwrites_is_not_changed():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 1, 1))
    x = torch.randn(1, 1, 4, 4)
    kept = x.clone()
    dv.DeconvNet(model).trace(x)
    assert torch.equal(x, kept)


def test_eval_mode_inside_and_dropout_off():
    modes = []  # not of the model, which gets back what it holds

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.dropout = nn.Conv2d(1, 1, 1), nn.Dropout(0.9)

        def forward(self, x):
            modes.append(self.training)
            return self.dropout(self.conv(x))

    model, x = Model().train(), torch.randn(1, 1, 4, 4)
    trace = dv.DeconvNet(model).trace(x)
    assert modes == [False]
    assert model.training
    assert torch.equal(trace.activations["dropout"], model.conv(x))


def test_a_module_that_raises_into_its_callers_except_is_left():
    class Attempt(nn.Module):
        def forward(self, x):
            raise KeyError("not today")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.attempt, self.conv = Attempt(), nn.Conv2d(1, 1, 1)

        def forward(self, x):
            try:
                return self.attempt(x)
            except KeyError:
                return F.relu(self.conv(x))

    assert list(record(Model(), torch.zeros(1, 1, 2, 2)).layers) == ["conv", "relu", "output"]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrappers_are_looked_through(wrap):
    model = SmallResidual()
    x = torch.randn(1, 3, 15, 13)
    wrapped = dv.DeconvNet(wrap(model)).project(x, "wide", channel=3)
    assert torch.equal(wrapped.pixels, dv.DeconvNet(model).project(x, "wide", channel=3).pixels)


def test_recording_works_inside_inference_mode_and_under_gradients():
    model, x = SmallResidual(), torch.randn(1, 3, 15, 13)
    expected = dv.DeconvNet(model).project(x, "fc", channel=0).pixels
    with torch.inference_mode():
        assert torch.equal(dv.DeconvNet(model).project(x.clone(), "fc", channel=0).pixels, expected)
    with torch.enable_grad():
        found = dv.DeconvNet(model).project(x.requires_grad_(), "fc", channel=0).pixels
    assert torch.equal(found, expected)
    assert not found.requires_grad
    assert x.grad is None


def test_what_is_no_model_and_what_gives_nothing_to_project():
    with pytest.raises(ModelError, match=r"must be a torch.nn.Module, not Tensor"):
        record(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ModelError, match="no floating-point tensor"):
        record(nn.Embedding(3, 2), torch.tensor([[1]]))


def test_writes_that_cannot_be_followed_are_refused():
    class Model(nn.Module):
        def forward(self, x):
            y = x + 0
            torch._foreach_add_([y], 1.0)
            return y

    with pytest.raises(UnsupportedOperation, match="_foreach_add in foreach_add writes into its arguments"):
        record(Model(), torch.zeros(1, 2))


def test_what_is_called_inside_an_autograd_function_is_no_layer():
    class Rooted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.sqrt(x.abs()) + 1

        @staticmethod
        def backward(ctx, signal):
            return signal

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, x):
            return self.two(Rooted.apply(self.one(x)))

    table = dv.DeconvNet(Model()).layers(torch.randn(1, 1, 9, 9))
    assert [row.name for row in table] == ["one", "two", "output"]
