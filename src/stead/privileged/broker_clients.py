"""The broker's own table of one server's clients: what an index stands for.

An index is given once and never again on a connection, so a stale one names nobody. One
that was never given is an invention, and ends the connection.
"""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stead.errors import QuotaExceededError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stead.model.posix_identity import PosixIdentity
    from stead.privileged.broker_config import Limits


@dataclass(slots=True, eq=False)
class Hold:
    """One process of a client, as the broker holds it.

    Attributes:
        socket: at its end the keeper ends the tree; and it ends with the keeper.
        client: whose it is.
        ends: when it is ended at the latest, in monotonic seconds; None for never.
        is_ending: whether its keeper was told to end it.
        keeper: a descriptor of the keeper's process, and its number; None as long as
            none has taken the order.
    """

    socket: socket.socket
    client: Client
    ends: float | None = None
    is_ending: bool = False
    keeper: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class Client:
    """Somebody as whom a server may act.

    Attributes:
        index: what the server calls it.
        identity: what was verified.
        socket: its connection, which it came by; None if it came by a password.
        lease_ends: when it is gone, in monotonic seconds: unless renewed, after a
            password, or with its ticket; None if only its connection counts.
        is_gone: whether nothing may be done as it any more.
        holds: its processes.
    """

    index: int
    identity: PosixIdentity
    socket: socket.socket | None = None
    lease_ends: float | None = None
    is_gone: bool = False
    holds: set[Hold] = field(default_factory=set)


class ClientTable:
    """All clients of one server's connection, and their processes."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nobody."""
        self._limits = limits
        self._next = 1
        self._clients: dict[int, Client] = {}
        self._connections: Counter[int] = Counter()
        self._processes: Counter[int] = Counter()

    def __iter__(self) -> Iterator[Client]:
        """Go over those that are there."""
        return iter(tuple(self._clients.values()))

    @property
    def is_full(self) -> bool:
        """Whether nobody else may come."""
        return len(self._clients) >= self._limits.clients

    def has_room(self, uid: int) -> bool:
        """Say whether somebody of this uid may come."""
        most = self._limits.connections_per_client
        return not self.is_full and self._connections[uid] < most

    def add(
        self,
        identity: PosixIdentity,
        *,
        connection: socket.socket | None = None,
        lease_ends: float | None = None,
    ) -> Client:
        """Take somebody in, who has been verified, under a new index."""
        client = Client(self._next, identity, connection, lease_ends)
        self._next += 1
        self._clients[client.index] = client
        self._connections[identity.uid] += 1
        return client

    def find(self, index: int) -> Client | None:
        """Return whom an index stands for; None if he is gone.

        Raises:
            RemoteProtocolError: it was never given: the server made it up.
        """
        if not 0 < index < self._next:
            raise RemoteProtocolError(f"nobody was ever client {index}")
        return self._clients.get(index)

    def remove(self, client: Client) -> None:
        """Let nothing more be done as a client; its processes are the caller's."""
        client.is_gone = True
        if self._clients.pop(client.index, None) is not None:
            _count_down(self._connections, client.identity.uid)

    def hold(self, client: Client, held: Hold) -> None:
        """Take note of a process.

        Raises:
            QuotaExceededError: there are as many as there may be.
        """
        uid = client.identity.uid
        if self._processes[uid] >= self._limits.processes_per_client:
            raise QuotaExceededError(
                f"uid {uid} has {self._processes[uid]} processes, and may have no more"
            )
        if self._processes.total() >= self._limits.processes:
            raise QuotaExceededError("the server has as many processes as may be")
        self._processes[uid] += 1
        client.holds.add(held)

    def release(self, held: Hold) -> None:
        """Take note that nothing is left of a process."""
        held.client.holds.discard(held)
        _count_down(self._processes, held.client.identity.uid)


def _count_down(counter: Counter[int], key: int) -> None:
    if counter[key] <= 1:
        del counter[key]
    else:
        counter[key] -= 1
