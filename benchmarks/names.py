"""The architectures of the coverage table, as data: names and small configurations."""

from __future__ import annotations

from typing import Any

DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
)

# timm's names of small variants: name, or name@size if the input is not 96 pixels; ! if the model needs to be told.
TIMM = """
resnet10t resnet18 resnet18d resnet26t resnet50d resnetaa34d resnetblur18 resnetrs50 resnext50_32x4d
resnext50d_32x4d seresnet18 seresnext26d_32x4d seresnet50t ecaresnet26t ecaresnext26t_32x4d ecaresnetlight
wide_resnet50_2 resnet50_gn test_resnet senet154 resnetv2_18 resnetv2_50d resnetv2_50x1_bit resnetv2_50d_gn
resnetv2_50d_evos resnetv2_50d_frn legacy_seresnet18 legacy_seresnext26_32x4d legacy_senet154 res2net50_14w_8s
res2net50d res2next50 resnest14d resnest26d resnest50d_4s2x40d skresnet18 skresnet50d skresnext50_32x4d
regnetx_002 regnetx_004_tv regnety_002 regnety_004 regnety_040_sgn regnetz_005 regnetz_040_h regnetv_040
regnetz_b16 regnetz_b16_evos regnetz_d8 efficientnet_b0 efficientnet_b1_pruned efficientnet_b0_gn
efficientnet_b0_g16_evos efficientnet_blur_b0 efficientnet_cc_b0_4e efficientnet_es efficientnet_lite0
efficientnetv2_rw_t efficientnetv2_s gc_efficientnetv2_rw_t efficientnet_h_b5 efficientnet_x_b3
tf_efficientnet_b0 tf_efficientnetv2_b0 tf_efficientnet_lite0 mixnet_s tf_mixnet_s mnasnet_small semnasnet_050
spnasnet_100 fbnetc_100 mobilenet_edgetpu_v2_xs tinynet_e tinynet_a mobilenetv1_100 mobilenetv2_050
mobilenetv2_110d mobilenetv3_small_050 mobilenetv3_large_100 mobilenetv3_rw tf_mobilenetv3_small_minimal_100
fbnetv3_b lcnet_050 lcnet_100 lcnetv2_small mobilenetv4_conv_small mobilenetv4_conv_medium
mobilenetv4_conv_aa_medium mobilenetv4_conv_blur_medium mobilenetv4_hybrid_medium mobilenetv5_300m
mobilenetv5_base hardcorenas_a ghostnet_050 ghostnetv2_100 ghostnetv3_050 repghostnet_050 mobileone_s0
mobileone_s4 repvgg_a0 repvgg_d2se repvgg_b1g4 repvit_m0_9 densenet121 densenetblur121d dpn48b dpn68b dla34
dla46x_c dla60_res2net dla60x_c hrnet_w18_small hrnet_w18_ssld vovnet39a ese_vovnet19b_slim ese_vovnet19b_dw
eca_vovnet39b ese_vovnet39b_evos cspnext_tiny cspresnet50d cspresnext50 cspdarknet53 cs3darknet_s
cs3darknet_focus_s cs3sedarknet_xdw cs3se_edgenet_x darknet17 darknetaa53 sedarknet21 cs3edgenet_x fastvit_t8
fastvit_sa12 fastvit_mci0 fasternet_t0 starnet_s050 starnet_s1 shvit_s1 swiftformer_xs efficientformer_l1@224
efficientformerv2_s0@64! efficientvit_b0 efficientvit_l1 efficientvit_m0 efficientvim_m1 cpubone_nano
lowformer_b0 csatv2 iformer_t convnext_atto convnext_atto_rms convnext_femto_ols convnext_tiny_hnf
convnextv2_atto convnext_zepto_rms convmixer_768_32 convmixer_1024_20_ks9_p14 focalnet_tiny_srf
focalnet_tiny_lrf inception_next_atto mambaout_femto rdnet_tiny poolformer_s12 poolformerv2_s12 convformer_s18
caformer_s18 nfnet_f0 nfnet_l0 dm_nfnet_f0 eca_nfnet_l0 nf_regnet_b0 nf_resnet26 nf_seresnet26 nf_ecaresnet26
legacy_xception xception41 xception41p xception65 inception_v3 inception_v4 inception_resnet_v2 nasnetalarge
pnasnet5large selecsls42 selecsls42b selecsls60 rexnet_100 rexnetr_100 edgenext_xx_small edgenext_small_rw
coat_tiny@64! coat_lite_tiny@64! coatnet_pico_rw_224@64! coatnet_bn_0_rw_224@64! coatnet_nano_cc_224@64!
coatnet_rmlp_nano_rw_224@64! coatnext_nano_rw_224@64! maxvit_pico_rw_256@64! maxvit_rmlp_pico_rw_256@64!
maxvit_tiny_tf_224@64! maxxvit_rmlp_nano_rw_256@64! maxxvitv2_nano_rw_256@64! mobilevit_xxs mobilevitv2_050
levit_128s@64! levit_conv_128s@64! pvt_v2_b0 pvt_v2_b2_li twins_pcpvt_small twins_svt_small cait_xxs24_224@64!
visformer_tiny@64! nextvit_small convit_tiny@64! xcit_nano_12_p16_224 volo_d1_224@64! nest_tiny@64!
tnt_s_patch16_224@64! pit_ti_224@64! tiny_vit_5m_224 davit_tiny gcvit_xxtiny@64! crossvit_tiny_240
vitamin_small_224@64! hiera_tiny_224@64! mvitv2_tiny sequencer2d_s swin_tiny_patch4_window7_224@64!
swinv2_tiny_window8_256@64! swinv2_cr_tiny_224@64! vit_tiny_r_s16_p8_224@64! vit_small_resnet26d_224@64!
vit_base_mci_224@64! samvit_base_patch16_224 hieradet_small mixer_s16_224@64! resmlp_12_224@64!
gmlp_ti16_224@64! gmixer_12_224@64! vit_tiny_patch16_224@64! eva02_tiny_patch14_224@64!
deit_tiny_patch16_224@64! beit_base_patch16_224@64! gcresnet33ts gcresnext26ts resnext26ts eca_resnext26ts
seresnext26ts resnet32ts resnet33ts seresnet33ts resnet51q resnet50_clip resnet50_clip_gap resnet50_mlp
bat_resnext26ts@256 botnet26t_256@64! eca_botnext26ts_256@64! sebotnet33ts_256@64! halonet26t@256
eca_halonext26ts@256 sehalonet33ts@256 halo2botnet50ts_256@128! haloregnetz_b@224 lambda_resnet26t
lambda_resnet26rpt_256@64! lamhalobotnet50ts_256@128! tresnet_m tresnet_v2_l vgg11 vgg11_bn gernet_s gernet_m
hgnet_tiny hgnetv2_b0 naflexvit_base_patch16_gap
"""

# Model, configuration, its options (a pair is the name and the options of a nested configuration), shape, remark.
Entry = tuple[str, str, dict[str, Any], tuple[int, ...], str]
_SMALL = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 2, 2, 1]}
_SWIN = {"embed_dim": 24, "depths": [1, 2, 1], "num_heads": [2, 3, 4], "window_size": 4, "image_size": 64}
_BIT = {"num_groups": 4, "embedding_size": 32, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 2, 2, 1]}
_FOCAL = {"embed_dim": 24, "depths": [1, 2, 2, 1], "image_size": 64}
_FOCAL_ALL = {"use_conv_embed": True, "use_layerscale": True, "use_post_layernorm": True, "normalize_modulator": True}
_STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
_DETR = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "num_queries": 5, "encoder_ffn_dim": 64}
_DETR |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 64}
_MASK2 = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 64}
_MASK2 |= {"dim_feedforward": 64, "encoder_layers": 2, "decoder_layers": 3, "num_attention_heads": 4, "num_queries": 5}
_DPT = {"image_size": 64, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "patch_size": 8}
_DPT |= {"intermediate_size": 96, "backbone_out_indices": [0, 1, 2, 3], "fusion_hidden_size": 32}
_DPT |= {"neck_hidden_sizes": [16, 32, 48, 48]}
_RESNET18 = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
_RGB32, _RGB64, _RGB96 = (3, 32, 32), (3, 64, 64), (3, 96, 96)
_FEW = "few channels and blocks"
TRANSFORMERS: tuple[Entry, ...] = (
    ("ResNetForImageClassification", "ResNetConfig", {"embedding_size": 16} | _SMALL, _RGB64, _FEW),
    ("ResNetModel", "ResNetConfig", _RESNET18 | {"downsample_in_first_stage": True}, _RGB64, "18 layers"),
    ("ResNetBackbone", "ResNetConfig", _STAGES, _RGB64, ""),
    ("RegNetForImageClassification", "RegNetConfig", {"groups_width": 8} | _SMALL, _RGB64, _FEW),
    ("RegNetModel", "RegNetConfig", {"layer_type": "x", "groups_width": 8} | _SMALL, _RGB64, _FEW),
    ("ConvNextForImageClassification", "ConvNextConfig", _SMALL, _RGB64, _FEW),
    ("ConvNextBackbone", "ConvNextConfig", _SMALL | _STAGES, _RGB64, _FEW),
    ("ConvNextV2ForImageClassification", "ConvNextV2Config", _SMALL, _RGB64, _FEW),
    ("ConvNextV2Backbone", "ConvNextV2Config", _SMALL | _STAGES, _RGB64, _FEW),
    ("DINOv3ConvNextModel", "DINOv3ConvNextConfig", _SMALL, _RGB64, _FEW),
    ("MobileNetV1ForImageClassification", "MobileNetV1Config", {"depth_multiplier": 0.5}, _RGB64, "width 0.5"),
    ("MobileNetV2ForImageClassification", "MobileNetV2Config", {"depth_multiplier": 0.5}, _RGB64, "width 0.5"),
    ("MobileNetV2ForSemanticSegmentation", "MobileNetV2Config", {"depth_multiplier": 0.5}, _RGB96, "width 0.5"),
    (
        "EfficientNetForImageClassification",
        "EfficientNetConfig",
        {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
        _RGB96,
        "B0",
    ),
    (
        "AlignVisionModel",
        "AlignVisionConfig",
        {"width_coefficient": 0.5, "depth_coefficient": 0.5},
        _RGB64,
        "half size",
    ),
    ("BitForImageClassification", "BitConfig", _BIT, _RGB64, _FEW),
    ("BitModel", "BitConfig", _BIT | {"layer_type": "bottleneck", "global_padding": "SAME"}, _RGB64, _FEW),
    ("BitBackbone", "BitConfig", _BIT | _STAGES | {"embedding_dynamic_padding": True}, _RGB64, _FEW),
    ("FocalNetForImageClassification", "FocalNetConfig", _FOCAL, _RGB64, _FEW),
    ("FocalNetModel", "FocalNetConfig", _FOCAL | _FOCAL_ALL, _RGB64, _FEW),
    ("PoolFormerForImageClassification", "PoolFormerConfig", _SMALL, _RGB64, _FEW),
    ("LevitForImageClassification", "LevitConfig", {"image_size": 64}, _RGB64, ""),
    ("CvtForImageClassification", "CvtConfig", {"depth": [1, 2, 3]}, _RGB64, "few blocks"),
    ("SegformerForImageClassification", "SegformerConfig", {}, _RGB64, ""),
    ("SegformerForSemanticSegmentation", "SegformerConfig", {}, _RGB64, ""),
    ("SwinForImageClassification", "SwinConfig", _SWIN, _RGB64, _FEW),
    ("SwinBackbone", "SwinConfig", _SWIN | {"out_features": ["stage1", "stage2", "stage3"]}, _RGB64, _FEW),
    ("Swinv2ForImageClassification", "Swinv2Config", _SWIN, _RGB64, _FEW),
    ("DonutSwinModel", "DonutSwinConfig", _SWIN, _RGB64, _FEW),
    ("TextNetForImageClassification", "TextNetConfig", {}, _RGB64, ""),
    ("HGNetV2ForImageClassification", "HGNetV2Config", {}, _RGB64, ""),
    ("HGNetV2Backbone", "HGNetV2Config", _STAGES, _RGB64, ""),
    ("RTDetrResNetBackbone", "RTDetrResNetConfig", _STAGES, _RGB64, "50 layers"),
    ("RTDetrResNetBackbone", "RTDetrResNetConfig", _RESNET18 | _STAGES, _RGB64, "18 layers"),
    (
        "RTDetrForObjectDetection",
        "RTDetrConfig",
        {
            "backbone_config": ("RTDetrResNetConfig", _RESNET18 | {"out_features": ["stage2", "stage3", "stage4"]}),
            "encoder_in_channels": [128, 256, 512],
            "num_queries": 10,
            "decoder_layers": 2,
        },
        (3, 128, 128),
        "ResNet-18, two decoder layers",
    ),
    (
        "DetrForObjectDetection",
        "DetrConfig",
        {"backbone_config": ("ResNetConfig", {"embedding_size": 16, "out_features": ["stage4"]} | _SMALL)} | _DETR,
        _RGB64,
        f"ResNet, {_FEW}",
    ),
    (
        "MaskFormerForInstanceSegmentation",
        "MaskFormerConfig",
        {
            "backbone_config": ("ResNetConfig", {"embedding_size": 16} | _SMALL | _STAGES),
            "decoder_config": ("DetrConfig", _DETR),
            "fpn_feature_size": 32,
            "mask_feature_size": 32,
        },
        _RGB64,
        f"ResNet, {_FEW}",
    ),
    (
        "Mask2FormerModel",
        "Mask2FormerConfig",
        {"backbone_config": ("SwinConfig", _SWIN | _STAGES | {"depths": [1] * 4, "num_heads": [2] * 4})} | _MASK2,
        _RGB64,
        f"Swin, {_FEW}",
    ),
    (
        "UperNetForSemanticSegmentation",
        "UperNetConfig",
        {"backbone_config": ("ConvNextConfig", _SMALL | _STAGES), "hidden_size": 64, "auxiliary_in_channels": 48},
        _RGB64,
        f"ConvNeXt, {_FEW}",
    ),
    (
        "UperNetForSemanticSegmentation",
        "UperNetConfig",
        {"backbone_config": ("ResNetConfig", _STAGES), "hidden_size": 64, "auxiliary_in_channels": 1024},
        _RGB64,
        "ResNet-50",
    ),
    ("MobileViTForImageClassification", "MobileViTConfig", {"image_size": 64}, _RGB64, ""),
    ("MobileViTForSemanticSegmentation", "MobileViTConfig", {"image_size": 64}, _RGB64, ""),
    (
        "MobileViTV2ForImageClassification",
        "MobileViTV2Config",
        {"image_size": 64, "width_multiplier": 0.5},
        _RGB64,
        "width 0.5",
    ),
    (
        "MobileViTV2ForSemanticSegmentation",
        "MobileViTV2Config",
        {"image_size": 64, "width_multiplier": 0.5},
        _RGB64,
        "width 0.5",
    ),
    ("SwiftFormerForImageClassification", "SwiftFormerConfig", {}, _RGB64, ""),
    ("PvtForImageClassification", "PvtConfig", {"image_size": 64, "depths": [1, 2, 2, 1]}, _RGB64, "few blocks"),
    ("PvtV2ForImageClassification", "PvtV2Config", {"image_size": 64}, _RGB64, ""),
    (
        "PvtV2ForImageClassification",
        "PvtV2Config",
        {"image_size": 64, "linear_attention": True},
        _RGB64,
        "linear attention",
    ),
    ("HieraForImageClassification", "HieraConfig", {"image_size": [64, 64], "embed_dim": 24}, _RGB64, "few channels"),
    ("GLPNForDepthEstimation", "GLPNConfig", {}, _RGB64, ""),
    ("DPTForDepthEstimation", "DPTConfig", _DPT, _RGB64, _FEW),
    ("SuperPointForKeypointDetection", "SuperPointConfig", {}, _RGB64, ""),
    ("PPLCNetForImageClassification", "PPLCNetConfig", {}, _RGB64, ""),
    ("PPLCNetBackbone", "PPLCNetConfig", {}, _RGB64, ""),
    ("PPLCNetV3Backbone", "PPLCNetV3Config", {}, _RGB64, ""),
    ("PPLCNetV4Backbone", "PPLCNetV4Config", {}, _RGB64, ""),
    ("PPOCRV5MobileDetForObjectDetection", "PPOCRV5MobileDetConfig", {}, _RGB64, ""),
    (
        "Swin2SRForImageSuperResolution",
        "Swin2SRConfig",
        {"image_size": 32, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4},
        _RGB32,
        _FEW,
    ),
)
