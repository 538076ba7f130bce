"""ZFNet, the network that Zeiler and Fergus (2013, fig. 3) looked into and improved.

For an input of 3 x 224 x 224 the feature maps measure 110 -> 55 -> 26 -> 13 -> 13 -> 13 -> 6. The paper
prints sizes, not paddings; these give them:

=====  ====================================  =======  ===========
name   operation                             padding  size out
=====  ====================================  =======  ===========
conv1  96 filters 7 x 7, stride 2, ReLU      1        96 x 110²
pool1  max 3 x 3, stride 2, normalisation    1        96 x 55²
conv2  256 filters 5 x 5, stride 2, ReLU     0        256 x 26²
pool2  max 3 x 3, stride 2, normalisation    1        256 x 13²
conv3  384 filters 3 x 3, ReLU               1        384 x 13²
conv4  384 filters 3 x 3, ReLU               1        384 x 13²
conv5  256 filters 3 x 3, ReLU               1        256 x 13²
pool5  max 3 x 3, stride 2                   0        256 x 6²
fc6    linear, ReLU, dropout 0.5                      4096
fc7    linear, ReLU, dropout 0.5                      4096
fc8    linear                                         num_classes
=====  ====================================  =======  ===========

The paper does not give the constants of its contrast normalisation; local response normalisation has those of
Krizhevsky et al. (2012, sec. 3.3) here: 5 neighbouring channels, alpha 1e-4, beta 0.75, k 2 (torch divides
alpha by the number of channels, hence 5e-4 in the code). Weights start as torch draws them. The paper trains
with ``TrainingSettings(optimiser="momentum", batch_size=128, learning_rate=0.01, momentum=0.9)``.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from deconvviz.arguments import takes, whole_from


class ZFNet(nn.Module):
    """The network of Zeiler and Fergus: images (N, 3, 224, 224) to logits (N, num_classes).

    >>> with torch.device("meta"):  # shapes only, no memory
    ...     net = ZFNet()
    ...     net.features(torch.empty(1, 3, 224, 224)).shape, net(torch.empty(2, 3, 224, 224)).shape
    (torch.Size([1, 256, 6, 6]), torch.Size([2, 1000]))
    """

    @takes(num_classes=whole_from(1))
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, 96, kernel_size=7, stride=2, padding=1),
                relu1=nn.ReLU(),
                pool1=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
                norm1=_contrast_normalisation(),
                conv2=nn.Conv2d(96, 256, kernel_size=5, stride=2),
                relu2=nn.ReLU(),
                pool2=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
                norm2=_contrast_normalisation(),
                conv3=nn.Conv2d(256, 384, kernel_size=3, padding=1),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(384, 384, kernel_size=3, padding=1),
                relu4=nn.ReLU(),
                conv5=nn.Conv2d(384, 256, kernel_size=3, padding=1),
                relu5=nn.ReLU(),
                pool5=nn.MaxPool2d(kernel_size=3, stride=2),
            )
        )
        self.classifier = nn.Sequential(
            OrderedDict(
                fc6=nn.Linear(256 * 6 * 6, 4096),
                relu6=nn.ReLU(),
                dropout6=nn.Dropout(0.5),
                fc7=nn.Linear(4096, 4096),
                relu7=nn.ReLU(),
                dropout7=nn.Dropout(0.5),
                fc8=nn.Linear(4096, num_classes),
            )
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, num_classes) of images (N, 3, 224, 224)."""
        logits: torch.Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


def _contrast_normalisation() -> nn.LocalResponseNorm:
    return nn.LocalResponseNorm(size=5, alpha=5e-4, beta=0.75, k=2.0)
