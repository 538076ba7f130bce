"""Numbers that say whether a picture may be believed, also when they speak against it. The measures:

- `deletion`: are the pixels that a method ranks first those that make the unit fire?
- `randomisation`: does the picture change when the network's weights do?
- `selectivity`: do pictures of different units differ?
- `localisation`: does the strongest pixel lie in the object, where its place is known (`digit_benchmark`)?
- `clarity`: how much of the image do a layer's activations show, by depth?

Each takes a `DeconvNet`, images, and methods by name or as functions (`Attribution`), and returns a result with scores,
their intervals over images, a figure, and a verdict in a sentence. They need ``pip install 'deconvviz[evidence]'``.
"""

from deconvviz.evidence.clarity import clarity
from deconvviz.evidence.deletion import deletion
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
    "localisation",
    "randomisation",
    "selectivity",
]
