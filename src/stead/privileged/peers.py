"""What the kernel knows of the peer of a local socket, asked of the kernel itself.

All of it is a snapshot of the moment of connecting. On a socket that was *accepted* it
names who connected; on one that connected, who listens: so a socket says something of a
client only to whoever accepted it (see ``docs/adr/0057``).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from stead.errors import RemoteProtocolError
from stead.model.posix_identity import MOST_GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable

# Of asm-generic/socket.h, which x86_64 and aarch64 share; Python names neither.
_SO_PEERGROUPS: Final = 59
_SO_PEERPIDFD: Final = 77

_UCRED: Final = struct.Struct("=iII")
_GID_SIZE: Final = 4
_PYTHON_OPTION_SIZE: Final = 1024
_NO_UID: Final = 0xFFFF_FFFF
_NO_PIDFD: Final = frozenset(
    {
        errno.ENOPROTOOPT,  # Linux before 6.5
        errno.ESRCH,  # the process is gone already, as the next two say too
        errno.EINVAL,
        errno.ENODATA,
    }
)


def peer_credentials(connected: socket.socket) -> tuple[int, int, int]:
    """Return pid, uid and gid of who connected, or of who listens (SO_PEERCRED).

    Raises:
        RemoteProtocolError: the socket has no peer whom the kernel knows.
    """
    answer = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, gid = _UCRED.unpack(answer)
    if _NO_UID in {uid, gid}:
        raise RemoteProtocolError("the kernel does not know the peer")
    return pid, uid, gid


def peer_groups(connected: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of who connected (SO_PEERGROUPS)."""
    try:
        answer = connected.getsockopt(
            socket.SOL_SOCKET, _SO_PEERGROUPS, _PYTHON_OPTION_SIZE
        )
    except OSError as error:
        if error.errno != errno.ERANGE:
            raise
        answer = _many_groups(connected)
    count = len(answer) // _GID_SIZE
    return struct.unpack(f"={count}I", answer)


def _many_groups(connected: socket.socket) -> bytes:
    """Ask with room for as many groups as Linux allows.

    Python's own getsockopt takes 1024 bytes at most, which is 256 groups.
    """
    size = ctypes.c_uint32(MOST_GROUPS * _GID_SIZE)
    buffer = ctypes.create_string_buffer(size.value)
    getsockopt: Callable[..., int] = ctypes.CDLL(None, use_errno=True).getsockopt
    failed = getsockopt(
        connected.fileno(),
        socket.SOL_SOCKET,
        _SO_PEERGROUPS,
        buffer,
        ctypes.byref(size),
    )
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw[: size.value]


def peer_pidfd(connected: socket.socket) -> int | None:
    """Return a descriptor of the process that connected, or None (SO_PEERPIDFD)."""
    try:
        return connected.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno in _NO_PIDFD:
            return None
        raise
