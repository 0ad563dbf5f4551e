"""A count that anybody may add to, from anywhere."""

from __future__ import annotations

from itertools import count
from threading import Lock


class Tally:
    """Counts without a lock on the adding side.

    ``add`` may interrupt another ``add`` in the same thread: a finalizer runs at any
    allocation and a signal handler between any two instructions, where a lock would
    wait for itself and ``n += 1`` could lose a step. One step of ``itertools.count``
    is a single call into the interpreter.
    """

    __slots__ = ("_lock", "_reads", "_steps")

    def __init__(self) -> None:
        self._steps = count()
        self._reads = 0
        self._lock = Lock()

    def add(self) -> None:
        """Count one more."""
        next(self._steps)

    def total(self) -> int:
        """Return how often `add` was called. Not for finalizers: this one locks."""
        with self._lock:
            # Reading takes a step as well; those are taken off again.
            steps = next(self._steps) - self._reads
            self._reads += 1
            return steps
