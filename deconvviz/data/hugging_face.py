"""Datasets of Hugging Face; reading them by name needs ``pip install datasets``."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import IterableDataset

from deconvviz.data.items import IMAGE_KEYS, LABEL_KEYS, numbers_of_text
from deconvviz.errors import DataError, DependencyError, InputError, did_you_mean
from deconvviz.images import decode_image, read_image

SPLITS = ("test", "validation", "train")  # which is read, if none is named


class HuggingFaceImages:
    """A dataset of Hugging Face; ``images[i]`` is (image, label).

    The image is in a column of a usual name, or in the first one whose type is `Image`; the label in a column of a
    usual name, or in the first one of type `ClassLabel`, whose names are the classes; so are labels that are text.
    """

    def __init__(self, data: Any) -> None:
        self.data = data
        self.image, self.label = _columns(data)
        names = getattr(data.features.get(self.label), "names", None) if self.label else None
        self.classes = list(names or ())
        self._numbers: dict[str, int] = {}
        if self.label and hasattr(data, "unique") and "string" in str(getattr(data.features[self.label], "dtype", "")):
            self.classes, numbers = numbers_of_text(sorted(filter(None, data.unique(self.label))))
            self._numbers = dict(zip(self.classes, numbers, strict=True))
        info = getattr(data, "info", None)
        split = getattr(data, "split", None)
        self.name = " ".join(str(part) for part in (getattr(info, "dataset_name", None), split) if part)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.item(self.data[index])

    def item(self, row: Mapping[str, Any]) -> tuple[Any, Any]:
        """The image and label of a row; -1 for a row without label."""
        image = row[self.image]
        if isinstance(image, Mapping) and "bytes" in image:  # a file that was not decoded
            name = str(image.get("path") or "image")
            content = image["bytes"]
            image = read_image(name, all_levels=True) if content is None else decode_image(io.BytesIO(content), name)
        label: Any = row[self.label] if self.label else -1
        return image, self._numbers.get(label, -1) if self._numbers else label


class HuggingFaceStream(IterableDataset[Any]):
    """A dataset of Hugging Face that is streamed, item by item."""

    def __init__(self, data: Any) -> None:
        self.rows = HuggingFaceImages(data)
        self.classes = self.rows.classes

    def __iter__(self) -> Iterator[Any]:
        return map(self.rows.item, self.rows.data)


def is_hugging_face(data: Any) -> bool:
    """Whether a dataset has columns of known types, as those of Hugging Face have."""
    return isinstance(getattr(data, "features", None), Mapping) and hasattr(data, "column_names")


def of_hugging_face(data: Any) -> Any:
    """The items of a dataset of Hugging Face, by number if it is not streamed."""
    return HuggingFaceImages(data) if hasattr(data, "__len__") else HuggingFaceStream(data)


def _columns(data: Any) -> tuple[str, str | None]:
    """The names of the columns with the images and the labels."""
    types = {name: type(feature).__name__ for name, feature in data.features.items()}
    images = [name for name in IMAGE_KEYS if name in types] + [name for name in types if types[name] == "Image"]
    labels = [name for name in LABEL_KEYS if name in types] + [name for name in types if types[name] == "ClassLabel"]
    if not images:
        raise InputError(f"the dataset has the columns {', '.join(types)}, and none of them is of type Image")
    return images[0], labels[0] if labels else None


def load_hugging_face(spec: str) -> Any:
    """The dataset ``NAME[:SPLIT]``, from the cache, a folder, or downloaded. No code of the dataset is run.

    Raises:
        InputError: If there is no such split.
        DataError: If it cannot be read.
        DependencyError: If the library is not installed.
    """
    name, _, split = spec.partition(":")
    try:
        import datasets  # noqa: PLC0415  an extra
    except ImportError as error:
        raise DependencyError(f"datasets is needed to read hf:{name}; pip install datasets") from error
    try:
        saved = os.path.isfile(os.path.join(name, "dataset_dict.json")) or os.path.isfile(
            os.path.join(name, "state.json")
        )
        data = datasets.load_from_disk(name) if saved else datasets.load_dataset(name)
    except Exception as error:
        raise DataError(f"hf:{name} cannot be read: {error}") from error
    if isinstance(data, Mapping):
        chosen = split or next((known for known in SPLITS if known in data), next(iter(data)))
        if chosen not in data:
            raise InputError(f"hf:{name} has no split {chosen!r}{did_you_mean(chosen, data)}")
        data = data[chosen]
    elif split and split != str(data.split):
        raise InputError(f"hf:{name} has no split {split!r}")
    image, _ = _columns(data)
    feature = data.features[image]
    # Read by the library's own reader, which knows few formats, instead of by whatever Pillow has.
    return data.cast_column(image, type(feature)(decode=False)) if type(feature).__name__ == "Image" else data
