"""Processes of a job that do not do the same scan, and jobs that share a folder: refused, in one sentence, by all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What each process of each job ended with."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.disagreeing_scans", tmp_path_factory.mktemp("pairs")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


DIFFERENT = {
    "weights": "the model is 'Sequential ",
    "activation": "the structure is '(1): ReLU()' in process 0 and '(1): Tanh()' in process 1",
    "function": "the output of layer '3' on the first image is ",
    "stride": "the structure is '(0): Conv2d(1, 3, kernel_size=(3, 3), stride=(1, 1))' in process 0 and '(0): Conv2d(",
    "buffer": "the model is 'Sequential ",
    "k": "the k is 3 in process 0 and 4 in process 1",
    "batch_size": "the batch size is 4 in process 0 and 5 in process 1",
    "layers": "the layers is None in process 0 and ['0'] in process 1",
    "order of layers": "the layers is ['0', '3'] in process 0 and ['3', '0'] in process 1",
    "length": "the dataset is 'Tensor of 40 items, ",
    "order of items": "the dataset is 'list of 40 items, ",
    "shards": "the dataset is 'an iterable that begins with ",
    "a state": "the state is 'kept' in process 0 and 'none' in process 1",
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_processes_that_do_different_scans_all_say_so(ended, name):
    first, second = ended[name]
    assert first == second
    assert first.startswith(f"InputError: the processes of this job do different scans: {DIFFERENT[name]}")
    assert first.endswith("; give all of them the same model, weights, data and options")


def test_iterables_of_two_lengths_are_told_in_the_end(ended):
    said = "InputError: the iterables of this job give 40 items in process 0 and 30 in process 1; give all "
    assert [one.startswith(said) for one in ended["ends of iterables"]] == [True, True]


def test_a_process_that_cannot_take_part_is_heard_by_the_others(ended):
    other, own = ended["a layer that is not there"]
    assert own.startswith("UnknownLayerError: there is no layer 'nope' in Sequential; the layers are")
    assert other.startswith(
        "InputError: process 1 of this job cannot take part: there is no layer 'nope' in Sequential"
    )


@pytest.mark.parametrize("name", ["the same iterable", "two", "three go on", "first"])
def test_processes_that_do_the_same_find_what_one_finds(ended, name):
    assert ended[name] == ended["alone"] * len(ended[name])


def test_a_second_job_on_the_folder_of_a_state_is_refused(ended):
    first, *others = ended["second"]
    assert first.startswith("OutputError: another job (process ")
    assert "shared'; wait until it ends, or name another folder" in first
    assert all("process 0 of this job cannot take part: another job (process " in one for one in others)
