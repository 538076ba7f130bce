"""Random weights (Adebayo et al. 2018, arXiv 1810.03292): a picture that does not change does not show the network.

Layers get new random weights from the unit's layer down to the first, each with all those above it (cascading) or alone
(independent). The unit's signed picture is compared with the trained network's by its cosine, inside its receptive
field, and the cosine with that of another unit on another image, the floor. The seed of projections is 1, because the
unit may not fire with random weights. If its picture is blank nevertheless, as for a silent unit after a rectifier, the
image is left out.

Weights are drawn several times; a verdict says what holds for every draw.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, RANDOM_STATE, TEXT, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.evidence.floor import controls, distance_from_floor
from deconvviz.evidence.limits import KEPT, blank_pictures, too_few
from deconvviz.evidence.methods import Attribution, Judged, chosen_methods, mean_cosine
from deconvviz.evidence.metrics import cosine, enough, heatmap, spearman, ssim
from deconvviz.intervals import FEWEST, LEVEL, Difference, holm, paired_difference
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.net import DeconvNet
from deconvviz.projection.units import Position
from deconvviz.recording.layer_names import LayerName
from deconvviz.recording.programs import graphs_of
from deconvviz.recording.tape import Value, mapped
from deconvviz.results.evidence import Randomisation
from deconvviz.results.words import counted

SEED_STRIDE = 1000  # between the seeds of two draws, so that they share none


@takes(net=NET, methods=METHODS_OR_FUNCTIONS, mode=TEXT, seeds=whole_from(1), random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def randomisation(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    mode: str = "cascading",
    seeds: int = 3,
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
        seeds: Number of times that weights are drawn.
        random_state: Seed of the first weights.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Randomisation`. There is no verdict on fewer than 8 images.

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
    trained = {name: judged.pictures(method) for name, method in asked.items()}
    shape = (seeds, len(names), len(judged.x))
    found = {name: _Similarities(*(torch.empty(shape, dtype=torch.float64) for _ in range(3))) for name in asked}
    with progress_bar(total=seeds * len(names), unit="layer", desc="randomisation", shown=progress) as bar:
        for seed in range(seeds):
            cascade = copied(net.model)
            for step, layer_name in enumerate(names):
                model = cascade if mode == "cascading" else copied(net.model)
                randomise(model, [layer_name], random_state + SEED_STRIDE * seed + step)
                for name, method in asked.items():
                    found[name].measure((seed, step), judged.pictures(method, model), trained[name])
                bar.update()
    kept = {name: _kept(similar.cosine, mode) for name, similar in found.items()}
    controlled = {name: controls(judged, method, trained[name]) for name, method in asked.items()}
    floors = {name: each.both.nan_to_num() for name, each in controlled.items()}
    return Randomisation(
        units=judged.units,
        mode=mode,
        layers=tuple(names),
        cosine={name: similar.cosine for name, similar in found.items()},
        spearman={name: similar.spearman.nanmean(0) for name, similar in found.items()},
        ssim={name: similar.ssim.nanmean(0) for name, similar in found.items()},
        kept={name: mean_cosine(values.nanmean(0)) for name, values in kept.items()},
        floors={name: each.floor() for name, each in controlled.items()},
        verdict=_verdict(kept, floors, mode),
    )


class _Similarities(NamedTuple):
    """Similarities of one method's pictures with the trained ones, (seeds, layers, images) each."""

    cosine: Tensor
    spearman: Tensor
    ssim: Tensor

    def measure(self, row: tuple[int, int], pictures: Sequence[Tensor], trained: Sequence[Tensor]) -> None:
        """Compare the pictures of one seed and layer with the trained ones."""
        for n, (picture, original) in enumerate(zip(pictures, trained, strict=True)):
            heat, before = (heatmap(each[None])[0] for each in (picture, original))
            self.cosine[row][n] = cosine(picture, original)
            self.spearman[row][n] = spearman(heat, before)
            self.ssim[row][n] = ssim(heat, before)


def _kept(cosines: Tensor, mode: str) -> Tensor:
    """The cosine that is left with the upper half of the layers random, (seeds, images)."""
    half = -(-cosines.shape[1] // 2)
    return cosines[:, half - 1] if mode == "cascading" else cosines[:, :half].nanmean(1)


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


def randomise(model: nn.Module, names: Sequence[str] | None, random_state: int, like: nn.Module | None = None) -> None:
    """Give modules of a model new random weights, in place; None for all modules.

    Each tensor is drawn from a normal distribution with its own standard deviation, so that signals keep the size that
    later layers expect. Filters and matrices get mean zero, as in all initialisations; gains and biases keep their
    mean. With `like`, of which the model is a copy, standard deviations and means are those of `like`.
    """
    with Restored(torch.random.fork_rng(devices=[]), torch.no_grad()):
        torch.default_generator.manual_seed(random_state)
        if names is None:
            names = [name for name, module in model.named_modules() if weights_of(module)]
        drawn, own = (
            [weight for name in names for weight in weights_of(one.get_submodule(name))]
            for one in (model, like or model)
        )
        for weight, measured in zip(drawn, own, strict=True):
            spread = measured.float().std(correction=0)
            mean = measured.float().mean() if weight.ndim < 2 else torch.zeros(())
            weight.copy_(torch.randn(weight.shape) * spread.cpu() + mean.cpu())


def copied(model: nn.Module, shared: Iterable[nn.Parameter] = ()) -> nn.Module:
    """A copy of a model, which may share some parameters with it.

    Tensors that modules hold and that were computed from parameters, such as the weight under
    ``torch.nn.utils.weight_norm``, cannot be copied with their history. They are copied without it, since each run
    computes them anew. Graphs of exported programs are shared.
    """
    held = (value for module in model.modules() for value in vars(module).values())
    computed = {id(value): value.detach().clone() for value in held if isinstance(value, Tensor) and not value.is_leaf}
    kept = {id(part): part for part in (*shared, *graphs_of(model))}
    return copy.deepcopy(model, {**computed, **kept})


def copy_with_random_weights(model: nn.Module, random_state: int, names: Sequence[str] | None = None) -> nn.Module:
    """A copy of a model with random weights in some modules; None for all."""
    other = copied(model)
    randomise(other, names, random_state)
    return other


def with_random_weights(net: DeconvNet, random_state: int) -> DeconvNet:
    """A copy of a network with random weights everywhere."""
    model = copy_with_random_weights(net.model, random_state)
    return DeconvNet(model, net.style, preprocess=net.preprocess, strict=net.strict)


def _verdict(kept: Mapping[str, Tensor], floors: Mapping[str, Tensor], mode: str) -> str:
    """kept: per method (seeds, images); floors: per method (images,), zero where there is no other unit or image."""
    what = "With the upper half of the layers random" if mode == "cascading" else "With one upper layer random"
    judged = {name: values for name, values in kept.items() if enough(_scored(values), values.shape[1])}
    above = {name: paired_difference(values.nanmean(0), floors[name]) for name, values in judged.items()}
    sure = dict(zip(above, holm([each.p for each in above.values()]), strict=True))
    said = []
    for name, values in kept.items():
        scored, images = _scored(values), values.shape[1]
        if name not in judged:
            said.append(blank_pictures(name, scored, images) if scored else f"the {name} picture is blank")
            continue
        score, floor = mean_cosine(values.nanmean(0)), float(floors[name].nanmean())
        cosines = f"the {name} picture keeps a cosine of {score} with itself ({floor:.2f} is that of another unit's on "
        cosines += "another image)"
        far = above[name].mean > 0 and sure[name] <= LEVEL
        means = too_few(scored) if scored < FEWEST else _said(values, floor) if far else _at_most(floor, above[name])
        left = "" if scored == images else f" (without {counted(images - scored, 'image')} on which it is blank)"
        said.append(f"{cosines}: {means}{left}")
    return f"{what}, {'; '.join(said)}."


def _scored(values: Tensor) -> int:
    """On how many images a picture is not blank. values: (seeds, images)."""
    return int((~values.isnan()).any(0).sum())


def _said(values: Tensor, floor: float) -> str:
    """What the distance from the floor means, if all seeds agree. values: (seeds, images)."""
    words = dict.fromkeys(KEPT.said(distance_from_floor(float(mean), floor)) for mean in values.nanmean(1))
    return f"it {' or '.join(words)}" + (", depending on the seed of the weights" if len(words) > 1 else "")


def _at_most(floor: float, above: Difference) -> str:
    """What a cosine means that is not surely above the floor: little, unless most of the picture may be kept."""
    if distance_from_floor(floor + above.high, floor) > KEPT.limits[-1]:
        return "how much it depends on these layers is not shown"
    return f"it {KEPT.words[0]}"
