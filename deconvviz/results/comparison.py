"""Attributions of one unit by several methods, side by side."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from deconvviz.results.base import Tabular, as_html, as_rows, as_text, kind, plain
from deconvviz.results.projections import Provenance, Unit
from deconvviz.results.words import in_digits


@kind
@dataclass(frozen=True)
class Attributed:
    """The result of one method.

    Attributes:
        name: "deconvnet" and "guided" are deconvviz's; Captum's methods have the names of their classes.
        pixels: (C, H, W), signed; None if the method failed.
        seconds: Duration of the call, without the method's setup.
        remark: Why the method failed, or a caveat about the picture.
    """

    name: str
    pixels: torch.Tensor | None
    seconds: float
    remark: str

    @property
    def by(self) -> str:
        """The library that the method comes from; a baseline is no method."""
        if self.name in ("brightness", "edges", "centre", "random"):
            return "baseline"
        return "deconvviz" if self.name in ("deconvnet", "guided") else "Captum"


@dataclass(frozen=True, kw_only=True)
class Comparison(Tabular):
    """Attributions of one unit of one image by several methods, and how far they agree.

    Attributes:
        image: (C, H, W), for display.
        unit: The unit; a class is a unit of the layer "output".
        receptive_field: (2, 2), per axis the first row or column and one past the last.
        methods: One entry per method.
        agreement: "Spearman", "SSIM" and "overlap" (of the top 10 % of pixels), each (methods, methods), between
            heatmaps in the receptive field; NaN if a method failed or its picture is blank there.
        scores: For each score, such as Captum's infidelity and sensitivity, one number per method.
        settings: How methods and scores were computed, in words.
        provenance: Model, style and versions.
        class_name: What the model calls the class, if the unit is one and its name is known.
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
    class_name: str = ""

    def __getitem__(self, name: str) -> Attributed:
        """The result of the method `name`."""
        return {method.name: method for method in self.methods}[name]

    @property
    def title(self) -> str:
        """The unit in words."""
        where = (
            f" at {self.unit.position}" if self.unit.position else f" ({self.class_name})" if self.class_name else ""
        )
        layer = "class" if self.unit.layer == "output" else f"{self.unit.layer}, channel"
        activation = in_digits(self.unit.activation, 4)
        return f"{self.provenance.model}, {layer} {self.unit.channel}{where}, activation {activation}"

    def table(self) -> list[dict[str, Any]]:
        """One row per method: duration, scores and remark."""
        return [
            {
                "method": method.name,
                "by": method.by,
                "seconds": None if method.pixels is None else method.seconds,
                **{name: values.get(method.name, math.nan) for name, values in self.scores.items()},
                "remark": f"failed: {method.remark}" if method.pixels is None else method.remark,
            }
            for method in self.methods
        ]

    def agreement_table(self, measure: str) -> list[dict[str, Any]]:
        """The agreement of all pairs of methods by one measure; columns have the numbers of the rows."""
        rows = zip(self.methods, self.agreement[measure].tolist(), strict=True)
        return [
            {measure: f"{number} {method.name}", **{str(other): value for other, value in enumerate(values, 1)}}
            for number, (method, values) in enumerate(rows, 1)
        ]

    def as_json(self) -> dict[str, Any]:
        agreement = {measure: plain(self.agreement_table(measure)) for measure in self.agreement}
        return {**super().as_json(), "unit": plain(self.unit), "agreement": agreement, "settings": list(self.settings)}

    def _tables(self) -> list[list[tuple[str, ...]]]:
        return [as_rows(table) for table in (self.table(), *map(self.agreement_table, self.agreement))]

    def __str__(self) -> str:
        return "\n\n".join([self.title, *map(as_text, self._tables()), "\n".join(self.settings)])

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{html.escape(line)}</p>" for line in self.settings)
        return self._picture_element() + "".join(map(as_html, self._tables())) + said
