"""Where a model's inputs lie and in which type: those that the library makes, and those that are given elsewhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from deconvviz.recording.fingerprint import fingerprint
from deconvviz.recording.placement import Placement, pins, read_back
from tests.helpers.pretend_device import pretending


def test_the_first_parameter_says_where_and_in_which_type():
    assert Placement.of(nn.Linear(2, 2).half()) == Placement((torch.device("cpu"),), torch.float16)
    only_buffers = nn.BatchNorm1d(2, affine=False).double()
    assert Placement.of(only_buffers) == Placement((torch.device("cpu"),), torch.float64)
    whole_numbers = nn.Module()
    whole_numbers.register_buffer("count", torch.zeros(1, dtype=torch.long))
    assert Placement.of(whole_numbers).dtype is None
    assert Placement.of(nn.Linear(2, 2, device="meta")).device is None


def test_tensors_given_elsewhere_are_moved_and_keep_their_type():
    with pretending() as device:
        placement = Placement.of(nn.Linear(2, 2).to(device.name))
        image, mask, lengths = torch.ones(2).half(), torch.ones(2, dtype=torch.bool), torch.tensor([1, 2])
        (moved, others), options = placement.moved(((image, [mask, lengths]), {"scale": 2.0}))
        assert {str(one.device) for one in (moved, *others)} == {"cuda:0"}
        assert (moved.dtype, options) == (torch.float16, {"scale": 2.0})
        there = image.to(device.name)
        kept = placement.moved((there, lengths))
        assert kept[0] is there
        assert kept[1] is lengths  # as packed sequences want them
        back = Placement.of(nn.Linear(2, 2)).moved(there)
        assert back.device.type == "cpu"
        assert placement.moved(torch.ones(2, device="meta")).is_meta


def test_a_model_on_several_devices_takes_what_lies_on_one_of_them():
    with pretending() as device:
        placement = Placement.of(nn.Sequential(nn.Linear(2, 2).to(device.name), nn.Linear(2, 2)))
        here = torch.ones(2)
        assert placement.moved(here) is here
        assert placement.device == device.device


def test_what_a_preprocess_makes_gets_the_models_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        preprocess = Placement.of(nn.Linear(2, 2).to(dtype)).preprocess(lambda image: torch.ones(1) * image)
        assert preprocess(2).dtype == dtype
    placement = Placement.of(nn.Linear(2, 2).double())
    assert placement.preprocess(None)(np.ones(1, np.float32)).dtype == torch.float64
    assert placement.typed(torch.ones(1, dtype=torch.uint8)).dtype == torch.uint8  # refused elsewhere, not cast
    assert placement.typed("no tensor") == "no tensor"


@pytest.mark.parametrize(("name", "pinned"), [("cuda", True), ("xpu", True), ("mps", False), ("cpu", False)])
def test_which_devices_are_sent_pinned_memory(name, pinned):
    assert pins(torch.device(name)) == pinned
    assert not pins(None)


def test_tensors_of_any_type_are_read_back_in_one_copy():
    tensors = [
        *(
            torch.randn(2, 3).t(),
            torch.randn(3).half(),
            torch.arange(4),
            torch.tensor([True, False]),
            torch.tensor(2.0),
        ),
        *(torch.randn(2, dtype=torch.complex64), torch.empty(0, 2), torch.randn(2).bfloat16(), torch.randn(1).double()),
    ]
    with pretending() as device:
        there = [one.to(device.name) for one in tensors]
        with device.counted() as counts:
            found = read_back([*there, tensors[0]])
        assert counts.host_reads == 1
        for one, expected in zip(found, [*tensors, tensors[0]], strict=True):
            assert (one.device.type, one.dtype, one.shape) == ("cpu", expected.dtype, expected.shape)
            assert torch.equal(one, expected)


def test_the_fingerprint_is_that_of_the_same_weights_on_the_cpu_and_takes_one_reading():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 70, 3), nn.BatchNorm2d(70), nn.Conv2d(70, 2, 3).half())
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():  # written out, one by one
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.flatten()
        digest.update(flat[:: max(1, len(flat) // 64)][:64].double().numpy().tobytes())
    expected = digest.hexdigest()[:16]
    assert fingerprint(model) == expected
    with pretending() as device:
        model.to(device.name)
        with device.counted() as counts:
            assert fingerprint(model) == expected
    assert counts.host_reads == 1
