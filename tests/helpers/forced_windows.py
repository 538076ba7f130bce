"""Contexts that use windows wherever possible, and that change what operations cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deconvviz.projection import crop_cost, crop_plan, cropped, device_costs


@contextmanager
def windows_forced() -> Iterator[list[str]]:
    """Use windows wherever possible inside the block; yields the number of uses of each kind."""
    kinds: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("project_images", "project_recorded"):
            original = getattr(cropped, name)

            def noted(*arguments: Any, name: str = name, original: Any = original) -> Any:
                result = original(*arguments)
                kinds.append(name)
                return result

            for module in (cropped, crop_plan):
                patch.setattr(module, name, noted, raising=False)
        for name in ("pay_back", "pay_both_ways"):
            patch.setattr(crop_cost.UnitCrops, name, lambda *_: True)
        patch.setattr(cropped, "may_pay", lambda *_: True)
        yield kinds


def cpu_costs(patch: pytest.MonkeyPatch, **figures: Any) -> None:
    """Change what work costs on the CPU; `figures` are fields of `DeviceCosts`."""
    patch.setattr(device_costs, "CPU", replace(device_costs.CPU, **figures))
