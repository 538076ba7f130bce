"""Ctrl-C at any moment of a call leaves the model and the process as they were."""

import contextlib
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from deconvviz.io import restoring
from deconvviz.io.restoring import Restored
from faults import interrupts

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["trace", "project_units", "reconstruct", "scan"]


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_interrupts_at_random_moments_leave_nothing_changed():
    done, wrong = interrupts.trial(60, 11, QUICK)
    assert wrong == []
    assert done.total() == 60
    assert done["ended"] > 40


def test_real_signals_leave_nothing_changed():
    done, wrong = interrupts.trial(12, 12, ["trace", "project_units"], real=12)
    assert wrong == []
    assert done.total() == 12


UNPROTECTED = """
from deconvviz.io import restoring
from faults import interrupts

restoring._Interrupts.must_wait = classmethod(lambda cls, frame: False)
restoring._Modes.put_back = lambda self: None
print(any(interrupts.trial(25, moment, ["trace"])[1] for moment in range(40)))
"""


def test_interrupts_that_are_not_put_off_would_leave_something_changed():
    """In a process of its own, which is left changed."""
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNPROTECTED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.stdout == "True\n", said.stderr


# One block


@pytest.fixture
def settings():
    return {"mode": "old", "hook": False}


def pressing(during):
    """A context that is interrupted while it is entered or left."""

    class Context:
        def __enter__(self):
            self.press("entering")
            return self

        def __exit__(self, *error):
            self.press("leaving")

        def press(self, now):
            if now == during:
                signal.raise_signal(signal.SIGINT)

    return Context()


@pytest.mark.parametrize("during", ["entering", "leaving"])
def test_what_is_set_while_a_signal_arrives_is_put_back_and_the_signal_heard(settings, during):
    ran = []
    with pytest.raises(KeyboardInterrupt), Restored() as block:  # noqa: PT012  what is in the block is the matter
        block.callback(settings.update, mode="old")
        settings["mode"] = "new"
        block.enter_context(pressing(during))
        ran.append(settings["mode"])
    assert settings["mode"] == "old"
    assert ran == (["new"] if during == "leaving" else [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_in_the_block_ends_it_at_once(settings):
    with pytest.raises(KeyboardInterrupt), Restored() as block:  # noqa: PT012
        block.callback(settings.update, mode="old")
        settings["mode"] = "new"
        signal.raise_signal(signal.SIGINT)
        settings["mode"] = "never"
    assert settings["mode"] == "old"


def test_blocks_in_blocks_and_handlers_of_somebody():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    mine = signal.getsignal(signal.SIGINT)
    try:
        with Restored() as outer:
            with Restored(pressing("leaving")):
                signal.raise_signal(signal.SIGINT)
                assert heard == [signal.SIGINT]
            assert heard == [signal.SIGINT] * 2
            outer.enter_context(pressing("entering"))
            assert heard == [signal.SIGINT] * 3
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_change_no_handlers():
    found = []

    def run():
        with Restored():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_gradients_autocast_and_modes_are_what_they_were():
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    functions, operations = restoring.function_modes(), restoring.dispatch_modes()
    with Restored():  # as an interrupt may leave them
        torch._C._set_grad_enabled(False)
        torch.set_autocast_enabled("cpu", True)
        TorchFunctionMode().__enter__()
        TorchDispatchMode().__enter__()
    assert torch.is_grad_enabled()
    assert not torch.is_autocast_enabled("cpu")
    assert restoring.function_modes() == functions
    assert restoring.dispatch_modes() == operations


def test_an_error_while_entering_undoes_what_was_done(settings):
    class Fails(Restored):
        def set_up(self):
            self.callback(settings.update, mode="old")
            settings["mode"] = "new"
            raise ArithmeticError("not today")

    with pytest.raises(ArithmeticError, match="not today"), Fails():
        settings["hook"] = True
    assert settings == {"mode": "old", "hook": False}
    assert restoring._Interrupts.holders == []


def test_blocks_that_an_interrupt_kept_from_being_left_end_before_settings_are_put_back():
    """Not when Python frees the traceback, which is later: torch's own blocks would set a mode again then."""
    ended = []

    @contextlib.contextmanager
    def block():
        try:
            yield
        finally:
            ended.append("block")

    def at_exit(frame, event, argument):
        if event == "call" and frame.f_code is contextlib._GeneratorContextManager.__exit__.__code__:
            sys.settrace(None)
            raise KeyboardInterrupt

    def interrupted():
        with Restored() as settings:
            settings.callback(ended.append, "settings")
            sys.settrace(at_exit)
            with block():
                pass

    with pytest.raises(KeyboardInterrupt) as held:  # and so is the traceback
        interrupted()
    assert ended == ["block", "settings"]
    assert held.traceback


def test_an_interrupt_where_torch_looks_an_attribute_up_is_not_taken_for_a_missing_one():
    """torch hides the errors of some of these lookups, and the call would end with another error."""
    model, runs = interrupts.workloads()
    runs["trace"]()  # the first time more is looked up
    before = interrupts.situation(model)
    number, names = 0, []

    def at_lookup(frame, event, argument):
        if event == "call" and frame.f_code.co_name == "looked_up":
            names.append(frame.f_locals["name"])
            if len(names) == number:
                sys.settrace(None)
                signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)

    def traced():
        names.clear()
        sys.settrace(at_lookup)
        try:
            runs["trace"]()
        finally:
            sys.settrace(None)

    traced()
    lookups = len(names)
    assert lookups > 2
    for number in range(1, lookups + 1):  # noqa: B007  `at_lookup` reads it
        with pytest.raises(KeyboardInterrupt):
            traced()
    after = interrupts.situation(model)
    assert [key for key in before if before[key] != after[key]] == []
