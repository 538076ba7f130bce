"""Verdicts are right English for no image, one and two."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import deconvviz as dv
from deconvviz.data import ImageFolder
from deconvviz.evidence import deletion_verdict
from deconvviz.evidence.floor import Controls
from deconvviz.evidence.limits import blank_pictures
from deconvviz.experiments import _settling
from deconvviz.results import Flag
from deconvviz.results.words import agreeing, counted

NAN = float("nan")


def verdict_of(module: str) -> Any:
    """The function that writes the verdicts of a module."""
    return importlib.import_module(f"deconvviz.{module}")._verdict


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 pairs are"), (1, "1 pair is"), (2, "2 pairs are"), (1200, "1,200 pairs are")]
)
def test_nouns_and_verbs_agree_with_their_number(number, said):
    assert f"{counted(number, 'pair')} {agreeing(number, 'is', 'are')}" == said


def test_blank_pictures_of_one_image_and_of_several():
    assert blank_pictures("guided", 0, 1) == "the guided picture is blank"
    assert blank_pictures("guided", 0, 2) == "the guided picture is blank on 2 of 2 images, too many for a verdict"


def channels(*problems: str) -> str:
    facts = [SimpleNamespace(rms=torch.zeros(max(1, len(problems))))]
    flags = [Flag(problem, "conv1", number, 0.0) for number, problem in enumerate(problems)]
    return verdict_of("experiments.diagnosis")(facts, flags, len(problems), [])


@pytest.mark.parametrize(
    ("problem", "one", "two"),
    [
        ("dead", "1 is dead", "2 are dead"),
        ("always on", "1 is always on", "2 are always on"),
        ("duplicate", "1 is a duplicate of another", "2 are duplicates of others"),
        ("RMS", "1 is an outlier by the RMS of its filter", "2 are outliers by the RMS of their filters"),
        ("aliasing", "1 is mostly aliasing", "2 are mostly aliasing"),
    ],
)
def test_a_diagnosis(problem, one, two):
    assert channels(problem) == f"Of 1 channel in 1 layer, on 1 image, {one}."
    assert channels(problem, problem) == f"Of 2 channels in 1 layer, on 2 images, {two}."
    assert channels().startswith("Of 1 channel in 1 layer, on 0 images, none is dead")


def test_a_deletion():
    def verdict(fires: int, images: int, scored: int) -> str:
        areas = {name: torch.linspace(0.5, 0.6, images, dtype=torch.float64) for name in ("random", "guided")}
        areas["random"][fires:], areas["guided"][scored:] = NAN, NAN
        return deletion_verdict.verdict_of(areas, {}, ["guided"])

    assert verdict(0, 1, 0).startswith("The unit is no more active on its image than on the blank one")
    assert verdict(0, 2, 0).startswith("None of the 2 units is more active on its image than on the blank one")
    assert verdict(1, 3, 1).startswith("Only 1 of 3 units is more active on its image than")
    assert verdict(2, 5, 2).startswith("Only 2 of 5 units are more active on their images than")
    assert "; use at least 8" in verdict(1, 1, 1)
    assert ": 1 image is too few to say" in verdict(1, 1, 1)
    assert ": 2 images are too few to say" in verdict(2, 2, 2)
    assert ", without 1 image on which its picture is blank" in verdict(9, 9, 8)
    assert ", without 2 images on which its picture is blank" in verdict(10, 10, 8)


def test_a_selectivity():
    def verdict(blank: int, pairs: int) -> str:
        cosines = Controls(*torch.rand(3, 9, dtype=torch.float64))
        return verdict_of("evidence.selectivity")({"guided": cosines}, {"guided": blank}, pairs, 0)

    assert "(1 of 3 pairs of guided pictures includes a blank one and is left out)" in verdict(1, 3)
    assert "(2 of 5 pairs of guided pictures include a blank one and are left out)" in verdict(2, 5)
    assert verdict(1, 1).startswith("1 of 1 pair of guided pictures includes a blank one, and too few are left")


def test_a_randomisation_and_a_localisation():
    def verdict(blank: int, images: int) -> str:
        kept = torch.rand(2, images, dtype=torch.float64)
        kept[:, :blank] = NAN
        return verdict_of("evidence.randomisation")(
            {"guided": kept}, {"guided": torch.zeros(images, dtype=torch.float64)}, "cascading"
        )

    assert "(without 1 image on which it is blank)" in verdict(1, 4)
    assert "(without 2 images on which it is blank)" in verdict(2, 4)

    def pointed(images: int) -> str:
        hits = {"guided": torch.full((images,), NAN), "random": torch.ones(images)}
        return verdict_of("evidence.localisation")(hits, 0.1)

    assert pointed(1).startswith("the guided picture is blank (")
    assert pointed(2).startswith("the guided picture is blank on 2 of 2 images")


def test_a_clarity():
    def verdict(constant: int, images: int) -> str:
        trained = torch.rand(2, images, dtype=torch.float64)
        trained[:, :constant] = NAN
        return verdict_of("evidence.clarity")(["conv1", "conv2"], trained, trained[None])

    assert verdict(1, 1).startswith("On 1 of 1 image, the image or its reconstruction")
    assert verdict(1, 9).endswith(" Scored on 8 of 9 images; the other has no correlation.")
    assert verdict(2, 10).endswith(" Scored on 8 of 10 images; the others have no correlation.")
    assert verdict(2, 5).endswith(": 3 images are too few to say; use at least 8.")


def test_an_evolution():
    def verdict(settled: dict[str, float], runs: int) -> str:
        times, still = (0.0, 1.0, 2.0), torch.zeros(1, 3)
        run = _settling.Settling(times, dict.fromkeys(settled, still), dict.fromkeys(settled, still))
        return _settling.verdict_of(settled, [run] * runs)

    assert verdict({"conv1": 3.0}, 1).startswith("One layer settles, with at most half")
    assert verdict({"conv1": 3.0}, 1).endswith("at this time: conv1 at 3.")
    two = {"conv1": 3.0, "conv2": 2.0}
    assert "at these times: conv1 at 3, conv2 at 2. Alone in the final network" in verdict(two, 1)
    three = {**two, "fc1": 4.0}
    assert "; 1 training run is too few to say which of 3 layers settle first; use at least 3." in verdict(three, 1)
    assert "; 2 training runs are too few to say" in verdict(three, 2)
    assert verdict(three, 3).endswith("beyond lock-step, 3 training runs show no order in which layers settle.")
    assert verdict(two, 5).endswith(
        "5 training runs are too few to say which of 2 layers settle first; use at least 6."
    )
    assert verdict(two, 6).endswith("beyond lock-step, 6 training runs show no order in which layers settle.")


def test_an_invariance():
    def verdict(silent: int, images: int) -> str:
        moved = torch.full((1, images), 0.5, dtype=torch.float64)
        moved[:, :silent] = NAN
        wanted = SimpleNamespace(name="rotation", values=[1.0])
        far = {"conv1": torch.full((images,), NAN)}
        return verdict_of("experiments.invariance")(wanted, {"conv1": moved}, far, None, torch.tensor([True]))

    assert verdict(1, 1).endswith("conv1 is zero on 1 of 1 image, too many for a verdict.")
    assert "(without 1 image on which it is zero)" in verdict(1, 3)
    assert "(without 2 images on which it is zero)" in verdict(2, 5)


@pytest.mark.parametrize(("draws", "said"), [(1, "1 draw of random places is"), (2, "2 draws of random places are")])
def test_a_correspondence(draws, said):
    result = SimpleNamespace(
        differences={"eye": None},
        layers=("conv1",),
        changed={"eye": torch.ones(1)},
        control_changed={"eye": torch.ones(1)},
        control=None,
        aligned=None,
        delta=lambda part: torch.zeros(1),
        average=lambda control, part: torch.zeros(1, draws),
    )
    assert f"In conv1, {said} too few" in verdict_of("experiments.correspondence")(result)


@pytest.mark.parametrize(("images", "said"), [(1, "1 image is too few"), (2, "2 images are too few")])
def test_a_probe(images, said):
    assert verdict_of("experiments.probe")(["conv1"], torch.ones(1, 1), 0.5, images).startswith(said)


def test_what_is_printed_of_a_dataset_of_one_image(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    assert repr(ImageFolder(tmp_path)).endswith(", 1 image)")
    top = dv.scan(dv.DeconvNet(nn.Conv2d(1, 1, 3)), torch.rand(1, 1, 8, 8), k=1, progress=False)
    assert str(top).endswith("\n1 image of Tensor")
    assert top.figure().get_suptitle() == "1 image of Tensor"
