"""Clients that are turned away, counted: a flood of them leaves one line, not a flood.

tally = Tally(report, 5.0)
tally.add("uid 70001 pid 12: too many connections")
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context

from stead.gates.ports import TurnedAway

logger = logging.getLogger(__name__)


class Tally:
    """Counts, and reports at most once in a period."""

    def __init__(self, report: TurnedAway, period: float) -> None:
        self._report = report
        self._period = period
        self._count = 0
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, who: str) -> None:
        """Count one client.

        Args:
            who: it and why, in words.
        """
        self._count += 1
        self._last = who
        if self._timer is None:
            loop = asyncio.get_running_loop()
            # An empty context: the report is nobody's act.
            self._timer = loop.call_later(self._period, self.tell, context=Context())

    def tell(self) -> None:
        """Report what is not reported yet, and begin anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._count:
            count, self._count = self._count, 0
            self._report(count, self._last)


def log_turned_away(count: int, last: str) -> None:
    """Report clients that were turned away, where nobody else wants to know."""
    logger.warning("%d clients turned away, the last: %s", count, last)
