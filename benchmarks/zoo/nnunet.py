"""Networks of nnU-Net."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from torch import nn

from benchmarks.zoo.parts import Entry, made

_PLANS: dict[str, Any] = {"n_stages": 3, "features_per_stage": (4, 8, 16), "kernel_sizes": 3, "strides": (1, 2, 2)}


def entries() -> Iterator[Entry]:
    for rank, shape in ((2, (1, 32, 32)), (3, (1, 12, 12, 12))):
        operation, norm = (getattr(nn, f"{kind}{rank}d") for kind in ("Conv", "InstanceNorm"))
        options = {"input_channels": 1, **_PLANS, "conv_op": operation, "norm_op": norm, "nonlin": nn.LeakyReLU}
        options |= {
            "conv_bias": True,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin_kwargs": {"inplace": True},
        }
        heads = {"num_classes": 2, "n_conv_per_stage_decoder": (1, 1)}
        unet = "dynamic_network_architectures.architectures.unet"
        plain, residual = {"n_conv_per_stage": (2, 2, 2)}, {"n_blocks_per_stage": (1, 2, 2)}
        deep = {"deep_supervision": True}
        for name, kind, more in (
            ("PlainConvUNet", "PlainConvUNet", plain | heads),
            ("PlainConvUNet, deep supervision", "PlainConvUNet", plain | heads | deep),
            ("ResidualEncoderUNet", "ResidualEncoderUNet", residual | heads | deep),
            ("ResidualUNet", "ResidualUNet", residual | {"num_classes": 2, "n_conv_per_stage_decoder": (1, 1)}),
        ):
            yield Entry("nnunet", f"{name} {rank}-D", partial(made, unet, kind, options | more), shape)
        one = options | {"num_classes": 2, "n_conv_per_stage_decoder": (1, 1), **plain}
        one |= {"norm_op": getattr(nn, f"BatchNorm{rank}d"), "nonlin": nn.ReLU, "norm_op_kwargs": {}}
        yield Entry("nnunet", f"PlainConvUNet, batch norm {rank}-D", partial(made, unet, "PlainConvUNet", one), shape)
