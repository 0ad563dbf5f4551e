"""The server's end of the socket to one worker.

Everything that comes here is hostile until read otherwise. No length is believed before
it is judged, nothing is read ahead of what was announced, and reading never waits. A
descriptor is taken only where one belongs; the kernel drops every other one.
"""

from __future__ import annotations

import array
import os
import select
import socket
import threading
from typing import Final

from stead.server.workers.answers import ReceivedDescriptor, Reply, nonsense
from stead.server.workers.wire import ANSWER, ONE_DESCRIPTOR, REQUEST, Kind

_CHUNK: Final = 262_144
# A number: combining members of an enum takes a microsecond.
_CUT: Final = int(socket.MSG_CTRUNC)
# Of an answer that nothing is there of yet: most are small, and room for more would be
# mapped and unmapped for each.
_FIRST: Final = 65_536
# What an error may need, however little a value may: a traceback of 65,536 characters.
_LARGEST_ERROR: Final = 1 << 20
# Well below what a socket that is empty takes at once.
_LARGEST_INLINE: Final = 32_768


class WorkerChannel:
    """Asks one worker, and reads what it answers.

    Attributes:
        socket: the server's end.
        is_hung_up: whether the worker's end is closed.
        received: how many bytes came.
    """

    def __init__(
        self, sock: socket.socket, *, largest: int, takes_descriptor: bool
    ) -> None:
        """Take a connected socket.

        Args:
            sock: this object's from now on.
            largest: how many bytes a value may have; an error of a function has a
                limit of its own.
            takes_descriptor: whether one may come with an answer.
        """
        sock.setblocking(False)  # noqa: FBT003 - the library's signature
        self.socket: Final = sock
        self.is_hung_up = False
        self.received = 0
        self._largest = largest
        self._largest_error = largest if takes_descriptor else _LARGEST_ERROR
        self._room = ONE_DESCRIPTOR if takes_descriptor else 0
        self._buffer = bytearray()
        self._descriptors: list[ReceivedDescriptor] = []
        self._lock = threading.Lock()
        self._waiting = select.poll()
        self._waiting.register(sock, select.POLLIN)

    @property
    def is_begun(self) -> bool:
        """Whether a part of an answer is there."""
        return bool(self._buffer)

    def ask(self, number: int, body: bytes) -> None:
        """Send a request, without waiting.

        Raises:
            WorkerLostError: the worker does not take it.
        """
        with self._lock:
            try:
                self._send(number, body)
            except OSError as error:
                raise nonsense("it takes no request") from error

    def _send(self, number: int, body: bytes) -> None:
        if len(body) <= _LARGEST_INLINE:
            whole = REQUEST.pack(number, len(body), False) + body  # noqa: FBT003 - header
            rights = []
        else:
            whole = REQUEST.pack(number, len(body), True)  # noqa: FBT003 - likewise
            rights = [_in_memory(body)]
        try:
            carried = array.array("i", rights)
            control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carried)]
            sent = self.socket.sendmsg(
                [whole], control if rights else [], socket.MSG_NOSIGNAL
            )
        finally:
            for descriptor in rights:
                os.close(descriptor)
        if sent < len(whole):
            raise BlockingIOError("only a part was taken")

    def read(self) -> Reply | None:
        """Read what is there, a piece of it at most, and return a whole answer or None.

        Raises:
            WorkerLostError: what came breaks the protocol.
        """
        with self._lock:
            try:
                data, rights, flags, _ = self.socket.recvmsg(
                    _CHUNK if self._buffer else _FIRST,
                    self._room,
                    socket.MSG_CMSG_CLOEXEC,
                )
            except BlockingIOError:
                return None
            except OSError:
                data, rights, flags = b"", [], 0  # reset, or closed here
            self._keep(rights, flags)
            self.is_hung_up = self.is_hung_up or not data
            self.received += len(data)
            self._buffer += data
            return self._take()

    def is_readable_soon(self, milliseconds: int) -> bool:
        """Wait until something comes, for so long at most; tell whether it did.

        By one thread at a time.
        """
        return bool(self._waiting.poll(milliseconds))

    def leftovers(self) -> list[ReceivedDescriptor]:
        """Return the descriptors that came and belong to no answer."""
        return self._descriptors

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            self.socket.close()

    def _keep(self, rights: list[tuple[int, int, bytes]], flags: int) -> None:
        came = array.array("i")
        for _level, _kind, carried in rights:
            came.frombytes(carried[: len(carried) // came.itemsize * came.itemsize])
        is_expected = not self._buffer and not self._descriptors and len(came) == 1
        self._descriptors += map(ReceivedDescriptor, came)
        if flags & _CUT or (came and not is_expected):
            raise nonsense("it sent a descriptor that nobody asked for")

    def _take(self) -> Reply | None:
        if len(self._buffer) < ANSWER.size:
            return None
        number, size, kind, may_go_on = ANSWER.unpack_from(self._buffer)
        largest = self._largest if kind == Kind.RETURNED else self._largest_error
        if size > largest:
            raise nonsense(f"it answers with {size} bytes, {largest} are allowed")
        missing = ANSWER.size + size - len(self._buffer)
        if missing > 0:
            return None
        if missing < 0:
            raise nonsense("it answers with more than one answer")
        body = bytes(memoryview(self._buffer)[ANSWER.size :])
        self._buffer = bytearray()
        descriptor = self._descriptors.pop() if self._descriptors else None
        return Reply(number, kind, body, may_go_on, descriptor)


def _in_memory(body: bytes) -> int:
    """Return a descriptor of memory that holds a body, to be read from the start."""
    descriptor = os.memfd_create("stead-request", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(body)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
