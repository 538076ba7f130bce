"""Follows README, tutorial, every how-to and the notebooks as a newcomer would: a new clone, an empty environment.

    python docs/newcomer.py                      installs several GB into a temporary folder, then runs every step
    python docs/newcomer.py --only audio video   these documents alone
    python docs/newcomer.py --make               also runs `make demo` and `make test` in the clone
    python docs/newcomer.py --photos FOLDER --squeezenet FILE    for the notebook on photographs

Each document has a folder of its own; its Python and its commands run in their order. What a newcomer has not is stood
in for, which is printed: see `docs/stand_ins.py`. Prints each step with its seconds, and ends with 1 where one fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import tempfile
import time
import traceback
import urllib.request
from pathlib import Path
from typing import Any

from stand_ins import MAKES, PACKAGES, own, photographs, stood_in

ROOT = Path(__file__).resolve().parents[1]
HOWTOS = sorted((ROOT / "docs" / "howto").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", *HOWTOS, *NOTEBOOKS]
TOGETHER = {"tutorial": "README"}  # documents that are followed in the folder of another one
INSTALLED = ("pip install .", "pip install '.[all]'", "pip install --force-reinstall")  # done before, or not needed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[path.stem for path in DOCUMENTS])
    parser.add_argument("--make", action="store_true", help="also `make demo` and `make test`, in their environment")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs for the notebook, 100 or more")
    parser.add_argument("--squeezenet", type=Path, metavar="FILE", help="SqueezeNet's weights for the notebook")
    parser.add_argument("--follow", metavar="FILE", help=argparse.SUPPRESS)  # one document, in the current folder
    given = parser.parse_args()
    if given.follow:
        return follow(Path(given.follow), given.photos, given.squeezenet)
    with tempfile.TemporaryDirectory(prefix="new comer ") as folder:  # a path with a space
        failed = begin(Path(folder), given)
    print(f"failed: {', '.join(failed)}" if failed else "every step went well")
    return bool(failed)


def begin(folder: Path, given: argparse.Namespace) -> list[str]:
    """The five commands of the README, which clone and install, then the documents; what failed."""
    clone, environment = folder / "deconvviz", folder / "environment"  # as the README calls them
    inside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    inside["BROWSER"] = "true"  # a browser that opens nothing
    steps = Steps(folder, inside)
    home = Path.cwd()
    os.chdir(folder)
    own()
    os.chdir(home)
    start = time.monotonic()
    for command in five_commands():
        steps.run([str(ROOT) if word == "URL" else word for word in command])
    print(f"{time.monotonic() - start:.0f} s for the five commands to a figure of one's own network", flush=True)
    if given.make:
        steps.run(["make", "demo"], clone)
        steps.run(["make", "test"], clone)
    inside["PATH"] = f"{environment / 'bin'}{os.pathsep}{inside['PATH']}"
    options = [
        f"--{name}={getattr(given, name).absolute()}" for name in ("photos", "squeezenet") if getattr(given, name)
    ]
    for path in [] if steps.failed else DOCUMENTS:
        if not given.only or path.stem in given.only:
            work = folder / TOGETHER.get(path.stem, path.stem)
            work.mkdir(exist_ok=True)
            script, document = (clone / one.relative_to(ROOT) for one in (Path(__file__).resolve(), path))
            one = subprocess.run(
                ["python", str(script), "--follow", str(document), *options], cwd=work, env=inside, check=False
            )
            steps.failed += [path.stem] if one.returncode else []
    return steps.failed


def five_commands() -> list[list[str]]:
    """The words of each of the five commands in the README."""
    blocks = re.findall(
        r"^```sh\n(git clone .*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [shlex.split(line, comments=True) for line in blocks[0].splitlines()]


class Steps:
    """Steps that are run one after the other and printed; which of them failed."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.failed: list[str] = []

    def run(self, command: list[str], folder: Path | None = None) -> None:
        self.step(shlex.join(command), lambda: _ran(command, folder or self.folder, self.environment))

    def step(self, name: str, act: Any) -> None:
        start, said = time.monotonic(), ""
        try:
            act()
        except Exception as error:
            said = str(error) if isinstance(error, RuntimeError) else traceback.format_exc()
            self.failed.append(name)
        print(f"{'FAILED' if said else 'ok':6} {time.monotonic() - start:5.0f} s  {name}", flush=True)
        if said:
            print(said[-2000:], flush=True)


def _ran(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"exit status {run.returncode}\n{run.stdout}{run.stderr}")


# One document, in the current folder, by the Python of the new environment


def follow(path: Path, photos: Path | None, squeezenet: Path | None) -> int:
    print(f"\n{path.name}", flush=True)
    steps = Steps(Path.cwd(), dict(os.environ))
    for package in PACKAGES.get(path.stem, ()):
        steps.run(["python", "-m", "pip", "install", "-q", "--disable-pip-version-check", package])
    if path.suffix == ".ipynb":
        steps.step(path.name, lambda: _notebook(path, photos, squeezenet))
        return bool(steps.failed)
    if path.stem in MAKES:
        steps.step(f"stand-ins for what a reader has: {path.stem}", MAKES[path.stem])
    scope: dict[str, Any] = {"__name__": "__main__"}
    text = path.read_text("utf-8")
    for number, (language, block) in enumerate(
        re.findall(r"^```(python|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ):
        if language == "python":
            steps.step(f"block {number}, Python", lambda block=block: exec(compile(block, path.name, "exec"), scope))
            continue
        if block.startswith("git clone"):
            continue  # the five commands
        for line in block.replace("\\\n", " ").splitlines():
            _command(steps, shlex.join(shlex.split(line, comments=True)))
    return bool(steps.failed)


def _command(steps: Steps, command: str) -> None:
    """Run a command of a document, or say why not."""
    if (
        not command
        or command.startswith(("make ", ". .venv"))
        or any(one in command for one in map(_unquoted, INSTALLED))
    ):
        return
    if not command.startswith(("deconvviz ", "pip install ", "torchrun ")):
        print(f"left out       {command}", flush=True)
        return
    instead, reasons = stood_in(command)
    if reasons:
        print(f"stand-in       {', '.join(reasons)}: {command}", flush=True)
    if instead.startswith("deconvviz explore"):
        steps.step(instead, lambda: _explored(shlex.split(instead)))
    else:
        steps.run(shlex.split(instead))


def _unquoted(command: str) -> str:
    return shlex.join(shlex.split(command))


def _explored(command: list[str]) -> None:
    """Start the explorer, ask for its page as a browser would, and end it as a person would."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout
        assert started.stderr
        address = started.stdout.readline().strip()
        try:
            with urllib.request.urlopen(address, timeout=60) as page:
                content = page.read()
        except Exception as error:
            started.kill()
            raise RuntimeError(f"{address!r}: {error}\n{started.stderr.read()}") from error
        started.send_signal(signal.SIGINT)
        if started.wait(60) or b"<html" not in content:
            raise RuntimeError(f"exit status {started.returncode}, page of {len(content)} bytes")


def _notebook(path: Path, photos: Path | None, squeezenet: Path | None) -> None:
    """Run a notebook; what that on photographs needs is linked, or stood in for."""
    import torch  # noqa: PLC0415  of the new environment
    import torchvision  # noqa: PLC0415
    from notebooks import run  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    if path.stem == "photographs":
        if photos:
            Path("photos").symlink_to(photos)
        else:
            print("stand-in       120 pictures of noise and discs in place of photographs", flush=True)
            photographs("photos", 120)
        if not squeezenet:
            print("stand-in       random weights in place of those that torchvision downloads", flush=True)
        weights = load_file(squeezenet) if squeezenet else torchvision.models.squeezenet1_1(weights=None).state_dict()
        hub = Path("hub", "checkpoints")
        hub.mkdir(parents=True)
        torch.save(weights, hub / "squeezenet1_1-b8a52dc0.pth")  # where torchvision looks before it downloads
        os.environ["TORCH_HOME"] = str(Path.cwd())
    run(path, Path.cwd())


if __name__ == "__main__":
    raise SystemExit(main())
