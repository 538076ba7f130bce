"""Labels of which an image may have several: masks, and words by an embedding, scored as given labels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.mining.label_scores import held_out_half
from deconvviz.mining.word_labels import word_labels

WORDS = ["bright", "red", "plain"]


@pytest.fixture(scope="module")
def pictures():
    """Pictures of which every fourth is bright, and every fifth red; some are both."""
    generator = torch.Generator().manual_seed(0)
    shown = torch.rand(120, 3, 6, 6, generator=generator) * 0.2 + 0.2
    shown[::4] += 0.5
    shown[::5, 1:] = 0
    return shown


@pytest.fixture(scope="module")
def net():
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 1, 1], [2, -1, -1], [0, 0, 0]])[:, :, None, None])
    return dv.DeconvNet(model)


def images(shown):
    """A stand-in for an embedding of images: brightness, redness, and neither."""
    means = torch.tensor(np.stack([np.asarray(picture).mean((0, 1)) / 255 for picture in shown]))
    red = (means[:, 0] - means[:, 1:].mean(1)).clamp(min=0)
    return torch.stack([means.mean(1), 2 * red, torch.full_like(red, 0.2)], 1)


def texts(words):
    return torch.eye(3)[[WORDS.index(word) for word in words]]


def test_words_fit_the_channels_that_they_describe(net, pictures):
    labels = word_labels(net, pictures, WORDS, images=images, texts=texts, share=0.2, progress=False)
    assert [int(mask.sum()) for mask in labels.values()] == [24, 24, 24]
    assert bool(labels["red"][::5].all())
    found = dv.scan(net, pictures, labels=labels, progress=False).labels["0"]
    assert found.names == tuple(WORDS)
    assert found.name(0).startswith("bright, AUC")
    assert found.name(1) == "red, AUC 1.00 on held-out images"
    assert not found.fits[2]


def test_areas_of_masks_are_those_of_counted_pairs(net, pictures, tmp_path):
    masks = {"even": np.arange(120) % 2 == 0, "third": torch.arange(120) % 3 == 0, "few": torch.arange(120) < 9}
    held_out = held_out_half(torch.arange(120), torch.zeros(120, dtype=torch.long))
    top = dv.scan(net, pictures, labels=masks, batch_size=7, state=tmp_path / "state", progress=False)
    found = top.labels["0"]
    assert found.names == ("even", "third")
    maxima = net.model(pictures).detach().flatten(2).amax(2)[held_out, 1].tolist()
    chosen = torch.as_tensor(masks[found.names[int(found.label[1])]])[held_out].tolist()
    high, low = ([one for one, has in zip(maxima, chosen, strict=True) if has is side] for side in (True, False))
    area = sum((a > b) + (a == b) / 2 for a in high for b in low) / (len(high) * len(low))
    assert found.auc[1] == pytest.approx(area, abs=1e-9)
    again = dv.scan(net, pictures, labels=masks, batch_size=7, state=tmp_path / "state", progress=False)
    assert torch.equal(again.labels["0"].auc, found.auc)
    with pytest.raises(InputError, match="belongs to another scan: its labels"):
        dv.scan(net, pictures, labels={"even": ~masks["third"]}, batch_size=7, state=tmp_path / "state", progress=False)


def test_what_does_not_fit_is_refused(net, pictures):
    given = {"images": images, "texts": texts, "progress": False}
    with pytest.raises(InputError, match=r"words are at least two different ones, not \['red', 'red'\]"):
        word_labels(net, pictures, ["red", "red"], **given)
    with pytest.raises(InputError, match="share is between 0 and 1, not 1"):
        word_labels(net, pictures, WORDS, share=1, **given)
    with pytest.raises(InputError, match="share is a finite number, not 'a tenth'"):
        word_labels(net, pictures, WORDS, share="a tenth", **given)
    with pytest.raises(InputError, match="words label a dataset with a length"):
        word_labels(net, iter(pictures), WORDS, **given)
    with pytest.raises(InputError, match=r"texts gives a finite vector for each, \(3, d\), not \(3,\)"):
        word_labels(net, pictures, WORDS, **{**given, "texts": lambda words: torch.ones(len(words))})
    with pytest.raises(InputError, match="vectors of images have 2 numbers, and those of texts 3"):
        word_labels(net, pictures, WORDS, **{**given, "images": lambda shown: torch.ones(len(shown), 2)})
    with pytest.raises(InputError, match=r"the mask of label 'a' is \(3,\) of torch.bool; give 120 booleans"):
        dv.scan(net, pictures, labels={"a": [True, False, True]}, progress=False)
    with pytest.raises(InputError, match="masks of images label a dataset with a length"):
        dv.scan(net, iter(pictures), labels={"a": [True]}, progress=False)
    with pytest.raises(InputError, match=r"True for the labels of a dataset .*, or a mapping from names to masks"):
        dv.scan(net, pictures, labels="a", progress=False)
