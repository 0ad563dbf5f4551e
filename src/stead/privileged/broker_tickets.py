"""Clients who are who their Kerberos tickets say: looked at by a verifier each.

The monitor reads nothing that a client says. It accepts the connection, hands it to a
process that it starts for this one client, and hears who it is. Then the client is
admitted, and its connection goes to the server; or it is refused, by one word for every
cause, and hung up on. The server never sees a ticket.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stead.errors import SteadError
from stead.privileged.broker_verifiers import identity_of
from stead.privileged.peers import peer_credentials
from stead.privileged.ticket_exchange import ADMITTED, REFUSED, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stead.privileged.broker_inheritance import Inheritance
    from stead.privileged.broker_verifiers import Verifier, Verifiers

    _ComeBy = Callable[[socket.socket, dict[str, Any]], dict[str, Any]]
    _Arrive = Callable[[socket.socket, dict[str, Any]], None]

_log: Final = logging.getLogger("stead.broker")

VERIFIER: Final = "stead.adapters.kerberos_verifier"
"""The verifier's program. It imports this room; nothing here imports it."""

_LONGEST_LIFE: Final = 1_000_000_000
_MOST_SERVICES: Final = 8
_LONGEST_NAME: Final = 256
_SECOND: Final = 1_000_000_000
_GRACE: Final = 2  # seconds beyond its own time, for a verifier to say so


@dataclass(slots=True, eq=False)
class _Showing:
    """One client that shows a ticket.

    Attributes:
        connection: the client's.
        uid: who connected, to the kernel.
        gives_up_at: when it is waited for no more, in monotonic seconds.
        arrive: takes the client in.
        verifier: looks at it; None before it is started.
    """

    connection: socket.socket
    uid: int
    gives_up_at: float
    arrive: _Arrive
    verifier: Verifier | None = None


class TicketClients:
    """Those who show a ticket at one server's gates."""

    def __init__(
        self, given: Inheritance, verifiers: Verifiers, come_by: _ComeBy
    ) -> None:
        """Begin with nobody.

        Args:
            given: the monitor's.
            verifiers: likewise.
            come_by: takes in whom a verifier vouches for, by its word; returns what is
                said of the client to the server, or raises.
        """
        self._kerberos = given.config.kerberos
        self._limits = given.config.limits
        self._verifiers = verifiers
        self._come_by = come_by
        self._showing: set[_Showing] = set()
        self._of_uid: Counter[int] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether nobody else may show one now: who comes waits."""
        return len(self._showing) >= self._limits.tickets_at_once

    def begin(self, connection: socket.socket, arrive: _Arrive) -> None:
        """Have a client's ticket looked at.

        Args:
            connection: accepted; closed here, if it comes to nothing.
            arrive: called with it, and with what the server is told of the client.
        """
        try:
            uid = peer_credentials(connection)[1]
        except (SteadError, OSError):
            connection.close()
            return
        if self._of_uid[uid] >= self._limits.tickets_per_client:
            _log.warning("uid %s shows too many tickets at once", uid)
            _answer(connection, REFUSED)
            connection.close()
            return
        until = time.monotonic() + self._limits.ticket_seconds + _GRACE
        one = _Showing(connection, uid, until, arrive)
        self._showing.add(one)
        self._of_uid[uid] += 1
        try:
            self._verify(one)
        except OSError as error:
            _log.warning("no verifier of tickets can be started: %s", error.strerror)
            self._refuse(one)

    def moments(self) -> Iterator[float]:
        """Yield when somebody is given up, in monotonic seconds."""
        yield from (one.gives_up_at for one in self._showing)

    def give_up_what_is_due(self, now: float) -> None:
        """Refuse whoever has had his time."""
        for one in tuple(self._showing):
            if one.gives_up_at <= now:
                self._refuse(one)

    def close(self) -> None:
        """Hear nobody more."""
        for one in tuple(self._showing):
            self._refuse(one)

    def _verify(self, one: _Showing) -> None:
        if self._kerberos is None:
            return  # the configuration has no such gate then
        terms = dataclasses.asdict(self._kerberos)
        one.verifier = self._verifiers.start(
            VERIFIER,
            {**terms, "seconds": self._limits.ticket_seconds},
            [one.connection.fileno()],
            lambda said: self._hear(one, said),
        )

    def _hear(self, one: _Showing, said: dict[str, Any] | None) -> None:
        """Take a verifier's word: who it is, or its silence."""
        try:
            told = None if said is None else self._come_by(one.connection, said)
        except (
            KeyError,
            TypeError,
            ValueError,
            ArithmeticError,
            OSError,
            SteadError,
        ) as error:
            _log.warning("a client with a ticket is refused: %s", error)
            told = None
        if told is None:
            self._refuse(one)
            return
        self._forget(one)
        _answer(one.connection, ADMITTED)
        one.arrive(one.connection, told)

    def _refuse(self, one: _Showing) -> None:
        """Say the one word there is, and hang up."""
        self._forget(one)
        _answer(one.connection, REFUSED)
        one.connection.close()

    def _forget(self, one: _Showing) -> None:
        if one.verifier is not None:
            one.verifier.stop()
        self._showing.discard(one)
        self._of_uid[one.uid] -= 1
        if not self._of_uid[one.uid]:
            del self._of_uid[one.uid]


def _answer(connection: socket.socket, kind: bytes) -> None:
    """Say how it went; a client that is gone, or does not read, need not know."""
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    with suppress(OSError):
        connection.send(frame(kind), flags)


def told_of(word: dict[str, Any]) -> dict[str, Any]:
    """Return what a server is told of a client with a ticket, beside its index."""
    identity, principal = identity_of(word), word["principal"]
    if not isinstance(principal, str):
        raise TypeError("a principal is text")
    return {
        "identity": [identity.uid, identity.gid, list(identity.groups)],
        "principal": principal,
        "through": _services(word["through"]),
        "expires": time.time_ns() + seconds_of(word) * _SECOND,
    }


def _services(said: object) -> list[str]:
    """Return whom a client came through; raises TypeError and ValueError for no names.

    The process that says so has read what strangers sent.
    """
    if not isinstance(said, list) or not all(isinstance(each, str) for each in said):
        raise TypeError("services are named in a list")
    are_names = all(
        0 < len(each) <= _LONGEST_NAME and each.isprintable() for each in said
    )
    if len(said) > _MOST_SERVICES or not are_names:
        raise ValueError("a client comes through fewer services, which have names")
    return said


def seconds_of(word: dict[str, Any]) -> int:
    """Return how long a ticket lives; raises TypeError and ValueError for no time.

    The process that says so has read what strangers sent.
    """
    seconds = word["seconds"]
    if type(seconds) is not int:
        raise TypeError("a ticket lives for a whole number of seconds")
    if not 0 < seconds <= _LONGEST_LIFE:
        raise ValueError("no ticket lives so long, or so short")
    return seconds
