"""deconvviz as attribution methods of Captum, for everything in Captum that takes a method.

`DeconvNetAttribution` takes the place of Captum's `Deconvolution` and `GuidedBackprop`, and
`NeuronDeconvNetAttribution` that of `NeuronDeconvolution` and `NeuronGuidedBackprop`. Targets and selectors are those
of Captum. The way back is that of the recorded tape, so that every rectifier is mirrored, whether it is a module, a
function or an in-place method.

The seed is one, as in Captum. The model is run in eval mode and left as it was, without hooks and gradients.

>>> import torch
>>> from deconvviz.models.mnist import mnist_cnn
>>> from deconvviz.data import mnist_test
>>> images, labels = mnist_test()
>>> DeconvNetAttribution(mnist_cnn()).attribute(images[:2], target=labels[:2]).shape
torch.Size([2, 1, 28, 28])
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from captum._utils.common import _format_additional_forward_args, _select_targets, _verify_select_neuron
from captum.attr import GradientAttribution, NeuronAttribution
from captum.log import log_usage
from torch import Tensor, nn

from deconvviz.arguments import FLAG, checked_as, described
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.recording.layer_names import layer_name
from deconvviz.recording.placement import Placement
from deconvviz.recording.recorder import record
from deconvviz.rules import Style

Inputs = Tensor | tuple[Tensor, ...]
Select = Callable[[Tensor], Any]


class DeconvNetAttribution(GradientAttribution):
    """The deconvnet, or another style, from the model's output to its inputs."""

    def __init__(self, model: nn.Module, style: str | Style = "deconvnet") -> None:
        """Wrap a model.

        Args:
            model: Any `torch.nn.Module` that returns one tensor.
            style: As for `DeconvNet`.

        Raises:
            ModelError: If the model is not a module but, for example, a function.
        """
        self.net = DeconvNet(model, style)
        GradientAttribution.__init__(self, model)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.net.model).__name__}, style={self.net.style.name!r})"

    @log_usage(part_of_slo=True)
    def attribute(self, inputs: Inputs, target: Any = None, additional_forward_args: Any = None) -> Inputs:
        """Project the chosen outputs back to each input.

        Args:
            inputs: A tensor (N, ...) or a tuple of them.
            target: As for every method of Captum: an index, a tuple, a tensor or a list with one entry per sample;
                None if the model returns one number per sample.
            additional_forward_args: Further arguments of the model, which get no attribution.

        Returns:
            Signed attributions, as tensors of the inputs' shapes, in a tuple if the inputs are.

        Raises:
            InputError: If inputs or target do not fit the model.
        """
        call = _Call(self.net, inputs, additional_forward_args)

        def select(output: Tensor) -> Tensor:
            try:
                selected: Tensor = _select_targets(output, target)
            except Exception as error:  # Captum takes it apart in its own way
                raise InputError(
                    f"the target {described(target)} does not fit the output of shape {tuple(output.shape)}: {error}"
                ) from error
            if target is None and selected.ndim and selected[0].numel() != 1:
                raise InputError(f"the output has shape {tuple(output.shape)}: give the target that is meant")
            return selected

        try:
            return call.attributed("output", select)
        except UnknownLayerError as error:
            raise InputError(
                f"the model does not return one tensor ({error}); "
                f"name one of them as the layer of NeuronDeconvNetAttribution"
            ) from error


class NeuronDeconvNetAttribution(NeuronAttribution, GradientAttribution):
    """The deconvnet, or another style, from neurons of a layer to the inputs."""

    def __init__(self, model: nn.Module, layer: nn.Module | str, *, style: str | Style = "deconvnet") -> None:
        """Wrap a model.

        Args:
            model: Any `torch.nn.Module`.
            layer: A module of the model, as in Captum, of whose calls the last one counts; or the name of a layer as
                `DeconvNet.layers` lists them, including each call of a module (``relu_1``) and functional calls.
            style: As for `DeconvNet`.

        Raises:
            InputError: If the layer is not a module of the model.
            ModelError: If the model is not a module.
        """
        self.net = DeconvNet(model, style)
        NeuronAttribution.__init__(self, model, layer)
        GradientAttribution.__init__(self, model)
        self._name = layer_name(layer, self.net.model)

    def __repr__(self) -> str:
        name = type(self.net.model).__name__
        return f"{type(self).__name__}({name}, layer={self._name!r}, style={self.net.style.name!r})"

    @log_usage(part_of_slo=True)
    def attribute(
        self,
        inputs: Inputs,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Inputs:
        """Project the chosen neurons back to each input.

        Args:
            inputs: As for `DeconvNetAttribution`.
            neuron_selector: As in Captum: an index or a tuple of indices and slices into the layer's output without its
                batch axis, where the neurons of a slice are taken together; or a function of the output.
            additional_forward_args: As for `DeconvNetAttribution`.
            attribute_to_neuron_input: Not supported; choose the layer that computes the input instead.

        Returns:
            Signed attributions, as tensors of the inputs' shapes, in a tuple if the inputs are.

        Raises:
            InputError: If inputs or selector do not fit the model.
            UnknownLayerError: If the layer does not run.
        """
        if checked_as(FLAG, "attribute_to_neuron_input", attribute_to_neuron_input):
            raise InputError("the input of a layer has no name here: choose the layer that makes it instead")
        call = _Call(self.net, inputs, additional_forward_args)

        def select(output: Tensor) -> Any:
            if callable(neuron_selector):
                return neuron_selector(output)
            try:
                return _verify_select_neuron((output,), neuron_selector)
            except Exception as error:  # Captum takes it apart in its own way
                raise InputError(
                    f"the selector {described(neuron_selector)} does not fit the output of layer {self._name!r}, "
                    f"of shape {tuple(output.shape)}: {error}"
                ) from error

        name = self._name if isinstance(self.layer, str) else call.last_call(self.layer, self._name)
        return call.attributed(name, select)


class _Call:
    """One call of a model: the inputs that get attributions, and its other arguments."""

    def __init__(self, net: DeconvNet, inputs: Inputs, additional: Any) -> None:
        self.net, self.inputs = net, inputs
        self.tensors = inputs if isinstance(inputs, tuple) else (inputs,)
        for number, tensor in enumerate(self.tensors):
            if not isinstance(tensor, Tensor) or not (tensor.is_floating_point() or tensor.is_complex()):
                kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
                raise InputError(
                    f"input {number} is {kind}; inputs are floating-point tensors, "
                    f"and what else the model takes goes into additional_forward_args"
                )
        arguments = (*self.tensors, *(_format_additional_forward_args(additional) or ()))
        self.arguments: tuple[Any, ...] = Placement.of(net.model).moved(arguments)

    def last_call(self, module: nn.Module, name: str) -> str:
        """The layer name of a module's last call, which is the one that Captum's hook sees last."""
        calls: list[None] = []
        with Restored(_hooked(module, lambda *_: calls.append(None))):
            record(self.net.model, *self.arguments)
        return f"{name}_{len(calls) - 1}" if len(calls) > 1 else name

    def attributed(self, layer: str, select: Select) -> Inputs:
        """Send back the gradient of what is selected from a layer's output: for one neuron, a one at its position."""
        trace = self.net.trace(self.arguments, layer)
        reconstruction = self.net.sent_back(trace, layer, signal=_gradient(trace.activations[layer], select))
        pixels = (
            reconstruction.pixels,
            *(reconstruction.others[f"[{number}]"] for number in range(1, len(self.tensors))),
        )
        pixels = tuple(part.to(tensor.device) for part, tensor in zip(pixels, self.tensors, strict=True))
        return pixels if isinstance(self.inputs, tuple) else pixels[0]


@contextlib.contextmanager
def _hooked(module: nn.Module, hook: Callable[..., None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _gradient(output: Tensor, select: Select) -> Tensor:
    """The gradient of the sum of what is selected, with respect to the whole output."""
    with Restored(torch.inference_mode(False), torch.enable_grad()):
        leaf = output.detach().clone().requires_grad_()
        selected = select(leaf)
        if not isinstance(selected, Tensor) or not selected.requires_grad:
            what = "a tensor that does not depend on the layer" if isinstance(selected, Tensor) else repr(selected)
            raise InputError(f"the selector must return a tensor computed from the layer's output, not {what}")
        (gradient,) = torch.autograd.grad(selected.sum(), leaf)
    return gradient
