"""One unit of one image, and its attributions by several methods."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from deconvviz.captum.attribution import NeuronDeconvNetAttribution
from deconvviz.captum.methods import OF_A_CLASS, OF_A_NEURON, Method, aimed, grad_cam, run_method
from deconvviz.evidence.methods import BASELINES
from deconvviz.net import DeconvNet
from deconvviz.results import Unit

OWN_STYLES = ("deconvnet", "guided")
Explain = Callable[[Tensor], Tensor]  # (N, C, H, W) to attributions of that shape


class ExplainedUnit:
    """One unit of one image, explained by method after method.

    Attributes:
        net: The network.
        image: The image, (1, C, H, W).
        unit: The unit.
        index: Index of the unit in what its layer returns, without the batch axis.
        cam_layer: The layer that Grad-CAM weighs, or "".
    """

    def __init__(self, net: DeconvNet, image: Tensor, unit: Unit, index: tuple[int, ...], cam_layer: str) -> None:
        self.net, self.image, self.unit, self.index, self.cam_layer = net, image, unit, index, cam_layer
        self._attributions: dict[str, Tensor] = {}

    def explain(self, name: str) -> Explain:
        """A method, ready to explain the unit on any image."""
        if name in BASELINES:
            return lambda x: BASELINES[name](self.net.model, x, self.unit.layer, self._places(x)).to(x).expand_as(x)
        if name in OWN_STYLES:
            method = NeuronDeconvNetAttribution(self.net.model, self.unit.layer, style=name)
            return lambda x: method.attribute(x, self.index).contiguous()
        return self._by_captum({**OF_A_NEURON, **OF_A_CLASS}[name])

    def _places(self, x: Tensor) -> list[tuple[int, tuple[int, ...]]]:
        return [(self.unit.channel, self.unit.position)] * len(x)

    def _by_captum(self, method: Method) -> Explain:
        return partial(run_method, method, aimed(self.net.model, self.unit.layer, self.index, self.cam_layer))

    def attributions(self, name: str) -> Tensor:
        """A method's attributions for the image, (1, C, H, W), computed once."""
        if name not in self._attributions:
            self._attributions[name] = self.explain(name)(self.image)
        return self._attributions[name]

    def seconds(self, name: str) -> float:
        """How long a method takes to compute its attributions, which are kept."""
        explain = self.explain(name)
        start = _now(self.image)
        self._attributions[name] = explain(self.image)
        return _now(self.image) - start

    def cam(self) -> Tensor:
        """The map that GuidedGradCam multiplies with."""
        return self._by_captum(grad_cam)(self.image) * self.image.shape[1]


def _now(x: Tensor) -> float:
    """The time in seconds, once everything has run on the device of x."""
    if x.device.type != "cpu":
        torch.accelerator.synchronize(x.device)
    return time.perf_counter()
