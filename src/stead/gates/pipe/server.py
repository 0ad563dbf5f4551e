"""The pipe gate: a local socket whose clients the kernel vouches for.

    gate = PipeGate(Path("/run/notes/pipe"), name="notes")
    await gate.start(admit)
    ...
    await gate.stop()

Stead's pipes are stream sockets: asyncio refuses SOCK_SEQPACKET, and datagrams above
the socket's buffer fail there.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from stead.gates.pipe.channel import LocalChannel
from stead.gates.pipe.connection import Connection
from stead.gates.pipe.door import Received, local_door
from stead.gates.pipe.greeting import LocalGreeting
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import Goodbye
from stead.gates.pipe.peer import PeerEvidence
from stead.gates.pipe.protocol import PipeProtocol, Role
from stead.gates.pipe.shares import Share
from stead.gates.pipe.turned_away import log_turned_away
from stead.gates.ports import Admit, Entrance, TurnedAway
from stead.model.arguments import require_kind


class PipeGate:
    """Accepts local clients and serves each as its own connection."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "stead",
        mode: int = 0o666,
        limits: PipeLimits | None = None,
        turned_away: TurnedAway = log_turned_away,
        entrance: Entrance | None = None,
    ) -> None:
        """Describe the gate; nothing is opened before `start`.

        Args:
            path: where clients find it; absolute.
            name: the server's name, told to clients.
            mode: who may connect, as permission bits of the socket.
            limits: what a client may cost.
            turned_away: told now and then how many clients were turned away; logs a
                warning if nothing else is given.
            entrance: who accepts clients there, if the server does not by itself;
                `server.entrance(path)` gives the broker's. It has the mode then, too.
        """
        require_kind("path", path, (str, os.PathLike), "where clients find it")
        self.path = Path(path)
        self._name = name
        self._limits = limits or PipeLimits()
        self._door = local_door(
            path, mode, self._limits, turned_away, entrance=entrance
        )

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._door.visits)

    async def start(self, admit: Admit[PeerEvidence]) -> None:
        """Take the path and accept clients.

        Raises:
            ServerClosedError: the gate is open already.
            InvalidNameError: the path cannot be a pipe's.
            UnsafePipeError: somebody else could put himself in our place there.
            PipeBusyError: another server answers there.
        """

        def receive(
            client: socket.socket, evidence: PeerEvidence, share: Share
        ) -> Received:
            connection = Connection(
                LocalChannel(client),
                LocalGreeting(evidence),
                name=self._name,
                limits=self._limits,
                share=share,
            )
            return connection, connection.serve(admit)

        self._door.open(receive, self._goodbye())

    async def stop(self, *, grace: float = 5.0) -> None:
        """Give the path back, let running requests finish, and say goodbye.

        Args:
            grace: seconds after which requests that still run are cancelled; those
                that outlive even that for as long again are left behind, and logged.
        """
        await self._door.close(grace)

    def _goodbye(self) -> bytes:
        protocol = PipeProtocol(Role.SERVER, self._limits)
        return protocol.send(Goodbye(reason="too many connections"))
