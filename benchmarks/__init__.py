"""Measurements over many models, too long for the tests. They share the tests' independent reference."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
