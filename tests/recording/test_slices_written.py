"""Slices written and read in a loop: each costs what it holds, not what the storage holds; numbers as autograd's."""

from __future__ import annotations

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import deconvviz as dv
from deconvviz.operations.styles import STYLES
from deconvviz.projection import backward
from deconvviz.projection.backward import keep_for
from deconvviz.projection.receptive_field import channel_axis
from deconvviz.recording import aliasing
from deconvviz.recording.aliasing import StorageLayout, overwritten, place_in, reread
from deconvviz.recording.recorder import record


class Network(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.function = nn.Conv2d(2, 3, 3, padding=1).double(), function

    def forward(self, x):
        return self.function(self.first(x))


def recurrent(h):
    """(N, C, T, W): a state that is carried along T, each step written into its slice, and read two steps later."""
    made = h.new_zeros(h.shape)
    for t in range(h.shape[2]):
        made[:, :, t] = torch.tanh(h[:, :, t] + (made[:, :, t - 2] if t > 1 else 0))
    return made


def strided_and_permuted(h):
    made = h.new_zeros(h.shape[0], h.shape[3], 2 * h.shape[2], h.shape[1])
    made[:, :, ::2] = h.permute(0, 3, 2, 1)
    made[:, 1:, 1::2] = made[:, :-1, ::2] * 2
    return made.transpose(1, 3)[:, :, :, 1:]


def written_over(h):
    h = h * 1
    h[:, 1:, 1:3] = h[:, :-1, :2].clone() * 3
    h[:, :, :, -1] += h[:, :, :, 0]
    return h.permute(0, 2, 3, 1).relu()


def overlapping(h):
    h = h * 1
    h[:, :, 0] = 2 * h[:, :, 1]
    return h.unfold(3, 3, 1).sum(-1)  # each element is read up to three times


def last_dimension_first(h):
    rows = [h.new_zeros(h.shape[2], h.shape[0], h.shape[1])][0]
    for t in range(h.shape[2]):
        rows[t] = h[:, :, t].sum(-1)
    return rows.permute(1, 2, 0)


NETWORKS = [recurrent, strided_and_permuted, written_over, overlapping, last_dimension_first]
NETWORKS += [lambda h: F.conv2d(F.pad(h, (1, 2, 2, 1), mode="circular"), torch.ones(2, 3, 3, 3).double())]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("function", NETWORKS)
def test_units_of_several_samples_agree_with_autograd(function, layout):
    torch.manual_seed(0)
    model = Network(function).to(memory_format=layout)
    x = torch.randn(3, 2, 6, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    made = model(x)
    net = dv.DeconvNet(model, "gradient")
    trace = net.trace(x.detach(), "output")
    axis = channel_axis(trace.tape, trace.layer("output").value)
    projection = net.project(trace, "output", channel=[1, 0], seed="one")
    signal = torch.randn_like(made)
    for unit, pixels in zip(projection.units, projection.pixels, strict=True):
        place = [unit.sample, *unit.position]
        place.insert(axis, unit.channel)
        (expected,) = torch.autograd.grad(made[tuple(place)], x, retain_graph=True)
        assert torch.allclose(pixels, expected[unit.sample], atol=1e-12)
    (expected,) = torch.autograd.grad(made, x, signal)
    assert torch.allclose(net.reconstruct(x.detach(), "output", signal=signal).pixels, expected, atol=1e-12)


class Loop(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.first, self.steps = nn.Conv1d(2, 4, 1), steps

    def forward(self, x):
        h, made = self.first(x), x.new_zeros(len(x), self.steps, 4)
        for t in range(self.steps):
            made[:, t] = h[:, :, t].relu()
            made[:, t] += made[:, t // 2]
        return made


def test_a_loop_of_writes_touches_each_part_once(monkeypatch):
    """Elements that the way back reads or writes grow with the number of writes, not with its square."""
    touched = 0
    for name in ("read", "write", "add"):
        original = getattr(aliasing.PlaceInRoot, name)

        def counted(place, flat, *rest, original=original):
            nonlocal touched
            touched += len(flat) * (torch.Size(place.size).numel() if place.listed is None else flat.numel())
            return original(place, flat, *rest)

        monkeypatch.setattr(aliasing.PlaceInRoot, name, counted)
    monkeypatch.setattr(StorageLayout, "positions", None)  # no map of positions is made
    found = []
    for steps in (20, 40):
        touched = 0
        dv.DeconvNet(Loop(steps), "gradient").project(torch.randn(2, 2, steps), "output", channel=0)
        found.append(touched)
    assert 1.8 * found[0] < found[1] < 2.2 * found[0]


def test_whole_maps_are_made_once_on_the_way_back_over_many_writes(monkeypatch):
    """Of the memory that rules ask for, what is as large as the storage does not grow with the number of writes."""
    made, cloned = [], []
    zeros, clone = torch.Tensor.new_zeros, torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "new_zeros", lambda self, *size: made.append(size) or zeros(self, *size))
    monkeypatch.setattr(torch.Tensor, "clone", lambda self, **to: cloned.append(self.numel()) or clone(self, **to))
    for steps in (8, 16):
        tape = record(Loop(steps), torch.randn(1, 2, steps), keep=keep_for(STYLES["gradient"]), layers=["output"])
        layer = tape.layers["output"].value
        made.clear()
        cloned.clear()
        seeds = backward.Seeds(torch.tensor([0]), torch.tensor([4 * steps - 1]), torch.ones(1))
        backward.project(tape, STYLES["gradient"], layer, seeds, True, met=backward.Met())
        assert len(made) <= 3
        assert sum(numel == 4 * steps for numel in cloned) <= 1


# Geometries, against one position for each element


def elements(geometry):
    """The position of every element, in the order of its axes."""
    found = [geometry.offset]
    for size, stride in zip(geometry.size, geometry.stride, strict=True):
        found = [start + step * stride for start in found for step in range(size)]
    return found


def alike(root, asked, samples):
    """Whether each sample's elements lie in that sample's part of the root, at the same places of it."""
    held, wanted = elements(root), elements(asked)
    if root.size[0] % samples or asked.size[0] % samples:
        return False
    if samples == 1:
        return True
    per_root, per_asked = len(held) // samples, len(wanted) // samples
    places = []
    for n in range(samples):
        own = held[n * per_root : (n + 1) * per_root]
        part = wanted[n * per_asked : (n + 1) * per_asked]
        if any(position not in own for position in part):
            return False
        places.append([own.index(position) for position in part])
    return all(place == places[0] for place in places)


def random_geometry(chance, base):
    """A view of a tensor of one storage: permuted, sliced, or with an axis split, flattened or repeated."""
    view = base
    for _ in range(chance.randrange(4)):
        axis = chance.randrange(view.ndim)
        kind = chance.choice(["permute", "slice", "step", "select", "unfold", "split"])
        if kind == "permute":
            order = list(range(view.ndim))
            chance.shuffle(order)
            view = view.permute(order)
        elif kind == "slice" and view.shape[axis] > 1:
            view = view.narrow(axis, chance.randrange(2), view.shape[axis] - 1)
        elif kind == "step":
            view = view[(slice(None),) * axis + (slice(None, None, 2),)]
        elif kind == "select" and view.ndim > 2:
            view = view.select(axis, view.shape[axis] - 1)
        elif kind == "unfold" and view.shape[axis] > 2 and view.ndim < 5:
            view = view.unfold(axis, 2, 1)
        elif kind == "split" and view.shape[axis] % 2 == 0 and view.ndim < 5:
            view = view.unflatten(axis, (2, -1))
    return StorageLayout.of(view)


def test_places_are_those_found_element_by_element():
    chance = random.Random(0)
    regular = 0
    for _ in range(600):
        samples = chance.choice([1, 1, 2, 3])
        base = torch.zeros(2 * samples, 3, 4)
        root = chance.choice([StorageLayout.of(base), StorageLayout.whole(base), random_geometry(chance, base)])
        asked = random_geometry(chance, base)
        if len(set(elements(root))) < len(elements(root)):
            continue  # a root has each element once
        place = place_in(root, asked, samples)
        assert (place is not None) == alike(root, asked, samples)
        numbers = torch.arange(1.0, 1 + len(elements(root))).view(root.size)
        held = dict(zip(elements(root), numbers.flatten().tolist(), strict=True))
        expected = [held.get(position, 0.0) for position in elements(asked)]
        assert reread(numbers, root, asked).flatten().tolist() == expected
        if place is not None:
            regular += place.listed is None
            flat = place.laid_out(numbers, samples)
            assert place.read(flat).flatten().tolist() == expected
            signal = torch.arange(1.0, 1 + len(expected))
            gathered = dict.fromkeys(elements(root), 0.0)
            for position, number in zip(elements(asked), signal.tolist(), strict=True):
                if position in gathered:
                    gathered[position] += number
            flat = torch.zeros_like(flat)
            place.add(flat, signal)
            assert place.as_root(flat, root.size).flatten().tolist() == [gathered[p] for p in elements(root)]
        if len(set(elements(asked))) == len(elements(asked)):
            part = -torch.arange(1.0, 1 + len(expected)).view(asked.size)
            after = held | {p: n for p, n in zip(elements(asked), part.flatten().tolist(), strict=True) if p in held}
            assert overwritten(numbers, part, root, asked).flatten().tolist() == [after[p] for p in elements(root)]
    assert regular > 100
