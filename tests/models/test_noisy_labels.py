"""A network that does what noisy labels allow does not underfit."""

from __future__ import annotations

import pytest
import torch

from deconvviz.data import mnist_test
from deconvviz.errors import InputError
from deconvviz.models import MnistCNN, diagnose_fit, evaluate


def test_right_on_clean_labels_is_no_underfitting():
    """30 % wrong training labels: 70 % is perfect there, and 93.8 % on clean digits."""
    found = diagnose_fit([1.9, 1.4], [1.2, 0.7], [0.6, 0.69], [0.9, 0.938])
    assert found.startswith("good fit: at epoch 2 training and validation have accuracies of 69.0 % and 93.8 %")
    assert found.endswith("what is missing on the training labels is right on the others, as with wrong labels")


def test_what_labels_allow_is_what_accuracies_are_compared_with():
    curves = [1.9, 1.4], [1.9, 1.5], [0.6, 0.69], [0.6, 0.68]  # validation labels are as noisy
    assert diagnose_fit(*curves).startswith("underfitting")
    assert diagnose_fit(*curves, attainable=0.7).endswith("; the labels allow 70 %")
    assert diagnose_fit(*curves, attainable=0.7).startswith("good fit")
    low = diagnose_fit([2.0], [2.0], [0.5], [0.5], attainable=0.7)
    assert low.endswith("the training accuracy is below 90 % of the 70 % that the labels allow")
    memorised = diagnose_fit([0.4], [0.42], [0.95], [0.94], attainable=0.7)
    assert memorised.startswith("overfitting")
    assert memorised.endswith("; the labels allow 70 % without memorising wrong ones")


@pytest.mark.parametrize("attainable", [0, 1.2, float("nan")])
def test_what_labels_cannot_allow(attainable):
    with pytest.raises(InputError, match="attainable is an accuracy above 0 and up to 1, not"):
        diagnose_fit([1.0], [1.0], [0.5], [0.5], attainable=attainable)


def test_a_network_trained_on_noisy_labels():
    """The network with label noise, and the sentence it must get."""
    torch.manual_seed(0)
    images, labels = mnist_test()
    wrong = torch.rand(1600) < 0.3
    noisy = torch.where(wrong, (labels[:1600] + torch.randint(1, 10, (1600,))) % 10, labels[:1600])
    model = MnistCNN((8, 8), 32, dropout=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(6):
        for batch in torch.randperm(1600).split(32):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(images[batch]), noisy[batch]).backward()
            optimiser.step()
    model.eval()
    train, clean = evaluate(model, images[:1600], noisy), evaluate(model, images[2000:3000], labels[2000:3000])
    assert train.accuracy < 0.8 < clean.accuracy  # which was called underfitting
    curves = [train.loss], [clean.loss], [train.accuracy], [clean.accuracy]
    assert not diagnose_fit(*curves, attainable=0.7).startswith("underfitting")
