"""What the broker keeps for each service: its gates, and what it may try."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stead.errors import UnsafeConfigurationError
from stead.privileged.binding import bind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from stead.privileged.broker_config import BrokerConfig, Service

_MINUTE: Final = 60.0
_FIRST_INHERITED: Final = 3


@dataclass(slots=True, eq=False)
class Desk:
    """What the broker keeps for one service.

    Attributes:
        service: which.
        gates: its listening sockets.
        tokens: a pipe: one byte for each password that its servers may try now.
        came: when its servers connected lately, in monotonic seconds.
    """

    service: Service
    gates: tuple[socket.socket, ...]
    tokens: tuple[int, int]
    came: deque[float] = field(default_factory=deque)

    def refill(self, most: int) -> None:
        """Let its servers try as many passwords again as in any minute."""
        number = struct.pack("i", 0)
        (there,) = struct.unpack(
            "i", fcntl.ioctl(self.tokens[0], termios.FIONREAD, number)
        )
        if there < most:
            os.write(self.tokens[1], b"p" * (most - there))

    def may_come(self, most: int) -> bool:
        """Say whether another server may connect in this minute; count it."""
        now = time.monotonic()
        while self.came and now - self.came[0] > _MINUTE:
            self.came.popleft()
        if len(self.came) >= most:
            return False
        self.came.append(now)
        return True


def open_desks(
    config: BrokerConfig, inherited: Mapping[str, socket.socket], undo: ExitStack
) -> dict[int, Desk]:
    """Take every gate's path, or what a service manager listens on already.

    Raises:
        SteadError: a path cannot be trusted, or is taken.
    """
    desks = {}
    for uid, service in config.services.items():
        gates = tuple(
            listener(path, service.mode, socket.SOCK_STREAM, inherited, undo)
            for path in service.all_gates
        )
        tokens = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        desks[uid] = Desk(service, gates, tokens)
    return desks


def listener(
    path: str,
    mode: int,
    kind: socket.SocketKind,
    inherited: Mapping[str, socket.socket],
    undo: ExitStack,
) -> socket.socket:
    """Take one path, unless a service manager listens there already.

    Args:
        path: the socket's.
        mode: who may connect, as permission bits.
        kind: of socket.
        inherited: what was handed over, by path.
        undo: gives the path back.

    Raises:
        SteadError: it cannot be trusted, is taken, or what was handed over is unfit.
    """
    given = inherited.get(path)
    if given is not None:
        is_fit = given.type == kind and given.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
        if not is_fit:
            raise UnsafeConfigurationError(f"what was handed over at `{path}` is unfit")
        given.setblocking(False)  # noqa: FBT003  # the library's signature
        return given
    binding = bind(Path(path), mode, kind)
    undo.callback(binding.release)
    return binding.listener


def inherited_sockets(environment: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return what a service manager handed over, by path; see sd_listen_fds(3)."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    found = {}
    count = int(environment.get("LISTEN_FDS", "0"))
    for number in range(_FIRST_INHERITED, _FIRST_INHERITED + count):
        given = socket.socket(fileno=number)
        given.set_inheritable(False)
        name = given.getsockname()
        if given.family == socket.AF_UNIX and isinstance(name, str):
            found[name] = given
    return found
