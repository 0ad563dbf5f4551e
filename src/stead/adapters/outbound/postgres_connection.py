"""Connections to a database as a client, and what they do when a query is cancelled.

That takes another connection, which psycopg makes by itself when a task is cancelled or
somebody presses Ctrl-C. From libpq 17 on it would be made like the first one, by the
tickets of whichever thread that is: the server's own. So the older kind is made, which
shows nobody: the database knows by its key which query is meant. It is recorded before.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg

from stead.adapters.outbound.aside import aside

Row: TypeAlias = tuple[Any, ...]
Act: TypeAlias = Callable[[], None]


def told(
    connection: Connection | AsyncConnection, *, forget: Act, announce: Act
) -> None:
    """Tell a connection what is to be done for it; one that is lost is forgotten, too.

    Args:
        connection: a new one.
        forget: gives up what the session keeps of it; waits for nothing.
        announce: see `Connection`.
    """
    lost = weakref.finalize(connection, forget)
    lost.atexit = False
    connection.forget, connection.announce = lost, announce


class Connection(psycopg.Connection[Row]):
    """A connection as the client, which is cut when the session ends.

    Attributes:
        forget: what is called when it is closed.
        announce: records another connection that is about to be made; it may raise.
    """

    forget: Act | None = None
    announce: Act | None = None

    def close(self) -> None:
        """Close it; again does nothing."""
        super().close()
        if (forget := self.forget) is not None:
            forget()

    def cancel(self) -> None:
        """Have the database give up what it does for this connection.

        Raises:
            SteadError: the session has ended, or it could not be recorded.
        """
        if self.announce is not None and not self.closed:
            self.announce()
        super().cancel()

    def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ARG002 - psycopg's
        """Do the same; see `cancel`."""
        self.cancel()


class AsyncConnection(psycopg.AsyncConnection[Row]):
    """The same for asyncio."""

    forget: Act | None = None
    announce: Act | None = None

    async def close(self) -> None:
        """Close it; again does nothing."""
        await super().close()
        if (forget := self.forget) is not None:
            forget()

    def cancel(self) -> None:
        """Do as `Connection.cancel` does; it waits, and `cancel_safe` does not."""
        if self.announce is not None and not self.closed:
            self.announce()
        super().cancel()

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ARG002, ASYNC109 - psycopg's
        """Do the same without blocking the loop."""
        await aside(self.cancel)
