"""How features develop during training: Figure 4 of Zeiler and Fergus.

    python examples/evolution.py
    python examples/evolution.py --network squeezenet --download --photos DIR

The reference network is trained from scratch on bundled digits. SqueezeNet starts from its ImageNet weights and learns
the classes of the photographs, which are the sub-folders of DIR, so the figure shows what the new task changes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from subjects import Subject, show, subject
from torch import Tensor, nn

import deconvviz as dv
from deconvviz.data import mnist_test
from deconvviz.models import MnistCNN

LOOKS = (0, 20, 60, 120, 200, 320)  # steps after which the weights are kept


def main(arguments: list[str] | None = None) -> None:
    steps = {"type": int, "default": LOOKS[-1], "help": "of 16 images, at most (%(default)s)"}
    seen, given = subject(__doc__, arguments, digits=500, steps=steps)
    torch.manual_seed(0)
    images, labels, model = digits() if seen.is_reference else photographs(seen)
    net = dv.DeconvNet(model, preprocess=None)
    layers = ["conv1", "conv2", "fc1"] if seen.is_reference else ["features.0", "features.6.cat", "features.12.cat"]
    looks = [step for step in LOOKS if step <= given.steps]
    rate = 1e-3 if seen.is_reference else 1e-4
    found = dv.experiments.evolution(
        net, trained(model, images, labels, looks, rate), images[: given.digits], layers=layers, progress=False
    )
    show(found, given, "evolution")


def digits() -> tuple[Tensor, Tensor, nn.Module]:
    return *mnist_test(), MnistCNN()


def photographs(seen: Subject) -> tuple[Tensor, Tensor, nn.Module]:
    """The images and classes of the labelled folder, and SqueezeNet with a new last layer for these classes."""
    if seen.labelled is None:
        raise SystemExit("give --photos DIR, a folder with a sub-folder of photographs for each kind")
    model = copy.deepcopy(seen.net.model)
    model.classifier[1] = nn.Conv2d(512, len(seen.labelled.classes), 1)
    items: Sequence[Any] = [seen.labelled[n] for n in range(len(seen.labelled))]
    images = torch.stack([seen.net.preprocess(image) for image, _ in items])
    return images, torch.tensor([label for _, label in items]), model


def trained(
    model: nn.Module, images: Tensor, labels: Tensor, looks: Sequence[int], rate: float
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Train, and yield the weights after each number of steps in `looks`."""
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(looks[-1] + 1):
        if step in looks:
            yield f"step {step}", model.state_dict()
        batch = torch.randint(len(images), (16,))
        model.train()
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images[batch]).flatten(1), labels[batch]).backward()
        optimiser.step()
        model.eval()


if __name__ == "__main__":
    main()
