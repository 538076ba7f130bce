"""What the explorer calls classes: as it is told, as the data set has them, or as the weights do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deconvviz.explorer.answers import Answers
from deconvviz.explorer.networks import ImageKey, Networks
from deconvviz.models.notes import note_classes
from tests.helpers.explorer_client import small_images, small_net

FIVE = ["one", "two", "three", "four", "five"]
GIVEN = [name.upper() for name in FIVE]


class Labelled(torch.utils.data.Dataset[Any]):
    """Images with labels that have names."""

    def __init__(self, names: list[str]) -> None:
        self.classes = names

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> Any:
        return small_images(5)[number], number


@pytest.mark.parametrize(
    ("given", "of_data", "of_weights", "expected"),
    [
        (GIVEN, FIVE, ["w"] * 5, GIVEN),
        ([], FIVE, ["w"] * 5, FIVE),
        ([], ["cat", "dog", "cow", "pig", "hen", "fox"], FIVE, FIVE),
        ([], None, FIVE, FIVE),
        (["only"], None, FIVE, FIVE),
        ([], None, ["w"] * 1000, list("01234")),
        ([], None, (), list("01234")),
    ],
)
def test_names_of_classes(given: list[str], of_data: list[str] | None, of_weights: Any, expected: list[str]) -> None:
    net = small_net()
    note_classes(net.model, of_weights)
    answers = Answers(Networks(net, small_images(5) if of_data is None else Labelled(of_data)), given)
    best = int(net.model(small_images(5)[:1]).argmax())
    assert answers.image("c", ImageKey("data-0"))["classes"][0]["name"] == expected[best]
    assert answers.unit("c", ImageKey("data-0"), "6", 3)["classes"] == expected[3]
    names = answers.maps("c", ImageKey("data-0"), "6").get("names")
    assert names == (None if expected == list("01234") else expected)
