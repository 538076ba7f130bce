"""Networks of kornia."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

from benchmarks.zoo.parts import Entry, made

_SIZES = {"img_size": 64, "embed_dims": (16, 32, 32, 32), "depths": (1, 1, 1, 1)}
_TINY = {**_SIZES, "num_heads": (1, 2, 2, 2), "window_sizes": (2, 2, 2, 2)}
_FILTERS = {"GaussianBlur2d": {"kernel_size": 3, "sigma": (1.0, 1.0)}, "Sobel": {}, "Laplacian": {"kernel_size": 3}}


def entries() -> Iterator[Entry]:
    plain = {"pretrained": False}
    networks: list[tuple[str, str, dict[str, Any], tuple[int, ...], Any]] = [
        *(("feature", name, plain, (1, 32, 32), None) for name in ("HardNet", "HardNet8", "HyNet", "SOSNet", "TFeat")),
        ("feature", "OriNet", plain, (1, 32, 32), None),
        ("feature", "LAFAffNetShapeEstimator", plain, (1, 32, 32), lambda net, x: net.features(x)),
        ("feature", "KeyNet", plain, (1, 32, 32), None),
        ("feature", "DISK", {}, (3, 32, 32), lambda net, x: net.heatmap_and_dense_descriptors(x)),
        ("contrib", "TinyViT", _TINY, (3, 64, 64), None),
        ("models.dexined", "DexiNed", plain, (3, 64, 64), None),
    ]
    for module, name, options, shape, call in networks:
        yield Entry("kornia", name, partial(made, f"kornia.{module}", name, options, call), shape)
    for name, options in _FILTERS.items():
        yield Entry("kornia", f"{name} in a network", partial(_between_filters, name, options), (2, 16, 16))


def _between_filters(name: str, options: dict[str, Any]) -> nn.Module:
    layer = getattr(import_module("kornia.filters"), name)(**options)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), layer, nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))
