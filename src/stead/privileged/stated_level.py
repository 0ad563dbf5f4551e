r"""How far a client lets a server go, said where the broker sees it and no server can.

A client states its impersonation level before it connects, in the name of its own
socket: ``\0stead/identification/<128 random bits>`` in the abstract name space
(unix(7)). Whoever accepts asks the kernel for the peer's name. So the broker hears the
client without reading a byte of what it says to the server, whatever the gate speaks.

A socket without such a name states nothing, which means Impersonation: as Windows' own
servers take it. A name that begins like one and says something else means Anonymous.
"""

from __future__ import annotations

import secrets
import socket
from typing import Final

LEVELS: Final = ("anonymous", "identification", "impersonation", "delegation")
"""From the least to the most."""

_UNSTATED: Final = "impersonation"
_PREFIX: Final = b"\0stead/"
_RANDOM: Final = 16


def state_level(unconnected: socket.socket, level: str) -> None:
    """Name a client's socket by the level that it states.

    Args:
        unconnected: a local socket without a name.
        level: one of `LEVELS`.

    Raises:
        OSError: this system has no abstract names; only Linux does.
    """
    unconnected.bind(_PREFIX + f"{level}/{secrets.token_hex(_RANDOM)}".encode())


def stated_level(accepted: socket.socket) -> str:
    """Return the level that the peer of an accepted socket states."""
    name = name_bytes(accepted.getpeername())
    if not name.startswith(_PREFIX):
        return _UNSTATED
    level, _, _ = name.removeprefix(_PREFIX).partition(b"/")
    found = level.decode("ascii", "replace")
    return found if found in LEVELS else LEVELS[0]


def unwillingness(accepted: socket.socket) -> str:
    """Say why nothing may be done as the peer of a socket; empty if its level lets it.

    Raises:
        OSError: the peer is gone.
    """
    level = stated_level(accepted)
    if LEVELS.index(level) >= LEVELS.index(_UNSTATED):
        return ""
    return f"the client allows {level}, and no more"


def name_bytes(name: str | bytes) -> bytes:
    """Return a local socket's name as bytes, whichever way Python spells it."""
    return name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
