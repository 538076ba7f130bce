"""Situations of the table, on the command line: models and data as people have them, and the values of torch alone."""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import deconvviz as dv
from deconvviz import cli
from deconvviz.models import mnist_cnn
from deconvviz.results import TopActivations

CODE = """
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision import transforms

from deconvviz.data import ImageFolder
from deconvviz.images import Preprocess


def network(channels=1):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU())


def grey():
    return network(), Preprocess(None, (0.0,), (1.0,))


def colours():
    return network(3), Preprocess(None, (0.0,) * 3, (1.0,) * 3)


def many():
    return network(13)


def standardised(image):
    pixels = torch.from_numpy(np.array(image.convert("L"))).float()[None]
    return (pixels - pixels.mean()) / pixels.std()


def by_itself():
    return network(), standardised


def levels():
    return lambda image: torch.from_numpy(np.array(image).astype(np.float32))[None] / 4000


class Learner:
    def __init__(self):
        self.model = network()


def tensors():
    return torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def loader():
    return DataLoader(TensorDataset(tensors()), batch_size=4)


def paths():
    return [f"images/{name}" for name in ("b/2.png", "a/0.png", "b/3.png")]


def part():
    return Subset(ImageFolder("images"), [3, 0])


class Cropped(Dataset):
    names = ("0.png", "1.png", "2.png")

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return transforms.RandomCrop(6)(tensors()[index]), 0


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, left, right):
        return self.net(left) * self.net(right)


def pairs():
    return list(zip(tensors()[:5], tensors()[5:]))


class Mapped(nn.Module):
    '''A model of one argument, a mapping, in a module that takes its entries.'''

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, left, right):
        batch = {"left": left, "right": right}
        return self.net(batch["left"]) - self.net(batch["right"])


def mappings():
    return [{"left": left, "right": right} for left, right in pairs()]
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder with the code and with four images in two classes; what the code defines."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code.py").write_text(textwrap.dedent(CODE))
    draw = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / "images" / "ab"[number // 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    namespace: dict[str, Any] = {"__name__": "code_of_the_user"}
    exec(textwrap.dedent(CODE), namespace)
    return namespace


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """What a command prints, and what it says on standard error."""
    assert cli.main([*arguments]) == status, capsys.readouterr().err
    printed = capsys.readouterr()
    return printed.out, printed.err


def pixels_of(*names: str) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(Image.open(name))).float()[None] / 255 for name in names])


def strongest(maps: Tensor) -> tuple[list[float], list[int]]:
    """Per channel the highest activation over images (N, C, H, W), and the image that has it."""
    values, images = maps.detach().flatten(2).amax(2).max(0)
    return values.tolist(), images.tolist()


def scanned(capsys: pytest.CaptureFixture[str], model: str, data: str, *options: str) -> tuple[list[float], list[int]]:
    run(capsys, "scan", model, data, "--k", "1", "--out", "top.safetensors", *options)
    top = TopActivations.load("top.safetensors")
    (layer,) = top.layers
    return top.values[layer][:, 0].tolist(), top.images[layer][:, 0].tolist()


def agree(found: tuple[list[float], list[int]], maps: Tensor) -> None:
    values, images = strongest(maps)
    assert found[0] == pytest.approx(values, rel=1e-4)
    assert found[1] == images


# Weights


def test_settings_beside_the_weights(code, capsys) -> None:
    """Numbers of NumPy and a namespace beside the weights: the activations are those of the trained network."""
    trained = code["network"]()
    trained[0].weight.data *= 3
    settings = {"best_acc": np.float64(0.9), "args": argparse.Namespace(lr=0.1)}
    torch.save({"state_dict": trained.state_dict(), **settings}, "w.pt")
    arguments = ("--weights", "w.pt", "--layer", "0", "--channel", "0", "1", "2", "3", "--json")
    options = ("--size", "8", "--mean", "0", "--std", "1")
    printed, said = run(capsys, "project", "code.py:network", "images/a/0.png", *arguments, *options)
    expected = trained[0](pixels_of("images/a/0.png")).flatten(1).unflatten(1, (4, -1)).amax(2)[0]
    assert [unit["activation"] for unit in json.loads(printed)["units"]] == pytest.approx(expected.tolist(), rel=1e-4)
    assert said == ""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "is an HDF5 file, as Keras writes"),
        (b"<!DOCTYPE html><html>", "is a web page, not a file of weights"),
        (None, "holds Python objects besides weights"),
    ],
)
def test_files_that_are_no_weights(code, capsys, content: bytes | None, sentence: str) -> None:
    if content is None:
        torch.save(nn.Sequential(nn.Conv2d(1, 4, 3)), "w.pt")
    else:
        Path("w.pt").write_bytes(content)
    _, said = run(capsys, "layers", "code.py:network", "--weights", "w.pt", "--size", "8", status=2)
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_what_the_reference_network_makes_of_a_file_is_said(code, capsys) -> None:
    state = {f"model.{name}": value * 2 for name, value in mnist_cnn().state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "w.ckpt")
    printed, said = run(capsys, "filters", "mnist", "--layer", "conv1", "--weights", "w.ckpt", "--json")
    assert said == "note: 'w.ckpt': names without 'model.'\n"
    expected = 2 * mnist_cnn().conv1.weight.detach().flatten(1).norm(dim=1)
    assert [row["strength"] for row in json.loads(printed)["table"]] == pytest.approx(expected.tolist())


def test_a_holder_of_a_model(code, capsys) -> None:
    _, said = run(capsys, "layers", "code.py:Learner", status=2)
    assert "made a Learner, not a torch.nn.Module; its attribute 'model' is one" in said


# Images


def test_an_image_that_is_standardised_by_itself_is_shown_as_it_was(code, capsys, monkeypatch) -> None:
    shown = []
    project = dv.DeconvNet.project
    monkeypatch.setattr(
        dv.DeconvNet, "project", lambda *given, **named: shown.append(project(*given, **named)) or shown[-1]
    )
    run(capsys, "project", "code.py:by_itself", "images/a/0.png", "--layer", "0")
    assert torch.allclose(shown[0].images, pixels_of("images/a/0.png"), atol=0.003)


def test_images_of_16_bits_reach_a_preprocess_with_all_levels(code, capsys) -> None:
    Path("scans").mkdir()
    values = np.random.default_rng(3).integers(0, 4000, (2, 9, 9), dtype=np.uint16)
    for number, scan in enumerate(values):
        Image.fromarray(scan).save(f"scans/{number}.png")
    found = scanned(capsys, "code.py:network", "scans", "--preprocess", "code.py:levels", "--layers", "0")
    x = torch.from_numpy(values.astype(np.float32))[:, None] / 4000
    agree(found, code["network"]()[0](x))


def test_grey_files_for_a_network_of_colours(code, capsys) -> None:
    found = scanned(capsys, "code.py:colours", "images", "--layers", "0")
    names = [f"images/{folder}/{number}.png" for number, folder in enumerate("aabb")]
    agree(found, code["network"](3)[0](pixels_of(*names).expand(-1, 3, -1, -1)))


def test_three_bands_are_shown(code, capsys) -> None:
    scenes = torch.rand(2, 13, 9, 9) * 0.2
    scenes[:, 5], scenes[:, (6, 7)] = 1.0, 0.0
    np.save("scenes.npy", scenes.numpy())
    expected = code["network"](13)[0](scenes)
    arguments = ("code.py:many", "scenes.npy", "--layer", "0", "--size", "9", "--mean", "0", "--std", "1")
    rows = json.loads(run(capsys, "top", *arguments, "--bands", "5", "6", "7", "--json", "--out", "a.png")[0])["table"]
    strongest_units = {row["channel"]: row["activation"] for row in rows if row["rank"] == 1}
    assert strongest_units == pytest.approx(
        {channel: value for channel, value in enumerate(strongest(expected)[0]) if value > 0}, rel=1e-4
    )
    run(capsys, "top", *arguments, "--out", "b.png")
    with Image.open("a.png") as chosen, Image.open("b.png") as average:
        red = (np.array(chosen.convert("RGB")) == [255, 0, 0]).all(2).sum()
        assert red > 1000, "band 5 is red, the others are dark"
        assert (np.array(average.convert("RGB")) == [255, 0, 0]).all(2).sum() == 0
    _, said = run(capsys, "layers", "code.py:many", "--size", "9", "--bands", "1", "2", "13", status=2)
    assert "bands are three channels from 0 to 12, not (1, 2, 13)" in said


# Datasets


def test_a_data_loader(code, capsys) -> None:
    agree(
        scanned(capsys, "code.py:network", "code.py:loader", "--layers", "0"), code["network"]()[0](code["tensors"]())
    )


def test_a_list_of_paths(code, capsys) -> None:
    found = scanned(capsys, "code.py:grey", "code.py:paths", "--layers", "0")
    agree(found, code["network"]()[0](pixels_of(*code["paths"]())))


def test_names_and_classes_of_a_part(code, capsys) -> None:
    printed, _ = run(capsys, "top", "code.py:grey", "code.py:part", "--layer", "0", "--json")
    assert {(row["image"], row["label"]) for row in json.loads(printed)["table"]} == {
        ("b/3.png", "b"),
        ("a/0.png", "a"),
    }


def test_values_to_predict_are_no_classes(code, capsys) -> None:
    Path("m.csv").write_text("path,label\nimages/a/0.png,34.7\nimages/b/2.png,12.1\n")
    printed, _ = run(capsys, "top", "code.py:grey", "m.csv", "--layer", "0", "--json")
    assert {row["label"] for row in json.loads(printed)["table"]} == {""}


def test_class_names_are_kept_with_a_scan(code, capsys) -> None:
    Path("m.csv").write_text("path,label\nimages/a/0.png,0\nimages/b/2.png,1\n")
    Path("names.txt").write_text("heron\nstork\n")
    scanned(capsys, "code.py:grey", "m.csv", "--classes", "names.txt", "--layers", "0")
    assert TopActivations.load("top.safetensors").classes == ("heron", "stork")
    arguments = ("code.py:grey", "m.csv", "--layer", "0", "--top", "top.safetensors", "--json")
    table = json.loads(run(capsys, "top", *arguments)[0])["table"]
    assert {(row["image"], row["label"]) for row in table} <= {("images/a/0.png", "heron"), ("images/b/2.png", "stork")}
    scanned(capsys, "code.py:grey", "images", "--layers", "0")
    assert TopActivations.load("top.safetensors").classes == ("a", "b"), "those of the dataset"


def test_a_video(code, capsys) -> None:
    av = pytest.importorskip("av")
    shades = [0, 40, 200, 80]
    with av.open("film.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for shade in shades:
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (32, 32), (shade,) * 3))))
        container.mux(stream.encode())
    _, images = scanned(capsys, "code.py:grey", "film.mp4", "--layers", "0")
    weights = code["network"]()[0].weight.sum((1, 2, 3))
    assert images == [2 if weight > 0 else 0 for weight in weights.tolist()], "the brightest frame, or the darkest"


def test_random_crops(code, capsys) -> None:
    arguments = ("code.py:network", "code.py:Cropped", "--layers", "0", "--no-evidence", "--size", "6")
    _, said = run(capsys, "atlas", *arguments, status=2)
    assert ".png is another image each time it is read, as with random crops or flips" in said


def test_several_inputs(code, capsys) -> None:
    model, inputs = code["Pair"](), code["tensors"]()
    found = scanned(capsys, "code.py:Pair", "code.py:pairs", "--layers", "output")
    agree(found, model(inputs[:5], inputs[5:]))
    model = code["Mapped"]()
    found = scanned(capsys, "code.py:Mapped", "code.py:mappings", "--layers", "output")
    agree(found, model(inputs[:5], inputs[5:]))
