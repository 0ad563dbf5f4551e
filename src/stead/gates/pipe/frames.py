"""Frames: a length of four bytes, big-endian, then that many bytes of body.

Stream sockets have no message boundaries; this is all there is to give them some. A
length is judged before a byte of its body is kept.
"""

from __future__ import annotations

from typing import Final

from stead.errors import InvalidMessageError, RemoteProtocolError

HEADER_SIZE: Final = 4


def write_frame(body: bytes, limit: int) -> bytes:
    """Return a body as a frame.

    Raises:
        InvalidMessageError: the body is empty or longer than `limit`.
    """
    if not 0 < len(body) <= limit:
        raise InvalidMessageError(
            f"a message of {len(body)} bytes does not fit a frame of {limit}"
        )
    return len(body).to_bytes(HEADER_SIZE, "big") + body


class FrameReader:
    """Bytes in, bodies out. It holds at most what was fed and not yet taken."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Count the bytes that are not taken yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes as they came."""
        self._buffer += data

    def clear(self) -> None:
        """Forget what is not taken yet."""
        self._buffer.clear()

    def announced(self, limit: int) -> int | None:
        """Return the size of the next body, or None while its length is not whole.

        Raises:
            RemoteProtocolError: the frame is empty or claims more than `limit`.
        """
        if len(self._buffer) < HEADER_SIZE:
            return None
        size = int.from_bytes(self._buffer[:HEADER_SIZE], "big")
        if not 0 < size <= limit:
            raise RemoteProtocolError(f"a frame of {size} bytes, {limit} are allowed")
        return size

    def take(self, limit: int) -> bytes | None:
        """Take the next body, or None while it is not whole.

        Raises:
            RemoteProtocolError: the frame is empty or claims more than `limit`.
        """
        size = self.announced(limit)
        if size is None or len(self._buffer) < (end := HEADER_SIZE + size):
            return None
        body = bytes(self._buffer[HEADER_SIZE:end])
        del self._buffer[:end]
        return body
