"""The door of a listening socket: who comes in, how many, and how it is closed.

What is said behind it is the business of whoever opens it: the pipe, DDE and TLS have
one door each, and nothing of it twice.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from stead.errors import RemoteProtocolError, ServerClosedError, SteadError
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.peer import Peer, PeerEvidence, peer_evidence
from stead.gates.pipe.places import Occupant, Places
from stead.gates.pipe.shares import Share, Shares
from stead.gates.pipe.turned_away import Tally
from stead.gates.ports import Entrance, Ticket, TurnedAway
from stead.privileged.binding import Binding, bind
from stead.privileged.peers import peer_credentials

logger = logging.getLogger(__name__)

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_SECONDS: Final = 0.2
_SECONDS_TO_REOPEN: Final = 1.0

PeerT = TypeVar("PeerT", bound=Peer)
PeerT_co = TypeVar("PeerT_co", bound=Peer, covariant=True)


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

Receive = Callable[[socket.socket, PeerT, Share], Received]
"""Makes of an accepted client its visit."""


class Lookout(Protocol[PeerT_co]):
    """Sees who comes."""

    @property
    def reserved(self) -> frozenset[Hashable]:
        """The origins that get in when the gate is full."""
        ...

    def origin(self, client: socket.socket) -> tuple[Hashable, str]:
        """Return whose places an accepted client takes, and who it is in words.

        Raises:
            RemoteProtocolError, OSError: nobody can say who it is.
        """
        ...

    def peer(self, client: socket.socket, ticket: Ticket | None) -> PeerT_co:
        """Return who it is; raises as `origin` does."""
        ...


class LocalLookout:
    """Asks the kernel who is at the other end of a local socket."""

    @property
    def reserved(self) -> frozenset[Hashable]:
        """Root's uid and the server's own."""
        return frozenset({0, os.geteuid()})

    def origin(self, client: socket.socket) -> tuple[Hashable, str]:
        """Return a client's uid."""
        pid, uid, _ = peer_credentials(client)
        return uid, f"uid {uid} pid {pid}"

    def peer(self, client: socket.socket, ticket: Ticket | None) -> PeerEvidence:
        """Return what the kernel says of a client."""
        return peer_evidence(client, ticket)


class Own:
    """The ordinary entrance: the server takes the path and accepts by itself."""

    def __init__(self, path: Path, mode: int) -> None:
        """Describe it; nothing is opened."""
        self._path = path
        self._mode = mode
        self._binding: Binding | None = None

    def open(self) -> None:
        """Take the path; raises as `bind` does."""
        self._binding = bind(self._path, self._mode)

    def fileno(self) -> int:
        """Return the listening socket's descriptor."""
        return -1 if self._binding is None else self._binding.listener.fileno()

    def accept(self) -> tuple[socket.socket, None]:
        """Accept a client."""
        if self._binding is None:
            raise BlockingIOError
        return self._binding.listener.accept()[0], None

    def close(self) -> None:
        """Give the path back."""
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.release()


class Door(Generic[PeerT]):
    """A bound socket and the clients that came through it.

    Attributes:
        visits: the connections that are open, by the tasks that serve them.
    """

    def __init__(
        self,
        entrance: Entrance,
        lookout: Lookout[PeerT],
        limits: PipeLimits,
        turned_away: TurnedAway,
    ) -> None:
        """Describe the door; nothing is opened before `open`.

        Args:
            entrance: who accepts clients.
            lookout: sees who they are.
            limits: what a client may cost.
            turned_away: told now and then how many clients were turned away.
        """
        self._limits = limits
        self._entrance = entrance
        self._lookout = lookout
        self._watched: int | None = None
        self._is_open = False
        self._receive: Receive[PeerT] | None = None
        self._goodbye = b""
        self._pause: asyncio.TimerHandle | None = None
        self.visits: dict[asyncio.Task[None], Visit] = {}
        self._places = Places(limits, lookout.reserved)
        self._tally = Tally(turned_away, limits.report_seconds)
        self._shares = Shares(limits.bytes_per_uid)

    def open(self, receive: Receive[PeerT], goodbye: bytes) -> None:
        """Take the path and let clients in.

        Args:
            receive: makes of a client its visit.
            goodbye: all that a client hears for whom there is no place; empty if it
                hears nothing.

        Raises:
            ServerClosedError: it is open already.
            InvalidNameError: the path cannot be a socket's.
            UnsafePipeError: somebody else could put himself in our place there.
            PipeBusyError: another server answers there.
        """
        if self._is_open:
            raise ServerClosedError("the gate is open already")
        self._entrance.open()
        self._is_open = True
        self._receive, self._goodbye = receive, goodbye
        self._listen()

    async def close(self, grace: float) -> None:
        """Give the path back, let what runs finish, and say goodbye.

        Args:
            grace: seconds after which requests that still run are cancelled; those
                that outlive even that for as long again are left behind, and logged.
        """
        if not self._is_open:
            return
        self._give_back()
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

    def _give_back(self) -> None:
        self._is_open = False
        self._look_away()
        self._entrance.close()

    def _listen(self) -> None:
        self._pause = None
        self._watched = self._entrance.fileno()
        asyncio.get_running_loop().add_reader(self._watched, self._accept)

    def _look_away(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
        self._watched = self._pause = None

    def _accept(self) -> None:
        """Take in one client: the entrance's descriptor is readable."""
        try:
            client, ticket = self._entrance.accept()
        except EOFError:
            logger.warning("whoever accepts clients for this gate is gone")
            self._look_away()
            self._entrance.close()
            self._reopen_later()
            return
        except OSError as error:
            self._bear(error)
            return
        try:
            client.settimeout(0.0)
            self._take_in(client, ticket)
        except RemoteProtocolError as error:
            logger.debug("a client is turned away: %s", error)
            self._drop(client, ticket)
        except OSError as error:
            self._drop(client, ticket)
            self._bear(error)
        except BaseException:
            self._drop(client, ticket)
            raise

    def _bear(self, error: OSError) -> None:
        logger.debug("no client was accepted: %s", error)
        if error.errno in _EXHAUSTED:
            self._rest()

    def _rest(self) -> None:
        """Stop accepting for a moment.

        Without a descriptor to accept with, the entrance stays readable, and the loop
        would do nothing but look at it.
        """
        logger.warning("the process is out of descriptors or memory for clients")
        self._look_away()
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(_REST_SECONDS, self._listen)

    def _reopen_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(_SECONDS_TO_REOPEN, self._reopen)

    def _reopen(self) -> None:
        """Open the entrance again, on a thread that may wait for it."""
        self._pause = None
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._entrance.open)
        opening.add_done_callback(self._reopened)

    def _reopened(self, opening: asyncio.Future[None]) -> None:
        error = None if opening.cancelled() else opening.exception()
        if not self._is_open:
            self._entrance.close()
        elif isinstance(error, OSError | SteadError):
            logger.debug("the gate cannot be opened again yet: %s", error)
            self._reopen_later()
        elif error is not None:
            logger.error("the gate cannot be opened again", exc_info=error)
        else:
            self._listen()

    @staticmethod
    def _drop(client: socket.socket, ticket: Ticket | None) -> None:
        client.close()
        if ticket is not None:
            ticket.close()

    def _take_in(self, client: socket.socket, ticket: Ticket | None) -> None:
        """Start to serve a client, or turn it away if there are too many."""
        origin, who = self._lookout.origin(client)
        if self._receive is None or not self._places.has_room(origin):
            self._tally.add(f"{who}: too many connections")
            if self._goodbye:
                client.send(self._goodbye)  # a fresh socket's buffer holds it
            self._drop(client, ticket)
            return
        visit, serving = self._receive(
            client, self._lookout.peer(client, ticket), self._shares.of(origin)
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
            logger.error("a connection of %s failed", who.describe(), exc_info=error)


def local_door(
    path: str | os.PathLike[str],
    mode: int,
    limits: PipeLimits,
    turned_away: TurnedAway,
    *,
    entrance: Entrance | None,
) -> Door[PeerEvidence]:
    """Return the door of a local socket.

    Args:
        path: where clients find it; absolute.
        mode: who may connect, as permission bits of the socket.
        limits: what a client may cost.
        turned_away: told now and then how many clients were turned away.
        entrance: who accepts clients there; the server itself if it is None.
    """
    made = entrance or Own(Path(path), mode)
    return Door(made, LocalLookout(), limits, turned_away)
