"""Functions of numbers: softmax, norms, sorting, statistics."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from tests.helpers.code_snippets.common import MASK, OTHER, PLANE, ROW, WEIGHT, Snippet

CODE: dict[str, Snippet] = {
    "softmax of channels": lambda h: h.softmax(1),
    "log_softmax": lambda h: h.log_softmax(1),
    "softmax of places": lambda h: h.flatten(2).softmax(2).view(h.shape),
    "softmin": lambda h: F.softmin(h, 1),
    "logsumexp": lambda h: h - h.logsumexp(1, keepdim=True),
    "logaddexp": lambda h: torch.logaddexp(h, OTHER),
    "logcumsumexp": lambda h: h.logcumsumexp(2),
    "cosine_similarity": lambda h: h * F.cosine_similarity(h, h.flip(2), 1)[:, None],
    "pairwise_distance": lambda h: h * F.pairwise_distance(h.flatten(2), h.flip(2).flatten(2))[..., None, None],
    "cdist": lambda h: torch.cdist(h, h.flip(2) + 1),
    "normalize": lambda h: F.normalize(h, dim=1),
    "weight standardised": lambda h: F.conv2d(
        h, (WEIGHT - WEIGHT.mean((1, 2, 3), keepdim=True)) / WEIGHT.std((1, 2, 3), keepdim=True), padding=1
    ),
    "quantile": lambda h: h / torch.quantile(h.flatten(1), 0.9, 1)[:, None, None, None],
    "quantiles": lambda h: (
        h * torch.quantile(h.flatten(1), torch.tensor([0.2, 0.7], dtype=h.dtype), dim=1).sum(0)[:, None, None, None]
    ),
    "nanmean": lambda h: h - h.nanmean((2, 3), keepdim=True),
    "median": lambda h: h - h.flatten(2).median(2).values[..., None, None],
    "nanmedian": lambda h: h - h.flatten(2).nanmedian(2).values[..., None, None],
    "mode": lambda h: h - h.flatten(2).mode(2).values[..., None, None],
    "kthvalue": lambda h: h - h.flatten(2).kthvalue(5, 2).values[..., None, None],
    "topk": lambda h: h.topk(2, 2).values,
    "top channels by topk": lambda h: h.gather(1, h.topk(2, 1).indices).repeat(1, 2, 1, 1),
    "top k kept": lambda h: torch.zeros_like(h).scatter(1, h.topk(2, 1).indices, h.topk(2, 1).values),
    "sort": lambda h: h.sort(2, descending=True).values,
    "argsort as places": lambda h: h.gather(2, h.argsort(2)),
    "msort of maps": lambda h: h.sort(3).values,
    "cummax": lambda h: h.cummax(2).values,
    "cummin": lambda h: h.cummin(2)[0],
    "cumprod": lambda h: h.cumprod(2),
    "diff": lambda h: h.diff(dim=2),
    "gradient": lambda h: torch.gradient(h, dim=2)[0],
    "trapezoid": lambda h: h * torch.trapezoid(h, dim=2)[:, :, None],
    "amax and amin": lambda h: (
        (h - h.amin((2, 3), keepdim=True)) / (h.amax((2, 3), keepdim=True) - h.amin((2, 3), keepdim=True))
    ),
    "aminmax": lambda h: h - torch.aminmax(h, dim=2, keepdim=True).min,
    "max along an axis": lambda h: h - h.max(1, keepdim=True)[0],
    "max of two": lambda h: torch.max(h, h.flip(3)),
    "minimum": lambda h: torch.minimum(h, OTHER),
    "fmax": lambda h: torch.fmax(h, OTHER),
    "std and mean": lambda h: (
        (h - torch.std_mean(h, (2, 3), keepdim=True)[1]) / torch.std_mean(h, (2, 3), keepdim=True)[0]
    ),
    "var": lambda h: h / (h.var((2, 3), unbiased=False, keepdim=True) + 1).sqrt(),
    "prod": lambda h: h * h.prod(1, keepdim=True),
    "norm p 1": lambda h: h / h.norm(p=1, dim=1, keepdim=True),
    "vector_norm inf": lambda h: h / torch.linalg.vector_norm(h, math.inf, (1, 2, 3), keepdim=True),
    "matrix_norm": lambda h: h / torch.linalg.matrix_norm(h, keepdim=True),
    "bucketize as a table": lambda h: h * ROW[torch.bucketize(h, torch.tensor([-0.5, 0.0, 0.5], dtype=h.dtype))],
    "searchsorted as a table": lambda h: (
        h * ROW[torch.searchsorted(torch.tensor([-0.5, 0.0, 0.5], dtype=h.dtype), h.contiguous())]
    ),
    "an embedding of bins": lambda h: h + F.embedding((h > 0).long(), ROW[:2, None])[..., 0],
    "where of three": lambda h: torch.where(h > 0.5, h, torch.where(h < -0.5, h * 2, 0.1)),
    "where as a choice of places": lambda h: torch.where(MASK, h, h.flip(2)),
    "sign and abs": lambda h: h.sign() * h.abs().sqrt() + h,
    "signed log": lambda h: torch.sign(h) * torch.log1p(h.abs()) * 2,
    "erf": lambda h: h * (1 + torch.erf(h / math.sqrt(2))) / 2,
    "sinc": lambda h: torch.sinc(h),
    "lgamma": lambda h: torch.lgamma(h.abs() + 1),
    "expm1": lambda h: torch.expm1(h),
    "atan2": lambda h: torch.atan2(h, h.flip(2) + 3),
    "polar coordinates": lambda h: torch.hypot(h, h.flip(2)),
    "lerp": lambda h: torch.lerp(h, OTHER, 0.3),
    "lerp by a gate": lambda h: torch.lerp(h, h.flip(2), h.sigmoid()),
    "lerp by a tensor for each sample": lambda h: torch.lerp(
        h, h.flip(2), torch.linspace(0.1, 0.9, len(h), dtype=h.dtype).view(-1, 1, 1, 1)
    ),
    "addcmul": lambda h: torch.addcmul(h, h, OTHER, value=0.5),
    "softplus by hand": lambda h: torch.log(1 + torch.exp(h)),
    "logit": lambda h: torch.logit(h.sigmoid(), 1e-3),
    "floor and the rest": lambda h: h - torch.floor(h),
    "frac": lambda h: torch.frac(h),
    "trunc and h": lambda h: torch.trunc(h) + h,
    "fix point rounding": lambda h: torch.round(h, decimals=1) + h,
    "quantised by hand": lambda h: h + (torch.round(h * 4) / 4) * 0,
    "renorm": lambda h: torch.renorm(h, 2, 1, 0.5) if len(h) == 1 else h,
    "clamp by another": lambda h: torch.clamp(h, min=h.flip(2) - 0.5, max=h.flip(2) + 0.5),
    "nan_to_num": lambda h: torch.nan_to_num(h / 2),
    "true_divide": lambda h: torch.true_divide(h, 3),
    "remainder": lambda h: torch.remainder(h, 0.5),
    "float_power": lambda h: torch.float_power(h.abs() + 1, 1.5),
    "2 ** h": lambda h: 2**h,
    "1 - h": lambda h: 1 - h,
    "1 / h": lambda h: 1 / (h + 9),
    "rsub": lambda h: torch.rsub(h, 1),
    "matmul of maps": lambda h: h @ h.mT,
    "h @ a vector": lambda h: (h @ ROW)[..., None],
    "tensordot": lambda h: torch.tensordot(h, PLANE[:6], ([3], [0])),
    "inner": lambda h: torch.inner(h, PLANE),
    "kron": lambda h: torch.kron(h, torch.ones(1, 1, 2, 2, dtype=h.dtype)),
    "cross": lambda h: torch.cross(h[:, :3], h[:, 1:], dim=1)[:, [0, 1, 2, 0]],
    "dot of all": lambda h: h * torch.dot(h[0].flatten(), h[0].flatten()) if len(h) == 1 else h,
    "matrix inverse": lambda h: torch.linalg.inv(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype)),
    "solve": lambda h: torch.linalg.solve(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype), h[:, :, 2:]),
    "determinant": lambda h: (
        h * torch.linalg.det(h[:, :, :6] + 9 * torch.eye(6, dtype=h.dtype))[..., None, None] / 9**6
    ),
    "singular values": lambda h: h / torch.linalg.svdvals(h)[:, :, :1, None],
    "covariance of channels": lambda h: h + (h.flatten(2) @ h.flatten(2).mT).mean((1, 2))[:, None, None, None],
    "gram matrix": lambda h: torch.einsum("ncp,ndp->ncd", h.flatten(2), h.flatten(2))[..., None],
    "histogram as a number": lambda h: h * (1 + torch.histc(h.detach(), 4)[0] / h.numel()) if len(h) == 1 else h,
    "count_nonzero": lambda h: h * torch.count_nonzero(h > 0, dim=1)[:, None],
    "any and all": lambda h: h * ((h > 0).any(1, keepdim=True) & ~(h > 1).all(1, keepdim=True)),
    "mean of masked": lambda h: h - (h * MASK).sum((2, 3), keepdim=True) / MASK.sum(),
    "to float and back": lambda h: h.float().double(),
    "to(h)": lambda h: h.to(torch.float32).to(h) + h.type(torch.float64),
    "type_as": lambda h: h.float().type_as(h),
    "detached scale": lambda h: h / h.abs().amax((1, 2, 3), keepdim=True).item() if len(h) == 1 else h,
}
