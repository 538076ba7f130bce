"""Pictures of filters and feature maps: which are shown, in which order and colour, and what the title says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from deconvviz.errors import InputError
from deconvviz.figures import layer_tiles
from deconvviz.results import FeatureMaps, Filters, Provenance

WHERE = Provenance(
    model="Model", fingerprint="0", layer="conv", style={}, seed="", linearised=(), stopped=(), versions={}
)
GAP = 2


def filters(weight: Tensor, groups: int = 1) -> Filters:
    return Filters(weight=weight, groups=groups, transposed=False, provenance=WHERE)


def maps(values: Tensor, images: Tensor | None = None) -> FeatureMaps:
    return FeatureMaps(
        maps=values, images=torch.zeros(len(values), 1, 8, 8) if images is None else images, provenance=WHERE
    )


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def title(figure: Figure) -> str:
    return figure.axes[0].get_title().replace("\n", " ")


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_filters_of_three_channels_are_colours_on_one_scale() -> None:
    weight = torch.zeros(2, 3, 2, 2)
    weight[0, 0], weight[1, 2] = 2.0, -1.0
    image = pixels(filters(weight).grid(columns=2, enlarge=1))
    assert image[GAP, GAP].tolist() == [255, 128, 128]
    assert image[GAP, 2 * GAP + 2].tolist() == [128, 128, 64]
    each = pixels(filters(weight).grid(columns=2, enlarge=1, scale="each"))
    assert each[GAP, 2 * GAP + 2].tolist() == [128, 128, 0]
    figure = filters(weight).figure()
    assert title(figure) == "conv: 2 filters, 2 x 2 colours around grey; one scale, ±2"
    assert labels(figure) == ["0", "1"]


def test_three_channels_of_a_group_are_no_colours() -> None:
    figure = filters(torch.randn(2, 3, 2, 2), groups=2).figure()
    assert "3 input channels each" in title(figure)


def test_the_strongest_input_channels_are_shown_first() -> None:
    weight = torch.zeros(1, 20, 1, 1)
    weight[0, 7], weight[0, 3] = -5.0, 3.0
    image = pixels(filters(weight).grid(planes=2, enlarge=1))
    blue, red = image[GAP + 1, GAP + 1], image[GAP + 1, GAP + 3]
    assert blue[2] > blue[0], "channel 7 has the largest weight, which is negative"
    assert red[0] > red[2]
    assert "the 9 of 20 input channels with the largest weights, strongest first" in title(filters(weight).figure())
    assert "input channels 3, 7;" in title(filters(weight).figure(planes=[3, 7]))
    chosen = pixels(filters(weight).grid(planes=[3, 7], enlarge=1))
    assert (chosen[GAP + 1, GAP + 1] == red).all()


def test_filters_are_chosen_and_ordered() -> None:
    weight = torch.arange(1.0, 71.0).view(70, 1, 1, 1).expand(70, 1, 2, 2)
    figure = filters(weight).figure()
    assert title(figure).startswith("conv: 64 of 70 filters, 2 x 2 one scale, ±64")
    assert labels(figure) == [str(number) for number in range(64)]
    strongest = filters(weight).figure(order="strength", most=2)
    assert title(strongest).startswith("conv: 2 of 70 filters, 2 x 2, strongest first")
    assert labels(strongest) == ["69: 140", "68: 138"]
    assert labels(filters(weight).figure(channel=[5, 66])) == ["5", "66"]


def test_the_scale_ends_at_the_percentile_of_all_weights_that_are_shown() -> None:
    weight = torch.ones(4, 1, 10, 10)
    weight[0, 0, 0, 0] = 100.0  # one of 400
    assert "±1" in title(filters(weight).figure())
    assert "±100" in title(filters(weight).figure(channel=0, scale="shared")), "one of 100 is above 99.5 %"


def test_maps_have_one_scale_or_their_own() -> None:
    values = torch.zeros(2, 3, 2, 2)
    values[1, 1], values[1, 2, 0, 1] = 1.0, 4.0
    result = maps(values)
    dark, bright = [68, 1, 84], [253, 231, 37]  # the ends of viridis
    shared = pixels(result.grid(columns=3, enlarge=1, sample=1))
    assert [shared[GAP, GAP].tolist(), shared[GAP, 11].tolist()] == [dark, bright]
    assert shared[GAP, 6].tolist() not in (dark, bright)
    each = pixels(result.grid(columns=3, enlarge=1, sample=1, scale="each"))
    assert each[GAP, 6].tolist() == bright
    figure = result.figure(sample=1, order="strength")
    assert labels(figure) == ["input", "2: 4", "1: 1", "0: 0"]
    assert title(figure) == (
        "conv: 3 feature maps, 2 x 2, strongest first image 1 of 2; channel: maximum; all on one scale"
    )
    assert len(figure.axes) == 2, "with a colour bar"
    own = result.figure(sample=1, scale="each")
    assert "each on its own scale" in title(own)
    assert len(own.axes) == 1


def test_maps_with_negative_numbers_have_white_zeros() -> None:
    values = torch.zeros(1, 1, 1, 3)
    values[0, 0, 0, 0], values[0, 0, 0, 2] = -2.0, 2.0
    image = pixels(maps(values).grid(enlarge=1))
    blue, white, red = image[GAP, GAP : GAP + 3]
    assert white.min() > 240
    assert blue[2] > blue[0]
    assert red[0] > red[2]


def test_the_image_stands_before_the_maps() -> None:
    image = torch.zeros(1, 3, 8, 8)
    image[:, 0] = 1.0
    figure = maps(torch.zeros(1, 2, 4, 4), image).figure(columns=3)
    figure.canvas.draw()
    drawn = figure.axes[0].images[0].get_array()
    assert np.allclose(drawn[drawn.shape[0] // 2 + 5, drawn.shape[1] // 6], [1, 0, 0], atol=0.01)


def test_volumes_are_shown_by_their_middle_slices() -> None:
    values = torch.zeros(1, 1, 3, 5, 7)
    values[0, 0, 1] = 1.0  # the middle along the depth
    image = pixels(maps(values).grid(enlarge=1))[GAP:-GAP, GAP:-GAP]
    assert image.shape[:2] == (5, 7 + 1 + 7 + 1 + 5)
    bright = (image == [253, 231, 37]).all(2)
    assert bright[:, :7].all()
    assert bright[:3, 8:15].sum(1).tolist() == [0, 7, 0]
    assert bright[:3, 16:].sum(1).tolist() == [0, 5, 0]
    assert (image[3:, 8:] == 255).all(), "shorter slices are filled up with white"
    assert "the middle slices along each axis" in title(maps(values).figure())
    filtered = filters(torch.randn(2, 2, 3, 3, 3)).figure()
    assert title(filtered).startswith("conv: 2 filters, 3 x 3 x 3 2 input channels each")


def test_one_dimensional_maps_are_lines() -> None:
    values = torch.zeros(1, 2, 50)
    values[0, 1, 25] = 3.0
    flat, peak = (tile.float() for tile in torch.tensor(pixels(maps(values).grid(columns=2, enlarge=1))).split(124, 1))
    height, width = layer_tiles.LINE_TILE
    blue = peak[GAP : GAP + height, :width, 0] < 150
    assert int(blue.float().sum(1).nonzero()[0]) < height // 8, "the peak is at the top"
    assert abs(float(blue[: height // 2].float().sum(0).argmax()) - width / 2) < 3, "and in the middle"
    assert (flat[: height // 2, GAP:-GAP] == 255).all()
    figure = filters(torch.randn(3, 8, 9)).figure()
    assert "the 3 of 8 input channels with the largest weights" in title(figure)
    assert title(figure).startswith("conv: 3 filters, length 9")


def test_a_layer_with_channels_alone_has_bars() -> None:
    result = maps(torch.tensor([[1.0, -2.0, 3.0]]))
    bars = result.figure(order="strength", most=2)
    assert [bar.get_height() for bar in bars.axes[0].patches] == [3.0, 1.0]
    assert title(bars) == "conv: 2 of 3 channels"
    with pytest.raises(InputError, match=r"layer 'conv' returns one number for each channel, .* figure\(\) draws them"):
        result.grid()


def test_complex_numbers_are_shown_by_their_absolute_values() -> None:
    values = torch.tensor([3 + 4j, 0j]).view(1, 1, 1, 2)
    assert labels(maps(values).figure()) == ["input", "0: 5"]


def test_mistakes() -> None:
    result = filters(torch.randn(4, 20, 3, 3))
    for options, said in (
        ({"scale": "log"}, "the scale is 'each' or 'shared', not 'log'"),
        ({"order": "size"}, "order is 'number' or 'strength', not 'size'"),
        ({"channel": 4}, "layer 'conv' has channels 0 to 3, not 4"),
        ({"channel": []}, "there is nothing to show; layer 'conv' has channels 0 to 3"),
        ({"planes": [20]}, "layer 'conv' has input channels 0 to 19, not 20"),
        (
            {"planes": torch.zeros(20, 2, dtype=torch.cfloat)},
            "layer 'conv' has input channels 0 to 19, not a tensor of shape (2,)",
        ),
        ({"planes": 0}, "planes is None, how many input channels to show, or a list of their numbers, not 0"),
        ({"most": 0}, "most is a whole number from 1, not 0"),
    ):
        for call in (result.figure, result.grid):
            with pytest.raises(InputError) as raised:
                call(**options)
            assert str(raised.value) == said
    with pytest.raises(InputError, match="maps of 1 to 3 dimensions are drawn, not the 4 of layer 'conv'"):
        maps(torch.zeros(1, 1, 2, 2, 2, 2)).figure()
