"""Short pieces of ordinary code, as people write them in the forward of a network, between two convolutions.

Each entry is a function from maps h, (N, 4, 8, 6) in double precision, to maps (N, 4, ...). Only those in `RECTIFIED`
have rectifiers, so for the others every style must agree with autograd. Where autograd does not support an entry,
`PLAIN` has an equivalent that it supports. Entries that mix the samples of a batch are in `MIXING`.
"""

from __future__ import annotations

import torch

from tests.helpers.code_snippets import (
    functions,
    layers,
    mixing,
    numbers,
    python_code,
    results_handed_in,
    shapes,
    spectra,
    writes,
)
from tests.helpers.code_snippets.common import Snippet

CODE: dict[str, Snippet] = {}
for _part in (writes, results_handed_in, shapes, numbers, layers, spectra, functions, python_code):
    CODE |= _part.CODE
PLAIN: dict[str, Snippet] = results_handed_in.PLAIN | {
    "h *= h": lambda h: h * h,
    "h /= its norm": lambda h: h / h.flatten(1).norm(dim=1)[:, None, None, None],
    "baddbmm_ of a part": lambda h: torch.stack([h[:, 0] + h[:, 1] @ h[:, 2, :6], *h.unbind(1)[1:]], 1),
    "logit_": lambda h: torch.logit(h.sigmoid().clamp(0.1, 0.9)),
    "chunk, written": lambda h: torch.cat([h[:, :2] * 3, h[:, 2:]], 1),
    "split, written": lambda h: torch.cat([h[:, :1], h[:, 1:] + h[:, :1]], 1),
    "checkpoint, reentrant": torch.sin,
}
RECTIFIED = {"lp_pool2d", "several losses"}  # rectifiers are a part of these, so that only the gradient is autograd's
MIXING = mixing.CODE
