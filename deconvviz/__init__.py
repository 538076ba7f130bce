"""deconvviz: see what a convolutional network sees.

The deconvnet of Zeiler and Fergus (2013) for any PyTorch CNN. Names are loaded when first used, so that
``import deconvviz`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from deconvviz.atlas.build import build_atlas as build_atlas
    from deconvviz.captum.attribution import DeconvNetAttribution as DeconvNetAttribution
    from deconvviz.captum.attribution import NeuronDeconvNetAttribution as NeuronDeconvNetAttribution
    from deconvviz.captum.comparison import compare as compare
    from deconvviz.explorer.serve import explore as explore
    from deconvviz.mining.project_top import project_top as project_top
    from deconvviz.mining.scan import scan as scan
    from deconvviz.net import DeconvNet as DeconvNet
    from deconvviz.pairs.diff import diff as diff
    from deconvviz.reading.circuit import circuit as circuit
    from deconvviz.reading.mixed import mixed_channels as mixed_channels
    from deconvviz.reading.reading import reading_test as reading_test
    from deconvviz.rules import Style as Style
    from deconvviz.synthesis.synthesis import synthesize as synthesize

_HOMES = {
    "DeconvNet": "deconvviz.net",
    "DeconvNetAttribution": "deconvviz.captum.attribution",
    "NeuronDeconvNetAttribution": "deconvviz.captum.attribution",
    "Style": "deconvviz.rules",
    "build_atlas": "deconvviz.atlas.build",
    "circuit": "deconvviz.reading.circuit",
    "compare": "deconvviz.captum.comparison",
    "diff": "deconvviz.pairs.diff",
    "explore": "deconvviz.explorer.serve",
    "mixed_channels": "deconvviz.reading.mixed",
    "project_top": "deconvviz.mining.project_top",
    "reading_test": "deconvviz.reading.reading",
    "scan": "deconvviz.mining.scan",
    "synthesize": "deconvviz.synthesis.synthesis",
}
_MODULES = ("data", "errors", "evidence", "experiments", "figures", "images", "models", "results", "rules")

__all__ = [  # noqa: PLE0604
    "DeconvNet",
    "DeconvNetAttribution",
    "NeuronDeconvNetAttribution",
    "Style",
    "__version__",
    "build_atlas",
    "circuit",
    "compare",
    "diff",
    "explore",
    "mixed_channels",
    "project_top",
    "reading_test",
    "scan",
    "synthesize",
    *_MODULES,
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"deconvviz.{name}")
    raise AttributeError(f"module 'deconvviz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
