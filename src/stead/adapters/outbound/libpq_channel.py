"""The channel that libpq has connected, before anybody has said a word on it.

libpq connects, does TLS and sends whom it asks to be; then it waits for the server's
first word. There we step in, speak with the server ourselves, and let libpq go on when
all that is left to read is that we are in. So libpq never has the password: it keeps
what it is given for as long as a connection lives, and gives it, in clear, to whichever
server asks for it so.

Under TLS the words go through libpq's own channel (`PQsslStruct`, a documented call),
with OpenSSL's functions, those that libpq itself is linked to.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, Protocol

from psycopg import pq

from stead.adapters.outbound.lifeline import Lifeline
from stead.errors import EnforcementUnavailableError, ServerUnavailableError

_LOOK_AGAIN: Final = 250  # milliseconds
_PAUSE: Final = 0.001
_WANTS: Final = {2: select.POLLIN, 3: select.POLLOUT}  # SSL_ERROR_WANT_READ and _WRITE
_TEXT, _POINTER, _NUMBER = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int


class Patience:
    """Waits for a descriptor, until a deadline or the session's end."""

    def __init__(self, line: Lifeline, what: str, deadline: float) -> None:
        """Begin.

        Args:
            line: the session's.
            what: who is waited for.
            deadline: of the monotonic clock, in seconds.
        """
        self._line: Final = line
        self._what: Final = what
        self._deadline: Final = deadline

    def wait(self, descriptor: int, event: int) -> None:
        """Wait until it may be ready.

        Raises:
            LogonSessionEndedError: the session has ended.
            ServerUnavailableError: it takes too long.
        """
        self._line.require_not_over()
        if time.monotonic() > self._deadline:
            raise ServerUnavailableError(f"`{self._what}` does not answer in time")
        wait_a_while(descriptor, event)


def wait_a_while(descriptor: int, event: int) -> None:
    """Wait until a descriptor may be ready, or it is time to look at something else."""
    poll = select.poll()
    poll.register(descriptor, event)
    poll.poll(_LOOK_AGAIN)


class Channel(Protocol):
    """Bytes from and to a server; nothing is read that was not asked for."""

    def read(self, size: int) -> bytes:
        """Return just so many bytes."""
        ...

    def peek(self, size: int) -> bytes:
        """Return what is read next, up to so many bytes, and leave it there."""
        ...

    def send(self, content: bytes) -> None:
        """Send all of it."""
        ...


class PlainChannel:
    """A socket of libpq's, by a descriptor of our own."""

    def __init__(self, made: pq.abc.PGconn, patience: Patience) -> None:
        self._socket: Final = socket.socket(fileno=os.dup(made.socket))
        self._patience: Final = patience

    def peer(self) -> str | None:
        """Return the address that answers; None for a local socket."""
        if self._socket.family == socket.AF_UNIX:
            return None
        return str(self._socket.getpeername()[0])

    def read(self, size: int) -> bytes:
        """Return just so many bytes."""
        found = b""
        while len(found) < size:
            found += self._some(size - len(found), 0)
        return found

    def peek(self, size: int) -> bytes:
        """Return what is read next, once there is so much of it."""
        while len(found := self._some(size, socket.MSG_PEEK)) < size:
            time.sleep(_PAUSE)
            self._patience.wait(self._socket.fileno(), select.POLLIN)
        return found

    def send(self, content: bytes) -> None:
        """Send all of it."""
        rest = memoryview(content)
        while rest:
            with suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]
                continue
            self._patience.wait(self._socket.fileno(), select.POLLOUT)

    def close(self) -> None:
        """Close our descriptor; the connection stays."""
        self._socket.close()

    def _some(self, size: int, flags: int) -> bytes:
        while True:
            with suppress(BlockingIOError):
                found = self._socket.recv(size, flags)
                if not found:
                    raise _gone()
                return found
            self._patience.wait(self._socket.fileno(), select.POLLIN)


class TlsChannel:
    """The TLS that libpq has made, by OpenSSL's own functions."""

    def __init__(self, made: pq.abc.PGconn, patience: Patience) -> None:
        """Find it.

        Raises:
            EnforcementUnavailableError: this libpq does not give it out.
        """
        self._descriptor: Final = made.socket
        self._patience: Final = patience
        self._library: Final = _library()
        connection: Any = made
        self._ssl: Final = self._library.PQsslStruct(connection.pgconn_ptr, b"OpenSSL")
        if not self._ssl:
            raise EnforcementUnavailableError(
                "this libpq does not show its TLS, so nothing can be tied to it",
                advice="use a libpq that was built with OpenSSL",
            )

    def certificate(self) -> bytes:
        """Return the server's certificate, in DER; libpq has verified it."""
        library = self._library
        found = library.SSL_get1_peer_certificate(self._ssl)
        if not found:
            return b""
        try:
            content = ctypes.create_string_buffer(library.i2d_X509(found, None))
            place = ctypes.c_void_p(ctypes.addressof(content))
            library.i2d_X509(found, ctypes.byref(place))
            return content.raw
        finally:
            library.X509_free(found)

    def read(self, size: int) -> bytes:
        """Return just so many bytes."""
        found = b""
        while len(found) < size:
            found += self._some(self._library.SSL_read, size - len(found))
        return found

    def peek(self, size: int) -> bytes:
        """Return what is left of the record that is being read, or of the next."""
        return self._some(self._library.SSL_peek, size)

    def send(self, content: bytes) -> None:
        """Send all of it, in one record."""
        self._done(lambda: self._library.SSL_write(self._ssl, content, len(content)))

    def _some(self, act: Callable[..., int], size: int) -> bytes:
        room = ctypes.create_string_buffer(size)
        count = self._done(lambda: act(self._ssl, room, size))
        return room.raw[:count]

    def _done(self, act: Callable[[], int]) -> int:
        while True:
            self._library.ERR_clear_error()  # this thread's; older errors are not ours
            if (count := act()) > 0:
                return count
            event = _WANTS.get(self._library.SSL_get_error(self._ssl, count))
            if event is None:
                raise _gone()
            self._patience.wait(self._descriptor, event)


def _gone() -> ServerUnavailableError:
    return ServerUnavailableError("the server hangs up before it lets anybody in")


def libpq_file() -> str | None:
    """Return a file by which the functions of psycopg's own libpq are found."""
    if pq.__impl__ == "python":
        loaded: Any = import_module("psycopg.pq._pq_ctypes")
        name: str = loaded.pq._name  # noqa: SLF001 - the only place that has it
        return name
    # What is looked up in a module is looked up in what it is linked to.
    return import_module(f"psycopg_{pq.__impl__}.pq").__file__


def _library() -> ctypes.CDLL:
    """Return psycopg's own libpq, and with it the OpenSSL that this is linked to.

    Raises:
        EnforcementUnavailableError: it has no TLS that is known here.
    """
    library = ctypes.CDLL(libpq_file())
    try:
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise EnforcementUnavailableError(
            f"this libpq's TLS is none that is known here: {error}",
            advice="use a libpq that was built with OpenSSL 3",
        ) from error
    return library


_FUNCTIONS: Final[dict[str, tuple[Any, ...]]] = {
    "PQsslStruct": (_POINTER, _POINTER, _TEXT),
    "SSL_read": (_NUMBER, _POINTER, _POINTER, _NUMBER),
    "SSL_peek": (_NUMBER, _POINTER, _POINTER, _NUMBER),
    "SSL_write": (_NUMBER, _POINTER, _TEXT, _NUMBER),
    "SSL_get_error": (_NUMBER, _POINTER, _NUMBER),
    "SSL_get1_peer_certificate": (_POINTER, _POINTER),
    "i2d_X509": (_NUMBER, _POINTER, _POINTER),
    "X509_free": (None, _POINTER),
    "ERR_clear_error": (None,),
}
"""What is called, with what comes of it and what it takes (ssl.h, libpq-fe.h)."""
