"""Datasets: the bundled MNIST test set, MNIST's training set from a folder, and folders of images.

>>> images, labels = mnist_test()
>>> images.shape, labels[:5].tolist()
(torch.Size([10000, 1, 28, 28]), [7, 2, 1, 0, 4])
"""

from __future__ import annotations

from deconvviz.data.folder import ImageFolder
from deconvviz.data.idx import parse_idx, read_idx
from deconvviz.data.mnist import MnistTest, load_mnist, mnist_test
from deconvviz.data.parts import read_parts

__all__ = ["ImageFolder", "MnistTest", "load_mnist", "mnist_test", "parse_idx", "read_idx", "read_parts"]
