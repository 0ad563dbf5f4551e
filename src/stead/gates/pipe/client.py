"""The client's end of the pipe, blocking; `async_client` is the same for asyncio.

    with PipeClient.connect("/run/notes/pipe") as server:
        text = server.call("read", name="alice.txt")

Before a byte is sent the client asks the kernel who listens: by default only root and
the client's own uid will do. A squatter who took the name learns nothing.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from collections import deque
from typing import Any, Final, Self

from stead.errors import (
    RequestTimeoutError,
    ServerClosedError,
    ServerUnavailableError,
)
from stead.gates.pipe.admitted import Admitted
from stead.gates.pipe.calling import (
    ServerUid,
    attempt,
    hello,
    refuse_wrong_server,
    value_of,
    welcome_of,
)
from stead.gates.pipe.introduction import ShownTicket, introduced, show
from stead.gates.pipe.limits import PipeLimits
from stead.gates.pipe.messages import (
    Challenge,
    Goodbye,
    Message,
    Request,
    Response,
    plain,
)
from stead.gates.pipe.protocol import PipeProtocol, Role, State
from stead.gates.pipe.reaching import (
    ClientExchange,
    TlsAddress,
    TlsServer,
    failure_of,
    reach,
    require_fitting,
    tls_address,
)
from stead.model.quality_of_service import QualityOfService, Tracking
from stead.model.token import ImpersonationLevel

_READ_SIZE: Final = 1 << 16
_TIMEVAL: Final = struct.Struct("@ll")


class PipeClient(Admitted):
    """A blocking client. Threads may share it; one call runs at a time.

    Attributes:
        timeout: seconds for each call; None waits for ever. When they have passed the
            connection is closed, for an answer that comes late has nobody to go to.
    """

    def __init__(self, connected: socket.socket, timeout: float | None) -> None:
        """Take over a connected and verified socket; `connect` makes one."""
        self.timeout = timeout
        self._socket = connected
        self._protocol = PipeProtocol(Role.CLIENT, PipeLimits())
        self._received: deque[Message] = deque()
        self._lock = threading.Lock()
        self._last_id = 0
        super().__init__()

    @classmethod
    def connect(  # noqa: PLR0913 - keywords, each about another side of connecting
        cls,
        path: str | os.PathLike[str],
        *,
        level: ImpersonationLevel = ImpersonationLevel.IMPERSONATION,
        tracking: Tracking = Tracking.STATIC,
        effective_only: bool = False,
        server_uid: ServerUid = None,
        timeout: float | None = 30.0,
        correlation: str | None = None,
        ticket: ShownTicket | None = None,
        tls: TlsServer | None = None,
    ) -> Self:
        """Connect, verify the server, and say who comes at which level.

        Args:
            path: the pipe; or `tls://host:port`, on another machine.
            level: what the server may do with the client's identity.
            tracking: whether the server knows the client as it is at this moment, or
                as it is by then, at each call: what its account gains counts.
            effective_only: whether groups and privileges that are disabled stay so.
            server_uid: the uid or uids that may listen; root and our own if None.
            timeout: seconds for connecting, and for each call later.
            correlation: a name for this conversation in the server's trail.
            ticket: proves who the client is, at a gate of a broker's that asks for it;
                such as `stead.adapters.kerberos_ticket.KerberosTicket`.
            tls: how a server on another machine is known, and what the client shows it.

        Raises:
            ServerUnavailableError: no server answers there.
            WrongServerError: somebody else listens; nothing was sent.
            InvalidRequestError: what was given is about the other kind of pipe.
            RemoteError: the server does not admit the client.
            ServerClosedError: the server says goodbye instead.
            LogonFailureError: the broker refuses the ticket, or the server the
                certificate.
            RequestTimeoutError: the server does not answer in time.
        """
        quality = QualityOfService(level, tracking, effective_only)
        address = tls_address(path)
        require_fitting(address, tls, has_local=bool(ticket or server_uid is not None))
        if address is not None:
            return cls._reach(address, tls, quality, timeout, correlation)
        connected = introduced(level, ticket)
        try:
            # A timeout of Python's own would make the socket non-blocking, and a
            # non-blocking connect does not wait for a place in the server's queue.
            connected.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout)
            )
            _connect(connected, path)
            refuse_wrong_server(connected, server_uid)
            if ticket is not None:
                show(ticket, connected, timeout)
            client = cls(connected, timeout)
            client._greet(hello(quality, correlation))
        except BaseException:
            connected.close()
            raise
        return client

    @classmethod
    def _reach(
        cls,
        address: TlsAddress,
        tls: TlsServer | None,
        quality: QualityOfService,
        timeout: float | None,
        correlation: str | None,
    ) -> Self:
        told = tls or TlsServer()
        try:
            connected, exchange = reach(address, told, timeout)
        except TimeoutError as error:
            raise RequestTimeoutError("the server did not answer in time") from error
        package = None if told.package is None else told.package.name
        try:
            client = cls(connected, timeout)
            client._greet(hello(quality, correlation, package), exchange)
        except BaseException:
            connected.close()
            raise
        finally:
            if exchange is not None:
                exchange.close()
        return client

    def call(self, operation: str, /, **arguments: Any) -> Any:
        """Ask for one operation and wait for its value.

        Args:
            operation: its name.
            arguments: what JSON can hold; bytes travel as base64 text.

        Raises:
            RemoteError: the server refused; the connection stands.
            InvalidMessageError: the request cannot be written; nothing was sent.
            ServerClosedError: the server, or this client, has said goodbye.
            ServerUnavailableError: the server is gone; the request may have been done.
            RequestTimeoutError: no answer came in time; it may have been done.
            RemoteProtocolError: the server broke the protocol.
        """
        with self._lock:
            if self._protocol.state is not State.TALKING:
                raise ServerClosedError("the connection is closed")
            number = self._last_id + 1
            frame = self._protocol.send(
                Request(id=number, operation=operation, arguments=plain(arguments))
            )
            self._last_id = number
            return value_of(self._exchange(frame))

    def close(self) -> None:
        """Say goodbye and close; more than once is no mistake."""
        with self._lock:
            if self._protocol.state is State.TALKING and self._socket.fileno() >= 0:
                frame = self._protocol.send(Goodbye())
                try:
                    self._socket.settimeout(0.0)
                    self._socket.send(frame)
                except OSError:
                    # A goodbye is a courtesy: the closed socket says the same.
                    self._socket.close()
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _greet(self, message: Message, shown: ClientExchange | None = None) -> None:
        answer = self._exchange(self._protocol.send(message))
        while shown is not None and isinstance(answer, Challenge):
            response = Response(blob=shown.step(answer.blob))
            answer = self._exchange(self._protocol.send(response))
        welcome = welcome_of(answer)
        if shown is not None:
            shown.finish(welcome.blob)
        self._welcome = welcome

    def _exchange(self, frame: bytes) -> Message:
        """Send a frame and wait for the next message; any failure is the end."""
        deadline = None if self.timeout is None else time.monotonic() + self.timeout
        try:
            self._send(frame, deadline)
            return self._receive(deadline)
        except TimeoutError as error:
            self._end()
            raise RequestTimeoutError("the server did not answer in time") from error
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Give up the connection: what may still come answers nothing of ours."""
        self._protocol.state = State.CLOSED
        self._socket.close()

    def _send(self, frame: bytes, deadline: float | None) -> None:
        self._socket.settimeout(_left(deadline))
        try:
            self._socket.sendall(frame)
        except (ConnectionError, ssl.SSLError):
            # The server has closed; it may have left a goodbye that says why.
            return

    def _receive(self, deadline: float | None) -> Message:
        while not self._received:
            self._socket.settimeout(_left(deadline))
            try:
                data = self._socket.recv(_READ_SIZE)
            except ConnectionError:
                data = b""
            except ssl.SSLError as error:
                raise failure_of(error) from error
            if not data:
                raise ServerUnavailableError("the server closed the connection")
            self._received.extend(self._protocol.receive_data(data))
        return self._received.popleft()


def _connect(connected: socket.socket, path: str | os.PathLike[str]) -> None:
    if not attempt(connected, path):
        raise RequestTimeoutError(f"the server at `{path}` is too busy")


def _left(deadline: float | None) -> float | None:
    """Return the seconds until a deadline.

    Raises:
        TimeoutError: it has passed.
    """
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _timeval(seconds: float | None) -> bytes:
    """Return seconds as the kernel's timeval, in which nothing means for ever."""
    microseconds = 0 if seconds is None else max(1, round(seconds * 1_000_000))
    return _TIMEVAL.pack(*divmod(microseconds, 1_000_000))
