"""The modules, parameters and buffers of a model, found by going through it once."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class ModelParts(NamedTuple):
    """What a model consists of, each part once.

    Attributes:
        modules: Its modules, itself first.
        parameters: Their parameters.
        buffers: Their buffers.
    """

    modules: list[nn.Module]
    parameters: list[Tensor]
    buffers: list[Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> ModelParts:
        """The parts of a model as it is now.

        >>> parts = ModelParts.of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
        >>> len(parts.modules), len(parts.parameters), len(parts.buffers)
        (3, 4, 3)
        """
        modules = _modules(model)
        parameters: dict[int, Tensor] = {}
        buffers: dict[int, Tensor] = {}
        for module in modules:
            for own, found in ((module._parameters, parameters), (module._buffers, buffers)):
                for tensor in own.values() if own else ():
                    if tensor is not None:
                        found.setdefault(id(tensor), tensor)
        return cls(modules, list(parameters.values()), list(buffers.values()))

    @property
    def tensors(self) -> list[Tensor]:
        """Parameters, then buffers."""
        return [*self.parameters, *self.buffers]


def _modules(model: nn.Module) -> list[nn.Module]:
    """As `model.modules()`, whose nested generators take several times as long."""
    found: dict[nn.Module, None] = {}
    left: list[nn.Module | None] = [model]
    while left:
        module = left.pop()
        if module is not None and module not in found:
            found[module] = None
            left += list(module._modules.values())[::-1]
    return list(found)
