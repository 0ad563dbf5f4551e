"""What a conversation of the pipe goes over: bytes both ways, and an end.

A local socket is one as it is; over the network it is wrapped in TLS
(`stead.gates.pipe.tls_channel`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final, Protocol

logger = logging.getLogger(__name__)

READ_SIZE: Final = 1 << 16
_PIECE_SIZE: Final = 1 << 16


class Channel(Protocol):
    """One end of a connection, for one event loop."""

    @property
    def last_active(self) -> float:
        """When a byte came or went, by the loop's clock."""
        ...

    async def receive(self) -> bytes:
        """Return what comes next; nothing at the end.

        Raises:
            ConnectionError: the other end is gone, or broke the channel's own rules.
        """
        ...

    async def send(self, frame: bytes) -> None:
        """Send a whole frame; after half a one the channel is shut.

        Raises:
            OSError: it could not be sent.
        """

    def send_now(self, frame: bytes) -> None:
        """Send a frame if that takes no time; a courtesy, which may fail in silence."""

    def shut(self, how: int) -> None:
        """Take or give no more, as `socket.shutdown`; who waits sees the end."""

    def close(self) -> None:
        """Let go of the socket."""


class LocalChannel:
    """A connected socket as it is. It is this channel's to close."""

    def __init__(self, connected: socket.socket) -> None:
        """Take over a socket that does not block."""
        self.last_active = asyncio.get_running_loop().time()
        self._socket = connected

    async def receive(self) -> bytes:
        """Return what comes next; nothing at the end."""
        loop = asyncio.get_running_loop()
        data = await loop.sock_recv(self._socket, READ_SIZE)
        self.last_active = loop.time()
        return data

    async def send(self, frame: bytes) -> None:
        """Send a whole frame, in pieces that show that it goes on."""
        loop = asyncio.get_running_loop()
        view = memoryview(frame)
        try:
            for start in range(0, len(frame), _PIECE_SIZE):
                await loop.sock_sendall(self._socket, view[start : start + _PIECE_SIZE])
                self.last_active = loop.time()
        except BaseException:
            self.shut(socket.SHUT_RDWR)
            raise

    def send_now(self, frame: bytes) -> None:
        """Send a frame if that takes no time."""
        try:
            self._socket.send(frame)
        except OSError:
            logger.debug("a last word was not heard")

    def shut(self, how: int) -> None:
        """Take or give no more."""
        try:
            self._socket.shutdown(how)
        except OSError:
            logger.debug("the other end is gone already")

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
