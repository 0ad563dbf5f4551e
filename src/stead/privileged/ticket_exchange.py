"""How a client shows a Kerberos ticket at a gate of the broker's, before all else.

    broker:  nonce      32 fresh random bytes
    client:  blob       GSS-API's message, as often as it takes
    broker:  blob       its answer; with the first the broker has proved its own key
    broker:  admitted, or refused: for every cause alike

Each is a frame: a letter, four bytes of length, and the content. What the client says
after that is for the server.

Both sides hand the mechanism one *binding*: a digest of the nonce, of the names of both
ends of this very connection, and of the client's uid, as the kernel tells the broker
and as the client knows by itself. Whoever sends a ticket on by a connection of his own,
or shows it again, has another nonce, another name or another uid, and is refused.

See ``docs/adr/0060``.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from typing import Final

from stead.errors import RemoteProtocolError
from stead.privileged.stated_level import name_bytes

NONCE, BLOB, ADMITTED, REFUSED = b"N", b"B", b"A", b"R"
NONCE_SIZE: Final = 32
LONGEST: Final = 64 * 1024
"""Of one message: a ticket with many groups has some 40 KiB."""

MOST_ROUNDS: Final = 3

_HEADER: Final = struct.Struct(">cI")
_LABEL: Final = b"stead ticket 1"


def frame(kind: bytes, content: bytes = b"") -> bytes:
    """Return a frame."""
    return _HEADER.pack(kind, len(content)) + content


def read_frame(connected: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    """Read one frame and not a byte more: what follows is somebody else's.

    Args:
        connected: where from.
        deadline: in monotonic seconds.

    Raises:
        RemoteProtocolError: it is none, or too long.
        TimeoutError: it did not come in time.
        OSError: the connection failed.
    """
    kind, size = _HEADER.unpack(_exactly(connected, _HEADER.size, deadline))
    if size > LONGEST:
        raise RemoteProtocolError("a message about a ticket is too long")
    return kind, _exactly(connected, size, deadline)


def send_frame(connected: socket.socket, data: bytes, deadline: float) -> None:
    """Send a frame; raises as `read_frame` for time and connection."""
    connected.settimeout(_left(deadline))
    connected.sendall(data)


def binding(
    nonce: bytes, listener: str | bytes, client: str | bytes, uid: int
) -> bytes:
    """Return what binds a ticket to one connection.

    Args:
        nonce: the broker's.
        listener: the name of the socket that listens, as the kernel has it.
        client: the name of the client's socket, likewise.
        uid: the client's, as the broker's user namespace calls it.
    """
    parts = (_LABEL, nonce, name_bytes(listener), name_bytes(client), b"%d" % uid)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()


def _exactly(connected: socket.socket, size: int, deadline: float) -> bytes:
    parts = []
    while size:
        connected.settimeout(_left(deadline))
        part = connected.recv(size)
        if not part:
            raise RemoteProtocolError("the other side has hung up")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
