"""Networks of torchaudio."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.zoo.parts import Entry, first, made

_CODER = {"encoder_embed_dim": 16, "encoder_pos_conv_kernel": 5, "encoder_pos_conv_groups": 2, "encoder_num_layers": 2}
_CODER |= {"encoder_num_heads": 2, "encoder_ff_interm_features": 24, "encoder_layer_norm_first": False}
_DROPPED = {f"encoder_{of}dropout": 0.1 for of in ("", "projection_", "attention_", "ff_interm_")}
_WAV2VEC2 = {
    **{"extractor_mode": "group_norm", "extractor_conv_bias": False},
    "extractor_conv_layer_config": [(8, 10, 5), (8, 3, 2), (8, 2, 2)],
    **_CODER,
    **_DROPPED,
    **{"encoder_layer_drop": 0.0, "aux_num_out": 5},
}


def entries() -> Iterator[Entry]:
    conformer = {"input_dim": 8, "num_heads": 2, "ffn_dim": 16, "num_layers": 2, "depthwise_conv_kernel_size": 5}
    networks: list[tuple[str, dict[str, Any], tuple[int, ...], Any]] = [
        ("Wav2Letter", {"num_classes": 6, "num_features": 8, "input_type": "mfcc"}, (8, 60), None),
        ("DeepSpeech", {"n_feature": 8, "n_hidden": 12, "n_class": 5}, (1, 12, 8), None),
        ("ConvTasNet", {"num_sources": 2, "enc_num_feats": 8, "msk_num_feats": 6, "msk_num_hidden_feats": 8, "msk_num_layers": 2, "msk_num_stacks": 2}, (1, 320), None),
        ("Conformer", conformer, (14, 8), lambda net, x: net(x, torch.full((len(x),), 14))[0]),
        ("wav2vec2_model", _WAV2VEC2, (800,), first),
        ("HDemucs", {"sources": ["a", "b"], "audio_channels": 2, "channels": 4, "nfft": 256, "depth": 3}, (2, 2048), None),
        ("WaveRNN", {"upsample_scales": [2, 2], "n_classes": 6, "hop_length": 4, "n_res_block": 1, "n_rnn": 8, "n_fc": 8, "kernel_size": 5, "n_freq": 6, "n_hidden": 8, "n_output": 8}, (1, 6, 12), lambda net, x: net(x.new_zeros(len(x), 1, 32), x)),
    ]  # fmt: skip
    for name, options, shape, call in networks:
        yield Entry("torchaudio", name, partial(made, "torchaudio.models", name, options, call), shape)
