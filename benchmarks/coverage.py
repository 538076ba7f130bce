"""Check projections on hundreds of architectures against autograd, and write docs/coverage.md and docs/packages.md.

    python -m benchmarks.coverage                          every row that is not in the cache, or was wrong
    python -m benchmarks.coverage --only 'resnet' --redo . rows whose key matches, again
    python -m benchmarks.coverage --only '^$'              only write the documents from the cache

Each row runs in a worker process with limits on time and memory, one at a time. Needs the packages of the extra
`coverage`; no weights are loaded. Exits with status 1 if a row is wrong or could not be checked.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
THREADS = 2
MEMORY = 12 * 2**30  # bytes of address space per row


def main(arguments: list[str] | None = None) -> int:
    """Run the selected rows, write the cache after each one, and the documents at the end."""
    os.environ["PYTORCH_JIT"] = "0"  # the reference intercepts Python calls, so nothing may be scripted
    os.environ["YOLO_CONFIG_DIR"] = os.environ["MPLCONFIGDIR"] = tempfile.gettempdir()
    try:
        from benchmarks import report  # noqa: PLC0415  torch reads the variable when it is imported
        from benchmarks.architectures import PACKAGES, architectures  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        print(f"{missing}: pip install -e '.[coverage]', or run: make coverage-table", file=sys.stderr)
        return 2

    given = _parser().parse_args(arguments)
    rows = architectures()
    cache: dict[str, dict[str, Any]] = json.loads(given.cache.read_text()) if given.cache.exists() else {}
    asked = [key for key, row in rows.items() if re.search(given.only, key) and given.family in ("all", row.family)]
    todo = [key for key in asked if _is_due(cache.get(key), key, given.redo)]
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    worker = Worker()
    try:
        for number, key in enumerate(todo, 1):
            cache[key] = worker.check(key, given.limit)
            given.cache.write_text(json.dumps(cache, indent=1))
            print(f"{number}/{len(todo)} {report.in_one_line(key, cache[key])}", flush=True)
    finally:
        worker.stop()
    known = {key: (row, cache[key]) for key, row in rows.items() if key in cache}
    packages = {key: both for key, both in known.items() if both[0].family in PACKAGES}
    models = {key: both for key, both in known.items() if key not in packages}
    for document, kinds, name in ((report.document, models, "coverage.md"), (report.packages, packages, "packages.md")):
        if kinds:
            (given.out / name).write_text(document(kinds))
    print(report.summary(known))
    return int(any(report.is_wrong(cache[key]) for key in asked if key in cache))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coverage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose key (family/group/name) matches")
    parser.add_argument("--family", default="all", help="of one family only, such as timm or monai")
    parser.add_argument("--redo", metavar="REGEX", help="check these again although they are in the cache")
    parser.add_argument("--cache", type=Path, default=ROOT / "out" / "coverage.json", metavar="FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="FOLDER")
    parser.add_argument("--limit", type=float, default=300, metavar="SECONDS", help="for one row (default: 300)")
    return parser


def _is_due(known: dict[str, Any] | None, key: str, redo: str | None) -> bool:
    return known is None or known["status"] in ("wrong", "failed") or bool(redo and re.search(redo, key))


class Worker:
    """A process that checks one row after another. It is replaced if a row takes too long or kills it.

    module: the module in `benchmarks` whose `check` is called; by default that of the row's family.
    """

    def __init__(self, module: str | None = None) -> None:
        self.module = module
        self.context = multiprocessing.get_context("spawn")
        self.process: Any = None
        self.connection: Connection | None = None

    def check(self, key: str, limit: float) -> dict[str, Any]:
        if self.process is None:
            self.connection, theirs = self.context.Pipe()
            self.process = self.context.Process(target=_work, args=(theirs, self.module), daemon=True)
            self.process.start()
            theirs.close()
        assert self.connection is not None
        try:
            self.connection.send(key)
            if self.connection.poll(limit):
                return self.connection.recv()
            reason = f"not done after {limit:g} seconds"
        except (EOFError, OSError):
            reason = "the process died"
        self.stop()
        return {"status": "failed", "reason": reason}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def _work(connection: Connection, module: str | None) -> None:
    """Receive keys and send back rows, until killed."""
    warnings.simplefilter("ignore")
    import torch  # noqa: PLC0415  after the environment was set

    from benchmarks.architectures import PACKAGES, architectures  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", THREADS)))
    rows = architectures()
    while True:
        key = connection.recv()
        try:
            name = module or ("thorough" if rows[key].family in PACKAGES else "check")
            connection.send(importlib.import_module(f"benchmarks.{name}").check(rows[key]))
        except Exception as error:  # an error in one row must not stop the others
            traceback.print_exc()
            connection.send({"status": "failed", "reason": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    sys.exit(main())
