"""`--device` takes every kind of accelerator that the library runs on, and says in one sentence what is not there."""

from __future__ import annotations

import pytest

from deconvviz import cli
from tests.helpers.pretend_device import pretending


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "xpu", "xpu:0", "mps"])
def test_an_accelerator_is_used_where_it_is_there(name, capsys):
    with pretending(name.partition(":")[0]):
        assert cli.main(["layers", "mnist", "--device", name]) == 0
    assert "conv1" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["xpu", "mps", "xpu:3"])
def test_one_that_is_not_there_is_named(name, capsys):
    assert cli.main(["layers", "mnist", "--device", name]) == 2
    assert f"--device {name}: torch finds no device of this kind on this machine; --device cpu would do" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("xpu", ["--device", "xpu:3"], "--device xpu:3: the last device of this kind is xpu:0"),
        ("mps", ["--device", "mps", "--dtype", "float64"], "--device mps: MPS computes in no float64"),
        ("mps", ["--device", "mps:1"], "--device is cpu, cuda, cuda:N, xpu, xpu:N or mps, not 'mps:1'"),
    ],
)
def test_what_a_device_cannot_is_said(kind, options, sentence, capsys):
    with pretending(kind):
        assert cli.main(["layers", "mnist", *options]) == 2
    assert sentence in capsys.readouterr().err
