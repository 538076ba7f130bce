"""Scores that tell whether you can trust a picture, including unfavourable ones.

- `deletion`: do the pixels that a method ranks first activate the unit?
- `randomisation`: does the picture change when the network's weights do?
- `selectivity`: do pictures of different units differ?
- `localisation`: does the strongest pixel lie in the object, if its place is known (`digit_benchmark`)?
- `leak`: what part of a deconvnet picture went through units that were off?
- `clarity`: how much of the image do a layer's activations show, by depth?

Each measure takes a `DeconvNet`, images, and methods by name or as functions (`Attribution`). It returns a result with
scores, confidence intervals over images, a figure and a verdict. The measures need ``pip install scikit-image scipy``.
"""

from deconvviz.evidence.clarity import clarity
from deconvviz.evidence.deletion import deletion
from deconvviz.evidence.leak import leak
from deconvviz.evidence.localisation import DigitBenchmark, digit_benchmark, localisation
from deconvviz.evidence.methods import BASELINES, METHODS, Attribution
from deconvviz.evidence.randomisation import randomisation
from deconvviz.evidence.selectivity import selectivity

__all__ = [
    "BASELINES",
    "METHODS",
    "Attribution",
    "DigitBenchmark",
    "clarity",
    "deletion",
    "digit_benchmark",
    "leak",
    "localisation",
    "randomisation",
    "selectivity",
]
