"""Whether the files of an open store are still those at its place, and not of the past.

A process keeps reading a file that was moved away, or that another one was put in the
place of: it would hear of no change any more, and never know. So it is looked at with
each question for the store's generation, which every logon and every lease begins with.
"""

from __future__ import annotations

import os
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

    Attributes:
        latest: the store's generation, as it was seen last.
    """

    def __init__(self, path: Path | None) -> None:
        self.latest = 0
        self._went_back = False
        self._known: dict[str, tuple[int, int]] = {}
        self._files = () if path is None else _files(path)
        if path is not None and path.exists():
            self._known[str(path)] = _number(str(path))

    def require_current(self, generation: int, since: int) -> None:
        """Return if what was read is of the store that was opened, as it is by now.

        To be called once something was read: until then SQLite may not have made the
        files beside the store's own, which are noted by the first call.

        Args:
            generation: the store's, as it was read.
            since: `latest`, before that.

        Raises:
            StoreUnavailableError: its files are gone, or others; or an earlier copy was
                written into them. Then its number grows again, and what was seen under
                the same one was something else: so nothing is believed any more.
        """
        self._require_same()
        self._went_back = self._went_back or generation < since
        if self._went_back:
            raise StoreUnavailableError(
                "an earlier copy was written into the store while it was open",
                advice="restart every server over it; clients log on again",
            )
        self.latest = max(self.latest, generation)

    def _require_same(self) -> None:
        for file in self._files:
            number = _number(file)
            if self._known.setdefault(file, number) != number:
                raise StoreUnavailableError(
                    f"another file was put in the place of `{file}`, which is open",
                    advice="restart the server, so that it opens what is there now",
                )


def _number(file: str) -> tuple[int, int]:
    try:
        found = os.stat(file)  # noqa: PTH116 - half as long as a path takes
    except OSError as error:
        raise StoreUnavailableError(
            f"`{file}`, which is open, is not at its place: {error.strerror}",
            advice="put the store back, or restart the server",
        ) from error
    return found.st_dev, found.st_ino


def _files(path: Path) -> tuple[str, ...]:
    return (str(path), *(f"{path}{tail}" for tail in _BESIDE))
