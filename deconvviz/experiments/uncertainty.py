"""Dropout left on at inference (Gal and Ghahramani 2016, arXiv 1506.02142): does it tell when a classifier is wrong?

Each image goes through the network once without dropout and several times with it. The entropy of the mean over these
draws is the usual measure of uncertainty. Whether it is any use is another question: the entropy of the plain softmax
costs one pass, so both are judged by how well they tell wrong answers from right ones, on the same images.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deconvviz.arguments import FLAG, NET, RANDOM_STATE, check_counts, takes, whole_from
from deconvviz.data.batches import batches, is_indexed, none_readable
from deconvviz.data.datasets import as_dataset
from deconvviz.data.naming import name_of_item
from deconvviz.errors import InputError
from deconvviz.experiments._labels import required_labels
from deconvviz.experiments._layers import ClassScoreLayer, class_scores
from deconvviz.intervals import FEWEST, LEVEL, Difference, Interval
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.io.restoring import Restored
from deconvviz.models.evaluation import dropout_layers
from deconvviz.models.randomness import seed_global
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import check_finite
from deconvviz.recording.eval_mode import EvalMode
from deconvviz.recording.placement import Placement
from deconvviz.recording.random_state import forked
from deconvviz.recording.tape import tensors_in
from deconvviz.results.top_activations import Broken
from deconvviz.results.uncertainty import Uncertainty
from deconvviz.results.words import agreeing, counted
from deconvviz.roc import FEWEST_COMPARED, area, area_difference


@takes(net=NET, random_state=RANDOM_STATE, workers=whole_from(0), progress=FLAG)
@on_the_cpu
def uncertainty(
    net: DeconvNet,
    dataset: Any,
    *,
    samples: int = 50,
    random_state: int = 0,
    batch_size: int = 64,
    workers: int = 0,
    progress: bool = True,
) -> Uncertainty:
    """Measure how well uncertainty tells wrong answers from right ones, with dropout left on and without.

    Only dropout layers run in train mode, in the draws; all modes and the random state are restored.

    Args:
        net: The network, a classifier with dropout layers.
        dataset: As for `deconvviz.scan`, with labels, which are class numbers. Items that cannot be read are skipped
            and listed.
        samples: Number of draws with dropout for each image.
        random_state: Seed of the draws. The same seed and batch size give the same draws.
        batch_size: Images per forward pass.
        workers: Number of processes that load images.
        progress: Whether to show a progress bar.

    Returns:
        A `deconvviz.results.Uncertainty`. There is no verdict on fewer than 8 wrong or 8 right answers,
        and on which entropy is better on fewer than 40.

    Raises:
        ModelError: If the network has no dropout layers (functional dropout cannot be detected).
        InputError: If a label is missing or is no class number, the network has no scores of classes, or an option is
            out of range.
        DataError: If nothing can be read.

    Example:
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models.mnist import mnist_cnn
        >>> images, labels = mnist_test()
        >>> found = uncertainty(DeconvNet(mnist_cnn()), (images[:100], labels[:100]), samples=4, progress=False)
        >>> found.right.shape, sorted(found.entropy)
        (torch.Size([100]), ['disagreement', 'dropout', 'softmax'])
    """
    check_counts(samples=samples, batch_size=batch_size)
    measured = _Draws(net, dropout_layers(net.model), samples, random_state)
    measured.go_through(as_dataset(dataset), batch_size, workers, progress)
    right = torch.cat(measured.right)
    entropy = {name: torch.cat([each[name] for each in measured.entropies]) for name in measured.entropies[0]}
    areas = {name: area(values, ~right) for name, values in entropy.items()}
    gain = area_difference(entropy["dropout"], entropy["softmax"], ~right)
    accuracy = float(right.double().mean()), float(torch.cat(measured.right_with_dropout).double().mean())
    return Uncertainty(
        right=right,
        entropy=entropy,
        auroc={name: torch.tensor(found[:3], dtype=torch.float64) for name, found in areas.items()},
        gain=torch.tensor([gain.mean, gain.low, gain.high, gain.p], dtype=torch.float64),
        accuracy=accuracy,
        samples=samples,
        broken=tuple(measured.broken),
        verdict=_verdict(int((~right).sum()), int(right.sum()), areas, gain),
    )


class _Probabilities(NamedTuple):
    """Of a batch: without dropout (N, classes), and of each draw with dropout (draws, N, classes)."""

    plain: Tensor
    drawn: Tensor

    def entropies(self) -> dict[str, Tensor]:
        mean = self.drawn.mean(0)
        with_dropout = _entropy(mean)
        shared = _entropy(self.drawn).mean(0)
        return {
            "softmax": _entropy(self.plain),
            "dropout": with_dropout,
            "disagreement": (with_dropout - shared).clamp(min=0),
        }


def _entropy(probabilities: Tensor) -> Tensor:
    entropies: Tensor = torch.special.entr(probabilities).sum(-1)
    return entropies


class _Draws:
    """What is measured of the draws of a dataset, batch by batch."""

    def __init__(self, net: DeconvNet, dropouts: Sequence[nn.Module], samples: int, random_state: int) -> None:
        self.net, self.dropouts, self.samples, self.random_state = net, dropouts, samples, random_state
        self.right: list[Tensor] = []
        self.right_with_dropout: list[Tensor] = []
        self.entropies: list[dict[str, Tensor]] = []
        self.broken: list[Broken] = []
        self.scores: ClassScoreLayer | None = None  # None before a batch has run

    def go_through(self, data: Any, batch_size: int, workers: int, progress: bool) -> None:
        """Run the network over a dataset."""
        placement = Placement.of(self.net.model)
        device = placement.device or torch.device("cpu")
        total = len(data) if is_indexed(data) else None
        with contextlib.ExitStack() as stack, Restored() as settings:
            bar = stack.enter_context(progress_bar(total=total, unit="image", desc="uncertainty", shown=progress))
            preprocess = placement.preprocess(self.net.preprocess)
            loading = batches(data, preprocess, batch_size, lambda number: True, workers=workers)
            loaded = settings.enter_context(loading)
            settings.enter_context(forked([device]))
            for batch in loaded:
                self.broken += [Broken(n, name_of_item(data, n), reason) for n, reason in batch.broken]
                if batch.images is not None:
                    labels = required_labels(data, batch.numbers.tolist(), batch.labels)
                    seed_global(device, self.random_state, "uncertainty", batch.number)
                    self._measure(placement.moved(batch.images), torch.tensor(labels))
                bar.update(len(batch.numbers) + len(batch.broken))
        if not self.right:
            raise none_readable(self.broken)

    def _measure(self, images: Tensor, labels: Tensor) -> None:
        found = self._probabilities(images)
        classes = found.plain.shape[1]
        if wrong := [label for label in labels.tolist() if not 0 <= label < classes]:
            raise InputError(f"labels are the numbers of the network's classes, 0 to {classes - 1}, not {wrong[0]}")
        self.right.append(found.plain.argmax(1) == labels)
        self.right_with_dropout.append(found.drawn.mean(0).argmax(1) == labels)
        self.entropies.append(found.entropies())

    def _probabilities(self, images: Tensor) -> _Probabilities:
        model = self.net.model
        if self.scores is None:
            self.scores = class_scores(self.net.trace(images[:1]).tape)
        with Restored(EvalMode(model), torch.no_grad()):
            plain = self._of(model(images))
            for dropout in self.dropouts:
                dropout.train()
            drawn = torch.stack([self._of(model(images)) for _ in range(self.samples)])
        return _Probabilities(plain, drawn)

    def _of(self, output: Any) -> Tensor:
        """Probabilities (N, classes), in float64."""
        found = (value for value in tensors_in(output) if value.ndim > 1 and value.shape[1] > 1)
        scores = next((value for value in found if set(value.shape[2:]) <= {1}), None)
        if scores is None or self.scores is None:
            raise InputError(
                f"uncertainty is that of answers, so the model must return the scores of two classes or more, "
                f"(N, classes), which {type(self.net.model).__name__} does not"
            )
        check_finite(scores, "the output")
        return self.scores.softmax(scores).cpu()


def _verdict(wrong: int, right: int, areas: Mapping[str, Interval], gain: Difference) -> str:
    if min(wrong, right) < FEWEST:
        kind, few = ("wrong", wrong) if wrong < FEWEST else ("right", right)
        return (
            f"{counted(few, f'{kind} answer')} {agreeing(few, 'is', 'are')} too few to say whether uncertainty tells "
            f"wrong answers from right ones; use at least {FEWEST}."
        )
    (mean, low, high, _), plain = areas["dropout"], areas["softmax"].mean
    said = (
        f"With dropout left on, uncertainty tells the {counted(wrong, 'wrong answer')} from the {right:,} right ones "
        f"with an AUROC of {mean:.3f} ({low:.3f} to {high:.3f}); the plain softmax does so with {plain:.3f}"
    )
    if min(wrong, right) < FEWEST_COMPARED:
        kind, few = ("wrong", wrong) if wrong < FEWEST_COMPARED else ("right", right)
        return f"{said}: {few} {kind} answers are too few to tell which is better; use at least {FEWEST_COMPARED}."
    apart = f"{gain.mean:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"
    if not gain.p <= LEVEL:
        return f"{said}: the difference, {apart}, is not beyond chance."
    return f"{said}: dropout tells them {'better' if gain.mean > 0 else 'worse'}, by {apart}."
