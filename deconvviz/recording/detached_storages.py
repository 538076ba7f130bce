"""Storages that share memory because one of them was made for a detached tensor.

To autograd, what `detach` returns is another tensor over the same memory. So that the two can be told apart, the
detached tensor is given a storage of its own over that memory, and this module remembers which storage it came from.
"""

from __future__ import annotations


class DetachedStorages:
    """Which storages are the same memory, and which of them were detached from which."""

    def __init__(self) -> None:
        self._groups: dict[int, list[int]] = {}  # by storage: all storages over the same memory
        self._sources: dict[int, int] = {}  # by storage: the one that it was detached from

    def add(self, storage: int, source: int) -> None:
        """Note that `storage` was detached from `source`, over the same memory."""
        group = self._groups.setdefault(source, [source])
        group.append(storage)
        self._groups[storage] = group
        self._sources[storage] = source

    def over_memory_of(self, storage: int) -> list[int]:
        """All storages over the memory of `storage`, itself included."""
        return self._groups.get(storage, [storage])

    def is_detached_from(self, storage: int, ancestor: int) -> bool:
        """Whether `storage` was detached from `ancestor`, directly or through others."""
        while storage in self._sources:
            storage = self._sources[storage]
            if storage == ancestor:
                return True
        return False
