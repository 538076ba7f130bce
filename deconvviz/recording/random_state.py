"""The random numbers of an operation, so that the way back uses the numbers of the run.

A mask that an operation returns is kept like any other output. If the numbers stay inside, as in attention with
dropout, the state of the generators before the operation is kept instead, and the operation is run again from there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deconvviz.recording.restoring import Restored

_UNTAGGED = (torch.ops.aten.rrelu_with_noise,)


def may_draw(func: Any) -> bool:
    """Whether an ATen operation can draw random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags or func.overloadpacket in _UNTAGGED


class RandomState:
    """The present states of the generators that an operation can draw from: torch's own, and those it is given."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        self.generators = [(generator, generator.get_state()) for generator in generators]
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def passed(self) -> bool:
        """Whether random numbers have been drawn since."""
        now = RandomState(generator for generator, _ in self.generators)
        return not all(torch.equal(before, after) for before, after in zip(self._all(), now._all(), strict=True))

    def _all(self) -> list[Tensor]:
        return [self.cpu, *self.cuda, *(state for _, state in self.generators)]

    def put_back(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        for device, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, device)
        for generator, state in self.generators:
            generator.set_state(state)

    def again(self) -> Restored:
        """A context in which the same numbers are drawn as from these states; it leaves the generators unchanged."""
        return _Again(self)


class _Again(Restored):
    def __init__(self, state: RandomState) -> None:
        super().__init__()
        self.state = state

    def set_up(self) -> None:
        self.callback(RandomState(generator for generator, _ in self.state.generators).put_back)
        self.state.put_back()


def generators_in(args: Any, kwargs: Any) -> list[torch.Generator]:
    """The generators that an operation is given."""
    return [item for item in (*args, *kwargs.values()) if isinstance(item, torch.Generator)]
