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
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from stead.errors import RemoteProtocolError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_poll import Turn
from stead.privileged.broker_wire import hear, say
from stead.privileged.launcher_process import execute

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from stead.privileged.broker_poll import Poll

    _Tell = Callable[[dict[str, Any] | None], None]

_LONGEST_WORD: Final = 512 * 1024  # with as many groups as there may be
_REST: Final = 0.02  # seconds after one has ended


class Verifiers:
    """Starts the verifiers of one monitor, and reaps them.

    To start one takes longer than what it does then. So whoever has had one is expected
    to want another, and that is started ahead: it waits, for one piece of evidence as
    all do, and has read nothing that anybody says.
    """

    def __init__(self, poll: Poll) -> None:
        """Begin with none.

        Args:
            poll: the monitor's.
        """
        self._poll = poll
        self._ending: list[subprocess.Popen[bytes]] = []
        self._spares: dict[bytes, Verifier] = {}  # by how each began
        self._wanted: dict[bytes, float] = {}

    def start(
        self,
        program: str,
        terms: Mapping[str, Any],
        descriptors: Sequence[int],
        tell: _Tell,
    ) -> Verifier:
        """Have a verifier look at something: one that waits, or a new one.

        Args:
            program: its module; see ``bootstrap``.
            terms: what it is told by the broker.
            descriptors: the evidence; they stay the caller's to close.
            tell: hears its word; None if it ended without one.

        Raises:
            OSError: it cannot be started.
        """
        path = [entry for entry in sys.path if entry.startswith("/")]
        begin = json.dumps({"path": path, "program": program, **terms}).encode()
        spare = self._spares.pop(begin, None)
        if spare is not None:
            try:
                spare.show(descriptors, tell)
            except OSError:  # it has ended, of which nothing was heard yet
                spare.stop()
            else:
                return spare
        verifier = self._begun(begin)
        try:
            verifier.show(descriptors, tell)
        except BaseException:
            verifier.stop()
            raise
        return verifier

    def moments(self) -> Iterator[float]:
        """Yield when another is to be started, in monotonic seconds."""
        yield from self._wanted.values()

    def make_ready(self, now: float) -> None:
        """Start those that are expected to be wanted, and reap those that ended."""
        self._ending = [one for one in self._ending if one.poll() is None]
        due = [begin for begin, at in self._wanted.items() if at <= now]
        for begin in due:
            del self._wanted[begin]
            if begin not in self._spares:
                with suppress(OSError):  # then one is started when it is wanted
                    self._spares[begin] = self._begun(begin)

    def end(
        self, begin: bytes, control: socket.socket, process: subprocess.Popen[bytes]
    ) -> None:
        """Hear a verifier no more, and end it, without waiting for that."""
        self._poll.off(control.fileno())
        control.close()
        process.kill()
        self._ending.append(process)
        # Not at once: whoever has just been answered has better use for a processor.
        self._wanted[begin] = time.monotonic() + _REST

    def close(self) -> None:
        """End those that wait, and start no more."""
        for spare in tuple(self._spares.values()):
            spare.stop()
        self._spares.clear()
        self._wanted.clear()

    def _begun(self, begin: bytes) -> Verifier:
        """Start one, which waits for what it shall look at; raises `OSError`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)  # noqa: FBT003  # the library's signature
            with theirs:
                ours.send(begin)
                process = execute(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        verifier = Verifier(self, begin, ours, process)
        self._poll.on(ours.fileno(), select.POLLIN, Turn.ENDINGS, verifier.hear)
        return verifier

    def forget(self, begin: bytes, verifier: Verifier) -> None:
        """End one that said something, or ended, before it was shown anything.

        No other is started in its place before somebody asks: it might end as well.
        """
        if self._spares.get(begin) is verifier:
            del self._spares[begin]
        verifier.stop()
        self._wanted.pop(begin, None)


class Verifier:
    """One verifier, from its start to its word."""

    def __init__(
        self,
        all_of_them: Verifiers,
        begin: bytes,
        control: socket.socket,
        process: subprocess.Popen[bytes],
    ) -> None:
        """Take what `Verifiers` has started."""
        self._all = all_of_them
        self._begin = begin
        self._control = control
        self._process = process
        self._tell: _Tell | None = None
        self._is_over = False

    def show(self, descriptors: Sequence[int], tell: _Tell) -> None:
        """Show it what it shall look at; once.

        Raises:
            OSError: it is there no more.
        """
        say(self._control, {}, descriptors)
        self._tell = tell

    def hear(self) -> None:
        """Take what it says, or its end."""
        if self._tell is None:
            self._all.forget(self._begin, self)
        else:
            self._tell(self._word())

    def _word(self) -> dict[str, Any] | None:
        """Take its word: who it is; None if it has none."""
        with suppress(RemoteProtocolError):
            heard = hear(self._control, _LONGEST_WORD, 0)
            return None if heard is None else heard[0]
        return None

    def stop(self) -> None:
        """End it; again does nothing."""
        if not self._is_over:
            self._is_over = True
            self._all.end(self._begin, self._control, self._process)


def identity_of(word: Mapping[str, Any]) -> PosixIdentity:
    """Return whom a verifier's word names; raises KeyError and TypeError for none."""
    return PosixIdentity(word["uid"], word["gid"], tuple(word["groups"]))
