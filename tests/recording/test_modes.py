"""Models that do something of their own when their mode changes, or that change themselves as they run."""

import copy

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.models.evaluation import evaluate


class Merged(nn.Module):
    """Gets ready for inference in `train(False)`: a third state would use a filter of ones."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("cached", torch.ones(4, 1, 3, 3))
        self.state = "new"

    def train(self, mode=True):
        super().train(mode)
        self.state = "training" if mode else "merged"
        if not mode:
            self.cached = self.w.detach() * 2
        return self

    def forward(self, x):
        return torch.conv2d(x, self.w * 2 if self.training else self.cached)


class InPlace(nn.Module):
    """As LoRA layers do: adds to its weight in `train(False)` and takes it away in `train(True)`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.more = nn.Parameter(torch.randn(4, 1, 3, 3) / 3)
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.conv.weight.data += -self.more if mode else self.more
            self.merged = not mode
        return self

    def forward(self, x):
        weight = self.conv.weight if self.merged else self.conv.weight + self.more
        return torch.conv2d(x, weight, self.conv.bias)


class Branches(nn.Module):
    """As RepVGG does, if asked in `train(False)`: one convolution takes the place of two, which are deleted."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)

    def train(self, mode=True):
        super().train(mode)
        if not mode and hasattr(self, "one"):
            self.both = nn.Conv2d(1, 4, 3)
            self.both.weight.data = self.one.weight.data + self.two.weight.data
            self.both.bias.data = self.one.bias.data + self.two.bias.data
            del self.one, self.two
        return self

    def forward(self, x):
        return self.both(x) if hasattr(self, "both") else self.one(x) + self.two(x)


class Tells(nn.Module):
    """Counts how often it is told its mode, outside of what it holds."""

    def __init__(self):
        super().__init__()
        self.conv, self.tell = nn.Conv2d(1, 4, 3), None

    def train(self, mode=True):
        if self.tell:
            self.tell(mode)
        return super().train(mode)

    def forward(self, x):
        return self.conv(x)


def modes_of(model):
    return [module.training for module in model.modules()]


def held(model):
    """Everything about a model that may change, with copies of all numbers."""
    return {
        "modules": [(name, id(module)) for name, module in model.named_modules()],
        "modes": modes_of(model),
        "attributes": [
            {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, str))}
            for module in model.modules()
        ],
        "tensors": [
            (name, id(tensor), tensor.data_ptr(), tensor.detach().clone().flatten().tolist())
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
        ],
    }


def around(module):
    torch.manual_seed(0)
    return nn.Sequential(module(), nn.BatchNorm2d(4), nn.GELU(), nn.Conv2d(4, 2, 3))


IMAGE = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mixed", [False, True], ids=["training", "mixed"])
@pytest.mark.parametrize("module", [Merged, InPlace, Branches, Tells])
def test_a_model_in_train_mode_is_recorded_as_in_eval_mode_and_put_back(module, mixed):
    model = around(module).train()
    if mixed:
        model[1].eval()
    before = held(model)
    expected = copy.deepcopy(model).eval()
    with torch.no_grad():
        activation = float(expected(IMAGE)[0, 0].max())
    net = dv.DeconvNet(model)
    found = net.project(IMAGE, "3", channel=0)
    at = net.project_units(IMAGE, "3", [(0, 0, found.units[0].position)])
    assert found.units[0].activation == pytest.approx(activation, rel=1e-5)
    assert at.units[0].activation == pytest.approx(activation, rel=1e-5)
    wanted = dv.DeconvNet(expected).project(IMAGE, "3", channel=0)
    assert torch.allclose(found.pixels, wanted.pixels, atol=1e-6)
    assert held(model) == before


@pytest.mark.parametrize("module", [Merged, InPlace, Branches])
def test_a_scan_and_an_evaluation_put_it_back_too(module):
    model = around(module).train()
    model.append(nn.Flatten()).append(nn.LazyLinear(3))
    model(IMAGE)  # the lazy layer learns its size
    before = held(model)
    expected = copy.deepcopy(model).eval()
    images = [IMAGE[0], IMAGE[0].flip(1)]
    found = dv.scan(dv.DeconvNet(model), images, layers="3", k=1, batch_size=2)
    assert held(model) == before
    with torch.no_grad():
        activation = expected[:4](torch.stack(images)).amax((2, 3))
    assert torch.allclose(found.values["3"].flatten().float(), activation.amax(0), rtol=1e-5)
    scored = evaluate(model, torch.stack(images), torch.tensor([0, 1]))
    assert scored == evaluate(expected, torch.stack(images), torch.tensor([0, 1]))
    assert held(model) == before


def test_a_model_in_eval_mode_is_not_told_so():
    model, told = around(Tells).eval(), []
    model[0].tell = told.append
    net = dv.DeconvNet(model)
    net.project(IMAGE, "3", channel=0)
    net.project(IMAGE, "3", channel=0, position=(2, 2))
    net.reconstruct(IMAGE, "3")
    assert told == []
    model.train()
    told.clear()
    net.project(IMAGE, "3", channel=0)
    assert told == [False, True]


def test_a_mode_that_raises_leaves_the_model_as_it_was():
    class Raises(Merged):
        def train(self, mode=True):
            super().train(mode)
            if not mode:
                raise ArithmeticError("not today")
            return self

    model = around(Raises)
    before = held(model)
    with pytest.raises(ArithmeticError, match="not today"):
        dv.DeconvNet(model).project(IMAGE, "3", channel=0)
    assert held(model) == before


# What a forward pass replaces


class Renormed(nn.Conv2d):
    """The constraint on the norm of filters of most ports of EEGNet."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, p=2, dim=0, maxnorm=1.0)
        return super().forward(x)


class Replaced(nn.Conv2d):
    def forward(self, x):
        self.weight = nn.Parameter(self.weight.detach() / 2)
        self.extra = nn.Identity()
        return super().forward(x)


class Written(nn.Conv2d):
    def forward(self, x):
        self.weight.data.mul_(0.5)
        return super().forward(x)


class Turned(nn.Conv2d):
    """The same memory in another layout."""

    def forward(self, x):
        self.weight.data = self.weight.data.transpose(2, 3)
        self.bias.data = self.bias.data.as_strided((4,), (0,))
        return super().forward(x)


class Frozen(nn.Conv2d):
    def forward(self, x):
        self.weight.requires_grad_(False)
        return super().forward(x)


@pytest.mark.parametrize("kind", [Renormed, Replaced, Written, Turned, Frozen])
def test_a_parameter_that_the_forward_pass_replaces_is_put_back(kind):
    torch.manual_seed(2)
    model = nn.Sequential(kind(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    model[0].weight.data.mul_(9)
    before, plain = held(model), copy.deepcopy(model)
    net = dv.DeconvNet(model)
    found = net.project(IMAGE, "2", channel=0)
    assert held(model) == before
    at = net.project_units(IMAGE, "2", [(0, 0, found.units[0].position)])
    again = net.project(IMAGE, "2", channel=0)
    assert held(model) == before
    assert all(parameter.requires_grad for parameter in model.parameters())
    dv.scan(net, [IMAGE[0]], layers="2", k=1)
    assert held(model) == before
    assert all(parameter.requires_grad for parameter in model.parameters())

    made = plain(IMAGE)[(0, 0, *found.units[0].position)].detach()
    assert found.units[0].activation == pytest.approx(float(made), rel=1e-5)
    hidden = plain[0].weight.detach()  # as this one forward pass has left it
    signal = torch.zeros(1, 2, 8, 8)
    signal[(0, 0, *found.units[0].position)] = float(made)
    back = torch.conv_transpose2d(signal, plain[2].weight).relu()
    expected = torch.conv_transpose2d(back, hidden).detach()
    for one in (found, again, at):
        assert torch.allclose(one.pixels, expected, rtol=1e-4, atol=1e-5)
