"""The pretend device of the tests: what it refuses and counts is what CUDA refuses and waits for."""

from __future__ import annotations

import copy
import doctest

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers import pretend_device
from tests.helpers.pretend_device import pretending

KINDS = ("cuda", "xpu", "mps")


@pytest.fixture(params=KINDS)
def device(request):
    with pretending(request.param) as device:
        yield device


def test_the_example():
    assert doctest.testmod(pretend_device).failed == 0


def test_tensors_get_there_and_stay_there(device):
    kind, x = device.device.type, torch.arange(6.0).view(2, 3)
    there = x.to(kind)
    moved = [
        *(
            there,
            getattr(x, kind)() if kind != "mps" else x.to(device=kind),
            x.to(there),
            torch.zeros_like(x).type_as(there),
        ),
        *(there[0], there.T, there.detach(), there + 1, there.half(), there.new_zeros(2), there.new_tensor([1.0])),
        *(torch.empty(2, device=kind), torch.tensor([1], device=kind), torch.as_tensor(x, device=device.name)),
        *(torch.ones_like(there), torch.arange(2, device=kind), copy.deepcopy(there), there.to(torch.int32)),
        *(torch.ones(1, 2, 3, 4, device=kind).to(memory_format=torch.channels_last), there.clone().requires_grad_()),
        *copy.deepcopy(nn.BatchNorm2d(3).to(kind)).state_dict().values(),
    ]
    assert {str(tensor.device) for tensor in moved} == {f"{kind}:0"}
    assert there.to(kind) is there
    assert (getattr(there, f"is_{kind}"), there.is_cpu) == (True, False)
    back = [there.cpu(), there.to("cpu"), there.to(x), torch.empty(2), x, x + 1, there.new_zeros(2, device="cpu")]
    assert {str(tensor.device) for tensor in back} == {"cpu"}
    there.add_(1)
    assert (float(x[0, 0]), float(there[0, 0])) == (0, 1)  # a copy, not the same memory


def test_gradients_lie_where_their_tensors_lie(device):
    here, there = torch.ones(3), torch.ones(3, device=device.name, requires_grad=True)
    (there.half().float() * 2 + here.to(there.device)).sum().backward()
    assert there.grad.device == device.device
    assert there.grad.tolist() == [2, 2, 2]


REFUSED = {
    "pointwise": lambda there, here: there + here,
    "a number on the device with data on the CPU": lambda there, here: here + there[0],
    "in place": lambda there, here: here.add_(there),
    "cat": lambda there, here: torch.cat([there, here]),
    "index_select": lambda there, here: there.index_select(0, torch.tensor([1])),
    "gather": lambda there, here: there.gather(0, torch.tensor([1])),
    "scatter": lambda there, here: there.scatter(0, torch.tensor([1]), 1.0),
    "equal": lambda there, here: torch.equal(there, here),
    "matmul": lambda there, here: there @ here,
    "convolution": lambda there, here: nn.functional.conv1d(there.view(1, 1, 3), here.view(1, 1, 3)),
    "indices on the device": lambda there, here: here[torch.tensor([0], device=there.device)],
    "values put": lambda there, here: there.index_put_((torch.tensor([0]),), here[:1]),
    "pinned": lambda there, here: there.pin_memory(),
    "a CPU generator": lambda there, here: torch.rand(2, device=there.device, generator=torch.Generator()),
}


@pytest.mark.parametrize("meeting", REFUSED)
def test_refuses_what_cuda_refuses(meeting):
    with pretending() as device, pytest.raises(RuntimeError, match=r"same device|cannot pin|on cpu|for generator"):
        REFUSED[meeting](torch.ones(3).to(device.name), torch.ones(3))


def test_mps_has_no_double_precision():
    with pretending("mps") as device, pytest.raises(TypeError, match="doesn't support float64"):
        torch.ones(2, device=device.name).double()


def test_no_numpy_on_the_device():
    with pretending() as device:
        there = torch.ones(3, device=device.name)
        for convert in (lambda: there.numpy(), lambda: np.asarray(there)):
            with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
                convert()


ALLOWED = {  # launches, host reads, uploads
    "a number of the CPU": (lambda there, here: there * here[0], (1, 0, 0)),
    "CPU indices": (lambda there, here: there[torch.tensor([0, 2])], (1, 0, 1)),
    "indices of its own": (lambda there, here: there[torch.tensor([0, 2], device=there.device)], (1, 0, 1)),
    "views": (lambda there, here: there[1:].view(2, 1).T.detach(), (0, 0, 0)),
    "allocation": (lambda there, here: torch.empty_like(there), (0, 0, 0)),
    "a factory": (lambda there, here: torch.zeros(3, device=there.device), (1, 0, 0)),
    "a copy there": (lambda there, here: here.to(there.device, non_blocking=True), (0, 0, 1)),
    "a copy back": (lambda there, here: there.cpu(), (0, 1, 0)),
    "written there": (lambda there, here: there.copy_(here), (0, 0, 1)),
    "written back": (lambda there, here: here.copy_(there), (0, 1, 0)),
    "copied there": (lambda there, here: there.clone(), (1, 0, 0)),
    "already there": (lambda there, here: there.to(there.device), (0, 0, 0)),
    "item": (lambda there, here: there[0].item(), (0, 1, 0)),
    "float": (lambda there, here: float(there.sum()), (1, 1, 0)),
    "bool": (lambda there, here: bool((there > 0).all()), (2, 1, 0)),
    "tolist": (lambda there, here: there.tolist(), (0, 1, 0)),
    "nonzero": (lambda there, here: there.nonzero(), (1, 1, 0)),
    "a mask": (lambda there, here: there[there > 0], (2, 1, 0)),
    "a mask written": (lambda there, here: there.masked_fill_(there > 0, 1.0), (2, 0, 0)),
    "unique": (lambda there, here: there.unique(), (1, 1, 0)),
    "equal": (lambda there, here: torch.equal(there, there), (1, 1, 0)),
    "on the CPU alone": (lambda there, here: float((here + 1).sum()), (0, 0, 0)),
    "waiting": (lambda there, here: torch.cuda.synchronize(), (0, 1, 0)),
}


@pytest.mark.parametrize("operation", ALLOWED)
def test_counts(operation):
    run, expected = ALLOWED[operation]
    with pretending() as device:
        there, here = torch.ones(3).to(device.name), torch.ones(3)
        with device.counted() as counts:
            run(there, here)
    assert (counts.launches, counts.host_reads, counts.uploads) == expected
    assert (sum(counts.operations.values()), sum(counts.reads.values()), sum(counts.sent.values())) == expected


WORK = {
    "a sum": (lambda x: x + x, 3 * 96, 0),
    "in place": (lambda x: x.add_(1), 2 * 96, 0),
    "repeated by a stride of zero": (lambda x: x * x[:, :1].expand(2, 3, 4), 2 * 96 + 32, 0),
    "filled": (lambda x: x.zero_(), 96, 0),
    "taken by indices": (lambda x: x.index_select(1, torch.tensor([1], device=x.device)), 2 * 32 + 8, 0),
    "a product": (lambda x: x[0] @ x[0].T, 48 + 48 + 36, 36),
    "a convolution": (lambda x: nn.functional.conv1d(x, x.new_ones(5, 3, 2)), 96 + 2 * 120 + 120, 180),
}


@pytest.mark.parametrize("operation", WORK)
def test_bytes_and_multiplications(operation):
    """Of a tensor of 2 x 3 x 4 numbers in single precision, 96 bytes."""
    run, moved, products = WORK[operation]
    with pretending() as device:
        x = torch.ones(2, 3, 4).to(device.name)
        with device.counted() as counts:
            run(x)
    assert sum(counts.moved.values()) == moved
    assert sum(counts.products.values()) == products


def test_torch_is_as_before_afterwards():
    before = torch.Tensor.to, torch.Tensor.device, torch.cuda.is_available(), torch.tensor
    with pretending() as device:
        x = torch.ones(2, device=device.name)
    assert (torch.Tensor.to, torch.Tensor.device, torch.cuda.is_available(), torch.tensor) == before
    assert x.device.type == "cpu"
    assert torch.equal(x, torch.ones(2))
