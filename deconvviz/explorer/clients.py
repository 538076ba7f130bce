"""The images that each client has given. No client sees those of another."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from deconvviz.errors import ImageFileError, InputError
from deconvviz.images import decode_image, to_input

MOST_BYTES = 32 * 2**20  # of an image file
MOST_PIXELS = 50_000_000
MOST_IMAGES = 12  # of a client
MOST_CLIENTS = 32


@dataclass(frozen=True)
class GivenImage:
    """An image that a client gave: its name, and the network's input (1, C, H, W)."""

    name: str
    x: Tensor


class Clients:
    """The images of all clients; those that were used longest ago are forgotten first."""

    def __init__(self, preprocess: Any) -> None:
        self._preprocess = preprocess
        self._images: OrderedDict[str, OrderedDict[str, GivenImage]] = OrderedDict()
        self._lock = threading.Lock()

    def give(self, client: str, content: bytes, name: str, *, live: bool = False) -> str:
        """Keep an image and return its key.

        Args:
            client: Whose image it is.
            content: The bytes of an image file.
            name: What the file is called.
            live: Whether it is a camera's; only the newest two of these are kept.

        Raises:
            ImageFileError: If it is no image, or too large.
            InputError: If the network's input cannot be made of it.
        """
        if len(content) > MOST_BYTES:
            raise ImageFileError(
                f"{name!r} has {len(content):,} bytes; the explorer takes {MOST_BYTES:,} at most, so give a smaller one"
            )
        picture = decode_image(io.BytesIO(content), name, all_levels=True, most_pixels=MOST_PIXELS)
        given = GivenImage(name, to_input(picture, self._preprocess))
        key = f"{'live' if live else 'own'}-{hashlib.sha256(content).hexdigest()[:20]}"
        with self._lock:
            images = self._of(client)
            images[key] = given
            images.move_to_end(key)
            for prefix, most in (("live-", 2), ("own-", MOST_IMAGES)):
                kept = [one for one in images if one.startswith(prefix)]
                for old in kept[: max(0, len(kept) - most)]:
                    del images[old]
        return key

    def image(self, client: str, key: str) -> GivenImage:
        """An image of a client. Raises InputError if it has no such image, or not any more."""
        with self._lock:
            given = self._of(client).get(key)
        if given is None:
            raise InputError(f"the explorer does not have this image (any more); give it again ({key!r})")
        return given

    def has(self, client: str, key: str) -> bool:
        """Whether an image of a client is (still) known."""
        with self._lock:
            return key in self._images.get(client, ())

    def given(self, client: str) -> list[tuple[str, GivenImage]]:
        """The images of a client with their keys, the newest first, without those of a running camera."""
        with self._lock:
            return [(key, one) for key, one in reversed(self._of(client).items()) if not key.startswith("live-")]

    def _of(self, client: str) -> OrderedDict[str, GivenImage]:
        images = self._images.setdefault(client, OrderedDict())
        self._images.move_to_end(client)
        while len(self._images) > MOST_CLIENTS:
            self._images.popitem(last=False)
        return images
