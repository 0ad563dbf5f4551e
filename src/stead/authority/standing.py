"""How a session stands while its lease lasts, for whoever asks again and again.

A session that was found to live is believed for the length of its lease, without asking
the store. Whatever ends the session, or makes its account be looked at again, ends the
lease with it. So the same question needs no more than one comparison of two numbers.
"""

from __future__ import annotations

from stead.authority.session import Session
from stead.monitor.frames import StandingFields


class Standing(StandingFields):
    """One session that lies within no other, and a token of it that has no limits.

    Attributes:
        session: the session.
        clock: nanoseconds since the epoch, UTC.
        monotonic: nanoseconds that never step.
    """

    __slots__ = ()

    session: Session

    def _good_at(self) -> int:
        """Do what `good_at` says."""
        session, now = self.session, self.monotonic()
        if now >= session.lease_ends:
            return 0
        if session.over is not None and session.is_over(self.clock(), now):
            return 0
        return now
