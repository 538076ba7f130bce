"""Every public function gives on an accelerator what it gives on the CPU, whatever form the images have."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import evidence, experiments, models
from deconvviz.errors import InputError
from deconvviz.images import Preprocess
from deconvviz.reading.conditions import as_picture
from deconvviz.reading.pieces import edge_energy
from tests.helpers.pretend_device import pretending

SIZE = 12
QUIET = {"progress": False}
NOT_COMPARED = {"seconds", "provenance", "versions"}


def network() -> nn.Module:
    """Convolutions, batch norm, dropout and a head over five classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        early = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
        late = nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(150, 5)
        return nn.Sequential(*early, *late).eval()


@functools.cache
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)


PREPROCESS = Preprocess(SIZE)
LABELS = torch.tensor([0, 1] * 3)
BOXES = torch.tensor([[[0, 6], [0, 6]]] * 2)
PLACES = {"corner": [(0, 0, 3, 3)] * 2, "middle": [(5, 5, 9, 9)] * 2}


@dataclasses.dataclass
class Given:
    """A network and six images in one of the forms in which a user may give them."""

    net: dv.DeconvNet
    images: Any
    labelled: Any
    folder: Path

    @property
    def first(self) -> Any:
        return self.images[:2]

    @property
    def tensors(self) -> Tensor:
        return torch.stack([PREPROCESS(Image.fromarray(one)) for one in pictures()])

    @functools.cached_property
    def top(self) -> Any:
        return dv.scan(self.net, self.labelled, layers=["0", "4"], k=2, batch_size=4, **QUIET)

    @property
    def weights(self) -> list[dict[str, Tensor]]:
        other = copy.deepcopy(self.net.model)
        with torch.no_grad():
            other[0].weight.mul_(-1)
        return [other.state_dict(), self.net.model.state_dict()]


def atlas(given: Given) -> dict[str, bytes]:
    dv.build_atlas(given.net, given.labelled, given.top, out=given.folder / "atlas", **QUIET)
    return {path.name: path.read_bytes() for path in sorted((given.folder / "atlas").rglob("*.webp"))}


def attribution(given: Given) -> Any:
    return dv.DeconvNetAttribution(given.net.model).attribute(given.first, target=1)


def neuron(given: Given) -> Any:
    return dv.NeuronDeconvNetAttribution(given.net.model, "4").attribute(given.first, (1, 2, 2))


def trained(given: Given) -> Any:
    model = copy.deepcopy(given.net.model)
    models.train(model, given.images, LABELS, settings=models.TrainingSettings(epochs=1, batch_size=3), **QUIET)
    return model.state_dict()


FUNCTIONS: dict[str, Callable[[Given], Any]] = {
    "DeconvNet.layers": lambda given: given.net.layers(given.first),
    "DeconvNet.filters": lambda given: given.net.filters("0"),
    "DeconvNet.activations": lambda given: given.net.activations(given.first, "4"),
    "DeconvNet.trace": lambda given: dict(given.net.trace(given.first).activations),
    "DeconvNet.project": lambda given: given.net.project(given.first, "4"),
    "DeconvNet.project_units": lambda given: given.net.project_units(
        given.first, "4", [(1, 0, (0, 0)), (0, 3, (2, 2))]
    ),
    "DeconvNet.reconstruct": lambda given: given.net.reconstruct(given.first, "4"),
    "scan": lambda given: given.top,
    "build_atlas": atlas,
    "project_top": lambda given: list(dv.project_top(given.net, given.labelled, given.top, layer="4", **QUIET)),
    "compare": lambda given: dv.compare(given.net, given.images[:1], layer="4", channel=1, **QUIET),
    "clarity": lambda given: evidence.clarity(given.net, given.images, **QUIET),
    "deletion": lambda given: evidence.deletion(given.net, given.first, "4", steps=2, **QUIET),
    "leak": lambda given: evidence.leak(given.net, given.first, "4", **QUIET),
    "localisation": lambda given: evidence.localisation(given.net, given.first, BOXES, layer="4", **QUIET),
    "randomisation": lambda given: evidence.randomisation(given.net, given.first, "4", **QUIET),
    "selectivity": lambda given: evidence.selectivity(given.net, given.first, "4", **QUIET),
    "correspondence": lambda given: experiments.correspondence(given.net, given.first, PLACES, **QUIET),
    "decoding": lambda given: experiments.decoding(given.net, given.labelled, layers=["4"], seeds=1, **QUIET),
    "diagnose": lambda given: experiments.diagnose(given.net, given.labelled, **QUIET),
    "evolution": lambda given: experiments.evolution(given.net, given.weights, given.labelled, layers="4", **QUIET),
    "uncertainty": lambda given: experiments.uncertainty(given.net, given.labelled, samples=3, **QUIET),
    "invariance": lambda given: experiments.invariance(given.net, given.first, values=[0, 2], **QUIET),
    "occlusion": lambda given: experiments.occlusion(given.net, given.first, patch=6, stride=3, **QUIET),
    "probe": lambda given: experiments.probe(given.net, given.labelled, folds=3, epochs=2, **QUIET),
    "circuit": lambda given: dv.circuit(given.net, given.labelled, "4", channel=1, images=4, **QUIET),
    "synthesize": lambda given: dv.synthesize(given.net, "4", examples=given.first, steps=2, top=given.top, **QUIET),
    "mixed_channels": lambda given: dv.mixed_channels(given.net, given.labelled, "4", units=24, **QUIET),
    "diff": lambda given: dv.diff(given.net, given.net, given.labelled, layers="4", pictures=2, **QUIET),
    "reading_test": lambda given: dv.reading_test(given.net, given.labelled, "4", questions=1, references=2, **QUIET),
}
OF_TENSORS = {
    **{"DeconvNetAttribution.attribute": attribution, "NeuronDeconvNetAttribution.attribute": neuron},
    "evaluate": lambda given: models.evaluate(given.net.model, given.images, LABELS),
    "mc_dropout_predict": lambda given: models.mc_dropout_predict(given.net.model, given.images, samples=3),
    "train": trained,
}


def test_every_function_is_here() -> None:
    listed = [(module, name) for module in (dv, evidence, experiments) for name in module.__all__]
    public = {name for module, name in listed if inspect.isfunction(getattr(module, name))}
    assert public - {"digit_benchmark", "explore"} <= FUNCTIONS.keys()  # one makes images, the other serves pages
    methods = {name for name, method in vars(dv.DeconvNet).items() if not name.startswith("_") and callable(method)}
    assert methods - {"sent_back", "check_samples"} == {
        name[10:] for name in FUNCTIONS if name.startswith("DeconvNet.")
    }


def leaves(found: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What a result holds, by where it stands, tensors on the CPU."""
    if isinstance(found, Tensor):
        yield path, found.detach().cpu()
    elif isinstance(found, Mapping):
        for key, part in found.items():
            yield from leaves(part, f"{path}.{key}")
    elif isinstance(found, (list, tuple)):
        for index, part in enumerate(found):
            yield from leaves(part, f"{path}[{index}]")
    elif dataclasses.is_dataclass(found):
        for field in dataclasses.fields(found):
            if field.name not in NOT_COMPARED:
                yield from leaves(getattr(found, field.name), f"{path}.{field.name}")
    else:
        yield path, found


def agree(found: Any, expected: Any) -> None:
    found, expected = dict(leaves(found)), dict(leaves(expected))
    assert list(found) == list(expected)
    for path, value in expected.items():
        if isinstance(value, (Tensor, float)):
            torch.testing.assert_close(found[path], value, rtol=1e-4, atol=1e-5, equal_nan=True)
        else:
            assert found[path] == value, path


def given_as(form: str, folder: Path, device: str) -> Given:
    """The network on a device, with images as tensors there, tensors on the CPU, files, PIL images, or arrays."""
    net = dv.DeconvNet(network().to(device), preprocess=PREPROCESS)
    folder = Path(tempfile.mkdtemp(dir=folder))
    opened = [Image.fromarray(one) for one in pictures()]
    if form == "files":
        for number, image in enumerate(opened):
            (folder / str(number % 2)).mkdir(exist_ok=True)
            image.save(folder / str(number % 2) / f"{number}.png")
        paths = [folder / str(number % 2) / f"{number}.png" for number in range(len(opened))]
        return Given(net, paths, list(zip(opened, LABELS.tolist(), strict=True)), folder)
    if form == "PIL images":
        return Given(net, opened, list(zip(opened, LABELS.tolist(), strict=True)), folder)
    images = torch.stack([PREPROCESS(one) for one in opened])
    images = images.to(device) if form == "tensors there" else images
    return Given(net, images, (images, LABELS), folder)


@functools.cache
def on_the_cpu(name: str, form: str, folder: Path) -> Any:
    return {**FUNCTIONS, **OF_TENSORS}[name](given_as(form, folder, "cpu"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cpu")


@pytest.mark.parametrize("name", [*FUNCTIONS, *OF_TENSORS])
def test_another_device_by_default_changes_nothing(name: str, folder: Path, tmp_path: Path) -> None:
    """As after torch.set_default_device("cuda"), for all that is not told where to be."""
    expected, given = on_the_cpu(name, "tensors here", folder), given_as("tensors here", tmp_path, "cpu")
    with torch.device("meta"):
        found = {**FUNCTIONS, **OF_TENSORS}[name](given)
        if callable(figure := getattr(found, "figure", None)):
            with contextlib.suppress(InputError):  # some results have none
                figure()
    agree(found, expected)


@pytest.mark.parametrize("name", ["build_atlas", "reading_test", "circuit", "project_top", "occlusion"])
def test_another_type_by_default_does_not_mix_with_the_models(name: str, tmp_path: Path) -> None:
    """Random numbers are others then, and so may be results."""
    given = given_as("tensors here", tmp_path, "cpu")
    torch.set_default_dtype(torch.float64)
    try:
        assert FUNCTIONS[name](given)
    finally:
        torch.set_default_dtype(torch.float32)


def test_pictures_of_a_reading_have_their_own_type() -> None:
    signed = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = as_picture(signed), edge_energy(signed)
    torch.set_default_dtype(torch.float64)
    try:
        found = as_picture(signed), edge_energy(signed)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, expected)


SLOW = {"build_atlas": "PIL images", "compare": "tensors there", "correspondence": "tensors here"}
CASES = [(name, form) for name in FUNCTIONS for form in ("tensors there", "tensors here", "PIL images")]
CASES = [(name, form) for name, form in CASES if SLOW.get(name, form) == form]
CASES += [(name, form) for name in OF_TENSORS for form in ("tensors there", "tensors here")]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_results_are_those_of_the_cpu(name: str, form: str, folder: Path, tmp_path: Path) -> None:
    expected = on_the_cpu(name, form if form == "PIL images" else "tensors here", folder)
    with pretending() as device:
        agree({**FUNCTIONS, **OF_TENSORS}[name](given_as(form, tmp_path, device.name)), expected)
