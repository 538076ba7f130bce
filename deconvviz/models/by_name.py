"""A model from its name on the command line, with what its images need.

>>> loaded = load_model("mnist")
>>> type(loaded.model).__name__, loaded.shape
('MnistCNN', (1, 28, 28))
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from deconvviz.arguments import is_net
from deconvviz.errors import DependencyError, InputError, ModelError, did_you_mean
from deconvviz.images import Preprocess
from deconvviz.io.factories import Purpose, factory_of
from deconvviz.models.inputs import InputWishes, classes_of_preset, input_of, preset_of
from deconvviz.models.mnist import mnist_cnn, mnist_cnn_from
from deconvviz.models.notes import note_classes, note_random
from deconvviz.models.torch_files import kind_of_file
from deconvviz.models.weights import States, best_match, load_states, read_states
from deconvviz.models.zfnet import ZFNet
from deconvviz.recording.isolation import part_of, unwrapped

CLASSES = ("num_classes", "n_classes", "nb_classes", "num_class", "classes", "num_labels", "nc")  # a factory's option
USUAL_CLASSES = (1000, 91, 21)  # of ImageNet and of torchvision's detectors and segmentation

FORMS = (
    "mnist, zfnet, torchvision:NAME, timm:NAME, path/to/file.py:factory, package.module:factory, or a file of "
    "TorchScript or torch.export"
)
MODEL = Purpose("a model", FORMS, ModelError)


@dataclass(frozen=True)
class LoadedModel:
    """A model, and what its images need.

    Attributes:
        model: The model.
        preprocess: How its input is made from an image.
        shape: The shape (C, H, W) of one input.
        remark: What is to be known of its weights, or "".
        assumed: What was assumed of its input without being told, or "".
    """

    model: nn.Module
    preprocess: Callable[[Any], Any]
    shape: tuple[int, ...]
    remark: str = ""
    assumed: str = ""


def load_model(
    spec: str,
    weights: str | os.PathLike[str] | None = None,
    *,
    pretrained: bool = False,
    wishes: InputWishes = InputWishes(),  # noqa: B008  frozen
) -> LoadedModel:
    """Load the model that `spec` names.

    Args:
        spec: mnist (with its bundled weights), zfnet, torchvision:NAME, timm:NAME, path/to/file.py:factory,
            package.module:factory, or the path of a TorchScript archive or an exported program. A factory is called
            without arguments and returns a model, or a pair of a model and its preprocess, a function from a PIL image
            to a tensor. The code in the file or module is run.
        weights: A weights file, see `deconvviz.models.load_weights`. If it is for another number of classes, the model
            is made for that number where the factory has an option such as `num_classes`.
        pretrained: Whether to download the weights from torchvision or timm.
        wishes: What the input is to be, instead of what the model brings or what is usual.

    Raises:
        InputError: If the size does not fit, or nothing can be downloaded.
        ModelError: If the name is unknown.
        MissingFileError: If a file does not exist.
        CheckpointError: If the weights do not fit.
        DependencyError: If a library is missing.
    """
    kind = spec.rpartition(":")[0]
    if pretrained and spec != "mnist" and kind not in ("torchvision", "timm"):
        raise InputError(f"there are no weights to download for {spec!r}, but for torchvision:NAME and timm:NAME")
    if spec == "mnist":
        height, width = wishes.sides(28)
        if (height, width) != (28, 28):
            raise InputError(f"the model mnist takes 28 x 28 pixels, not {height} x {width}")
        brought = wishes.preprocess or Preprocess(28, (0.0,), (1.0,), wishes.bands)
        reference, said = (mnist_cnn(), "") if weights is None else mnist_cnn_from(weights)
        return LoadedModel(reference, brought, (1, 28, 28), said)
    make = _maker(spec, pretrained and weights is None)
    model, own = _made(spec, make())
    said = ""
    if weights is not None:
        states = read_states(weights)
        model = _for_classes_of(states, model, lambda **options: _made(spec, make(**options))[0], _classes_option(make))
        said = str(load_states(model, states))
    elif not pretrained and (spec == "zfnet" or kind in ("torchvision", "timm")):
        said = f"{spec} has random weights; load some with --weights FILE"
        note_random(model)
    if kind == "torchvision" and (pretrained or weights is not None):
        note_classes(model, classes_of_preset(spec.rpartition(":")[2]))
    if kind == "torchvision":
        own = preset_of(spec.rpartition(":")[2], pretrained)
    model_input = input_of(model, wishes, own)
    assumed = "" if spec == "zfnet" else model_input.assumed  # as in its paper
    return LoadedModel(model, model_input.preprocess, model_input.shape, said, assumed)


def _program(path: str, kind: str) -> Any:
    """The model in a TorchScript archive or an exported program."""
    try:
        return torch.jit.load(path, map_location="cpu") if kind == "TorchScript" else torch.export.load(path)
    except Exception as error:  # torch's own, for a file of another version or a damaged one
        raise ModelError(f"{path!r} cannot be loaded as a model: {error}") from error


def load_preprocess(spec: str) -> Callable[[Any], Any]:
    """The preprocess that a factory makes, path/to/file.py:factory or package.module:factory; its code is run.

    Raises ModelError, MissingFileError and InputError as `load_model` does.
    """
    home, _, name = spec.rpartition(":")
    if not home:
        raise ModelError(
            f"there is no preprocess {spec!r}; a preprocess is path/to/file.py:factory or package.module:factory"
        )
    preprocess: Any = factory_of(home, name, MODEL)()
    if not callable(preprocess):
        raise ModelError(f"{spec!r} made a {type(preprocess).__name__}, not a function from a PIL image to a tensor")
    return preprocess  # type: ignore[no-any-return]


def _maker(spec: str, pretrained: bool) -> Callable[..., Any]:
    """What makes the model of a name."""
    kind, _, name = spec.rpartition(":")
    if spec == "zfnet":
        return ZFNet
    if kind == "torchvision":
        return functools.partial(_from_torchvision, name, pretrained)
    if kind == "timm":
        return functools.partial(_from_timm, name, pretrained)
    if kind:
        return factory_of(kind, name, MODEL)
    if program := kind_of_file(spec):
        return functools.partial(_program, spec, program)
    if os.path.isfile(spec):
        raise ModelError(
            f"the file {spec!r} is neither TorchScript nor an exported program; name the code that makes the model, "
            f"such as net.py:network, and give a file of weights with --weights"
        )
    known = ("mnist", "zfnet", f"torchvision:{spec}")
    raise ModelError(f"there is no model {spec!r}; a model is {FORMS}{did_you_mean(spec, known)}")


def _made(spec: str, product: Any) -> tuple[nn.Module, Any]:
    """The model that a factory made, and its preprocess or None."""
    model, preprocess = product if isinstance(product, tuple) and len(product) == 2 else (product, None)
    if not isinstance(model, (nn.Module, torch.export.ExportedProgram)) and not is_net(model):
        raise ModelError(f"{spec!r} made a {type(model).__name__}, not a torch.nn.Module{part_of(model)}")
    return unwrapped(model), preprocess or (model.preprocess if is_net(model) else None)


def _classes_option(make: Callable[..., Any]) -> str | None:
    """The name of the option of a factory that says how many classes there are."""
    try:
        known = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in CLASSES if name in known), None)


def _for_classes_of(states: States, model: nn.Module, make: Callable[..., nn.Module], option: str | None) -> nn.Module:
    """The model for as many classes as a file of weights has, if `make` can be told that; otherwise the model."""
    for wanted, size in dict.fromkeys(best_match(model, states)[1].sizes) if option else ():
        # A head may have several outputs for each class, such as one for each anchor of a detector.
        for usual in (size, *USUAL_CLASSES):
            outputs = size // usual
            if outputs and size % usual == 0 and wanted % outputs == 0:
                other = make(**{str(option): wanted // outputs})
                fit = best_match(other, states)[1]
                if not fit.sizes and not fit.faults:
                    return other
    return model


def _from_torchvision(name: str, pretrained: bool, num_classes: int | None = None) -> nn.Module:
    try:
        from torchvision import models  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:
        raise DependencyError(
            f"torchvision does not import ({error}); it was built for another torch, so install a pair that fits: "
            "pip install --force-reinstall torch torchvision"
        ) from error
    if name not in models.list_models():
        raise ModelError(f"torchvision has no model {name!r}{did_you_mean(name, models.list_models())}")
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if "/" not in name and name in models.list_models(module=models.detection) + models.list_models(
        module=models.segmentation
    ):
        options["weights_backbone"] = None
    if num_classes is not None:
        options["num_classes"] = num_classes
    model: nn.Module = models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
    return model


def _from_timm(name: str, pretrained: bool, num_classes: int | None = None) -> nn.Module:
    try:
        import timm  # noqa: PLC0415
    except ImportError as error:
        raise DependencyError("timm is not installed; pip install timm") from error
    if not timm.is_model(name):
        raise ModelError(f"timm has no model {name!r}{did_you_mean(name, timm.list_models())}")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    model: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    return model
