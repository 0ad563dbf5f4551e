"""Waits for many descriptors at once, and calls back, what is urgent first."""

from __future__ import annotations

import enum
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Turn(enum.IntEnum):
    """Who is served first of those that something has come from."""

    ENDINGS = 0
    """First what ends: it makes room for what is asked."""
    SERVER = 1
    """Then the server."""
    ARRIVALS = 2
    """Last, new clients."""


class Poll:
    """Calls back for descriptors, the more urgent ones first."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._poll = select.poll()
        self._handlers: dict[int, tuple[Turn, Callable[[], None]]] = {}

    def on(
        self, descriptor: int, events: int, turn: Turn, handle: Callable[[], None]
    ) -> None:
        """Call `handle` when something of it comes; errors and hang-ups count."""
        self._handlers[descriptor] = (turn, handle)
        self._poll.register(descriptor, events)

    def off(self, descriptor: int) -> None:
        """Call no more; again does nothing. To be done before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def wait(self, seconds: float | None) -> None:
        """Wait for what comes next, or so long, and call back."""
        pause = None if seconds is None else max(0, int(seconds * 1000) + 1)
        ready = [number for number, _ in self._poll.poll(pause)]
        found = sorted(
            ((self._handlers[number], number) for number in ready),
            key=lambda each: each[0][0],
        )
        for entry, number in found:
            # One that was called before may have closed it.
            if self._handlers.get(number) is entry:
                entry[1]()
