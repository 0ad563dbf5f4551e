"""What this process has open, beside threads of other tests that close theirs."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path


def open_descriptors() -> Counter[str]:
    """Return what they lead to; sockets and pipes have numbers of their own."""
    found: Counter[str] = Counter()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            found[str(each.readlink())] += 1
    return found
