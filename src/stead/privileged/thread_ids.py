"""Whom the kernel takes each thread of this process for, as procfs says it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TASKS: Final = Path("/proc/self/task")


@dataclass(frozen=True, slots=True)
class ThreadIds:
    """One thread's ids: real, effective, saved and file system's, and its groups."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: frozenset[int]


def thread_ids() -> dict[int, ThreadIds]:
    """Return the ids of every thread by its native number.

    Empty where there is no procfs, as on a hardened thread: it is hidden there.
    """
    return dict(_all())


def _all() -> Iterator[tuple[int, ThreadIds]]:
    with suppress(OSError):
        for folder in _TASKS.iterdir():
            with suppress(OSError):  # it has ended meanwhile
                yield int(folder.name), parsed((folder / "status").read_text("ascii"))


def parsed(status: str) -> ThreadIds:
    """Return the ids that a thread's `status` says (proc(5))."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return ThreadIds(
        tuple(map(int, fields["Uid"].split())),
        tuple(map(int, fields["Gid"].split())),
        frozenset(map(int, fields["Groups"].split())),
    )
