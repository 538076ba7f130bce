"""Do lower layers converge before upper ones? A figure and a table of the reference network while it trains.

    python -m benchmarks.evolution --root MNIST [--out out/evolution]

MNIST is the folder with the training images. Training uses batches of 64 images and Adam at 0.001 after a warm-up of
two epochs, as for the bundled weights, but no augmentation and no cosine schedule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

import deconvviz as dv
from deconvviz.cli.shared import write_figure
from deconvviz.data import load_mnist, mnist_test
from deconvviz.experiments import evolution
from deconvviz.models import MnistCNN, evaluate, initialised

LAYERS = ("conv1", "conv2", "fc1", "fc2")
LOOKS = (
    0,
    10,
    20,
    50,
    100,
    150,
    200,
    300,
    400,
    600,
    800,
    1200,
    1600,
    2400,
    3200,
    4800,
)  # steps after which the weights are kept


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evolution", description=__doc__.partition("\n")[0])
    parser.add_argument("--root", required=True, metavar="DIR", help="MNIST's training images and labels (IDX)")
    parser.add_argument("--out", default="out/evolution", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=LOOKS[-1], help="of 64 images (%(default)s)")
    parser.add_argument("--images", type=int, default=2000, help="test images to look through (%(default)s)")
    parser.add_argument(
        "--seeds", type=int, default=3, help="training runs, each with other weights and order (%(default)s)"
    )
    given = parser.parse_args()
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    images, labels = load_mnist(given.root)
    digits = mnist_test()[0][: given.images]
    looks = [step for step in LOOKS if step <= given.steps]
    runs = []
    for seed in range(given.seeds):
        model = initialised(seed)
        runs.append([(name, copied(state)) for name, state in trained(model, images, labels, looks, seed)])
    found = evolution(dv.DeconvNet(model), runs[0], digits, layers=list(LAYERS), runs=runs[1:])
    print(f"{found}\ntest accuracy in the end {evaluate(model, *mnist_test()).accuracy:.2%}")
    for layer, halves in found.half_times.items():
        print(layer, "alone and in lock-step, per run:", halves.tolist())
    for layer in found.layers:
        print(layer, " ".join(f"{value:.2f}" for value in found.remaining[layer].mean(0).tolist()))
    write_figure(found.figure(), out / "evolution.png")
    found.save(out / "evolution.safetensors")


def copied(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.items()}


def trained(
    model: MnistCNN, images: torch.Tensor, labels: torch.Tensor, looks: list[int], seed: int
) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Train, and yield the weights after each number of steps in `looks`."""
    random, warm_up = torch.Generator().manual_seed(seed), 2 * 860
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    order = torch.empty(0, dtype=torch.long)
    for step in range(looks[-1] + 1):
        if step in looks:
            yield f"step {step}", model.state_dict()
        if len(order) < 64:
            order = torch.randperm(len(images), generator=random)
        batch, order = order[:64], order[64:]
        optimiser.param_groups[0]["lr"] = 1e-3 * min(1, (step + 1) / warm_up)
        model.train()
        optimiser.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()


if __name__ == "__main__":
    main()
