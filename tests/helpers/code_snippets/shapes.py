"""Reshaping, indexing, joining."""

# ruff: noqa: PLC3002

from __future__ import annotations

import functools
import itertools
import operator

import torch
import torch.nn.functional as F

from tests.helpers.code_snippets.common import MATRIX, PLANE, ROW, WEIGHT, Snippet, fresh

CODE: dict[str, Snippet] = {
    "einsum of channels": lambda h: torch.einsum("nchw,cd->ndhw", h, MATRIX),
    "einsum of a pair": lambda h: torch.einsum("nchw,ncvw->nchv", h, h),
    "einsum with dots": lambda h: torch.einsum("...hw,wv->...hv", h, PLANE[:6]),
    "einsum of a trace": lambda h: h * torch.einsum("ncii->nc", h[:, :, :6])[..., None, None],
    "outer product": lambda h: torch.einsum("nch,ncw->nchw", h.mean(3), h.mean(2)),
    "patches to tokens and back": lambda h: (
        h.reshape(-1, 4, 4, 2, 3, 2)
        .permute(0, 2, 4, 3, 5, 1)
        .reshape(len(h), 12, 16)
        .softmax(1)
        .reshape(-1, 4, 3, 2, 2, 4)
        .permute(0, 5, 1, 3, 2, 4)
        .reshape(h.shape)
    ),
    "tokens": lambda h: h.flatten(2).transpose(1, 2).matmul(MATRIX).transpose(1, 2).reshape(h.shape),
    "channels last and back": lambda h: (h.permute(0, 2, 3, 1).contiguous() @ MATRIX).permute(0, 3, 1, 2),
    "unflatten and flatten": lambda h: h.unflatten(1, (2, 2)).sum(1, keepdim=True).flatten(1, 2).repeat(1, 2, 1, 1),
    "movedim": lambda h: h.movedim(1, -1).cumsum(-1).movedim(-1, 1),
    "swapaxes": lambda h: h.swapaxes(2, 3) * 2,
    "T of tokens": lambda h: h.flatten(2).mT.reshape(h.shape),
    "ravel": lambda h: h.ravel().reshape(h.shape) * 2,
    "view_as": lambda h: (h.reshape(len(h), -1) * 2).view_as(h),
    "expand_as": lambda h: h.mean(1, keepdim=True).expand_as(h),
    "broadcast_to": lambda h: torch.broadcast_to(h.mean(1, keepdim=True), h.shape),
    "tile": lambda h: h[:, :2].tile(1, 2, 1, 1),
    "repeat_interleave": lambda h: h[:, :2].repeat_interleave(2, 1),
    "repeat_interleave by a tensor": lambda h: h[:, :2].repeat_interleave(torch.tensor([1, 3]), 1),
    "roll of everything": lambda h: h.roll(3) if len(h) == 1 else h.roll(3, 3),
    "rot90": lambda h: torch.rot90(h, 2, (2, 3)),
    "flipud of maps": lambda h: h.flip((2, 3)),
    "tensor_split": lambda h: torch.cat(torch.tensor_split(h, 3, 2)[::-1], 2),
    "hsplit and hstack": lambda h: torch.hstack(torch.hsplit(h, 2)[::-1]),
    "dsplit and dstack": lambda h: torch.dstack(torch.dsplit(h, 2)[::-1]),
    "chunk, written": lambda h: (lambda made: (made.chunk(2, 1)[0].mul_(3), made)[1])(fresh(h)),
    "split, written": lambda h: (lambda made: (made.split([1, 3], 1)[1].add_(h[:, :1]), made)[1])(fresh(h)),
    "unbind, summed": lambda h: sum(h.unbind(1))[:, None].expand(-1, 4, -1, -1),
    "narrow": lambda h: h.narrow(2, 1, 5),
    "take_along_dim": lambda h: h.take_along_dim(h.argsort(1), 1),
    "take": lambda h: h[:, :, :, :] * h.take(torch.tensor([0, 1])).sum() if len(h) == 1 else h,
    "index by two lists": lambda h: h[:, [0, 2, 1, 1]][:, :, [1, 0, 3]],
    "index by a mask of channels": lambda h: torch.cat([h[:, torch.tensor([True, False, True, False])]] * 2, 1),
    "index by a tensor of two axes": lambda h: h[:, torch.tensor([[0, 1], [2, 3]])].flatten(1, 2),
    "index by a list in two axes": lambda h: h[:, :, [0, 1, 2], [2, 1, 0]][..., None],
    "an ellipsis and None": lambda h: h[..., None, ::2].squeeze(3)[:, :, 1:-1],
    "negative steps by flip": lambda h: h[:, :, ::2].flip(2),
    "diagonal": lambda h: torch.diag_embed(h[:, :, :6].diagonal(0, 2, 3)),
    "tril of maps": lambda h: h.tril(-1) + h.triu(1),
    "unfold and fold": lambda h: F.fold(F.unfold(h, 3) * 2, (8, 6), 3),
    "sliding windows": lambda h: h.unfold(2, 3, 1).unfold(3, 3, 1).mean((-1, -2)),
    "as_strided": lambda h: fresh(h).as_strided(h.shape, (192, 48, 6, 1)),
    "pixel shuffles": lambda h: F.pixel_unshuffle(F.pixel_shuffle(h, 2), 2),
    "space to depth by slices": lambda h: (
        h[:, :, ::2, ::2] + h[:, :, 1::2, ::2] + h[:, :, ::2, 1::2] + h[:, :, 1::2, 1::2]
    ),
    "pad by one": lambda h: F.pad(h, (1, 1, 1, 1), value=0.3),
    "pad negative": lambda h: F.pad(h, (-1, 1, 0, -2)),
    "pad reflect": lambda h: F.pad(h, (1, 1, 1, 1), mode="reflect"),
    "pad circular": lambda h: F.pad(h, (1, 1, 1, 1), mode="circular"),
    "block of a vector": lambda h: h + torch.block_diag(ROW[None, :3], ROW[None, 3:]).sum(0),
    "meshgrid as a constant": lambda h: h * torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")[0],
    "coordinates joined": lambda h: F.conv2d(
        torch.cat([h, torch.linspace(-1, 1, 6, dtype=h.dtype).expand(len(h), 1, 8, 6)], 1),
        torch.ones(4, 5, 1, 1, dtype=h.dtype),
    ),
    "one hot as a constant": lambda h: h * F.one_hot(torch.tensor(1), 4)[:, None, None],
    "one hot of the strongest": lambda h: h * F.one_hot(h.flatten(1).argmax(1) % 4, 4)[..., None, None],
    "cartesian loops": lambda h: torch.stack([h[:, i] * h[:, j] for i, j in itertools.product(range(2), range(2))], 1),
    "reduce by operator": lambda h: functools.reduce(operator.mul, h.split(1, 1)).expand(-1, 4, -1, -1),
    "python's sum and max": lambda h: sum([h, h * 2]) * max(1.5, 0.5),
    "a squeeze without axis": lambda h: h + h.mean((2, 3), keepdim=True).squeeze().reshape(len(h), 4, 1, 1),
    "a loop over samples": lambda h: torch.stack([one * 2 for one in h]),
    "a loop over rows": lambda h: torch.stack([h[:, :, i] * (i + 1) for i in range(8)], 2),
    "batch axis moved for time": lambda h: h.flatten(2).permute(2, 0, 1).cumsum(0).permute(1, 2, 0).reshape(h.shape),
    "frames folded": lambda h: (
        F.conv2d(h.unflatten(1, (2, 2)).flatten(0, 1), WEIGHT[:2, :2], padding=1).unflatten(0, (-1, 2)).flatten(1, 2)
    ),
    "channels as samples": lambda h: F.conv2d(h.reshape(-1, 1, 8, 6), WEIGHT[:1, :1], padding=1).reshape(h.shape),
    "batch as groups": lambda h: F.conv2d(
        h.reshape(1, -1, 8, 6), WEIGHT[:, :1].repeat(len(h), 1, 1, 1), groups=4 * len(h), padding=1
    ).reshape(h.shape),
    "batch axis last": lambda h: (h.permute(1, 2, 3, 0) * 2).permute(3, 0, 1, 2),
}
