"""What is done with a connection to a database when its block is left.

What it did is committed, or rolled back, and what was set for one use is taken back. To
close a connection is to roll back, too: so one that fails there, or of which nobody
knows what it is at, is closed.
"""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg
from psycopg import pq

from stead.adapters.outbound import libpq
from stead.adapters.outbound.postgres_connection import AsyncConnection, Connection
from stead.errors import CredentialsExpiredError, LogonSessionEndedError

_IDLE: Final = pq.TransactionStatus.IDLE
_ENDED: Final = (CredentialsExpiredError, LogonSessionEndedError)
_SECONDS: Final = 5.0


def commit(connection: Connection) -> None:
    """Commit, and take back what was set, in one round trip."""
    connection.command(_ending("COMMIT", connection))


def _ending(how: str, connection: Connection) -> bytes:
    is_idle = connection.pgconn.transaction_status == _IDLE
    back = libpq.taken_back(connection.pgconn)
    return (back if is_idle else f"{how}; {back}").encode()


async def commit_async(connection: AsyncConnection) -> None:
    """Do the same for asyncio."""
    if connection.info.transaction_status == _IDLE:
        await connection.execute("select 1")  # begins what the next line ends
    back = libpq.taken_back(connection.pgconn)
    await connection.execute(f"COMMIT; {back}".encode(), prepare=False)


def roll_back(connection: Connection) -> None:
    """Roll back, and take back what was set; close it if that fails, or takes long."""
    try:
        connection.command(_ending("ROLLBACK", connection), seconds=_SECONDS)
    except (psycopg.Error, TimeoutError, *_ENDED):
        connection.close()
    except BaseException:
        connection.close()  # interrupted again: nobody knows what it is at
        raise


async def roll_back_async(connection: AsyncConnection) -> None:
    """Do the same, for so long only: who was cancelled waits for nobody's answer."""
    try:
        async with asyncio.timeout(_SECONDS):
            await connection.rollback()
            await commit_async(connection)
    except (psycopg.Error, TimeoutError, *_ENDED):
        await connection.close()
    except BaseException:
        connection.drop()  # cancelled again: nobody knows what it is at
        raise
