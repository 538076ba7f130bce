"""One unit of one image, and what methods attribute to the pixels for it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from deconvviz.captum.attribution import NeuronDeconvNetAttribution
from deconvviz.captum.methods import OF_A_CLASS, OF_A_NEURON, Method, aimed, explained, grad_cam
from deconvviz.errors import InputError
from deconvviz.net import DeconvNet
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.restoring import Restored
from deconvviz.results import Unit

STYLES = ("deconvnet", "guided")
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
        self._copy_checked = False

    def explain(self, name: str) -> Explain:
        """A method, ready to explain the unit on any image.

        Raises:
            InputError: If the unit of the copy that Captum is given does something else on the image.
        """
        if name in STYLES:
            method = NeuronDeconvNetAttribution(self.net.model, self.unit.layer, name)
            return lambda x: method.attribute(x, self.index).contiguous()
        return self._by_captum({**OF_A_NEURON, **OF_A_CLASS}[name])

    def _by_captum(self, method: Method) -> Explain:
        aim = aimed(self.net.model, self.unit.layer, self.index, self.cam_layer)
        if not self._copy_checked:
            with Restored(EvalMode(aim.model), torch.no_grad()):
                activation = float(aim.model(self.image)[(0, *self.index)])
            expected = self.unit.activation
            if not math.isclose(activation, expected, rel_tol=1e-3, abs_tol=1e-6):
                # As when a function whose calls are numbered is also called on what does not depend on the image.
                raise InputError(f"the copy for Captum has {activation:.4g} there, not {expected:.4g}: another layer")
            self._copy_checked = True
        return partial(explained, method, aim)

    def attributions(self, name: str) -> Tensor:
        """What a method gives for the image, (1, C, H, W), computed once."""
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
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
