"""The command that trains the reference network."""

from __future__ import annotations

import argparse
import dataclasses

from deconvviz.cli.outputs import Outputs, folder, out_argument
from deconvviz.cli.shared import Command

# ruff: noqa: PLC0415


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    from deconvviz.models import REFERENCE, TrainingSettings

    parser.add_argument(
        "--root", required=True, metavar="DIR", help="folder with MNIST's training images and labels (IDX)"
    )
    parser.add_argument(
        "--download", action="store_true", help="let torchvision download these files into --root first"
    )
    out_argument(parser, "folder for weights, curves and checkpoints; resumes a run that is there", "trained")
    parser.add_argument(
        "--reference", action="store_true", help="use the settings of the bundled weights, unless given below"
    )
    parser.add_argument(
        "--channels", type=int, nargs=2, metavar=("C1", "C2"), help="number of filters of the two convolutions"
    )
    parser.add_argument("--width", type=int, help="number of units between the two linear layers")
    parser.add_argument("--dropout", type=float, metavar="P", help="dropout before the last layer; 0 for none")
    parser.add_argument("--batch-norm", action=argparse.BooleanOptionalAction, help="batch normalisation")
    settings = parser.add_argument_group("settings", "see deconvviz.models.TrainingSettings")
    for field in dataclasses.fields(TrainingSettings):
        flag, default = f"--{field.name.replace('_', '-')}", getattr(TrainingSettings(), field.name)
        if isinstance(default, bool):
            settings.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
        else:
            kind = int if default is None else type(default)
            reference = getattr(REFERENCE, field.name)
            settings.add_argument(flag, type=kind, help=f"{default}; reference: {reference}")


def _train(args: argparse.Namespace) -> None:
    from deconvviz.data import load_mnist, mnist_test
    from deconvviz.io.locks import alone
    from deconvviz.io.restoring import Restored
    from deconvviz.models import REFERENCE, TrainingSettings, evaluate, save_trained, train_mnist
    from deconvviz.models.checkpoints import STATE

    asked = {f.name: getattr(args, f.name) for f in dataclasses.fields(TrainingSettings)}
    chosen = {name: value for name, value in asked.items() if value is not None}
    settings = dataclasses.replace(REFERENCE if args.reference else TrainingSettings(), **chosen)
    architecture = {name: getattr(args, name) for name in ("channels", "width", "dropout", "batch_norm")}
    out = folder(args, "trained")
    resumed = (out / "checkpoints" / STATE).is_file()  # a run owns the files that it wrote, whatever its folder's name
    weights, curves, figure = (out / name for name in ("mnist_cnn.safetensors", "curves.safetensors", "curves.png"))
    outputs = Outputs(args, weights, curves, figure, named=args.out is not None or resumed)
    with Restored(alone(out)):
        images, labels = load_mnist(args.root, args.download)
        model, result = train_mnist(
            images,
            labels,
            settings=settings,
            checkpoints=out / "checkpoints",
            **{name: value for name, value in architecture.items() if value is not None},
        )
        test = evaluate(model, *mnist_test())
        outputs.check(weights)
        save_trained(model, weights, result, test=test)
        outputs.save(result.curves, curves)
        outputs.write_figure(result.curves.figure(), figure)
    print(result.curves.diagnosis)
    print(f"test accuracy {test.accuracy:.2%} on {test.count:,} images")
    print(weights)


TRAINING = {"train": Command("train the reference network on MNIST and save every epoch", _train_arguments, _train)}
