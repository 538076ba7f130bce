"""The maximum of each map and its place, found block by block: as by looking at every position in turn."""

from __future__ import annotations

import pytest
import torch

from deconvviz.mining import maxima
from deconvviz.mining.maxima import flat, several, strongest

SHAPES = [
    (1, 1),
    (1, 3),
    (7, 7),
    (13, 11),
    (14, 14),
    (29, 23),
    (56, 40),
    (113, 9),
    (197,),
    (1021,),
    (1,),
    (3, 5, 7),
    (),
]


def maps_of(shape, layout, ties):
    torch.manual_seed(len(shape) + sum(shape))
    maps = torch.randn(3, 6, *shape)
    maps = (maps * 2).round() if ties else maps
    if layout == "channels last":
        return maps.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "part of a larger map" and shape:
        return torch.cat([maps, maps + 9], -1)[..., : shape[-1]]
    return maps


def by_looking(maps):
    """Values and places (N, channels), the first of equal ones."""
    rows = [[list(channel.flatten().tolist()) for channel in image] for image in maps]
    values = [[max(channel) for channel in image] for image in rows]
    return values, [[channel.index(max(channel)) for channel in image] for image in rows]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "part of a larger map"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_maximum_and_the_first_place_that_has_it(shape, layout, ties):
    maps = maps_of(shape, layout, ties)
    values, places = torch.empty(3, 6), torch.empty(3, 6, dtype=torch.long)
    strongest(flat(maps), values, places)
    assert (values.tolist(), places.tolist()) == by_looking(maps)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.half])
def test_every_type_of_numbers(dtype, layout):
    maps = torch.randn(2, 3, 40, 30, dtype=torch.float64).to(dtype).contiguous(memory_format=layout)
    values, places = torch.empty(2, 3, dtype=dtype), torch.empty(2, 3, dtype=torch.long)
    strongest(flat(maps), values, places)
    assert (values.tolist(), places.tolist()) == by_looking(maps)


@pytest.mark.parametrize("last", [False, True])
def test_a_map_that_is_not_finite_has_no_finite_maximum(last):
    maps = torch.randn(1, 3, 40, 30)
    maps[0, 1, 20, 7] = torch.nan
    maps[0, 2, 39, 29] = torch.inf
    maps = maps.contiguous(memory_format=torch.channels_last) if last else maps
    values, places = torch.empty(1, 3), torch.empty(1, 3, dtype=torch.long)
    strongest(flat(maps), values, places)
    assert values.isfinite().tolist() == [[True, False, False]]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_of_minus_infinity_has_it_first_at_the_first_place(layout):
    maps = torch.full((1, 3, 40, 30), -torch.inf).contiguous(memory_format=layout)
    maps[0, 1, 39, 29] = -5
    values, places = torch.empty(1, 3), torch.empty(1, 3, dtype=torch.long)
    strongest(flat(maps), values, places)
    assert (values.tolist(), places.tolist()) == ([[-torch.inf, -5, -torch.inf]], [[0, 1199, 0]])


def test_pooling_is_asked_where_channels_lie_next_to_each_other(monkeypatch):
    sizes = []
    pooled = maxima._by_pooling
    monkeypatch.setattr(maxima, "_by_pooling", lambda maps, size: sizes.append(size) or pooled(maps, size))
    for side in (9, 40):
        maps = torch.randn(1, 3, side, side)
        values, places = torch.empty(1, 3), torch.empty(1, 3, dtype=torch.long)
        strongest(flat(maps), values, places)
        strongest(flat(maps.contiguous(memory_format=torch.channels_last)), values, places)
    assert sizes == [81, 1024]


def test_several_units_are_searched_part_by_part(monkeypatch):
    torch.manual_seed(0)
    maps = torch.randn(4, 3, 5 * 6)
    every = torch.arange(12)

    def found():
        values = torch.empty(4, 3, 3)
        values[:, 0] = maps.amax(2)
        return values, several(maps, (5, 6), (2, 3), (every // 3, every % 3), values)

    values, places = found()
    monkeypatch.setattr(maxima, "AT_ONCE", 70)
    for together, apart in zip((values, places), found(), strict=True):
        assert torch.equal(together, apart)
    for image in range(4):
        for channel in range(3):
            left = {place: float(maps[image, channel, place]) for place in range(30)}
            for number in range(3):
                if not left:
                    assert (float(values[image, number, channel]), int(places[image, number, channel])) == (
                        -torch.inf,
                        -1,
                    )
                    continue
                best = max(left, key=lambda place: left[place])
                assert (float(values[image, number, channel]), int(places[image, number, channel])) == (
                    left[best],
                    best,
                )
                near = [p for p in left if abs(p // 6 - best // 6) < 2 and abs(p % 6 - best % 6) < 3]
                left = {place: value for place, value in left.items() if place not in near}
