"""A folder of images as a dataset, labelled by sub-folder if there are any."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image

from deconvviz.arguments import PATH, takes
from deconvviz.errors import DataError, InputError, MissingFileError, left_out
from deconvviz.images import ENDINGS, read_image
from deconvviz.io.ownership import lies_in
from deconvviz.results.words import counted


class ImageFolderWarning(UserWarning):
    """Something in a folder of images was left out of the dataset."""


class ImageFolder:
    """The image files below `root`, in the order of their names; unlike torchvision's, it needs no sub-folders.

    ``folder[i]`` is (image, label): a PIL image and the index of its sub-folder in `classes`, or -1 for a file in
    `root` itself. Files are recognised by their extension; a file that cannot be read raises ImageFileError.

    Links to files and folders elsewhere are followed. Hidden images and folders, links back into the folder, and things
    with an image's name that are not files, such as broken links, are left out; they are listed in `left_out` with the
    reason, and an ImageFolderWarning is issued.

    Raises:
        MissingFileError: If the folder does not exist.
        DataError: If it contains no image, or one of its folders cannot be listed.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("cats/a.png", "dogs/b.png"):
        ...     (root / name).parent.mkdir()
        ...     Image.new("L", (4, 4)).save(root / name)
        >>> folder = ImageFolder(root)
        >>> folder.classes, folder.names, folder[1][1]
        (['cats', 'dogs'], ['cats/a.png', 'dogs/b.png'], 1)
    """

    @takes(root=PATH)
    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        if not os.path.isdir(root):
            raise MissingFileError(f"there is no folder {os.fspath(root)!r} of images")
        self.left_out: dict[str, str] = {}
        self.names = sorted(self._found())
        if self.left_out:
            warnings.warn(left_out(root, self.left_out), ImageFolderWarning, stacklevel=2)
        if not self.names:
            raise DataError(f"the folder {os.fspath(root)!r} holds no image files")
        self.classes = sorted({name.split("/")[0] for name in self.names if "/" in name})
        self._labels = {name: number for number, name in enumerate(self.classes)}

    def _found(self) -> Iterator[str]:
        """The names of the images below the root."""
        # Folders, the names on the way to them, and which they lie in.
        waiting: list[tuple[Path, str, tuple[tuple[int, int], ...]]] = [(self.root, "", (_identity(self.root),))]
        while waiting:
            folder, inside, above = waiting.pop()
            for entry in _entries(folder):
                name, image, is_folder = f"{inside}{entry.name}", _is_named_image(entry.name), _entry_is(entry.is_dir)
                if entry.name.startswith("."):
                    if image or is_folder:
                        self.left_out[name] = "hidden"
                elif is_folder and entry.is_symlink() and self._leads_back(entry.path, above):
                    self.left_out[name] = "a link back into the folder"
                elif is_folder:
                    waiting.append((Path(entry.path), f"{name}/", (*above, _identity(entry.path))))
                elif image and _entry_is(entry.is_file):
                    yield name
                elif image:
                    self.left_out[name] = "a broken link" if entry.is_symlink() else "no file"

    def _leads_back(self, link: str, above: tuple[tuple[int, int], ...]) -> bool:
        """Whether the images behind a link to a folder are already counted, or would never end."""
        return lies_in(link, self.root) or lies_in(self.root, link) or _identity(link) in above

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        name = self.names[index]
        label = self._labels[name.split("/")[0]] if "/" in name else -1
        return read_image(self.root / name, all_levels=True), label

    def contents(self) -> Iterator[tuple[str, object]]:
        """What tells this dataset from others: the names and sizes of its files."""
        return ((name, (self.root / name).stat().st_size) for name in self.names)

    def __repr__(self) -> str:
        return f"ImageFolder({os.fspath(self.root)!r}, {counted(len(self), 'image')})"


def check_apart(out: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
    """Raise InputError if the atlas `out` lies in the image folder `root`, or the other way round.

    The next scan would include the atlas's pictures, and its next build might replace images.
    """
    if lies_in(out, root) or lies_in(root, out):
        raise InputError(
            f"the atlas {os.fspath(out)!r} and the folder of images {os.fspath(root)!r} must not contain each other; "
            "name a folder outside the images"
        )


def _is_named_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS


def _entry_is(asked: Callable[[], bool]) -> bool:
    """The answer of a directory entry, which costs no disk access except for links; False for circular links."""
    try:
        return asked()
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder. Raises DataError if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"the folder {str(folder)!r}, which belongs to a folder of images, cannot be listed: {error.strerror}; "
            "make it readable, or move it away"
        ) from error


def _identity(folder: str | os.PathLike[str]) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
