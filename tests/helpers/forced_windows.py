"""Windows wherever they are possible, whatever is less work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deconvviz.projection import cropped


@contextmanager
def windows_forced() -> Iterator[list[str]]:
    """Inside, windows are used where they are possible; what is given back says how often, and how."""
    kinds: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("from_images", "from_trace"):
            original = getattr(cropped.Windowed, name)

            def noted(self, *arguments, name=name, original=original):
                result = original(self, *arguments)
                kinds.append(name)
                return result

            patch.setattr(cropped.Windowed, name, noted)
        for name in ("less_back", "less_both_ways"):
            patch.setattr(cropped.Windowed, name, lambda *_: True)
        patch.setattr(cropped, "worth_a_look", lambda *_: True)
        yield kinds
