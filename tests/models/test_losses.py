"""The trainer's losses: steps by the gradient of each, and curves in nats with either."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deconvviz.errors import CheckpointError, InputError
from deconvviz.models import TrainingSettings, train
from deconvviz.models.checkpoints import run_identity
from deconvviz.models.samples import held_out_split
from deconvviz.models.training import squared_error

IMAGES = torch.rand(12, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.arange(12) % 3


def linear() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double()


def brier(weight: torch.Tensor, bias: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The loss written out, number by number."""
    total = 0.0
    for image, label in zip(images.flatten(1), labels.tolist(), strict=True):
        powers = [float(torch.exp(row @ image + offset)) for row, offset in zip(weight, bias, strict=True)]
        total += sum((power / sum(powers) - (n == label)) ** 2 for n, power in enumerate(powers)) / len(powers)
    return total / len(images)


def test_a_step_of_the_squared_error_follows_its_finite_differences():
    model, rate = linear(), 0.1
    weight, bias = model[1].weight.detach().clone(), model[1].bias.detach().clone()
    settings = TrainingSettings(
        loss="mse", optimiser="gradient-descent", learning_rate=rate, epochs=1, validation=0.25, batch_size=5
    )
    train(model, IMAGES, LABELS, settings=settings, progress=False)
    after = model[1].weight.detach()
    training, _ = held_out_split(12, 0.25, 0)
    images, labels, small = IMAGES[training], LABELS[training], 1e-6
    for row in range(3):
        for column in range(4):
            step = torch.zeros_like(weight)
            step[row, column] = small
            ends = (brier(weight + sign * step, bias, images, labels) for sign in (1, -1))
            slope = (next(ends) - next(ends)) / (2 * small)
            assert float(weight[row, column] - after[row, column]) == pytest.approx(rate * slope, rel=1e-5)


def test_curves_are_the_cross_entropy_of_either_loss():
    for loss in ("mse", "cross-entropy"):
        model = linear()
        found = train(model, IMAGES, LABELS, settings=TrainingSettings(loss=loss, epochs=2), progress=False)
        _, held_out = held_out_split(12, 0.1, 0)
        with torch.no_grad():
            wanted = float(cross_entropy(model(IMAGES[held_out]), LABELS[held_out]))
        assert found.curves.validation_loss[-1] == pytest.approx(wanted)
        assert found.curves.settings["loss"] == loss


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_squared_error_of_certain_answers(dtype):
    logits = torch.tensor([[90.0, 0.0, 0.0], [0.0, 90.0, 0.0]], dtype=dtype)
    assert squared_error(logits, torch.tensor([0, 1])).item() == pytest.approx(0, abs=1e-30)
    assert squared_error(logits, torch.tensor([1, 0])).item() == pytest.approx(2 * 2 / 3, rel=1e-3)
    assert squared_error(logits, torch.tensor([0, 1])).dtype == dtype


def test_a_run_is_resumed_with_its_own_loss_only(tmp_path):
    settings = TrainingSettings(epochs=1)
    identity = run_identity(linear(), IMAGES, LABELS, settings)
    assert "setting loss" not in identity  # as in runs of versions without it, which can be resumed
    train(linear(), IMAGES, LABELS, settings=settings, checkpoints=tmp_path, progress=False)
    other = TrainingSettings(epochs=1, loss="mse")
    with pytest.raises(CheckpointError, match="holds another run, with other setting loss"):
        train(linear(), IMAGES, LABELS, settings=other, checkpoints=tmp_path, progress=False)


def test_other_losses_are_refused():
    with pytest.raises(InputError, match="loss is one of cross-entropy, mse, not 'hinge'"):
        TrainingSettings(loss="hinge")
