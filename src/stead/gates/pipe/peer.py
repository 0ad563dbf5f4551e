"""Who is at the other end of a local socket, as the kernel vouches for it.

All of it is a snapshot of the moment of connecting: whoever writes to the socket later
(a set-uid program that inherited it, say) does not become the peer. That is why the
credentials that ride on single messages (SCM_CREDENTIALS) are never asked for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead.errors import RemoteProtocolError

# Of asm-generic/socket.h, which x86_64 and aarch64 share; Python names neither.
_SO_PEERGROUPS: Final = 59
_SO_PEERPIDFD: Final = 77

_UCRED: Final = struct.Struct("=iII")
_GID_SIZE: Final = 4
_PYTHON_OPTION_SIZE: Final = 1024
_NGROUPS_MAX: Final = 65536
_NO_UID: Final = 0xFFFF_FFFF
_NO_PIDFD: Final = frozenset(
    {
        errno.ENOPROTOOPT,  # Linux before 6.5
        errno.ESRCH,  # the process is gone already, as the next two say too
        errno.EINVAL,
        errno.ENODATA,
    }
)


@dataclass(frozen=True, slots=True)
class PeerEvidence:
    """What the gate saw for itself about a peer.

    Attributes:
        uid: its effective uid when it connected.
        gid: its effective gid then.
        groups: its supplementary groups then.
        pid: its process number then; numbers come again, so it is for people to read.
        pidfd: a descriptor of that very process, or None where the kernel gives none.
            It belongs to the gate, which closes it when the connection has ended;
            whoever needs it longer duplicates it.
        gate: the gate that saw it.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    pid: int
    pidfd: int | None = None
    gate: str = "pipe"

    def describe(self) -> str:
        """Return the peer in words, for logs and the trail."""
        return f"uid {self.uid} pid {self.pid}"

    def close(self) -> None:
        """Close the pidfd; the gate calls this, once."""
        if self.pidfd is not None:
            os.close(self.pidfd)


def peer_evidence(connected: socket.socket) -> PeerEvidence:
    """Ask the kernel who connected.

    Raises:
        RemoteProtocolError: the socket has no peer whom the kernel knows.
        OSError: the kernel has no memory or descriptor left for the answer.
    """
    pid, uid, gid = peer_credentials(connected)
    groups = peer_groups(connected)
    return PeerEvidence(uid, gid, groups, pid, peer_pidfd(connected))


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
    size = ctypes.c_uint32(_NGROUPS_MAX * _GID_SIZE)
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
