"""Where a service's clients come in: accepted here, and by nobody else.

This is why a server can make up no client. On a socket that was accepted, the kernel
names who connected; on any other socket it names whoever the socket's maker chose: his
own ends of a pair, or a daemon of root's that he connected to. So no socket of a
server's is ever taken for a client. The broker listens, accepts, asks the kernel, and
hands the connection on with its index.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stead.errors import RemoteProtocolError, SteadError
from stead.model.posix_identity import PosixIdentity
from stead.privileged.broker_poll import Turn
from stead.privileged.broker_wire import say
from stead.privileged.peers import peer_credentials, peer_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from stead.privileged.broker_clients import Client, ClientTable
    from stead.privileged.broker_inheritance import Inheritance
    from stead.privileged.broker_poll import Poll

    _ComeBy = Callable[[PosixIdentity, socket.socket], Client]

_log: Final = logging.getLogger("stead.broker")
_REST: Final = 0.05  # seconds
_PASSING: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED}
)


@dataclass(slots=True, eq=False)
class _Entrance:
    """One gate.

    Attributes:
        listener: the listening socket; the broker's, for as long as that lives.
        channel: where the server takes clients; None while it takes none.
        waiting: whoever was accepted and has not been handed on: the socket, and what
            is said with it.
        is_watched: whether the listener is.
    """

    listener: socket.socket
    channel: socket.socket | None = None
    waiting: tuple[socket.socket, dict[str, Any]] | None = None
    is_watched: bool = False


class Entrances:
    """The gates of one service, for one server."""

    def __init__(
        self, given: Inheritance, poll: Poll, clients: ClientTable, come_by: _ComeBy
    ) -> None:
        """Accept nobody yet.

        Args:
            given: the monitor's.
            poll: likewise.
            clients: likewise.
            come_by: takes in whom the kernel vouches for, or raises.
        """
        self._poll = poll
        self._clients = clients
        self._come_by = come_by
        self._entrances = [_Entrance(listener) for listener in given.gates]

    def open(self, gate: int, channel: int) -> None:
        """Hand on a gate's clients from now on.

        Raises:
            RemoteProtocolError: there is no such gate, or it is open.
        """
        if not 0 <= gate < len(self._entrances):
            raise RemoteProtocolError("the service has no such gate")
        entrance = self._entrances[gate]
        if entrance.channel is not None:
            raise RemoteProtocolError("the gate is open already")
        entrance.channel = socket.socket(fileno=os.dup(channel))
        self._watch_channel(entrance, 0)

    def look(self) -> None:
        """Accept where somebody takes clients and there is room for them."""
        for entrance in self._entrances:
            is_wanted = (
                entrance.channel is not None
                and entrance.waiting is None
                and not self._clients.is_full
            )
            if is_wanted != entrance.is_watched:
                entrance.is_watched = is_wanted
                self._watch_listener(entrance)

    def close(self) -> None:
        """Accept nobody more."""
        for entrance in self._entrances:
            self._shut(entrance)
        self.look()

    def _watch_listener(self, entrance: _Entrance) -> None:
        number = entrance.listener.fileno()
        if entrance.is_watched:
            self._poll.on(
                number, select.POLLIN, Turn.ARRIVALS, lambda: self._accept(entrance)
            )
        else:
            self._poll.off(number)

    def _watch_channel(self, entrance: _Entrance, events: int) -> None:
        if entrance.channel is not None:
            self._poll.on(
                entrance.channel.fileno(),
                events | select.POLLRDHUP,
                Turn.ENDINGS,
                lambda: self._go_on(entrance),
            )

    def _accept(self, entrance: _Entrance) -> None:
        """Accept one client, ask the kernel who it is, and hand it on."""
        try:
            connection, _ = entrance.listener.accept()
        except BlockingIOError:
            return  # another server of the service was faster
        except OSError as error:
            if error.errno not in _PASSING:
                raise
            _log.warning("no client can be accepted: %s", error.strerror)
            time.sleep(_REST)  # the listener stays readable, and nothing is gained
            return
        # Its end alone is watched: what a client writes is the server's to read.
        entrance.waiting = (connection, self._known(connection))
        self._hand_on(entrance)

    def _known(self, connection: socket.socket) -> dict[str, Any]:
        """Return what is said of a client: its index, or why it has none."""
        try:
            _, uid, gid = peer_credentials(connection)
            identity = PosixIdentity(uid, gid, peer_groups(connection))
            client = self._come_by(identity, connection)
        except (SteadError, OSError) as error:
            return {"client": None, "why": str(error)}
        return {"client": client.index}

    def _hand_on(self, entrance: _Entrance) -> None:
        """Give the server the client that waits; again later if it does not read."""
        if entrance.waiting is None or entrance.channel is None:
            return
        connection, message = entrance.waiting
        if connection.fileno() < 0:  # it has left meanwhile
            entrance.waiting = None
            self._watch_channel(entrance, 0)
            return
        try:
            say(entrance.channel, message, [connection.fileno()])
        except BlockingIOError:
            self._watch_channel(entrance, select.POLLOUT)
            return
        except OSError:
            self._shut(entrance)
            return
        entrance.waiting = None
        self._watch_channel(entrance, 0)
        if message["client"] is None:
            connection.close()

    def _go_on(self, entrance: _Entrance) -> None:
        """See that the server reads again, or takes no more clients."""
        if entrance.channel is None:
            return
        try:
            is_gone = not entrance.channel.recv(1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            is_gone = False
        except OSError:
            is_gone = True
        if is_gone:
            self._shut(entrance)
        else:
            self._hand_on(entrance)

    def _shut(self, entrance: _Entrance) -> None:
        """Take no more clients in; whoever was not handed on is let go."""
        if entrance.waiting is not None:
            connection, message = entrance.waiting
            entrance.waiting = None
            with suppress(OSError):  # it is gone already
                connection.shutdown(socket.SHUT_RDWR)
            if message["client"] is None:
                connection.close()
        if entrance.channel is not None:
            self._poll.off(entrance.channel.fileno())
            entrance.channel.close()
            entrance.channel = None
