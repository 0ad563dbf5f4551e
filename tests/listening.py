"""What a test has listen: its threads end before its sockets are closed.

A thread that is blocked on a socket which another one closes stays blocked. After a
signal, or when the process was stopped, it goes on with whatever has got the number of
the descriptor meanwhile.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

_SECONDS = 60


class Listener:
    """Gives each connection that comes to `serve`, on a thread of its own.

    Args:
        serve: takes a connection, which is closed after it; it may raise OSError or
            EOFError when that ends.
        listening: where they come; a port of the loopback, if nothing is said.

    Attributes:
        port: of the loopback's.
    """

    def __init__(
        self,
        serve: Callable[[socket.socket], object],
        listening: socket.socket | None = None,
    ) -> None:
        self._serve = serve
        self._listening = listening or socket.create_server(("127.0.0.1", 0))
        address = self._listening.getsockname()
        self.port = address[1] if isinstance(address, tuple) else 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._talking: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """End the connections there are."""
        with self._lock:
            for each in self._open:
                _end(each)

    def close(self) -> None:
        """Wake all threads, wait for them, and let go of the sockets."""
        _end(self._listening)
        self._accepting.join(_SECONDS)
        self.cut()
        for each in (self._accepting, *self._talking):
            each.join(_SECONDS)
            assert not each.is_alive(), "a thread of the listener does not end"
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                with self._lock:
                    self._open.add(taken)
                self._talking.append(threading.Thread(target=self._talk, args=(taken,)))
                self._talking[-1].start()

    def _talk(self, taken: socket.socket) -> None:
        with suppress(OSError, EOFError):
            self._serve(taken)
        with self._lock:
            self._open.discard(taken)
            taken.close()


class Relay(Listener):
    """Stands between clients and a server, and carries what both say."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        super().__init__(self._relay)

    def carry(
        self, one: socket.socket, other: socket.socket, *, is_answer: bool
    ) -> None:
        """Carry what one says to the other until it leaves."""
        while content := one.recv(65_536):
            other.sendall(self.changed(content, is_answer=is_answer))

    def changed(self, content: bytes, *, is_answer: bool) -> bytes:
        """Return what becomes of what is carried."""
        return content

    def _relay(self, near: socket.socket) -> None:
        with socket.create_connection(self._server) as far:
            back = threading.Thread(target=self._way, args=(far, near, True))
            back.start()
            self._way(near, far, is_answer=False)
            back.join()

    def _way(self, one: socket.socket, other: socket.socket, is_answer: bool) -> None:
        with suppress(OSError, EOFError):
            self.carry(one, other, is_answer=is_answer)
        _end(one)
        _end(other)


def _end(each: socket.socket) -> None:
    """Wake whoever reads, writes or accepts there; its descriptor stays."""
    with suppress(OSError):  # the other end has gone
        each.shutdown(socket.SHUT_RDWR)
