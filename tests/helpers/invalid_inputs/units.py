"""Layers, channels, positions and units that do not exist or have the wrong type."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError, UnknownLayerError
from deconvviz.evidence import deletion, localisation
from deconvviz.experiments import correspondence
from tests.helpers.invalid_inputs.calls import NAN, projected
from tests.helpers.invalid_inputs.case import Case, Returns, gives, net, plain, refused, x

HAS = "layer '3' has channels 0 to 4, not "
MAPS = "layer '3' has maps of size (4, 4); "
NEAREST = "has no filters; the nearest layer that has some is"
WANTED = "a position is 'max', 'all', 2 integers, or an integer tensor (2, 2), not "

LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Linear(4, 2))


class MakesItsFilters(nn.Conv2d):
    """A convolution of its input with itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(x, x)


class TakesAMask(nn.Conv2d):
    """A convolution of two arguments."""

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x * mask)


class Unfolded(nn.Module):
    """Its maps have four dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.again = nn.Conv2d(3, 2, 1), nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.conv(x).unflatten(2, (2, 4)).unflatten(4, (2, 4)))


def infinite() -> nn.Module:
    layer = nn.Conv2d(1, 1, 3)
    layer.weight.data.fill_(float("inf"))
    return layer


CASES: list[Case] = [
    *(
        refused(
            f"a layer that is {type(layer).__name__}",
            lambda _, layer=layer: net().project(x(), layer),
            InputError,
            f"a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, "
            f"not as {layer!r}",
        )
        for layer in (None, 3, 3.0, ["3"], b"3")
    ),
    refused(
        "a layer that is a module of another model",
        lambda _: net().project(x(), nn.ReLU()),
        InputError,
        "the layer ReLU is no module of the model Sequential",
    ),
    refused(
        "layers that are numbers",
        lambda _: net().trace(x(), [0, 3]),
        InputError,
        "a layer is given by its name, as `DeconvNet.layers` lists it, or as a module of the model, not as 0",
    ),
    refused(
        "no layer",
        lambda _: net().trace(x(), []),
        InputError,
        "there is no layer to look at; name at least one, or give layers=None for the default ones",
    ),
    *(
        refused(
            f"a layer called {name[:20]!r}",
            lambda _, name=name: net().project(x(), name),
            UnknownLayerError,
            f"there is no layer {name!r} in Sequential; the layers are '0', '1', '2', '3', '4', ...",
        )
        for name in ("", "conv9", "卷積", "a\0b", "<script>alert(1)</script>", "../../etc/passwd", "x" * 10_000)
    ),
    refused(
        "a layer whose name is nearly right",
        lambda _: dv.DeconvNet(nn.Sequential(plain())).project(x(), "0.33"),
        UnknownLayerError,
        "there is no layer '0.33' in Sequential; did you mean …'0.3'…?",
    ),
    refused(
        "a layer that was not recorded",
        lambda _: net().project(net().trace(x(), "0"), "3"),
        UnknownLayerError,
        "this trace has no activations of '3' (it was recorded for 1 layer)",
    ),
    refused(
        "a layer that never runs",
        lambda _: dv.DeconvNet(Returns(None)).project(x(), "spare"),
        UnknownLayerError,
        "layer 'spare' is a module of the model, but it returned nothing that depends on the input",
    ),
    *(
        refused(f"channel {channel!r}", lambda _, c=channel: projected(x(), channel=c), InputError, f"{HAS}{shown}")
        for channel, shown in (
            (-1, "-1"),
            (5, "5"),
            (10**30, "1" + "0" * 30),
            (1.5, "1.5"),
            (1.0, "1.0"),
            ("1", "'1'"),
            (True, "True"),
            ([[1]], "[1]"),
            ({}, "{}"),
            (torch.tensor([1.0]), "tensor(1.)"),
            (torch.tensor([[1, 2]]), "a tensor of shape (2,)"),
            (range(9), "5"),
            (np.float32(2), "…2.0…"),
        )
    ),
    refused(
        "no channel",
        lambda _: projected(x(), channel=[]),
        InputError,
        "there is no channel to project; layer '3' has channels 0 to 4",
    ),
    gives("a channel as a tensor of one number", lambda _: projected(x(), channel=torch.tensor(2)), (2, 3, 8, 8)),
    gives("a channel as an array of one number", lambda _: projected(x(), channel=np.array(2)), (2, 3, 8, 8)),
    gives("the same channel twice", lambda _: projected(x(), channel=[1, 1]), (4, 3, 8, 8)),
    *(
        refused(
            f"position {position!r}",
            lambda _, p=position: projected(x(), position=p),
            InputError,
            f"{MAPS}{WANTED}{shown}",
        )
        for position, shown in (
            ("center", "'center'"),
            (None, "None"),
            (3, "3"),
            ((1,), "(1,)"),
            ((1, 1, 1), "(1, 1, 1)"),
            ((1.5, 0), "(1.5, 0)"),
            ((NAN, 0), "(nan, 0)"),
            ((True, False), "(True, False)"),
            ((10**30, 0), f"({10**30}, 0)"),
            (("0", "0"), "('0', '0')"),
            (torch.zeros(1, 2, dtype=torch.long), "a tensor of shape (1, 2)"),
            (torch.zeros(2, 2), "a tensor of shape (2, 2)"),
        )
    ),
    *(
        refused(
            f"position {position!r}",
            lambda _, p=position: projected(x(), position=p),
            InputError,
            f"{MAPS}the position {position!r} lies outside",
        )
        for position in ((-1, 0), (4, 0), (2**62, 0))
    ),
    *(
        refused(f"filters of {name}", how, InputError, said)
        for name, how, said in (
            ("a pooling layer", lambda _: net().filters("2"), f"layer '2' {NEAREST} '0'"),
            (
                "a model without any",
                lambda _: dv.DeconvNet(nn.Sequential(nn.BatchNorm2d(3))).filters("0"),
                "layer '0' has no filters, and no other layer has any",
            ),
            (
                "a linear layer",
                lambda _: dv.DeconvNet(LINEAR).filters("2"),
                "layer '2' is linear, and its filters are pictures only where it reads maps, which a run shows; give "
                "trace=net.trace(x)",
            ),
            (
                "a linear layer after a linear layer",
                lambda _: dv.DeconvNet(LINEAR).filters("2", trace=dv.DeconvNet(LINEAR).trace(x()[..., :1, :1])),
                "layer '2' is linear and reads 4 numbers that are no maps, so its filters are no pictures; project its "
                "channels instead",
            ),
            (
                "a linear layer on single pixels",
                lambda _: dv.DeconvNet(LINEAR).filters("1", trace=dv.DeconvNet(LINEAR).trace(x()[..., :1, :1])),
                "layer '1' is linear and reads maps of one pixel, so its filters are no pictures; project its channels "
                "instead",
            ),
            (
                "a convolution with filters made of its input",
                lambda _: dv.DeconvNet(nn.Sequential(MakesItsFilters(1, 1, 3))).filters("0"),
                "layer '0' has no filters of its own: it makes them of its input",
            ),
            (
                "a convolution of two arguments",
                lambda _: dv.DeconvNet(nn.Sequential(TakesAMask(1, 1, 3))).filters("0"),
                "layer '0' does not run alone, and its filters show in a run; give trace=net.trace(x)",
            ),
            (
                "a layer with infinite weights",
                lambda _: dv.DeconvNet(nn.Sequential(infinite())).filters("0"),
                "the filters of layer '0' are not all finite",
            ),
            (
                "a layer on the device meta",
                lambda _: dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 1, 3, device="meta"))).filters("0"),
                "the filters of layer '0' are on the device meta, which has no values",
            ),
        )
    ),
    *(
        refused(f"a figure of {name}", how, InputError, said)
        for name, how, said in (
            (
                "no channel",
                lambda _: net().filters("3").figure(channel=[]),
                "there is nothing to show; layer '3' has channels 0 to 4",
            ),
            (
                "no such input channel",
                lambda _: net().filters("3").figure(planes=[4]),
                "layer '3' has input channels 0 to 3, not 4",
            ),
            (
                "no such image",
                lambda _: net().activations(x(), "3").figure(sample=2),
                "there is no image 2; give one from 0 to 1",
            ),
            (
                "maps without places",
                lambda _: net().activations(x(), "4").grid(),
                "layer '4' returns one number for each channel, which is no map; figure() draws them",
            ),
            (
                "maps of four dimensions",
                lambda _: dv.DeconvNet(Unfolded()).activations(x(), "again").figure(),
                "maps of 1 to 3 dimensions are drawn, not the 4 of layer 'again'",
            ),
        )
    ),
    refused(
        "a model where its net is wanted",
        lambda _: deletion(plain()[0], x(), "3"),
        InputError,
        "net is a DeconvNet, not Conv2d(…)",
    ),
    refused(
        "a mask for a channel",
        lambda _: net().project(x(), "3", channel=torch.tensor([True, False, False, False, False])),
        InputError,
        f"{HAS}tensor(True)",
    ),
    refused(
        "truth values for the channels of images",
        lambda _: deletion(net(), x(), "3", channel=[True, False]),
        InputError,
        "a channel is given by its number, not by True",
    ),
    refused(
        "boxes that are a list",
        lambda _: localisation(net(), x(), [[[0, 2], [0, 2]]] * 2, layer="3"),
        InputError,
        "boxes are of shape (2, 2, 2), one for each image, not [[[0, 2], [0, 2]], [[0, 2], [0, 2]]]",
    ),
    refused(
        "boxes outside the image",
        lambda _: localisation(net(), x(), torch.tensor([[[0, 2], [0, 2]], [[0, 9], [0, 2]]]), layer="3"),
        InputError,
        "boxes are whole numbers: per axis the first pixel of the object and one past its last, in images of 8 x 8 "
        "pixels; that of image 1 is none",
    ),
    refused(
        "a point with a fraction",
        lambda _: correspondence(net(), x(), {"eye": [(1.5, 2), (1, 2)]}),
        InputError,
        "part 'eye' of image 0: a place is a box (top, left, bottom, right) or a point (row, column), not (1.5, 2)",
    ),
    refused(
        "a part that is a number",
        lambda _: correspondence(net(), x(), {"eye": 3}),
        InputError,
        "part 'eye' is a list of places, one for each image, not 3",
    ),
    refused(
        "a seed that is neither",
        lambda _: projected(x(), seed="two"),
        InputError,
        "the seed is 'activation' or 'one', not 'two'",
    ),
    refused(
        "a window that is neither",
        lambda _: projected(x(), window=8),
        InputError,
        "the window is 'auto' or 'full', not 8",
    ),
    *(
        refused(
            f"no unit, {units!r}",
            lambda _, u=units: net().project_units(x(), "3", u),
            InputError,
            "there is no unit to project; give at least one (sample, channel, position)",
        )
        for units in (None, [])
    ),
    *(
        refused(
            f"units {units!r}",
            lambda _, u=units: net().project_units(x(), "3", u),
            InputError,
            "units are a list of (sample, channel, position), whole numbers and a tuple of them, such as "
            "(0, 5, (3, 4))",
        )
        for units in (
            3,
            [()],
            [(0, 0)],
            [(0.0, 0, (0, 0))],
            ["abc"],
            [(0, 0, None)],
            [(0, 0, "ab")],
            [(0, 0, (1.5, 0))],
        )
    ),
    *(
        refused(
            f"unit {unit!r}",
            lambda _, unit=unit: net().project_units(x(), "3", [unit]),
            InputError,
            "layer '3' has 2 samples, 5 channels of size (4, 4); there is no unit (sample, channel, position) = "
            f"{unit!r}",
        )
        for unit in ((2, 0, (0, 0)), (-1, 0, (0, 0)), (0, 5, (0, 0)), (0, 0, (4, 4)), (0, 0, (0, 0, 0)))
    ),
    refused(
        "a signal of another shape",
        lambda _: net().reconstruct(x(), "3", signal=torch.zeros(1)),
        InputError,
        "the signal has shape (1,) and layer '3' (2, 5, 4, 4); they must be equal",
    ),
    refused(
        "a signal that is a number",
        lambda _: net().reconstruct(x(), "3", signal=3),
        InputError,
        "the signal is a tensor of the shape of layer '3', not int",
    ),
    refused(
        "a signal of NaN",
        lambda _: net().reconstruct(x(), "3", signal=torch.full((2, 5, 4, 4), NAN)),
        InputError,
        "the signal holds 160 values that are NaN or infinite, of 160; none may be",
    ),
]
