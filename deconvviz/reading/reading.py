"""`reading_test`: do the pictures of a channel tell which of two unseen images fires it?

A blind observer gets nine pictures of a channel and two pieces of held-out images, one of which fires the channel. It
picks the piece that is more like the pictures. The share of right picks is the score; chance is 0.5.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset

from deconvviz import images
from deconvviz.arguments import FLAG, METHOD_NAMES, METHODS_OR_FUNCTIONS, NET, RANDOM_STATE, check_counts, once, takes
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.mining.scan import scan
from deconvviz.net import DeconvNet
from deconvviz.projection.units import channels_of
from deconvviz.reading.conditions import PictureSource, References, as_picture, chosen_conditions, shortened
from deconvviz.reading.cut_pictures import in_bytes, seen_by
from deconvviz.reading.observers import Embedding, PieceObserver, chosen_observers
from deconvviz.reading.pieces import UnitWindows, brightness_range
from deconvviz.reading.questions import AskedQuestion, QuestionSource
from deconvviz.reading.stability import MeanPictures
from deconvviz.reading.synthetic_references import synthetic_references
from deconvviz.recording.layer_names import LayerName, layer_name
from deconvviz.results import Broken, TopActivations
from deconvviz.results.reading import ReadingQuestion, ReadingTest

CHANNELS_AT_ONCE = 16
IMAGES_KEPT = 128  # images that are held in memory, so that they are not read again for the next channel
EXAMPLE_QUESTIONS = 20  # questions that a result shows
SAMPLED = 16  # images by which the range of brightness is known


@takes(net=NET, conditions=METHOD_NAMES, observers=METHODS_OR_FUNCTIONS, random_state=RANDOM_STATE, progress=FLAG)
@on_the_cpu
def reading_test(
    net: DeconvNet,
    dataset: Any,
    layer: LayerName,
    *,
    channel: int | Iterable[int] | None = None,
    held_out: Any = None,
    conditions: Sequence[str] | None = None,
    observers: Sequence[str] | Mapping[str, Embedding] | None = None,
    references: int = 9,
    questions: int = 10,
    batch_size: int = 64,
    random_state: int = 0,
    progress: bool = True,
) -> ReadingTest:
    """Do the pictures of a channel tell which of two unseen images fires it?

    A channel's pictures are those of its strongest units among one half of the images. A question is a pair of pieces
    of the other half: the place that fires the channel in one of its strongest 1 % of images (at least as many images
    as there are questions), and the strongest place in an image of the lower half. The second is the one of like
    contrast among eight per question, and then both are given the same contrast, because contrast alone would tell most
    pairs apart. An observer that knows only the pictures picks one of the two. All conditions answer the same
    questions.

    Pictures in the network's style are also made of the channel's strongest units in the other half, to see whether the
    mean picture is the same with other images.

    Args:
        net: The network. Its style is the one of which the verdict speaks.
        dataset: Images, as for `scan`, with items by number.
        layer: The layer.
        channel: One channel, several, or None for all. Channels that fire on fewer than `references` images are left
            out and listed.
        held_out: Images for the questions; None to split `dataset` at random into halves. Near duplicates, as in the
            frames of a video, must not lie in both.
        conditions: What stands for a channel, by name: "patches", "deconvnet", "guided", "gradient" and the network's
            style (projections), "masked patches" (the half of a patch with most of the projection's energy),
            "edge-masked patches" (with most edges instead), "another channel" (its patches), "random images". None for
            all of these. "synthetic" (four pictures by `synthesize`, of the unit in the middle) takes long.
        observers: "template", "hog", or a mapping from names to embeddings, functions from images (N, 3, H, W) in
            [0, 1] to vectors (N, D) (`deconvviz.reading.observers`). None for both.
        references: Number of pictures of a channel.
        questions: Number of questions about a channel. Fewer than eight get no verdict.
        batch_size: Number of images in a batch.
        random_state: Seed of the random numbers.
        progress: Show progress bars.

    Returns:
        A `deconvviz.results.ReadingTest`. `write_page` writes a page on which a person answers 20 of the questions.

    Raises:
        InputError: If an argument does not fit, or there are too few images.
        UnknownLayerError: If the layer does not run.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> net, images = dv.DeconvNet(mnist_cnn()), mnist_test()[0][:400]
        >>> test = dv.reading_test(net, images, "conv2", channel=range(8), observers=["template"], progress=False)
        >>> test.score("template", "deconvnet").mean > 0.8
        True
    """
    check_counts(references=references, questions=questions, batch_size=batch_size)
    name = layer_name(layer, net.model)
    wanted, seeing = chosen_conditions(conditions, net.style), chosen_observers(observers)
    generator = torch.Generator().manual_seed(random_state)
    mining, asking = _halves(as_dataset(dataset), held_out, generator)
    _check_enough(len(asking), questions)
    first = DatasetPictures(net, mining).first()
    windows, dims = seen_by(net, first, name)
    top = scan(net, mining, layers=[name], k=references, batch_size=batch_size, labels=False, progress=progress)
    found = scan(net, asking, layers=[name], k=len(asking), batch_size=batch_size, labels=False, progress=progress)
    if found.count < 2 * questions:
        raise InputError(f"{found.count} held-out images can be read, too few for {questions} questions")
    sampled = _sampled(len(mining), top.broken)
    brightness = _brightness(net, mining, sampled)
    firing = (top.values[name][:, -1] > 0).nonzero().flatten().tolist()
    pictures = PictureSource(
        net=net,
        data=mining,
        top=top,
        layer=name,
        dims=dims,
        windows=windows,
        picture=_viewer(net, mining, brightness),
        names=wanted,
        firing=firing,
        synthetic=_synthesiser(
            net, mining, first, sampled, windows, brightness=brightness, layer=name, seed=random_state
        ),
    )
    source = QuestionSource(
        found=found,
        layer=name,
        dims=dims,
        windows=windows,
        picture=_viewer(net, asking, brightness),
        count=questions,
        strongest=max(-(-found.count // 100), questions),
    )
    given = channels_of(once(channel), len(top.values[name]), name)
    again = replace(pictures, data=asking, top=shortened(found, references))
    job = _ReadingJob(pictures, again, source, seeing, generator=generator, batch_size=batch_size)
    job.run([number for number in given if number in set(firing)], progress)
    broken = _left_out((mining, asking), (top, found), held_out is None)
    return replace(job.result(given, top.count, asking), broken=broken)


def _halves(data: Any, held_out: Any, generator: torch.Generator) -> tuple[Any, Any]:
    """The images for the pictures, and those for the questions."""
    if not is_indexed(data):
        raise InputError(f"reading needs a dataset with a length and items by number, not a {type(data).__name__}")
    if held_out is None:
        numbers = torch.randperm(len(data), generator=generator).tolist()
        halves = numbers[: len(data) // 2], numbers[len(data) // 2 :]
        return Subset(data, sorted(halves[0])), Subset(data, sorted(halves[1]))
    asking = as_dataset(held_out)
    if not is_indexed(asking):
        raise InputError(f"held_out needs a length and items by number, and is a {type(asking).__name__}")
    if held_out is data:
        raise InputError("held_out is the dataset itself; give other images, or held_out=None to split the dataset")
    return data, asking


def _check_enough(count: int, questions: int) -> None:
    if count < 2 * questions:
        raise InputError(
            f"{questions} questions about a channel need at least {2 * questions} held-out images, and there are "
            f"{count}; give more images or fewer questions"
        )


def _left_out(parts: Sequence[Any], scans: Sequence[TopActivations], halves: bool) -> tuple[Broken, ...]:
    """The items that could not be read, by their number in the dataset; halves: whether the parts are halves of it."""
    found = [
        replace(item, image=part.indices[item.image]) if halves else item
        for part, scanned in zip(parts, scans, strict=True)
        for item in scanned.broken
    ]
    return tuple(sorted(found, key=lambda one: one.image))


def _synthesiser(
    net: DeconvNet,
    data: Any,
    first: Tensor,
    sampled: Sequence[int],
    windows: UnitWindows,
    *,
    brightness: tuple[float, float],
    layer: str,
    seed: int,
) -> Callable[[Sequence[int]], dict[int, Tensor]]:
    """A function that makes synthetic pictures; some inputs of the size of the first tell the range of numbers."""
    pictures = DatasetPictures(net, data)

    def made(channels: Sequence[int]) -> dict[int, Tensor]:
        loaded = [pictures.load(number)[0] for number in sampled]
        examples = torch.stack([first, *(x for x in loaded if x.shape == first.shape)])
        return synthetic_references(net, layer, windows, examples, brightness, channels=channels, seed=seed)

    return made


def _sampled(count: int, broken: Sequence[Broken]) -> list[int]:
    """Some of the images that can be read, evenly spaced."""
    lost = {item.image for item in broken}
    able = [number for number in range(count) if number not in lost]
    return able[:: -(-len(able) // SAMPLED)]


def _brightness(net: DeconvNet, data: Any, numbers: Sequence[int]) -> tuple[float, float]:
    pictures = DatasetPictures(net, data)
    return brightness_range([_displayed(net, pictures, number) for number in numbers])


def _displayed(net: DeconvNet, pictures: DatasetPictures, number: int) -> Tensor:
    return images.displayed(pictures.load(number)[0][None], net.preprocess)[0].float()


def _viewer(net: DeconvNet, data: Any, brightness: tuple[float, float]) -> Callable[[int], Tensor]:
    """A function from an image's number to the image as people see it, (C, H, W) in [0, 1]."""
    pictures, (low, high) = DatasetPictures(net, data), brightness

    @functools.lru_cache(IMAGES_KEPT)
    def picture(number: int) -> Tensor:
        return ((_displayed(net, pictures, number) - low) / (high - low)).clamp(0, 1)

    return picture


@dataclass
class _Asked:
    """The questions about a channel, and per observer and condition what was answered, (questions,)."""

    channel: int
    questions: list[AskedQuestion]
    right: dict[str, dict[str, Tensor]]


class _ReadingJob:
    """A test of reading at work."""

    def __init__(
        self,
        pictures: PictureSource,
        again: PictureSource,
        source: QuestionSource,
        observers: Mapping[str, PieceObserver],
        *,
        generator: torch.Generator,
        batch_size: int,
    ) -> None:
        """`again` has the pictures of the same channels from the held-out images."""
        self.pictures, self.again, self.source, self.observers = pictures, again, source, observers
        self.generator, self.batch_size = generator, batch_size
        self.means = MeanPictures()
        self.asked: list[_Asked] = []
        self.examples: list[tuple[int, int, dict[str, References]]] = []  # channel's place, question, its pictures
        self.signed: set[str] = set()

    def run(self, channels: Sequence[int], progress: bool) -> None:
        """Ask about channels, some at a time."""
        order = [channels[place] for place in torch.randperm(len(channels), generator=self.generator).tolist()]
        shown = {number: len(range(place, EXAMPLE_QUESTIONS, len(order))) for place, number in enumerate(order)}
        blocks = [channels[start : start + CHANNELS_AT_ONCE] for start in range(0, len(channels), CHANNELS_AT_ONCE)]
        with progress_bar(total=len(channels), unit="channel", desc="reading", shown=progress) as bar:
            for block in blocks:
                asked = {number: self.source.questions(number, self.generator) for number in block}
                able = [number for number in block if asked[number]]
                references = self.pictures.references(able, self.generator, self.batch_size) if able else {}
                self._repeat(references)
                for number in able:
                    self._ask(number, asked[number], references[number])
                    chosen = range(min(shown[number], len(asked[number])))
                    self.examples += [(len(self.asked) - 1, row, references[number]) for row in chosen]
                bar.update(len(asked))

    def _repeat(self, references: Mapping[int, Mapping[str, References]]) -> None:
        """Compare the pictures of channels in the network's style with those from the held-out images."""
        again, style = self.again, self.again.net.style.name
        units = (again.top.values[again.layer] > 0).sum(1).tolist()
        able = [number for number, held in references.items() if style in held and units[number] == self.pictures.top.k]
        projected = again.projected(style, able, self.batch_size) if able else {}
        for number, pictures in projected.items():
            self.means.add(number, references[number][style].pictures - 0.5, as_picture(pictures) - 0.5)

    def _ask(self, channel: int, questions: list[AskedQuestion], references: Mapping[str, References]) -> None:
        pieces = torch.cat([question.shown for question in questions])
        right: dict[str, dict[str, Tensor]] = {}
        for name, observe in self.observers.items():
            right[name], likeness_with = {}, observe(pieces)
            for condition, held in references.items():
                likeness = likeness_with(held.pictures).view(-1, 2)
                right[name][condition] = 0.5 + 0.5 * (likeness[:, 0] - likeness[:, 1]).sign()
        self.signed |= {name for name, held in references.items() if held.signed}
        self.asked.append(_Asked(channel, questions, right))

    def result(self, given: Sequence[int], mining: int, asking: Any) -> ReadingTest:
        channels, count = tuple(one.channel for one in self.asked), self.source.count
        conditions = tuple(self.pictures.names)
        right = {
            name: torch.full((len(conditions), len(channels), count), torch.nan, device="cpu")
            for name in self.observers
        }
        numbers = torch.full((len(channels), count, 2), -1, dtype=torch.long)
        activations, contrasts = torch.full((2, len(channels), count, 2), torch.nan)
        for row, one in enumerate(self.asked):
            for name, answers in one.right.items():
                for condition, picked in answers.items():
                    right[name][conditions.index(condition), row, : len(picked)] = picked
            for place, question in enumerate(one.questions):
                numbers[row, place] = torch.tensor([piece.image for piece in question.pieces])
                activations[row, place] = torch.tensor([piece.activation for piece in question.pieces])
                contrasts[row, place] = torch.tensor(question.contrasts)
        return ReadingTest(
            layer=self.pictures.layer,
            style=self.pictures.net.style.name,
            channels=channels,
            untested=tuple(number for number in given if number not in channels),
            conditions=conditions,
            signed=tuple(name for name in conditions if name in self.signed),
            right=right,
            images=numbers,
            activations=activations,
            contrasts=contrasts,
            stability=self.means.cosines(channels),
            mining=mining,
            held_out=self.source.found.count,
            strongest=self.source.strongest,
            examples=tuple(self._example(*one, asking) for one in self.examples),
        )

    def _example(self, row: int, place: int, references: Mapping[str, References], asking: Any) -> ReadingQuestion:
        asked, answer = self.asked[row], int(torch.randint(2, (1,), generator=self.generator))
        question = asked.questions[place]
        order = [answer, 1 - answer]  # where each piece stands; of two, the order is its own inverse
        first, second = (question.pieces[number] for number in order)
        names = DatasetPictures(self.pictures.net, asking)
        return ReadingQuestion(
            channel=asked.channel,
            pictures={name: in_bytes(held.pictures) for name, held in references.items()},
            choices=in_bytes(question.shown[order]),
            answer=answer,
            names=(names.name(first.image), names.name(second.image)),
            activations=(first.activation, second.activation),
            right={
                name: {condition: float(picked[place]) for condition, picked in answers.items()}
                for name, answers in asked.right.items()
            },
        )
