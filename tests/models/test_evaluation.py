"""How good and how sure a classifier is, against the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deconvviz.data import mnist_test
from deconvviz.errors import DataError, InputError, ModelError
from deconvviz.models import evaluate, mc_dropout_predict, mnist_cnn
from tests.helpers.mnist_networks import digits, small


def test_evaluate_is_cross_entropy_and_accuracy():
    model, images = small().double().train(), digits(7).double()
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6])
    with torch.no_grad():
        probabilities = model.eval()(images).softmax(1)
    model.train()
    found = evaluate(model, images, labels, batch_size=3)
    assert found.loss == pytest.approx(-probabilities[range(7), labels].log().mean().item(), rel=1e-12)
    hits = probabilities.argmax(1) == labels
    assert found.accuracy == pytest.approx(hits.double().mean().item())
    assert found.wrong == tuple((~hits).nonzero().flatten().tolist())
    assert model.training


def test_evaluate_refuses_what_training_refuses():
    with pytest.raises(DataError, match="3 images need labels"):
        evaluate(small(), digits(3), torch.tensor([1, 2]))
    with pytest.raises(ModelError, match=r"must give logits \(1, classes\) for one image, not \(1, 3, 28, 28\)"):
        evaluate(nn.Conv2d(1, 3, 1), digits(1), torch.tensor([0]))
    with pytest.raises(InputError, match="MnistCNN cannot take images of 3 x 28 x 28"):
        evaluate(small(), torch.zeros(1, 3, 28, 28), torch.tensor([0]))
    with pytest.raises(ModelError, match="has no parameters"):
        evaluate(nn.Flatten(), digits(1), torch.tensor([0]))


class Coin(nn.Module):
    """Logits (v, 0): dropout doubles half of log 3 or makes it zero, so v is log 3 or 0, evenly."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.log(3.0) / 2))
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(1)  # must stay in eval mode, and so the identity

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.drop(self.norm(images.flatten(1)[:, :1]) * self.scale)
        return torch.cat([value, torch.zeros_like(value)], dim=1)


def test_dropout_draws_have_the_mean_and_spread_of_the_binomial():
    """Dropout makes the probability 3/4 or 1/2, evenly: mean 5/8, std 1/8, and their entropy."""
    model = Coin()
    model.norm.eps = 0.0
    model.drop.eval()
    model.norm.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = mc_dropout_predict(model, torch.ones(40, 1, 1, 1), samples=300, batch_size=32)
    assert torch.equal(torch.get_rng_state(), before)
    assert (model.drop.training, model.norm.training, model.training) == (False, True, True)
    assert found.mean.shape == (40, 2)
    assert found.mean[:, 0].mean().item() == pytest.approx(5 / 8, abs=3 * (1 / 8) / math.sqrt(40 * 300))
    assert found.std[:, 0].mean().item() == pytest.approx(1 / 8, abs=2e-3)
    torch.testing.assert_close(found.std[:, 0], found.std[:, 1])
    torch.testing.assert_close(found.entropy, -(found.mean * found.mean.log()).sum(1))
    assert torch.equal(model.norm.running_mean, torch.zeros(1))


def test_dropout_draws_repeat_with_the_seed():
    model, images = small(dropout=0.5), digits(3)
    first, again, other = (mc_dropout_predict(model, images, samples=4, random_state=seed) for seed in (1, 1, 2))
    assert torch.equal(first.mean, again.mean)
    assert not torch.equal(first.mean, other.mean)


def test_one_draw_has_no_spread():
    found = mc_dropout_predict(small(dropout=0.5), digits(3), samples=1)
    assert torch.equal(found.std, torch.zeros(3, 10, dtype=torch.float64))
    torch.testing.assert_close(found.mean.sum(1), torch.ones(3, dtype=torch.float64))


def test_modes_come_back_when_the_model_raises():
    model = small(dropout=0.5)
    model.conv1.eval()
    before = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError):
        mc_dropout_predict(model, torch.zeros(1, 2, 28, 28), samples=2)
    assert [module.training for module in model.modules()] == before


def test_dropout_prediction_refuses_what_it_cannot_do():
    with pytest.raises(ModelError, match="MnistCNN has no dropout layer"):
        mc_dropout_predict(small(dropout=0.0), digits(1))
    with pytest.raises(InputError, match="samples is a whole number from 1, not 0"):
        mc_dropout_predict(small(), digits(1), samples=0)
    with pytest.raises(InputError, match=r"images have the shape \(N, C, H, W\) with N from 1, not \(1, 28, 28\)"):
        mc_dropout_predict(small(), digits(1)[0])


def test_the_reference_network_is_least_sure_where_it_is_wrong():
    images, labels = mnist_test()
    model = mnist_cnn()
    wrong = list(evaluate(model, images[:3000], labels[:3000]).wrong)
    right = [index for index in range(300) if index not in wrong]
    assert mc_dropout_predict(model, images[wrong], samples=20).entropy.mean() > 0.3
    assert mc_dropout_predict(model, images[right], samples=20).entropy.mean() < 0.05
