"""Networks of vit-pytorch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.zoo.parts import Entry, made

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


def entries() -> Iterator[Entry]:
    for path in _SIMPLE.split():
        module, _, kind = path.partition(".")
        options = {**_VIT, **_MORE_OPTIONS.get(module, {})}
        yield Entry(
            "vit-pytorch", f"{module}.{kind}", partial(made, f"vit_pytorch.{module}", kind, options), (3, 32, 32)
        )
    networks: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
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
    for path, options, shape in networks:
        module, _, kind = path.partition(".")
        yield Entry("vit-pytorch", path, partial(made, f"vit_pytorch.{module}", kind, options), shape)
