"""Prove that the interpreter's stack has room for a switch, before it begins.

How deep a handler recurses is often its client's choice: a tree of folders, nested
JSON. In the middle of a switch Python's RecursionError would leave a thread that is
neither client nor server, and the process would have to end. So the room is used up
once for trial, while an error is still harmless.

Raising the recursion limit instead would change it for every thread of the process.
"""

from __future__ import annotations

import sys
from typing import Final

from stead.privileged.credentials import TWIN

ROOM_TO_LEAVE: Final = 50 if TWIN is None else 20
"""Frames. No switch needs more than 14; a debugger's trace function needs some too.

With the twin in C a switch needs no more than 8, and 14 to say that it was refused.
"""

ROOM_TO_ENTER: Final = 2 * ROOM_TO_LEAVE
"""More than leaving, which what is around the block may do from further down."""

COUNTS_APART: Final = sys.version_info >= (3, 12)
"""Whether Python's calls and C's are counted apart; then the twin cannot count ours."""

_CALLS_THROUGH_C: Final = 8 if TWIN is None else 2


def require(frames: int) -> None:
    """Return if the calling thread can go `frames` deeper.

    Raises:
        MemoryError: there is no memory for them.
        RecursionError: there is no room.
    """
    if frames > 0:
        require(frames - 1)
    else:
        _require_through_c(_CALLS_THROUGH_C)


def _require_through_c(calls: int) -> None:
    # Python 3.12 and newer count calls that C code makes apart from the others.
    if calls > 0:
        any(map(_require_through_c, (calls - 1,)))
