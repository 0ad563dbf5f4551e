"""The door of a local socket: who comes in, how many, and how it is closed.

What is said behind it is the business of whoever opens it: the pipe and DDE have one
door each, and nothing of it twice.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from contextvars import Context
from pathlib import Path
from typing import Any, Final, Protocol

from stead.errors import RemoteProtocolError, ServerClosedError
from stead.gates.pipe.binding import Binding, bind
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import PeerEvidence, peer_credentials, peer_evidence
from stead.gates.pipe.places import Occupant, Places
from stead.gates.pipe.shares import Share, Shares
from stead.gates.pipe.turned_away import Tally
from stead.gates.ports import TurnedAway

logger = logging.getLogger(__name__)

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_SECONDS: Final = 0.2


class Visit(Occupant, Protocol):
    """One client's connection, as its door sees it.

    Attributes:
        turned_away: why it was let go of the gate's own accord; empty if it was not.
    """

    turned_away: str

    def stop(self, reason: str) -> None:
        """Take nothing more, let what runs end, say goodbye."""

    def cancel_requests(self) -> None:
        """Give up what still runs."""


Received = tuple[Visit, Coroutine[Any, Any, None]]
"""A client's visit, and what serves it."""

Receive = Callable[[socket.socket, PeerEvidence, Share], Received]
"""Makes of an accepted client its visit."""


class Door:
    """A bound local socket and the clients that came through it.

    Attributes:
        visits: the connections that are open, by the tasks that serve them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: int,
        limits: PipeLimits,
        turned_away: TurnedAway,
    ) -> None:
        """Describe the door; nothing is opened before `open`.

        Args:
            path: where clients find it; absolute.
            mode: who may connect, as permission bits of the socket.
            limits: what a client may cost.
            turned_away: told now and then how many clients were turned away.
        """
        self._path = Path(path)
        self._mode = mode
        self._limits = limits
        self._binding: Binding | None = None
        self._receive: Receive | None = None
        self._goodbye = b""
        self._pause: asyncio.TimerHandle | None = None
        self.visits: dict[asyncio.Task[None], Visit] = {}
        self._places = Places(limits, {0, os.geteuid()})
        self._tally = Tally(turned_away, limits.report_seconds)
        self._shares = Shares(limits.bytes_per_uid)

    def open(self, receive: Receive, goodbye: bytes) -> None:
        """Take the path and let clients in.

        Args:
            receive: makes of a client its visit.
            goodbye: all that a client hears for whom there is no place.

        Raises:
            ServerClosedError: it is open already.
            InvalidNameError: the path cannot be a socket's.
            UnsafePipeError: somebody else could put himself in our place there.
            PipeBusyError: another server answers there.
        """
        if self._binding is not None:
            raise ServerClosedError("the gate is open already")
        self._binding = bind(self._path, self._mode)
        self._receive, self._goodbye = receive, goodbye
        self._listen(self._binding.listener)

    async def close(self, grace: float) -> None:
        """Give the path back, let what runs finish, and say goodbye.

        Args:
            grace: seconds after which requests that still run are cancelled; those
                that outlive even that for as long again are left behind, and logged.
        """
        if self._binding is None:
            return
        self._give_back(self._binding)
        try:
            await self._end_visits(grace)
        finally:
            self._shares.close()
            self._shares = Shares(self._limits.bytes_per_uid)
            self._tally.tell()

    async def _end_visits(self, grace: float) -> None:
        for visit in self.visits.values():
            visit.stop("the server is shutting down")
        if not await self._have_ended(grace):
            for visit in self.visits.values():
                visit.cancel_requests()
            if not await self._have_ended(grace):
                logger.error("%d connections do not end", len(self.visits))

    async def _have_ended(self, seconds: float) -> bool:
        if self.visits:
            await asyncio.wait(self.visits, timeout=seconds)
        return not self.visits

    def _give_back(self, binding: Binding) -> None:
        if self._pause is not None:
            self._pause.cancel()
        asyncio.get_running_loop().remove_reader(binding.listener)
        binding.release()
        self._binding = self._pause = None

    def _listen(self, listener: socket.socket) -> None:
        self._pause = None
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept one client: the listening socket is readable."""
        try:
            client, _ = listener.accept()
            client.settimeout(0.0)
            try:
                self._take_in(client)
            except BaseException:
                client.close()
                raise
        except RemoteProtocolError as error:
            logger.debug("a client is turned away: %s", error)
        except OSError as error:
            logger.debug("no client was accepted: %s", error)
            if error.errno in _EXHAUSTED:
                self._rest(listener)

    def _rest(self, listener: socket.socket) -> None:
        """Stop accepting for a moment.

        Without a descriptor to accept with, the listening socket stays readable, and
        the loop would do nothing but look at it.
        """
        logger.warning("the process is out of descriptors or memory for clients")
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._pause = loop.call_later(_REST_SECONDS, self._listen, listener)

    def _take_in(self, client: socket.socket) -> None:
        """Start to serve a client, or turn it away if there are too many."""
        pid, uid, _ = peer_credentials(client)
        if self._receive is None or not self._places.has_room(uid):
            self._tally.add(f"uid {uid} pid {pid}: too many connections")
            with client:
                client.send(self._goodbye)  # a fresh socket's buffer holds it
            return
        visit, serving = self._receive(
            client, peer_evidence(client), self._shares.of(uid)
        )
        # An empty context: whoever opened the gate lends its clients no identity.
        task = asyncio.create_task(serving, context=Context())
        self.visits[task] = visit
        self._places.take(visit)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        visit = self.visits.pop(task)
        self._places.free(visit)
        who = visit.evidence
        if visit.turned_away:
            self._tally.add(f"{who.describe()}: {visit.turned_away}")
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a connection of uid %d failed", who.uid, exc_info=error)
