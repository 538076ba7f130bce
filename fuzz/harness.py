"""Fuzzes one reader with atheris, in its own process: ``python -m fuzz.harness READER FOLDER SECONDS``.

A reader may return a value or raise one of the library's errors; everything else is a crash. Crashes do not end the
run. Each kind of crash (its error and the line that raised it) is kept once, with the file that caused it. The number
of files read is written to FOLDER/count during the run, because libFuzzer ends the process itself.
"""

from __future__ import annotations

import random
import sys
import time
import traceback
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["csv", "gzip", "pickletools", "zipfile"]):
    import csv  # noqa: F401
    import gzip  # noqa: F401
    import pickletools  # noqa: F401
    import zipfile  # noqa: F401

import torch  # noqa: F401  not instrumented, which would take longer than the run

with atheris.instrument_imports(include=["deconvviz"]):
    from deconvviz.errors import DeconvVizError
    from fuzz.mutation import changed
    from fuzz.readers import READERS


class Harness:
    """Passes files to a reader, and counts them."""

    def __init__(self, reader: str, folder: Path) -> None:
        self.reader, self.folder = READERS[reader], folder
        self.path = folder / "work" / self.reader.name
        self.path.parent.mkdir()
        self.count = self.refused = 0
        self.crashes: set[str] = set()
        self.said = time.monotonic()

    def feed(self, content: bytes) -> None:
        self.path.write_bytes(content)
        try:
            self.reader.read(self.path)
        except DeconvVizError:
            self.refused += 1
        except Exception as error:
            self._crashed(error, content)
        self.count += 1
        if time.monotonic() - self.said > 1:
            self.said = time.monotonic()
            (self.folder / "count").write_text(f"{self.count} {self.refused}")

    def _crashed(self, error: Exception, content: bytes) -> None:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if "deconvviz" in one.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "outside"
        kind = f"{type(error).__name__} at {where}"
        if kind not in self.crashes:
            self.crashes.add(kind)
            number = len(self.crashes)
            (self.folder / f"crash-{number}").write_bytes(content)
            (self.folder / f"crash-{number}.txt").write_text(f"{kind}\n{''.join(traceback.format_exception(error))}")

    def mutate(self, content: bytes, size: int, seed: int) -> bytes:
        made = changed(content, self.reader.form, lambda part: bytes(atheris.Mutate(part, size)), random.Random(seed))
        return made[:size]


def main() -> None:
    reader, folder, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    warnings.simplefilter("ignore")
    seeds = folder / "seeds"
    seeds.mkdir()
    READERS[reader].seeds(seeds)
    harness = Harness(reader, folder)
    options = [
        "-max_len=65536",
        "-mutate_depth=3",
        "-rss_limit_mb=4096",
        "-timeout=60",
        "-verbosity=0",
        "-print_final_stats=0",
    ]
    call = [sys.argv[0], f"-max_total_time={seconds}", *options, f"-artifact_prefix={folder}/", str(seeds)]
    atheris.Setup(call, harness.feed, custom_mutator=harness.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
