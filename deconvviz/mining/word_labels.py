"""Labels of images that are several per image: given as masks, or found by an embedding of images and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from deconvviz.arguments import CLASS_NAMES, FLAG, FUNCTION, NET, NUMBER, Kind, check_counts, takes
from deconvviz.data.batches import is_indexed
from deconvviz.data.datasets import as_dataset
from deconvviz.errors import DataError, InputError
from deconvviz.io.default_device import on_the_cpu
from deconvviz.io.progress_bar import progress_bar
from deconvviz.mining.dataset_pictures import DatasetPictures
from deconvviz.net import DeconvNet

ImageVectors = Callable[[list[Image.Image]], Any]
WordVectors = Callable[[list[str]], Any]


def _flag_or_masks(value: Any) -> tuple[Any] | None:
    masks = isinstance(value, Mapping) and value and all(isinstance(name, str) for name in value)
    return (value,) if isinstance(value, bool) or masks else None


FLAG_OR_MASKS = Kind(
    "True for the labels of a dataset such as TensorDataset(images, labels), False, or a mapping from names to masks "
    "of the images",
    _flag_or_masks,
)


@takes(net=NET, words=CLASS_NAMES, images=FUNCTION, texts=FUNCTION, share=NUMBER, progress=FLAG)
@on_the_cpu
def word_labels(
    net: DeconvNet,
    dataset: Any,
    words: Sequence[str],
    *,
    images: ImageVectors,
    texts: WordVectors,
    share: float = 0.1,
    batch_size: int = 64,
    progress: bool = True,
) -> dict[str, Tensor]:
    """Label images with words by an embedding of both, such as CLIP's, for ``scan(..., labels=...)``.

    A word labels the images that are most like it: those with the highest cosine of both vectors, from which the
    image's mean over all words is subtracted. These labels are as good as the embedding. Whether one fits a channel is
    then scored by `scan` as for given labels.

    Args:
        net: The network; the embedding sees the images as its `preprocess` crops them.
        dataset: Images with items by number, as for `scan`.
        words: The words or short texts, at least two, each once.
        images: From PIL images (RGB) to their vectors (N, d).
        texts: From texts to their vectors (N, d).
        share: Share of the images that a word labels.
        batch_size: Images that are embedded at once.
        progress: Show a bar.

    Returns:
        Per word a mask of the images, (N,). Images that cannot be read have no label.

    Raises:
        InputError: If the vectors do not fit.

    Example:
        >>> import deconvviz as dv
        >>> from deconvviz.data import mnist_test
        >>> from deconvviz.models import mnist_cnn
        >>> def ink(pictures):  # a stand-in for an embedding of images
        ...     shares = [np.asarray(picture).mean() / 255 for picture in pictures]
        ...     return torch.tensor([[share, 0.1] for share in shares])
        >>> def of(texts):
        ...     return torch.tensor([[1.0, 0.0] if text == "much ink" else [0.0, 1.0] for text in texts])
        >>> digits, net = mnist_test()[0][:200], dv.DeconvNet(mnist_cnn())
        >>> labels = word_labels(net, digits, ["much ink", "little ink"], images=ink, texts=of, progress=False)
        >>> dv.scan(net, digits, layers=["fc1"], labels=labels, progress=False).labels["fc1"].names
        ('much ink', 'little ink')
    """
    check_counts(batch_size=batch_size)
    if len(words) < 2 or len(set(words)) < len(words):
        raise InputError(f"words are at least two different ones, not {list(words)!r}")
    if not 0 < share < 1:
        raise InputError(f"share is between 0 and 1, not {share:g}")
    data = as_dataset(dataset)
    if not is_indexed(data):
        raise InputError(f"words label a dataset with a length and items by number, not a {type(data).__name__}")
    pictures = DatasetPictures(net, data)
    of_words = _vectors(texts(list(words)), len(words), "texts")
    rows: list[tuple[int, Tensor]] = []
    numbers = range(len(data))
    for start in progress_bar(range(0, len(data), batch_size), unit="batch", desc="words", shown=progress):
        shown = {}
        for number in numbers[start : start + batch_size]:
            try:
                image = pictures.load_alone(number)[0]
            except DataError:
                continue
            shown[number] = Image.fromarray(pictures.pictures(image[None])[0])
        if shown:
            found = _vectors(images(list(shown.values())), len(shown), "images")
            if found.shape[1] != of_words.shape[1]:
                raise InputError(
                    f"vectors of images have {found.shape[1]} numbers, and those of texts {of_words.shape[1]}"
                )
            rows += zip(shown, found @ of_words.T, strict=True)
    if not rows:
        raise InputError("none of the images can be read")
    read, likeness = torch.tensor([number for number, _ in rows]), torch.stack([row for _, row in rows])
    likeness -= likeness.mean(1, keepdim=True)
    masks = torch.zeros(len(words), len(data), dtype=torch.bool)
    strongest = likeness.argsort(dim=0, descending=True, stable=True)[: max(1, round(share * len(rows)))]
    masks.scatter_(1, read[strongest].T, True)
    return dict(zip(words, masks, strict=True))


def _vectors(found: Any, count: int, what: str) -> Tensor:
    """Vectors of length 1, (count, d)."""
    vectors = found.detach().cpu() if isinstance(found, Tensor) else torch.from_numpy(np.asarray(found, dtype=float))
    if vectors.ndim != 2 or len(vectors) != count or not bool(vectors.isfinite().all()):
        raise InputError(f"{what} gives a finite vector for each, ({count}, d), not {tuple(vectors.shape)}")
    return normalize(vectors.double(), dim=1)


def checked_masks(labels: Mapping[str, Any], count: int | None) -> dict[str, Tensor]:
    """Masks of images by label, (count,) booleans each.

    Raises:
        InputError: If they do not fit the dataset; count: None for an iterable.
    """
    if count is None and labels:
        raise InputError("masks of images label a dataset with a length and items by number, not an iterable")
    masks = {}
    for name, given in labels.items():
        mask = torch.as_tensor(given).cpu()
        if mask.dtype != torch.bool or tuple(mask.shape) != (count,):
            raise InputError(
                f"the mask of label {name!r} is {tuple(mask.shape)} of {mask.dtype}; give {count} booleans, one for "
                f"each image"
            )
        masks[name] = mask
    return masks
