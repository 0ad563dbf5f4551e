"""OpenTelemetry logs over OTLP/HTTP, with the protocol's own acknowledgement.

A batch is one request, and a response of status 200 is its acknowledgement. A receiver
may take a part of it and refuse the rest for good (`partial_success`), without saying
which: then the batch is sent again record by record, to learn it; the record's id lets
the receiver drop doubles. Whatever else comes back means that records wait: an answer
of another kind too (a proxy's page, for one), and one that does not come to its end.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from stead.adapters.extras import require_extra

require_extra("otel", "opentelemetry")

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)

from stead.adapters.sinks.otlp_form import logs_request
from stead.errors import SinkUnavailableError, UnsafeConfigurationError
from stead.ledger.exporting import Numbered, Origin

PORT: Final = 4318
PATH: Final = "/v1/logs"

_LARGEST_ANSWER: Final = 1 << 20
_OK: Final = 200
_TOO_LARGE: Final = 413
_LAST_SUCCESS: Final = 299
_FORM: Final = "application/x-protobuf"


class _TooLargeError(Exception):
    """The far end wants less at once."""


class OtlpSink:
    """Sends records to an OTLP receiver."""

    window = 1

    def __init__(
        self,
        host: str,
        port: int = PORT,
        *,
        origin: Origin,
        context: ssl.SSLContext | None,
        path: str = PATH,
        name: str = "",
        token: Callable[[], str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Describe a receiver; `send` connects.

        Args:
            host: its name, which its certificate must bear.
            port: its port.
            origin: where the trail is.
            context: what is trusted; None for HTTP without TLS.
            path: where it takes logs.
            name: what its cursor is kept under.
            token: returns the bearer token that it asks for; called for each request.
            timeout: seconds without any progress, or for a whole answer, after which
                it counts as down.
        """
        scheme = "http" if context is None else "https"
        self.name = name or f"otlp+{scheme}://{host}:{port}{path}"
        self._place = (host, port)
        self._path = path
        self._origin = origin
        self._context = context
        self._token = token
        self._timeout = timeout
        self._link: http.client.HTTPConnection | None = None

    def send(self, batch: Sequence[Numbered]) -> Sequence[int]:
        """Send records; see `stead.ledger.sinks.Sink`."""
        try:
            refused = self._export(batch)
        except _TooLargeError:
            if len(batch) == 1:
                number = batch[0].number
                raise SinkUnavailableError(
                    f"`{self.name}` takes no request as large as record {number} needs",
                    advice="raise the receiver's bound on a request's size",
                ) from None
            half = len(batch) // 2
            return [*self.send(batch[:half]), *self.send(batch[half:])]
        if not refused:
            return ()
        if len(batch) == 1:
            return (batch[0].number,)
        return [number for one in batch for number in self.send([one])]

    def confirm(self) -> None:
        """Return: each request was acknowledged by its response."""

    def reset(self) -> None:
        """Close the connection; never raises."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(OSError):
                link.close()

    def interrupt(self) -> None:
        """End the connection from another thread; never raises."""
        link = self._link
        bare = None if link is None else link.sock
        if bare is not None:
            with suppress(OSError):
                socket.socket.shutdown(bare, socket.SHUT_RDWR)

    def _export(self, batch: Sequence[Numbered]) -> int:
        """Send one request; return how many of its records were refused for good."""
        body = logs_request(batch, self._origin).SerializeToString()
        status, answer = self._post(body)
        if status == _TOO_LARGE:
            raise _TooLargeError
        if not _OK <= status <= _LAST_SUCCESS:
            raise SinkUnavailableError(f"`{self.name}` answers with status {status}")
        try:
            said = ExportLogsServiceResponse.FromString(answer)
        except DecodeError as error:
            raise SinkUnavailableError(
                f"`{self.name}` answers with something else than OTLP"
            ) from error
        refused: int = said.partial_success.rejected_log_records
        return refused

    def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": _FORM, "User-Agent": "stead"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._bearer(self._token)}"
        try:
            # A receiver may close a connection that was idle: that is no failure yet.
            if self._link is not None:
                with suppress(ConnectionError, http.client.RemoteDisconnected):
                    return self._ask(self._link, body, headers)
                self.reset()
            return self._ask(self._connect(), body, headers)
        except (OSError, http.client.HTTPException) as error:
            advice = ""
            if isinstance(error, ssl.SSLCertVerificationError):
                advice = "its certificate must bear its name and be signed by `ca`"
            raise SinkUnavailableError(
                f"`{self.name}` does not take records: {error!r}", advice=advice
            ) from error

    def _bearer(self, read: Callable[[], str]) -> str:
        try:
            return read()
        except UnsafeConfigurationError as error:
            raise SinkUnavailableError(
                f"`{self.name}` is sent nothing: {error}", advice=error.advice
            ) from error

    def _ask(
        self, link: http.client.HTTPConnection, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        if link.sock is not None:
            link.sock.settimeout(self._timeout)  # the last answer was given less
        link.request("POST", self._path, body, headers)
        response = link.getresponse()
        answer = response.read(_LARGEST_ANSWER)
        if response.read(1):
            raise SinkUnavailableError(f"`{self.name}` answers with too much")
        kind = response.headers.get_content_type()
        said_nothing = response.headers.get("Content-Type") is None
        is_success = _OK <= response.status <= _LAST_SUCCESS
        if is_success and not said_nothing and kind != _FORM:
            raise SinkUnavailableError(
                f"`{self.name}` answers with something else than OTLP"
            )
        return response.status, answer

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._place
        if self._context is None:
            link = http.client.HTTPConnection(host, port, timeout=self._timeout)
        else:
            link = http.client.HTTPSConnection(
                host, port, timeout=self._timeout, context=self._context
            )
        link.response_class = _Answer
        self._link = link
        return link


class _Answer(http.client.HTTPResponse):
    """An answer that is there in time, or is none.

    The socket's own timeout is for each byte: at one byte for each, a sink would be
    waited for as long as it likes, and nobody told.
    """

    def __init__(self, sock: socket.socket, *rest: Any, **named: Any) -> None:
        within = sock.gettimeout()
        hurried = sock if within is None else _Hurried(sock, time.monotonic() + within)
        # Of a socket it takes the file alone.
        super().__init__(cast("socket.socket", hurried), *rest, **named)


class _Hurried:
    """A connection, as an answer reads it: until a moment."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file that is read."""
        return io.BufferedReader(_Bytes(self._connected, self._deadline))


class _Bytes(io.RawIOBase):
    """The bytes of a connection until a moment."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        super().__init__()
        self._connected = connected
        self._raw = connected.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        """Tell that they can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read some; raises `TimeoutError`."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer takes too long")
        self._connected.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of the connection."""
        if not self.closed:
            self._raw.close()
        super().close()
