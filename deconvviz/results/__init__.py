"""Frozen results that producers fill and renderers read.

A result holds tensors and plain values only, never a model. Each can be saved to one safetensors file
(tensors as they are, everything else as JSON in the file's metadata; written beside and renamed, so a file
that exists is complete), loaded again, drawn with `figure()` and shown in a notebook.
"""

from deconvviz.results.base import FORMAT, Finding, Result, Tabular
from deconvviz.results.comparison import Attributed, Comparison
from deconvviz.results.correspondence import Correspondence
from deconvviz.results.diagnosis import Diagnosis, Flag, LayerFacts
from deconvviz.results.evidence import Clarity, Deletion, Judgement, Localisation, Randomisation, Score, Selectivity
from deconvviz.results.evolution import Evolution, StrongestUnit
from deconvviz.results.invariance import Invariance
from deconvviz.results.learning_curves import LearningCurves
from deconvviz.results.occlusion import Occlusion
from deconvviz.results.probe import Probe
from deconvviz.results.projections import LayerInfo, LayerTable, Projection, Provenance, Reconstruction, Unit
from deconvviz.results.top_activations import Broken, ChannelStatistics, ScanProvenance, TopActivations

__all__ = [
    "FORMAT",
    "Attributed",
    "Broken",
    "ChannelStatistics",
    "Clarity",
    "Comparison",
    "Correspondence",
    "Deletion",
    "Diagnosis",
    "Evolution",
    "Finding",
    "Flag",
    "Invariance",
    "Judgement",
    "LayerFacts",
    "LayerInfo",
    "LayerTable",
    "LearningCurves",
    "Localisation",
    "Occlusion",
    "Probe",
    "Projection",
    "Provenance",
    "Randomisation",
    "Reconstruction",
    "Result",
    "ScanProvenance",
    "Score",
    "Selectivity",
    "StrongestUnit",
    "Tabular",
    "TopActivations",
    "Unit",
]
