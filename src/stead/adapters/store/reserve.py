"""A file of nothing beside the store, so that a full disk has room for administrators.

While the disk has room, the file takes some of it. When the disk is full, pieces of it
are given back, and only what administrators do is written into what that makes free
(`stead.ledger.writer`): they can log on and make room. The file is the whole state, so
that all processes which share a store see it alike.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from stead.errors import UnsafeStoreError

TAIL: Final = "-reserve"
"""What is added to the name of the store's file."""

DEFAULT_SIZE: Final = 16 << 20
"""Bytes: some thousands of records, or a dozen of an administrator's visits."""

PIECE: Final = 1 << 20
"""Bytes that are given back at once."""

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Reserve:
    """The `Room` of a store that lies in a file (`stead.ledger.ports`)."""

    def __init__(self, store: Path, size: int) -> None:
        """Open or make the file; does not take the room yet.

        Args:
            store: the store's file; its folder is safe.
            size: bytes to be kept.

        Raises:
            UnsafeStoreError: what has its name is no file of the server's.
        """
        self._size = size
        path = store.with_name(store.name + TAIL)
        try:
            self._file = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise UnsafeStoreError(
                f"`{path}` cannot be opened: {error.strerror}",
                advice="remove it; the server makes it again",
            ) from error

    def is_whole(self) -> bool:
        """Tell whether all of it is there."""
        return os.fstat(self._file).st_size >= self._size

    def refill(self) -> bool:
        """Take it again if the disk has as much, and a piece more, free.

        A piece more, so that the little which is left does not go back and forth.
        """
        missing = self._size - os.fstat(self._file).st_size
        disk = os.fstatvfs(self._file)
        if disk.f_bavail * disk.f_frsize < missing + PIECE:
            return False
        try:
            os.posix_fallocate(self._file, 0, self._size)
        except OSError:
            # Somebody was quicker; what was taken of it meanwhile is theirs to have.
            os.ftruncate(self._file, self._size - missing)
            return False
        return True

    def release(self) -> bool:
        """Give a piece of it to the disk; tell whether there was one."""
        size = os.fstat(self._file).st_size
        if not size:
            return False
        os.ftruncate(self._file, max(0, size - PIECE))
        return True

    def close(self) -> None:
        """Close the file; it keeps its room. A second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
