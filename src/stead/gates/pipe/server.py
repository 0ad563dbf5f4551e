"""The pipe gate: a local socket whose clients the kernel vouches for.

    gate = PipeGate(Path("/run/notes/pipe"), name="notes")
    await gate.start(admit)
    ...
    await gate.stop()

Stead's pipes are stream sockets: asyncio refuses SOCK_SEQPACKET, and datagrams above
the socket's buffer fail there.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from contextvars import Context
from pathlib import Path
from typing import Final

from stead.errors import RemoteProtocolError, ServerClosedError
from stead.gates.pipe.binding import Binding, bind
from stead.gates.pipe.connection import Connection
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import Goodbye
from stead.gates.pipe.peer import PeerEvidence, peer_credentials, peer_evidence
from stead.gates.pipe.places import Places
from stead.gates.pipe.protocol import PipeProtocol, Role
from stead.gates.pipe.shares import Shares
from stead.gates.pipe.turned_away import Tally, log_turned_away
from stead.gates.ports import Admit, TurnedAway

logger = logging.getLogger(__name__)

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_SECONDS: Final = 0.2


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
    ) -> None:
        """Describe the gate; nothing is opened before `start`.

        Args:
            path: where clients find it; absolute.
            name: the server's name, told to clients.
            mode: who may connect, as permission bits of the socket.
            limits: what a client may cost.
            turned_away: told now and then how many clients were turned away; logs a
                warning if nothing else is given.
        """
        self.path = Path(path)
        self._name = name
        self._mode = mode
        self._limits = limits or PipeLimits()
        self._binding: Binding | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._places = Places(self._limits, {0, os.geteuid()})
        self._tally = Tally(turned_away, self._limits.report_seconds)
        self._shares = Shares(self._limits.bytes_per_uid)

    @property
    def clients(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    async def start(self, admit: Admit[PeerEvidence]) -> None:
        """Take the path and accept clients.

        Raises:
            ServerClosedError: the gate is open already.
            InvalidNameError: the path cannot be a pipe's.
            UnsafePipeError: somebody else could put himself in our place there.
            PipeBusyError: another server answers there.
        """
        if self._binding is not None:
            raise ServerClosedError("the gate is open already")
        self._binding = bind(self.path, self._mode)
        self._listen(self._binding.listener, admit)

    async def stop(self, *, grace: float = 5.0) -> None:
        """Give the path back, let running requests finish, and say goodbye.

        Args:
            grace: seconds after which requests that still run are cancelled; those
                that outlive even that for as long again are left behind, and logged.
        """
        if self._binding is None:
            return
        self._close_door(self._binding)
        try:
            await self._end_connections(grace)
        finally:
            self._shares.close()
            self._shares = Shares(self._limits.bytes_per_uid)
            self._tally.tell()

    async def _end_connections(self, grace: float) -> None:
        for connection in self._connections.values():
            connection.stop("the server is shutting down")
        if not await self._have_ended(grace):
            for connection in self._connections.values():
                connection.cancel_requests()
            if not await self._have_ended(grace):
                logger.error("%d connections do not end", len(self._connections))

    async def _have_ended(self, seconds: float) -> bool:
        if self._connections:
            await asyncio.wait(self._connections, timeout=seconds)
        return not self._connections

    def _close_door(self, binding: Binding) -> None:
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(binding.listener)
        binding.release()
        self._binding = self._pause = None

    def _listen(self, listener: socket.socket, admit: Admit[PeerEvidence]) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(listener, self._accept, listener, admit)

    def _accept(self, listener: socket.socket, admit: Admit[PeerEvidence]) -> None:
        """Accept one client: the listening socket is readable."""
        try:
            client, _ = listener.accept()
            client.settimeout(0.0)
            try:
                self._take_in(client, admit)
            except BaseException:
                client.close()
                raise
        except RemoteProtocolError as error:
            logger.debug("a client is turned away: %s", error)
        except OSError as error:
            logger.debug("no client was accepted: %s", error)
            if error.errno in _EXHAUSTED:
                self._rest(listener, admit)

    def _rest(self, listener: socket.socket, admit: Admit[PeerEvidence]) -> None:
        """Stop accepting for a moment.

        Without a descriptor to accept with, the listening socket stays readable, and
        the loop would do nothing but look at it.
        """
        logger.warning("the process is out of descriptors or memory for clients")
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._pause = loop.call_later(_REST_SECONDS, self._listen, listener, admit)

    def _take_in(self, client: socket.socket, admit: Admit[PeerEvidence]) -> None:
        """Start to serve a client, or turn it away if there are too many."""
        pid, uid, _ = peer_credentials(client)
        if not self._places.has_room(uid):
            self._tally.add(f"uid {uid} pid {pid}: too many connections")
            self._turn_away(client)
            return
        connection = Connection(
            client,
            peer_evidence(client),
            name=self._name,
            limits=self._limits,
            share=self._shares.of(uid),
        )
        # An empty context: whoever opened the gate lends its clients no identity.
        task = asyncio.create_task(connection.serve(admit), context=Context())
        self._connections[task] = connection
        self._places.take(connection)
        task.add_done_callback(self._forget)

    def _turn_away(self, client: socket.socket) -> None:
        goodbye = PipeProtocol(Role.SERVER, self._limits).send(
            Goodbye(reason="too many connections")
        )
        with client:
            client.send(goodbye)  # a fresh socket's buffer holds it

    def _forget(self, task: asyncio.Task[None]) -> None:
        connection = self._connections.pop(task)
        self._places.free(connection)
        who = connection.evidence
        if connection.turned_away:
            self._tally.add(f"{who.describe()}: {connection.turned_away}")
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a connection of uid %d failed", who.uid, exc_info=error)
