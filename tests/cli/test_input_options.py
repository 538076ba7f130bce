"""How the command line makes a model's input: as the model brings it, as the options say, or as is usual, and said."""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from deconvviz import cli
from deconvviz.cli.shared import dataset
from deconvviz.data import mnist_test
from deconvviz.data.parts import read_parts
from deconvviz.errors import InputError, ModelError
from deconvviz.images import Preprocess
from deconvviz.mining.scan import scan
from deconvviz.models import mnist_cnn
from deconvviz.models.by_name import load_model, load_preprocess
from deconvviz.models.inputs import InputWishes
from deconvviz.net import DeconvNet

NETS = """
import numpy as np
import torch
from torch import nn


def lenet(channels=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 10, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(10, 6, 5), nn.ReLU()).eval()


def grey():
    return lenet(1)


def halves(image):
    pixels = torch.from_numpy(np.array(image.convert("RGB").resize((32, 32)))).float() / 255
    return pixels.permute(2, 0, 1) / 0.5 - 1


def trained():
    return lenet(), halves


def preprocess():
    return halves


def number():
    return 3


def wrong():
    return lenet(), 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with networks and a photograph that is brighter at the top."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (32, 32, 3)) * np.linspace(1, 0.2, 32)[:, None, None]
    Image.fromarray(pixels.astype(np.uint8)).save("cat.png")
    return tmp_path


def expected(mean: Any = 0.5, std: Any = 0.5, channels: int = 3) -> dict[int, tuple[list[int], float]]:
    """The strongest place and activation of each channel of the last convolution, by torch alone."""
    namespace: dict[str, Any] = {}
    exec(textwrap.dedent(NETS), namespace)
    image = Image.open("cat.png").convert("RGB" if channels == 3 else "L")
    pixels = torch.from_numpy(np.array(image)).float().reshape(32, 32, channels).permute(2, 0, 1) / 255
    x = (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    with torch.no_grad():
        maps: Tensor = namespace["lenet"](channels)[:4](x[None])[0]
    return {
        channel: ([int(i) for i in np.unravel_index(int(one.argmax()), one.shape)], float(one.max()))
        for channel, one in enumerate(maps)
    }


def projected(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[int, tuple[list[int], float]], str]:
    command = ["project", *arguments, "--layer", "3", "--json", "--out", "out.png", "--force"]
    assert cli.main(command) == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    units = json.loads(printed.out)["units"]
    return {unit["channel"]: (list(unit["position"]), unit["activation"]) for unit in units}, printed.err


def agree(found: dict[int, tuple[list[int], float]], wanted: dict[int, tuple[list[int], float]]) -> None:
    assert {channel: place for channel, (place, _) in found.items()} == {c: place for c, (place, _) in wanted.items()}
    assert [value for _, value in found.values()] == pytest.approx([v for _, v in wanted.values()], rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        ("nets.py:trained", "cat.png"),
        ("nets.py:lenet", "--preprocess", "nets.py:preprocess", "cat.png"),
        ("nets.py:lenet", "--size", "32", "--mean", "0.5", "--std", "0.5", "cat.png"),
        ("nets.py:lenet", "--size", "32", "32", "--mean", ".5", ".5", ".5", "--std", ".5", ".5", ".5", "cat.png"),
        ("nets.py:trained", "--mean", "0.5", "--std", "0.5", "--size", "32", "cat.png"),
    ],
)
def test_the_input_is_made_as_the_model_was_trained(folder: Path, capsys: pytest.CaptureFixture[str], options):
    found, said = projected(capsys, *options)
    agree(found, expected())
    assert "ImageNet" not in said


def test_what_is_assumed_is_said_once(folder: Path, capsys: pytest.CaptureFixture[str]):
    found, said = projected(capsys, "nets.py:lenet", "--size", "32", "cat.png")
    agree(found, expected([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    notes = [line for line in said.splitlines() if line.startswith("note:")]
    assert len(notes) == 1
    assert "images are resized to 32 x 32 and normalised with ImageNet's mean and standard deviation" in notes[0]
    assert cli.main(["layers", "nets.py:lenet", "--size", "32"]) == 0
    assert "note" not in capsys.readouterr().err


def test_grey_images_and_types(folder: Path, capsys: pytest.CaptureFixture[str]):
    found, said = projected(capsys, "nets.py:grey", "--size", "32", "cat.png")
    agree(found, expected([0.0], [1.0], channels=1))
    assert "scaled to 0 to 1" in said
    doubles, _ = projected(capsys, "nets.py:grey", "--size", "32", "--dtype", "float64", "--channels", "1", "cat.png")
    agree(doubles, found)
    assert load_model("nets.py:grey", wishes=InputWishes(channels=1)).shape == (1, 224, 224)


def test_an_input_may_be_wider_than_high(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["layers", "nets.py:lenet", "--size", "20", "36", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["table"][0]["shape"] == [1, 10, 16, 32]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 90), dtype=np.uint8))
    pixels = Preprocess((20, 40), (0.0,), (1.0,))(image)
    middle = image.resize((40, 20), Image.Resampling.BILINEAR, box=(5, 0, 85, 40))
    assert torch.equal(pixels[0], torch.from_numpy(np.array(middle)) / 255)


def test_torchvisions_own_transform_is_used():
    transforms = pytest.importorskip("torchvision.transforms")
    loaded = load_model("torchvision:squeezenet1_1")
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()]
    norm = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert torch.allclose(loaded.preprocess(image), transforms.Compose([*steps, norm])(image), atol=1e-5)
    assert (loaded.shape, loaded.assumed) == ((3, 224, 224), "")
    smaller = load_model("torchvision:squeezenet1_1", wishes=InputWishes(size=64))
    assert smaller.preprocess(image).shape == (3, 64, 64)


def test_timms_own_transform_is_used():
    timm = pytest.importorskip("timm")
    loaded = load_model("timm:resnet10t")
    config = timm.data.resolve_data_config({}, model=loaded.model)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    assert torch.equal(loaded.preprocess(image), timm.data.create_transform(**config)(image))
    smaller = load_model("timm:resnet10t", wishes=InputWishes(size=96))
    assert smaller.shape == (3, 96, 96)
    alone = Preprocess(96, config["mean"], config["std"])
    assert torch.equal(smaller.preprocess(image), alone(image))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--mean 0.5", "the mean is given and the std is not; give both"),
        ("--std 0.5", "the std is given and the mean is not; give both"),
        ("--mean 0.5 0.5 --std 1", "there are 3 channels, and 2 means and 3 deviations; give one for each"),
        ("--size 0", "the size of the input is a whole number from 1, not 0"),
        ("--size 3 4 5", r"the size of a picture is its height and width, not \(3, 4, 5\)"),
        ("--channels 0", "channels must be a whole number of at least 1, not 0"),
        ("--preprocess nets.py:preprocess --size 3", "a preprocess makes the whole input, so there is no size to give"),
        ("--preprocess nets.py:number", "'nets.py:number' made a int, not a function from a PIL image to a tensor"),
        ("--preprocess nets.py", "there is no preprocess 'nets.py'; a preprocess is path/to/file.py:factory"),
        ("--preprocess nets.py:proces", "'nets.py' has no factory 'proces'; did you mean 'preprocess'"),
    ],
)
def test_wishes_that_contradict_are_refused(folder: Path, options: str, sentence: str, capsys):
    command = ["project", "nets.py:lenet", "cat.png", "--layer", "3", *options.split()]
    assert cli.main(command) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_a_part_of_the_models_own_preprocess_is_not_replaced(folder: Path):
    with pytest.raises(InputError, match="brings its own preprocess, of which the size cannot be changed alone"):
        load_model("nets.py:trained", wishes=InputWishes(size=16))
    with pytest.raises(InputError, match="preprocess is a function from a PIL image to a tensor, not int"):
        load_model("nets.py:wrong")
    with pytest.raises(ModelError, match="no factory"):
        load_preprocess("nets.py:nothing")


def test_parts_move_with_the_image(folder: Path):
    """A preset of torchvision resizes 300 x 400 to 256 x 341 and keeps the middle 224."""
    presets = pytest.importorskip("torchvision.transforms._presets")
    Image.new("RGB", (400, 300)).save("wide.png")
    Path("parts.csv").write_text("image,part,row,column\nwide.png,eye,150,200\n")
    preset = presets.ImageClassification(crop_size=224)
    assert read_parts("parts.csv", ["wide.png"], preprocess=preset) == {"eye": [(112, 112)]}
    assert read_parts("parts.csv", ["wide.png"], preprocess=Preprocess((150, 200)))["eye"] == [(75, 100)]
    with pytest.raises(InputError, match=r"where a part lies after .* is not known"):
        read_parts("parts.csv", ["wide.png"], preprocess=lambda image: image)


def test_several_images_are_projected_one_after_the_other(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "other").mkdir()
    Image.open("cat.png").rotate(90).resize((40, 50)).save("other/cat.png")
    options = ["--layer", "3", "--channel", "1", "--out", "pictures", "--json"]
    assert cli.main(["project", "nets.py:trained", "cat.png", "other/cat.png", *options]) == 0
    both = json.loads(capsys.readouterr().out)["images"]
    assert [one["image"] for one in both] == ["cat.png", "other/cat.png"]
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["1-cat-3.png", "2-cat-3.png"]
    for one in both:
        alone, _ = projected(capsys, "nets.py:trained", one["image"], "--channel", "1")
        assert {unit["channel"]: (unit["position"], unit["activation"]) for unit in one["units"]} == alone


def test_every_command_that_runs_a_model_has_a_device(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name, command in cli.COMMANDS.items():
        parser = cli.build_parser(name)
        known = next(action for action in parser._actions if action.dest == "COMMAND" or action.choices).choices
        options = known[name]._option_string_actions
        assert ("--device" in options) == ("--weights" in options), (name, command)
    assert cli.main(["project", "nets.py:trained", "cat.png", "--layer", "3", "--device", "tpu"]) == 2
    assert "--device is cpu, cuda, cuda:N, xpu, xpu:N or mps, not 'tpu'" in capsys.readouterr().err


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-5), ("bfloat16", 0.05), ("float16", 0.005)])
def test_the_bundled_digits_come_in_the_type_of_the_model(folder: Path, capsys, dtype: str, tolerance: float):
    """Nobody can convert `mnist:3` on the command line."""
    strongest = []
    for options in ([], ["--dtype", dtype]):
        command = ["project", "mnist", "mnist:3", "--layer", "conv2", "--channel", "3", "--json", "--out", "p.png"]
        assert cli.main([*command, *options]) == 0
        strongest.append(json.loads(capsys.readouterr().out)["units"][0]["activation"])
    assert strongest[1] == pytest.approx(strongest[0], rel=tolerance)
    net = DeconvNet(mnist_cnn().to(getattr(torch, dtype)))
    digits = dataset(argparse.Namespace(data="mnist", root=None), net)
    top = scan(net, Subset(digits, range(6)), layers="conv1", k=1, progress=False)
    assert top.values["conv1"].amax() == pytest.approx(
        float(mnist_cnn().conv1(mnist_test()[0][:6]).detach().amax()), rel=tolerance
    )
