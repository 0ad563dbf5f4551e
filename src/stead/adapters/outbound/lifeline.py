"""What of one session is connected to other machines, until the session ends.

Whoever connects registers the socket. When the session ends, each is shut down at
once: what waits for an answer fails, and nothing is sent any more. Shutting down waits
for nobody and takes no lock, so whatever ends a session may do it. What is left is
closed by whoever made it, or by `clean`, which may wait.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Final, Protocol

from stead.errors import LogonSessionEndedError

SESSION: Final = "the session"
"""What has ended where connections are cut, unless somebody says otherwise."""


class Cuttable(Protocol):
    """A connected socket; asyncio's own counts."""

    def fileno(self) -> int:
        """Return its number; -1 once it is closed."""
        ...

    def shutdown(self, how: int, /) -> None:
        """End the connection, and leave the number."""


class Lifeline:
    """The connections of one session."""

    __slots__ = (
        "_closers", "_cuts", "_numbers", "_process", "_require", "_what", "is_over",
        "lasting",
    )  # fmt: skip

    def __init__(self, require_live: Callable[[], None], what: str = SESSION) -> None:
        """Hold nothing yet.

        Args:
            require_live: returns if the session lives; raises
                `LogonSessionEndedError`, or what keeps it from being asked.
            what: what ends, as errors say it.
        """
        self._require = require_live
        self._what = what
        self._process = os.getpid()
        self._numbers = count()
        self._cuts: Final[dict[int, Cuttable]] = {}
        self._closers: Final[dict[int, Callable[[], object]]] = {}
        # Until when the session's credentials are known to last, by their numbers.
        self.lasting: Final[dict[int, int]] = {}
        self.is_over = False

    def require_live(self) -> None:
        """Return if the session lives; raises `LogonSessionEndedError` if not."""
        self.require_not_over()
        self._require()
        self.require_not_over()

    def require_not_over(self, cause: BaseException | None = None) -> None:
        """Return if nobody has said that the session ended; raises as above.

        Args:
            cause: what failed, where the end of the session may be why.
        """
        if os.getpid() != self._process:
            raise LogonSessionEndedError(
                "the session's connections are those of the process that was forked",
                advice="open a server in each process, after the fork",
            )
        if self.is_over:
            raise LogonSessionEndedError(
                f"{self._what} in which another machine is reached has ended",
                advice="log the client on again; what came of a request that was "
                "under way is not known",
            ) from cause

    @property
    def is_idle(self) -> bool:
        """Whether nothing is connected."""
        self._prune()
        return not self._cuts

    def keep(self, connected: Cuttable) -> None:
        """Have a socket cut when the session ends; at once, if it has.

        Args:
            connected: the socket; closing it is still its owner's. A closed one is
                forgotten.

        Raises:
            LogonSessionEndedError: the session has ended; the socket is cut.
        """
        self._prune()
        number = next(self._numbers)
        self._cuts[number] = connected
        if self.is_over:
            _cut(connected)
        self.require_not_over()

    def keep_copy(self, descriptor: int) -> Callable[[], None]:
        """Have a connection cut of which a library shows the number alone.

        A copy is kept: the number may be somebody else's when the session ends.

        Returns:
            what forgets and closes the copy; to be called when the library closes.

        Raises:
            LogonSessionEndedError: the session has ended; the connection is cut.
        """
        copy = socket.socket(fileno=os.dup(descriptor))
        number = self.at_end(copy.close)

        def forget() -> None:
            self._closers.pop(number, None)
            copy.close()

        try:
            self.keep(copy)
        except BaseException:
            forget()
            raise
        return forget

    def _prune(self) -> None:
        for number, connected in list(self._cuts.items()):
            if connected.fileno() < 0:
                self._cuts.pop(number, None)

    def at_end(self, close: Callable[[], object]) -> int:
        """Have something closed by `clean`; return its number."""
        number = next(self._numbers)
        self._closers[number] = close
        return number

    def end(self) -> None:
        """Cut every connection; nothing new begins. Waits for nothing."""
        if os.getpid() != self._process:
            return  # they are the other process's, which goes on
        self.is_over = True
        for connected in list(self._cuts.values()):
            _cut(connected)

    def clean(self) -> None:
        """Close what is left after the end; this may wait."""
        for number in list(self._closers):
            if (close := self._closers.pop(number, None)) is not None:
                with suppress(Exception):  # it was cut, and says so
                    close()
        self._cuts.clear()


def _cut(connected: Cuttable) -> None:
    with suppress(OSError):  # the other end, or whoever made it, was faster
        if isinstance(connected, ssl.SSLSocket):
            # Its own would have what is read meanwhile read without TLS.
            socket.socket.shutdown(connected, socket.SHUT_RDWR)
        else:
            connected.shutdown(socket.SHUT_RDWR)
