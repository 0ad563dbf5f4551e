"""What psycopg has libpq wait for while it stops every thread of the process.

Its calls that look up a host's name, and that cancel a query, keep Python's lock: a
name server or a database that says nothing would stop everybody's work. So names are
looked up before, by Python, and the function that cancels is called without the lock.
"""

from __future__ import annotations

import ctypes
import socket
import weakref
from collections.abc import Callable
from typing import Any, Final

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from stead.adapters.outbound.libpq_channel import libpq_file
from stead.errors import ServerUnavailableError
from stead.model.delegation_policy import NetworkTarget

_ROOM: Final = 256  # libpq-cancel.html: what an error needs at most


def with_addresses(text: str, to: NetworkTarget) -> str:
    """Return a connection string with the addresses of its host, which keeps its name.

    Args:
        text: one that names a host, or a local socket's folder.
        to: the service.

    Raises:
        ServerUnavailableError: nobody knows the name.
    """
    said = conninfo_to_dict(text)
    host = str(said["host"])
    if host.startswith("/"):
        return text
    try:
        # As bytes: libpq has no other spellings of names either.
        all_found = socket.getaddrinfo(host.encode(), to.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ServerUnavailableError(
            f"`{to}` cannot be reached: {error.strerror}",
            advice="see whether its name is right, and who knows names here",
        ) from error
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in all_found))
    return make_conninfo(
        text,
        host=",".join([host] * len(addresses)),
        hostaddr=",".join(addresses),
        port=to.port,
    )


def canceller(made: pq.abc.PGconn) -> Callable[[], None]:
    """Return what has a database give up what it does on a connection; it may wait.

    Raises:
        psycopg.OperationalError: the connection is none any more. What is returned
            raises it, too: the database could not be asked.
    """
    connection: Any = made
    # With the lock: nobody closes the connection meanwhile.
    get: Any = ctypes.PyDLL(libpq_file()).PQgetCancel
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    key = get(connection.pgconn_ptr)
    if not key:
        raise psycopg.OperationalError("the connection is closed")
    library = ctypes.CDLL(libpq_file())
    library.PQcancel.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
    library.PQfreeCancel.argtypes = (ctypes.c_void_p,)
    library.PQfreeCancel.restype = None

    def cancel() -> None:
        room = ctypes.create_string_buffer(_ROOM)
        if not library.PQcancel(key, room, _ROOM):
            raise psycopg.OperationalError(room.value.decode(errors="replace"))

    # Also where it is never called, or its thread is given up.
    weakref.finalize(cancel, library.PQfreeCancel, key).atexit = False
    return cancel
