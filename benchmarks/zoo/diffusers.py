"""Networks of diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.parts import Entry, made

_BLOCKS = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
_SMALL = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
_CROSS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
_CODER = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}


def _at_time(net: nn.Module, x: Tensor) -> Any:
    return net(x, 3, return_dict=False)[0]


def _with_text(net: nn.Module, x: Tensor) -> Any:
    return net(x, 3, torch.ones(len(x), 2, 8, dtype=x.dtype) * 0.3, return_dict=False)[0]


def _coded(net: nn.Module, x: Tensor) -> Any:
    return net(x, return_dict=False)[0]


def _labelled(net: nn.Module, x: Tensor) -> Any:
    long = partial(torch.full, (len(x),), dtype=torch.long)
    return net(x, timestep=long(3), class_labels=long(1), return_dict=False)[0]


def entries() -> Iterator[Entry]:
    vq = {"in_channels": 3, "out_channels": 3, **_CODER, **_SMALL, "latent_channels": 4, "num_vq_embeddings": 12}
    networks: list[tuple[str, str, dict[str, Any], tuple[int, ...], Any]] = [
        ("UNet2DModel", "UNet2DModel", {"sample_size": 16, **_BLOCKS, **_SMALL, "attention_head_dim": 4}, (3, 16, 16), _at_time),
        ("UNet2DConditionModel", "UNet2DConditionModel", {"sample_size": 16, **_CROSS, **_SMALL, "cross_attention_dim": 8, "attention_head_dim": 2}, (4, 16, 16), _with_text),
        ("UNet3DConditionModel", "UNet3DConditionModel", {"down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"), "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"), **_SMALL, "cross_attention_dim": 8, "attention_head_dim": 4}, (4, 2, 8, 8), _with_text),
        ("AutoencoderKL", "AutoencoderKL", {**_CODER, **_SMALL, "latent_channels": 4}, (3, 16, 16), _coded),
        ("AsymmetricAutoencoderKL", "AsymmetricAutoencoderKL", {**_CODER, "down_block_out_channels": (8, 16), "up_block_out_channels": (8, 16), "layers_per_down_block": 1, "layers_per_up_block": 1, "norm_num_groups": 4, "latent_channels": 4}, (3, 16, 16), _coded),
        ("AutoencoderTiny", "AutoencoderTiny", {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8), "num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1)}, (3, 16, 16), _coded),
        ("AutoencoderDC", "AutoencoderDC", {"in_channels": 3, "latent_channels": 4, "attention_head_dim": 4, "encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8), "encoder_block_types": ("ResBlock", "EfficientViTBlock"), "decoder_block_types": ("ResBlock", "EfficientViTBlock"), "encoder_layers_per_block": (1, 1), "decoder_layers_per_block": (1, 1), "encoder_qkv_multiscales": ((), (5,)), "decoder_qkv_multiscales": ((), (5,))}, (3, 16, 16), _coded),
        ("VQModel", "VQModel", vq, (3, 16, 16), _coded),
        ("DiTTransformer2DModel", "DiTTransformer2DModel", {"sample_size": 8, "num_layers": 2, "patch_size": 2, "attention_head_dim": 4, "num_attention_heads": 2, "in_channels": 4, "out_channels": 4, "num_embeds_ada_norm": 10}, (4, 8, 8), _labelled),
        ("Transformer2DModel", "Transformer2DModel", {"in_channels": 8, "num_attention_heads": 2, "attention_head_dim": 4, "norm_num_groups": 4}, (8, 8, 8), _coded),
        ("T2IAdapter", "T2IAdapter", {"in_channels": 3, "channels": [8, 16], "num_res_blocks": 1, "downscale_factor": 4, "adapter_type": "full_adapter"}, (3, 32, 32), None),
    ]  # fmt: skip
    for name, kind, options, shape, call in networks:
        yield Entry("diffusers", name, partial(made, "diffusers", kind, options, call), shape)
