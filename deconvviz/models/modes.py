"""Train and eval mode, restored afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """A block after which each module of the model is in train or eval mode as before, even after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        if model.training != modes[0][1]:
            model.train(modes[0][1])
        for module, training in modes:
            module.training = training
