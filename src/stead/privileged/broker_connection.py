"""One connection of a server with the broker, from its hello to its end."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stead.errors import (
    ImpersonationRefusedError,
    LauncherUnavailableError,
    RemoteProtocolError,
)
from stead.privileged.broker_config import ACTS
from stead.privileged.broker_wire import VERSION, hear, say
from stead.privileged.peers import peer_credentials
from stead.privileged.syscalls import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SECONDS_TO_GREET: Final = 20.0
_SECONDS_TO_SEND: Final = 10.0
_ROOT: Final = 0
_LONGEST_HELLO: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the broker said at the hello.

    Attributes:
        service: what it calls this server.
        gates: where it accepts this server's clients.
        may: what this server may ask for.
        mapped_groups: gids that it may add to its clients.
    """

    service: str
    gates: tuple[str, ...]
    may: frozenset[str]
    mapped_groups: frozenset[int]


class Connection:
    """One connection with the broker, from its hello to its end."""

    def __init__(self, path: str) -> None:
        """Connect, make sure that it is root who listens, and say hello.

        Raises:
            LauncherUnavailableError: nobody answers there, or not as a broker does.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        try:
            self._socket.settimeout(_SECONDS_TO_GREET)
            self._socket.connect(path)
            self.welcome = _greeted(self._socket)
            self._socket.setblocking(False)  # noqa: FBT003  # the library's signature
        except (OSError, RemoteProtocolError, KeyError, TypeError) as error:
            self._socket.close()
            why = words_of(error) if isinstance(error, OSError) else str(error)
            raise _unavailable(path, why) from error
        except BaseException:
            self._socket.close()
            raise

    @property
    def is_gone(self) -> bool:
        """Whether the broker has ended it, or it was closed here."""
        with self._lock:
            return self._is_gone()

    def ask(
        self, name: str, fields: Mapping[str, Any], descriptors: Sequence[int] = ()
    ) -> None:
        """Ask something; what comes of it is said elsewhere.

        Raises:
            LauncherUnavailableError: the broker is gone, or too busy.
        """
        deadline = time.monotonic() + _SECONDS_TO_SEND
        with self._lock:
            if self._is_gone():
                raise _lost()
            while True:
                try:
                    say(self._socket, {"request": name, **fields}, descriptors)
                except BlockingIOError:
                    self._wait_for_room(deadline)
                except OSError as error:
                    raise _lost() from error
                else:
                    return

    def require_may(self, act: str) -> None:
        """Refuse what the broker would end the connection for.

        Raises:
            ImpersonationRefusedError: its file does not let this service do that.
        """
        if act in ACTS and act not in self.welcome.may:
            raise ImpersonationRefusedError(
                f"the broker lets service `{self.welcome.service}` do no `{act}`",
                advice=f"add `{act}` to the service's `may` in the broker's file",
            )

    def close(self) -> None:
        """End it, and with it all that was asked on it; again does nothing."""
        with self._lock:
            self._socket.close()

    def let_go(self) -> None:
        """Close a forked process's copy, under no lock: a thread may have held it."""
        self._socket.close()

    def _wait_for_room(self, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(int(left * 1000)):
            raise LauncherUnavailableError("the broker has too much to do")

    def _is_gone(self) -> bool:
        if self._socket.fileno() < 0:
            return True
        try:
            # Nothing is ever said here after the hello but that it is over.
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


def _greeted(connected: socket.socket) -> Welcome:
    """Say hello to root, and to nobody else; return the answer."""
    if peer_credentials(connected)[1] != _ROOT:
        raise RemoteProtocolError("somebody else than root listens there")
    heard = None
    with suppress(ConnectionError):  # it has hung up already
        say(connected, {"request": "hello", "version": VERSION})
        heard = hear(connected, _LONGEST_HELLO, 0)
    if heard is None:
        raise RemoteProtocolError("it does not hear this uid as a service")
    said = heard[0]
    return Welcome(
        said["service"],
        tuple(said["gates"]),
        frozenset(said["may"]),
        frozenset(said["mapped_groups"]),
    )


def _lost() -> LauncherUnavailableError:
    return LauncherUnavailableError(
        "the broker that knew the client is gone",
        advice="the client has to connect again; the broker's log says why it ended",
    )


def _unavailable(path: str, why: str) -> LauncherUnavailableError:
    return LauncherUnavailableError(
        f"no broker answers at `{path}`: {why}",
        advice="see that `stead broker` runs, and names this server's uid",
    )
