"""The verdict of deletion: each method beside chance, the baselines and its negative controls, tested in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from deconvviz.evidence.deletion_controls import ANOTHER_IMAGE, UNTRAINED, Control
from deconvviz.evidence.limits import blank_pictures, too_few
from deconvviz.evidence.methods import RIVALS, mean_score
from deconvviz.evidence.metrics import enough
from deconvviz.intervals import FEWEST, LEVEL, Difference, holm, paired_difference
from deconvviz.results.evidence import Score
from deconvviz.results.words import agreeing, counted, listing


def verdict_of(areas: Mapping[str, Tensor], controls: Mapping[str, Control], methods: Sequence[str]) -> str:
    """What the insertion areas mean, in words.

    Args:
        areas: Per ranking (images,), NaN where the unit does not fire or the picture is blank.
        controls: The negative controls.
        methods: The methods that are judged.
    """
    chance = areas["random"]
    images, fires = len(chance), mean_score(chance).images
    if not fires:
        whose = "The unit is no" if images == 1 else f"None of the {images} units is"
        return f"{whose} more active on its image than on the blank one, so there is no verdict."
    if not enough(fires, images):
        more = agreeing(fires, "is more active on its image", "are more active on their images")
        return f"Only {fires} of {counted(images, 'unit')} {more} than on the blank one, too few for a verdict."
    tests = {name: _tests(name, areas, controls) for name in methods if name not in (*RIVALS, "random")}
    adjusted = iter(holm([test.p for each in tests.values() for test in each.values()]))
    said = []
    for name, each in tests.items():
        sure = {rival: next(adjusted) <= LEVEL for rival in each}
        gain = mean_score(areas[name] - chance)
        if not enough(gain.images, fires):
            said.append(blank_pictures(name, gain.images, fires))
            continue
        said.append(_judged(name, gain, each, sure))
        if gain.images < fires:
            said[-1] += f", without {counted(fires - gain.images, 'image')} on which its picture is blank"
    left = "" if fires == images else f" Scored on {fires} of {counted(images, 'image')}, where the unit fires."
    return f"{'; '.join(said)}.{left}"


def _tests(name: str, areas: Mapping[str, Tensor], controls: Mapping[str, Control]) -> dict[str, Difference]:
    """A method's area minus those of chance, the baselines and the controls, by their names."""
    own, chance = areas[name], areas["random"]
    tests = {rival: paired_difference(own, areas[rival]) for rival in ("random", *RIVALS) if rival in areas}
    for control in (UNTRAINED, ANOTHER_IMAGE):
        if control in controls:
            tests[control] = controls[control].difference(name, own - chance)
    return {rival: test for rival, test in tests.items() if not math.isnan(test.mean)}


def _judged(name: str, gain: Score, tests: Mapping[str, Difference], sure: Mapping[str, bool]) -> str:
    if gain.images < FEWEST:
        return f"{name} gains {gain.mean:+.2f} over a random ranking: {too_few(gain.images)}"
    if not sure.get("random"):
        return f"{name} cannot be distinguished from a random ranking ({gain.mean:+.2f})"
    if gain.mean < 0:
        return f"{name} ranks pixels worse than chance ({gain.mean:+.2f})"
    said = f"{name} finds pixels that activate the unit ({gain.mean:+.2f} above chance)"
    for words, chosen in (
        ("better than", [rival for rival in RIVALS if sure.get(rival) and tests[rival].mean > 0]),
        ("no better than", [rival for rival in RIVALS if rival in sure and not sure[rival]]),
        ("worse than", [rival for rival in RIVALS if sure.get(rival) and tests[rival].mean < 0]),
    ):
        if chosen:
            said += f", {words} {listing([f'{RIVALS[rival]} ({tests[rival].mean:+.2f})' for rival in chosen])}"
    return said + _beside_controls(gain, tests, sure)


def _beside_controls(gain: Score, tests: Mapping[str, Difference], sure: Mapping[str, bool]) -> str:
    said = ""
    if UNTRAINED in tests:
        above = tests[UNTRAINED]
        more = "more than" if sure[UNTRAINED] and above.mean > 0 else "but not surely more than"
        said += f", {more} in an untrained network ({above.mean:+.2f})"
    if ANOTHER_IMAGE in tests and not (sure[ANOTHER_IMAGE] and tests[ANOTHER_IMAGE].mean > 0):
        said += f", and no better than its picture of another image ({tests[ANOTHER_IMAGE].mean:+.2f})"
    return said
