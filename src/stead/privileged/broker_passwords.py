"""Passwords that servers hand in: looked at by a verifier, answered in equal time.

The monitor reads no password. Both documents go on, as they came, to a process that it
starts for this one attempt, which may load libraries; the answer is who it is, or
nothing. A failure is answered at a fixed time after the attempt began, whatever failed:
no such account, a wrong password, nobody to be acted as, or too many attempts.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stead.errors import RemoteProtocolError, SteadError
from stead.privileged.broker_verifiers import identity_of
from stead.privileged.broker_wire import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stead.model.posix_identity import PosixIdentity
    from stead.privileged.broker_clients import Client
    from stead.privileged.broker_inheritance import Inheritance
    from stead.privileged.broker_verifiers import Verifier, Verifiers

VERIFIER: Final = "stead.adapters.pam.verifier"
"""The verifier's program. It imports this room; nothing here imports it."""

_WAITING_FOR_EACH: Final = 16


@dataclass(slots=True, eq=False)
class _Attempt:
    """One password that is looked at.

    Attributes:
        answer: where the answer goes.
        fails_at: when a failure is answered, in monotonic seconds.
        gives_up_at: when the verifier is waited for no more.
        verifier: looks at it; None if there is none (any more).
    """

    answer: socket.socket
    fails_at: float
    gives_up_at: float
    verifier: Verifier | None = None


class Attempts:
    """The passwords of one server that are being looked at."""

    def __init__(
        self,
        given: Inheritance,
        verifiers: Verifiers,
        come_by: Callable[[PosixIdentity], Client],
    ) -> None:
        """Begin with none.

        Args:
            given: the monitor's.
            verifiers: likewise.
            come_by: takes in whom a verifier vouches for, or raises.
        """
        self._tokens = given.passwords
        self._limits = given.config.limits
        self._verifiers = verifiers
        self._come_by = come_by
        self._attempts: list[_Attempt] = []

    def begin(self, channel: int, document: int, secret: int) -> None:
        """Have a password looked at; what is given stays the caller's to close.

        Raises:
            RemoteProtocolError: far more wait for an answer than ever could.
        """
        busy = [each for each in self._attempts if each.verifier is not None]
        most = self._limits.passwords_at_once
        if len(self._attempts) >= most * _WAITING_FOR_EACH:
            raise RemoteProtocolError("the server tries too many passwords at once")
        now = time.monotonic()
        attempt = _Attempt(
            socket.socket(fileno=os.dup(channel)),
            now + self._limits.failure_seconds,
            now + self._limits.password_seconds,
        )
        self._attempts.append(attempt)
        if len(busy) < most and self._may_try():
            with suppress(OSError):  # no verifier: it fails like any other
                self._verify(attempt, document, secret)

    def moments(self) -> Iterator[float]:
        """Yield when something is to be done, in monotonic seconds."""
        for each in self._attempts:
            yield each.fails_at if each.verifier is None else each.gives_up_at

    def answer_what_is_due(self, now: float) -> None:
        """Answer failures whose time has come, and give up verifiers that hang."""
        for each in tuple(self._attempts):
            if each.verifier is not None and each.gives_up_at <= now:
                self._stop(each)
            if each.verifier is None and each.fails_at <= now:
                self._settle(each, {"refused": "log_on"})

    def close(self) -> None:
        """End every verifier; whoever waits for an answer sees the channel's end."""
        for each in self._attempts:
            self._stop(each)
            each.answer.close()
        self._attempts.clear()

    def _may_try(self) -> bool:
        """Take one of the attempts that the service has left, whoever its server is."""
        try:
            return bool(os.read(self._tokens, 1))
        except BlockingIOError:
            return False

    def _verify(self, attempt: _Attempt, document: int, secret: int) -> None:
        attempt.verifier = self._verifiers.start(
            VERIFIER, {}, (document, secret), lambda said: self._hear(attempt, said)
        )

    def _hear(self, attempt: _Attempt, said: dict[str, Any] | None) -> None:
        """Take a verifier's word: who it is, or its silence."""
        self._stop(attempt)
        if said is None:
            return
        try:
            identity = identity_of(said)
            client = self._come_by(identity)
        except (KeyError, TypeError, ValueError, ArithmeticError, SteadError):
            return  # it is answered when every failure is
        self._settle(
            attempt,
            {
                "client": client.index,
                "uid": identity.uid,
                "gid": identity.gid,
                "groups": identity.groups,
                "lease": self._limits.lease_seconds,
            },
        )

    @staticmethod
    def _stop(attempt: _Attempt) -> None:
        if attempt.verifier is not None:
            attempt.verifier.stop()
            attempt.verifier = None

    def _settle(self, attempt: _Attempt, answer: dict[str, object]) -> None:
        """Answer; whoever is not there to hear it is gone with its lease."""
        self._attempts.remove(attempt)
        with attempt.answer, suppress(OSError):
            say(attempt.answer, answer)
