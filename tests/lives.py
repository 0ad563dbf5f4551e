"""Lives of credentials, grants and sessions that a slow machine does not outlast."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from stead.errors import SteadError

_LONGEST = 100.0

T = TypeVar("T")


def long_enough(
    begin: Callable[[float], T], *, seconds: float, late: type[SteadError]
) -> T:
    """Return what was begun in time, with as long a life as that takes here.

    A test of what happens at an end begins before it. How long that takes is the
    machine's: a life that it has outlasted is tried again, four times as long.

    Args:
        begin: is given how many seconds the life has; does what must be done before.
        seconds: of the first one.
        late: what `begin` raises if it was over by then.
    """
    while True:
        try:
            return begin(seconds)
        except late:
            seconds *= 4
            if seconds > _LONGEST:
                raise
