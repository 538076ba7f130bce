"""Verdicts claim nothing where there is nothing, in at least 95 % of the cases, and find the documented effects.

`python -m benchmarks.verdicts` runs the same simulations longer.
"""

from __future__ import annotations

import pytest

from benchmarks.verdicts import VERDICTS, rate

REPEATS = 60
MOST = 0.15  # a rate of 0.05 exceeds it once in 400 times


QUICK = [name for name, verdict in VERDICTS.items() if verdict.takes == 1]  # the others in the benchmark alone


@pytest.mark.parametrize("name", QUICK)
def test_false_positives_and_power(name):
    verdict = VERDICTS[name]
    assert rate(verdict.drawn(verdict.nothing), verdict.claims, 16, REPEATS) <= MOST
    assert rate(verdict.drawn(verdict.documented), verdict.claims, 16, REPEATS // 3) >= 0.8


OF_IMAGES = ("deletion", "randomisation", "selectivity", "clarity", "localisation")


@pytest.mark.parametrize("name", [name for name in QUICK if name.startswith(OF_IMAGES)])
def test_there_is_no_verdict_on_seven_images(name):
    effect = VERDICTS[name].drawn(VERDICTS[name].documented)
    for seed in range(5):
        said = []
        rate(effect, lambda verdict, said=said: bool(said.append(verdict)), 7, 1, seed)
        assert "7 images are too few to say; use at least 8" in said[0]
