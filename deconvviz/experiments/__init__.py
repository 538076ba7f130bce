"""The experiments of Zeiler and Fergus (2013) on any network, decoding and uncertainty: one file and one function each.

No experiment imports another. Each returns a frozen result with a table, a verdict and a figure.
"""

from deconvviz.experiments.correspondence import correspondence
from deconvviz.experiments.decoding import decoding
from deconvviz.experiments.diagnosis import diagnose
from deconvviz.experiments.evolution import evolution
from deconvviz.experiments.invariance import invariance
from deconvviz.experiments.occlusion import occlusion
from deconvviz.experiments.probe import probe
from deconvviz.experiments.uncertainty import uncertainty

__all__ = ["correspondence", "decoding", "diagnose", "evolution", "invariance", "occlusion", "probe", "uncertainty"]
