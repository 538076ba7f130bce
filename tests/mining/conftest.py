"""The bundled network and test digits, for the tests of scans."""

from __future__ import annotations

import pytest

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn


@pytest.fixture(scope="module")
def net():
    return dv.DeconvNet(mnist_cnn())


@pytest.fixture(scope="module")
def digits():
    return mnist_test()[0]
