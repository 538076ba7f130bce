"""Code that mixes the samples of a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tests.helpers.code_snippets.common import MASK, Snippet, fresh

CODE: dict[str, Snippet] = {
    "h - h.mean(0)": lambda h: h - h.mean(0),
    "softmax of the batch": lambda h: h.softmax(0),
    "cosine to the batch's mean": lambda h: h * F.cosine_similarity(h, h.mean(0, keepdim=True), 1)[:, None],
    "a kernel of the batch": lambda h: F.conv2d(h, h[:, :, 2:5, 2:5].repeat(4 // len(h), 1, 1, 1)),
    "renorm of channels": lambda h: torch.renorm(h, 2, 1, 0.5),
    "a weight norm along channels": lambda h: torch._weight_norm(h, h.mean((0, 2, 3), keepdim=True), 1),
    "cumsum of the batch": lambda h: h.cumsum(0),
    "sort of the batch": lambda h: h.sort(0).values,
    "a neighbour in the batch": lambda h: h + h.roll(1, 0),
    "roll of everything": lambda h: h.roll(3),
    "the first sample taken off": lambda h: h - h[:1],
    "similarities": lambda h: h * (h.flatten(1) @ h.flatten(1).T).sum(1)[:, None, None, None],
    "the batch in another order": lambda h: h[torch.arange(len(h) - 1, -1, -1)] + h,
    "the largest of all": lambda h: h / h.abs().max(),
    "a quantile of all": lambda h: h / torch.quantile(h, 0.9),
    "a loss of all": lambda h: h / (1 + F.mse_loss(h, h.flip(2))),
    "the place of the largest": lambda h: h * (h.argmax().double() + 1),
    "weights of a norm": lambda h: F.layer_norm(h, (6,), h.mean((0, 1, 2))),
    "weights of a linear layer": lambda h: F.linear(h, h[0, 0, :6]),
    "values for a mask": lambda h: h.masked_scatter(MASK.expand_as(h), h * 2),
    "an index of one row": lambda h: h.scatter(1, torch.zeros(1, 1, 8, 6, dtype=torch.long), h[:, 1:2]),
    "a write to the first sample": lambda h: fresh(h).index_fill(0, torch.tensor([0]), 0.5),
    "noise of attention": lambda h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.3),
}
