"""`DeconvNet.explore`: the explorer's panels in a notebook. Questions and answers are messages of the widget.

It is loaded by `DeconvNet.explore` alone, since it needs anywidget.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from deconvviz.errors import DeconvVizError, InputError
from deconvviz.evidence.steps import finished
from deconvviz.explorer.answers import Answers
from deconvviz.explorer.known import KnownChannels
from deconvviz.explorer.networks import ImageKey, Networks
from deconvviz.explorer.python_lines import PythonLines
from deconvviz.explorer.questions import Question, Questions
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.ownership import picture_of
from deconvviz.io.pages import web_file
from deconvviz.net import DeconvNet
from deconvviz.projection.model_call import images_of
from deconvviz.recording.layer_names import layer_name
from deconvviz.results import Projection
from deconvviz.results.base import plain

ASKED = ("image", "maps", "unit", "place")
PICTURE_DPI = 110  # of the static picture
_CLIENT = "notebook"


class NotebookExplorer(anywidget.AnyWidget):
    """A widget that shows what a network responds to. What is shown can be read and set from Python.

    Attributes:
        image: The number of the image among those that were given.
        layer: The name of the layer.
        channel: The channel, or None.
        position: The unit's position in its map, as ``"row,column"``; ``""`` for the channel's strongest.
        random: Whether the weights are random.
    """

    _esm = web_file("bundles/widget.js").decode()
    _css = web_file("bundles/widget.css").decode()
    image = traitlets.Int(0).tag(sync=True)
    layer = traitlets.Unicode("").tag(sync=True)
    channel = traitlets.Int(None, allow_none=True).tag(sync=True)
    position = traitlets.Unicode("").tag(sync=True)
    random = traitlets.Bool(False).tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)
    _first = traitlets.Dict().tag(sync=True)  # answers that are there before the kernel is asked

    def __init__(self, answers: Answers, *, count: int, layer: str, channel: int) -> None:
        networks = answers.networks
        self._answers = answers
        lines = PythonLines([], [], networks.given.style.name)
        self._questions = Questions(answers, KnownChannels(networks, None), lines, "")
        about = {"styles": list(networks.styles), "count": count}
        view = {"image": "data-0", "layer": layer, "channel": channel, "position": "", "random": 0}
        super().__init__(layer=layer, channel=channel, _about=about, _first=self._known(view))
        self.on_msg(self._heard)

    @on_the_cpu
    def projection(self) -> Projection:
        """The projection of the unit that is shown, in the network's style.

        Raises:
            InputError: If no channel is chosen, or there is no such unit.
        """
        if self.channel is None:
            raise InputError("no channel is chosen; set the widget's channel")
        position = tuple(int(part) for part in self.position.split(",")) if self.position else None
        image = ImageKey(f"data-{self.image}")
        return self._answers.projection(
            _CLIENT, image, self.layer, self.channel, position=position, random=bool(self.random)
        )

    def __repr__(self) -> str:
        unit = f"{self.layer!r}, channel {self.channel}" if self.channel is not None else repr(self.layer)
        return f"{type(self).__name__}({type(self._answers.networks.given.model).__name__}, {unit})"

    @on_the_cpu
    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and a picture of its unit for where no kernel runs."""
        bundle: Any = super()._repr_mimebundle_(**options)
        try:
            figure = self.projection().figure()
        except InputError:  # no unit is chosen, or one that there is not
            return bundle
        data, about = bundle
        png = base64.b64encode(picture_of(figure, "png", PICTURE_DPI)).decode()
        words = f"layer {self.layer}, channel {self.channel}".replace("&", "&amp;").replace("<", "&lt;")
        alt = words.replace('"', "&quot;")
        page = f'<figure><img alt="{alt}" src="data:image/png;base64,{png}"><figcaption>{words}</figcaption></figure>'
        return {**data, "image/png": png, "text/html": page}, about

    @traitlets.validate("image", "layer", "channel", "position")
    def _checked(self, proposal: Any) -> Any:
        """What is set, if the network has it."""
        name, value = proposal["trait"].name, proposal["value"]
        count = self._about.get("count") if self._about else None
        if name == "image" and count and not 0 <= value < count:
            raise InputError(f"the images are 0 to {count - 1}, not {value}")
        if name == "position" and not re.fullmatch(r"([0-9]+(,[0-9]+)*)?", value):
            raise InputError(f"a position is whole numbers with commas, such as '3,5', or '', not {value!r}")
        if name == "layer" and count:
            self._answers.networks.trace(_CLIENT, ImageKey("data-0")).activations_of(value)
        return value

    def _known(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that the first view needs, by the questions as the page's script writes them."""
        seen = {"image": view["image"]}
        asked: list[tuple[str, dict[str, Any]]] = [("image", seen), ("maps", {**seen, "layer": view["layer"]})]
        asked += [("unit", {**view, "style": style}) for style in self._answers.networks.styles]
        return {" ".join([name, *map(str, fields.values())]): self._answer(name, fields) for name, fields in asked}

    @on_the_cpu
    def _answer(self, name: str, fields: Mapping[str, Any]) -> Any:
        if name not in ASKED:
            raise InputError(f"the widget asks for {', '.join(ASKED)}, not {name!r}")
        given = {key: str(value) for key, value in fields.items() if value not in (None, "")}
        return plain(finished(self._questions.quick[name](Question(_CLIENT, given))))

    def _heard(self, _: Any, content: Any, __: Any) -> None:
        """Answer a question of the page's script; an error is a sentence in the answer's place."""
        if not isinstance(content, dict) or "name" not in content:
            return
        said = {"view": content.get("view"), "lane": content.get("lane")}
        try:
            self.send({**said, "answer": self._answer(content["name"], content.get("fields") or {})})
        except DeconvVizError as error:
            self.send({**said, "error": str(error)})
        except Exception as error:
            self.send({**said, "error": f"{type(error).__name__}: {error}"})


@on_the_cpu
def shown(
    net: DeconvNet, inputs: Any, layer: Any = None, *, channel: int | None = None, classes: Sequence[str] = ()
) -> NotebookExplorer:
    """See `DeconvNet.explore`."""
    x = images_of(inputs, net.model, net.preprocess, "a network in a notebook")
    networks = Networks(net, _Images(x, _file_names(inputs)))
    answers = Answers(networks, classes)
    trace = networks.trace(_CLIENT, ImageKey("data-0"))
    name = _first_layer(trace.activations) if layer is None else layer_name(layer, net.model)
    activations = trace.activations_of(name)
    if channel is None:
        found = answers.maps(_CLIENT, ImageKey("data-0"), name)["maximum"]
        channel = max(range(len(found)), key=lambda number: found[number] or 0.0)
    elif channel >= activations.channels:
        raise InputError(f"layer {name!r} has channels 0 to {activations.channels - 1}, not {channel}")
    return NotebookExplorer(answers, count=len(x), layer=name, channel=channel)


class _Images:
    """Images (N, C, H, W) of a notebook, with the names of the files that they come from, if they do."""

    def __init__(self, x: Tensor, names: Sequence[str]) -> None:
        self.x, self.names = x, list(names)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, number: int) -> Tensor:
        return self.x[number]


def _file_names(inputs: Any) -> list[str]:
    """The names of the files in an input of paths; [] for any other input."""
    parts = inputs if isinstance(inputs, list) else [inputs]
    if not all(isinstance(part, (str, os.PathLike)) for part in parts):
        return []
    return [os.path.basename(os.fsdecode(part)) for part in parts]


def _first_layer(activations: Mapping[str, Any]) -> str:
    """The first layer with feature maps."""
    return next((name for name, tensor in activations.items() if tensor.ndim == 4), next(iter(activations)))
