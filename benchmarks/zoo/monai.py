"""Networks of MONAI."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.zoo.parts import Entry, first, made

_UNET = {"channels": (4, 8, 16), "strides": (2, 2), "num_res_units": 1}
_FLAT = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
_SOLID = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2}
_DYN = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}
_IN2, _IN3 = (1, 32, 32), (1, 16, 16, 16)
_KL = {
    "channels": (8, 16),
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "latent_channels": 3,
    "attention_levels": (False, True),
}
_DIFFUSION = {
    "channels": (8, 16),
    "attention_levels": (False, True),
    "num_res_blocks": 1,
    "norm_num_groups": 4,
    "num_head_channels": 4,
}
_VQ = {"channels": (8, 8), "num_res_layers": 1, "num_res_channels": (8, 8), "num_embeddings": 16, "embedding_dim": 4}


def _with_time(net: nn.Module, x: Tensor) -> Any:
    return net(x, timesteps=torch.full((len(x),), 7))


def entries() -> Iterator[Entry]:
    networks: list[tuple[str, str, dict[str, Any], tuple[int, ...], Any]] = [
        ("UNet 2-D", "UNet", _FLAT | _UNET, _IN2, None),
        ("UNet 2-D, batch norm, dropout", "UNet", _FLAT | _UNET | {"norm": "batch", "dropout": 0.1}, _IN2, None),
        ("UNet 3-D", "UNet", _SOLID | _UNET, _IN3, None),
        ("AttentionUnet", "AttentionUnet", _FLAT | {"channels": (4, 8, 16), "strides": (2, 2)}, _IN2, None),
        ("BasicUNet 2-D", "BasicUNet", _FLAT | {"features": (4, 4, 8, 8, 16, 4)}, _IN2, None),
        ("BasicUNetPlusPlus", "BasicUNetPlusPlus", _FLAT | {"features": (4, 4, 8, 8, 16, 4)}, _IN2, None),
        ("DynUNet 2-D", "DynUNet", _FLAT | _DYN, _IN2, None),
        ("DynUNet 3-D, residual, deep supervision", "DynUNet", _SOLID | _DYN | {"res_block": True, "deep_supervision": True}, _IN3, None),
        ("SegResNet 2-D", "SegResNet", _FLAT | {"init_filters": 8}, _IN2, None),
        ("SegResNet 3-D", "SegResNet", _SOLID | {"init_filters": 8, "norm": "instance"}, _IN3, None),
        ("SegResNetDS", "SegResNetDS", _FLAT | {"init_filters": 8, "dsdepth": 2, "norm": "instance"}, _IN2, None),
        ("SegResNetDS2", "SegResNetDS2", _SOLID | {"init_filters": 8, "norm": "instance", "blocks_down": (1, 2, 2)}, _IN3, first),
        ("SegResNetVAE", "SegResNetVAE", {"input_image_size": (32, 32), **_FLAT, "init_filters": 8}, _IN2, first),
        ("VNet", "VNet", _SOLID, (1, 16, 16, 16), None),
        ("HighResNet 2-D", "HighResNet", _FLAT, (1, 24, 24), None),
        ("HighResNet 3-D, instance norm", "HighResNet", _SOLID | {"norm_type": "instance"}, (1, 10, 10, 10), None),
        ("RegUNet", "RegUNet", _FLAT | {"num_channel_initial": 4, "depth": 2}, _IN2, None),
        ("LocalNet", "LocalNet", _FLAT | {"num_channel_initial": 4, "extract_levels": (0, 1)}, _IN2, None),
        ("GlobalNet", "GlobalNet", {"image_size": (32, 32), "spatial_dims": 2, "in_channels": 1, "num_channel_initial": 4, "depth": 2}, _IN2, None),
        ("VoxelMorphUNet", "VoxelMorphUNet", {"spatial_dims": 2, "in_channels": 2, "unet_out_channels": 4, "channels": (4, 4, 8, 8, 4, 4), "final_conv_channels": (4,)}, (2, 32, 32), None),
        ("FlexibleUNet", "FlexibleUNet", {"in_channels": 3, "out_channels": 2, "backbone": "efficientnet-b0"}, (3, 64, 64), None),
        ("DenseNet121", "DenseNet121", _FLAT, _IN2, None),
        ("DenseNet 3-D, instance norm", "DenseNet", _SOLID | {"init_features": 8, "growth_rate": 4, "block_config": (2, 2, 2), "norm": "instance"}, (1, 32, 32, 32), None),
        ("EfficientNetBN b0", "EfficientNetBN", {"model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 1, "pretrained": False}, (1, 48, 48), None),
        ("ResNet 3-D", "ResNet", {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 16, 16], "n_input_channels": 1, "spatial_dims": 3}, (1, 24, 24, 24), None),
        ("SEResNet50", "SEResNet50", {"spatial_dims": 2, "in_channels": 1, "num_classes": 3}, (1, 40, 40), None),
        ("AutoEncoder", "AutoEncoder", _FLAT | {"channels": (4, 8), "strides": (2, 2), "inter_channels": (8,)}, _IN2, None),
        ("Classifier", "Classifier", {"in_shape": (1, 32, 32), "classes": 3, "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("Critic", "Critic", {"in_shape": (1, 32, 32), "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("Regressor", "Regressor", {"in_shape": (1, 32, 32), "out_shape": (2,), "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("PatchDiscriminator", "PatchDiscriminator", {"spatial_dims": 2, "in_channels": 1, "channels": 4, "num_layers_d": 2}, _IN2, None),
        ("MultiScalePatchDiscriminator", "MultiScalePatchDiscriminator", {"num_d": 2, "num_layers_d": 1, "spatial_dims": 2, "in_channels": 1, "channels": 4, "minimum_size_im": 32}, (1, 48, 48), None),
        ("UNETR", "UNETR", {"in_channels": 1, "out_channels": 2, "img_size": 32, "spatial_dims": 2, "feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "num_heads": 4}, _IN2, None),
        ("SwinUNETR 2-D", "SwinUNETR", {"in_channels": 1, "out_channels": 2, "spatial_dims": 2, "feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}, (1, 64, 64), None),
        ("ViT", "ViT", {"in_channels": 1, "img_size": 32, "patch_size": 8, "spatial_dims": 2, "hidden_size": 24, "mlp_dim": 48, "num_layers": 2, "num_heads": 4, "classification": True}, _IN2, first),
        ("ViTAutoEnc", "ViTAutoEnc", {"in_channels": 1, "img_size": (32, 32), "patch_size": (16, 16), "spatial_dims": 2, "hidden_size": 24, "mlp_dim": 48, "num_layers": 2, "num_heads": 4}, _IN2, first),
        ("MedNeXt", "MedNeXt", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_filters": 4, "blocks_down": (1, 1), "blocks_bottleneck": 1, "blocks_up": (1, 1), "encoder_expansion_ratio": 2, "decoder_expansion_ratio": 2, "bottleneck_expansion_ratio": 2}, _IN2, None),
        ("Quicknat", "Quicknat", {"num_classes": 2, "num_channels": 1, "num_filters": 4}, (1, 32, 32), None),
        ("DAF3D", "DAF3D", {"in_channels": 1, "out_channels": 1}, (1, 16, 16, 16), None),
        ("AutoencoderKL", "AutoencoderKL", _FLAT | _KL, _IN2, lambda net, x: net.decode(net.encode(x)[0])),
        ("VQVAE", "VQVAE", _FLAT | _VQ | {"downsample_parameters": ((2, 4, 1, 1),) * 2, "upsample_parameters": ((2, 4, 1, 1, 0),) * 2}, _IN2, first),
        ("DiffusionModelUNet", "DiffusionModelUNet", _FLAT | _DIFFUSION, _IN2, _with_time),
        ("MILModel", "MILModel", {"num_classes": 2, "mil_mode": "att", "pretrained": False, "backbone": None}, (2, 3, 40, 40), None),
        ("Generator", "Generator", {"latent_shape": (16,), "start_shape": (4, 4, 4), "channels": (4, 1), "strides": (2, 2)}, (16,), None),
    ]  # fmt: skip
    for name, kind, options, shape, call in networks:
        yield Entry("monai", name, partial(made, "monai.networks.nets", kind, options, call), shape)
