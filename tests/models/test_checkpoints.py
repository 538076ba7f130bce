"""A run that is cut off goes on to the very weights of one that is not, and never on top of another run."""

from __future__ import annotations

import os
import random
import runpy
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from deconvviz.errors import CheckpointError
from deconvviz.models import MnistCNN, TrainingSettings, initialised, load_weights, train

SETTINGS = {
    "epochs": 4,
    "batch_size": 8,
    "schedule": "cosine",
    "patience": 3,
    "rotation": 20.0,
    "translation": 1,
    "l2": 1e-4,
    "threads": 1,
}


def model(seed: int = 0, **options: object) -> MnistCNN:
    return initialised(seed, **{"channels": (2, 3), "width": 6, "batch_norm": True, **options})


@pytest.fixture
def samples() -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.rand(60, 1, 28, 28, generator=draws), torch.randint(0, 10, (60,), generator=draws)


def run(network: MnistCNN, samples: tuple, folder: Path | None = None, **changes: object):
    settings = TrainingSettings(**{**SETTINGS, **changes})
    return train(network, *samples, settings=settings, checkpoints=folder, progress=False)


def assert_equal(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def cut_off_in(network: MnistCNN, epoch: int) -> MnistCNN:
    """Let training stop in an epoch of this run, after its steps and before anything is saved, as Ctrl-C can do.

    Behind the steps of an epoch the network is measured, in eval mode.
    """
    modes = [False]

    def listen(module: torch.nn.Module, _: object) -> None:
        if module.training != modes[-1]:
            modes.append(module.training)
        if modes[1:].count(False) == epoch:
            raise KeyboardInterrupt

    network.register_forward_pre_hook(listen)
    return network


@pytest.mark.parametrize("optimiser", ["adam", "momentum", "rmsprop", "gradient-descent", "stochastic"])
def test_a_run_cut_off_ends_with_the_same_weights(samples, tmp_path: Path, optimiser: str):
    straight = model()
    expected = run(straight, samples, optimiser=optimiser)
    for epoch in (1, 3, 4):
        done = len(list(tmp_path.glob("epoch-*")))
        with pytest.raises(KeyboardInterrupt):
            run(cut_off_in(model(), epoch - done), samples, tmp_path, optimiser=optimiser)
        assert len(list(tmp_path.glob("epoch-*"))) == epoch - 1
    resumed = model()
    assert run(resumed, samples, tmp_path, optimiser=optimiser) == expected
    assert_equal(resumed, straight)


def test_more_epochs_go_on_with_a_constant_schedule(samples, tmp_path: Path):
    straight, longer = model(), model()
    run(straight, samples, schedule="constant", patience=None)
    run(model(), samples, tmp_path, schedule="constant", patience=None, epochs=2)
    run(longer, samples, tmp_path, schedule="constant", patience=None)
    assert_equal(longer, straight)
    with pytest.raises(CheckpointError, match="is at epoch 4, past 3"):
        run(model(), samples, tmp_path, schedule="constant", patience=None, epochs=3)


def test_a_finished_run_is_only_loaded(samples, tmp_path: Path):
    first, second = model(), model()
    expected = run(first, samples, tmp_path)
    modes: list[bool] = []
    second.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    assert run(second, samples, tmp_path) == expected
    assert True not in modes, "it trained again"
    assert_equal(second, first)


def test_the_folder_holds_each_epoch_and_nothing_that_runs(samples, tmp_path: Path):
    network = model()
    folder = tmp_path / "run"
    run(network, samples, folder, patience=None)
    (folder / ".state.pt.deconvviz-x1y2z3w4.pt").write_bytes(b"left by a killed run")
    (folder / "notes.txt").write_text("mine")
    run(model(), samples, folder, patience=None)
    epochs = [f"epoch-00{epoch}.safetensors" for epoch in range(1, 5)]
    assert sorted(path.name for path in folder.iterdir()) == [*epochs, "notes.txt", "state.pt"]
    torch.load(folder / "state.pt", weights_only=True)
    last = model(seed=5)
    load_weights(last, folder / "epoch-004.safetensors")
    assert_equal(last, network)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 0.5}, "with other setting learning_rate: 0.001 then, 0.5 now;"),
        ({"random_state": 1, "l1": 0.1}, "with other setting l1, setting random_state: 0.0 then, 0.1 now;"),
        ({"epochs": 9}, "with other setting epochs: 1 then, 9 now;"),
    ],
)
def test_other_settings_are_refused(samples, tmp_path: Path, change: dict, sentence: str):
    run(model(), samples, tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=sentence):
        run(model(), samples, tmp_path, **{"epochs": 1, **change})


def test_other_data_and_models_are_refused(samples, tmp_path: Path):
    images, labels = samples
    run(model(), samples, tmp_path, epochs=1)
    brighter = images.clone()
    brighter[3, 0, 2, 2] += 0.1
    for network, data, sentence in (
        (model(), (brighter, labels), r"with other images: 60 x 1 x 28 x 28 of torch.float32, digest \w+ then"),
        (model(), (images[:50], labels[:50]), r"with other images, labels: .* then, 50 x 1 x 28 x 28 of .* now"),
        (model(), (images, labels.flip(0)), "with other labels: 60, digest"),
        (model(width=7), samples, r"with other model, initial weights: MnistCNN\("),
        (model(dropout=0.3), samples, r"with other model: MnistCNN\("),
        (model(seed=1), samples, "with other initial weights: digest"),
    ):
        with pytest.raises(CheckpointError, match=sentence) as caught:
            run(network, data, tmp_path, epochs=1)
        assert "repeat that call exactly, or choose another folder" in str(caught.value)


def test_a_refused_run_leaves_model_and_folder_alone(samples, tmp_path: Path):
    run(model(), samples, tmp_path, epochs=1)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = model(seed=1)
    with pytest.raises(CheckpointError):
        run(other, samples, tmp_path, epochs=1)
    assert_equal(other, model(seed=1))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"garbage", "is truncated or neither a safetensors file nor a torch checkpoint"),
        ({"weights": {}}, "is no training state; choose another folder"),
        ({"deconvviz": 1}, "is no training state; choose another folder"),
        ([1, 2], "is no training state; choose another folder"),
        ({"deconvviz": 99}, "has format 99; this version reads 1"),
        (torch.nn.Linear(1, 1), "holds Python objects besides weights"),
    ],
)
def test_a_state_that_is_none_is_refused(samples, tmp_path: Path, content: object, sentence: str):
    path = tmp_path / "state.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(CheckpointError, match=sentence):
        run(model(), samples, tmp_path)


def test_a_file_is_no_folder(samples, tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(CheckpointError, match="is a file; checkpoints need a folder"):
        run(model(), samples, tmp_path / "file")


SCRIPT = """
    import sys
    import torch
    from deconvviz.models import TrainingSettings, initialised, save_weights, train

    def trained(folder):
        draws = torch.Generator().manual_seed(0)
        images = torch.rand(600, 1, 28, 28, generator=draws)
        labels = torch.randint(0, 10, (600,), generator=draws)
        model = initialised(0, channels=(4, 6), width=12)
        settings = TrainingSettings(
            epochs=16, batch_size=16, schedule="cosine", rotation=10.0, patience=16, threads=1
        )
        train(model, images, labels, settings=settings, checkpoints=folder, progress=False)
        return model

    if __name__ == "__main__":
        save_weights(trained("run"), "resumed.safetensors")
"""


def test_a_run_killed_at_random_moments_ends_with_the_same_weights(tmp_path: Path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "script.py"]
    environment = {**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[2])}
    folder = tmp_path / "run"
    for _ in range(2):
        before = set(folder.glob("epoch-*"))
        process = subprocess.Popen(command, env=environment, cwd=tmp_path)
        while set(folder.glob("epoch-*")) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.Random().uniform(0, 0.15))  # every run of this test tries other moments
        process.kill()
        process.wait()
    assert not (tmp_path / "resumed.safetensors").exists(), "it was done before it was killed"
    subprocess.run(command, env=environment, cwd=tmp_path, check=True)
    resumed = model(channels=(4, 6), width=12, batch_norm=False)
    load_weights(resumed, tmp_path / "resumed.safetensors")
    assert_equal(resumed, runpy.run_path(str(tmp_path / "script.py"))["trained"](None))
    assert len(list(folder.glob("epoch-*"))) == 16
    assert not list(folder.glob(".*"))
