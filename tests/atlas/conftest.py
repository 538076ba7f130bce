"""What the tests of the pages share."""

from __future__ import annotations

import pytest

from tests.helpers.hostile_atlas import ABOUT, EVIL, LAYERS
from tests.helpers.synthetic_atlas import write


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of an atlas whose texts are hostile."""
    page = write(tmp_path_factory.mktemp("atlas") / "out", LAYERS, ABOUT, [EVIL, "tench"])
    return page.as_uri()
