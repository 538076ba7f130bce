"""What several attribution methods say about one unit, side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from deconvviz.results.base import Result, as_html, as_text, kind
from deconvviz.results.pictures import Provenance, Unit


@kind
@dataclass(frozen=True)
class Attributed:
    """What one method gave.

    name: "deconvnet" and "guided" are deconvviz; Captum's methods have the names of their classes.
    pixels: (C, H, W), signed; None where the method failed.
    seconds: of the one call, without making the method ready.
    remark: why it failed, or what one must know about the picture.
    """

    name: str
    pixels: torch.Tensor | None
    seconds: float
    remark: str

    @property
    def by(self) -> str:
        """Whose method it is."""
        return "deconvviz" if self.name in ("deconvnet", "guided") else "Captum"


@dataclass(frozen=True)
class Comparison(Result):
    """Attributions of one unit of one image by several methods, and how far they agree.

    image: (C, H, W), for display. unit: a class is a unit of the layer "output".
    receptive_field: (2, 2), rows and columns that the unit sees: first pixel and one past the last.
    agreement: "Spearman", "SSIM" and "overlap", each (methods, methods), of heatmaps in the receptive field; NaN for
        methods that failed. The overlap is that of the strongest tenth of the pixels.
    scores: numbers per method by the name of the score, such as Captum's infidelity and sensitivity.
    settings: in words, how methods and scores were computed.
    """

    drawn_by: ClassVar[str] = "deconvviz.figures.comparison"

    image: torch.Tensor
    unit: Unit
    receptive_field: torch.Tensor
    methods: tuple[Attributed, ...]
    agreement: dict[str, torch.Tensor]
    scores: dict[str, dict[str, float]]
    settings: tuple[str, ...]
    provenance: Provenance

    def __getitem__(self, name: str) -> Attributed:
        """What the method of that name gave."""
        return {method.name: method for method in self.methods}[name]

    @property
    def title(self) -> str:
        """The unit in words."""
        where = f" at {self.unit.position}" if self.unit.position else ""
        layer = "class" if self.unit.layer == "output" else f"{self.unit.layer}, channel"
        return f"{self.provenance.model}, {layer} {self.unit.channel}{where}, activation {self.unit.activation:.4g}"

    def rows(self) -> list[tuple[str, ...]]:
        """One row for each method, a header first: its seconds, its scores, and what is to be said about it."""
        rows: list[tuple[str, ...]] = [("method", "by", "seconds", *self.scores, "remark")]
        for method in self.methods:
            failed = method.pixels is None
            scores = [_number(values.get(method.name, math.nan)) for values in self.scores.values()]
            rows.append(
                (
                    method.name,
                    method.by,
                    "" if failed else f"{method.seconds:.3f}",
                    *scores,
                    f"failed: {method.remark}" if failed else method.remark,
                )
            )
        return rows

    def agreement_rows(self, measure: str) -> list[tuple[str, ...]]:
        """The agreement of all pairs by one measure, a header first; columns are numbered as the rows are."""
        names = [f"{number} {method.name}" for number, method in enumerate(self.methods, 1)]
        header = (measure, *(str(number) for number in range(1, len(names) + 1)))
        values = self.agreement[measure].tolist()
        cells = [["" if math.isnan(value) else f"{value:.2f}" for value in row] for row in values]
        return [header] + [(name, *row) for name, row in zip(names, cells, strict=True)]

    def __str__(self) -> str:
        tables = [self.rows(), *(self.agreement_rows(measure) for measure in self.agreement)]
        return "\n\n".join([self.title, *map(as_text, tables), "\n".join(self.settings)])

    def _repr_html_(self) -> str:
        tables = [self.rows(), *(self.agreement_rows(measure) for measure in self.agreement)]
        said = "".join(f"<p>{line}</p>" for line in self.settings)
        return super()._repr_html_() + "".join(map(as_html, tables)) + said


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}" if 0.01 <= abs(value) < 100 else f"{value:.2g}"
