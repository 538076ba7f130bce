"""Frozen results, filled by the functions that compute them and read by the figures.

A result contains only tensors and plain values, never a model. It can be saved to one safetensors file and loaded
again, drawn with `figure()`, and shown in a notebook. The file holds the tensors; everything else is JSON in its
metadata. It is written atomically, so an existing file is complete.
"""

from deconvviz.results.base import FORMAT, Finding, Result, Tabular
from deconvviz.results.circuit import Circuit, CircuitFeeder, CircuitUnit
from deconvviz.results.comparison import Attributed, Comparison
from deconvviz.results.correspondence import Correspondence
from deconvviz.results.decoding import Decoding
from deconvviz.results.diagnosis import Diagnosis, Flag, LayerFacts
from deconvviz.results.evidence import (
    Clarity,
    Deletion,
    Floor,
    Judgement,
    Leak,
    Localisation,
    Randomisation,
    Score,
    Selectivity,
)
from deconvviz.results.evolution import Evolution, StrongestUnit
from deconvviz.results.invariance import Invariance
from deconvviz.results.labels import ChannelLabels
from deconvviz.results.layer_pictures import FeatureMaps, Filters
from deconvviz.results.layer_table import LayerInfo, LayerTable
from deconvviz.results.learning_curves import LearningCurves
from deconvviz.results.mixed import MixedChannels, PictureGroups
from deconvviz.results.network_diff import LayerDiff, NetworkDiff, PairPictures
from deconvviz.results.occlusion import Occlusion
from deconvviz.results.probe import Probe
from deconvviz.results.projections import Projection, Provenance, Reconstruction, Unit
from deconvviz.results.reading import ReadingQuestion, ReadingTest
from deconvviz.results.synthetic import SyntheticPictures
from deconvviz.results.top_activations import Broken, ChannelStatistics, ScanProvenance, TopActivations
from deconvviz.results.top_projections import ChannelTop, TopProjections
from deconvviz.results.uncertainty import Uncertainty

__all__ = [
    "FORMAT",
    "Attributed",
    "Broken",
    "ChannelLabels",
    "ChannelStatistics",
    "ChannelTop",
    "Circuit",
    "CircuitFeeder",
    "CircuitUnit",
    "Clarity",
    "Comparison",
    "Correspondence",
    "Decoding",
    "Deletion",
    "Diagnosis",
    "Evolution",
    "FeatureMaps",
    "Filters",
    "Finding",
    "Flag",
    "Floor",
    "Invariance",
    "Judgement",
    "LayerDiff",
    "LayerFacts",
    "LayerInfo",
    "LayerTable",
    "Leak",
    "LearningCurves",
    "Localisation",
    "MixedChannels",
    "NetworkDiff",
    "Occlusion",
    "PairPictures",
    "PictureGroups",
    "Probe",
    "Projection",
    "Provenance",
    "Randomisation",
    "ReadingQuestion",
    "ReadingTest",
    "Reconstruction",
    "Result",
    "ScanProvenance",
    "Score",
    "Selectivity",
    "StrongestUnit",
    "SyntheticPictures",
    "Tabular",
    "TopActivations",
    "TopProjections",
    "Uncertainty",
    "Unit",
]
