"""Random weights (Adebayo et al. 2018, arXiv 1810.03292): a picture that does not change does not show the network.

Layers get new random weights from the unit's layer down to the first, each with all those above it (cascading) or alone
(independent). The unit's picture is compared with the trained network's, inside its receptive field. The seed of
projections is 1, because the unit may not fire with random weights. If its picture is blank nevertheless, as for a
silent unit after a rectifier, the image is left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, RANDOM_STATE, TEXT, takes
from deconvviz.errors import InputError
from deconvviz.evidence.limits import KEPT, blank_pictures
from deconvviz.evidence.methods import Attribution, Judged, chosen_methods, mean_score
from deconvviz.evidence.metrics import enough, spearman, ssim
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.units import Position
from deconvviz.recording.layer_names import LayerName
from deconvviz.recording.tape import Value, mapped
from deconvviz.results.evidence import Randomisation, Score
from deconvviz.results.words import counted


@takes(net=NET, methods=METHODS_OR_FUNCTIONS, mode=TEXT, random_state=RANDOM_STATE, progress=FLAG)
def randomisation(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    mode: str = "cascading",
    random_state: int = 0,
    progress: bool = True,
) -> Randomisation:
    """How similar units' pictures stay when layers get random weights.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`.
        layer: The units' layer.
        channel: As for `deletion`.
        position: As for `deletion`.
        methods: As for `deletion`.
        mode: "cascading" or "independent".
        random_state: Seed of the weights.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Randomisation`.

    Raises:
        InputError: If an argument does not fit, or no layer has weights.
        UnknownLayerError: If the layer does not exist.
    """
    if mode not in ("cascading", "independent"):
        raise InputError(f"the mode is 'cascading' or 'independent', not {mode!r}")
    judged = Judged(net, inputs, layer, channel, position)
    names = weighted_layers(net, judged.x[:1], judged.layer)[::-1]
    if not names:
        raise InputError(f"no layer up to {judged.layer!r} has weights that could be randomised")
    asked = chosen_methods(methods)
    originals = {name: judged.heatmaps(method) for name, method in asked.items()}
    shape = (len(names), len(judged.x))
    ranks, structures = ({name: torch.empty(shape, dtype=torch.float64) for name in asked} for _ in range(2))
    cascade = copy.deepcopy(net.model)
    for step, name in enumerate(progress_bar(names, unit="layer", desc="randomisation", shown=progress)):
        model = cascade if mode == "cascading" else copy.deepcopy(net.model)
        randomise(model, [name], random_state + step)
        for method in asked:
            for n, heat in enumerate(judged.heatmaps(asked[method], model)):
                ranks[method][step, n] = spearman(heat, originals[method][n])
                structures[method][step, n] = ssim(heat, originals[method][n])
    kept = {name: _kept(by_step, mode) for name, by_step in ranks.items()}
    return Randomisation(
        units=judged.units,
        mode=mode,
        layers=tuple(names),
        spearman=ranks,
        ssim=structures,
        kept=kept,
        verdict=_verdict(kept, mode, shape[1]),
    )


def _kept(ranks: Tensor, mode: str) -> Score:
    """The rank correlation that is left with the upper half of the layers random. ranks: (layers, images)."""
    half = -(-len(ranks) // 2)
    return mean_score(ranks[half - 1] if mode == "cascading" else ranks[:half].nanmean(0))


def weighted_layers(net: DeconvNet, x: Tensor, layer: str) -> list[str]:
    """The modules whose own weights are used up to `layer`, in the order of first use."""
    modules = dict(net.model.named_modules())
    owned = {name: weights_of(module) for name, module in modules.items()}
    owners = {weight.data_ptr(): name for name, weights in owned.items() for weight in weights}
    tape = net.trace(x, layer).tape
    used: dict[str, None] = {}
    for operation in tape.operations:
        ran = re.sub(r"_\d+$", "", operation.where) if operation.where not in modules else operation.where
        used[ran] = None  # weights that the module computes have no known address
        read: list[Value] = []
        mapped((operation.args, operation.kwargs), read.append, Value)
        addresses = (tape.data[value.id].data_ptr() for value in read if value.id in tape.constants)
        used.update({owners[address]: None for address in addresses if address in owners})
    return [name for name in used if owned.get(name)]


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """A module's own parameters, and those of its parametrizations, but not its children's."""
    inner = getattr(module, "parametrizations", None)
    return [*module.parameters(recurse=False), *(inner.parameters() if isinstance(inner, nn.Module) else ())]


def randomise(model: nn.Module, names: Sequence[str], random_state: int) -> None:
    """Give modules of a model new random weights, in place.

    Each tensor is drawn from a normal distribution with its own standard deviation, so that signals keep the size that
    later layers expect. Filters and matrices get mean zero, as in all initialisations; gains and biases keep their
    mean.
    """
    with Restored(torch.random.fork_rng(devices=[]), torch.no_grad()):
        torch.manual_seed(random_state)
        for weight in (weight for name in names for weight in weights_of(model.get_submodule(name))):
            spread = weight.float().std(correction=0)
            mean = weight.float().mean() if weight.ndim < 2 else torch.zeros(())
            weight.copy_(torch.randn(weight.shape) * spread.cpu() + mean.cpu())


def _verdict(kept: Mapping[str, Score], mode: str, images: int) -> str:
    what = "With the upper half of the layers random" if mode == "cascading" else "With one upper layer random"
    said = []
    for name, score in kept.items():
        if not score.images:
            said.append(f"the {name} picture is blank")
            continue
        if not enough(score.images, images):
            said.append(blank_pictures(name, score.images, images))
            continue
        left = (
            ""
            if score.images == images
            else f" (without {counted(images - score.images, 'image')} on which it is blank)"
        )
        means = f"it {KEPT.said(score.mean)}"
        said.append(f"the {name} picture keeps a rank correlation of {score} with itself: {means}{left}")
    return f"{what}, {'; '.join(said)}."
