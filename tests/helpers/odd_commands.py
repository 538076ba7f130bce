"""Odd calls of the command line: one argument of a command at a time is replaced by an odd value.

`CALLS` has a valid call of each command, on the bundled network and the small data that `files` writes. `ODD` has the
odd values. `answer` runs a command and says what is wrong with its answer.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from unittest import mock

import torch
from PIL import Image

from deconvviz import cli
from deconvviz.data import mnist_test
from deconvviz.models import mnist_cnn, save_weights

REMARKS = ("left out: ",), ("left out: ", "conv1 (1 of 1): ")  # of an atlas, how far it is

# By command: positional arguments, and options. Each call is valid and takes a fraction of a second.
CALLS: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {
    "layers": (
        {"MODEL": ["mnist"]},
        {"--weights": ["w.safetensors"], "--size": ["28"], "--style": ["guided"], "--json": []},
    ),
    "project": (
        {"MODEL": ["mnist"], "IMAGE": ["x.png"]},
        {
            **{
                "--layer": ["conv1"],
                "--channel": ["0"],
                "--position": ["3", "3"],
                "--seed": ["one"],
                "--overlay": ["0.5"],
                "--sigma": ["1"],
                "--out": ["p.png"],
            },
            **{"--style": ["guided"], "--size": ["28"], "--weights": ["w.safetensors"], "--json": []},
        },
    ),
    "filters": (
        {"MODEL": ["mnist"]},
        {
            **{"--layer": ["conv2"], "--channel": ["0"], "--planes": ["2"], "--scale": ["each"], "--order": ["number"]},
            **{"--most": ["3"], "--weights": ["w.safetensors"], "--out": ["f.png"], "--json": []},
        },
    ),
    "activations": (
        {"MODEL": ["mnist"], "IMAGE": ["x.png"]},
        {"--layer": ["conv2"], "--channel": ["0"], "--scale": ["each"], "--out": ["f.png"], "--json": []},
    ),
    "reconstruct": (
        {"MODEL": ["mnist"], "IMAGE": ["x.png"]},
        {"--layers": ["conv1"], "--style": ["guided"], "--out": ["f.png"], "--json": []},
    ),
    "scan": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {
            **{"--layers": ["conv1"], "--k": ["1"], "--per-image": ["1"], "--batch-size": ["2"], "--workers": ["0"]},
            **{"--state": ["state"], "--device": ["cpu"], "--out": ["t.safetensors"], "--json": []},
        },
    ),
    "atlas": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {**{"--layers": ["conv1"], "--top": ["top.safetensors"], "--out": ["at"], "--no-evidence": []}},
    ),
    "occlusion": (
        {"MODEL": ["mnist"], "IMAGE": ["mnist:0"]},
        {
            **{"--target": ["3"], "--layer": ["conv2"], "--channel": ["0"], "--patch": ["14"], "--stride": ["14"]},
            **{"--fill": ["mean"], "--batch-size": ["4"], "--classes": ["classes.txt"], "--out": ["oc"], "--json": []},
        },
    ),
    "invariance": (
        {"MODEL": ["mnist"], "IMAGE": ["mnist:0"]},
        {
            **{"--transform": ["rotation"], "--values": ["0", "90"], "--layers": ["conv1"], "--target": ["7"]},
            **{"--fill": ["0.5"], "--batch-size": ["4"], "--out": ["inv"], "--json": []},
        },
    ),
    "correspond": (
        {"MODEL": ["mnist"], "IMAGE": ["mnist:0", "mnist:1"]},
        {
            **{"--parts": ["parts.csv"], "--part-size": ["5"], "--within": ["all"], "--layers": ["conv1"]},
            **{"--draws": ["1"], "--random-state": ["0"], "--fill": ["grey"], "--out": ["co"], "--json": []},
        },
    ),
    "decode": (
        {"MODEL": ["mnist"], "DATA": ["more"]},
        {
            **{"--layers": ["conv1"], "--images": ["20"], "--seeds": ["1"], "--random-state": ["0"]},
            **{"--batch-size": ["4"], "--out": ["de"], "--json": []},
        },
    ),
    "probe": (
        {"MODEL": ["mnist"], "DATA": ["classes"]},
        {
            **{"--layers": ["conv1"], "--pool": ["2"], "--folds": ["2"], "--epochs": ["1"], "--random-state": ["0"]},
            **{"--batch-size": ["4"], "--workers": ["0"], "--out": ["pr"], "--json": []},
        },
    ),
    "uncertainty": (
        {"MODEL": ["mnist"], "DATA": ["classes"]},
        {
            **{"--samples": ["2"], "--random-state": ["0"], "--batch-size": ["4"], "--workers": ["0"]},
            **{"--out": ["un"], "--json": []},
        },
    ),
    "evolve": (
        {"MODEL": ["mnist"], "CHECKPOINTS": ["run"], "DATA": ["images"]},
        {"--layers": ["conv1"], "--channel": ["0"], "--batch-size": ["4"], "--out": ["ev"], "--json": []},
    ),
    "diagnose": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {
            **{"--layers": ["conv1"], "--batch-size": ["4"], "--similar": ["0.9"], "--outlier": ["3"]},
            **{"--rms-limit": ["1"], "--out": ["di"], "--json": []},
        },
    ),
    "evidence": (
        {"MODEL": ["mnist"], "IMAGE": ["mnist:0"]},
        {
            **{"--layer": ["conv1"], "--channel": ["0"], "--position": ["3", "3"], "--measures": ["deletion"]},
            **{"--out": ["evi"], "--json": []},
        },
    ),
    "compare": (
        {"MODEL": ["mnist"], "IMAGE": ["mnist:0"]},
        {
            **{"--layer": ["conv1"], "--channel": ["0"], "--position": ["3", "3"], "--methods": ["deconvnet"]},
            **{"--out": ["c.png"], "--json": []},
        },
    ),
    "circuit": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {
            **{"--layer": ["conv2"], "--channel": ["0"], "--sources": ["conv1"], "--feeders": ["2"], "--depth": ["1"]},
            **{"--images": ["4"], "--batch-size": ["4"], "--page": ["w.html"], "--out": ["w.png"], "--json": []},
        },
    ),
    "diff": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {
            **{"--weights": ["w.safetensors"], "--layers": ["conv1"], "--pictures": ["1"], "--batch-size": ["4"]},
            **{"--pages": ["pairs"], "--out": ["d.png"], "--json": []},
        },
    ),
    "labels": (
        {"MODEL": ["mnist"], "DATA": ["classes"]},
        {
            **{"--layer": ["conv1"], "--batch-size": ["4"], "--classes": ["classes.txt"]},
            **{"--out": ["l.png"], "--json": []},
        },
    ),
    "mixed": (
        {"MODEL": ["mnist"], "DATA": ["images"]},
        {
            **{"--layer": ["conv1"], "--channel": ["0"], "--units": ["24"], "--batch-size": ["4"]},
            **{"--out": ["m.png"], "--json": []},
        },
    ),
    "synthesize": (
        {"MODEL": ["mnist"]},
        {
            **{"--layer": ["conv1"], "--channel": ["0"], "--position": ["3", "3"], "--variants": ["1"]},
            **{"--steps": ["1"], "--top": ["top.safetensors"], "--batch-size": ["4"], "--random-state": ["1"]},
            **{"--out": ["s.png"], "--json": []},
        },
    ),
    "read": (
        {"MODEL": ["mnist"], "DATA": ["more"]},
        {
            **{"--layer": ["conv1"], "--channel": ["0"], "--questions": ["1"], "--pictures": ["patches"]},
            **{
                "--observers": ["template"],
                "--batch-size": ["4"],
                "--page": ["q.html"],
                "--out": ["r.png"],
                "--json": [],
            },
        },
    ),
    "train": (
        {},
        {
            **{"--root": ["none"], "--epochs": ["1"], "--batch-size": ["8"], "--patience": ["3"], "--threads": ["1"]},
            **{"--channels": ["2", "3"], "--width": ["4"], "--dropout": ["0"], "--optimiser": ["adam"], "--l1": ["0"]},
            **{"--learning-rate": ["0.1"], "--momentum": ["0.9"], "--schedule": ["constant"], "--warm-up": ["0"]},
            **{
                "--l2": ["0"],
                "--validation": ["0.2"],
                "--rotation": ["0"],
                "--translation": ["0"],
                "--random-state": ["0"],
            },
            **{"--unlabelled": ["refuse"], "--out": ["tr"]},
        },
    ),
    "completion": ({"SHELL": ["bash"]}, {}),
}
ODD = (
    *("", " ", "-1", "0", "nan", "inf", "1e400", "99999999999999999999", "1.5", "abc", "图\u202eü", "a\nb", ".", "--"),
    *("missing.png", "images", "empty", "text.png", "x.png", "top.safetensors", "mnist", "mnist:0", "mnist:99999"),
    *("0x10", "1_0", "\u0663", "\x00", "a/b/c", "/dev/null", "~", "conv1", "conv9", "output", "%s", "True", "-"),
    *("torchvision:resnet", "x.png:f", "os:getcwd", "2", "3", "1", "mnist:-1", "pool1", "w.safetensors", "*"),
)


def files(folder: Path) -> None:
    """Write the files that the calls read."""
    digits, _ = mnist_test()
    for name in ("images", "more", "empty", "run", "classes/a", "classes/b"):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        picture = Image.fromarray((digits[number, 0] * 255).byte().numpy())
        for name in (f"images/{number}.png", f"classes/{'ab'[number % 2]}/{number}.png", "x.png"):
            picture.save(folder / name)
    for number in range(40):
        Image.fromarray((digits[number, 0] * 255).byte().numpy()).save(folder / f"more/{number}.png")
    (folder / "text.png").write_text("no picture")
    (folder / "classes.txt").write_text("\n".join(map(str, range(10))))
    lines = [f"mnist:{n},{part}" for n in (0, 1) for part in ("eye,8,8,14,14", "all,0,0,28,28")]
    (folder / "parts.csv").write_text("\n".join(["image,part,top,left,bottom,right", *lines]))
    save_weights(mnist_cnn(), folder / "w.safetensors")
    for number in (1, 2):
        save_weights(mnist_cnn(), folder / "run" / f"epoch-{number}.safetensors")
    with contextlib.redirect_stdout(io.StringIO()):
        words = ["scan", "mnist", str(folder / "images"), "--layers", "conv1", "--k", "1"]
        assert cli.main([*words, "--out", str(folder / "top.safetensors")]) == 0


def call(command: str, changed: str = "", odd: list[str] | None = None) -> list[str]:
    """The valid call of a command, with one argument changed, or left out if `odd` is None."""
    named, options = CALLS[command]
    words = [command]
    for name, values in [*named.items(), *options.items()]:
        given = values if name != changed else odd
        if given is not None:
            words += [name, *given] if name in options else given
    return words


def answer(words: list[str]) -> tuple[int, str, str, str]:
    """Run a command; return its exit status, standard output, standard error, and what is wrong with them, or ''."""
    before = sorted(str(path) for path in Path().rglob("*"))
    images, labels = torch.rand(20, 1, 28, 28), torch.arange(20) % 10
    out, said, trains = io.StringIO(), io.StringIO(), words[0] == "train"
    with (
        mock.patch("deconvviz.data.load_mnist", return_value=(images, labels)),
        mock.patch("deconvviz.data.mnist_test", return_value=(images, labels)) if trains else contextlib.nullcontext(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(said),
    ):
        try:
            status = cli.main(words)
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as error:
            return -1, out.getvalue(), said.getvalue(), f"it raised {type(error).__name__}: {error}"
    return status, out.getvalue(), said.getvalue(), _wrong(words, status, out.getvalue(), said.getvalue(), before)


def _wrong(words: list[str], status: int, printed: str, said: str, before: list[str]) -> str:
    lines = [line for line in said.split("\n") if line and not line.startswith("note: ") and " so far, " not in line]
    if status == 0:
        if lines and not all(line.startswith(REMARKS[words[0] == "atlas"]) for line in lines):
            return f"it ended well and said {lines}"
        if "--json" in words:
            json.loads(printed)
        return "" if printed else "it printed nothing"
    if status != 2:
        return f"it ended with {status}"
    if lines and lines[0].startswith("usage: "):
        lines = lines[-1:]
    if len(lines) != 1 or not lines[0].startswith("deconvviz") or "--debug shows where" in said or "Traceback" in said:
        return f"it said {said!r}"
    if (after := sorted(str(path) for path in Path().rglob("*"))) != before:
        return f"it was refused and made {sorted({*after} - {*before})}"
    return ""
