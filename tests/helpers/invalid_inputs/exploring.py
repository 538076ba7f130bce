"""What cannot be explored, on the command line and in a notebook, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.evidence.steps import finished
from deconvviz.explorer.atlas_values import AtlasValues
from deconvviz.explorer.known import KnownChannels
from deconvviz.explorer.networks import Networks
from tests.helpers.invalid_inputs.case import net, refused, x


def _projected_without_a_channel() -> Any:
    widget = net().explore(x())
    widget.channel = None
    return widget.projection()


def _atlas_of_other_images(folder: Path) -> Any:
    top = dv.scan(net(), x(), layers=["3"], k=1, progress=False)
    page = dv.build_atlas(net(), x(), top, out=folder / "atlas", evidence=False, progress=False)
    return AtlasValues(page.parent, net(), 3)


class OfTwo(nn.Module):
    """A network of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        found: Tensor = self.convolution(left) + self.convolution(right)
        return found


def _atlas_of_changed_images(folder: Path) -> Any:
    top = dv.scan(net(), x(), layers=["3"], k=1, progress=False)
    page = dv.build_atlas(net(), x(), top, out=folder / "atlas", evidence=False, progress=False)
    networks = Networks(net(), 3 + 2 * x())
    known = KnownChannels(networks, None, AtlasValues(page.parent, net(), 2))
    return [finished(known.strongest("3", channel)) for channel in range(5)]


CASES = [
    refused(
        "an atlas of images that have changed",
        _atlas_of_changed_images,
        InputError,
        "in image … the atlas found … for channel … of layer '3', but now it is …: the dataset has changed; give that "
        "of the atlas",
    ),
    refused(
        "a network of two inputs that is explored",
        lambda _: dv.explore(dv.DeconvNet(OfTwo()), open_browser=False),
        InputError,
        "the explorer shows networks of one input, and this one takes left, right",
    ),
    refused(
        "an atlas of other images than those that are explored",
        _atlas_of_other_images,
        InputError,
        "the atlas in '…' is of 2 items, and the dataset has 3; give its dataset",
    ),
    refused(
        "a channel that a notebook cannot show",
        lambda _: net().explore(x(), "3", channel=5),
        InputError,
        "layer '3' has channels 0 to 4, not 5",
    ),
    refused(
        "an image that a notebook does not have",
        lambda _: setattr(net().explore(x()), "image", 2),
        InputError,
        "the images are 0 to 1, not 2",
    ),
    refused(
        "a position in a notebook that is none",
        lambda _: setattr(net().explore(x()), "position", "3;5"),
        InputError,
        "a position is whole numbers with commas, such as '3,5', or '', not '3;5'",
    ),
    refused(
        "a notebook's unit without a channel",
        lambda _: _projected_without_a_channel(),
        InputError,
        "no channel is chosen; set the widget's channel",
    ),
]

EXPLORE = {
    "explore mnist --host 0.0.0.0": (
        "other machines can reach host '0.0.0.0', so the explorer needs a token; give one of 16 characters or more, or "
        "leave the host out"
    ),
    "explore mnist --token short": "a token has 16 characters or more, all printable ASCII",
    "explore mnist --port 70000": "--port is a whole number from 0 to 65535, not 70000",
    "explore mnist --host no.such.host.invalid --token 0123456789abcdef": (
        "the explorer cannot listen on host 'no.such.host.invalid', port 0 (…); give another port, or 0 for a free one"
    ),
    "explore mnist --atlas no": "the folder 'no' holds no complete atlas",
    "explore mnist --atlas no --top no": "give --top or --atlas, of which either has the values over the dataset",
    "explore mnist no": "there is no folder 'no' of images",
    "explore mnist --classes no.txt": "'no.txt' cannot be read as text: No such file or directory",
}
