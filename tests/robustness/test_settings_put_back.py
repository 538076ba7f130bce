"""Whatever is set for a time goes through `Restored`, so that Ctrl-C cannot get in between."""

from __future__ import annotations

import ast
import gc
import importlib
import os
import signal
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data.source import Source
from deconvviz.demo import _beside_captum
from deconvviz.io.locks import LOCK, alone
from deconvviz.models import clip_filter_rms_, initialised, mnist_cnn
from deconvviz.recording.random_state import RandomState
from tests.helpers.syntax import tree_of

PACKAGE = Path(dv.__file__).parent
SETS = {
    *("no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "autocast", "set_stance"),
    *("fork_rng", "forked", "again", "catch_warnings", "device", "observing", "keeping_modes", "alone"),
    *(
        "_disable_current_modes",
        "_hooked",
        "weights_kept",
        "_threads",
        "_gradients_untouched",
        "functions_applied",
        "gradients_switched",
    ),
}
# Entered while a `Restored` is entered or left, or by a context that is.
INSIDE = {
    ("recording/eval_mode.py", "_put_back"),
    ("experiments/_run_checkpoints.py", "weights_kept"),
    ("models/randomness.py", "forked"),
    ("data/batches.py", "batches"),
    ("cli/__init__.py", "main"),  # which imports no torch; the program ends with it
    ("cli/experiments.py", "_evolve"),  # the same
    ("mining/reducer.py", "layer_returned"),  # called in the observer's block, which puts the modes back
}


def entered_alone(source: str) -> list[tuple[str, str]]:
    """Where a `with` enters a context of `SETS` itself: (function, context)."""
    found = []
    for function in ast.walk(tree_of(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for block in ast.walk(function):
            for item in block.items if isinstance(block, ast.With) else ():
                calls = [item.context_expr]
                if isinstance(item.context_expr, ast.IfExp):
                    calls = [item.context_expr.body, item.context_expr.orelse]
                names = [ast.unparse(call.func).rpartition(".")[2] for call in calls if isinstance(call, ast.Call)]
                found += [(function.name, name) for name in names if name in SETS]
    return found


def test_every_setting_goes_through_restored():
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        alone_there = entered_alone(path.read_text("utf-8"))
        wrong += [f"{name}: {what} in {where}" for where, what in alone_there if (name, where) not in INSIDE]
    assert wrong == []
    planted = "def f():\n with torch.no_grad(): pass\n with a(no_grad()), x.alone() if y else b(): pass"
    assert entered_alone(planted) == [("f", "no_grad"), ("f", "alone")]


class ParsesAtItsEnd:
    again = True

    def __init__(self):
        self.myself = self

    def __del__(self):
        ast.parse("a + b")
        if ParsesAtItsEnd.again:
            ParsesAtItsEnd()


def test_sources_are_parsed_whatever_is_collected_meanwhile():
    before = gc.get_threshold()
    gc.set_threshold(50)
    try:
        ParsesAtItsEnd()
        assert tree_of(Path(ast.__file__).read_text("utf-8")).body
    finally:
        ParsesAtItsEnd.again = False
        gc.set_threshold(*before)
        gc.collect()


# At the worst moment: in the middle of a context's own entering


@pytest.fixture
def pressed(monkeypatch):
    """Ctrl-C as soon as a context has set something, once."""

    def during(owner, name="__enter__"):
        original, due = getattr(owner, name), [True]

        def entering(self, *args):
            found = original(self, *args)
            if due and due.pop():
                signal.raise_signal(signal.SIGINT)
            return found

        monkeypatch.setattr(owner, name, entering)

    return during


def test_filters_are_clipped_with_gradients_as_they_were(pressed):
    model = nn.Conv2d(1, 2, 3)
    pressed(torch.no_grad)
    with pytest.raises(KeyboardInterrupt):
        clip_filter_rms_(model, 0.1)
    assert torch.is_grad_enabled()


def test_random_numbers_go_on_where_they_were(monkeypatch):
    state = RandomState(())
    torch.rand(3)
    before = torch.get_rng_state()
    original = RandomState.put_back

    def put_back(self):
        original(self)
        if self is state:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RandomState, "put_back", put_back)
    with pytest.raises(KeyboardInterrupt), state.again():
        pytest.fail("it began")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_initialisation_leaves_random_numbers_alone(monkeypatch):
    before = torch.get_rng_state()
    original = torch.random.fork_rng

    def forking(*args, **options):
        context = original(*args, **options)
        enter = context.__enter__

        class Forked:
            def __enter__(self):
                enter()
                torch.manual_seed(7)
                signal.raise_signal(signal.SIGINT)

            def __exit__(self, *error):
                return context.__exit__(*error)

        return Forked()

    monkeypatch.setattr(torch.random, "fork_rng", forking)
    with pytest.raises(KeyboardInterrupt):
        initialised(3)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KeyboardInterrupt):
        Source([torch.zeros(1, 2, 2)]).first(None)
    assert torch.equal(torch.get_rng_state(), before)


def test_warnings_are_shown_as_before(pressed):
    net, images = dv.DeconvNet(mnist_cnn()), torch.rand(1, 1, 28, 28)
    filters = list(warnings.filters)
    pressed(warnings.catch_warnings)
    with pytest.raises(KeyboardInterrupt):
        _beside_captum(net, images, torch.zeros(1, dtype=torch.long))
    assert warnings.filters == filters


def test_a_folder_is_let_go_of(tmp_path, monkeypatch):
    """The lock is taken, and Ctrl-C comes before the scan's work begins."""
    net = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3)))

    class Pressed:
        def __init__(self, folder):
            self.inner = alone(folder)

        def __enter__(self):
            self.inner.__enter__()
            signal.raise_signal(signal.SIGINT)

        def __exit__(self, *error):
            return self.inner.__exit__(*error)

    monkeypatch.setattr(importlib.import_module("deconvviz.mining.scan"), "alone", Pressed)
    with pytest.raises(KeyboardInterrupt):
        dv.scan(net, torch.rand(4, 1, 5, 5), k=1, state=tmp_path / "state", progress=False)
    assert not (tmp_path / "state" / LOCK).exists()
    with alone(tmp_path):
        assert os.listdir(tmp_path) == [LOCK]
