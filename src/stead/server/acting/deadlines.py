"""Things to be done when their time has come, or soon, on a thread of their own."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from stead.server.workers.housekeeper import Housekeeper


@dataclass(slots=True, order=True)
class Deadline:
    """Something to be done at a time, unless it is called off.

    Attributes:
        at: monotonic seconds.
        number: of two for the same time, the one handed over first is done first.
        act: what; None once it is called off.
    """

    at: float
    number: int
    act: Callable[[], object] | None = field(compare=False)

    def call_off(self) -> None:
        """Have it not done; what was done already stays so."""
        self.act = None


class Deadlines:
    """Does things at their time, one after the other, on a thread of its own.

    Handing something over takes no lock, so a finalizer may, whatever its thread was
    doing. In a process that was forked from the server's, nothing is ever done.
    """

    def __init__(self, name: str) -> None:
        """Start the thread."""
        self._pid = os.getpid()
        self._numbers = count()
        self._waiting: list[Deadline] = []  # touched by the thread alone
        self._thread = Housekeeper(name, self._look)

    def after(self, seconds: float, act: Callable[[], object]) -> Deadline:
        """Have `act` done in so many seconds; never, if it is closed before."""
        made = Deadline(time.monotonic() + seconds, next(self._numbers), act)
        self._thread.do(partial(heapq.heappush, self._waiting, made))
        return made

    def soon(self, act: Callable[[], object]) -> None:
        """Have `act` done at once."""
        self._thread.do(act)

    def close(self) -> None:
        """Do what was to be done at once, and end the thread, if it is ours."""
        if os.getpid() == self._pid:
            self._thread.close()

    def _look(self) -> float | None:
        """Have done what is due; return in how many seconds something will be."""
        while self._waiting:
            left = self._waiting[0].at - time.monotonic()
            if left > 0:
                return left
            due = heapq.heappop(self._waiting)
            if due.act is not None:
                self._thread.do(due.act)
        return None
