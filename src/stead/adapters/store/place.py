"""Whether the files of an open store are still those at its place.

A process keeps reading a file that was moved away, or that another one was put in the
place of: it would hear of no change any more, and never know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from stead.errors import StoreUnavailableError

_BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a store for as long as anybody has it open."""


class Place:
    """The files that a store was opened with.

    To be made before the store is opened, and asked once as soon as it is: whatever is
    exchanged meanwhile is found then.

    Args:
        path: the store's; None for a store in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._known: dict[Path, tuple[int, int]] = {}
        self._files = () if path is None else _files(path)
        if path is not None and path.exists():
            self._known[path] = _number(path)

    def require_same(self) -> None:
        """Return if they are what they were; those beside it, at the first call.

        To be called where a transaction reads: until then SQLite may not have made the
        files beside the store's own.

        Raises:
            StoreUnavailableError: they are gone, or others.
        """
        for file in self._files:
            number = _number(file)
            if self._known.setdefault(file, number) != number:
                raise StoreUnavailableError(
                    f"another file was put in the place of `{file}`, which is open",
                    advice="restart the server, so that it opens what is there now",
                )


def _number(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError as error:
        raise StoreUnavailableError(
            f"`{file}`, which is open, is not at its place: {error.strerror}",
            advice="put the store back, or restart the server",
        ) from error
    return found.st_dev, found.st_ino


def _files(path: Path) -> tuple[Path, ...]:
    return (path, *(path.with_name(path.name + tail) for tail in _BESIDE))
