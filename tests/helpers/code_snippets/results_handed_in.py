"""Results passed as `out=`, which autograd does not support, each with an equivalent that it supports."""

# ruff: noqa: PLC3002

from __future__ import annotations

import torch

from tests.helpers.code_snippets.common import OTHER, PLANE, Snippet, fresh

CODE: dict[str, Snippet] = {}
PLAIN: dict[str, Snippet] = {}

for _name, _function, _plain in (
    ("torch.add(out=)", lambda h: torch.add(h, OTHER, out=torch.empty_like(h)), lambda h: h + OTHER),
    ("torch.mul(out=)", lambda h: torch.mul(h, OTHER, out=torch.empty_like(h)), lambda h: h * OTHER),
    (
        "torch.matmul(out=)",
        lambda h: torch.matmul(h, PLANE.mT, out=h.new_empty(*h.shape[:3], 8)),
        lambda h: h @ PLANE.mT,
    ),
    ("torch.sum(out=)", lambda h: h * torch.sum(h, 1, True, out=h.new_empty(0)), lambda h: h * h.sum(1, True)),
    ("torch.cat(out=)", lambda h: torch.cat([h, h * 2], 2, out=h.new_empty(0)), lambda h: torch.cat([h, h * 2], 2)),
    (
        "torch.stack(out=)",
        lambda h: torch.stack([h, h * 2], 2, out=h.new_empty(0)).flatten(2, 3),
        lambda h: torch.stack([h, h * 2], 2).flatten(2, 3),
    ),
    ("torch.sin(out=h)", lambda h: torch.sin(h, out=fresh(h)), torch.sin),
    (
        "torch.sub(out=a part)",
        lambda h: (lambda made: (torch.sub(h[:, 0], 1, out=made[:, 1]), made)[1])(fresh(h)),
        lambda h: torch.cat([h[:, :1], h[:, :1] - 1, h[:, 2:]], 1),
    ),
    (
        "torch.max(out=)",
        lambda h: h + torch.max(h, 1, True, out=(h.new_empty(0), h.new_empty(0, dtype=torch.long)))[0],
        lambda h: h + h.max(1, True)[0],
    ),
    (
        "torch.sort(out=)",
        lambda h: torch.sort(h, 1, out=(torch.empty_like(h), torch.empty_like(h, dtype=torch.long)))[0],
        lambda h: h.sort(1)[0],
    ),
    ("torch.pow(out=)", lambda h: torch.pow(h, 2, out=torch.empty_like(h)), lambda h: h**2),
    ("torch.clamp(out=)", lambda h: torch.clamp(h, -0.5, 0.5, out=torch.empty_like(h)), lambda h: h.clamp(-0.5, 0.5)),
    (
        "torch.bmm(out=)",
        lambda h: h @ torch.bmm(h[:, 0].mT, h[:, 1], out=h.new_empty(len(h), 6, 6))[:, None],
        lambda h: h @ (h[:, 0].mT @ h[:, 1])[:, None],
    ),
):
    CODE[_name], PLAIN[_name] = _function, _plain
