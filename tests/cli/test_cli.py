"""The command line: what it prints and writes, its exit status, and one sentence for every mistake."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn
from deconvviz.net import DeconvNet
from deconvviz.results import Selectivity, TopActivations
from tests.helpers.command_line import run


@pytest.fixture
def tiny(tmp_path):
    """A Python file with factories, good and bad."""
    path = tmp_path / "tiny.py"
    path.write_text(
        textwrap.dedent(
            """
            import torch
            from torch import nn

            def network():
                torch.manual_seed(0)
                return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Sigmoid())

            def number():
                return 7

            def broken():
                raise RuntimeError("no such luck")
            """
        )
    )
    return path


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(re.search(rf"^    {name}\s", printed, re.MULTILINE) for name in cli.COMMANDS)


def test_without_arguments_it_says_what_to_start_with(capsys):
    run()
    printed = capsys.readouterr().out
    shown = [shlex.split(re.split("  +", line.strip())[0]) for line in printed.splitlines() if "  deconvviz" in line]
    assert [words[1] for words in shown] == ["demo", "layers", "project"]
    for _, command, *arguments in shown:
        cli.build_parser(command).parse_args([command, *arguments])


def test_help_loads_no_torch():
    code = "import sys, deconvviz.cli as cli\ntry: cli.main(['--help'])\nexcept SystemExit: pass\n"
    code += (
        "heavy = {'torch', 'numpy', 'PIL', 'matplotlib', 'shtab', 'tqdm'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert cli.COMMANDS[command].summary[:30] in capsys.readouterr().out.replace("\n", " ")


def test_layers_prints_the_table(capsys, tiny):
    run("layers", "mnist")
    printed = capsys.readouterr().out
    assert printed.startswith("layer ")
    assert re.search(r"^conv2 +Conv2d +1 x 48 x 14 x 14 +2 x 2 +16 x 16$", printed, re.MULTILINE)
    run("layers", f"{tiny}:network", "--size", 20)
    assert re.search(
        r"^3 +Sigmoid +1 x 2 x 16 x 16 +1 x 1 +5 x 5 +aten.sigmoid$", capsys.readouterr().out, re.MULTILINE
    )


def test_project_writes_the_picture_and_prints_the_units(capsys, tmp_path):
    out = tmp_path / "new folder" / "seven.png"
    run("project", "mnist", "mnist:0", "--layer", "conv2", "--channel", 3, 5, "--out", out)
    images, _ = mnist_test()
    units = DeconvNet(mnist_cnn()).project(images[:1], "conv2", channel=[3, 5]).units
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        *(f"conv2 channel {u.channel} at {u.position}: activation {u.activation:.4g}" for u in units),
        str(out),
    ]
    assert Image.open(out).convert("L").getextrema()[0] < 50


def test_project_takes_the_strongest_channels_and_says_what_was_linearised(capsys, tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    Image.fromarray(picture).save("noise.png")
    run(
        "project", f"{tiny}:network", "noise.png", "--layer", "3", "--size", 24, "--position", 4, 5, "--style", "guided"
    )
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in printed[:2]] == ["3 channel 0 at (4, 5)", "3 channel 1 at (4, 5)"]
    assert printed[2:] == ["linearised: aten.sigmoid in 3", "noise-3.png"]
    assert (tmp_path / "noise-3.png").is_file()


def printed_json(capsys):
    """What a command printed, and nothing but JSON as the standard has it: no NaN, no Infinity."""

    def refused(constant):
        raise AssertionError(constant)

    return json.loads(capsys.readouterr().out, parse_constant=refused)


def test_json_of_layers_and_units(capsys, tmp_path, tiny):
    run("layers", f"{tiny}:network", "--size", 20, "--json")
    table = printed_json(capsys)["table"]
    assert [row["layer"] for row in table] == ["0", "1", "2", "3", "output"]
    assert table[3] == {
        "layer": "3",
        "kind": "Sigmoid",
        "shape": [1, 2, 16, 16],
        "stride": [1.0, 1.0],
        "receptive field": [5, 5],
        "linearised": ["aten.sigmoid"],
    }
    run("layers", "mnist", "--json")
    assert printed_json(capsys)["table"][-1]["receptive field"] is None  # it sees all
    out = tmp_path / "seven.png"
    run("project", "mnist", "mnist:0", "--layer", "conv2", "--channel", 3, "--out", out, "--json")
    units = DeconvNet(mnist_cnn()).project(mnist_test()[0][:1], "conv2", channel=3).units
    found = printed_json(capsys)
    assert found["files"] == [str(out)]
    assert found["linearised"] == []
    assert found["units"] == [{**dataclasses.asdict(units[0]), "position": list(units[0].position)}]


def test_json_of_scan(capsys, tmp_path):
    for number, picture in enumerate((mnist_test()[0][:3, 0] * 255).byte().numpy()):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"")
    run("scan", "mnist", tmp_path, "--out", tmp_path / "top.safetensors", "--json")
    shown = capsys.readouterr()
    assert shown.err.startswith("left out: broken.png: ")
    assert shown.err.count("\n") == 1  # and no bar, which is for a terminal
    found, top = json.loads(shown.out), TopActivations.load(tmp_path / "top.safetensors")
    assert found["files"] == [str(tmp_path / "top.safetensors")]
    assert (found["images"], [one["name"] for one in found["broken"]]) == (3, ["broken.png"])
    assert [row["strongest"] for row in found["table"]] == [float(top.values[layer].max()) for layer in top.layers]


@pytest.mark.parametrize("watched", [True, False])
def test_progress_is_shown_on_a_terminal_only(watched, capsys, tmp_path, monkeypatch):
    Image.new("L", (28, 28)).save(tmp_path / "0.png")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    run("scan", "mnist", tmp_path, "--layers", "conv1", "--out", tmp_path / "top.safetensors")
    assert ("scan:" in capsys.readouterr().err) == watched


def test_json_of_judgements(capsys, tmp_path):
    asked = ["--layer", "fc2", "--measures", "selectivity", "--out", tmp_path, "--json"]
    run("evidence", "mnist", "mnist:0", *asked)
    found, saved = printed_json(capsys)["selectivity"], Selectivity.load(tmp_path / "selectivity.safetensors")
    assert found["verdict"] == saved.verdict
    (row,) = [row for row in found["table"] if row["method"] == "deconvnet"]
    score = saved.spearman["deconvnet"]
    assert row["rank correlation"] == {"mean": score.mean, "low": None, "high": None, "images": 1}  # none of one image
    out = tmp_path / "compared.png"
    run("compare", "mnist", "mnist:0", "--methods", "deconvnet", "Saliency", "--out", out, "--json")
    found = printed_json(capsys)
    assert [row["method"] for row in found["table"]] == ["deconvnet", "Saliency"]
    assert found["agreement"]["Spearman"][0]["1"] == pytest.approx(1, abs=1e-6)
    assert found["files"] == [str(out)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_commands_and_options(shell, capsys):
    run("completion", shell)
    script = capsys.readouterr().out
    assert all(name in script for name in cli.COMMANDS)
    assert "per-image" in script


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("deconvviz pro", "project"),
        ("deconvviz layers --js", "--json"),
        ("deconvviz scan mnist mnist --per", "--per-image"),
    ],
)
def test_bash_completes(typed, offered, capsys, tmp_path):
    run("completion", "bash")
    (tmp_path / "script").write_text(capsys.readouterr().out)
    words = typed.split()
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; COMP_LINE='{typed}'; COMP_POINT={len(typed)}\n"
    asked += f"_shtab_deconvviz deconvviz '{words[-1]}' '{words[-2]}'; printf '%s\n' \"${{COMPREPLY[@]}}\""
    shown = subprocess.run(
        ["bash", "-c", f"source {tmp_path / 'script'}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert offered in shown.stdout.split(), shown


def test_weights_from_a_file(capsys, tmp_path):
    model = mnist_cnn(pretrained=False)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    run("layers", "mnist", "--weights", tmp_path / "weights.safetensors")
    save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    run("layers", "mnist", "--weights", tmp_path / "other.safetensors", status=2)
    assert "does not fit MnistCNN" in capsys.readouterr().err


def test_models_with_random_weights_say_so(capsys):
    run("layers", "torchvision:squeezenet1_1", "--size", 64)
    shown = capsys.readouterr()
    assert shown.err == "note: torchvision:squeezenet1_1 has random weights; load some with --weights FILE\n"
    assert "features.12.expand3x3" in shown.out


MISTAKES = {
    "an unknown model": (["layers", "mnits"], "there is no model 'mnits'; a model is mnist, .*; did you mean 'mnist'?"),
    "an unknown torchvision model": (
        ["layers", "torchvision:resnet19"],
        "torchvision has no model 'resnet19'; did you mean 'resnet1",
    ),
    "a missing file of a model": (
        ["layers", "nowhere.py:network"],
        "there is no file 'nowhere.py' to take a model from",
    ),
    "a missing module": (
        ["layers", "nowhere.models:network"],
        "there is no module 'nowhere.models' to take a model from",
    ),
    "a missing factory": (["layers", "{tiny}:netwrok"], "has no factory 'netwrok'; did you mean 'network'?"),
    "a factory of something else": (["layers", "{tiny}:number"], "made a int, not a torch.nn.Module"),
    "a factory that raises": (["layers", "{tiny}:broken"], r"RuntimeError: no such luck \(--debug shows where\)"),
    "an unknown layer": (
        ["project", "mnist", "mnist:0", "--layer", "conv3"],
        "there is no layer 'conv3' in MnistCNN; did you mean 'conv",
    ),
    "a channel too far": (
        ["project", "mnist", "mnist:0", "--layer", "conv1", "--channel", "99"],
        "layer 'conv1' has channels 0 to 23, not 99",
    ),
    "a position outside": (
        ["project", "mnist", "mnist:0", "--layer", "conv1", "--position", "28", "0"],
        r"the position \[28, 0\] lies outside",
    ),
    "a digit too far": (["project", "mnist", "mnist:10000", "--layer", "conv1"], "mnist:0 to mnist:9999, not"),
    "a missing image": (
        ["project", "mnist", "nowhere.png", "--layer", "conv1"],
        "there is no image file 'nowhere.png'",
    ),
    "no image": (["project", "mnist", "{tiny}", "--layer", "conv1"], "is not an image file that Pillow can read"),
    "an unknown style": (
        ["project", "mnist", "mnist:0", "--layer", "conv1", "--style", "guide"],
        "there is no style 'guide'; .*did you mean 'guided'?",
    ),
    "an unknown picture format": (
        ["project", "mnist", "mnist:0", "--layer", "conv1", "--out", "a.doc"],
        "cannot be written as 'a.doc'; its ending must be one of",
    ),
    "missing weights": (["layers", "mnist", "--weights", "nowhere.pt"], "there is no file 'nowhere.pt'"),
    "a file for a folder": (["demo", "--out", "{tiny}"], "is a file; name a folder to write the demonstration to"),
    "no training data": (
        ["train", "--root", "nowhere", "--out", "{tmp}"],
        "there is no folder 'nowhere' to read MNIST from",
    ),
    "an empty folder of training data": (["train", "--root", "{tmp}/empty", "--out", "{tmp}"], "holds no MNIST images"),
    "a setting out of range": (
        ["train", "--root", "{tmp}", "--out", "{tmp}", "--optimiser", "adagrad"],
        "optimiser is one of .*, not 'adagrad'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_with_one_sentence_and_status_2(name, tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments, sentence = MISTAKES[name]
    run(*(argument.format(tiny=tiny, tmp=tmp_path) for argument in arguments), status=2)
    said = capsys.readouterr().err
    last = said.splitlines()[-1]
    assert re.match(f"deconvviz: .*{sentence}", last), said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("*.png"))


def test_arguments_that_do_not_parse_end_with_status_2(capsys):
    for arguments in (["paint"], ["project", "mnist"], ["layers", "mnist", "--size", "big"]):
        with pytest.raises(SystemExit, match="2"):
            cli.main(arguments)


def test_debug_shows_the_traceback(tiny):
    with pytest.raises(RuntimeError, match="no such luck"):
        cli.main(["layers", f"{tiny}:broken", "--debug"])


def test_pickled_code_in_a_checkpoint_is_not_run(tmp_path):
    code = f"import os, torch\nclass Bad:\n    def __reduce__(self): return os.mkdir, ({str(tmp_path / 'ran')!r},)\n"
    code += f"torch.save({{'conv1.weight': Bad()}}, {str(tmp_path / 'bad.pt')!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    shown = subprocess.run(
        [sys.executable, "-m", "deconvviz", "layers", "mnist", "--weights", str(tmp_path / "bad.pt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 2
    assert shown.stderr.startswith("deconvviz: ")
    assert shown.stderr.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_ctrl_c_ends_with_status_130(monkeypatch, capsys):
    def interrupted(given):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "demo", cli.COMMANDS["demo"]._replace(run=interrupted))
    run("demo", status=130)
    assert capsys.readouterr().err == "interrupted\n"


def test_train_writes_weights_curves_and_checkpoints_and_goes_on(tmp_path, capsys):
    images, labels = mnist_test()
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    pixels = (images[:200] * 255).round().to(torch.uint8).numpy().tobytes()
    with gzip.open(root / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (200, 28, 28)) + pixels)
    (root / "train-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + (200).to_bytes(4, "big") + labels[:200].to(torch.uint8).numpy().tobytes()
    )
    options = [
        "train",
        "--root",
        root,
        "--channels",
        4,
        6,
        "--width",
        8,
        "--batch-norm",
        "--dropout",
        0.1,
        "--random-state",
        3,
    ]
    run(*options, "--out", out, "--epochs", 1)
    run(*options, "--out", out, "--epochs", 2)
    run(*options, "--out", tmp_path / "whole", "--epochs", 2)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "whole" / "mnist_cnn.safetensors")
    assert re.match(r"test accuracy \d+\.\d\d% on 10,000 images", printed[-2])
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoints",
        "curves.png",
        "curves.safetensors",
        "mnist_cnn.safetensors",
    ]
    resumed, whole = (mnist_cnn(weights=folder / "mnist_cnn.safetensors") for folder in (out, tmp_path / "whole"))
    assert resumed.architecture == {"channels": [4, 6], "width": 8, "batch_norm": True, "dropout": 0.1}
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert {path.name for path in (out / "checkpoints").iterdir()} >= {"epoch-001.safetensors", "epoch-002.safetensors"}
