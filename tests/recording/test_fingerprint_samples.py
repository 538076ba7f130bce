"""Of each tensor the fingerprint takes 64 elements in the order of its axes, whatever its layout in memory."""

import hashlib

import pytest
import torch
from torch import nn

from deconvviz.recording import fingerprint as fingerprints
from deconvviz.recording.fingerprint import fingerprint


def laid_out(shape, dtype):
    """Tensors of a shape in several layouts."""
    dense = (torch.arange(torch.Size(shape).numel()).reshape(shape) % 251).to(dtype)
    yield dense
    yield dense.expand(3, *shape)
    if len(shape) > 1:
        yield dense.transpose(0, 1)
        yield dense[1:]
        yield dense[::2]
    if len(shape) == 4:
        yield dense.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (63,), (65,), (128,), (129,), (7, 19), (8, 16, 3, 3), (1, 64, 1, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
def test_samples_are_those_of_the_flat_list_of_elements(shape, dtype):
    for tensor in laid_out(shape, dtype):
        elements = tensor.tolist() if tensor.ndim else [tensor.item()]
        for _ in range(tensor.ndim - 1):
            elements = [element for part in elements for element in part]
        expected = elements[:: max(1, len(elements) // 64)][:64]
        found = fingerprints._sampled(tensor)
        assert found.tolist() == expected
        assert found.dtype == dtype


def test_the_digest_is_of_names_shapes_types_and_samples():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.flatten()
        digest.update(flat[:: max(1, len(flat) // 64)][:64].double().numpy().tobytes())
    assert fingerprint(model) == digest.hexdigest()[:16]
    assert fingerprint(model.to(memory_format=torch.channels_last)) == digest.hexdigest()[:16]


def test_weights_in_channels_last_are_not_copied_whole(monkeypatch):
    model = nn.Conv2d(16, 32, 3).to(memory_format=torch.channels_last)
    elements = []
    sampled = fingerprints._sampled

    def counted(tensor):
        with Counting(elements):
            return sampled(tensor)

    monkeypatch.setattr(fingerprints, "_sampled", counted)
    fingerprint(model)
    assert max(elements, default=0) <= 64


class Counting(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes how many elements each operation makes in new memory."""

    def __init__(self, elements):
        super().__init__()
        self.elements = elements

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {item.untyped_storage().data_ptr() for item in args if isinstance(item, torch.Tensor)}
        if result.untyped_storage().data_ptr() not in given:
            self.elements.append(result.numel())
        return result
