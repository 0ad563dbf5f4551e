"""Is the store's file the server's alone? If in doubt, it is not opened.

Whoever can write the file, or swap it for another, can make himself an administrator;
whoever can read it, reads the trail. So every folder from the root down must be out of
the reach of anybody but the server's own uid and root, and the file itself unreadable.
Since they are, nothing can change between this check and the opening.

POSIX access control lists are covered by the mode: its group bits hold the mask, the
most that any named entry grants. Lists that the mode does not show (NFSv4, CIFS) are
not seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stead.errors import UnsafeStoreError

COMPANIONS: Final = ("-wal", "-shm", "-journal", "-reserve")
"""What is added to the name of the store's file for the files beside it: SQLite's own
and `stead.adapters.store.reserve`."""

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANY: Final = stat.S_IRWXG | stat.S_IRWXO
_MAXIMUM_LINKS: Final = 40


def require_safe_folder(folder: Path) -> Path:
    """Check a folder and every one above it.

    Args:
        folder: an absolute path; links in it are followed, and each is checked.

    Returns:
        The same folder without links.

    Raises:
        UnsafeStoreError: somebody else may write one of them, or it is not there.
    """
    try:
        folders = list(_walk(folder))
    except OSError as error:
        raise UnsafeStoreError(
            f"the folder `{folder}` cannot be examined: {error.strerror}",
            advice="create the folder, for the server's user alone (mode 0700)",
        ) from error
    for place, status in folders:
        _require_folder(place, status, is_last=place == folders[-1][0])
    return folders[-1][0]


def require_safe_files(path: Path) -> None:
    """Check the store's file and those that SQLite keeps beside it.

    Raises:
        UnsafeStoreError: somebody else owns, reads or writes one of them, or it is
            not a regular file.
    """
    for place in (path, *(path.with_name(path.name + tail) for tail in COMPANIONS)):
        try:
            status = place.lstat()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnsafeStoreError(
                f"`{place}` cannot be examined: {error.strerror}"
            ) from error
        _require_file(place, status)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every folder that is passed on the way, following links by hand."""
    place = Path(folder.anchor)
    rest = list(folder.parts[1:])
    links = 0
    yield place, place.lstat()
    while rest:
        part = rest.pop(0)
        if part == "..":
            place = place.parent
            continue
        step = place / part
        status = step.lstat()
        if not stat.S_ISLNK(status.st_mode):
            place = step
            yield place, status
            continue
        links += 1
        _require_link(step, status, links)
        target = step.readlink()
        place = Path(target.anchor) if target.is_absolute() else place
        rest = [part for part in target.parts if part != target.anchor] + rest
    # The last one again: after a `..`, what was yielded last is another folder.
    yield place, place.lstat()


def _require_link(place: Path, status: os.stat_result, links: int) -> None:
    if links > _MAXIMUM_LINKS:
        raise UnsafeStoreError(f"the path to `{place}` has too many symbolic links")
    # Links have no mode; in a sticky folder only their owner can replace them.
    _require_owner(place, status)


def _require_folder(place: Path, status: os.stat_result, *, is_last: bool) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise UnsafeStoreError(f"`{place}` is not a folder")
    _require_owner(place, status)
    if not status.st_mode & _OTHERS_WRITE:
        return
    # The sticky bit keeps others from replacing a folder of ours in there; it does
    # not keep them from placing a `-wal` file of their own beside a new store.
    if status.st_mode & stat.S_ISVTX and not is_last:
        return
    raise UnsafeStoreError(
        f"others may write in the folder `{place}`",
        advice=(
            "put it into a folder of its own with mode 0700"
            if status.st_mode & stat.S_ISVTX
            else f"`chmod go-w {place}`, or put it elsewhere"
        ),
    )


def _require_file(place: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnsafeStoreError(
            f"`{place}` is not a regular file", advice="name the store's file itself"
        )
    _require_owner(place, status)
    if status.st_mode & _OTHERS_ANY:
        raise UnsafeStoreError(
            f"others may read or write `{place}` (mode "
            f"{stat.S_IMODE(status.st_mode):04o})",
            advice=f"find out who may have written it, then `chmod 0600 {place}`",
        )


def _require_owner(place: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise UnsafeStoreError(
            f"`{place}` belongs to uid {status.st_uid}, who may change it",
            advice="only the server's own uid and root may own it",
        )
