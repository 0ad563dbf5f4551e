"""What is asked on a connection to a database before, and between, its uses.

libpq's own `PQexec` waits for as long as the network does, and nothing interrupts it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Final

from psycopg import pq

# That it broke is told unasked; elsewhere than on Linux an orderly end is not.
_ENDED: Final = getattr(select, "POLLRDHUP", 0)


def asked(
    made: pq.abc.PGconn, text: bytes, wait: Callable[[int, int], None]
) -> pq.abc.PGresult:
    """Return what a database answers to a query, or to the last one that it did.

    Args:
        made: a connection on which nothing is asked; it does not block from here on.
        text: queries; after one that fails none is done.
        wait: waits a while until a descriptor may be ready for events of `poll`, and
            raises where it is waited for no longer.

    Raises:
        psycopg.Error: the connection is lost.
    """
    made.nonblocking = 1
    made.send_query(text)
    while made.flush():
        wait(made.socket, select.POLLIN | select.POLLOUT)
        made.consume_input()
    found: list[pq.abc.PGresult] = []
    while True:
        while made.is_busy():
            wait(made.socket, select.POLLIN)
            made.consume_input()
        result = made.get_result()
        if result is None:
            return found[-1]
        found.append(result)


def is_idle(made: pq.abc.PGconn) -> bool:
    """Tell whether nothing is asked on a connection, and nobody has ended it.

    A database that stops, or is told to end a connection, does so at once; libpq hears
    of it when it is asked the next time, and that would be somebody's query. Nothing is
    read here: what came meanwhile (NOTIFY) is for whoever asks next.
    """
    if made.transaction_status != pq.TransactionStatus.IDLE:
        return False
    watch = select.poll()
    watch.register(made.socket, _ENDED)
    return not watch.poll(0)
