"""A folder of images as a dataset, labelled by sub-folder where there are any."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from deconvviz.errors import DataError, MissingFileError
from deconvviz.images import ENDINGS, read_image


class ImageFolder:
    """The image files below `root`, in the order of their names; unlike torchvision's it needs no sub-folders.

    ``folder[i]`` is (image, label): a PIL image and the index of its sub-folder in `classes`, -1 for a file that
    lies in `root` itself. What counts is the file's ending; a file that then cannot be read raises ImageFileError.

    Raises MissingFileError where there is no such folder, DataError where it holds no image.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("cats/a.png", "dogs/b.png"):
    ...     (root / name).parent.mkdir()
    ...     Image.new("L", (4, 4)).save(root / name)
    >>> folder = ImageFolder(root)
    >>> folder.classes, folder.names, folder[1][1]
    (['cats', 'dogs'], ['cats/a.png', 'dogs/b.png'], 1)
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not os.path.isdir(root):
            raise MissingFileError(f"there is no folder {os.fspath(root)!r} of images")
        found = (path for path in self.root.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
        self.names = sorted(path.relative_to(self.root).as_posix() for path in found)
        if not self.names:
            raise DataError(f"the folder {os.fspath(root)!r} holds no image files")
        self.classes = sorted({name.split("/")[0] for name in self.names if "/" in name})
        self._labels = {name: number for number, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        name = self.names[index]
        label = self._labels[name.split("/")[0]] if "/" in name else -1
        return read_image(self.root / name), label

    def __repr__(self) -> str:
        return f"ImageFolder({os.fspath(self.root)!r})"
