"""Several threads and processes: each gets what it would get alone, and nothing is left behind."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.data.batches import batches
from deconvviz.errors import DataError, InputError, UnsupportedOperation
from deconvviz.experiments import probe
from tests.helpers.autograd_reference import randomised, untouched
from tests.helpers.small_networks import Around, SmallResidual

ROOT = Path(__file__).parents[2]
ROUNDS = 8


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, signal):
        return 2 * signal


class Mixed(nn.Module):
    """What a run changes for the whole process: torch's fast path, autograd functions, random numbers, buffers."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8)
        self.attend = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        x = Doubled.apply(self.norm(self.conv(x)))
        x = self.attend(x.flatten(2).movedim(1, 2))
        return x + torch.rand(()) * 0


@pytest.fixture
def often():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def images():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, 3, 15 + n % 3, 13, generator=generator) for n in range(4)]


def in_threads(*jobs):
    """What each job returns, run at the same time."""
    start = threading.Barrier(len(jobs))

    def begun(job):
        start.wait(30)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(120) for future in [pool.submit(begun, job) for job in jobs]]


def same(found, expected):
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


# Threads


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("who", ["two models", "two nets of one model", "one net"])
def test_two_threads_get_what_each_would_get_alone(who, training, often):
    models = [randomised(SmallResidual()).train(training) for _ in range(2 if who == "two models" else 1)] * 2
    nets = [dv.DeconvNet(models[0])] * 2 if who == "one net" else [dv.DeconvNet(model) for model in models[:2]]
    layers, given = ["wide", "fc", "narrow", "twice_1"], images()

    def projections(net, first):
        return [net.project(given[n % 4], layers[n % 4], channel=[0, 1]).pixels for n in range(first, first + ROUNDS)]

    expected = [projections(net, first) for first, net in enumerate(nets)]
    with untouched(models[0]), untouched(models[1]):
        found = in_threads(lambda: projections(nets[0], 0), lambda: projections(nets[1], 1))
    assert [same(*pair) for pair in zip(found, expected, strict=True)] == [True, True]


def test_two_threads_with_different_models_leave_the_process_as_it_was(often):
    models, x = [randomised(Mixed()).train() for _ in range(2)], images()[0]
    forward = Doubled.forward
    nets = [dv.DeconvNet(model) for model in models]
    jobs = [lambda net=net: [net.reconstruct(x, "attend").pixels for _ in range(ROUNDS)] for net in nets]
    expected = [job() for job in jobs]
    torch.backends.mha.set_fastpath_enabled(True)
    with untouched(models[0]), untouched(models[1]):
        found = in_threads(*jobs)
    assert [same(*pair) for pair in zip(found, expected, strict=True)] == [True, True]
    assert Doubled.forward is forward
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch._dynamo.eval_frame._stance.stance == "default"


class Waits(nn.Module):
    """Stops in the middle of its first run until told to go on."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.inside, self.go_on = threading.Event(), threading.Event()

    def forward(self, x):
        x = self.first(x).relu()
        if not self.inside.is_set():
            self.inside.set()
            self.go_on.wait(30)
        return self.last(x)


def test_a_model_that_another_thread_calls_meanwhile_serves_both():
    model, (x, *_, y) = Waits(), images()
    net = dv.DeconvNet(model)
    model.inside.set()
    expected, called = net.project(x, "last", channel=[0, 1]).pixels, model.eval()(y)
    model.inside.clear()
    with ThreadPoolExecutor(1) as pool:
        recorded = pool.submit(net.project, x, "last", channel=[0, 1])
        assert model.inside.wait(30)
        assert torch.equal(model(y), called)
        model.go_on.set()
        assert torch.equal(recorded.result(30).pixels, expected)


def test_a_second_thread_waits_for_the_first():
    models = [Waits(), nn.Conv2d(3, 2, 3)]
    x = images()[0]
    ended = []
    jobs = [threading.Thread(target=lambda m=m: ended.append((dv.DeconvNet(m).layers(x), m)[1])) for m in models]
    jobs[0].start()
    assert models[0].inside.wait(30)
    jobs[1].start()
    jobs[1].join(0.2)
    assert not ended
    models[0].go_on.set()
    for job in jobs:
        job.join(30)
    assert len(ended) == 2


def test_a_scan_lets_other_threads_in_between_its_batches():
    model, x = randomised(SmallResidual()).train(), images()[0]
    net = dv.DeconvNet(model)
    expected = net.project(x, "wide", channel=0).pixels
    found = []

    class Dataset(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, index):
            if index == 2:  # the scan goes on only once the projection is there
                with ThreadPoolExecutor(1) as pool:
                    found.append(pool.submit(net.project, x, "wide", channel=0).result(30).pixels)
            return x[0] * index

    with untouched(model):
        top = dv.scan(net, Dataset(), batch_size=1, progress=False)
    assert torch.equal(found[0], expected)
    plain = dv.scan(net, torch.stack([x[0] * index for index in range(3)]), batch_size=1, progress=False)
    assert torch.equal(top.values["wide"], plain.values["wide"])


def test_a_model_that_runs_its_parts_in_other_threads_is_refused():
    def elsewhere(inner, x):
        with ThreadPoolExecutor(1) as pool:
            return x[:, :1, 2:, 2:] + pool.submit(inner, x).result()

    with pytest.raises(UnsupportedOperation, match=r"runs 'inner' in a thread of its own.* in the thread that calls"):
        dv.DeconvNet(Around(nn.Conv2d(3, 1, 3), elsewhere)).project(images()[0], "output", channel=0)


# Processes


FORKS = """
import os, threading, torch
import deconvviz as dv
from tests.robustness.test_threads import Waits, images

model, x = Waits(), images()[0]
net = dv.DeconvNet(model)
model.inside.set()
expected = net.project(x, "last", channel=[0, 1]).pixels

def in_a_fork(task):
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        print(task(), flush=True)
    except Exception as error:
        print(error, flush=True)
    os._exit(0)

def projected(given):
    return torch.allclose(dv.DeconvNet(model).project(given, "last", channel=[0, 1]).pixels, expected)

def on_one_thread(given):
    torch.set_num_threads(1)
    return projected(given)

torch.set_num_threads(1)
model.inside.clear()
running = threading.Thread(target=net.project, args=(x, "last"), kwargs={"channel": [0, 1]})
running.start()
model.inside.wait(30)
in_a_fork(lambda: model.inside.set() or projected(x))
model.go_on.set()
running.join()
torch.set_num_threads(2)
torch.randn(512, 512) @ torch.randn(512, 512)
trace = net.trace(x, "last")
for given in (x, trace):
    in_a_fork(lambda: projected(given))
    in_a_fork(lambda: on_one_thread(given))
"""


def test_a_forked_process_waits_for_no_thread_of_its_parents():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS], cwd=ROOT, timeout=300, capture_output=True, text=True, check=True
    )
    refused = (
        "this process was forked from one that had used torch's threads, which are not here; call "
        "torch.set_num_threads(1) first, or start processes by the method 'spawn'"
    )
    assert done.stdout.splitlines() == ["True", refused, "True", refused, "True"]


class Projected(torch.utils.data.Dataset):
    """Projections that are computed where they are loaded."""

    def __init__(self):
        self.net, self.images = dv.DeconvNet(randomised(SmallResidual())), torch.cat([images()[0], images()[3]])

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index) -> Tensor:
        return self.net.project(self.images[index][None], "wide", channel=0).pixels[0]


def test_inside_a_loaders_processes():
    dataset, threads = Projected(), torch.get_num_threads()
    torch.set_num_threads(1)  # as such processes do: with other numbers of threads sums are rounded in other ways
    expected = [dataset[index] for index in range(4)]
    torch.set_num_threads(threads)
    found = list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2))
    assert same(found, expected)


def test_nets_can_be_sent_to_another_process_and_traces_not():
    style = dv.Style("mine", {"rectifier": "guided", "lrn": "identity", "overlap": "mean"})
    net, x = dv.DeconvNet(randomised(SmallResidual()), style), images()[0]
    expected = net.project(x, "wide", channel=[0, 1], position=(1, 2)).pixels  # which leaves a template
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert torch.equal(other.project(x, "wide", channel=[0, 1], position=(1, 2)).pixels, expected)
        assert other.style == net.style
        assert other.model is not net.model
    for send in (pickle.dumps, copy.deepcopy):
        with pytest.raises(InputError, match=r"a trace cannot be .* sent to another process; send the input and trace"):
            send(net.trace(x))


class Dies(torch.utils.data.Dataset):
    """Ends the process that loads item 20, or gives it something that is no image."""

    def __init__(self, how):
        self.how = how

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == 20 and torch.utils.data.get_worker_info() and isinstance(self.how, int):
            os.kill(os.getpid(), -self.how) if self.how < 0 else os._exit(self.how)
        return torch.zeros(3, 9, 9, dtype=torch.int32 if self.how == "integers" else torch.float32)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (3, r"ended with exit status 3; use fewer, or none to see the error"),
        (-9, r"was killed by the system \(Killed, as when memory runs out\)"),
        (-7, r"was killed by the system \(Bus error, as when shared memory runs out\)"),
        (-11, r"was killed by the system \(Segmentation fault\)"),
    ],
)
def test_a_process_that_dies_while_it_loads_is_reported(how, said, capfd):
    net = dv.DeconvNet(nn.Conv2d(3, 2, 3))
    with pytest.raises(DataError, match=rf"^one of the 2 processes that load images {said}") as caught:
        dv.scan(net, Dies(how), batch_size=4, workers=2, progress=False)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not multiprocessing.active_children()  # also while the error is kept, and with it where it happened


class Labelled(Dies):
    def __getitem__(self, index):
        return super().__getitem__(index), index % 2


def test_a_process_that_dies_while_features_are_read_is_reported_too():
    net = dv.DeconvNet(nn.Conv2d(3, 2, 3))
    with pytest.raises(DataError, match=r"^one of the 2 processes that load images ended with exit status 3"):
        probe(net, Labelled(3), layers=["output"], batch_size=4, workers=2, progress=False)
    assert not multiprocessing.active_children()


class DiesWhenTold(Dies):
    def __init__(self, told):
        super().__init__(3)
        self.told = told

    def __getitem__(self, index):
        assert index < 20 or self.told.wait(60)
        return super().__getitem__(index)


def test_a_death_is_reported_where_items_are_awaited_and_never_in_other_work():
    told = multiprocessing.get_context("fork").Event()
    with batches(DiesWhenTold(told), None, 20, lambda number: True, workers=1) as found:
        next(found)
        told.set()
        [worker] = multiprocessing.active_children()
        assert connection.wait([worker.sentinel], timeout=30)  # torch's own handler of signals would raise here
        with pytest.raises(DataError, match=r"^the process that loads images ended with exit status 3"):
            next(found)
    assert not multiprocessing.active_children()


def test_an_item_that_is_no_image_is_reported_the_same_from_another_process():
    net, said = dv.DeconvNet(nn.Conv2d(3, 2, 3)), []
    for workers in (0, 2):
        with pytest.raises(InputError, match=r"an image must come .* not torch.int32$") as caught:
            dv.scan(net, Dies("integers"), batch_size=4, workers=workers, progress=False)
        said.append(str(caught.value))
    assert said[0] == said[1]
