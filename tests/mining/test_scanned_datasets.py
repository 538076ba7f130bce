"""Scans of every kind of dataset, of broken items, and what is refused."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.errors import DataError, InputError, UnknownLayerError
from deconvviz.images import Preprocess
from deconvviz.models import mnist_cnn


class Named(Dataset):
    """Items as mappings; one cannot be read, one is NaN."""

    def __init__(self, images, broken=()):
        self.images, self.broken = images, broken

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError("the disk is sad")
        return {"image": self.images[index], "label": index % 3}


def test_all_kinds_of_datasets_give_the_same(net, digits):
    images = digits[:50]
    expected = dv.scan(net, images, progress=False, batch_size=8)
    labels = torch.arange(50)
    for dataset in (
        (images, labels),
        torch.utils.data.TensorDataset(images, labels),
        Named(images),
        list(images),
        (image for image in images),
        ((image, 3) for image in images),
    ):
        found = dv.scan(net, dataset, progress=False, batch_size=8)
        for layer in expected.layers:
            assert torch.equal(found.values[layer], expected.values[layer])
            assert torch.equal(found.images[layer], expected.images[layer])
    workers = dv.scan(net, Named(images), progress=False, batch_size=8, workers=2)
    assert torch.equal(workers.images["conv2"], expected.images["conv2"])


def test_broken_items_are_listed_and_left_out(net, digits):
    images = digits[:30].clone()
    images[12, 0, 0, 0] = torch.nan
    top = dv.scan(net, Named(images, broken=(3, 29)), batch_size=8, k=30, progress=False)
    assert [(one.image, one.reason) for one in top.broken] == [
        (3, "OSError: the disk is sad"),
        (12, "it holds values that are NaN or infinite"),
        (29, "OSError: the disk is sad"),
    ]
    assert top.count == 27
    kept = sorted(set(range(30)) - {3, 12, 29})
    assert top.images["conv1"][0].sort().values.tolist() == [-1] * 3 + kept
    with pytest.raises(DataError, match="item 3 cannot be read: OSError: the disk is sad"):
        dv.scan(net, Named(images, broken=(3,)), batch_size=8, on_error="raise", progress=False)
    with pytest.raises(DataError, match="none of the 30 items could be read"):
        dv.scan(net, Named(images, broken=range(30)), progress=False)


def test_a_folder_with_broken_files(tmp_path, digits):
    for number in range(6):
        place = tmp_path / ("odd" if number % 2 else "even") / f"{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray((digits[number, 0] * 255).byte().numpy()).save(place)
    (tmp_path / "odd" / "0.png").write_bytes(b"no image at all")
    (tmp_path / "notes.txt").write_text("not an image, and not meant as one")
    net = dv.DeconvNet(mnist_cnn(), preprocess=Preprocess(28, (0.0,), (1.0,)))
    top = dv.scan(net, tmp_path, k=6, batch_size=4, progress=False)
    assert ImageFolder(tmp_path).names == [f"even/{n}.png" for n in (0, 2, 4)] + [f"odd/{n}.png" for n in (0, 1, 3, 5)]
    assert [(one.name, one.image) for one in top.broken] == [("odd/0.png", 3)]
    assert "is not an image file" in top.broken[0].reason
    straight = dv.scan(net, digits[[0, 2, 4, 1, 3, 5]], k=6, progress=False)
    translated = torch.tensor([0, 1, 2, 4, 5, 6])[straight.images["conv2"]]
    assert torch.equal(top.images["conv2"], translated)


def test_what_is_refused(net, digits):
    with pytest.raises(UnknownLayerError, match="there is no layer 'conv3' in MnistCNN; did you mean 'conv2'"):
        dv.scan(net, digits[:3], layers="conv3", progress=False)
    with pytest.raises(InputError, match="k must be a whole number of at least 1, not 0"):
        dv.scan(net, digits[:3], k=0, progress=False)
    with pytest.raises(DataError, match="the dataset is empty"):
        dv.scan(net, digits[:0], progress=False)
    with pytest.raises(InputError, match="a dataset is a folder"):
        dv.scan(net, 7, progress=False)
    with pytest.raises(InputError, match="there is no layer to look at"):
        dv.scan(net, digits[:3], layers=[], progress=False)
    with pytest.raises(InputError, match="first convolution, 'conv1'"):
        dv.scan(net, torch.randn(3, 2, 28, 28), progress=False)
    with pytest.raises(InputError, match="no preprocess"):
        dv.scan(net, [Image.new("L", (28, 28))], progress=False)
    with pytest.raises(InputError, match="has the entries"):
        dv.scan(net, [{"picture": digits[0]}], progress=False)
    nets = dv.DeconvNet(nn.Sequential(nn.Conv2d(1, 2, 3)))
    nets.model[0].weight.data[1] = 1e38
    with pytest.raises(InputError, match="'0' are not all finite on image 2"):
        dv.scan(nets, torch.cat([torch.zeros(2, 1, 5, 5), torch.full((1, 1, 5, 5), 100.0)]), progress=False)
    nets.model[0].weight.data[1] = torch.nan  # from the first image on, on which names are checked
    with pytest.raises(InputError, match="'0' are not all finite on image 0"):
        dv.scan(nets, digits[:3], progress=False)
