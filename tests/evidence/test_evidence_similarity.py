"""How pictures are compared, where the answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from deconvviz.errors import DependencyError, InputError
from deconvviz.evidence.methods import METHODS, chosen_methods
from deconvviz.evidence.metrics import cosine, cut, edges, heatmap, overlap, spearman, ssim


def test_a_heatmap_is_the_absolute_sum_over_channels_on_a_scale_to_one():
    pixels = torch.tensor([[[[1.0, -2.0]], [[-1.0, 2.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    assert heatmap(pixels).tolist() == [[[0.5, 1.0]], [[0.0, 0.0]]]


def test_rank_correlation_sees_order_only():
    a = torch.arange(12.0).view(3, 4)
    assert spearman(a, a.exp()) == pytest.approx(1)
    assert spearman(a, -a) == pytest.approx(-1)
    assert spearman(torch.tensor([[1.0, 2, 3]]), torch.tensor([[1.0, 3, 2]])) == pytest.approx(0.5)  # 1 - 6 * 2 / 24
    assert math.isnan(spearman(a, torch.ones(3, 4)))


def test_structural_similarity():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(20, 20, generator=generator).double(), torch.rand(20, 20, generator=generator).double()
    assert ssim(a, a) == pytest.approx(1)
    assert abs(ssim(a, b)) < 0.1
    assert ssim(a[:3, :5], a[:3, :5]) == pytest.approx(1)
    assert math.isnan(ssim(a[:2], b[:2]))


def test_overlap_of_the_strongest_pixels():
    a = torch.zeros(4, 5)
    a[0, 0], a[0, 1] = 1, 2
    b = torch.zeros(4, 5)
    b[0, 0], b[3, 3] = 2, 1
    assert overlap(a, b) == 0.5
    assert overlap(a, a) == 1
    assert math.isnan(overlap(a, torch.zeros(4, 5)))


def test_edges_are_where_the_image_changes():
    image = torch.zeros(1, 3, 6, 6)
    image[..., 3:] = 1
    found = edges(image)[0, 0]
    assert found.shape == (6, 6)
    assert (found[:, 2:4] > 0.5).all()
    assert (found[:, [0, 1, 4, 5]] == 0).all()


def test_a_box_is_cut_out():
    assert cut(torch.arange(12.0).view(3, 4), ((1, 3), (0, 2))).tolist() == [[4, 5], [8, 9]]


def test_a_cosine_is_signed_and_has_a_zero():
    a = torch.tensor([[[1.0, -2.0], [0.0, 3.0]]])
    assert cosine(a, 5 * a) == pytest.approx(1)
    assert cosine(a, -a) == pytest.approx(-1)
    assert cosine(a, torch.tensor([[[2.0, 1.0], [7.0, 0.0]]])) == pytest.approx(0)
    assert cosine(a * 1e-30, a) == pytest.approx(1)  # squares of float32 would vanish
    assert math.isnan(cosine(a, torch.zeros_like(a)))


def test_methods_by_name():
    assert list(chosen_methods(None)) == list(METHODS) == ["deconvnet", "guided", "gradient"]
    assert list(chosen_methods(["random", "guided"])) == ["random", "guided"]
    mine = {"mine": METHODS["guided"]}
    assert chosen_methods(mine) == mine
    with pytest.raises(InputError, match=r"there is no method 'guide'; .*did you mean 'guided'"):
        chosen_methods(["guide"])


def test_a_missing_library_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(DependencyError, match=r"pip install scikit-image scipy"):
        ssim(torch.zeros(9, 9), torch.zeros(9, 9))
