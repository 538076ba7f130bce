"""The architectures of the coverage table: how to build each one, and the shape of its input. No weights are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import timm
import torchvision
from torch import nn

from benchmarks.names import DETECTORS, TIMM, TRANSFORMERS
from benchmarks.zoo import ZOO, zoo

FAMILIES = {"torchvision": "torchvision", "timm": "timm", "transformers": "Hugging Face transformers"}
PACKAGES = {family: title for family, (title, _) in ZOO.items()}  # these have their own table


@dataclass(frozen=True)
class Architecture:
    """One row: `build` makes the model with random weights; `shape` is that of one sample of its input."""

    family: str
    group: str
    name: str
    build: Callable[[], nn.Module] = field(compare=False)
    shape: tuple[int, ...]
    samples: int = 2
    remark: str = ""

    @property
    def key(self) -> str:
        return f"{self.family}/{self.group}/{self.name}" + (f" ({self.remark})" if self.remark else "")


def architectures() -> dict[str, Architecture]:
    """All rows by key, in the order of the table."""
    return {row.key: row for row in (*_torchvision(), *_timm(), *_transformers(), *_packages())}


# torchvision

_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"init_weights": False},
    "inception_v3": {"init_weights": False},
    "vit_h_14": {"image_size": 56},
    **{f"vit_{size}": {"image_size": 64} for size in ("b_16", "b_32", "l_16", "l_32")},
}
_SIZES = {"inception_v3": 96, "vit_h_14": 56, "maxvit_t": 224, "alexnet": 96, "regnet_y_128gf": 64}
_SIZES |= dict.fromkeys(("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32"), 64)
_VIDEO_SHAPES = {"mvit_v1_b": (3, 16, 224, 224), "mvit_v2_s": (3, 16, 224, 224), "s3d": (3, 16, 224, 224)}


def _torchvision() -> Iterator[Architecture]:
    models = torchvision.models

    def listed(module: Any) -> list[str]:
        return models.list_models(module=module)

    for name in listed(models):
        build = partial(models.get_model, name, weights=None, **_OPTIONS.get(name, {}))
        size = _SIZES.get(name, 96)
        yield Architecture("torchvision", "classification", name, build, (3, size, size))
    for name in listed(models.segmentation):
        build = partial(models.get_model, name, weights=None, weights_backbone=None)
        yield Architecture("torchvision", "segmentation", name, build, (3, 96, 96))
    for name in listed(models.video):
        shape = _VIDEO_SHAPES.get(name, (3, 8, 64, 64))
        samples = 1 if name in _VIDEO_SHAPES else 2
        yield Architecture("torchvision", "video", name, partial(models.get_model, name, weights=None), shape, samples)
    for name in DETECTORS:
        size = 300 if name == "ssd300_vgg16" else 128
        yield Architecture("torchvision", "detector backbones", name, partial(_backbone, name), (3, size, size))


def _backbone(detector: str) -> nn.Module:
    model = torchvision.models.get_model(detector, weights=None, weights_backbone=None)
    return model.backbone


# timm


def _timm() -> Iterator[Architecture]:
    for entry in TIMM.split():
        name, _, size = entry.partition("@")
        side = int(size.rstrip("!") or 96)
        options = {"img_size": side} if size.endswith("!") else {}
        group = timm.model_entrypoint(name).__module__.rpartition(".")[2]
        build = partial(timm.create_model, name, pretrained=False, **options)
        yield Architecture("timm", group, name, build, (3, side, side))


# transformers


def _transformers() -> Iterator[Architecture]:
    for model, config, options, shape, remark in TRANSFORMERS:
        build = partial(_from_config, model, config, options)
        yield Architecture("transformers", config.removesuffix("Config"), model, build, shape, remark=remark)


def _from_config(model: str, config: str, options: dict[str, Any]) -> nn.Module:
    import transformers  # noqa: PLC0415  slow to import, and only these need it

    options = {
        key: getattr(transformers, value[0])(**value[1]) if isinstance(value, tuple) else value
        for key, value in options.items()
    }
    return getattr(transformers, model)(getattr(transformers, config)(**options))


# Third-party packages


def _packages() -> Iterator[Architecture]:
    for entry in zoo():
        yield Architecture(entry.family, "networks", entry.name, entry.build, entry.shape)
