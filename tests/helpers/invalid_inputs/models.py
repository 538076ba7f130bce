"""Values that are no model or no style, and models that raise errors or return invalid values."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributed, nn

import deconvviz as dv
from deconvviz.errors import DependencyError, InputError, ModelError, RuleError, UnknownLayerError, UnsupportedOperation
from deconvviz.models.by_name import load_model
from tests.helpers.invalid_inputs.calls import NAN
from tests.helpers.invalid_inputs.case import Case, Raises, Returns, gives, net, plain, refused, x


def raised(error: BaseException) -> Any:
    """The error that comes out of a model which raises it, and whether the model was left as it was."""
    model = Raises(error).train()
    try:
        dv.DeconvNet(model).layers(x())
    except type(error) as caught:
        hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())
        return caught is error, all(module.training for module in model.modules()), hooks
    raise AssertionError("nothing was raised")


class Rounds(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).round().argmax(1).float()


class RootOfNothing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 0).sqrt()


def half_with_large_weights() -> nn.Module:
    model = plain()
    with torch.no_grad():
        model[0].weight.mul_(1e6).clamp_(0, 6e4)
    return model.half()


def spread() -> Any:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
        return dv.DeconvNet(distributed.tensor.distribute_module(plain(), mesh))
    finally:
        distributed.destroy_process_group()


class Summed(Rounds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).sum()


class Centred(Rounds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.conv(x)
        return made - made.mean(0)


class Mapped(Rounds):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch._higher_order_ops.map(torch.sin, self.conv(x))


def with_nan() -> nn.Module:
    model = plain()
    model[0].weight.data.fill_(NAN)
    return model


def without_timm(_: Path) -> Any:
    with mock.patch.dict(sys.modules, {"timm": None}):
        return load_model("timm:resnet18")


CASES: list[Case] = [
    refused(
        "a model of lazy modules",
        lambda _: dv.DeconvNet(nn.Sequential(nn.LazyConv2d(4, 3))),
        ModelError,
        "the model Sequential has lazy modules, and '0.weight' has no shape yet; run the model once on a typical input",
    ),
    *(
        refused(
            f"a model that is {type(model).__name__}",
            lambda _, m=model: dv.DeconvNet(m),
            ModelError,
            f"the model must be a torch.nn.Module, not {type(model).__name__}",
        )
        for model in (None, "mnist", plain, nn.Conv2d, [plain()], plain().state_dict())
    ),
    *(
        refused(
            f"{name} as the model",
            lambda _, m=model: dv.DeconvNet(m),
            ModelError,
            f"the model {name} has no parameters, so there is no network to inspect",
        )
        for name, model in (("Sequential", nn.Sequential()), ("Identity", nn.Identity()))
    ),
    refused(
        "a style that is unknown",
        lambda _: net(style="guide"),
        RuleError,
        "there is no style 'guide'; the styles are 'deconvnet', 'guided', 'gradient'; did you mean 'guided'?",
    ),
    *(
        refused(
            f"a style that is {type(style).__name__}",
            lambda _, s=style: net(style=s),
            RuleError,
            f"a style is a name or a deconvviz.Style, not {type(style).__name__}",
        )
        for style in (None, 1, ["guided"], {})
    ),
    *(
        gives(f"a model that raises {type(error).__name__}", lambda _, e=error: raised(e), (True, True, 0))
        for error in (
            RuntimeError("boom"),
            ValueError(),
            KeyError("k"),
            TypeError("t"),
            ZeroDivisionError(),
            AssertionError(),
            MemoryError(),
            StopIteration(),
            KeyboardInterrupt(),
            SystemExit(3),
        )
    ),
    *(
        gives(
            f"a model that returns {value!r}",
            lambda _, v=value: [row.name for row in dv.DeconvNet(Returns(v)).layers(x()).layers],
            ["conv"],
        )
        for value in (None, "text", 3, ())
    ),
    refused(
        "a class of a model that returns None",
        lambda _: dv.DeconvNet(Returns(None)).project(x(), "output"),
        UnknownLayerError,
        "there is no layer 'output' in Returns; the layers are 'conv'",
    ),
    refused(
        "weights that are NaN",
        lambda _: dv.DeconvNet(with_nan()).project(x(), "0", channel=0),
        InputError,
        "the activations of layer '0' are not all finite on this input",
    ),
    refused(
        "weights that are too large for half precision",
        lambda _: dv.DeconvNet(half_with_large_weights()).project(x().half(), "0", channel=0, position=(1, 1)),
        InputError,
        "the activations of layer '0' are not all finite on this input; torch.float16 ends at 65504, give model and "
        "input in a wider type, as model.float() makes",
    ),
    refused(
        "a derivative that is infinite",
        lambda _: dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), RootOfNothing()), "gradient").project(
            x(), "1", channel=0
        ),
        InputError,
        "the projection at the input holds … values that are NaN or infinite: a derivative on the way is not finite, "
        "or a number too large for torch.float32; look at a layer nearer to the input, or give model and input in a "
        "wider type, such as model.double() makes",
    ),
    refused(
        "weights spread over processes",
        lambda _: spread(),
        ModelError,
        "the weights of Sequential are sharded over several processes ('0.weight' is a DTensor, as of "
        "fully_shard); give a "
        "model with complete weights, as full_tensor() of each makes",
    ),
    refused(
        "a layer that is one number",
        lambda _: dv.DeconvNet(Summed()).project(x(1, 3, 8, 8), "output"),
        InputError,
        "layer 'output' returns a single number, which has no channels; reconstruct from it instead",
    ),
    refused(
        "a layer that mixes the samples of a batch",
        lambda _: dv.DeconvNet(Centred()).project(x(), "output"),
        InputError,
        "layer 'output' gives other activations for sample 0 alone than in this batch of 2, whose samples are mixed or "
        "share random numbers; give one sample at a time",
    ),
    refused(
        "a norm by the statistics of a batch",
        lambda _: dv.DeconvNet(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))
        ).reconstruct(x(), "1"),
        InputError,
        "aten.native_batch_norm in 1 normalises with the statistics of the batch, so no sample of this batch of 2 has "
        "an activation of its own; give one sample at a time",
    ),
    refused(
        "a function of functions that cannot be followed",
        lambda _: dv.DeconvNet(Mapped()).project(x(), "output"),
        UnsupportedOperation,
        "map_impl in map_impl calls its functions where they cannot be recorded; call them in a plain loop",
    ),
    refused(
        "an operation without a derivative",
        lambda _: dv.DeconvNet(Rounds()).project(x(), "output", channel=0),
        UnsupportedOperation,
        "no part of the signal reaches the input: it ends at aten._to_copy in float, which has neither a mirror nor a "
        "derivative; choose a layer before it, or register a rule (deconvviz.rules.mirror)",
    ),
    refused(
        "an operation without a mirror under strict=True",
        lambda _: dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sigmoid()), strict=True).project(
            x(), "1", channel=0
        ),
        UnsupportedOperation,
        "under strict=True no operation is linearised, but aten.sigmoid in 1 has no mirror",
    ),
    refused(
        "a rule that is defined twice",
        lambda _: dv.rules.mirror(torch.ops.aten.relu)(lambda op, signal: signal),
        RuleError,
        "aten.relu already has a mirror (rectify)",
    ),
    refused(
        "a model of a library that is not installed",
        without_timm,
        DependencyError,
        "timm is not installed; pip install timm",
    ),
]
