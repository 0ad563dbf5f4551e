"""PostgreSQL as a client: `psycopg`, connected with the client's own ticket.

    with session.postgres("host=db.example dbname=notes").connection() as connection:
        rows = connection.execute("select * from notes").fetchall()

libpq takes its credentials from the thread that it connects in. So each connection is
made in a thread of its own, which does nothing else and ends: there is no other whose
ticket could be taken, and no event loop whose tasks take turns. Then the database is
asked who it thinks we are (`stead.adapters.outbound.libpq`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import psycopg
from psycopg import pq
from psycopg.rows import tuple_row

from stead.adapters.outbound import libpq
from stead.adapters.outbound.aside import aside, require_may_wait
from stead.adapters.outbound.gss import kerberos_of, lent_cache
from stead.adapters.outbound.libpq_asking import is_idle
from stead.adapters.outbound.lifeline import Lifeline
from stead.adapters.outbound.passage import Passage, Use, recorded
from stead.adapters.outbound.passwords import machine_password
from stead.adapters.outbound.postgres_connection import (
    Act,
    AsyncConnection,
    Connection,
    told,
)
from stead.adapters.outbound.postgres_leaving import (
    commit,
    commit_async,
    roll_back,
    roll_back_async,
)
from stead.adapters.outbound.postgres_password import PasswordConnector
from stead.adapters.patience import Patience
from stead.model.delegation_policy import NetworkTarget

_C = TypeVar("_C", Connection, AsyncConnection)

_MOST_IDLE: Final = 8


class Pool:
    """Connections of one session that nobody uses just now, by what they are to."""

    def __init__(self, line: Lifeline) -> None:
        # Those that were given back longest ago are to what stands first.
        self._idle: dict[str, list[Connection]] = {}
        self._is_closed = False
        self._lock = threading.Lock()
        line.at_end(self.close)

    def take(self, conninfo: str) -> Connection | None:
        """Return one that is in order, or None."""
        while True:
            with self._lock:
                connection = self._taken(conninfo, -1)
            if connection is None or _is_idle(connection):
                return connection
            connection.close()

    def give(self, conninfo: str, connection: Connection) -> None:
        """Take one back, or close it, or another that nobody has used for longer.

        A word in a connection string makes it another one, and may be a client's own:
        they are few altogether, and not of each kind.
        """
        left: Connection | None = connection
        with self._lock:
            if not self._is_closed and _is_idle(connection):
                if connection.autocommit:
                    connection.autocommit = False
                self._idle[conninfo] = [*self._idle.pop(conninfo, ()), connection]
                is_full = sum(map(len, self._idle.values())) > _MOST_IDLE
                left = self._taken(next(iter(self._idle)), 0) if is_full else None
        if left is not None:
            left.close()

    def _taken(self, conninfo: str, which: int) -> Connection | None:
        """Take one out, with the lock held; the last was given back last."""
        found = self._idle.get(conninfo)
        connection = found.pop(which) if found else None
        if not found:
            self._idle.pop(conninfo, None)
        return connection

    def close(self) -> None:
        """Close them all, and those that are given back from now on."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()


class PostgresHop:
    """One database, as the client."""

    __slots__ = (
        "_by_password", "_conninfo", "_parameters", "_passage", "_pool", "_target",
        "use",
    )  # fmt: skip

    def __init__(self, passage: Passage, pool: Pool, dsn: str) -> None:
        """Judge and record; nothing is sent.

        Args:
            passage: whose way out.
            pool: the session's.
            dsn: host and database, as libpq writes them; the user is the principal's
                name if it says none.

        Raises:
            InvalidRequestError: it names credentials, no host, or several, or protects
                nothing.
            EnforcementUnavailableError: this `psycopg` cannot take a client's ticket.
            SteadError: as `Passage.begin` raises.
        """
        held = machine_password(passage)
        self._parameters = libpq.parameters(dsn, may_be_local=held is not None)
        self._target = libpq.target(self._parameters)
        self._passage = passage
        self._pool = pool
        self._by_password: PasswordConnector | None = None
        self.use: Use
        if held is None:
            self.use = self._use_of_ticket()
        else:
            self._by_password = by_password = PasswordConnector(held, self._parameters)
            by_password.require_role(passage)
            shown = by_password.shown
            self.use = Use(passage, self._target, shown.way.mechanism, shown)
            self._parameters = by_password.parameters
        # The pool's key, too: it names the account, and a pool is one session's.
        self._conninfo = libpq.conninfo(self._parameters)

    def _use_of_ticket(self) -> Use:
        libpq.require_shared_kerberos()
        libpq.require_protected(self._parameters)
        use = Use(self._passage, self._target)
        principal = kerberos_of(self._passage, self._target).principal
        self._parameters.setdefault("user", principal.partition("@")[0])
        return use

    @property
    def target(self) -> NetworkTarget:
        """The database's server."""
        return self._target

    def require_live(self) -> None:
        """Return if the session lives, and what it has to show; it may wait.

        A database goes on when a ticket has ended; its client's work does not.
        """
        self._passage.line.require_live()
        if self._by_password is not None:
            self._by_password.require_open()
        else:
            kerberos_of(self._passage, self._target)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection of the session's pool.

        What was done is committed, or rolled back where an exception leaves the block;
        a role that was set is taken back.

        Raises:
            SteadError: as `connect` raises.
        """
        require_may_wait("postgres")
        self.require_live()
        connection = self._pool.take(self._conninfo) or self.connect()
        self.use.connected()
        try:
            yield connection
            commit(connection)
        except BaseException as error:
            roll_back(connection)
            self._pool.give(self._conninfo, connection)
            if isinstance(error, psycopg.Error):
                self._explain(error)
            raise
        self._pool.give(self._conninfo, connection)

    def connect(self) -> Connection:
        """Return a new connection, which the caller closes.

        Raises:
            LogonSessionEndedError: the session has ended.
            NoCredentialsError, CredentialsExpiredError: there is no ticket, or it is
                not taken; recorded.
            AccessDeniedError, UnknownDatabaseError: the database refuses the client for
                another reason (`pg_hba.conf`, LOGIN, CONNECT), or has no such database;
                recorded.
            WrongIdentityError: the database takes us for somebody else, or believes
                what we say without a ticket; recorded.
            ServerUnavailableError: it cannot be reached, or takes nobody in now.
        """
        require_may_wait("postgres")
        return self.connecting(Connection).result()

    def connecting(self, kind: type[_C]) -> Future[_C]:
        """Connect in a thread that ends then: nobody else's ticket was ever there.

        What it comes to is given up by itself, if nobody has it: whoever waits for it
        may be interrupted.
        """
        done: Future[_C] = Future()
        # From here on it cannot be cancelled: what is connected would be nobody's.
        done.set_running_or_notify_cancel()

        def work() -> None:
            try:
                done.set_result(self._made(kind))
            except BaseException as error:  # noqa: BLE001 - it belongs to who waits
                done.set_exception(error)

        threading.Thread(target=work, name="stead-postgres", daemon=True).start()
        return done

    def _made(self, kind: type[_C]) -> _C:
        connected, forget = self._connected()
        connected.nonblocking = 1  # as psycopg has it: no loop waits where it sends
        connection = kind(connected, row_factory=tuple_row)
        told(
            connection,
            forget=forget,
            announce=self.use.connecting,
            explain=self._explain,
            wait=partial(_in_time, self._passage.patience, str(self._target)),
        )
        return connection

    def _explain(self, cause: BaseException | None = None) -> None:
        """Return if nothing has ended by which connections are cut; raises if so."""
        self._passage.line.require_not_over(cause)
        if self._by_password is not None:
            self._by_password.explain(cause)

    def _connected(self) -> tuple[pq.abc.PGconn, Act]:
        line, target = self._passage.line, self._target
        line.require_live()
        self.use.connecting()
        if self._by_password is not None:
            return self._by_password.connect(self._passage, self._conninfo)
        tickets = kerberos_of(self._passage, target)
        with recorded(self._passage, target):
            service = self._parameters.get("krbsrvname", "postgres")
            with lent_cache(tickets, f"{service}@{target.host}"):
                connected = libpq.connect(self._conninfo, target, line)
            forget = None
            try:
                forget = line.keep_copy(connected.socket)
                libpq.require_known_as(
                    connected,
                    target,
                    line,
                    principal=tickets.principal,
                    user=self._parameters["user"],
                )
            except BaseException:
                connected.finish()
                if forget is not None:
                    forget()
                raise
        return connected, forget

    def __repr__(self) -> str:
        return f"PostgresHop({self._target})"


class AsyncPostgresHop:
    """The same for asyncio, with a pool of its own: connections are their loop's.

    Close it, or use it as an asynchronous context manager; what is left is cut when the
    session ends.
    """

    __slots__ = ("_hop", "_idle", "_is_closed")

    def __init__(self, hop: PostgresHop) -> None:
        self._hop: Final = hop
        self._idle: list[AsyncConnection] = []
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; see `PostgresHop.connection`."""
        connection = await self._take() or await self.connect()
        self._hop.use.connected()
        try:
            yield connection
            await commit_async(connection)
        except BaseException:
            await roll_back_async(connection)
            await self._give(connection)
            raise
        await self._give(connection)

    async def connect(self) -> AsyncConnection:
        """Return a new connection; raises as `PostgresHop.connect`.

        The loop does not connect: its thread is everybody's.
        """
        future = self._hop.connecting(AsyncConnection)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(_drop)
            raise

    async def close(self) -> None:
        """Close its connections, and those that are lent when they are given back."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _give(self, connection: AsyncConnection) -> None:
        """Take one back as it was lent, or close it."""
        has_room = not self._is_closed and len(self._idle) < _MOST_IDLE
        if not has_room or not _is_idle(connection):
            await connection.close()
            return
        if connection.autocommit:
            await connection.set_autocommit(False)
        self._idle.append(connection)

    async def _take(self) -> AsyncConnection | None:
        await aside(self._hop.require_live)
        while self._idle:
            connection = self._idle.pop()
            if _is_idle(connection):
                return connection
            await connection.close()
        return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncPostgresHop({self._hop.target})"


def _in_time(patience: Patience, whom: str, act: Act) -> None:
    patience.ask(f"{whom}, to cancel", act, _nothing)


def _nothing(_came: None) -> None:
    """Drop what nobody waits for."""


def _drop(future: Future[AsyncConnection]) -> None:
    """Close a connection that nobody waits for any more."""
    if future.exception() is None:
        future.result().drop()


def _is_idle(connection: Connection | AsyncConnection) -> bool:
    return not connection.closed and is_idle(connection.pgconn)
