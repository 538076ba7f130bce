"""Problems with a network's filters and channels: Figure 6 and Section 4.1 of Zeiler and Fergus.

    python examples/diagnosis.py
    python examples/diagnosis.py --network squeezenet --download --photos DIR

A channel that is dead on four photographs may well fire on others: give a folder with many.
"""

from __future__ import annotations

import torch
from subjects import as_batch, show, subject
from torch.utils.data import TensorDataset

import deconvviz as dv


def main(arguments: list[str] | None = None) -> None:
    seen, given = subject(__doc__, arguments, digits=2000)
    data = seen.labelled or TensorDataset(as_batch(seen), torch.zeros(len(seen.images)))
    show(dv.experiments.diagnose(seen.net, data, progress=False), given, "diagnosis")


if __name__ == "__main__":
    main()
