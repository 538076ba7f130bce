"""Networks of other people's packages: small configurations with random weights, and the input each is given.

Every package is imported only where one of its networks is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn

ZOO = {
    "smp": ("segmentation-models-pytorch", "segmentation-models-pytorch"),
    "monai": ("MONAI", "monai"),
    "nnunet": ("nnU-Net's networks", "dynamic-network-architectures"),
    "ultralytics": ("ultralytics", "ultralytics"),
    "braindecode": ("braindecode", "braindecode"),
    "kornia": ("kornia", "kornia"),
    "torchaudio": ("torchaudio", "torchaudio"),
    "diffusers": ("diffusers", "diffusers"),
    "snntorch": ("snntorch", "snntorch"),
    "vit-pytorch": ("vit-pytorch", "vit-pytorch"),
}

LEFT_OUT = (
    "MONAI's HoVerNet (it takes images of 256 x 256 or more; one pass takes minutes) and AHNet (memory)",
    "kornia's XFeatModel, which cuts its input off by `no_grad`, so that autograd gives nothing to compare with",
    "networks that need weights, an index or a text encoder from elsewhere, or that take lists of images (detectors of kornia, NaViT)",
    "networks that run only on a GPU, and diffusers' transformers of video and of text, which have no image of a few pixels to be given",
)


class Entry(NamedTuple):
    """shape: of one sample."""

    family: str
    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


class Called(nn.Module):
    """A network that takes more than an image, with the rest filled in."""

    def __init__(self, net: nn.Module, call: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.net, self.call = net, call

    def forward(self, x: Tensor) -> Any:
        return self.call(self.net, x)


def zoo() -> Iterator[Entry]:
    """All of them, package by package."""
    for part in (_smp, _monai, _nnunet, _ultralytics, _braindecode, _kornia, _torchaudio, _diffusers, _snntorch, _vit):
        yield from part()


def _made(module: str, name: str, options: dict[str, Any], call: Callable[..., Any] | None = None) -> nn.Module:
    with patch.object(
        torch.version, "cuda", None
    ):  # torchaudio's compiled parts want another CUDA; no model needs them
        net = getattr(import_module(module), name)(**options)
    return Called(net, call) if call else net


# segmentation-models-pytorch

_DECODERS = [
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
    "UPerNet",
    "Segformer",
]
_ENCODERS = (
    *("mobilenet_v2", "efficientnet-b0", "densenet121", "vgg11_bn", "mit_b0", "se_resnet50", "dpn68", "mobileone_s0"),
    *(
        "timm-skresnet18",
        "timm-regnetx_002",
        "inceptionresnetv2",
        "xception",
        "tu-convnext_atto",
        "tu-mobilenetv3_small_050",
    ),
)


def _smp() -> Iterator[Entry]:
    for name in _DECODERS:
        options: dict[str, Any] = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}
        build = partial(_made, "segmentation_models_pytorch", name, options)
        side = 128 if name == "PAN" else 64
        yield Entry("smp", f"{name}, resnet18", build, (3, side, side))
    for encoder in _ENCODERS:
        options = {"encoder_name": encoder, "encoder_weights": None, "classes": 2, "decoder_attention_type": "scse"}
        build = partial(_made, "segmentation_models_pytorch", "Unet", options)
        yield Entry("smp", f"Unet, {encoder}, scse", build, (3, 64, 64))


# MONAI

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


def _first(net: nn.Module, x: Tensor) -> Any:
    return net(x)[0]


def _with_time(net: nn.Module, x: Tensor) -> Any:
    return net(x, timesteps=torch.full((len(x),), 7))


def _monai() -> Iterator[Entry]:
    entries: list[tuple[str, str, dict[str, Any], tuple[int, ...], Any]] = [
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
        ("SegResNetDS2", "SegResNetDS2", _SOLID | {"init_filters": 8, "norm": "instance", "blocks_down": (1, 2, 2)}, _IN3, _first),
        ("SegResNetVAE", "SegResNetVAE", {"input_image_size": (32, 32), **_FLAT, "init_filters": 8}, _IN2, _first),
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
        ("VarAutoEncoder", "VarAutoEncoder", {"spatial_dims": 2, "in_shape": (1, 32, 32), "out_channels": 1, "latent_size": 4, "channels": (4, 8), "strides": (2, 2)}, _IN2, _first),
        ("Classifier", "Classifier", {"in_shape": (1, 32, 32), "classes": 3, "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("Critic", "Critic", {"in_shape": (1, 32, 32), "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("Regressor", "Regressor", {"in_shape": (1, 32, 32), "out_shape": (2,), "channels": (4, 8), "strides": (2, 2)}, _IN2, None),
        ("PatchDiscriminator", "PatchDiscriminator", {"spatial_dims": 2, "in_channels": 1, "channels": 4, "num_layers_d": 2}, _IN2, None),
        ("MultiScalePatchDiscriminator", "MultiScalePatchDiscriminator", {"num_d": 2, "num_layers_d": 1, "spatial_dims": 2, "in_channels": 1, "channels": 4, "minimum_size_im": 32}, (1, 48, 48), None),
        ("UNETR", "UNETR", {"in_channels": 1, "out_channels": 2, "img_size": 32, "spatial_dims": 2, "feature_size": 4, "hidden_size": 24, "mlp_dim": 48, "num_heads": 4}, _IN2, None),
        ("SwinUNETR 2-D", "SwinUNETR", {"in_channels": 1, "out_channels": 2, "spatial_dims": 2, "feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 4)}, (1, 64, 64), None),
        ("ViT", "ViT", {"in_channels": 1, "img_size": 32, "patch_size": 8, "spatial_dims": 2, "hidden_size": 24, "mlp_dim": 48, "num_layers": 2, "num_heads": 4, "classification": True}, _IN2, _first),
        ("ViTAutoEnc", "ViTAutoEnc", {"in_channels": 1, "img_size": (32, 32), "patch_size": (16, 16), "spatial_dims": 2, "hidden_size": 24, "mlp_dim": 48, "num_layers": 2, "num_heads": 4}, _IN2, _first),
        ("MedNeXt", "MedNeXt", {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_filters": 4, "blocks_down": (1, 1), "blocks_bottleneck": 1, "blocks_up": (1, 1), "encoder_expansion_ratio": 2, "decoder_expansion_ratio": 2, "bottleneck_expansion_ratio": 2}, _IN2, None),
        ("Quicknat", "Quicknat", {"num_classes": 2, "num_channels": 1, "num_filters": 4}, (1, 32, 32), None),
        ("DAF3D", "DAF3D", {"in_channels": 1, "out_channels": 1}, (1, 16, 16, 16), None),
        ("AutoencoderKL", "AutoencoderKL", _FLAT | _KL, _IN2, lambda net, x: net.decode(net.encode(x)[0])),
        ("VQVAE", "VQVAE", _FLAT | _VQ | {"downsample_parameters": ((2, 4, 1, 1),) * 2, "upsample_parameters": ((2, 4, 1, 1, 0),) * 2}, _IN2, _first),
        ("DiffusionModelUNet", "DiffusionModelUNet", _FLAT | _DIFFUSION, _IN2, _with_time),
        ("MILModel", "MILModel", {"num_classes": 2, "mil_mode": "att", "pretrained": False, "backbone": None}, (2, 3, 40, 40), None),
        ("Generator", "Generator", {"latent_shape": (16,), "start_shape": (4, 4, 4), "channels": (4, 1), "strides": (2, 2)}, (16,), None),
    ]  # fmt: skip
    for name, kind, options, shape, call in entries:
        yield Entry("monai", name, partial(_made, "monai.networks.nets", kind, options, call), shape)


# nnU-Net

_PLANS: dict[str, Any] = {"n_stages": 3, "features_per_stage": (4, 8, 16), "kernel_sizes": 3, "strides": (1, 2, 2)}


def _nnunet() -> Iterator[Entry]:
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
            yield Entry("nnunet", f"{name} {rank}-D", partial(_made, unet, kind, options | more), shape)
        one = options | {"num_classes": 2, "n_conv_per_stage_decoder": (1, 1), **plain}
        one |= {"norm_op": getattr(nn, f"BatchNorm{rank}d"), "nonlin": nn.ReLU, "norm_op_kwargs": {}}
        yield Entry("nnunet", f"PlainConvUNet, batch norm {rank}-D", partial(_made, unet, "PlainConvUNet", one), shape)


# ultralytics

_YOLO = {
    "DetectionModel": "yolov3-tiny yolov5n yolov6n yolov8n yolov8n-ghost yolov8n-p2 yolov9t yolov10n yolo11n yolo12n yolo26n",
    "SegmentationModel": "yolov8n-seg yolo11n-seg yolo26n-seg",
    "PoseModel": "yolov8n-pose yolo11n-pose",
    "OBBModel": "yolo11n-obb",
    "ClassificationModel": "yolov8n-cls yolo11n-cls yolo26n-cls",
    "RTDETRDetectionModel": "rtdetr-resnet50",
}


def _ultralytics() -> Iterator[Entry]:
    for kind, names in _YOLO.items():
        for name in names.split():
            options = {"cfg": f"{name}.yaml", "verbose": False}
            yield Entry("ultralytics", name, partial(_made, "ultralytics.nn.tasks", kind, options), (3, 64, 64))


# braindecode

_EEG = """
ATCNet AttentionBaseNet BDTCN BIOT CTNet ContraWR Deep4Net EEGConformer EEGITNet EEGInceptionERP EEGInceptionMI EEGNeX
EEGNet EEGSimpleConv EEGTCNet FBCNet FBLightConvNet FBMSNet IFNet MSVTNet MEDFormer SCCNet SPARCNet SSTDPN
ShallowFBCSPNet SincShallowNet SleepStagerBlanco2020 SleepStagerChambon2018 SyncNet TIDNet TSception
USleep AttnSleep DeepSleepNet EEGMiner TCFormer
"""


def _braindecode() -> Iterator[Entry]:
    for name in _EEG.split():
        times, rate, channels = 512, 128, 4
        if name in ("AttnSleep", "DeepSleepNet", "USleep", "SleepStagerChambon2018", "SleepStagerBlanco2020"):
            times, rate, channels = 3000, 100, 1 if name in ("AttnSleep", "DeepSleepNet") else 2
        options = {"n_chans": channels, "n_outputs": 3, "n_times": times, "sfreq": rate}
        yield Entry("braindecode", name, partial(_made, "braindecode.models", name, options), (channels, times))


# kornia


def _kornia() -> Iterator[Entry]:
    for name in ("HardNet", "HardNet8", "HyNet", "SOSNet", "TFeat"):
        yield Entry("kornia", name, partial(_made, "kornia.feature", name, {"pretrained": False}), (1, 32, 32))
    for name in ("OriNet", "LAFAffNetShapeEstimator"):
        call = None if name == "OriNet" else (lambda net, x: net.features(x))
        yield Entry("kornia", name, partial(_made, "kornia.feature", name, {"pretrained": False}, call), (1, 32, 32))
    yield Entry("kornia", "KeyNet", partial(_made, "kornia.feature", "KeyNet", {"pretrained": False}), (1, 32, 32))
    yield Entry(
        "kornia",
        "DISK",
        partial(_made, "kornia.feature", "DISK", {}, lambda net, x: net.heatmap_and_dense_descriptors(x)),
        (3, 32, 32),
    )
    yield Entry("kornia", "TinyViT", partial(_made, "kornia.contrib", "TinyViT", {"img_size": 64, "embed_dims": (16, 32, 32, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 2), "window_sizes": (2, 2, 2, 2)}), (3, 64, 64))  # fmt: skip
    filters = {"GaussianBlur2d": {"kernel_size": 3, "sigma": (1.0, 1.0)}, "Sobel": {}, "Laplacian": {"kernel_size": 3}}
    for name, options in filters.items():
        yield Entry("kornia", f"{name} in a network", partial(_between_filters, name, options), (2, 16, 16))
    yield Entry(
        "kornia", "DexiNed", partial(_made, "kornia.models.dexined", "DexiNed", {"pretrained": False}), (3, 64, 64)
    )


def _between_filters(name: str, options: dict[str, Any]) -> nn.Module:
    layer = getattr(import_module("kornia.filters"), name)(**options)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), layer, nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1))


# torchaudio


def _torchaudio() -> Iterator[Entry]:
    wav2vec2: dict[str, Any] = {
        "extractor_mode": "group_norm",
        "extractor_conv_layer_config": [(8, 10, 5), (8, 3, 2), (8, 2, 2)],
    }
    wav2vec2 |= {
        "extractor_conv_bias": False,
        "encoder_embed_dim": 16,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 5,
    }
    wav2vec2 |= {
        "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 2,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.1,
    }
    wav2vec2 |= {"encoder_ff_interm_features": 24, "encoder_ff_interm_dropout": 0.1, "encoder_dropout": 0.1}
    wav2vec2 |= {"encoder_layer_norm_first": False, "encoder_layer_drop": 0.0, "aux_num_out": 5}
    conformer = {"input_dim": 8, "num_heads": 2, "ffn_dim": 16, "num_layers": 2, "depthwise_conv_kernel_size": 5}
    entries: list[tuple[str, dict[str, Any], tuple[int, ...], Any]] = [
        ("Wav2Letter", {"num_classes": 6, "num_features": 8, "input_type": "mfcc"}, (8, 60), None),
        ("DeepSpeech", {"n_feature": 8, "n_hidden": 12, "n_class": 5}, (1, 12, 8), None),
        ("ConvTasNet", {"num_sources": 2, "enc_num_feats": 8, "msk_num_feats": 6, "msk_num_hidden_feats": 8, "msk_num_layers": 2, "msk_num_stacks": 2}, (1, 320), None),
        ("Conformer", conformer, (14, 8), lambda net, x: net(x, torch.full((len(x),), 14))[0]),
        ("wav2vec2_model", wav2vec2, (800,), _first),
        ("HDemucs", {"sources": ["a", "b"], "audio_channels": 2, "channels": 4, "nfft": 256, "depth": 3}, (2, 2048), None),
        ("WaveRNN", {"upsample_scales": [2, 2], "n_classes": 6, "hop_length": 4, "n_res_block": 1, "n_rnn": 8, "n_fc": 8, "kernel_size": 5, "n_freq": 6, "n_hidden": 8, "n_output": 8}, (1, 6, 12), lambda net, x: net(x.new_zeros(len(x), 1, 32), x)),
    ]  # fmt: skip
    for name, options, shape, call in entries:
        yield Entry("torchaudio", name, partial(_made, "torchaudio.models", name, options, call), shape)


# diffusers

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


def _diffusers() -> Iterator[Entry]:
    vq = {"in_channels": 3, "out_channels": 3, **_CODER, **_SMALL, "latent_channels": 4, "num_vq_embeddings": 12}
    entries: list[tuple[str, str, dict[str, Any], tuple[int, ...], Any]] = [
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
    for name, kind, options, shape, call in entries:
        yield Entry("diffusers", name, partial(_made, "diffusers", kind, options, call), shape)


# snntorch


class Spiking(nn.Module):
    """Two layers of spiking neurons over a few steps of time, as its tutorials write them."""

    def __init__(self, neuron: str, options: dict[str, Any], states: int) -> None:
        super().__init__()
        make = getattr(import_module("snntorch"), neuron)
        self.conv, self.pool, self.read = nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Linear(4 * 5 * 5, 3)
        wide = {"all_to_all": False} if neuron.startswith("R") else {}
        self.one, self.two = make(**options, **wide), make(**options, **wide)
        self.recurrent, self.states = neuron.startswith("R"), states

    def forward(self, x: Tensor) -> Tensor:
        current = self.pool(self.conv(x))
        first = [torch.zeros_like(current) for _ in range(self.states)]
        second: list[Tensor] = []
        membranes = []
        for _ in range(3):
            spikes, *first = self.one(current, *first)
            read = self.read(spikes.flatten(1))
            second = second or [torch.zeros_like(read) for _ in range(self.states)]
            _, *second = self.two(read, *second)
            membranes.append(second[-1])
        return torch.stack(membranes, 1).mean(1)


def _snntorch() -> Iterator[Entry]:
    entries: list[tuple[str, dict[str, Any], int]] = [
        ("Leaky", {"beta": 0.9}, 1),
        ("Leaky, reset to zero", {"beta": 0.9, "reset_mechanism": "zero"}, 1),
        ("Leaky, learned", {"beta": 0.8, "learn_beta": True, "learn_threshold": True}, 1),
        ("Lapicque", {"beta": 0.9}, 1),
        ("Synaptic", {"alpha": 0.9, "beta": 0.8}, 2),
        ("Alpha", {"alpha": 0.9, "beta": 0.8}, 3),
    ]
    for name, options, states in entries:
        yield Entry("snntorch", name, partial(Spiking, name.partition(",")[0], options, states), (1, 12, 12))


# vit-pytorch

_VIT = {"image_size": 32, "patch_size": 8, "num_classes": 5, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24}
_SIMPLE = """
simple_vit.SimpleViT simple_vit_with_fft.SimpleViT simple_vit_with_qk_norm.SimpleViT simple_vit_with_register_tokens.SimpleViT
simple_vit_with_patch_dropout.SimpleViT simple_vit_with_value_residual.SimpleViT
simple_flash_attn_vit.SimpleViT vit.ViT deepvit.DeepViT parallel_vit.ViT normalized_vit.nViT rvt.RvT
vit_for_small_dataset.ViT vit_with_patch_dropout.ViT vit_with_patch_merger.ViT jumbo_vit.JumboViT simple_uvit.SimpleUViT
learnable_memory_vit.ViT vit_with_decorr.ViT
"""
_MORE_OPTIONS = {
    "simple_vit_with_fft": {"freq_patch_size": 8},
    "simple_vit_with_patch_dropout": {"patch_dropout": 0.25},
    "simple_vit_with_register_tokens": {"num_register_tokens": 2},
    "vit_with_patch_merger": {"patch_merge_layer": 1, "patch_merge_num_tokens": 4},
    "jumbo_vit": {"num_jumbo_cls": 1, "jumbo_cls_k": 2, "jumbo_ff_mult": 2},
}


def _vit() -> Iterator[Entry]:
    for path in _SIMPLE.split():
        module, _, kind = path.partition(".")
        options = {**_VIT, **_MORE_OPTIONS.get(module, {})}
        yield Entry(
            "vit-pytorch", f"{module}.{kind}", partial(_made, f"vit_pytorch.{module}", kind, options), (3, 32, 32)
        )
    entries: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
        ("cait.CaiT", {**_VIT, "cls_depth": 1}, (3, 32, 32)),
        ("xcit.XCiT", {**_VIT, "cls_depth": 1}, (3, 32, 32)),
        ("t2t.T2TViT", {"dim": 16, "image_size": 32, "depth": 2, "heads": 2, "mlp_dim": 24, "num_classes": 5, "t2t_layers": ((7, 4), (3, 2))}, (3, 32, 32)),
        ("cct.CCT", {"img_size": 32, "embedding_dim": 16, "n_conv_layers": 2, "num_layers": 2, "num_heads": 2, "mlp_ratio": 2, "num_classes": 5}, (3, 32, 32)),
        ("cross_vit.CrossViT", {"image_size": 32, "num_classes": 5, "depth": 1, "sm_dim": 16, "sm_patch_size": 8, "sm_enc_depth": 1, "sm_enc_heads": 2, "sm_enc_mlp_dim": 24, "lg_dim": 16, "lg_patch_size": 16, "lg_enc_depth": 1, "lg_enc_heads": 2, "lg_enc_mlp_dim": 24, "cross_attn_depth": 1, "cross_attn_heads": 2}, (3, 32, 32)),
        ("pit.PiT", {"image_size": 64, "patch_size": 16, "dim": 16, "num_classes": 5, "depth": (1, 1, 1), "heads": 2, "mlp_dim": 24}, (3, 64, 64)),
        ("levit.LeViT", {"image_size": 64, "num_classes": 5, "stages": 2, "dim": (16, 24), "depth": 1, "heads": (2, 2), "mlp_mult": 2}, (3, 64, 64)),
        ("cvt.CvT", {"num_classes": 5, "s1_emb_dim": 8, "s2_emb_dim": 8, "s3_emb_dim": 16, "s2_heads": 1, "s3_heads": 2, "s2_depth": 1, "s3_depth": 1}, (3, 48, 48)),
        ("twins_svt.TwinsSVT", {"num_classes": 5, "s1_emb_dim": 8, "s1_local_patch_size": 2, "s1_global_k": 2, "s2_emb_dim": 8, "s2_local_patch_size": 2, "s2_global_k": 2, "s3_emb_dim": 8, "s3_depth": 1, "s3_local_patch_size": 2, "s3_global_k": 2, "s4_emb_dim": 16, "s4_depth": 1, "s4_local_patch_size": 1, "s4_global_k": 1}, (3, 64, 64)),
        ("regionvit.RegionViT", {"dim": (8, 8, 16, 16), "depth": (1, 1, 1, 1), "window_size": 2, "num_classes": 5}, (3, 64, 64)),
        ("crossformer.CrossFormer", {"num_classes": 5, "dim": (32, 32, 64, 64), "depth": (1, 1, 1, 1), "global_window_size": (4, 2, 2, 1), "local_window_size": 1}, (3, 64, 64)),
        ("scalable_vit.ScalableViT", {"num_classes": 5, "dim": 8, "heads": (1, 1, 2, 2), "depth": (1, 1, 1, 1), "ssa_dim_key": (8, 8, 8, 8), "reduction_factor": (2, 2, 1, 1), "window_size": (4, 4, None, None)}, (3, 64, 64)),
        ("sep_vit.SepViT", {"num_classes": 5, "dim": 8, "dim_head": 8, "heads": (1, 1, 2, 2), "depth": (1, 1, 1, 1), "window_size": 7}, (3, 224, 224)),
        ("max_vit.MaxViT", {"num_classes": 5, "dim": 8, "dim_conv_stem": 8, "dim_head": 8, "depth": (1, 1), "window_size": 4}, (3, 64, 64)),
        ("nest.NesT", {"image_size": 32, "patch_size": 4, "dim": 8, "heads": 2, "num_hierarchies": 2, "block_repeats": (1, 1), "num_classes": 5}, (3, 32, 32)),
        ("mobile_vit.MobileViT", {"image_size": (64, 64), "dims": [12, 16, 20], "channels": [8, 8, 8, 8, 12, 12, 16, 16, 20, 20, 24], "num_classes": 5, "depths": (1, 1, 1)}, (3, 64, 64)),
        ("ats_vit.ViT", {**_VIT, "max_tokens_per_depth": (8, 6)}, (3, 32, 32)),
        ("look_vit.LookViT", {"dim": 16, "image_size": 32, "patch_size": 8, "num_classes": 5, "depth": 1, "heads": 2, "dim_head": 8, "highres_patch_size": 4}, (3, 32, 32)),
        ("simple_vit_1d.SimpleViT", {"seq_len": 64, "patch_size": 8, "num_classes": 5, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24}, (3, 64)),
        ("vit_3d.ViT", {"image_size": 16, "image_patch_size": 8, "frames": 4, "frame_patch_size": 2, "num_classes": 5, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24}, (3, 4, 16, 16)),
    ]  # fmt: skip
    for path, options, shape in entries:
        module, _, kind = path.partition(".")
        yield Entry("vit-pytorch", path, partial(_made, f"vit_pytorch.{module}", kind, options), shape)
