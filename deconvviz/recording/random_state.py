"""The random numbers of an operation, so that the way back uses the numbers of the run.

A mask that an operation returns is kept like any other output. If the numbers stay inside, as in attention with
dropout, the state of the generators before the operation is kept instead, and the operation is run again from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deconvviz.io.restoring import Restored

_UNTAGGED = (torch.ops.aten.rrelu_with_noise,)


def may_draw(func: Any) -> bool:
    """Whether an ATen operation can draw random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags or func.overloadpacket in _UNTAGGED


def _accelerator() -> Any:
    """torch's module of the accelerator, such as `torch.cuda`; None while nothing has used it."""
    device = torch.accelerator.current_accelerator()
    module = torch.get_device_module(device) if device else None
    is_used = getattr(module, "is_initialized", torch.backends.mps.is_available)  # `torch.mps` does not tell
    return module if module and is_used() else None


def forked(devices: Iterable[torch.device]) -> contextlib.AbstractContextManager[None]:
    """A block after which torch's global generators of the CPU, and of these devices, are as they were before it."""
    others = [device for device in devices if device.type not in ("cpu", "meta")]
    kind = others[0].type if others else "cuda"
    return torch.random.fork_rng([device for device in others if device.type == kind], device_type=kind)


def seed(device: torch.device, number: int) -> None:
    """Seed torch's global generators of the CPU and of `device`; `torch.manual_seed` would seed those of every card."""
    torch.default_generator.manual_seed(number)
    if device.type not in ("cpu", "meta"):
        module: Any = torch.get_device_module(device)
        with Restored(*[module.device(device)] if hasattr(module, "device") else []):  # torch.mps has one device
            module.manual_seed(number)


class RandomState:
    """The present states of the generators that an operation can draw from: torch's own, and those it is given."""

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        self.generators = [(generator, generator.get_state()) for generator in generators]
        self.cpu = torch.get_rng_state()
        module = _accelerator()
        self.accelerator = [module.get_rng_state(index) for index in range(module.device_count())] if module else []

    def passed(self) -> bool:
        """Whether random numbers have been drawn since."""
        now = RandomState(generator for generator, _ in self.generators)
        return not all(torch.equal(before, after) for before, after in zip(self._all(), now._all(), strict=True))

    def _all(self) -> list[Tensor]:
        return [self.cpu, *self.accelerator, *(state for _, state in self.generators)]

    def put_back(self) -> None:
        """Set the generators to these states."""
        torch.set_rng_state(self.cpu)
        for index, state in enumerate(self.accelerator):
            _accelerator().set_rng_state(state, index)
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
