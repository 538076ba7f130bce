"""The modules, parameters and buffers of a model, found by going through it once."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class ModelParts(NamedTuple):
    """What a model consists of, each part once.

    Attributes:
        names: Its modules, itself first, with their qualified names.
        parameters: Their parameters.
        buffers: Their buffers.
    """

    names: dict[nn.Module, str]
    parameters: list[Tensor]
    buffers: list[Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> ModelParts:
        """The parts of a model as it is now.

        >>> parts = ModelParts.of(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)))
        >>> len(parts.modules), len(parts.parameters), len(parts.buffers)
        (3, 4, 3)
        """
        names = module_names(model)
        parameters: dict[int, Tensor] = {}
        buffers: dict[int, Tensor] = {}
        for module in names:
            for own, found in ((module._parameters, parameters), (module._buffers, buffers)):
                for tensor in own.values() if own else ():
                    if tensor is not None:
                        found.setdefault(id(tensor), tensor)
        return cls(names, list(parameters.values()), list(buffers.values()))

    @property
    def modules(self) -> list[nn.Module]:
        """The modules, the model first."""
        return list(self.names)

    @property
    def tensors(self) -> list[Tensor]:
        """Parameters, then buffers."""
        return [*self.parameters, *self.buffers]


def module_names(model: nn.Module) -> dict[nn.Module, str]:
    """The modules with their qualified names, the first of several, as `model.named_modules()` gives them.

    The nested generators of that take several times as long.
    """
    found: dict[nn.Module, str] = {}
    left: list[tuple[str, nn.Module | None]] = [("", model)]
    while left:
        name, module = left.pop()
        if module is not None and module not in found:
            found[module] = name
            ahead = f"{name}." if name else ""
            left += [(ahead + own, inner) for own, inner in module._modules.items()][::-1]
    return found
