"""The questions that the page asks by name, and how their answers are found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deconvviz.arguments import described
from deconvviz.errors import DataError, DeconvVizError, InputError
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.encoding import thumbnails
from deconvviz.explorer.files import projection_file, projection_picture
from deconvviz.explorer.judged import UnitBadges
from deconvviz.explorer.known import KnownChannels
from deconvviz.explorer.networks import ImageKey
from deconvviz.explorer.python_lines import PythonLines
from deconvviz.explorer.worker import Steps, at_once

MOST_IN_STRIP = 60  # images of the data set in one answer, at most
THUMBNAIL = 64  # pixels
MOST_AT_ONCE = 10  # questions


@dataclass(frozen=True)
class Question:
    """Who asks, and the fields of the question as text."""

    client: str
    fields: Mapping[str, str]

    def text(self, name: str, otherwise: str | None = None) -> str:
        """A field. Raises InputError if it is missing and there is no other value."""
        value = self.fields.get(name, otherwise)
        if value is None:
            raise InputError(f"a request lacks {name!r}")
        return value

    def whole(self, name: str, otherwise: int | None = None) -> int | None:
        """A field with a whole number. Raises InputError if it is none."""
        text = self.fields.get(name)
        return otherwise if text is None else _whole(name, text)

    def number(self, name: str) -> int:
        """A field with a whole number, which may not be missing."""
        return _whole(name, self.text(name))

    def numbers(self, name: str) -> tuple[int, ...] | None:
        """A field with whole numbers with commas between; None if it is missing."""
        text = self.fields.get(name)
        if text is None:
            return None
        return tuple(_whole(name, part) for part in text.split(",")) if text else ()

    @property
    def image(self) -> ImageKey:
        """The image that is meant."""
        placed = self.numbers("shift") or (0, 0)
        if len(placed) not in (2, 3):
            raise InputError(
                f"an image is moved down and right by two numbers of pixels, before its size in percent, "
                f"not {described(placed)}"
            )
        down, right, *size = placed
        return ImageKey(self.text("image"), (down, right), *size)

    @property
    def unit(self) -> dict[str, Any]:
        """The options of a unit's projection."""
        return {
            "position": self.numbers("position"),
            "style": self.text("style", ""),
            "seed": self.text("seed", "activation"),
            "random": self.text("random", "0") == "1",
        }


def _whole(name: str, text: str) -> int:
    try:
        if len(text) <= 17:
            return int(text)
    except ValueError:
        pass
    raise InputError(f"{name} is a whole number, not {described(text)}")


class Questions:
    """The questions by name. Each function makes work for the worker of a question.

    Attributes:
        quick: Answered with JSON.
        long: Answered behind, with the share that is done.
        files: Answered with a name and the content of a file.
    """

    def __init__(self, answers: Answers, known: KnownChannels, lines: PythonLines, title: str) -> None:
        self._answers, self._networks, self._lines, self._title = answers, answers.networks, lines, title
        self._known, judged, ask = known, UnitBadges(answers), _simple
        self.quick: dict[str, Callable[[Question], Steps[Any]]] = {
            "state": ask(self._state),
            "dataset": self._dataset,
            "own": ask(self._own),
            "image": ask(lambda q: answers.image(q.client, q.image)),
            "maps": ask(lambda q: answers.maps(q.client, q.image, q.text("layer"))),
            "unit": ask(lambda q: answers.unit(q.client, q.image, q.text("layer"), q.number("channel"), **q.unit)),
            "place": ask(lambda q: answers.place(q.client, q.image, _two(q, "at"))),
            "reconstruction": ask(
                lambda q: answers.reconstructed(q.client, q.image, q.text("layer"), q.text("style", ""))
            ),
            "python": ask(self._python),
            "known": ask(self._values),
        }
        self.long: dict[str, Callable[[Question], Steps[Any]]] = {
            "strongest": lambda q: known.strongest(q.text("layer"), q.number("channel")),
            "evidence": lambda q: judged.badges(
                q.client, q.image, q.text("layer"), q.number("channel"), q.numbers("position")
            ),
        }
        self.files: dict[str, Callable[[Question], Steps[Any]]] = {
            "picture": ask(lambda q: projection_picture(self._projection(q))),
            "result": ask(lambda q: projection_file(self._projection(q))),
        }

    def several(self, client: str, image: str, asked: str) -> Steps[list[dict[str, Any]]]:
        """The answers to several quick questions about an image, each in a dictionary, or the error in its place.

        Args:
            client: Who asks.
            image: The image's key.
            asked: The questions as JSON: pairs of a name and the other fields.

        Raises:
            InputError: If that is not what is asked.
        """
        try:
            pairs = [
                (self.quick[name], Question(client, {**fields, "image": image})) for name, fields in json.loads(asked)
            ]
            fitting = len(pairs) <= MOST_AT_ONCE and all(
                isinstance(v, str) for _, q in pairs for v in q.fields.values()
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            fitting = False
        if not fitting:
            raise InputError(f"several questions are a list of {MOST_AT_ONCE} at most, each a name and its fields")
        return _answered(pairs)

    def _state(self, question: Question) -> dict[str, Any]:
        networks = self._networks
        data = networks.data
        return {
            "title": self._title,
            "model": type(networks.given.model).__name__,
            "styles": list(networks.styles),
            "dataset": None
            if networks.pictures is None or data is None
            else {"name": networks.pictures.dataset, "count": len(data)},
            "own": [[key, image.name] for key, image in networks.clients.given(question.client)],
        }

    def _values(self, question: Question) -> dict[str, Any]:
        """What is known of a channel: its values over the data set, and the channels that feed it."""
        layer, channel = question.text("layer"), question.number("channel")
        inputs = self._known.inputs(question.client, question.image, layer, channel)
        return {**self._known.values(layer, channel), "inputs": inputs}

    def _dataset(self, question: Question) -> Steps[dict[str, Any]]:
        """Small pictures of some images of the data set, with their names and labels."""
        pictures, data = self._networks.pictures, self._networks.data
        if pictures is None or data is None:
            raise InputError("the explorer was started without a data set; give an image of your own")
        first, count = max(0, question.number("start")), min(MOST_IN_STRIP, max(0, question.number("count")))
        numbers = range(min(first, len(data)), min(first + count, len(data)))
        shown: list[Tensor | None] = []
        names: list[list[Any]] = []
        for number in numbers:
            try:
                x, label = pictures.load_alone(number)
                shown.append(self._networks.displayed(x[None]))
            except (DataError, InputError) as error:
                shown.append(None)
                label = str(error)
            names.append([number, pictures.name(number), label])
            yield len(names) / len(numbers)
        return {"items": names, "sprite": thumbnails(shown, THUMBNAIL)}

    def _own(self, question: Question) -> dict[str, Any]:
        """Small pictures of the images that the client gave, the newest first."""
        given = self._networks.clients.given(question.client)
        shown = [self._networks.displayed(image.x) for _, image in given]
        return {"items": [[key, image.name] for key, image in given], "sprite": thumbnails(shown, THUMBNAIL)}

    def _python(self, question: Question) -> dict[str, str]:
        name = self._networks.name(question.client, question.image)
        if (channel := question.whole("channel")) is None:
            return {"lines": self._lines.reconstruction(question.image, name, question.text("layer"), question.unit)}
        return {"lines": self._lines.unit(question.image, name, question.text("layer"), channel, question.unit)}

    def _projection(self, question: Question) -> Any:
        answers, layer = self._answers, question.text("layer")
        if (channel := question.whole("channel")) is None:
            return answers.reconstruction(question.client, question.image, layer, question.text("style", ""))
        return answers.projection(question.client, question.image, layer, channel, **question.unit)


def _answered(pairs: Sequence[tuple[Callable[[Question], Steps[Any]], Question]]) -> Steps[list[dict[str, Any]]]:
    answers: list[dict[str, Any]] = []
    for answer, question in pairs:
        try:
            answers.append({"answer": (yield from answer(question))})
        except DeconvVizError as error:
            answers.append({"error": str(error)})
    return answers


def _simple(answer: Callable[[Question], Any]) -> Callable[[Question], Steps[Any]]:
    return lambda question: at_once(lambda: answer(question))


def _two(question: Question, name: str) -> tuple[int, int]:
    numbers = question.numbers(name) or ()
    if len(numbers) != 2:
        raise InputError(f"{name} is a place in the image, two numbers of pixels, not {described(numbers)}")
    return numbers[0], numbers[1]
