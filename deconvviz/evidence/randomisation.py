"""Random weights (Adebayo et al. 2018, arXiv 1810.03292): a picture that does not change does not show the network.

Layers get new random weights from the unit's layer down to the first, each with all those above it (cascading) or each
alone (independent), and the unit's picture is compared with the one from the trained network, inside of its receptive
field. The seed of projections is one, since the unit of a random network may not fire; where its picture is empty all
the same, as that of a silent unit behind a rectifier, there is nothing to compare, and the image is left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from deconvviz.arguments import METHODS, NET, SEED, TEXT, takes
from deconvviz.errors import InputError
from deconvviz.evidence.methods import Attribution, Judged, chosen, score
from deconvviz.evidence.metrics import enough, spearman, ssim
from deconvviz.net import DeconvNet
from deconvviz.projection.units import Position
from deconvviz.recording.restoring import Restored
from deconvviz.recording.tape import Value, mapped
from deconvviz.results.evidence import Randomisation, Score


@takes(net=NET, layer=TEXT, methods=METHODS, mode=TEXT, seed=SEED)
def randomisation(
    net: DeconvNet,
    x: Any,
    layer: str,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    mode: str = "cascading",
    seed: int = 0,
) -> Randomisation:
    """How much of units' pictures stays when layers get random weights.

    x, channel, position, methods: as for `deletion`. mode: "cascading" or "independent". seed: of the weights.

    Raises InputError and UnknownLayerError for what is not there, or where no layer has weights.
    """
    if mode not in ("cascading", "independent"):
        raise InputError(f"the mode is 'cascading' or 'independent', not {mode!r}")
    judged = Judged(net, x, layer, channel, position)
    names = weighted_layers(net, judged.x[:1], layer)[::-1]
    if not names:
        raise InputError(f"no layer up to {layer!r} has weights that could be randomised")
    asked = chosen(methods)
    originals = {name: judged.heatmaps(method) for name, method in asked.items()}
    shape = (len(names), len(judged.x))
    ranks, structures = ({name: torch.empty(shape, dtype=torch.float64) for name in asked} for _ in range(2))
    cascade = copy.deepcopy(net.model)
    for step, name in enumerate(names):
        model = cascade if mode == "cascading" else copy.deepcopy(net.model)
        randomise(model, [name], seed + step)
        for method in asked:
            for n, heat in enumerate(judged.heatmaps(asked[method], model)):
                ranks[method][step, n] = spearman(heat, originals[method][n])
                structures[method][step, n] = ssim(heat, originals[method][n])
    half = -(-len(names) // 2)
    upper = {name: one[half - 1] if mode == "cascading" else one[:half].nanmean(0) for name, one in ranks.items()}
    kept = {name: score(one) for name, one in upper.items()}
    return Randomisation(judged.units, mode, tuple(names), ranks, structures, kept, _verdict(kept, mode, shape[1]))


def weighted_layers(net: DeconvNet, x: Tensor, layer: str) -> list[str]:
    """The modules whose own weights the run up to `layer` uses, in the order in which it first does."""
    modules = dict(net.model.named_modules())
    owned = {name: weights_of(module) for name, module in modules.items()}
    owners = {weight.data_ptr(): name for name, weights in owned.items() for weight in weights}
    tape = net.trace(x, layer).tape
    found: dict[str, None] = {}
    for operation in tape.operations:
        ran = re.sub(r"_\d+$", "", operation.where) if operation.where not in modules else operation.where
        found[ran] = None  # a weight that the module computes first is not seen by its address
        read: list[Value] = []
        mapped((operation.args, operation.kwargs), read.append, Value)
        addresses = (tape.data[one.id].data_ptr() for one in read if one.id in tape.constants)
        found.update({owners[address]: None for address in addresses if address in owners})
    return [name for name in found if owned.get(name)]


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """A module's own parameters, with those from which a parametrization computes them, but not its children's."""
    inner = getattr(module, "parametrizations", None)
    return [*module.parameters(recurse=False), *(inner.parameters() if isinstance(inner, nn.Module) else ())]


def randomise(model: nn.Module, names: Sequence[str], seed: int) -> None:
    """Give modules of a model new random weights, in place.

    Each tensor is drawn from the normal distribution with the standard deviation that it has, so that signals keep the
    size that the layers behind expect. Filters and matrices have the mean zero, as all initialisations have; gains and
    biases keep theirs.
    """
    with Restored(torch.random.fork_rng(devices=[]), torch.no_grad()):
        torch.manual_seed(seed)
        for weight in (weight for name in names for weight in weights_of(model.get_submodule(name))):
            spread = weight.float().std(correction=0)
            mean = weight.float().mean() if weight.ndim < 2 else torch.zeros(())
            weight.copy_(torch.randn(weight.shape) * spread.cpu() + mean.cpu())


def _verdict(kept: Mapping[str, Score], mode: str, images: int) -> str:
    what = "With the upper half of the layers random" if mode == "cascading" else "With one upper layer random"
    said = []
    for name, one in kept.items():
        if not one.images:
            said.append(f"the {name} picture is empty")
            continue
        if not enough(one.images, images):
            said.append(f"the {name} picture is empty on {images - one.images} of {images} images, too many to say")
            continue
        left = "" if one.images == images else f" (without {images - one.images} images on which it is empty)"
        if one.mean > 0.5:
            means = "it depends weakly on these layers"
        elif one.mean > 0.2:
            means = "it depends on these layers in part"
        else:
            means = "it depends on these layers"
        said.append(f"the {name} picture keeps a rank correlation of {one} with itself: {means}{left}")
    return f"{what}, {'; '.join(said)}."
