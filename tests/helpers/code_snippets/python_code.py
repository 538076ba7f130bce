"""Python around the tensors: containers, loops, closures, scripts, losses."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import warnings
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers.code_snippets.common import MASK, OTHER, Snippet, fresh

CODE: dict[str, Snippet] = {}


def code(function: Snippet) -> Snippet:
    """Enter a function of several lines, under its own name."""
    CODE[function.__name__.replace("_", " ").strip()] = function
    return function


class Pair(NamedTuple):
    maps: Tensor
    scale: Tensor | None


@dataclasses.dataclass
class Features:
    maps: Tensor
    name: str = "features"


def _pair(h: Tensor) -> Pair:
    return Pair(h * 2, None)


@code
def a_named_tuple(h: Tensor) -> Tensor:
    return _pair(h).maps


@code
def a_dataclass(h: Tensor) -> Tensor:
    return dataclasses.replace(Features(h), maps=h * 2).maps


@code
def a_dictionary(h: Tensor) -> Tensor:
    found = {"maps": h * 2, "none": None}
    found.update(maps=found["maps"] + 1)
    return found["maps"]


@code
def a_deque(h: Tensor) -> Tensor:
    queue = collections.deque([h], maxlen=2)
    for _ in range(3):
        queue.append(queue[-1] * 1.5 + queue[0])
    return queue.pop()


@code
def a_generator(h: Tensor) -> Tensor:
    return sum(part * i for i, part in enumerate(one * 2 for one in (h, h.flip(2))))


@code
def a_set_of_tensors(h: Tensor) -> Tensor:
    return sum(sorted({h, h * 2}, key=lambda one: float(one.abs().sum())))


@code
def a_list_written(h: Tensor) -> Tensor:
    parts = list(h.unbind(1))
    parts[1] = parts[0] * parts[2]
    parts.append(parts.pop(0))
    return torch.stack(parts, 1)


@code
def maps_written_by_slices(h: Tensor) -> Tensor:
    made = torch.zeros_like(h)
    made[:, :2] = h[:, 2:]
    made[:, 2:, ::2] = h[:, :2, ::2] * 2
    made[..., -1] += 1
    return made


@code
def a_mask_assignment(h: Tensor) -> Tensor:
    made = fresh(h)
    made[made > 0.5] = 0.5
    return made


@code
def a_mask_assignment_of_values(h: Tensor) -> Tensor:
    made = fresh(h)
    mask = MASK.expand_as(h)
    made[mask] = made[mask] * 2
    return made


@code
def an_index_assignment(h: Tensor) -> Tensor:
    made = fresh(h)
    made[:, [0, 2]] = made[:, [1, 3]] * 3
    return made


@code
def a_long_loop(h: Tensor) -> Tensor:
    for i in range(20):
        h = h + 0.01 * h.flip(2) * i
    return h


@code
def a_buffer_filled_row_by_row(h: Tensor) -> Tensor:
    made = h.new_empty(h.shape)
    for i in range(h.shape[2]):
        made[:, :, i] = h[:, :, i] * (i + 1)
    return made


@code
def a_recurrence(h: Tensor) -> Tensor:
    state = torch.zeros_like(h[:, :, 0])
    rows = []
    for row in h.unbind(2):
        state = torch.tanh(row + 0.5 * state)
        rows.append(state)
    return torch.stack(rows, 2)


@code
def a_closure(h: Tensor) -> Tensor:
    scale = h.mean((1, 2, 3), keepdim=True)

    def scaled(x: Tensor) -> Tensor:
        return x * scale

    return scaled(h)


@code
def a_context_manager(h: Tensor) -> Tensor:
    with contextlib.nullcontext(h * 2) as made:
        return made


@code
def torch_jit_script_function(h: Tensor) -> Tensor:
    return _scripted(h)


def _gelu(h: Tensor) -> Tensor:
    return h * torch.sigmoid(1.702 * h)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # scripting is deprecated, and used
    _scripted = torch.jit.script(_gelu)


@code
def a_loss_beside(h: Tensor) -> Tensor:
    loss = F.mse_loss(h, h.flip(2))
    return h / (1 + loss) if len(h) == 1 else h


@code
def several_losses(h: Tensor) -> Tensor:
    if len(h) > 1:
        return h
    target = OTHER
    losses = [
        F.l1_loss(h, target),
        F.smooth_l1_loss(h, target),
        F.huber_loss(h, target),
        F.cross_entropy(h, torch.zeros(len(h), 8, 6, dtype=torch.long)),
        F.nll_loss(h.log_softmax(1), torch.zeros(len(h), 8, 6, dtype=torch.long)),
        F.binary_cross_entropy_with_logits(h, torch.ones_like(h)),
        F.binary_cross_entropy(h.sigmoid(), torch.ones_like(h)),
        F.kl_div(h.log_softmax(1), OTHER.softmax(1).expand_as(h), reduction="batchmean"),
        F.poisson_nll_loss(h, torch.ones_like(h)),
        F.gaussian_nll_loss(h, torch.zeros_like(h), torch.ones_like(h)),
        F.soft_margin_loss(h, torch.ones_like(h)),
        F.hinge_embedding_loss(h, torch.ones_like(h)),
        F.cosine_embedding_loss(h[0].flatten(1), h[0].flip(1).flatten(1), torch.ones(4)),
        F.margin_ranking_loss(h, h.flip(2), torch.ones_like(h)),
        F.triplet_margin_loss(h, h.flip(2), h.flip(3)),
        F.multi_margin_loss(h[0].flatten(1), torch.zeros(4, dtype=torch.long)),
        F.multilabel_margin_loss(h[0].flatten(1)[:, :3], torch.tensor([[0, -1, -1]] * 4)),
        F.multilabel_soft_margin_loss(h, torch.ones_like(h)),
        F.ctc_loss(h.flatten(2).permute(2, 0, 1).log_softmax(2), torch.ones(1, 3, dtype=torch.long), (48,), (3,)),
    ]
    return h * sum(losses)
