"""Results of the evidence measures: scores that tell whether you can trust the pictures, and a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from deconvviz.results.base import Finding, kind
from deconvviz.results.projections import Unit


@kind
@dataclass(frozen=True)
class Score:
    """A mean over images with its 95 % interval (Student's t, or Wilson's for a share); NaN where there is none.

    Attributes:
        mean: The mean.
        low: Lower end of the interval.
        high: Upper end of the interval.
        images: Number of images that could be scored.

    >>> print(Score(0.5, 0.4, 0.62, 20))
    0.50 (0.40 to 0.62)
    """

    mean: float
    low: float
    high: float
    images: int

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "none"
        spread = "" if math.isnan(self.low) else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.mean:.2f}{spread}"


@kind
@dataclass(frozen=True)
class Floor:
    """Mean cosines of a unit's picture with those that have less in common with it (2 x 2 controls).

    Attributes:
        other_unit: With the picture of another unit on the same image.
        other_image: With the picture of the same unit on another image.
        both: With the picture of another unit on another image: the floor.
    """

    other_unit: Score
    other_image: Score
    both: Score


CONTROLS = {
    "other_unit": "other unit, same image",
    "other_image": "same unit, other image",
    "both": "other unit, other image",
}


class Judgement(Finding):
    """Base class of the evidence results: a table of scores and a verdict."""

    drawn_by = "deconvviz.figures.evidence"


@dataclass(frozen=True, kw_only=True)
class Deletion(Judgement):
    """How a unit's activation changes when the pixels that a method ranks first are deleted or inserted.

    Attributes:
        units: One unit per image.
        fill: What replaces a deleted pixel: a number, or "mean", "blur", "black", "grey" or "white".
        fractions: (steps,), the fraction of the pixels in the receptive field, from 0 to 1.
        deletion: Per method and ranking ("guided" by absolute values, "guided, signed", "guided, times image") (images,
            steps), the unit's activation: 1 on the whole image, 0 on the blank one. NaN if the unit is no more active
            on the image than on the blank one, or if the method's picture is blank.
        insertion: The same for insertion.
        deletion_scores: Areas under the deletion curves. A random ranking scores 0.5 for a linear unit.
        insertion_scores: Areas under the insertion curves.
        gains: Insertion scores minus those of a random ranking of the same images.
        controls: Per negative control ("untrained network", "lower layers kept", "another image"), each method's gain.
        verdict: What the scores mean, in words.
    """

    units: tuple[Unit, ...]
    fill: str | float
    fractions: torch.Tensor
    deletion: dict[str, torch.Tensor]
    insertion: dict[str, torch.Tensor]
    deletion_scores: dict[str, Score]
    insertion_scores: dict[str, Score]
    gains: dict[str, Score]
    verdict: str
    controls: dict[str, dict[str, Score]] = field(default_factory=dict)

    def table(self) -> list[dict[str, Any]]:
        return [
            {
                "method": name,
                "deletion (lower is better)": score,
                "insertion (higher is better)": self.insertion_scores[name],
                "above random": self.gains[name],
                **{control: scores.get(name) for control, scores in self.controls.items()},
            }
            for name, score in self.deletion_scores.items()
        ]


@dataclass(frozen=True, kw_only=True)
class Randomisation(Judgement):
    """How similar a picture stays when layers get random weights.

    Attributes:
        units: One unit per image.
        mode: "cascading" (each layer together with all those above it) or "independent" (each layer alone).
        layers: The layers in the order of randomisation, from the unit's layer down to the first.
        cosine: Per method (seeds, layers, images), cosine with the trained network's signed picture; NaN if one of the
            two is blank.
        spearman: Per method (layers, images), rank correlation of absolute pictures, mean over seeds. It has no zero:
            see `floors`.
        ssim: The same for SSIM.
        kept: Per method, the mean cosine when the upper half of the layers is random (independent: when one layer of
            the upper half is).
        floors: Per method, the cosines of controls, in the trained network.
        verdict: What the scores mean, in words.
    """

    units: tuple[Unit, ...]
    mode: str
    layers: tuple[str, ...]
    spearman: dict[str, torch.Tensor]
    ssim: dict[str, torch.Tensor]
    kept: dict[str, Score]
    verdict: str
    cosine: dict[str, torch.Tensor] = field(default_factory=dict)
    floors: dict[str, Floor] = field(default_factory=dict)

    @property
    def similarity(self) -> dict[str, torch.Tensor]:
        """Per method (layers, images), the cosine, mean over seeds; rank correlation in files of older versions."""
        return {name: values.nanmean(0) for name, values in self.cosine.items()} or self.spearman

    def table(self) -> list[dict[str, Any]]:
        ranks = {f"{name}, rank correlation": values for name, values in self.spearman.items()} if self.cosine else {}
        others = {**ranks, **{f"{name}, SSIM": values for name, values in self.ssim.items()}}
        columns = {**self.similarity, **others}
        rows: list[dict[str, Any]] = [
            {"layer": layer, **{name: float(values[step].nanmean()) for name, values in columns.items()}}
            for step, layer in enumerate(self.layers)
        ]
        rows.append({"layer": "upper half", **self.kept, **dict.fromkeys(others)})
        for control in fields(Floor) if self.floors else ():
            values = {name: getattr(floor, control.name) for name, floor in self.floors.items()}
            rows.append({"layer": CONTROLS[control.name], **values, **dict.fromkeys(others)})
        return rows


@dataclass(frozen=True, kw_only=True)
class Selectivity(Judgement):
    """How similar the pictures of different units on the same image are, beside other units on other images.

    Attributes:
        units: The compared units of all images.
        floors: Per method, the mean cosines over the pairs of each image: of different units on the same image, of one
            unit on different images, and of different units on different images.
        spearman: Per method, the mean rank correlation of absolute pictures on the same image. It has no zero.
        ssim: The same for SSIM.
        verdict: What the scores mean, in words.
        pairs: Number of pairs.
        blank: Per method, the number of pairs left out because one of the two pictures is blank.
        duplicates: Number of pairs left out because the two units have the same activations everywhere.
    """

    units: tuple[Unit, ...]
    spearman: dict[str, Score]
    ssim: dict[str, Score]
    verdict: str
    pairs: int = 0
    blank: dict[str, int] = field(default_factory=dict)
    floors: dict[str, Floor] = field(default_factory=dict)
    duplicates: int = 0

    def table(self) -> list[dict[str, Any]]:
        return [
            {
                "method": name,
                **{CONTROLS[control]: getattr(floor, control) for control, floor in self._floor(name)},
                "rank correlation": score,
                "SSIM": self.ssim[name],
                "pairs": self.pairs,
                "with a blank picture": self.blank.get(name, 0),
            }
            for name, score in self.spearman.items()
        ]

    def _floor(self, name: str) -> list[tuple[str, Floor]]:
        return [(control.name, self.floors[name]) for control in fields(Floor)] if self.floors else []


@dataclass(frozen=True, kw_only=True)
class Localisation(Judgement):
    """The pointing game: on how many images the strongest pixel lies in the known object.

    Attributes:
        images: (images, C, H, W), for display.
        boxes: (images, spatial dimensions, 2), the object's first pixel and one past its last.
        points: Per method (images, spatial dimensions), the strongest pixel; -1 for a blank picture, which is not
            counted.
        hits: Per method, the share of images with a hit.
        chance: The same share for a random pixel.
        verdict: What the scores mean, in words.
    """

    images: torch.Tensor
    boxes: torch.Tensor
    points: dict[str, torch.Tensor]
    hits: dict[str, Score]
    chance: float
    verdict: str

    def table(self) -> list[dict[str, Any]]:
        rows = [{"method": name, "hits": score} for name, score in self.hits.items()]
        return [*rows, {"method": "chance", "hits": self.chance}]


@dataclass(frozen=True, kw_only=True)
class Clarity(Judgement):
    """How well a layer's full reconstruction shows the image, with trained and with random weights.

    Attributes:
        layers: Layer names.
        style: The style's name.
        trained: (layers, images), correlation between the pixels of the reconstruction and those of the image; NaN if
            one of the two is constant.
        random: The same with random weights.
        trained_scores: Means per layer.
        random_scores: Means per layer with random weights.
        verdict: What the scores mean, in words.
    """

    layers: tuple[str, ...]
    style: str
    trained: torch.Tensor
    random: torch.Tensor
    trained_scores: dict[str, Score]
    random_scores: dict[str, Score]
    verdict: str

    def table(self) -> list[dict[str, Any]]:
        trained, random = self.trained_scores, self.random_scores
        return [{"layer": layer, "trained": trained[layer], "random weights": random[layer]} for layer in self.layers]


@dataclass(frozen=True, kw_only=True)
class Leak(Judgement):
    """What part of deconvnet pictures went through units that were off, in shares of the pictures' norms.

    Attributes:
        units: One unit per image.
        by_image: (2, images), the leak and what went through units that are off on all images; NaN for a blank picture.
        leak: The mean leak.
        dormant: The mean share that went through units that are off on all images.
        untrained: The mean leak with random weights.
        verdict: What the scores mean, in words.
    """

    units: tuple[Unit, ...]
    by_image: torch.Tensor
    leak: Score
    dormant: Score
    untrained: Score
    verdict: str

    def table(self) -> list[dict[str, Any]]:
        return [
            {"through units that were": "off on the image", "share of the norm": self.leak},
            {"through units that were": "off on all images", "share of the norm": self.dormant},
            {"through units that were": "off on the image (random weights)", "share of the norm": self.untrained},
        ]
