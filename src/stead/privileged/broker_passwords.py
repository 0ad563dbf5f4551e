"""Passwords that servers hand in: looked at by a verifier, answered in equal time.

The monitor reads no password. Both documents go on, as they came, to a process that it
starts for this one attempt, which may load libraries; the answer is who it is, or
nothing. A failure is answered at a fixed time after the attempt began, whatever failed:
no such account, a wrong password, nobody to be acted as, or too many attempts.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stead.errors import RemoteProtocolError, SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_poll import Turn
from stead.privileged.broker_wire import LONGEST_ANSWER, hear, say
from stead.privileged.launcher_process import execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stead.privileged.broker_clients import Client
    from stead.privileged.broker_inheritance import Inheritance
    from stead.privileged.broker_poll import Poll

VERIFIER: Final = "stead.adapters.pam_verifier"
"""The verifier's program. It imports this room; nothing here imports it."""

_WAITING_FOR_EACH: Final = 16


@dataclass(slots=True, eq=False)
class _Attempt:
    """One password that is looked at.

    Attributes:
        answer: where the answer goes.
        fails_at: when a failure is answered, in monotonic seconds.
        gives_up_at: when the verifier is waited for no more.
        control: the verifier's; None if there is none (any more).
        process: likewise.
    """

    answer: socket.socket
    fails_at: float
    gives_up_at: float
    control: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None


class Attempts:
    """The passwords of one server that are being looked at."""

    def __init__(
        self,
        given: Inheritance,
        poll: Poll,
        come_by: Callable[[PosixIdentity], Client],
    ) -> None:
        """Begin with none.

        Args:
            given: the monitor's.
            poll: likewise.
            come_by: takes in whom a verifier vouches for, or raises.
        """
        self._tokens = given.passwords
        self._limits = given.config.limits
        self._poll = poll
        self._come_by = come_by
        self._attempts: list[_Attempt] = []
        self._ending: list[subprocess.Popen[bytes]] = []

    def begin(self, channel: int, document: int, secret: int) -> None:
        """Have a password looked at; what is given stays the caller's to close.

        Raises:
            RemoteProtocolError: far more wait for an answer than ever could.
        """
        busy = [each for each in self._attempts if each.process is not None]
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
            yield each.fails_at if each.process is None else each.gives_up_at

    def answer_what_is_due(self, now: float) -> None:
        """Answer failures whose time has come, and give up verifiers that hang."""
        for each in tuple(self._attempts):
            if each.process is not None and each.gives_up_at <= now:
                self._stop(each)
            if each.process is None and each.fails_at <= now:
                self._settle(each, {"refused": "log_on"})
        self._ending = [one for one in self._ending if one.poll() is None]

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
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)  # noqa: FBT003  # the library's signature
        attempt.control = ours
        with theirs:
            path = [entry for entry in sys.path if entry.startswith("/")]
            ours.send(json.dumps({"path": path, "program": VERIFIER}).encode())
            say(ours, {}, [document, secret])
            attempt.process = execute(theirs.fileno())
        self._poll.on(
            ours.fileno(), select.POLLIN, Turn.ENDINGS, lambda: self._hear(attempt)
        )

    def _hear(self, attempt: _Attempt) -> None:
        """Take a verifier's word: who it is, or its silence."""
        said = None
        if attempt.control is not None:
            with suppress(RemoteProtocolError):
                said = hear(attempt.control, LONGEST_ANSWER * 64, 0)
        self._stop(attempt)
        if said is None:
            return
        try:
            found = said[0]
            identity = PosixIdentity(found["uid"], found["gid"], tuple(found["groups"]))
            client = self._come_by(identity)
        except (KeyError, TypeError, SteadError):
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

    def _stop(self, attempt: _Attempt) -> None:
        """End a verifier, without waiting for that."""
        if attempt.control is not None:
            self._poll.off(attempt.control.fileno())
            attempt.control.close()
            attempt.control = None
        if attempt.process is not None:
            attempt.process.kill()
            self._ending.append(attempt.process)
            attempt.process = None

    def _settle(self, attempt: _Attempt, answer: dict[str, object]) -> None:
        """Answer; whoever is not there to hear it is gone with its lease."""
        self._attempts.remove(attempt)
        with attempt.answer, suppress(OSError):
            say(attempt.answer, answer)
