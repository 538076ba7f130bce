"""MPS has no float64: every public function runs there all the same, and gives what it gives on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.pretend_device import pretending
from tests.net.test_devices_of_functions import FUNCTIONS, OF_TENSORS, agree, given_as, on_the_cpu

NAMES = [name for name in {**FUNCTIONS, **OF_TENSORS} if name != "build_atlas"]  # which only calls others


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpu")


@pytest.mark.filterwarnings("ignore:at..frobenius_norm")  # by Captum
@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_the_cpu(name: str, folder: Path, tmp_path: Path) -> None:
    expected = on_the_cpu(name, "tensors here", folder)
    with pretending("mps") as device:
        agree({**FUNCTIONS, **OF_TENSORS}[name](given_as("tensors here", tmp_path, device.name)), expected)
