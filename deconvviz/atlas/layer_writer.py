"""Writing one layer of an atlas in a thread while the next one is projected."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from deconvviz.atlas.site import Site


class LayerWriter:
    """Writes layers of a site one after the other; at most one waits, so that memory and disk stay bounded."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._thread = ThreadPoolExecutor(1, "deconvviz-atlas-writer")
        self._writing: Future[None] | None = None

    def begin(self, write: Callable[[], None]) -> None:
        """Begin to write a layer, once the one before is written; raise the error of that one."""
        self.wait()
        self._writing = self._thread.submit(write)

    def check(self) -> None:
        """Raise the error of the layer that is being written, if there is one by now."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the layer that is being written, and raise its error."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def end(self) -> None:
        """Give up the layer that is being written, if there is one, and end all threads."""
        if self._writing is not None:
            self._site.stop()
            with suppress(Exception):
                self._writing.result()
        self._thread.shutdown()
