"""Layers and functions of networks."""

# ruff: noqa: PLC3002

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.helpers.code_snippets.common import CUBE, MATRIX, PLANE, WEIGHT, Snippet

CODE: dict[str, Snippet] = {
    "grid_sample": lambda h: F.grid_sample(
        h, torch.linspace(-1, 1, 24, dtype=h.dtype).view(1, 3, 4, 2).expand(len(h), -1, -1, -1), align_corners=False
    ),
    "affine_grid": lambda h: F.grid_sample(
        h,
        F.affine_grid(torch.eye(2, 3, dtype=h.dtype).expand(len(h), -1, -1), h.shape, align_corners=False),
        align_corners=False,
    ),
    "a spatial transformer": lambda h: F.grid_sample(
        h,
        F.affine_grid(
            torch.eye(2, 3, dtype=h.dtype) + 0.1 * h.mean((1, 2, 3))[:, None, None].tanh(), h.shape, align_corners=False
        ),
        align_corners=False,
    ),
    "warped by a flow": lambda h: F.grid_sample(
        h,
        torch.stack(
            torch.meshgrid(
                torch.linspace(-1, 1, 8, dtype=h.dtype), torch.linspace(-1, 1, 6, dtype=h.dtype), indexing="ij"
            )[::-1],
            -1,
        )
        + 0.1 * h[:, :2].movedim(1, -1),
        align_corners=True,
    ),
    "upsampled to a size": lambda h: F.interpolate(h, (11, 9), mode="bilinear"),
    "max_unpool2d": lambda h: F.max_unpool2d(*F.max_pool2d(h, 2, return_indices=True), 2),
    "max_pool2d with its indices as numbers": lambda h: (lambda y, i: y * (i % 6).double())(
        *F.max_pool2d(h, 2, return_indices=True)
    ),
    "adaptive max pooling's indices": lambda h: (lambda y, i: y + i.to(y) / 48)(
        *F.adaptive_max_pool2d(h, 3, return_indices=True)
    ),
    "lp_pool2d": lambda h: F.lp_pool2d(h.abs() + 0.1, 2, 2),
    "a glu": lambda h: F.glu(torch.cat([h, h], 1), 1),
    "local_response_norm by hand": lambda h: (
        h / (1 + F.avg_pool3d((h**2)[:, None], (3, 1, 1), 1, (1, 0, 0))[:, 0]) ** 0.75
    ),
    "rms norm": lambda h: h * torch.rsqrt(h.pow(2).mean(1, keepdim=True) + 1e-5),
    "F.rms_norm": lambda h: F.rms_norm(h, (6,)),
    "F.layer_norm": lambda h: F.layer_norm(h, (4, 8, 6)),
    "F.group_norm": lambda h: F.group_norm(h, 2),
    "F.linear": lambda h: F.linear(h, PLANE, PLANE[:, 0]),
    "F.bilinear": lambda h: F.bilinear(h, h.flip(2), CUBE),
    "a kernel made from the image": lambda h: (
        F.conv2d(h, h.mean((0, 2, 3))[:, None, None, None] * WEIGHT, padding=1) if len(h) == 1 else h
    ),
    "dynamic filters by groups": lambda h: F.conv2d(
        h.reshape(1, -1, 8, 6), (h.mean((2, 3)).reshape(-1, 1, 1, 1) * WEIGHT[:1, :1]), groups=h.shape[0] * 4, padding=1
    ).reshape(h.shape),
    "F.linear(z, z)": lambda h: h * F.linear(h[0, 0], h[0, 0]).mean() if len(h) == 1 else h,
    "F.linear(z, another)": lambda h: h * F.linear(h[0, 0], h[0, 1]).mean() if len(h) == 1 else h,
    "attention": lambda h: F.scaled_dot_product_attention(
        h.flatten(2).mT[:, None], h.flatten(2).mT[:, None] * 2, h.flatten(2).mT[:, None]
    )[:, 0].mT.reshape(h.shape),
    "attention with a mask": lambda h: F.scaled_dot_product_attention(
        h, h * 2, h, attn_mask=torch.ones(8, 8, dtype=torch.bool).tril()
    ),
    "attention, causal": lambda h: F.scaled_dot_product_attention(h, h, h, is_causal=True, scale=0.3),
    "attention with a learnt bias": lambda h: F.scaled_dot_product_attention(h, h, h, attn_mask=h @ h.mT),
    "squeeze and excitation": lambda h: h * torch.sigmoid(F.linear(h.mean((2, 3)), MATRIX))[..., None, None],
    "dropout in eval": lambda h: F.dropout(h, 0.5, training=False),
    "conv1d of rows": lambda h: F.conv1d(h.flatten(2), WEIGHT[:, :, 0], padding=1).view(h.shape),
    "conv_transpose2d": lambda h: F.conv_transpose2d(h, WEIGHT, stride=2, padding=1),
    "conv2d padding valid, stride 2": lambda h: F.conv2d(h, WEIGHT, stride=2, padding="valid"),
    "conv2d padding same": lambda h: F.conv2d(h, WEIGHT, padding="same", dilation=2),
    "conv2d padding same, even": lambda h: F.conv2d(h, WEIGHT[:, :, :2], padding="same"),
    "conv2d stride (2,)": lambda h: F.conv2d(h, WEIGHT, stride=(2,), padding=(1,), dilation=(1,)),
    "conv3d of one slice": lambda h: F.conv3d(h[:, :, None], WEIGHT[:, :, None], padding="valid", stride=1)[:, :, 0],
    "max_pool2d kernel (2,)": lambda h: F.max_pool2d(h, (2,), (1,)),
    "avg_pool2d kernel (2,)": lambda h: F.avg_pool2d(h, (2,), stride=(2,)),
    "separable convolution": lambda h: F.conv2d(
        F.conv2d(h, WEIGHT[:, :1], groups=4, padding=1), MATRIX[..., None, None]
    ),
    "a blur pool": lambda h: F.conv2d(
        F.pad(h, (1, 1, 1, 1), "reflect"), torch.ones(4, 1, 3, 3, dtype=h.dtype) / 9, stride=2, groups=4
    ),
    "a fixed random projection": lambda h: h + F.conv2d(h, WEIGHT.sign(), padding=1) * 0.1,
}
