"""A dataset that gives other images each time is noticed wherever images are read again after a scan."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torchvision import transforms

import deconvviz as dv
from deconvviz.errors import InputError
from deconvviz.experiments import evolution

IMAGES = torch.rand(6, 3, 20, 20, generator=torch.Generator().manual_seed(0))


class Cropped(Dataset):
    """Images of which each is cropped at random, as for training."""

    names = tuple(f"{number}.png" for number in range(len(IMAGES)))

    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, index):
        return self.transform(IMAGES[index]), index % 2


@pytest.fixture
def net():
    torch.manual_seed(0)
    return dv.DeconvNet(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)))


RANDOM = {
    "crops": transforms.RandomCrop(12),
    "resized crops": transforms.RandomResizedCrop(12, antialias=True),
    "colours": transforms.ColorJitter(0.5),
}
CAUSE = r"^item \d.png is another image each time it is read, as with random crops or flips, "


@pytest.mark.parametrize("kind", RANDOM)
def test_an_atlas_of_random_images_names_the_cause(net, tmp_path, kind):
    data = Cropped(RANDOM[kind])
    top = dv.scan(net, data, layers=["0"], k=2, progress=False)
    with pytest.raises(InputError, match=CAUSE):
        dv.build_atlas(net, data, top, out=tmp_path / "atlas", evidence=False, progress=False)


def test_an_atlas_of_another_dataset_is_not_blamed_on_chance(net, tmp_path):
    top = dv.scan(net, Cropped(transforms.CenterCrop(12)), layers=["0"], k=2, progress=False)
    with pytest.raises(InputError, match="the dataset or the network has changed; scan again"):
        dv.build_atlas(net, IMAGES[:, :, :12, :12], top, out=tmp_path / "a", evidence=False, progress=False)
    dv.build_atlas(net, Cropped(transforms.CenterCrop(12)), top, out=tmp_path / "b", evidence=False, progress=False)


def test_evolution_on_random_images_names_the_cause(net):
    weights = net.model.state_dict()
    with pytest.raises(InputError, match=CAUSE):
        evolution(net, [weights, weights], Cropped(transforms.RandomCrop(12)), layers=["0"], progress=False)
