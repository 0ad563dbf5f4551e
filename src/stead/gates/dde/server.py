"""The DDE gate: a local socket whose clients talk about topics.

    gate = DdeGate("/run/notes/dde", desk, name="notes")
    await server.serve(gate)

It is a gate like the others, but for one thing: a client of it is nobody yet. Each of
its conversations is admitted for itself, at the quality of service that it was begun
with, by the host behind the gate.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stead.gates.dde.connection import Connection
from stead.gates.dde.limits import DdeLimits
from stead.gates.dde.messages import Goodbye
from stead.gates.dde.ports import DdeHost
from stead.gates.dde.protocol import DdeProtocol
from stead.gates.pipe.door import Received, local_door
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.protocol import Role
from stead.gates.pipe.shares import Share
from stead.gates.pipe.turned_away import log_turned_away
from stead.gates.ports import Entrance, TurnedAway


class DdeGate:
    """Accepts local clients and serves each as its own connection."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        host: DdeHost,
        *,
        name: str = "stead",
        mode: int = 0o666,
        limits: DdeLimits | None = None,
        turned_away: TurnedAway = log_turned_away,
        entrance: Entrance | None = None,
    ) -> None:
        """Describe the gate; nothing is opened before `start`.

        Args:
            path: where clients find it; absolute.
            host: who accepts conversations.
            name: the server's name, told to clients.
            mode: who may connect, as permission bits of the socket.
            limits: what a client may cost.
            turned_away: told now and then how many clients were turned away; logs a
                warning if nothing else is given.
            entrance: who accepts clients there, if the server does not by itself;
                `server.entrance(path)` gives the broker's. It has the mode then, too.
        """
        self.path = Path(path)
        self._host = host
        self._name = name
        self._limits = limits or DdeLimits()
        self._door = local_door(
            path, mode, self._limits.socket, turned_away, entrance=entrance
        )

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._door.visits)

    async def start(self, admit: Callable[..., Awaitable[Any]]) -> None:  # noqa: ARG002 - the host admits each conversation
        """Take the path and accept clients.

        Args:
            admit: never asked. A gate's client would be admitted once, at one level;
                here each conversation is, by the host, at a level of its own.

        Raises:
            ServerClosedError: the gate is open already.
            InvalidNameError: the path cannot be a socket's.
            UnsafePipeError: somebody else could put himself in our place there.
            PipeBusyError: another server answers there.
        """
        self._door.open(self._receive, self._goodbye())

    async def stop(self, *, grace: float = 5.0) -> None:
        """Give the path back, let running transactions finish, and say goodbye.

        Args:
            grace: seconds after which transactions that still run are cancelled;
                those that outlive even that for as long again are left behind.
        """
        await self._door.close(grace)

    def _receive(
        self, client: socket.socket, evidence: PeerEvidence, share: Share
    ) -> Received:
        connection = Connection(
            replace(evidence, gate="dde"),
            self._host,
            name=self._name,
            limits=self._limits,
            share=share,
        )
        return connection, connection.serve(client)

    def _goodbye(self) -> bytes:
        protocol = DdeProtocol(Role.SERVER, self._limits)
        return protocol.send(Goodbye(reason="too many connections"))
