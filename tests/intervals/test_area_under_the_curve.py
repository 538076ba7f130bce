"""The interval of an area under the ROC curve covers the true one, by simulation."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from deconvviz.intervals import auc_interval


def areas(draws, distance, positives, negatives):
    generator = torch.Generator().manual_seed(positives)
    high = torch.randn(draws, positives, 1, generator=generator) + distance
    low = torch.randn(draws, 1, negatives, generator=generator)
    return (high > low).double().mean((1, 2)).tolist()


@pytest.mark.parametrize("positives", [8, 16, 50])
@pytest.mark.parametrize(("area", "most"), [(0.5, 0.965), (0.8, 0.965), (0.9, 0.98), (0.97, 0.99)])
def test_it_covers(positives, area, most):
    distance = math.sqrt(2) * NormalDist().inv_cdf(area)
    found = [auc_interval(one, positives, 9 * positives) for one in areas(1200, distance, positives, 9 * positives)]
    covered = sum(one.low <= area <= one.high for one in found) / len(found)
    assert 0.935 <= covered <= most


def test_ends():
    assert auc_interval(1.0, 8, 80).high == pytest.approx(1, abs=1e-9)
    assert 0.7 < auc_interval(1.0, 8, 80).low < 0.9
    same, other = auc_interval(0.7, 9, 30), auc_interval(0.3, 9, 30)
    assert (same.low, same.high) == pytest.approx((1 - other.high, 1 - other.low))
    assert all(math.isnan(end) for end in auc_interval(math.nan, 8, 80)[:3])
    assert math.isnan(auc_interval(0.5, 0, 80).low)
