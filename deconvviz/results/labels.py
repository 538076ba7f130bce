"""Labels that fit the channels of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from deconvviz.intervals import FEWEST, LEVEL
from deconvviz.results.base import Finding
from deconvviz.results.words import counted

FITS = 0.8  # area under the ROC curve from which a label is called a channel's name


@dataclass(frozen=True, kw_only=True)
class ChannelLabels(Finding):
    """The label that fits each channel of a layer best: chosen on one half of the images, scored on the other half.

    The score is the area under the ROC curve (AUC) of the channel's maximum: the probability that it is higher on an
    image with the label than on one without. A label fits if it is at least 0.8 on the held-out half, and higher than
    chance at 5 % by Holm over the channels.

    Attributes:
        layer: The layer's name.
        names: The names of the labels that were tested: those of at least 8 images in either half.
        label: Per channel the number of the best label in `names`, (channels,); -1 if none was tested.
        auc: Its area under the ROC curve on the held-out half, (channels,).
        low: Lower end of its 95 % interval (`deconvviz.roc.areas`).
        high: Upper end.
        p: Probability of such an area by chance, adjusted by Holm over the channels, (channels,).
        chosen_auc: The area on the half on which the label was chosen, which flatters it, (channels,).
        images: Number of held-out images with the label, (channels,).
        held_out: Number of held-out images.
    """

    drawn_by = "deconvviz.figures.labels"

    layer: str
    names: tuple[str, ...]
    label: torch.Tensor
    auc: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    p: torch.Tensor
    chosen_auc: torch.Tensor
    images: torch.Tensor
    held_out: int

    @property
    def fits(self) -> torch.Tensor:
        """Whether the label fits, (channels,)."""
        return (self.auc >= FITS) & (self.p <= LEVEL)

    def name(self, channel: int) -> str:
        """What a channel is called: its label if it fits, and how well; otherwise that none does.

        Example:
            >>> import deconvviz as dv
            >>> from deconvviz.data import mnist_test
            >>> from deconvviz.models import mnist_cnn
            >>> images, labels = mnist_test()
            >>> net, data = dv.DeconvNet(mnist_cnn()), (images[:400], labels[:400])
            >>> top = dv.scan(net, data, layers=["fc2"], progress=False)
            >>> top.labels["fc2"].name(6)
            '6, AUC 1.00 on held-out images'
        """
        if not self.names:
            return "too few images per label to say"
        label, auc = self.names[int(self.label[channel])], float(self.auc[channel])
        if self.fits[channel]:
            return f"{label}, AUC {auc:.2f} on held-out images"
        return f"no label fits (best: {label}, AUC {auc:.2f})"

    @property
    def verdict(self) -> str:  # type: ignore[override]
        """What was found, in words."""
        if not self.names:
            return f"Too few to say: no label has {FEWEST} images with it and {FEWEST} without it in each half."
        count, channels = int(self.fits.sum()), counted(len(self.label), "channel")
        fits = f"A label fits {count} of {channels}" if count else f"No label fits any of {channels}"
        return f"{fits} of {self.layer}, with an AUC of at least {FITS} on {counted(self.held_out, 'held-out image')}."

    def table(self) -> list[dict[str, Any]]:
        """One row per channel."""
        return [
            {
                "channel": channel,
                "label": self.names[int(label)] if self.names else None,
                "AUC": float(self.auc[channel]),
                "low": float(self.low[channel]),
                "high": float(self.high[channel]),
                "p": float(self.p[channel]),
                "images": int(self.images[channel]),
                "AUC where chosen": float(self.chosen_auc[channel]),
                "fits": bool(self.fits[channel]),
            }
            for channel, label in enumerate(self.label)
        ]
