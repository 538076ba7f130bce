"""Fixtures for all tests: a fixed random seed, two threads in total, and nothing left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

import deconvviz.rules  # noqa: F401  registers the library's rules
from deconvviz.operations.registry import _RULES
from tests.helpers.chromium import browser, page, watched  # noqa: F401  fixtures
from tests.helpers.forced_windows import windows_forced

SHARED = Path(__file__).resolve().parents[2] / "shared"

torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def registry():
    """Restores the registered rules after the test."""
    before = dict(_RULES)
    yield
    _RULES.clear()
    _RULES.update(before)


@pytest.fixture
def used():
    """Uses windows wherever possible, even at a higher cost; counts how often each kind was used."""
    with windows_forced() as kinds:
        yield kinds


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of development data next to the checkout. Without it, tests that need it are skipped."""
    if not (SHARED / "assets").is_dir():
        pytest.skip("needs the development data in ../shared/assets, which is not here")
    return SHARED / "assets"
