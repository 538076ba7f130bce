"""The list of other packages' networks, of which none needs its package before it is built."""

from __future__ import annotations

from collections import Counter

from benchmarks.zoo import ZOO, zoo


def test_every_network_of_the_zoo_has_a_name_of_its_own_and_a_package():
    entries = list(zoo())
    assert len({(entry.family, entry.name) for entry in entries}) == len(entries) > 200
    assert set(Counter(entry.family for entry in entries)) == set(ZOO)
