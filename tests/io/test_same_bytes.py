"""What is written twice is the same bytes, in this process and in another one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from deconvviz.io.safetensors_files import write_tensors
from deconvviz.models.weights import load_weights, save_weights

NAMES = ["zeta", "alpha", "architecture", "deconvviz", "é 卷", "x" * 200]


def test_metadata_are_in_one_order(tmp_path):
    tensors = {"b": torch.arange(5), "a": torch.rand(3, 3)}
    written = set()
    for turn in range(30):
        entries = {name: name.upper() for name in (NAMES if turn % 2 else NAMES[::-1])}
        write_tensors(tmp_path / "a.safetensors", tensors, entries)
        written.add((tmp_path / "a.safetensors").read_bytes())
    assert len(written) == 1
    content = written.pop()
    size = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + size])["__metadata__"]
    assert [name for name in found if name in NAMES] == sorted(NAMES)
    assert size % 8 == 0
    loaded = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    with safe_open(tmp_path / "a.safetensors", "pt") as stored:
        assert {name: stored.metadata()[name] for name in NAMES} == {name: name.upper() for name in NAMES}


@pytest.mark.parametrize("entries", [{}, {"only": "one"}, {"a": "1", "b": "2"}])
def test_weights_come_back(tmp_path, entries):
    torch.manual_seed(0)
    model, other = (torch.nn.Linear(3, 2) for _ in range(2))
    save_weights(model, tmp_path / "a.safetensors", metadata=entries)
    load_weights(other, tmp_path / "a.safetensors")
    assert torch.equal(model.weight, other.weight)


TRAIN = """
import sys, torch
from deconvviz.models import TrainingSettings, evaluate, save_trained, train_mnist
images = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0))
labels = torch.arange(20) % 10
settings = TrainingSettings(epochs=1, threads=1)
model, result = train_mnist(images, labels, settings=settings, checkpoints=sys.argv[1] + "/c", progress=False,
                            channels=(2, 2), width=4)
save_trained(model, sys.argv[1] + "/mnist_cnn.safetensors", result, test=evaluate(model, images, labels))
"""


def test_a_training_in_another_process_writes_the_same_bytes(tmp_path):
    digests = set()
    for turn in range(3):
        (tmp_path / str(turn)).mkdir()
        subprocess.run([sys.executable, "-c", TRAIN, str(tmp_path / str(turn))], check=True)
        files = [path for path in sorted((tmp_path / str(turn)).rglob("*")) if path.is_file()]
        digests.add(tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files))
    assert len(digests) == 1
    assert [name for name, _ in digests.pop()] == ["epoch-001.safetensors", "state.pt", "mnist_cnn.safetensors"]
