"""Runs the tests on other versions of Python, torch and other packages, each in its own environment.

    python -m benchmarks.versions            all combinations below; writes out/versions.json
    python -m benchmarks.versions oldest     only this one

An environment takes about 6 GB under `--work`, because torch comes with CUDA's libraries, and is removed after its run.
The last commit is tested, in a clone. If an interpreter is not on the PATH, its combination is reported and left out.
Exits with status 1 if a test failed or a combination was left out.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import timing

HERE = Path(__file__).parents[1]
REPORTED = ("torch", "torchvision", "captum", "numpy", "pillow", "matplotlib", "safetensors")


class Combination(NamedTuple):
    """An interpreter, and whether runtime dependencies have the oldest versions that setup.cfg allows."""

    python: str
    floors: bool


COMBINATIONS = {
    "oldest": Combination("3.10", floors=True),
    "newest-3.10": Combination("3.10", floors=False),
    "newest-3.12": Combination("3.12", floors=False),
    "newest-3.13": Combination("3.13", floors=False),
}


def constraints(floors: bool) -> str:
    """The text of constraints.txt; for the oldest versions, with the lower bounds of setup.cfg."""
    pinned = (HERE / "constraints.txt").read_text().splitlines()
    if not floors:
        return "\n".join(pinned)
    config = configparser.ConfigParser()
    config.read(HERE / "setup.cfg")
    lowest = [line.split(">=") for line in config["options"]["install_requires"].split()]
    names = {name for name, _ in lowest}
    others = [line for line in pinned if re.split(r"==|;", line)[0].strip() not in names]
    return "\n".join(others + [f"{name}=={version}" for name, version in lowest])


def tested(combination: Combination, folder: Path) -> dict[str, Any]:
    """Install the packages, run the tests, and return the result."""
    interpreter = shutil.which(f"python{combination.python}")
    if interpreter is None:
        return {"outcome": f"left out: there is no python{combination.python} on the PATH", "status": 1}
    checkout, python = folder / "checkout", folder / "venv" / "bin" / "python"
    pins = folder / "constraints.txt"
    pins.write_text(constraints(combination.floors))
    subprocess.run(["git", "clone", "--quiet", HERE, checkout], check=True)
    subprocess.run([interpreter, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", pins, "-e", f"{checkout}[dev]"], check=True)
    found = versions(python)
    print(", ".join(f"{name} {version}" for name, version in found.items()), flush=True)
    run = [python, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-m", "not slow", "-p", "no:cacheprovider"]
    if combination.floors:  # old packages warn about newer ones
        run += ["-W", "ignore::DeprecationWarning"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(run, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    (HERE / "out").mkdir(exist_ok=True)
    (HERE / "out" / f"versions-{folder.name}.log").write_text(done.stdout + done.stderr)
    for line in re.findall(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE):
        print(line)
    outcome = done.stdout.strip().rpartition("\n")[2].strip("= ")
    return {"versions": found, "outcome": outcome, "status": done.returncode}


def versions(python: Path) -> dict[str, str]:
    """The versions of the interpreter and of the main packages."""
    code = (
        "import json, platform; from importlib.metadata import version; "
        f"print(json.dumps({{'python': platform.python_version()}} | {{n: version(n) for n in {REPORTED!r}}}))"
    )
    found: dict[str, str] = json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.versions", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMBINATIONS)} (all)")
    parser.add_argument("--work", type=Path, help="where environments are made (the folder for temporary files)")
    parser.add_argument("--out", type=Path, default=Path("out/versions.json"))
    given = parser.parse_args()
    if unknown := set(given.names) - set(COMBINATIONS):
        parser.error(f"there is no combination {min(unknown)!r}; they are {', '.join(COMBINATIONS)}")
    results: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    names = given.names or list(COMBINATIONS)
    for name in names:
        with tempfile.TemporaryDirectory(dir=given.work) as folder:
            (Path(folder) / name).mkdir()
            results[name] = tested(COMBINATIONS[name], Path(folder) / name)
        timing.write(given.out, results)
        print(f"{name}: {results[name]['outcome']}", flush=True)
    sys.exit(any(results[name]["status"] for name in names))


if __name__ == "__main__":
    main()
