"""Verifiers: processes that look at evidence for the broker, which it never reads.

Each looks at one piece of evidence and says who it is, or nothing. It may load
libraries, hang, or fall to a hostile message: it is bounded by whoever started it, and
its word is heard once.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stead.errors import RemoteProtocolError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_poll import Turn
from stead.privileged.broker_wire import hear, say
from stead.privileged.launcher_process import execute

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from stead.privileged.broker_poll import Poll

    _Tell = Callable[[dict[str, Any] | None], None]

_LONGEST_WORD: Final = 512 * 1024  # with as many groups as there may be


class Verifiers:
    """Starts the verifiers of one monitor, and reaps them."""

    def __init__(self, poll: Poll) -> None:
        """Begin with none.

        Args:
            poll: the monitor's.
        """
        self._poll = poll
        self._ending: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        program: str,
        terms: Mapping[str, Any],
        descriptors: Sequence[int],
        tell: _Tell,
    ) -> Verifier:
        """Start a verifier.

        Args:
            program: its module; see ``bootstrap``.
            terms: what it is told by the broker.
            descriptors: the evidence; they stay the caller's to close.
            tell: hears its word; None if it ended without one.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = [entry for entry in sys.path if entry.startswith("/")]
        try:
            ours.setblocking(False)  # noqa: FBT003  # the library's signature
            with theirs:
                begin = {"path": path, "program": program, **terms}
                ours.send(json.dumps(begin).encode())
                say(ours, {}, descriptors)
                verifier = Verifier(self, ours, execute(theirs.fileno()))
        except BaseException:
            ours.close()
            raise

        def hear_it() -> None:
            tell(verifier.word())

        self._poll.on(ours.fileno(), select.POLLIN, Turn.ENDINGS, hear_it)
        return verifier

    def end(self, control: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """Hear a verifier no more, and end it, without waiting for that."""
        self._poll.off(control.fileno())
        control.close()
        process.kill()
        self._ending.append(process)

    def reap(self) -> None:
        """Forget those that have ended."""
        self._ending = [one for one in self._ending if one.poll() is None]


class Verifier:
    """One verifier, from its start to its word."""

    def __init__(
        self,
        all_of_them: Verifiers,
        control: socket.socket,
        process: subprocess.Popen[bytes],
    ) -> None:
        """Take what `Verifiers.start` has started."""
        self._all = all_of_them
        self._control = control
        self._process = process
        self._is_over = False

    def word(self) -> dict[str, Any] | None:
        """Take its word: who it is; None if it has none."""
        with suppress(RemoteProtocolError):
            heard = hear(self._control, _LONGEST_WORD, 0)
            return None if heard is None else heard[0]
        return None

    def stop(self) -> None:
        """End it; again does nothing."""
        if not self._is_over:
            self._is_over = True
            self._all.end(self._control, self._process)


def identity_of(word: Mapping[str, Any]) -> PosixIdentity:
    """Return whom a verifier's word names; raises KeyError and TypeError for none."""
    return PosixIdentity(word["uid"], word["gid"], tuple(word["groups"]))
