"""Networks of segmentation-models-pytorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.zoo.parts import Entry, made

_DECODERS = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet Segformer"
_ENCODERS = """
mobilenet_v2 efficientnet-b0 densenet121 vgg11_bn mit_b0 se_resnet50 dpn68 mobileone_s0 timm-skresnet18 timm-regnetx_002
inceptionresnetv2 xception tu-convnext_atto tu-mobilenetv3_small_050
"""


def entries() -> Iterator[Entry]:
    for name in _DECODERS.split():
        options: dict[str, Any] = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}
        build = partial(made, "segmentation_models_pytorch", name, options)
        side = 128 if name == "PAN" else 64
        yield Entry("smp", f"{name}, resnet18", build, (3, side, side))
    for encoder in _ENCODERS.split():
        options = {"encoder_name": encoder, "encoder_weights": None, "classes": 2, "decoder_attention_type": "scse"}
        build = partial(made, "segmentation_models_pytorch", "Unet", options)
        yield Entry("smp", f"Unet, {encoder}, scse", build, (3, 64, 64))
