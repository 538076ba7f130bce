"""Fuzzes the readers of files, one after the other: `python -m fuzz --seconds 600`."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = (
    *("result", "scan state", "weights, safetensors", "weights, torch"),
    *("training state", "IDX", "parts, CSV", "parts, JSON"),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", default=list(NAMES), help=f"some of: {'; '.join(NAMES)} (all)")
    parser.add_argument("--seconds", type=int, default=600, metavar="S", help="for all together (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), metavar="DIR", help="for crashes (%(default)s)")
    given = parser.parse_args()
    total = crashes = 0
    for reader in given.readers:
        count, refused, found = _fuzzed(reader, given.out, given.seconds // len(given.readers))
        print(f"{reader:22} {count:9,} files, {refused / max(1, count):4.0%} refused, {len(found)} crashes", flush=True)
        for one in found:
            print(f"    {one}")
        total, crashes = total + count, crashes + len(found)
    print(f"{total:,} files read, {crashes} crashes")
    return bool(crashes)


def _fuzzed(reader: str, out: Path, seconds: int) -> tuple[int, int, list[str]]:
    """A line with the numbers of files read, files refused, and crashes."""
    folder = out / reader.replace(", ", "-").replace(" ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    call = [sys.executable, "-m", "fuzz.harness", reader, str(folder), str(seconds)]
    with (folder / "log").open("w") as log:
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        status = subprocess.run(call, stdout=log, stderr=log, env=alone, check=False).returncode
    said = (folder / "count").read_text() if (folder / "count").exists() else "0 0"
    count, refused = map(int, said.split())
    found = [path.read_text().partition("\n")[0] for path in sorted(folder.glob("crash-*.txt"))]
    found += [path.name for path in folder.glob("*-*") if path.name.startswith(("oom-", "timeout-"))]
    found += [f"the run ended with {status}, see {folder / 'log'}"] if status or not count else []
    return count, refused, found


if __name__ == "__main__":
    sys.exit(main())
