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
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
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
    from stead.privileged.broker_tickets import TicketClients

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
        takes_tickets: whether its clients are who their tickets say.
        channel: where the server takes clients; None while it takes none.
        waiting: those who were accepted and not handed on: the socket, and what is
            said with it. More than one only where tickets were looked at meanwhile.
        is_watched: whether the listener is.
    """

    listener: socket.socket
    takes_tickets: bool = False
    channel: socket.socket | None = None
    waiting: deque[tuple[socket.socket, dict[str, Any]]] = field(default_factory=deque)
    is_watched: bool = False


class Entrances:
    """The gates of one service, for one server."""

    def __init__(
        self,
        given: Inheritance,
        poll: Poll,
        clients: ClientTable,
        tickets: TicketClients,
        come_by: _ComeBy,
    ) -> None:
        """Accept nobody yet.

        Args:
            given: the monitor's.
            poll: likewise.
            clients: likewise.
            tickets: has tickets looked at.
            come_by: takes in whom the kernel vouches for, or raises.
        """
        self._poll = poll
        self._clients = clients
        self._tickets = tickets
        self._come_by = come_by
        plain = len(given.service.gates)
        self._entrances = [
            _Entrance(listener, takes_tickets=number >= plain)
            for number, listener in enumerate(given.gates)
        ]

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
                and not entrance.waiting
                and not self._clients.is_full
                and not (entrance.takes_tickets and self._tickets.is_full)
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
        if entrance.takes_tickets:
            self._tickets.begin(connection, partial(self._arrive, entrance))
        else:
            self._arrive(entrance, connection, self._known(connection))

    def _arrive(
        self, entrance: _Entrance, connection: socket.socket, told: dict[str, Any]
    ) -> None:
        entrance.waiting.append((connection, told))
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
        """Give the server the clients that wait; again later if it does not read."""
        while entrance.waiting and entrance.channel is not None:
            connection, message = entrance.waiting[0]
            if connection.fileno() >= 0:  # or it has left meanwhile
                try:
                    say(entrance.channel, message, [connection.fileno()])
                except BlockingIOError:
                    self._watch_channel(entrance, select.POLLOUT)
                    return
                except OSError:
                    self._shut(entrance)
                    return
            entrance.waiting.popleft()
            if message["client"] is None:
                connection.close()
        if entrance.channel is None:
            self._shut(entrance)  # whoever comes so late is let go
        else:
            self._watch_channel(entrance, 0)

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
        while entrance.waiting:
            connection, message = entrance.waiting.popleft()
            with suppress(OSError):  # it is gone already
                connection.shutdown(socket.SHUT_RDWR)
            if message["client"] is None:
                connection.close()
        if entrance.channel is not None:
            self._poll.off(entrance.channel.fileno())
            entrance.channel.close()
            entrance.channel = None
