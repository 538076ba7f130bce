"""Units on crops after anything about the model has changed, and in models whose numbers leave torch on the way."""

import collections
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import deconvviz as dv
from deconvviz.projection import crop_plan
from tests.helpers.forced_windows import cpu_costs

FACTORS = {"global": 1.0}
UNITS = [(0, 3, (10, 10)), (0, 5, (13, 4)), (0, 1, (2, 21))]


@pytest.fixture(autouse=True)
def _double_and_always_on_crops(monkeypatch):
    cpu_costs(monkeypatch, writing=0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def image(seed, scale=1.0, shift=0.0):
    return torch.randn(1, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) * scale + shift


class Net(nn.Module):
    """Two convolutions; `between` is what stands between them."""

    def __init__(self, between):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.a = nn.Conv2d(3, 8, 3, padding=1)
            self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.between = between

    def forward(self, x):
        return self.b(self.between(self.a(x)))


def agree(net, x, layer="b", units=UNITS):
    """Crops give what whole maps give, and the activations are those of the model itself."""
    auto = net.project_units(x, layer, units)
    full = net.project_units(x, layer, units, window="full")
    torch.testing.assert_close(auto.pixels, full.pixels, rtol=1e-9, atol=1e-12)
    assert full.pixels.abs().amax((1, 2, 3)).min() > 0
    with torch.no_grad():
        made = net.model(x)
    said = torch.tensor([unit.activation for unit in auto.units])
    torch.testing.assert_close(said, torch.stack([made[n, c][p] for n, c, p in units]), rtol=1e-9, atol=1e-12)


def hooked(kind):
    def replaced(net, factor):
        hooks = net.a._forward_hooks if kind == "forward" else net.b._forward_pre_hooks
        hooks.clear()
        if kind == "forward":
            net.a.register_forward_hook(lambda module, given, made: made * factor)
        else:
            net.b.register_forward_pre_hook(lambda module, given: given[0] * factor)

    return replaced


def everywhere(net, factor):
    def hook(module, given, made):
        return made * factor if module is net.a else None

    for handle in getattr(net, "handles", ()):
        handle.remove()
    net.handles = [nn.modules.module.register_module_forward_hook(hook)]


def patched(net, factor):
    net.a.forward = types.MethodType(lambda self, x: nn.Conv2d.forward(self, x) * factor, net.a)


def in_the_class(net, factor):
    class Other(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * factor

    net.a.__class__ = Other


def a_global(net, factor):
    FACTORS["global"] = factor


def settings(net, factor):
    net.between.settings["factor"] = factor


def listed(net, factor):
    net.between.listed[0] = factor


def an_object(net, factor):
    net.between.thing.factor = factor


def closed_over(net, factor):
    net.between.closure(factor)


def a_function(net, factor):
    net.between.function = lambda x: x * factor


def a_tensor(net, factor):
    net.between.tensor = torch.tensor(factor)


def data_of_a_parameter(net, factor):
    net.a.weight.data = net.a.weight.data * factor


class Configured(nn.Module):
    """Multiplies by what each kind of state holds."""

    def __init__(self):
        super().__init__()
        self.settings, self.listed, self.thing = {"factor": 1.0}, [1.0], types.SimpleNamespace(factor=1.0)
        self.function, self.tensor = torch.relu, None
        held = 1.0

        def closure(factor=None):
            nonlocal held
            held = held if factor is None else factor
            return held

        self.closure = closure

    def forward(self, x):
        scale = self.settings["factor"] * self.listed[0] * self.thing.factor * self.closure() * FACTORS["global"]
        made = self.function(x) * scale
        return made if self.tensor is None else made * self.tensor * torch.tensor(self.listed[0])


@pytest.mark.parametrize(
    "change",
    [
        *(hooked("forward"), hooked("before"), everywhere, patched, in_the_class, a_global, settings, listed),
        *(an_object, closed_over, a_function, a_tensor, data_of_a_parameter),
    ],
    ids=lambda change: change.__qualname__.split(".")[0],
)
def test_a_change_of_the_model_is_seen_on_crops(change):
    model = Net(Configured()).eval()
    net = dv.DeconvNet(model)
    try:
        for number, factor in enumerate([1.0, -0.5, 3.0]):
            change(model, factor)
            agree(net, image(number))
            chosen = net.project(image(9), "b", channel=3, position=(10, 10))
            whole = net.project(image(9), "b", channel=3, position=(10, 10), window="full")
            torch.testing.assert_close(chosen.pixels, whole.pixels, rtol=1e-9, atol=1e-12)
    finally:
        a_global(model, 1.0)
        for handle in getattr(model, "handles", ()):
            handle.remove()


def test_autocast_that_comes_and_goes_is_seen():
    torch.set_default_dtype(torch.float32)
    net = dv.DeconvNet(Net(nn.ReLU()).eval())
    for cast in (False, True, False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            auto = net.project_units(image(1), "b", UNITS)
            full = net.project_units(image(1), "b", UNITS, window="full")
        torch.testing.assert_close(auto.pixels, full.pixels, rtol=0.1 if cast else 1e-4, atol=1e-3 if cast else 1e-5)


# Numbers that leave torch


def divided(number):
    """Divides by a number that it computes from what passes."""

    class Divided(nn.Module):
        def forward(self, x):
            return F.relu(x) / number(x)

    return Divided()


def _tried(x):
    try:
        return 1.0 + float(x.mean())
    except Exception:
        return 2.0


NUMBERS = {
    "numpy": lambda x: float(x.detach().numpy().max()),
    "numpy's argmax": lambda x: 1.0 + int(x.detach().mean((0, 2, 3)).cpu().numpy().argmax()),
    "asarray": lambda x: float(np.asarray(x.detach()).std()),
    "dlpack": lambda x: float(np.from_dlpack(x.detach()).std()),
    "to_dlpack": lambda x: torch.from_dlpack(torch.utils.dlpack.to_dlpack(x.detach())).std(),
    "tolist": lambda x: max(x.detach().flatten().tolist()),
    "nonzero": lambda x: 1.0 + (x > 1).nonzero().shape[0] / 100,
    "a mask": lambda x: 1.0 + x[x > 1].numel() / 100,
    "masked_select": lambda x: 1.0 + len(x.masked_select(x > 1)) / 100,
    "unique": lambda x: 1.0 + torch.unique(x.round()).numel(),
    "where": lambda x: 1.0 + torch.where(x > 1)[0].numel() / 100,
    "argwhere": lambda x: 1.0 + len(torch.argwhere(x > 1)) / 100,
    "bincount": lambda x: 1.0 + len(torch.bincount(x.abs().flatten().long())),
    "repeats": lambda x: 1.0 + len(torch.repeat_interleave(x.abs().flatten()[:9].long())),
    "item": lambda x: float(x.abs().max()),
    "an int": lambda x: 1.0 + int(x.mean((0, 2, 3)).argmax()),
    "a decision": lambda x: 2.0 if x.mean() > 0 else -1.0,
    "a decision that survives": _tried,
    "equal": lambda x: 2.0 if torch.equal(x, x.clamp(-3, 3)) else 5.0,
    "allclose": lambda x: 2.0 if torch.allclose(x, x.clamp(-3, 3)) else 5.0,
    "an index": lambda x: [1.0, 2.0, 5.0, 7.0][int(x.abs().max()) % 4],
    "a string": lambda x: 1.0 + len(str(x.abs().max())) * float(f"{x.abs().max():.3f}"),
    "torch.tensor": lambda x: torch.tensor([x.max(), x.min()]).abs().sum(),
    "as_tensor": lambda x: torch.as_tensor([x.max(), x.min()]).abs().sum(),
    "new_tensor": lambda x: x.new_tensor([x.max(), x.min()]).abs().sum(),
    "from numpy": lambda x: torch.from_numpy(x.detach().abs().amax((2, 3), keepdim=True).numpy().copy()).mean(),
    "a percentile": lambda x: torch.as_tensor(np.percentile(x.detach().numpy(), 95)),
    "a loop": lambda x: 1.0 + sum(1 for row in x.flatten(1)[0, :9] if row > 0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_leaves_torch_is_that_of_each_image(name):
    net = dv.DeconvNet(Net(divided(NUMBERS[name])).eval())
    agree(net, image(0))
    agree(net, image(1, 4, 1))


@pytest.mark.parametrize("name", ["tolist", "nonzero", "a mask", "item"])
def test_it_does_so_where_the_image_was_recorded(name):
    net = dv.DeconvNet(Net(divided(NUMBERS[name])).eval())
    units = [unit[1:] for unit in UNITS]
    for x in (image(0), image(1, 4, 1)):
        trace = net.trace(x, ["b"])
        back = net.project_units(trace, "b", [(0, *unit) for unit in units])
        whole = net.project_units(trace, "b", [(0, *unit) for unit in units], window="full")
        torch.testing.assert_close(back.pixels, whole.pixels, rtol=1e-9, atol=1e-12)


class Scripted(nn.Module):
    def forward(self, x):
        scale = 2.0
        if bool(x.mean() > 0):
            scale = -3.0
        return x * scale / float(x.abs().max())


def test_a_decision_in_scripted_code_is_that_of_each_image():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = dv.DeconvNet(Net(torch.jit.script(Scripted())).eval())
    agree(net, image(0))
    agree(net, image(1, 4, 1))


# What users see of it


def test_crops_are_used_where_nothing_depends_on_the_image(monkeypatch):
    used = []
    plain = crop_plan.project_images
    monkeypatch.setattr(crop_plan, "project_images", lambda *args: used.append(1) or plain(*args))
    for between in (nn.ReLU(), Configured(), nn.Sequential(nn.ReLU(inplace=True), nn.MaxPool2d(3, 1, 1))):
        agree(dv.DeconvNet(Net(between).eval()), image(0))
    assert len(used) == 3


@pytest.mark.parametrize("window", ["auto", "full"])
def test_a_users_hook_is_shown_real_activations(window):
    model = Net(nn.ReLU()).eval()
    seen = []
    model.a.register_forward_hook(lambda module, given, made: seen.append(made.clone()))
    x = image(3)
    for _ in range(2):
        dv.DeconvNet(model).project_units(x, "b", UNITS, window=window)
    expected = F.conv2d(x, model.a.weight, model.a.bias, padding=1)
    assert seen
    for made in seen:
        torch.testing.assert_close(made, expected.detach())


class Remembering(nn.Module):
    """Sets attributes and fills containers as it runs."""

    def __init__(self):
        super().__init__()
        self.last, self.seen, self.by_name, self.calls = None, [], collections.OrderedDict(), 0

    def forward(self, x):
        self.last, self.calls, self.made = x, self.calls + 1, x.shape
        self.seen.append(x)
        self.by_name[str(self.calls)] = x
        return x * self.calls


@pytest.mark.parametrize("window", ["auto", "full"])
def test_what_a_forward_pass_sets_is_put_back(window):
    model = Net(Remembering()).eval()
    net = dv.DeconvNet(model)
    first = net.project_units(image(0), "b", UNITS, window=window)
    second = net.project_units(image(0), "b", UNITS, window=window)
    torch.testing.assert_close(first.pixels, second.pixels)
    held = model.between
    assert held.last is None
    assert held.calls == 0
    assert held.seen == []
    assert not held.by_name
    assert not hasattr(held, "made")
