"""Looking at other processes by way of /proc."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container
from pathlib import Path

SECONDS_TO_END = 60.0


def descendants_of(pid: int) -> list[int]:
    """Return every process below one."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text("utf-8", errors="replace")
            number = int(text.partition(" ")[0])
            parent = int(text.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(number)
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def left_behind(uids: Container[int]) -> list[str]:
    """Say which processes of some uids do not end."""
    deadline = time.monotonic() + SECONDS_TO_END
    while True:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if place.stat().st_uid in uids:
                    found.append(place.name)
        if not found or time.monotonic() > deadline:
            return [f"process {pid} of a client is left" for pid in found]
        time.sleep(0.1)
