"""What a scan keeps of one layer: the strongest units of each channel, and statistics."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deconvviz.io.restoring import Restored
from deconvviz.mining.firing import Firing
from deconvviz.mining.statistics import RunningStatistics
from deconvviz.mining.top_k import TopK

_TOP_K = ("values", "images", "positions", "dimensions")
_FIRING = ("dead", "always_on", "constant")
TENSORS = (
    *("values", "images", "positions", "fired", "sums", "histogram", "maximum", "dimensions"),
    *_FIRING,
)  # as in the file


class LayerResults:
    """The strongest units of each channel of a layer, the statistics of the strongest unit of each image, and firing.

    Attributes:
        top: The strongest units.
        statistics: The statistics.
        firing: Which channels may be dead, or always on.
    """

    def __init__(self, channels: int, k: int, dimensions: int, device: torch.device | None = None) -> None:
        self.top = TopK(channels, k, dimensions, device)
        self.statistics = RunningStatistics(channels, device)
        self.firing = Firing(channels)

    def merge(self, other: LayerResults) -> None:
        """Add the results of other images."""
        self.top.merge(other.top)
        self.statistics.merge(other.statistics)
        self.firing.merge(other.firing)

    @property
    def device(self) -> torch.device:
        """Where the results lie."""
        return self.top.values.device

    def rows(self, channels: slice) -> LayerResults:
        """The results of some channels, in the same memory."""
        return self._each(lambda name, tensor: tensor if name == "dimensions" else tensor[channels])

    def on(self, device: torch.device) -> LayerResults:
        """The results on a device."""
        return self._each(lambda name, tensor: tensor if name == "dimensions" else tensor.to(device))

    def copy(self, dimensions: int) -> LayerResults:
        """A copy, of a layer whose positions have that many dimensions."""
        copied = self._each(lambda name, tensor: tensor.clone())
        copied.top.dimensions.fill_(dimensions)
        return copied

    def copy_(self, other: LayerResults) -> None:
        """Take over the results of as many channels, in place."""
        for name, tensor in self.tensors().items():
            tensor.copy_(other.tensors()[name])

    def _each(self, change: Callable[[str, Tensor], Tensor]) -> LayerResults:
        changed = type(self)(0, self.top.k, 0)
        for name, tensor in self.tensors().items():
            setattr(changed._holder(name), name, change(name, tensor))
        return changed

    def tensors(self) -> dict[str, Tensor]:
        """Everything as tensors, to be written to a file."""
        return {name: getattr(self._holder(name), name) for name in TENSORS}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> LayerResults:
        """What `tensors` has returned.

        Raises:
            ValueError: If the tensors are not of the shapes and types that `tensors` returns.
        """
        channels, k = tensors["values"].shape
        with Restored(
            torch.device("meta")
        ):  # shapes and types without memory, since the tensors may come from anywhere
            expected = cls(channels, k, 0).tensors()
        for name, like in expected.items():
            if (tensors[name].shape, tensors[name].dtype) != (like.shape, like.dtype):
                raise ValueError(f"{name} is {tuple(tensors[name].shape)} of {tensors[name].dtype}")
        dimensions = int(tensors["dimensions"])
        if k < 1 or not 0 <= dimensions < 63:
            raise ValueError(f"lists of {k}, positions of {dimensions} dimensions")
        results = cls(0, k, dimensions)
        for name in TENSORS:
            setattr(results._holder(name), name, tensors[name].clone())
        return results

    def _holder(self, name: str) -> TopK | RunningStatistics | Firing:
        return self.top if name in _TOP_K else self.firing if name in _FIRING else self.statistics
