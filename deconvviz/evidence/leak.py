"""Leak through silent rectifiers: what part of a deconvnet picture went through units that were off.

A deconvnet's rectifiers look at the signal alone, so that the way back also leads through units that the image did not
activate. With P the deconvnet projection of a unit and G the guided one, which passes active units only, the *leak* is

    ||P - G|| / ||P||

It is above 1 where G and P have little in common. *Dormant* is the same norm for what went through inputs of
convolutions and linear layers that are zero on all images: channels of maps, and single numbers of vectors. They change
no activation of the network on these images, so what they draw shows nothing that the network computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.evidence.limits import DORMANT, blank_pictures, too_few
from deconvviz.evidence.methods import METHODS, Judged, mean_score
from deconvviz.evidence.metrics import enough
from deconvviz.evidence.randomisation import SEED_STRIDE, copied, copy_with_random_weights, weighted_layers
from deconvviz.intervals import FEWEST
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.units import Position
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.layer_names import WEIGHTED, LayerName
from deconvviz.recording.placement import Placement
from deconvviz.results.evidence import Leak, Score
from deconvviz.results.words import counted


@takes(net=NET, seeds=whole_from(0), random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def leak(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    seeds: int = 3,
    random_state: int = 0,
    progress: bool = True,
) -> Leak:
    """What part of deconvnet pictures went through units that were off.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`; one unit is measured on each.
        layer: The unit's layer.
        channel: As for `deletion`.
        position: As for `deletion`.
        seeds: Number of times that random weights are drawn for the control; 0 leaves it out.
        random_state: Seed of the first ones.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Leak`. There is no verdict on fewer than 8 images.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> found = leak(DeconvNet(mnist_cnn()), mnist_test()[0][:8], "conv2")
        >>> found.dormant.mean < found.leak.mean
        True
    """
    judged = Judged(net, inputs, layer, channel, position)
    with progress_bar(total=2 + seeds, unit="network", desc="leak", shown=progress) as bar:
        leaks = _leaks(judged)
        bar.update()
        awake = _through_awake_units(judged)
        dormant = _relative(judged.pictures(METHODS["deconvnet"]), awake) if awake else torch.full_like(leaks, math.nan)
        bar.update()
        names = weighted_layers(net, judged.x[:1], judged.layer) if seeds else []
        draws = []
        for seed in range(seeds):
            drawn = _with_random_weights(judged, names, random_state + SEED_STRIDE * seed)
            draws += [drawn] if drawn is not None else []
            bar.update()
    control = torch.stack(draws).nanmean(0) if draws else torch.empty(0, dtype=torch.float64)
    return Leak(
        units=judged.units,
        by_image=torch.stack([leaks, dormant]),
        leak=mean_score(leaks),
        dormant=mean_score(dormant),
        untrained=mean_score(control),
        verdict=_verdict(leaks, mean_score(leaks), mean_score(dormant), mean_score(control)),
    )


def _leaks(judged: Judged) -> Tensor:
    return _relative(judged.pictures(METHODS["deconvnet"]), judged.pictures(METHODS["guided"]))


def _relative(pictures: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """||a - b|| / ||a|| of each image; NaN for a blank picture."""
    shares = []
    for picture, other in zip(pictures, others, strict=True):
        a, b = picture.detach().cpu().double(), other.detach().cpu().double()
        shares.append((a - b).norm() / a.norm())
    return torch.stack(shares)


def _with_random_weights(judged: Judged, names: Sequence[str], random_state: int) -> Tensor | None:
    """The leaks with random weights; None if there are none, or if they make the numbers overflow."""
    if not names:
        return None
    model = copy_with_random_weights(judged.net.model, random_state, names)
    try:
        return _leaks(judged.again(model, range(len(judged.x))))
    except InputError:
        return None


def _through_awake_units(judged: Judged) -> list[Tensor] | None:
    """The deconvnet pictures of a copy of the network that stops signals at inputs that are zero on all images.

    None if no convolution or linear layer is a module of its own, as in a script.
    """
    model = copied(judged.net.model)
    seen: dict[nn.Module, Tensor] = {}
    readers = [module for module in model.modules() if isinstance(module, WEIGHTED)]
    hooks = [module.register_forward_pre_hook(lambda module, args: _look(seen, module, args)) for module in readers]
    with Restored(EvalMode(model), torch.no_grad()):
        model(Placement.of(model).moved(judged.x))
    for hook in hooks:
        hook.remove()
    if not seen:
        return None
    for module, awake in seen.items():
        if not awake.all():
            module.register_forward_pre_hook(lambda _, args, awake=awake: (args[0] * awake.to(args[0]), *args[1:]))
    return judged.pictures(METHODS["deconvnet"], model)


def _look(seen: dict[nn.Module, Tensor], module: Any, args: tuple[Any, ...]) -> None:
    """Keep which channels of a module's input are not zero on all images, in a shape that can be multiplied with it."""
    x = args[0]
    positions = 0 if isinstance(module, nn.Linear) else len(module.kernel_size)
    others = [axis for axis in range(x.ndim) if axis != x.ndim - 1 - positions]
    awake = (x != 0).sum(others, keepdim=True) > 0
    seen[module] = seen[module] | awake if module in seen else awake


def _verdict(leaks: Tensor, leaking: Score, dormant: Score, untrained: Score) -> str:
    images = len(leaks)
    if not enough(leaking.images, images):
        return f"{blank_pictures('deconvnet', leaking.images, images).capitalize()}."
    beside = "" if math.isnan(untrained.mean) else f" (with random weights {untrained.mean:.2f})"
    said = (
        f"Without what went through units that were off, the deconvnet picture would change by {leaking} of its norm"
        f"{beside}"
    )
    if math.isnan(dormant.mean):
        return f"{said}."
    said += f"; without what went through units that are off on all {counted(images, 'image')}, by {dormant}"
    if leaking.images < FEWEST:
        return f"{said}: {too_few(leaking.images)}."
    return f"{said}: these {DORMANT.said(dormant.mean)}."
