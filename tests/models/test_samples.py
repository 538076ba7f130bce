"""What is trained on: bad samples and settings are refused with what is wrong, before anything is trained."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deconvviz.errors import DataError, InputError
from deconvviz.models import TrainingResult, TrainingSettings, train


class Linear(nn.Sequential):
    """A softmax regression in float64, always from the same weights: 4 pixels, 3 classes."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(4, 3).double())
        with torch.no_grad():
            self[1].weight.copy_(torch.linspace(-0.5, 0.5, 12).reshape(3, 4))
            self[1].bias.zero_()


def quietly(model: nn.Module, samples: tuple, **settings: object) -> TrainingResult:
    return train(model, *samples, settings=TrainingSettings(**settings), progress=False)


def with_value(values: torch.Tensor, index: object, value: float) -> torch.Tensor:
    changed = values.clone()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda x, y: (x, None), DataError, "labels are missing: 30 images, no labels"),
        (lambda x, y: (x, y[:-1]), DataError, r"30 images need labels of shape \(30,\), not \(29,\)"),
        (lambda x, y: (x, y.double()), InputError, "labels are a tensor of whole numbers, not torch.float64"),
        (lambda x, y: (x, y.tolist()), InputError, "labels are a tensor of whole numbers, not list"),
        (lambda x, y: (x, with_value(y, 4, 3)), DataError, "1 labels are outside 0 to 2, the first is 3 of image 4"),
        (lambda x, y: (x, with_value(y, 4, -2)), DataError, "outside 0 to 2, the first is -2 of image 4"),
        (lambda x, y: (x, with_value(y, 4, -1)), DataError, r"1 of 30 images have no label \(-1\); label them, or"),
        (lambda x, y: (with_value(x, (7, 0, 0, 1), math.nan), y), DataError, "1 images hold NaN .* is image 7"),
        (lambda x, y: (with_value(x, (7, 0, 0, 1), math.inf), y), DataError, "infinite pixels, the first is image 7"),
        (lambda x, y: (x[:, 0], y), InputError, r"images have the shape \(N, C, H, W\), not \(30, 2, 2\)"),
        (lambda x, y: (x[:0], y[:0]), DataError, "there are no pixels to train on"),
        (lambda x, y: ((x * 255).byte(), y), InputError, "images are a tensor of floating-point .* torch.uint8"),
        (lambda x, y: (x[:1], y[:1]), DataError, "needs two labelled images or more, one to hold out, not 1"),
    ],
)
def test_bad_samples_are_refused_before_any_training(samples, change, error, sentence: str):
    model = Linear()
    with pytest.raises(error, match=sentence):
        quietly(model, change(*samples))
    assert torch.equal(model[1].weight, Linear()[1].weight)


def test_unlabelled_images_are_ignored_on_request_only(samples):
    images, labels = samples
    labels = with_value(labels, slice(0, 10), -1)
    ignoring, without = Linear(), Linear()
    quietly(ignoring, (images, labels), unlabelled="ignore", epochs=2)
    quietly(without, (images[10:], labels[10:]), epochs=2)
    assert torch.equal(ignoring[1].weight, without[1].weight)
    with pytest.raises(DataError, match="none of the 30 images has a label"):
        quietly(Linear(), (images, torch.full_like(labels, -1)), unlabelled="ignore")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"optimiser": "adagrad"}, "optimiser is one of gradient-descent, .* not 'adagrad'"),
        ({"schedule": "step"}, "schedule is one of constant, cosine, not 'step'"),
        ({"unlabelled": "train"}, "unlabelled is one of refuse, ignore, not 'train'"),
        ({"epochs": 0}, "epochs is a whole number from 1, not 0"),
        ({"batch_size": 1.5}, "batch_size is a whole number from 1, not 1.5"),
        ({"patience": 0}, "patience is a whole number from 1 or None, not 0"),
        ({"threads": -1}, "threads is a whole number from 1 or None, not -1"),
        ({"random_state": -1}, "random_state is a whole number from 0, not -1"),
        ({"translation": 0.5}, "translation is a whole number from 0, not 0.5"),
        ({"learning_rate": 0.0}, "learning_rate is a number above 0, not 0.0"),
        ({"learning_rate": math.nan}, "learning_rate is a finite number, not nan"),
        ({"l1": -0.1}, "l1 is a number from 0, not -0.1"),
        ({"l2": "much"}, "l2 is a finite number, not 'much'"),
        ({"momentum": 1.0}, r"momentum is a number in \[0, 1\), not 1.0"),
        ({"validation": 0.0}, r"validation is a number in \(0, 1\), not 0.0"),
        ({"rotation": 200.0}, r"rotation is a number in \[0, 180\] degrees, not 200.0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict, sentence: str):
    with pytest.raises(InputError, match=sentence):
        TrainingSettings(**setting)
