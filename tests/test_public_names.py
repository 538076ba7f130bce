"""The package: its public names, and that importing it does not import torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import deconvviz as dv

DOCUMENTED = Path(__file__).resolve().parents[1] / "docs" / "api.md"


def test_importing_the_package_does_not_import_torch():
    code = (
        "import sys, deconvviz, deconvviz.cli; "
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)[-9:]; "
        "deconvviz.DeconvNet; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_documented_module_is_reached_by_importing_the_package_alone():
    pages = re.findall(r"^   deconvviz\.([a-z]+)$", DOCUMENTED.read_text("utf-8"), re.MULTILINE)
    assert "models" in pages
    for name in pages:  # not by getattr: it also finds what something else has imported
        assert dv.__getattr__(name).__name__ == f"deconvviz.{name}"


def test_public_names():
    assert set(dv.__all__) == set(dir(dv))
    for name in dv.__all__:
        assert getattr(dv, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        dv.nothing
