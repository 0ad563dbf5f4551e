"""One thread that notices when sockets can be read, for whoever must not wait.

It is started by the constructor, as the server: a thread that is created later, by one
that happens to impersonate, would be the client. Each callback runs in an empty context
(PEP 567), so that nobody's identity is found there.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Final

from stead.errors import ServerClosedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_log: Final = logging.getLogger(__name__)


class Watch:
    """Calls back when a socket can be read, or its peer is gone.

    INVARIANT: a socket is removed before it is closed. The kernel watches what a number
    stands for, and not the number: what is closed too early, while a copy of it is open
    elsewhere, could never be removed again.

    A process that is forked from the server has a copy of it without the thread; what
    the kernel watches is one and the same for both, so there nothing is added to it, or
    taken away.
    """

    def __init__(self, name: str) -> None:
        """Start the thread.

        Args:
            name: the thread's.
        """
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._poll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll.register(self._stop, select.EPOLLIN)
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def add(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        """Call `readable` on the thread whenever the socket can be read.

        It reads without waiting, and takes it calmly if there is nothing after all. A
        callback that raises is logged, and its socket is watched no more.

        Raises:
            ServerClosedError: the watch is closed, or is another process's.
        """
        if os.getpid() != self._pid:
            raise ServerClosedError("the watch is another process's")
        with self._lock:
            if self._closed:
                raise ServerClosedError("nothing is watched any more")
            self._poll.register(sock, select.EPOLLIN)
            self._callbacks[sock.fileno()] = readable

    def remove(self, sock: socket.socket) -> None:
        """Watch the socket no more; one that is not watched is left alone.

        A callback that runs on the thread meanwhile runs to its end. In a forked
        process it does nothing: the parent still watches it.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            if self._callbacks.pop(sock.fileno(), None) is not None:
                self._poll.unregister(sock)

    def pause(self, sock: socket.socket) -> None:
        """Call back for nothing but the peer's end, until `resume`."""
        self._modify(sock, 0)

    def resume(self, sock: socket.socket) -> None:
        """Watch the socket as before; what came meanwhile is told now."""
        self._modify(sock, select.EPOLLIN)

    def _modify(self, sock: socket.socket, events: int) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            if sock.fileno() in self._callbacks:
                self._poll.modify(sock, events)

    def close(self) -> None:
        """End the thread and watch nothing; again does nothing.

        Whoever calls it on the thread itself does not wait for its end. A forked
        process lets go of its own descriptors.
        """
        if os.getpid() != self._pid:
            self._close_copies()
            return
        with self._lock:
            first, self._closed = not self._closed, True
            self._callbacks.clear()
            if first:
                # With the lock: the thread, awake by itself, would have closed it, and
                # the number would be nobody's, or somebody else's.
                os.eventfd_write(self._stop, 1)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _close_copies(self) -> None:
        # Without the lock: a fork may have copied it while another thread held it.
        if not self._closed:
            self._closed = True
            self._poll.close()
            os.close(self._stop)

    def _work(self) -> None:
        while not self._closed:
            for descriptor, _ in self._poll.poll():
                self._call(descriptor)
        with self._lock:
            self._poll.close()
            os.close(self._stop)

    def _call(self, descriptor: int) -> None:
        with self._lock:
            callback = self._callbacks.get(descriptor)
        if callback is None:
            return
        try:
            Context().run(callback)
        except Exception:  # noqa: BLE001  # the outermost loop of this thread
            _log.exception("a callback failed: its socket is watched no more")
            self._drop(descriptor, callback)

    def _drop(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Stop calling what would be called again at once, for ever.

        It may have removed itself, and the number may be another socket's by now.
        """
        with self._lock:
            if self._callbacks.get(descriptor) is callback:
                del self._callbacks[descriptor]
                self._poll.unregister(descriptor)
