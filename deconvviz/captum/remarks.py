"""Remarks on methods: which layer a method weights, and whether it handles the model's rectifiers.

Captum's Deconvolution, GuidedBackprop and the methods that use them change the gradient of rectifiers. Whether they do
so on a given model is told by comparing them with the style of deconvviz that they mean, and with the plain gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.linalg import vector_norm

from deconvviz.captum.explained_unit import ExplainedUnit

SAME = 1e-4  # relative difference of equal pictures in float32

# For Captum's methods that change the gradient of rectifiers: the style that they mean, and what it is multiplied with.
_INTENDED = {
    "Deconvolution": ("deconvnet", ""),
    "NeuronDeconvolution": ("deconvnet", ""),
    "GuidedBackprop": ("guided", ""),
    "NeuronGuidedBackprop": ("guided", ""),
    "GuidedGradCam": ("guided", "cam"),
    "DeepLift": ("deconvnet", "input"),
    "NeuronDeepLift": ("deconvnet", "input"),
}
_PLAIN = {"input": "input x gradient", "cam": "plain gradient x Grad-CAM", "": "plain gradient"}


def remark_on(unit: ExplainedUnit, name: str) -> str:
    """A remark on a method's attributions of a unit; "" if there is none."""
    if name == "LayerGradCam":
        return f"of layer {unit.cam_layer}"
    if name not in _INTENDED:
        return ""
    style, multiplied_with = _INTENDED[name]
    gradient, right = unit.attributions("Saliency"), unit.attributions(style)
    factor = unit.image if multiplied_with == "input" else unit.cam() if multiplied_with == "cam" else torch.ones(())
    theirs = unit.attributions(name)
    if not right.any():
        return f"blank, as {style} is" if not theirs.any() else f"{style} is blank here"
    rectifiers_matter = _difference(gradient, right) > SAME
    layer = f"of layer {unit.cam_layer}; " if multiplied_with == "cam" else ""
    if rectifiers_matter and _difference(theirs, gradient * factor) < 1e-6:
        return f"{layer}{_PLAIN[multiplied_with]}: its rectifiers are not seen"
    if multiplied_with == "input":
        return ""  # what it should be is not known
    difference = _difference(theirs, right * factor)
    return layer + (f"same as {style}" if difference < SAME else f"differs from {style} by {difference:.0%}")


def _difference(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||."""
    return float(vector_norm(a - b) / vector_norm(b).clamp(min=torch.finfo(b.dtype).tiny))
