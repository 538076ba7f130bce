"""Frozen results that producers fill and renderers read.

A result holds tensors and plain values only, never a model. Each can be saved to one safetensors file
(tensors as they are, everything else as JSON in the file's metadata; written beside and renamed, so a file
that exists is complete), loaded again, drawn with `figure()` and shown in a notebook.
"""

from deconvviz.results.base import FORMAT, Finding, Result, Tabular
from deconvviz.results.compared import Attributed, Comparison
from deconvviz.results.judged import Clarity, Deletion, Judgement, Localisation, Randomisation, Score, Selectivity
from deconvviz.results.mined import Broken, ChannelStatistics, ScanProvenance, TopActivations
from deconvviz.results.pictures import LayerInfo, LayerTable, Projection, Provenance, Reconstruction, Unit
from deconvviz.results.trained import LearningCurves

__all__ = [
    "FORMAT",
    "Attributed",
    "Broken",
    "ChannelStatistics",
    "Clarity",
    "Comparison",
    "Deletion",
    "Finding",
    "Judgement",
    "LayerInfo",
    "LayerTable",
    "LearningCurves",
    "Localisation",
    "Projection",
    "Provenance",
    "Randomisation",
    "Reconstruction",
    "Result",
    "ScanProvenance",
    "Score",
    "Selectivity",
    "Tabular",
    "TopActivations",
    "Unit",
]
