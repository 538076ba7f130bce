"""The lines of Python that make what the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deconvviz.explorer.networks import ImageKey


@dataclass(frozen=True)
class PythonLines:
    """How to get the network and the data set, and from there the pictures.

    Attributes:
        network: Lines that make ``net``.
        dataset: Lines that make ``dataset``, if there is one.
        style: The network's style.
    """

    network: Sequence[str]
    dataset: Sequence[str] = ()
    style: str = "deconvnet"

    def unit(self, image: ImageKey, name: str, layer: str, channel: int, options: dict[str, Any]) -> str:
        """The lines that project a unit; name: what the image is called."""
        given = [f"channel={channel}"]
        if options["position"] is not None:
            given.append(f"position={options['position']}")
        if options["seed"] != "activation":
            given.append(f"seed={options['seed']!r}")
        return self._lines(
            image, name, options, f"projection = net.project(x, {layer!r}, {', '.join(given)})", "projection"
        )

    def reconstruction(self, image: ImageKey, name: str, layer: str, options: dict[str, Any]) -> str:
        """The lines that reconstruct the image from a layer."""
        return self._lines(image, name, options, f"whole = net.reconstruct(x, {layer!r})", "whole")

    def _lines(self, image: ImageKey, name: str, options: dict[str, Any], made: str, result: str) -> str:
        own = not image.of_the_dataset
        lines = ["import deconvviz as dv"]
        lines += [*self.network, *(() if own else self.dataset)]
        if options["random"]:
            lines += [
                "from deconvviz.evidence.randomisation import randomise",
                "randomise(net.model, None, random_state=0)  # random weights, always the same",
            ]
        if options["style"] not in ("", self.style):
            lines.append(f"net = dv.DeconvNet(net.model, {options['style']!r}, preprocess=net.preprocess)")
        if own:
            lines += ["from deconvviz.images import to_input", f"x = to_input({name!r}, net.preprocess)"]
        else:
            lines += [
                "from deconvviz.mining.dataset_pictures import DatasetPictures",
                f"x = DatasetPictures(net, dataset).load({image.name.partition('-')[2]})[0][None]",
            ]
        if image.shift != (0, 0) or image.size != 100:
            size = "" if image.size == 100 else f", size={image.size}"
            lines += ["from deconvviz.explorer.networks import moved", f"x = moved(x, {image.shift}{size})"]
        lines += [made, f'{result}.figure().savefig("{result}.png", dpi=150)']
        return "\n".join(lines) + "\n"
