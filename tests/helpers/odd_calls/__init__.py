"""Calls of the public functions in which one argument at a time is replaced by an odd value.

`CALLS` is a table of right calls, with the kind of each argument. Most odd values must be refused in one sentence. A
few are another way to write the right value, and must give the same result.
"""

from __future__ import annotations

import pathlib

from PIL import Image
from torch import nn

from deconvviz import models
from tests.helpers.odd_calls.analyses import ANALYSES
from tests.helpers.odd_calls.data_and_models import DATA_AND_MODELS
from tests.helpers.odd_calls.kinds import Call
from tests.helpers.odd_calls.subjects import PROJECTION

CALLS: dict[str, Call] = {**ANALYSES, **DATA_AND_MODELS}


def files(folder: pathlib.Path) -> None:
    """Write the files that the calls read."""
    Image.new("L", (9, 9)).save(folder / "a.png")
    (folder / "folder").mkdir()
    Image.new("L", (9, 9)).save(folder / "folder" / "a.png")
    (folder / "a.idx").write_bytes(b"\0\0\x08\x01\0\0\0\x01\x01")
    (folder / "parts.csv").write_text("image,part,row,column\na.png,eye,4,5\n")
    models.save_weights(nn.Linear(2, 1), folder / "a.safetensors")
    PROJECTION.save(folder / "d.safetensors")
