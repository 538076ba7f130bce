"""What an atlas is made of: the site's header, its layers, their channels and the channels' strongest units."""

from __future__ import annotations

from dataclasses import dataclass

from deconvviz.evidence.specificity import Specificity
from deconvviz.mining.dataset_pictures import Picture

UNKNOWN = Specificity()


@dataclass(frozen=True, kw_only=True)
class AtlasUnit:
    """One of a channel's strongest units, with its pictures."""

    value: float  # activation
    image: int  # number of the image in the dataset
    name: str  # of the image: a file name or a number
    label: str  # "" where there is none
    box: tuple[int, int, int, int]  # top, left, bottom, right of the receptive field, clipped, in input pixels
    position: tuple[int, ...]  # in the layer, without batch and channel; () without positions
    patch: Picture  # the image inside the box
    projection: Picture  # of the patch's shape; zero is a neutral grey
    neighbour: Picture | None = None  # the projection of another channel there; None where the atlas has no evidence
    beside: int = -1  # that channel; -1 if there is none
    random: Picture | None = None  # as `projection`, from random weights; None where the atlas has no evidence


@dataclass(frozen=True, kw_only=True)
class AtlasSynthetic:
    """A picture that was made from noise so that it excites a channel's unit in the middle."""

    picture: Picture  # what the unit sees of it
    box: tuple[int, int, int, int]  # top, left, bottom, right of that, in a picture of its own
    activation: float  # of the unit


@dataclass(frozen=True, kw_only=True)
class AtlasChannel:
    """A channel's statistics over the dataset, its strongest units and the channels that feed it most."""

    channel: int
    firing: float  # share of images on which its strongest unit is above zero, 0 to 1
    mean: float  # of the strongest unit of each image, as the maximum and the histogram
    maximum: float
    histogram: tuple[tuple[float, float, int], ...]  # (low, high, count), ascending
    units: tuple[AtlasUnit, ...]  # strongest first; none for a dead channel
    inputs: tuple[tuple[str, int, float], ...]  # (layer, channel, share of the activation), strongest first
    state: str = ""  # "dead" or "always" (on), as the scan found it, or neither
    label: str = ""  # the label that fits it and how well, or that none does; "" if the scan has none
    evidence: Specificity = UNKNOWN
    synthetic: AtlasSynthetic | None = None  # None in an atlas without synthetic pictures, and of a dead channel


@dataclass(frozen=True, kw_only=True)
class AtlasLayer:
    """A layer's row of the layer table."""

    name: str
    kind: str
    shape: tuple[int, ...]
    channels: int
    receptive_field: tuple[int, ...] | None  # height and width in input pixels; None is the whole input
    stride: tuple[float, ...] | None
    linearised: tuple[str, ...]  # operations on the way down that have no mirror
    detached: tuple[str, ...] = ()  # detaches that its signals are passed through
    names: tuple[str, ...] = ()  # of its channels, where these are the classes
    said: str = ""  # what holds for its projections, in a sentence or two


@dataclass(frozen=True, kw_only=True)
class AtlasHeader:
    """Information about the whole atlas."""

    title: str
    model: str
    dataset: str
    images: int  # in the dataset
    k: int  # strongest units per channel, at most
    style: str
    input_shape: tuple[int, ...]  # ends with height and width
    neutral: int  # 0 to 255, the grey or white that stands for zero in projections
    broken: tuple[tuple[str, str], ...]  # files that could not be read, and why
    provenance: dict[str, str]
    random: bool = False  # whether the network's own weights are random
    evidence: bool = False  # whether channels have evidence, and units pictures from random weights
    synthetic: bool = False  # whether channels have synthetic pictures
    layers: tuple[str, ...] = ()  # names of all its layers, for the page of an atlas that is being built
