"""Follows the README and the tutorial as a newcomer would: a new clone, an empty environment, every step in its order.

    python docs/newcomer.py                 installs several GB into a temporary folder, then about five minutes
    python docs/newcomer.py --make          also runs `make demo` and `make test` in the clone

Prints each step with its seconds, and ends with 1 where one fails. Left out, visibly: what needs files that only the
reader has. Photographs are noise.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/tutorial.md")
NEEDS_MORE = ("MNIST_FOLDER", "--pretrained", "deconvviz explore")  # data, a download, somebody who ends it
PHOTOS = """
from pathlib import Path
from PIL import Image
Path("photos").mkdir()
for number in range(9):
    Image.effect_noise((96, 96), 20 + 10 * number).convert("RGB").save(f"photos/{number}.png")
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--make", action="store_true", help="also `make demo` and `make test`, in an environment of theirs"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="new comer ") as folder:  # a path with a space
        failed = [step for step, went_well in steps(Path(folder), given.make) if not went_well]
    print(f"{len(failed)} steps failed: {', '.join(failed)}" if failed else "every step went well")
    return bool(failed)


def steps(folder: Path, make: bool) -> Iterator[tuple[str, bool]]:
    clone, environment, work = folder / "deconvviz", folder / "environment", folder / "work"
    work.mkdir()
    inside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    yield step("git clone", ["git", "clone", "-q", str(ROOT), str(clone)], folder, inside)
    if make:
        yield step("make demo", ["make", "demo"], clone, inside)
        yield step("make test", ["make", "test"], clone, inside)
    yield step("python -m venv", [sys.executable, "-m", "venv", str(environment)], folder, inside)
    inside["PATH"] = f"{environment / 'bin'}{os.pathsep}{inside['PATH']}"
    install = ["pip", "install", "-q", "--disable-pip-version-check", "-c", "constraints.txt", ".[all]"]
    yield step(" ".join(install), [str(environment / "bin" / "python"), "-m", *install], clone, inside)
    yield step("nine photographs", ["python", "-c", PHOTOS], work, inside)
    for name in DOCUMENTS:
        text = (clone / name).read_text("utf-8")
        script = work / f"{Path(name).stem}.py"
        script.write_text("\n".join(blocks(text, "python")), "utf-8")
        yield step(f"{name}: its Python", ["python", str(script)], work, inside)
        for line in "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines():
            command = line.partition("#")[0].strip()
            if not command.startswith("deconvviz "):
                continue  # installing, and make
            if any(word in command for word in NEEDS_MORE):
                print(f"left out   {name}: {command}", flush=True)
            else:
                yield step(f"{name}: {command}", ["sh", "-c", command], work, inside)


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def step(name: str, command: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, bool]:
    start = time.monotonic()
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    went_well = run.returncode == 0
    print(f"{'ok' if went_well else 'FAILED':6} {time.monotonic() - start:5.0f} s  {name}", flush=True)
    if not went_well:
        print((run.stdout + run.stderr)[-2000:], flush=True)
    return name, went_well


if __name__ == "__main__":
    raise SystemExit(main())
