"""The measures beside those of Quantus, an independent library, where it has the same ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.evidence import METHODS, deletion, digit_benchmark, localisation
from deconvviz.evidence.metrics import heatmap, spearman, ssim
from deconvviz.models.mnist import mnist_cnn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    quantus = pytest.importorskip("quantus")


def quietly(metric, **given):
    """Quantus greets with a warning per metric; and its batches are arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = {name: np.asarray(one) if isinstance(one, torch.Tensor) else one for name, one in given.items()}
        return metric(**arrays)


@pytest.fixture(scope="module")
def pictures():
    """Images with noise on them, so that no two pixels are equal in rank; logits asked for; gradients."""
    x = mnist_test()[0][:6] + 0.05 * torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(*mnist_cnn().children())
    model.insert(6, nn.Flatten())
    labels = model(x).argmax(1)
    return model.eval(), x, labels, METHODS["gradient"](model, x, "output", [(int(one), ()) for one in labels])


def test_deletion_is_pixel_flipping(pictures):
    model, x, labels, found = pictures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flipping = quantus.PixelFlipping(features_in_step=49, abs=True, perturb_baseline="black", disable_warnings=True)
    theirs = quietly(
        flipping,
        **{"model": model, "x_batch": x, "y_batch": labels, "a_batch": found, "channel_first": True, "softmax": False},
    )
    ours = deletion(dv.DeconvNet(model), x, "output", channel=labels.tolist(), methods=["gradient"], steps=16)
    whole = model(x)[torch.arange(6), labels].detach().double()
    none = model(torch.zeros_like(x))[torch.arange(6), labels].detach().double()
    curves = ours.deletion["gradient"] * (whole - none)[:, None] + none[:, None]
    assert np.abs(np.array(theirs) - curves[:, 1:].numpy()).max() <= 1e-4 * float(whole.abs().max())


def test_localisation_is_the_pointing_game():
    bench = digit_benchmark(count=10)
    places = [(int(label), ()) for label in bench.labels]
    pixels = METHODS["gradient"](bench.net.model, bench.images, "output", places)
    masks = torch.zeros_like(bench.images)
    for mask, (rows, columns) in zip(masks, bench.boxes.tolist(), strict=True):
        mask[:, rows[0] : rows[1], columns[0] : columns[1]] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        game = quantus.PointingGame(abs=True, disable_warnings=True)
    theirs = quietly(
        game,
        **{"model": bench.net.model, "x_batch": bench.images, "y_batch": bench.labels, "a_batch": pixels},
        **{"s_batch": masks, "channel_first": True},
    )
    ours = localisation(bench.net, bench.images, bench.boxes, channel=bench.labels.tolist(), methods=["gradient"])
    inside = (ours.points["gradient"] >= bench.boxes[..., 0]) & (ours.points["gradient"] < bench.boxes[..., 1])
    assert inside.all(1).tolist() == [bool(one) for one in theirs]
    assert ours.hits["gradient"].mean == pytest.approx(float(np.mean(theirs)))


def test_similarities(pictures):
    _, _, _, found = pictures
    a, b = heatmap(found)[:2]
    assert spearman(a, b) == pytest.approx(
        quantus.similarity_func.correlation_spearman(a.numpy().ravel(), b.numpy().ravel())
    )
    theirs = quantus.similarity_func.ssim(a.numpy(), b.numpy(), data_range=1.0)
    assert ssim(a, b) == pytest.approx(theirs, abs=0.02)
