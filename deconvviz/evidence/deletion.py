"""Deletion and insertion (Petsiuk et al. 2018, arXiv 1806.07421), measured on the unit's own activation.

A method ranks the pixels of the unit's receptive field. The pixels ranked first are deleted from the image step by
step, or inserted into a blank image, and the unit's activation is measured. If the method found what the unit responds
to, the activation falls or rises early.

Deviations from the paper: the activation, which is not a probability, is scaled to 1 on the whole image and 0 on the
blank one. Only the receptive field is ranked, so that no method gains from knowing where the unit looks. Pixels of
equal rank are deleted in random order.

Each method ranks in three ways (`deconvviz.evidence.methods.rankings`); verdicts are about the absolute picture. The
negative controls are in `deconvviz.evidence.deletion_controls`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from deconvviz.arguments import FLAG, METHODS_OR_FUNCTIONS, NET, RANDOM_STATE, WHOLE, takes, whole_from
from deconvviz.errors import InputError
from deconvviz.evidence.curves import Curves, steps_of
from deconvviz.evidence.deletion_controls import controls_of
from deconvviz.evidence.deletion_verdict import verdict_of
from deconvviz.evidence.methods import (
    BASELINES,
    RANKINGS,
    Attribution,
    Judged,
    chosen_methods,
    mean_score,
    ranked_by,
    rankings,
)
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.net import DeconvNet
from deconvviz.projection.fill import Fill, fill_of
from deconvviz.projection.units import Position
from deconvviz.recording.layer_names import LayerName
from deconvviz.results.evidence import Deletion


@takes(
    net=NET,
    methods=METHODS_OR_FUNCTIONS,
    steps=WHOLE,
    seeds=whole_from(0),
    random_state=RANDOM_STATE,
    batch_size=whole_from(1),
    progress=FLAG,
)
@on_the_cpu
def deletion(
    net: DeconvNet,
    inputs: Any,
    layer: LayerName,
    *,
    channel: int | Sequence[int] | None = None,
    position: Position = "max",
    methods: Sequence[str] | Mapping[str, Attribution] | None = None,
    fill: Fill = 0,
    steps: int = 16,
    seeds: int = 5,
    random_state: int = 0,
    batch_size: int = 32,
    progress: bool = True,
) -> Deletion:
    """Test whether the pixels that a method ranks first activate the unit.

    Baselines are always added: the image's brightness, an edge detector, the centre of the receptive field, and a
    random ranking. So are negative controls: the same method in networks with random weights, in networks whose upper
    half has random weights, and its picture of another image.

    Args:
        net: The network.
        inputs: Images (N, C, H, W), as for `DeconvNet.trace`; one unit is measured on each.
        layer: The unit's layer.
        channel: One channel for all images, one per image, or None for each image's strongest.
        position: As for `DeconvNet.project`; positions (N, axes), one per image, are what `scan` returns of a channel.
        methods: Names or functions (`deconvviz.evidence.methods`); None for the three styles.
        fill: What replaces a deleted pixel: a number in the units of the network's input (0 is often the mean colour of
            the training images), "mean" or "blur" of the image, "black", "grey" or "white"
            (`deconvviz.projection.fill`).
        steps: Number of steps in which pixels are deleted.
        seeds: Number of times that random weights are drawn for the controls; 0 leaves these out.
        random_state: Seed of the first ones.
        batch_size: Images per forward pass.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Deletion`. There is no verdict on fewer than 8 images.

    Raises:
        InputError: If an argument does not fit.
        UnknownLayerError: If the layer does not exist.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> found = deletion(DeconvNet(mnist_cnn()), mnist_test()[0][:8], "fc2", methods=["deconvnet"])
        >>> found.insertion_scores["deconvnet"].mean > found.insertion_scores["random"].mean
        True
    """
    if not isinstance(steps, int) or steps < 1:
        raise InputError(f"pixels are deleted in one step or more, not {steps!r}")
    judged = Judged(net, inputs, layer, channel, position)
    blank = fill_of(fill, judged.x, net.preprocess).expand_as(judged.x)
    asked = chosen_methods(methods)
    curves = Curves(blank, steps_of(steps), batch_size)
    deleted, inserted = _all_curves(judged, {**asked, **BASELINES}, curves, progress)
    areas = {name: torch.trapezoid(values, curves.fractions) for name, values in inserted.items()}
    controls = controls_of(judged, asked, curves, seeds=seeds, random_state=random_state, progress=progress)
    return Deletion(
        units=judged.units,
        fill=fill if isinstance(fill, str) else float(fill),
        fractions=curves.fractions,
        deletion=deleted,
        insertion=inserted,
        deletion_scores={
            name: mean_score(torch.trapezoid(values, curves.fractions)) for name, values in deleted.items()
        },
        insertion_scores={name: mean_score(values) for name, values in areas.items()},
        gains={name: mean_score(values - areas["random"]) for name, values in areas.items()},
        controls={name: control.scores() for name, control in controls.items()},
        verdict=verdict_of(areas, controls, list(asked)),
    )


def _all_curves(
    judged: Judged, methods: Mapping[str, Attribution], curves: Curves, progress: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Deletion and insertion by each ranking of each method, (images, steps + 1) each."""
    deleted: dict[str, list[Tensor]] = {}
    inserted: dict[str, list[Tensor]] = {}
    with progress_bar(total=len(methods) * len(judged.x), unit="picture", desc="deletion", shown=progress) as bar:
        for name, method in methods.items():
            for n, picture in enumerate(judged.pictures(method)):
                ranked = rankings(picture, judged.cut(judged.x[n], n))
                for ranking in RANKINGS if name not in BASELINES else RANKINGS[:1]:
                    both = curves.of(judged, n, ranked[ranking])
                    for kept, curve in zip((deleted, inserted), both, strict=True):
                        kept.setdefault(ranked_by(name, ranking), []).append(curve)
                bar.update()
    order = [ranked_by(name, ranking) for ranking in RANKINGS for name in methods]
    stacked = ({name: torch.stack(each[name]) for name in order if name in each} for each in (deleted, inserted))
    return next(stacked), next(stacked)
