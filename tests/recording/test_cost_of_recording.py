"""What is done once per call or once per kind of operation gives the same as doing it for each operation."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.operations.registry import rule_for, rules_under
from deconvviz.operations.styles import STYLES
from deconvviz.operations.windows import WindowGeometry
from deconvviz.recording import model_parts, observer
from deconvviz.recording.model_parts import ModelParts, module_names
from deconvviz.recording.recordable import kind_of
from deconvviz.recording.recorder import record
from deconvviz.recording.tape import mapped, tensors_in, written_by

aten = torch.ops.aten


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(x)) + x


def deep(blocks=5):
    return nn.Sequential(*[Block() for _ in range(blocks)])


# Walks over the model


def test_the_modules_are_gone_through_at_most_four_times_in_a_call(monkeypatch):
    model = deep()
    net, x, walks = dv.DeconvNet(model), torch.rand(1, 2, 8, 8), []

    def counting(walk):
        def counted(module, *args, **kwargs):
            if module is model:
                walks.append(1)
            return walk(module, *args, **kwargs)

        return counted

    monkeypatch.setattr(nn.Module, "named_modules", counting(nn.Module.named_modules))
    for module in (model_parts, observer):
        monkeypatch.setattr(module, "module_names", counting(module_names))
    net.layers(x)
    assert 1 <= len(walks) <= 4


def test_parts_are_those_that_torch_lists():
    shared = nn.Conv2d(2, 2, 1)
    model = nn.Sequential(deep(2), shared, nn.BatchNorm2d(2), nn.Sequential(shared, nn.Identity()))
    model[0][0].conv.weight = shared.weight  # tied
    model.register_parameter("none", None)
    model.register_buffer("also", None)
    parts = ModelParts.of(model)
    assert list(map(id, parts.modules)) == list(map(id, model.modules()))
    assert list(map(id, parts.parameters)) == list(map(id, model.parameters()))
    assert list(map(id, parts.buffers)) == list(map(id, model.buffers()))
    assert list(map(id, parts.tensors)) == list(map(id, [*model.parameters(), *model.buffers()]))
    assert list(parts.names.items()) == [(module, name) for name, module in model.named_modules()]


# What is read from an operation's schema


x, w, ids, mask = torch.rand(1, 2, 4, 4), torch.rand(3, 2, 3, 3), torch.tensor([1, 0]), torch.rand(1, 2, 4, 4) > 0.5
CALLS = [
    (aten.convolution.default, (x, w, None, [1], [1], [1], False, [0], 1), {}),
    (aten.convolution.default, (x, w, torch.rand(3), [2, 2], [0, 0], [1, 1], False, [0, 0], 1), {}),
    (aten.cat.default, ([x, x, x[:, :, :1]], 2), {}),
    (aten.index.Tensor, (x, [None, ids]), {}),
    (aten.index_put_.default, (x, [None, ids, None], x), {}),
    (aten.native_batch_norm.default, (x, None, None, ids, ids, True, 0.1, 1e-5), {}),
    (aten.native_batch_norm.default, (x, None, None, ids, ids, False, 0.1, 1e-5), {}),
    (aten.native_batch_norm.default, (x, None, None, None, None, True, 0.1, 1e-5), {}),
    (aten.where.self, (mask, x, x), {}),
    (aten.add_.Tensor, (x, x), {"alpha": 2}),
    (aten.mul.out, (x, x), {"out": x}),
    (aten._foreach_add_.List, ([x, w], [x, w]), {}),
    (aten.max_pool2d_with_indices.default, (x, [2], [2]), {}),
    (aten.unsqueeze_.default, (x, 0), {}),
    (aten.relu.default, (x,), {}),
]


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS, ids=lambda item: str(item) if callable(item) else "")
def test_tensors_are_found_where_the_schema_says_they_can_be(func, args, kwargs):
    kind = kind_of(func)
    assert list(map(id, kind.tensors_among(args))) == list(map(id, tensors_in(args)))
    numbers = {id(tensor): place for place, tensor in enumerate(tensors_in(args))}
    named = kind.with_tensors_replaced(args, lambda tensor: numbers[id(tensor)])
    assert named == mapped(args, lambda tensor: numbers[id(tensor)])
    assert isinstance(named, tuple)


@pytest.mark.parametrize(("func", "args", "kwargs"), CALLS, ids=lambda item: str(item) if callable(item) else "")
def test_written_arguments_are_those_that_the_schema_marks(func, args, kwargs):
    marked = [argument.alias_info is not None and argument.alias_info.is_write for argument in func._schema.arguments]
    given = [args[place] if place < len(args) else kwargs.get(a.name) for place, a in enumerate(func._schema.arguments)]
    expected = [item for item, is_marked in zip(given, marked, strict=True) if is_marked]
    if func is aten.native_batch_norm.default:  # the running statistics, in training mode, which it does not mark
        expected = list(args[3:5]) if args[5] else []
    if func is aten.unsqueeze_.default:  # another shape, but the same numbers
        expected = []
    assert list(map(id, written_by(func, args, kwargs))) == list(map(id, tensors_in(expected)))


def test_a_length_of_one_is_written_out_for_every_axis():
    model = nn.Conv2d(2, 2, 3)
    model.forward = lambda x: torch.conv2d(x, model.weight, model.bias, stride=[2], padding=[1])
    (operation,) = record(model, torch.rand(1, 2, 8, 8)).operations
    assert (operation["stride"], operation["padding"], operation["dilation"]) == ([2, 2], [1, 1], [1, 1])


def test_arguments_are_found_by_name_however_often_they_are_asked_for():
    tape = record(nn.Sequential(nn.Conv2d(2, 2, 3, stride=2), nn.MaxPool2d(2)), torch.rand(1, 2, 9, 9))
    conv, pool = tape.operations
    for _ in range(2):
        assert (conv["stride"], conv["transposed"], conv["kernel_size"], conv["no such"]) == ([2, 2], False, None, None)
        assert (pool["kernel_size"], pool["ceil_mode"], pool["weight"]) == ([2, 2], False, None)
    other = dataclasses.replace(conv, func=aten.relu.default, args=conv.args[:1])
    assert other["self"] is conv["input"]
    assert other["stride"] is None


def test_the_geometry_of_windows_is_that_of_each_operation():
    layers = [nn.Conv2d(2, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 3, dilation=2), nn.MaxPool2d(3, 2, 1)]
    tape = record(nn.Sequential(*layers, nn.Conv2d(2, 2, 3, stride=2, padding=1)), torch.rand(1, 2, 33, 33))
    found = [WindowGeometry.of(operation, [3, 3], 2) for operation in tape.operations]
    rows = np.array([[[0.0, 0.0], [0.0, 1.0], [2.0, 3.0], [4.0, 4.0]]])
    seen = [geometry.backward(rows)[0, 2:].tolist() for geometry in found]
    assert seen == [[[3, 7], [7, 9]], [[2, 7], [4, 8]], [[3, 7], [7, 9]], [[3, 7], [7, 9]]]
    assert found[0] is found[3]
    with pytest.raises(ValueError, match="read-only"):
        found[0].stride[0] = 7
    assert rows.tolist() == [[[0, 0], [0, 1], [2, 3], [4, 4]]]


# Rules


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())
def test_rules_looked_up_once_are_those_looked_up_for_each_operation(style):
    model = nn.Sequential(
        *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.LocalResponseNorm(2)),
        *(nn.AvgPool2d(2, ceil_mode=True), nn.GELU(), nn.Softmax(1), nn.Flatten(), nn.Linear(16, 3), nn.Tanh()),
    )
    tape = record(model, torch.rand(1, 2, 10, 10), opaque=dv.rules.opaque())
    rule = rules_under(style)
    assert [rule(operation) for operation in tape.operations] == [rule_for(o, style) for o in tape.operations]
    assert len(tape.operations) > 9


def test_a_rule_registered_later_serves_the_next_call(registry):
    model, x = nn.Sequential(nn.Conv2d(1, 1, 1), Atan()), torch.rand(1, 1, 4, 4)
    net = dv.DeconvNet(model, "gradient")
    assert [name for layer in net.layers(x) for name in layer.linearised] == ["aten.atan"]
    dv.rules.mirror(aten.atan)(lambda op, signal: signal)
    assert [name for layer in net.layers(x) for name in layer.linearised] == []


class Atan(nn.Module):
    def forward(self, x):
        return torch.atan(x)


# Python's search for unreachable objects


class Asking(nn.Module):
    """Runs some code while it is recorded."""

    def __init__(self, code):
        super().__init__()
        self.conv, self.code = nn.Conv2d(1, 1, 1), code

    def forward(self, x):
        self.code()
        return self.conv(x)


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    gc.set_threshold(701, 11, 12)
    yield gc.get_threshold
    gc.set_threshold(*before)


def test_all_objects_are_not_searched_while_a_model_is_recorded(thresholds):
    asked = []
    net = dv.DeconvNet(Asking(lambda: asked.append(gc.get_threshold())))
    net.layers(torch.rand(1, 1, 4, 4))
    net.trace(torch.rand(1, 1, 4, 4))
    assert {first[:2] for first in asked} == {(701, 11)}
    assert min(first[2] for first in asked) > 10**6
    assert thresholds() == (701, 11, 12)


def test_the_search_goes_on_after_an_error(thresholds):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        dv.DeconvNet(Asking(fail)).trace(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="no"):
        dv.DeconvNet(Asking(fail)).layers(torch.rand(1, 1, 4, 4))
    assert thresholds() == (701, 11, 12)


def test_the_search_goes_on_after_a_recording_inside_a_recording(thresholds):
    inner = dv.DeconvNet(deep(1))
    outer = dv.DeconvNet(Asking(lambda: inner.layers(torch.rand(1, 2, 4, 4))))
    outer.layers(torch.rand(1, 1, 4, 4))
    assert thresholds() == (701, 11, 12)


def test_thresholds_that_the_model_sets_stay(thresholds):
    dv.DeconvNet(Asking(lambda: gc.set_threshold(500, 5, 6))).trace(torch.rand(1, 1, 4, 4))
    assert thresholds() == (500, 5, 6)


def test_what_a_model_drops_is_freed_while_it_runs(thresholds):
    alive, left = weakref.WeakSet(), []

    class Node:
        def __init__(self):
            self.itself = self
            alive.add(self)

    def drop():
        for _ in range(30_000):
            Node()
        left.append(len(alive))

    dv.DeconvNet(Asking(drop)).trace(torch.rand(1, 1, 4, 4))
    assert left[0] < 2 * 701 * 12  # two rounds of the younger generations
