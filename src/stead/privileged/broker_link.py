"""A server's handle on the broker: its connection, its gates, and its clients there.

Nothing here is privileged. What the broker must not believe it is not asked to believe:
a client is an index that the broker gave, on the connection on which it gave it. When
that connection ends, so does everybody who was known by it; the next one is made when
somebody needs it.

>>> link = BrokerLink("/run/stead/broker")                              # doctest: +SKIP
>>> link.open().may                                                     # doctest: +SKIP
frozenset({'start', 'worker'})
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from stead.errors import (
    ImpersonationRefusedError,
    InvalidRequestError,
    KernelRefusedError,
    LauncherUnavailableError,
    LogonFailureError,
    NotARegularFileError,
    ProcessTimeoutError,
    RemoteProtocolError,
    ServerClosedError,
)
from stead.model.posix_identity import PosixIdentity
from stead.privileged import sealing
from stead.privileged.broker_connection import Connection
from stead.privileged.broker_opening import request_document
from stead.privileged.broker_wire import LONGEST_ANSWER, hear
from stead.privileged.brokered_client import BrokeredClient
from stead.privileged.peers import peer_credentials, peer_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stead.privileged.broker_connection import Welcome

_SECONDS_TO_OPEN: Final = 10.0
_SECONDS_TO_LOG_ON: Final = 60.0
_LONGEST_GROUPS: Final = 1 << 20


def ask_broker(path: str) -> dict[str, Any]:
    """Say whether a broker answers this process, and what it may ask for there.

    Returns:
        `path` and `why` if none does; otherwise `path`, `service`, `gates` and `may`.
    """
    link = BrokerLink(path)
    try:
        welcome = link.open()
    except LauncherUnavailableError as error:
        return {"path": path, "why": str(error)}
    finally:
        link.close()
    return {
        "path": path,
        "service": welcome.service,
        "gates": list(welcome.gates),
        "may": sorted(welcome.may),
    }


class BrokerLink:
    """The way to the broker, for one server. Threads may share it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        defer: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        """Prepare; nothing is connected.

        Args:
            path: the broker's socket.
            defer: has something done soon, on a thread that may wait; whoever closes a
                client waits for the broker if it is not given.
        """
        self.defer: Final = defer or _at_once
        self._path = os.fspath(path)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_closed = False

    @property
    def path(self) -> str:
        """The broker's socket."""
        return self._path

    def connection(self) -> Connection:
        """Return the connection, made anew if there is none.

        Raises:
            LauncherUnavailableError: nobody answers.
            ServerClosedError: the link is closed, or is another process's.
        """
        if os.getpid() != self._pid:
            raise ServerClosedError("the way to the broker is another process's")
        with self._lock:
            if self._is_closed:
                raise ServerClosedError("the way to the broker is closed")
            if self._connection is None or self._connection.is_gone:
                if self._connection is not None:
                    self._connection.close()
                self._connection = Connection(self._path)
            return self._connection

    def close(self) -> None:
        """End the connection, and all that was asked on it; again does nothing."""
        if os.getpid() != self._pid:
            if self._connection is not None:
                self._connection.let_go()
            return
        with self._lock:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()

    def open(self) -> Welcome:
        """Connect, and return what the broker said; raises as `connection`."""
        return self.connection().welcome

    def entrance(self, path: str | os.PathLike[str]) -> BrokerEntrance:
        """Return a gate where the broker accepts this server's clients.

        Raises:
            InvalidRequestError: its configuration names no such gate.
            LauncherUnavailableError, ServerClosedError: as `connection` raises.
        """
        name = os.fspath(path)
        if name not in self.open().gates:
            raise InvalidRequestError(
                f"the broker accepts no clients at `{name}`",
                advice="name it among the service's `gates` in the broker's file",
            )
        return BrokerEntrance(self, name)

    def log_on(self, account: str, secret: bytes | bytearray) -> BrokeredClient:
        """Have the broker look at a password of this host's; wait for its answer.

        Raises:
            LogonFailureError: it is wrong, for whatever reason.
            ImpersonationRefusedError: the broker looks at none for this service.
            LauncherUnavailableError, ServerClosedError: as `connection` raises.
        """
        connection = self.connection()
        connection.require_may("log_on")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        name = json.dumps({"account": account}).encode()
        with ours, theirs, sealing.sealed(name) as document:
            with sealing.sealed(bytes(secret)) as word:
                descriptors = (theirs.fileno(), document.fileno(), word.fileno())
                connection.ask("log_on", {}, descriptors)
            theirs.close()
            ours.settimeout(_SECONDS_TO_LOG_ON)
            try:
                heard = hear(ours, _LONGEST_GROUPS, 0)
            except TimeoutError:
                heard = None
        if heard is None or "client" not in heard[0]:
            raise LogonFailureError
        said = heard[0]
        identity = PosixIdentity(said["uid"], said["gid"], tuple(said["groups"]))
        return BrokeredClient(
            connection,
            said["client"],
            identity,
            lease=float(said["lease"]),
            defer=self.defer,
        )

    def open_beneath(
        self,
        client: BrokeredClient,
        path: str,
        flags: int,
        *,
        mode: int = 0o600,
        within: str = "",
        groups: Sequence[int] = (),
        seconds: float = _SECONDS_TO_OPEN,
    ) -> int:
        """Have a file opened as a client, beneath a folder of the broker's file.

        Args:
            client: as whom.
            path: absolute.
            flags: as of `stead.privileged.opening.open_as`.
            mode: likewise.
            within: a folder or file beneath such a folder, which is not left either.
            groups: gids that this server adds to the client.
            seconds: how long to wait; the broker gives up by itself, too.

        Returns:
            the descriptor, the caller's to close.

        Raises:
            KernelRefusedError: the kernel, judging as the client, refused.
            NotARegularFileError: it is neither a file nor a folder.
            InvalidRequestError: it lies beneath no such folder, or the flags are wrong.
            ProcessTimeoutError: its file system did not answer.
            ImpersonationRefusedError, LauncherUnavailableError: as `ask` raises.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        wanted = request_document(path, flags, mode, within)
        with ours, theirs, channel, keepers, sealing.sealed(wanted) as document:
            descriptors = (keepers.fileno(), document.fileno(), theirs.fileno())
            client.ask("open", {"groups": list(groups)} if groups else {}, descriptors)
            theirs.close()
            keepers.close()
            ours.settimeout(seconds)
            try:
                heard = hear(ours, LONGEST_ANSWER, 1)
            except TimeoutError as error:
                raise ProcessTimeoutError(f"`{path}` was not opened in time") from error
            if heard is None:
                raise _unopened(channel, path)
        return _descriptor_of(heard, path)


def _at_once(act: Callable[[], object]) -> None:
    act()


class BrokerEntrance:
    """A gate whose clients the broker accepts (`stead.gates.ports.Entrance`)."""

    def __init__(self, link: BrokerLink, path: str) -> None:
        """Prepare; nobody is accepted yet."""
        self._link = link
        self._path = path
        self._connection: Connection | None = None
        self._channel: socket.socket | None = None

    def open(self) -> None:
        """Have clients accepted from now on; raises as `BrokerLink.entrance`."""
        connection = self._link.connection()
        gate = connection.welcome.gates.index(self._path)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                ours.setblocking(False)  # noqa: FBT003  # the library's signature
                connection.ask("listen", {"gate": gate}, [theirs.fileno()])
            except BaseException:
                ours.close()
                raise
        self._connection, self._channel = connection, ours

    def fileno(self) -> int:
        """Return the descriptor that is readable when a client has come."""
        return -1 if self._channel is None else self._channel.fileno()

    def accept(self) -> tuple[socket.socket, BrokeredClient]:
        """Take a client that the broker has accepted.

        Raises:
            BlockingIOError: there is none now.
            EOFError: the broker is gone.
        """
        if self._channel is None or self._connection is None:
            raise EOFError
        try:
            heard = hear(self._channel, _LONGEST_GROUPS, 1)
        except RemoteProtocolError as error:
            raise EOFError from error
        if heard is None or not heard[1]:
            raise EOFError
        message, (descriptor,) = heard
        client = socket.socket(fileno=descriptor)
        try:
            identity = _identity_of(message, client)
        except RemoteProtocolError as error:
            client.close()
            raise BlockingIOError from error
        except BaseException:
            client.close()
            raise
        ticket = BrokeredClient(
            self._connection,
            message["client"],
            identity,
            why=message.get("why", ""),
            principal=message.get("principal", ""),
            through=tuple(message.get("through", ())),
            expires=message.get("expires"),
            defer=self._link.defer,
        )
        return client, ticket

    def close(self) -> None:
        """Have no more clients accepted; again does nothing."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


def _identity_of(message: dict[str, Any], client: socket.socket) -> PosixIdentity:
    """Return who a client is: by its ticket, or by the kernel's word on who connected.

    Raises:
        RemoteProtocolError: the kernel does not know the peer.
    """
    if "identity" in message:
        uid, gid, groups = message["identity"]
        return PosixIdentity(uid, gid, tuple(groups))
    _, uid, gid = peer_credentials(client)
    return PosixIdentity(uid, gid, peer_groups(client))


def _descriptor_of(heard: tuple[dict[str, Any], tuple[int, ...]], path: str) -> int:
    answer, descriptors = heard
    if descriptors:
        return descriptors[0]
    if "errno" in answer:
        number = answer["errno"]
        raise KernelRefusedError(
            f"the kernel refused `{path}`: {os.strerror(number).lower()}",
            errno=number,
            object_name=path,
        )
    if answer.get("refused") == "kind":
        raise NotARegularFileError(
            f"`{path}` is neither a file nor a folder", object_name=path
        )
    raise InvalidRequestError(
        f"`{path}` lies beneath no folder where the broker opens files for this server"
    )


def _unopened(channel: socket.socket, path: str) -> Exception:
    """Return why a file was not opened, by what the keeper or the broker says."""
    channel.settimeout(_SECONDS_TO_OPEN)
    try:
        heard = hear(channel, LONGEST_ANSWER, 0)
    except (OSError, RemoteProtocolError):
        heard = None
    said = {} if heard is None else heard[0]
    if "refused" in said:
        return ImpersonationRefusedError(
            f"`{path}` cannot be opened at {said['refused']}: {said.get('text', '')}"
        )
    return ProcessTimeoutError(f"`{path}` was not opened in time")
