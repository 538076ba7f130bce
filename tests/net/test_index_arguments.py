"""Channels, classes, positions, units: whole numbers of Python, numpy and torch say the same; nothing else passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.arguments import whole
from deconvviz.errors import InputError
from deconvviz.evidence import deletion, localisation
from deconvviz.experiments import correspondence, evolution, invariance, occlusion

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(48, 3)).requires_grad_(
    False
)
NET = dv.DeconvNet(MODEL)
QUICK = {"methods": "gradient", "steps": 1}
X = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
DATA = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
TOP = dv.scan(NET, DATA, layers=["2"], k=1, progress=False)

ONES = [1, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1), torch.tensor(1, dtype=torch.uint8)]
NONE = [True, np.bool_(True), torch.tensor(True), 1.0, np.float32(1), torch.tensor(1.0), "1", b"\x01", 1j, {1}, {1: 0}]
SEVERAL = [[1, 2], (1, 2), range(1, 3), np.array([1, 2]), torch.tensor([1, 2]), [np.int8(1), torch.tensor(2)]]
MASKS = [
    torch.tensor([False, True, True]),
    np.array([False, True, True]),
    [False, True, True],
    [np.False_, np.True_],
    torch.tensor([1.0, 2.0]),
    torch.tensor([1j, 2]),
    torch.zeros(2, dtype=torch.long, device="meta"),
    torch.tensor([1, 2]).to_sparse(),
]


def test_whole_numbers():
    assert [whole(one) for one in ONES] == [1] * len(ONES)
    assert [whole(one) for one in NONE] == [None] * len(NONE)
    assert whole(2**63) is None


def described(one):
    return f"{type(one).__name__} {one!r}"[:40]


# What takes one index for all images or several of a layer: a call, and what comes of it as numbers.

ONE = {
    "project, channel": lambda one: NET.project(X, "2", channel=one).units,
    "project, position": lambda one: NET.project(X, "2", channel=0, position=(one, 0)).units,
    "project on whole maps, position": lambda one: (
        NET.project(X, "2", channel=0, position=(one, 0), window="full").units
    ),
    "project_units, sample": lambda one: NET.project_units(X, "2", [(one, 0, (0, 0))]).units,
    "project_units, channel": lambda one: NET.project_units(X, "2", [(0, one, (0, 0))]).units,
    "project_units, position": lambda one: NET.project_units(X, "2", [(0, 0, (one, 0))]).units,
    "deletion, channel": lambda one: deletion(NET, X, "2", channel=one, **QUICK).units,
    "deletion, position": lambda one: deletion(NET, X, "2", channel=0, position=(one, 0), **QUICK).units,
    "compare, target": lambda one: dv.compare(NET, X[:1], target=one, methods=["deconvnet"]).unit,
    "compare, channel": lambda one: (
        dv.compare(NET, X[:1], target=None, layer="2", channel=one, methods=["deconvnet"]).unit
    ),
    "occlusion, target": lambda one: occlusion(NET, X, target=one, patch=8, progress=False).targets.tolist(),
    "occlusion, channel": lambda one: occlusion(NET, X, channel=one, patch=8, progress=False).projection.units,
    "invariance, targets": lambda one: invariance(NET, X, layers="2", values=[1], target=one).targets,
    "evolution, channels": lambda one: evolved(one),
    "correspondence, parts": lambda one: (
        correspondence(
            NET, X, {"eye": [(0, 0, 2, one + 1 if whole(one) else one)] * 2}, layers="2", draws=1, progress=False
        )
        .boxes["eye"]
        .tolist()
    ),
}


def evolved(channels):
    weights = MODEL.state_dict()
    return evolution(NET, [weights, weights], DATA, layers=["2"], channel=channels, progress=False).measured


@pytest.mark.parametrize("name", ONE)
def test_one_index_is_a_whole_number_whatever_it_is_made_of(name):
    expected = ONE[name](1)
    for one in ONES[1:] if name.startswith("project") else ONES[1::3]:
        assert ONE[name](one) == expected, described(one)


@pytest.mark.parametrize("name", ONE)
def test_what_is_no_whole_number_is_refused(name):
    for one in NONE:
        with pytest.raises(InputError) as caught:
            ONE[name](one)
        assert len(str(caught.value).splitlines()) == 1, described(one)


MANY = {
    "project, channel": lambda many: NET.project(X, "2", channel=many).units,
    "project on whole maps, channel": lambda many: (
        NET.project(X, "2", channel=many, position=(0, 0), window="full").units
    ),
    "project, position": lambda many: NET.project(X, "2", channel=0, position=many).units,
    "project_units, position": lambda many: NET.project_units(X, "2", [(0, 0, many)]).units,
    "deletion, channel of each image": lambda many: deletion(NET, X, "2", channel=many, **QUICK).units,
    "deletion, position": lambda many: deletion(NET, X, "2", channel=0, position=many, **QUICK).units,
    "occlusion, target": lambda many: occlusion(NET, X, target=many, patch=8, progress=False).targets.tolist(),
    "occlusion, channel": lambda many: occlusion(NET, X, channel=many, patch=8, progress=False).projection.units,
    "invariance, targets": lambda many: invariance(NET, X, layers="2", values=[1], target=many).targets,
    "evolution, channels": lambda many: evolved(many),
    "evolution, channels of a layer": lambda many: evolved({"2": many}),
}


@pytest.mark.parametrize("name", MANY)
def test_several_are_a_list_an_array_or_a_generator(name):
    expected = MANY[name]([1, 2])
    for many in SEVERAL[1:] if name.startswith("project") else SEVERAL[3:5]:
        assert MANY[name](many) == expected, described(many)
    assert MANY[name](one for one in (1, 2)) == expected


@pytest.mark.parametrize("name", MANY)
def test_masks_floats_and_what_has_no_numbers_are_refused(name):
    for many in [*MASKS, {1, 2}, {1: 0, 2: 0}, b"\x01\x02", "12"]:
        with pytest.raises(InputError) as caught:
            MANY[name](many)
        assert len(str(caught.value).splitlines()) == 1, described(many)


def test_positions_of_each_image():
    expected = NET.project(X, "2", channel=0, position=torch.tensor([[1, 2], [0, 3]])).units
    for kind in (torch.uint8, torch.int16):
        assert NET.project(X, "2", channel=0, position=torch.tensor([[1, 2], [0, 3]], dtype=kind)).units == expected
    for odd in (torch.ones(2, 2, dtype=torch.bool), torch.ones(2, 2), torch.ones(2, 2) * 1j):
        with pytest.raises(InputError, match="a position is 'max', 'all', 2 integers, or an integer tensor"):
            NET.project(X, "2", channel=0, position=odd)


def atlas_of(tmp_path, channels):
    out = tmp_path / str(len(list(tmp_path.iterdir())))
    dv.build_atlas(NET, DATA, TOP, out=out, channel=channels, progress=False, evidence=False)
    return [(path.name, path.read_bytes()) for path in sorted((out / "data").iterdir())]


def test_channels_of_an_atlas(tmp_path):
    expected = atlas_of(tmp_path, {"2": [1, 2]})
    assert expected != atlas_of(tmp_path, None)
    for many in ({2, 1}, (one for one in (1, 2))):
        assert atlas_of(tmp_path, {"2": many}) == expected
    for many in (MASKS[0], [1.0], {True}):
        with pytest.raises(InputError, match=r"^layer '2' has channels 0 to 2, not "):
            atlas_of(tmp_path, {"2": many})


GOOD = torch.tensor([[[1, 3], [2, 4]]] * 2)


@pytest.mark.parametrize(
    "boxes",
    [GOOD.double(), GOOD.bool(), GOOD.tolist(), GOOD.numpy(), None, GOOD[:1], GOOD.flip(2), GOOD - 2, GOOD + 6],
    ids=["float", "bool", "list", "array", "None", "one", "upside down", "below 0", "outside"],
)
def test_boxes_are_whole_numbers_inside_the_images(boxes):
    assert localisation(NET, X, GOOD, methods="gradient").boxes.tolist() == GOOD.tolist()
    with pytest.raises(InputError, match=r"^boxes are "):
        localisation(NET, X, boxes, methods="gradient")
