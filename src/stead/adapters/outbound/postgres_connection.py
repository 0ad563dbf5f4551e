"""Connections to a database as a client, and what they do when a query is cancelled.

That takes another connection, which psycopg makes by itself when a task is cancelled or
somebody presses Ctrl-C. From libpq 17 on it would be made like the first one, by the
tickets of whichever thread that is: the server's own. So the older kind is made, which
shows nobody: the database knows by its key which query is meant. It is recorded before.
libpq waits for its end as long as the network does: so that is waited for elsewhere,
and for so long only.

A process that is forked off shares the socket, and says nothing on it: neither a query,
nor that it is done.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from stead.adapters.outbound.aside import aside
from stead.adapters.outbound.libpq_asking import asked
from stead.adapters.outbound.libpq_channel import wait_a_while
from stead.adapters.outbound.libpq_waiting import canceller
from stead.errors import DirectoryUnavailableError, SteadError

Row: TypeAlias = tuple[Any, ...]
Act: TypeAlias = Callable[[], None]
Explain: TypeAlias = Callable[[BaseException | None], None]
Wait: TypeAlias = Callable[[Act], None]
_T = TypeVar("_T")


def told(
    connection: Connection | AsyncConnection,
    *,
    forget: Act,
    announce: Act,
    explain: Explain,
    wait: Wait,
) -> None:
    """Tell a connection what is to be done for it; one that is lost is forgotten, too.

    Args:
        connection: a new one.
        forget: gives up what the session keeps of it; waits for nothing.
        announce: see `Connection`.
        explain: likewise.
        wait: likewise.
    """
    lost = weakref.finalize(connection, forget)
    lost.atexit = False
    connection.forget, connection.announce = lost, announce
    connection.explain, connection.process = explain, os.getpid()
    connection.cancelling = wait


class Connection(psycopg.Connection[Row]):
    """A connection as the client, which is cut when the session ends.

    Attributes:
        forget: what is called when it is closed.
        announce: records another connection that is about to be made; it may raise.
        explain: raises `LogonSessionEndedError` of an error, if that is why, or
            `CredentialsExpiredError`, if a password was wiped.
        cancelling: has something done that a silent database may hold, and gives it up
            in time by `DirectoryUnavailableError`.
        process: whose it is.
    """

    forget: Act | None = None
    announce: Act | None = None
    explain: Explain | None = None
    cancelling: Wait | None = None
    process: int = 0

    def command(self, words: bytes, *, seconds: float = math.inf) -> None:
        """Have commands done, which return nothing, in one round trip.

        Where that is given up or interrupted nobody knows what was done, and the
        connection is good for nothing but to be closed.

        Args:
            words: the commands; after one that fails none is done.
            seconds: for how long the database is waited for.

        Raises:
            psycopg.Error: the database refuses, or is lost.
            TimeoutError: it says nothing.
            LogonSessionEndedError: as of `wait`.
        """
        self._require_not_over()
        deadline = time.monotonic() + seconds
        with self.lock:
            try:
                result = asked(self.pgconn, words, partial(self._wait, deadline))
            except psycopg.Error as error:
                _explained(self.explain, error)
                raise
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)

    def _wait(self, deadline: float, descriptor: int, event: int) -> None:
        _explained(self.explain)
        if time.monotonic() > deadline:
            raise TimeoutError("the database does not answer")
        wait_a_while(descriptor, event)

    def wait(self, gen: PQGen[_T], *args: Any, **more: Any) -> _T:
        """Wait for the database, as psycopg does wherever it is asked anything.

        Raises:
            LogonSessionEndedError: the session has ended, which cut this; or it is of
                the process that this one was forked off.
        """
        self._require_not_over()
        try:
            return super().wait(gen, *args, **more)
        except psycopg.Error as error:
            _explained(self.explain, error)
            raise

    def _require_not_over(self) -> None:
        """Return if it can be used; one whose session has ended is closed."""
        try:
            _explained(self.explain)
        except SteadError:
            self.close()
            raise

    def _check_connection_ok(self) -> None:
        try:
            super()._check_connection_ok()
        except psycopg.Error as error:
            _explained(self.explain, error)
            raise

    def close(self) -> None:
        """Close it; again does nothing, nor does a process that was forked off."""
        if os.getpid() != self.process:
            return
        super().close()
        if (forget := self.forget) is not None:
            forget()

    def cancel(self) -> None:
        """Have the database give up what it does for this connection.

        Raises:
            SteadError: the session has ended, or it could not be recorded.
            psycopg.errors.CancellationTimeout: the database does not answer in time.
        """
        if self.announce is not None and not self.closed:
            self.announce()
        if self._should_cancel():
            _in_time(self.cancelling, canceller(self.pgconn))

    def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ARG002 - psycopg's
        """Do the same; see `cancel`."""
        self.cancel()


class AsyncConnection(psycopg.AsyncConnection[Row]):
    """The same for asyncio."""

    forget: Act | None = None
    announce: Act | None = None
    explain: Explain | None = None
    cancelling: Wait | None = None
    process: int = 0

    async def wait(self, gen: PQGen[_T], *args: Any, **more: Any) -> _T:
        """Wait for the database; see `Connection.wait`."""
        try:
            _explained(self.explain)
        except SteadError:
            self.drop()
            raise
        try:
            return await super().wait(gen, *args, **more)
        except psycopg.Error as error:
            _explained(self.explain, error)
            raise

    def _check_connection_ok(self) -> None:
        try:
            super()._check_connection_ok()
        except psycopg.Error as error:
            _explained(self.explain, error)
            raise

    async def close(self) -> None:
        """Close it; again does nothing, nor does a process that was forked off."""
        if os.getpid() != self.process:
            return
        await super().close()
        if (forget := self.forget) is not None:
            forget()

    def drop(self) -> None:
        """Close it where no loop runs that would; again does nothing."""
        if os.getpid() != self.process:
            return
        self.pgconn.finish()
        if (forget := self.forget) is not None:
            forget()

    def cancel(self) -> None:
        """Do as `Connection.cancel` does; it waits, and `cancel_safe` does not."""
        if self.announce is not None and not self.closed:
            self.announce()
        if self._should_cancel():
            _in_time(self.cancelling, canceller(self.pgconn))

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ARG002, ASYNC109 - psycopg's
        """Do the same without blocking the loop."""
        await aside(self.cancel)


def _explained(explain: Explain | None, error: psycopg.Error | None = None) -> None:
    if explain is not None:
        explain(error)


def _in_time(wait: Wait | None, cancel: Act) -> None:
    if wait is None:
        cancel()
        return
    try:
        wait(cancel)
    except DirectoryUnavailableError as error:
        raise psycopg.errors.CancellationTimeout(
            "the database does not answer who cancels a query"
        ) from error
