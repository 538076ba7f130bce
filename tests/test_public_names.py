"""The package: its public names, and that importing it does not import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import deconvviz as dv


def test_importing_the_package_does_not_import_torch():
    code = (
        "import sys, deconvviz, deconvviz.cli; "
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)[-9:]; "
        "deconvviz.DeconvNet; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names():
    assert set(dv.__all__) == set(dir(dv))
    for name in dv.__all__:
        assert getattr(dv, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        dv.nothing
