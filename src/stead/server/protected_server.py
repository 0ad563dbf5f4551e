"""`ProtectedServer`: a server with a security context of its own.

with ProtectedServer("notes", store="notes.db") as server:
    client = server.client_for("alice", authenticated_by="oauth")
    with client.impersonate():
        ...
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from typing import Any, Final, NoReturn, Self, TypeVar, Unpack

from stead.authority.name_lookup import FoundName
from stead.errors import InvalidRequestError, ServerClosedError
from stead.gates.ports import Entrance
from stead.model.arguments import require_kind, require_text, several
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel
from stead.monitor import effective
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.leaks import LeakWatch
from stead.monitor.own_token import impersonate_self
from stead.privileged.probe import KernelSupport
from stead.server.arrival_verbs import ArrivalVerbs
from stead.server.asking import subject_of
from stead.server.built_in_operations import offer_built_ins
from stead.server.client_context import ClientContext
from stead.server.composition import compose
from stead.server.desk_verbs import DeskVerbs
from stead.server.enforcement import Enforcement
from stead.server.house import House
from stead.server.leaking import watch_leaks
from stead.server.object_verbs import ObjectVerbs
from stead.server.operations import Handler
from stead.server.process_end import close_at_exit
from stead.server.reception import Reception
from stead.server.serving import Gate, serve
from stead.server.settings import ServerOptions, Settings

_H = TypeVar("_H", bound=Handler)


class ProtectedServer(ArrivalVerbs, DeskVerbs, ObjectVerbs):
    """A server that can act as its clients, and writes down when it does.

    Opening it starts its threads. Close it, or use it as a context manager; one that is
    there when the program ends is closed then. How clients come (`client_for`,
    `log_on`, ...), the desks (`accounts`, `trail`, ...) and what is done with objects
    (`protect`, `require`, ...) are the verbs of its bases.

    Attributes:
        name: what records call it; its service SID is made of it.
    """

    def __init__(
        self,
        name: str,
        store: str | os.PathLike[str] = ":memory:",
        **options: Unpack[ServerOptions],
    ) -> None:
        """Open the server; a step that fails undoes those before it.

        The options are those of `stead.server.settings.Settings`.

        Raises:
            EnforcementUnavailableError: the kernel was insisted on and cannot enforce.
            UnsafeStoreError, StoreUnavailableError: the store is unsafe, or unreadable.
            LedgerUnavailableError: the start could not be recorded.
        """
        self.name: Final = name
        self._pid = os.getpid()
        self._house: House = compose(Settings(name, store, **options))
        self._is_closed = False
        self._stay = close_at_exit(self)
        offer_built_ins(self)

    # --- what it is -------------------------------------------------------------------

    @property
    def token(self) -> AccessToken:
        """The server's own primary token."""
        return self._house.own.token

    @property
    def enforcement(self) -> Enforcement:
        """Who judges what a client does to the machine itself."""
        return self._house.enforcement

    @property
    def broker(self) -> str:
        """The socket of the broker that starts clients' processes; empty if none does.

        With one, `open`, `run` and `start` are judged by the kernel as the client, and
        blocks of `impersonate` by tokens only, on every thread.
        """
        tickets = self._house.tickets
        return "" if tickets is None else tickets.link.path

    @property
    def support(self) -> KernelSupport:
        """What the machine offers, and why not more."""
        return self._house.support

    @property
    def _open(self) -> House:
        if self._is_closed:
            raise ServerClosedError(
                f"server `{self.name}` is closed", advice="open another one"
            )
        return self._house

    def name_of(self, sid: Sid) -> str:
        """Return the name of a SID as people read it, or its text."""
        require_kind("sid", sid, Sid, "write `Sid.from_string(...)`")
        return self._open.guard.names(sid)

    def lookup(self, who: Sid | str) -> FoundName:
        r"""Return who a name or a SID means, who says so, and for how long that counts.

        Args:
            who: a SID or its text; `alice`; `domain\name` or `name@realm`; `uid 1000`
                or `gid 100`. The host's own users are `Unix User\alice`.

        Raises:
            UnknownAccountError: nobody, by what can be known now.
            InvalidSidError: it begins like a SID and is none.
            AmbiguousNameError: two sources mean different ones.
            DirectoryUnavailableError: whoever might know does not answer.
        """
        require_kind("who", who, (Sid, str), "give a `Sid`, or a name")
        lookup = self._open.lookup
        return lookup.name_of(who) if isinstance(who, Sid) else lookup.find(who)

    # --- blocks and threads -----------------------------------------------------------

    def as_server(self) -> Block:
        """Return a block in which this thread acts as the server, written down."""
        return Block(FrameKind.SERVER, None, self._open.guard)

    def impersonate_self(
        self, level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION
    ) -> Block:
        """Return a block in which this thread holds a copy of the server's own token.

        See `stead.impersonate_self`.
        """
        require_kind("level", level, ImpersonationLevel, "such as `.IDENTIFICATION`")
        return impersonate_self(level, guard=self._open.guard)

    def anonymous(self) -> Block:
        """Return a block in which this thread is nobody in particular.

        Win32: ImpersonateAnonymousToken. It is judged as ANONYMOUS LOGON, which is not
        in Everyone. The kernel knows no such user: on a thread of `executor()` entering
        it raises `ImpersonationRefusedError`; elsewhere raw acts are refused inside.
        """
        house = self._open
        return Block(FrameKind.CLIENT, house.nobody(), house.guard)

    def executor(self) -> Executor:
        """Return the threads on which the kernel judges a client's blocks.

        Under `Enforcement.TOKEN`, or with a broker, they are ordinary threads and raw
        acts inside blocks are refused there as everywhere.
        """
        return self._open.executor

    def watch_leaks(self) -> AbstractContextManager[LeakWatch]:
        """Return a block in which leaked identities are looked for, in this process.

        Each is logged and recorded as IDENTITY_LEAKED, once for each place that
        entered it. `stead serve` does this.
        """
        return watch_leaks(self._open.guard)

    # --- operations and gates ---------------------------------------------------------

    def operation(
        self,
        name: str,
        *,
        privileges: Collection[Privilege] = (),
        level: ImpersonationLevel = ImpersonationLevel.IDENTIFICATION,
    ) -> Callable[[_H], _H]:
        """Return a decorator that offers a function to clients.

        Args:
            name: what clients ask for.
            privileges: what their tokens must hold, all enabled.
            level: the least level at which they may ask.
        """

        def offer(handler: _H) -> _H:
            self._open.dispatcher.operations.add(
                name,
                handler,
                privileges=tuple(several("privileges", privileges, object)),
                level=level,
            )
            return handler

        return offer

    def call(self, client: ClientContext, operation: str, **arguments: object) -> Any:
        """Run an operation for a client, on this thread."""
        subject_of(client)
        require_text("operation", operation)
        return self._open.dispatcher.run(client, operation, arguments)

    @property
    def reception(self) -> Reception:
        """Where gates bring who came; a gate is handed its `turned_away`."""
        return self._open.reception

    async def serve(
        self, *gates: Gate, ready: Callable[[], None] | None = None
    ) -> None:
        """Open gates and serve until SIGTERM, SIGINT or cancellation.

        Launchers are started first. What runs is let end; then the gates are closed.
        The server itself stays open.

        Args:
            gates: such as `stead.gates.pipe.PipeGate`.
            ready: called once every gate is open.
        """
        loop, house = asyncio.get_running_loop(), self._open
        await loop.run_in_executor(house.handlers, house.acting.open)
        await serve(gates, self.reception.admit, ready=ready)

    def entrance(self, path: str | os.PathLike[str]) -> Entrance:
        """Return where the broker accepts clients for a gate of this server's.

            PipeGate(path, entrance=server.entrance(path))

        Clients who come this way can be acted for on the machine: the broker has seen
        for itself who they are.

        Raises:
            InvalidRequestError: this server has no broker, or its file names no such
                gate.
            LauncherUnavailableError: it does not answer.
        """
        tickets = self._open.tickets
        if tickets is None:
            raise InvalidRequestError(
                "this server has no broker", advice="open it with `broker=`"
            )
        require_kind("path", path, (str, os.PathLike), "name the gate's socket")
        self._open.guard.own.asking_broker(None, "listen", os.fspath(path))
        return tickets.link.entrance(path)

    # --- the end ----------------------------------------------------------------------

    def close(self) -> None:
        """Stop: handlers end, blocks end, the trail is written out; again does nothing.

        What still runs is waited for a while and then abandoned. Sessions end with the
        server.

        A process that was forked from the server's only lets go of its own copy: what
        runs, and who is logged on, is the parent's.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._stay()
        if os.getpid() == self._pid:
            self._house.stack.close()
        else:
            effective.close_guard(self._house.guard)
            self._house.acting.close()
            if self._house.tickets is not None:
                self._house.tickets.link.close()

    def __enter__(self) -> Self:
        """Return it; raises `ServerClosedError`: closed, it does not open again."""
        _ = self._open
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise InvalidRequestError(
            "a server is neither pickled nor copied",
            advice="let another process open one over the same store",
        )

    def __repr__(self) -> str:
        return f"ProtectedServer({self.name!r}, {self.enforcement.value})"
