"""Waiting before a failed logon is answered, on threads that somebody else needs.

A failure is answered late, so that guessing is slow and its cause does not show. Who
waits is the thread that was asked: behind WSGI and `grpc.server`, and wherever a
program calls `log_on` itself, it is one of the few that serve everybody. So few wait at
once. The failures of all others are answered earlier; they are counted and recorded
like any, and lock a name as soon.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import BoundedSemaphore
from typing import Final

from stead.authority.lockout import LockoutPolicy


class LateAnswers:
    """How many of one server's failures are waited for at once, and for how long."""

    def __init__(
        self, policy: LockoutPolicy, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Take over what the policy says.

        Args:
            policy: how many wait, and in which steps they do.
            sleep: waits for some seconds.
        """
        self._step: Final = policy.first_delay
        self._sleep: Final = sleep
        self._places: Final = BoundedSemaphore(max(0, policy.most_waiting))

    def of_name(self, seconds: float) -> None:
        """Wait for the answer to somebody who gave a name and a password.

        Where too many wait already, it is to the next whole step: how long a directory
        took says whether it knows the name, and that is not told in any case.
        """
        self._wait(seconds, seconds % self._step if self._step > 0 else 0.0)

    def of_evidence(self, seconds: float) -> None:
        """Wait for the answer to somebody who showed a token, ticket or certificate.

        Where too many wait already, it does not wait. Whoever shows evidence has made
        it, and knows what is wrong with it.
        """
        self._wait(seconds, 0.0)

    def _wait(self, seconds: float, least: float) -> None:
        if not self._places.acquire(blocking=False):
            self._sleep(least)
            return
        try:
            self._sleep(seconds)
        finally:
            self._places.release()
