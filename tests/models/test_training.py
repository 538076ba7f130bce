"""The trainer against transcriptions: every optimiser, penalty, schedule and rule by hand, in float64."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from deconvviz.errors import InputError
from deconvviz.models import (
    REFERENCE,
    TrainingSettings,
    initialised,
    mnist_cnn,
    read_weights,
    save_trained,
    train,
    train_mnist,
    training,
)
from deconvviz.models.evaluation import Evaluation
from deconvviz.models.randomness import generator
from deconvviz.models.samples import held_out_split


def seeded(*layers: Callable[[], nn.Module]) -> nn.Sequential:
    """The layers in float64, with the same initial weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return nn.Sequential(*(layer() for layer in layers)).double()


def linear() -> nn.Sequential:
    """A softmax regression: 4 pixels, 3 classes."""
    return seeded(nn.Flatten, lambda: nn.Linear(4, 3))


def quietly(model: nn.Module, samples: tuple, checkpoints: object = None, **settings: object):
    return train(model, *samples, settings=TrainingSettings(**settings), checkpoints=checkpoints, progress=False)


def steps(count: int, batch: int, epoch: int = 1, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """The images of each step of an epoch, as indices into the samples."""
    chosen, _ = held_out_split(count, 0.1, seed)
    order = torch.randperm(len(chosen), generator=generator(seed, "order", epoch))
    return chosen[order].split(batch)


def by_hand(samples: tuple, batches: tuple, update: Callable) -> nn.Sequential:
    """Go through the batches with `update(weights, gradients, memory) -> weights`."""
    images, labels = samples
    model = linear()
    memory: list[dict] = [{} for _ in model.parameters()]
    for batch in batches:
        loss = cross_entropy(model(images[batch]), labels[batch])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for weights, gradient, kept in zip(model.parameters(), gradients, memory, strict=True):
                weights.copy_(update(weights, gradient, kept))
    return model


def assert_same(model: nn.Module, expected: nn.Module, tolerance: float = 1e-12) -> None:
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def descend(weights: torch.Tensor, gradient: torch.Tensor, memory: dict) -> torch.Tensor:
    return weights - 0.1 * gradient


def with_momentum(weights: torch.Tensor, gradient: torch.Tensor, memory: dict) -> torch.Tensor:
    memory["v"] = 0.7 * memory.get("v", 0) + gradient
    return weights - 0.1 * memory["v"]


def rmsprop(weights: torch.Tensor, gradient: torch.Tensor, memory: dict) -> torch.Tensor:
    memory["s"] = 0.99 * memory.get("s", 0) + 0.01 * gradient**2
    return weights - 0.1 * gradient / (memory["s"].sqrt() + 1e-8)


def adam(weights: torch.Tensor, gradient: torch.Tensor, memory: dict) -> torch.Tensor:
    memory["t"] = memory.get("t", 0) + 1
    memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * gradient
    memory["s"] = 0.999 * memory.get("s", 0) + 0.001 * gradient**2
    mean, square = memory["m"] / (1 - 0.9 ** memory["t"]), memory["s"] / (1 - 0.999 ** memory["t"])
    return weights - 0.1 * mean / (square.sqrt() + 1e-8)


# --- optimisers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimiser", "step", "update"),
    [
        ("gradient-descent", 27, descend),
        ("mini-batch", 8, descend),
        ("stochastic", 1, descend),
        ("momentum", 8, with_momentum),
        ("rmsprop", 8, rmsprop),
        ("adam", 8, adam),
    ],
)
def test_each_optimiser_is_its_formula(samples, optimiser: str, step: int, update: Callable):
    """Two epochs by hand. Gradient descent cuts its 27 images into pieces of 8, averaged over all."""
    model = linear()
    quietly(model, samples, optimiser=optimiser, learning_rate=0.1, batch_size=8, momentum=0.7, epochs=2)
    assert_same(model, by_hand(samples, steps(30, step) + steps(30, step, epoch=2), update))


def test_the_full_batch_gradient_is_the_average_of_the_gradients(samples):
    images, labels = samples
    model, before = linear(), linear()
    quietly(model, samples, optimiser="gradient-descent", learning_rate=0.5, batch_size=4, epochs=1)
    chosen, _ = held_out_split(30, 0.1, 0)
    average = torch.stack(
        [
            torch.autograd.grad(cross_entropy(before(images[i : i + 1]), labels[i : i + 1]), before[1].weight)[0]
            for i in chosen
        ]
    ).mean(0)
    torch.testing.assert_close((before[1].weight - model[1].weight) / 0.5, average, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("l1", "l2"), [(0.3, 0.0), (0.0, 0.2), (0.3, 0.2)])
def test_penalties_move_weights_by_their_gradient_and_leave_biases(samples, l1: float, l2: float):
    before, plain, penalised = linear(), linear(), linear()
    options = {"optimiser": "gradient-descent", "learning_rate": 0.1, "epochs": 1}
    quietly(plain, samples, **options)
    quietly(penalised, samples, **options, l1=l1, l2=l2)
    weights = before[1].weight
    expected = -0.1 * (l1 * weights.sign() + 2 * l2 * weights)
    torch.testing.assert_close(penalised[1].weight - plain[1].weight, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(penalised[1].bias, plain[1].bias)


def test_penalties_leave_normalisation_alone():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    expected = sum(parameter.square().sum() for parameter in (model[0].weight, model[3].weight))
    torch.testing.assert_close(training.penalty(model, l1=0.0, l2=1.0), expected)


@pytest.mark.parametrize(
    ("schedule", "warm_up", "factors"),
    [
        ("constant", 0.0, [1.0] * 4),
        ("cosine", 0.0, [(1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]),
        ("constant", 3.0, [1 / 3, 2 / 3, 1.0, 1.0]),
        ("cosine", 2.0, [1 / 2, *((1 + math.cos(math.pi * step / 4)) / 2 for step in (1, 2, 3))]),
    ],
)
def test_the_schedule_sets_the_steps(tmp_path: Path, schedule: str, warm_up: float, factors: list[float]):
    """On black images only the L1 penalty moves a weight, by the learning rate of the step each."""
    black = torch.zeros(10, 1, 2, 2, dtype=torch.float64), torch.arange(10) % 3
    model = linear()
    path = [model[1].weight.abs().max().item()]
    options = {"optimiser": "gradient-descent", "learning_rate": 0.01, "l1": 1.0, "epochs": 4}
    quietly(model, black, tmp_path, **options, schedule=schedule, warm_up=warm_up)
    for epoch in range(1, 5):
        weights, _ = read_weights(tmp_path / f"epoch-00{epoch}.safetensors")
        path.append(weights["1.weight"].abs().max().item())
    taken = [before - after for before, after in itertools.pairwise(path)]
    assert taken == pytest.approx([0.01 * factor for factor in factors])


def test_frozen_parameters_stay(samples):
    model = linear()
    model[1].bias.requires_grad_(False)
    before = model[1].bias.clone()
    quietly(model, samples, epochs=2, learning_rate=0.1)
    assert torch.equal(model[1].bias, before)
    assert not torch.equal(model[1].weight, linear()[1].weight)
    model[1].weight.requires_grad_(False)
    with pytest.raises(InputError, match="every parameter of Sequential is frozen"):
        quietly(model, samples)


# --- curves, early stopping, what is left as found ---------------------------------------------------------


def test_the_curves_are_measured_on_images_that_are_held_out(samples):
    images, labels = samples
    model = linear()
    result = quietly(model, samples, epochs=2, validation=0.3, learning_rate=0.1)
    chosen, held_out = held_out_split(30, 0.3, 0)
    assert sorted([*chosen.tolist(), *held_out.tolist()]) == list(range(30))
    with torch.no_grad():
        for part, loss, accuracy in (
            (held_out, result.curves.validation_loss, result.curves.validation_accuracy),
            (chosen[:9], result.curves.train_loss, result.curves.train_accuracy),
        ):
            logits = model(images[part])
            assert loss[-1] == pytest.approx(cross_entropy(logits, labels[part]).item(), rel=1e-12)
            assert accuracy[-1] == pytest.approx((logits.argmax(1) == labels[part]).double().mean().item())
    assert result.curves.epochs == (1, 2)
    assert result.curves.settings["validation"] == 0.3
    assert (result.kept_epoch, result.stopped_early) == (2, False)


def scripted(monkeypatch: pytest.MonkeyPatch, losses: list[float]) -> None:
    """Let the measured losses be these, one per epoch."""
    script = iter([loss for loss in losses for _ in ("train", "validation")])
    monkeypatch.setattr(training, "measured", lambda *args, **options: Evaluation(next(script), 0.5, 1, ()))


def test_early_stopping_waits_its_patience_and_restores_the_best(samples, tmp_path: Path, monkeypatch):
    scripted(monkeypatch, [1.0, 0.8, 0.9, 0.79, 0.79, 0.81, 0.80, 0.1, 0.1])
    model = linear()
    result = quietly(model, samples, tmp_path, epochs=9, patience=3, learning_rate=0.1)
    assert result.curves.validation_loss == (1.0, 0.8, 0.9, 0.79, 0.79, 0.81, 0.80)
    assert (result.best_epoch, result.kept_epoch, result.stopped_early) == (4, 4, True)
    best, _ = read_weights(tmp_path / "epoch-004.safetensors")
    last, _ = read_weights(tmp_path / "epoch-007.safetensors")
    assert torch.equal(model[1].weight, best["1.weight"])
    assert not torch.equal(model[1].weight, last["1.weight"])


def test_without_patience_the_last_weights_are_kept(samples, tmp_path: Path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.6, 0.7])
    model = linear()
    result = quietly(model, samples, tmp_path, epochs=3, learning_rate=0.1)
    assert (result.best_epoch, result.kept_epoch, result.stopped_early) == (1, 3, False)
    assert torch.equal(model[1].weight, read_weights(tmp_path / "epoch-003.safetensors")[0]["1.weight"])


def noisy() -> nn.Sequential:
    """A network with everything that draws random numbers or changes with the mode."""
    return seeded(
        lambda: nn.Conv2d(1, 2, 2, padding=1),
        lambda: nn.BatchNorm2d(2),
        lambda: nn.Dropout(0.4),
        nn.Flatten,
        lambda: nn.Linear(18, 3),
    )


EVERYTHING = {"epochs": 2, "batch_size": 8, "rotation": 20.0, "translation": 1, "flip": True, "learning_rate": 0.01}


def test_the_same_seed_gives_the_same_weights_whatever_the_caller_drew(samples):
    models = [noisy() for _ in range(3)]
    for number, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        quietly(model, samples, random_state=seed, **EVERYTHING)
        assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (model.state_dict() for model in models)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_each_epoch_has_its_own_order_dropout_and_movements():
    """Each image is a constant: its value tells which one a row is, its zeros what was dropped."""
    images = torch.arange(1.0, 41.0, dtype=torch.float64).view(40, 1, 1, 1).expand(40, 1, 3, 3)
    model = seeded(lambda: nn.Dropout(0.5), nn.Flatten, lambda: nn.Linear(9, 2))
    seen = []
    model[0].register_forward_hook(
        lambda module, args, out: (
            seen.append((args[0].amax((1, 2, 3)), args[0] == 0, out == 0)) if module.training else None
        )
    )
    settings = {"epochs": 2, "batch_size": 40, "validation": 0.1, "learning_rate": 1e-9}
    quietly(model, (images, torch.arange(40) % 2), **settings)
    (order, _, dropped), (other_order, _, other_dropped) = seen
    assert sorted(order.tolist()) == sorted(other_order.tolist())
    assert not torch.equal(order, other_order)
    assert not torch.equal(dropped, other_dropped)
    assert dropped.double().mean().item() == pytest.approx(0.5, abs=0.1)
    seen.clear()
    quietly(model, (images, torch.arange(40) % 2), translation=1, **settings)
    assert not torch.equal(seen[0][1], seen[1][1])  # the black edges that shifts bring into view


@pytest.mark.parametrize("raising", [False, True])
def test_modes_random_numbers_threads_and_gradients_are_left_as_found(samples, raising: bool):
    model = noisy().eval()
    model[2].train()
    modes, numbers, threads = ([m.training for m in model.modules()], torch.get_rng_state(), torch.get_num_threads())
    settings = {**EVERYTHING, "threads": 1, "learning_rate": 1e300 if raising else 0.01}
    with torch.no_grad():  # training works here too
        if raising:
            with pytest.raises(InputError, match=r"the loss became \w+ in epoch 1: training diverged, so lower"):
                quietly(model, samples, optimiser="mini-batch", **settings)
        else:
            quietly(model, samples, **settings)
            assert all(parameter.grad is None for parameter in model.parameters())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), numbers)
    assert torch.get_num_threads() == threads


def test_the_progress_bar_goes_to_standard_error(samples, capsys):
    train(linear(), *samples, settings=TrainingSettings(epochs=1))
    shown = capsys.readouterr()
    assert "27/27" in shown.err
    assert shown.out == ""


def test_real_trainings_get_the_diagnosis_they_deserve(samples):
    """Random labels are learnt by heart: 30 images, 3 classes, a wide hidden layer."""
    images, _ = samples
    wide = seeded(nn.Flatten, lambda: nn.Linear(4, 512), nn.ReLU, lambda: nn.Linear(512, 3))
    memorised = quietly(wide, samples, epochs=300, learning_rate=0.01, validation=0.4, batch_size=30)
    assert memorised.curves.diagnosis.startswith("overfitting")
    barely = quietly(linear(), samples, epochs=1, learning_rate=1e-6)
    assert barely.curves.diagnosis.startswith("underfitting")
    easy = torch.cat([images[:15] * 0.1, 0.9 + images[15:] * 0.1]), (torch.arange(30) >= 15).long()
    learnt = quietly(linear(), easy, epochs=100, learning_rate=0.1)
    assert learnt.curves.diagnosis.startswith("good fit")


# --- the reference -----------------------------------------------------------------------------------------


def test_a_short_reference_training_repeats_to_the_bit_and_loads_again(tmp_path: Path):
    draws = torch.Generator().manual_seed(0)
    images, labels = torch.rand(64, 1, 28, 28, generator=draws), torch.randint(0, 10, (64,), generator=draws)
    settings = dataclasses.replace(REFERENCE, epochs=2, batch_size=16, threads=1)
    options = {"channels": (3, 4), "width": 8}
    (first, result), (again, _) = (
        train_mnist(images, labels, settings=settings, progress=False, **options) for _ in range(2)
    )
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    assert not torch.equal(first.conv1.weight, initialised(0, **options).conv1.weight)
    save_trained(first, tmp_path / "w.safetensors", result, test=Evaluation(0.5, 0.75, 4, (3,)))
    loaded = mnist_cnn(weights=tmp_path / "w.safetensors")
    assert torch.equal(loaded.fc2.bias, first.fc2.bias)
    _, metadata = read_weights(tmp_path / "w.safetensors")
    for part in (
        '"random_state": 0',
        '"kept_epoch": ',
        '"test": {"loss": 0.5, "accuracy": 0.75, "images": 4}',
        '"torch": ',
    ):
        assert part in metadata["training"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_on_a_gpu_learns_and_leaves_its_random_numbers(samples):
    model = noisy().cuda()
    before = torch.cuda.get_rng_state()
    result = quietly(model, samples, **{**EVERYTHING, "epochs": 20})
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert result.curves.train_loss[-1] < result.curves.train_loss[0]
    assert model[0].weight.is_cuda
