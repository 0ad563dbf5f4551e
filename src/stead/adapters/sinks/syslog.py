"""Syslog over TLS (RFC 5424, RFC 5425).

The protocol has no acknowledgement of a message. What it does have is an orderly end:
a receiver must answer `close_notify` with its own (RFC 5425, 4.4), and TLS delivers in
order. So `confirm` ends the connection: if the answer comes, and the receiver then
closes without leaving anything unread (which TCP would tell by a reset), its TLS has
read all that was sent. Anything else is no answer, and all is sent again over the next
connection (docs/adr/0071).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from stead.errors import SinkUnavailableError
from stead.ledger.export_syslog import DOCUMENTATION, LARGEST, syslog_frames
from stead.ledger.exporting import Numbered, Origin

PORT: Final = 6514
"""The port of syslog over TLS (RFC 5425, 4.1)."""

_WINDOW: Final = 4096


class SyslogSink:
    """Sends records to a syslog receiver."""

    window = _WINDOW

    def __init__(
        self,
        host: str,
        port: int = PORT,
        *,
        origin: Origin,
        context: ssl.SSLContext,
        name: str = "",
        largest: int = LARGEST,
        enterprise: int = DOCUMENTATION,
        timeout: float = 10.0,
    ) -> None:
        """Describe a receiver; `send` connects.

        Args:
            host: its name, which its certificate must bear.
            port: its port.
            origin: where the trail is.
            context: what is trusted (`connecting.tls_context`).
            name: what its cursor is kept under.
            largest: the bytes of one message that it takes.
            enterprise: the private enterprise number in the structured data's name.
            timeout: seconds without any progress after which it counts as down.
        """
        self.name = name or f"syslog+tls://{host}:{port}"
        self._place = (host, port)
        self._origin = origin
        self._context = context
        self._largest = largest
        self._enterprise = enterprise
        self._timeout = timeout
        self._link: ssl.SSLSocket | None = None

    def send(self, batch: Sequence[Numbered]) -> Sequence[int]:
        """Send records; see `stead.ledger.sinks.Sink`."""
        try:
            link = self._link or self._connect()
            for numbered in batch:
                link.sendall(
                    syslog_frames(
                        numbered,
                        self._origin,
                        largest=self._largest,
                        enterprise=self._enterprise,
                    )
                )
        except OSError as error:
            raise self._down(error) from error
        return ()

    def confirm(self) -> None:
        """End the connection in order; return if the receiver has read everything."""
        link, self._link = self._link, None
        if link is None:
            raise SinkUnavailableError(f"`{self.name}` has closed the connection")
        bare: socket.socket = link
        try:
            self._require_open(link)
            link.settimeout(self._timeout)
            bare = link.unwrap()
            bare.shutdown(socket.SHUT_WR)
            if bare.recv(1):
                raise SinkUnavailableError(f"`{self.name}` goes on after its end")
        except OSError as error:
            raise self._down(error) from error
        finally:
            bare.close()

    def reset(self) -> None:
        """Drop the connection; never raises."""
        link, self._link = self._link, None
        if link is not None:
            with suppress(OSError):
                link.close()

    def interrupt(self) -> None:
        """End the connection from another thread; never raises."""
        link = self._link
        if link is not None:
            with suppress(OSError):
                # Below TLS, whose own state belongs to the other thread.
                socket.socket.shutdown(link, socket.SHUT_RDWR)

    def _connect(self) -> ssl.SSLSocket:
        bare = socket.create_connection(self._place, timeout=self._timeout)
        try:
            link = self._context.wrap_socket(bare, server_hostname=self._place[0])
        except BaseException:
            bare.close()
            raise
        self._link = link
        return link

    def _require_open(self, link: ssl.SSLSocket) -> None:
        """Refuse an end that the receiver began: it answers nothing of ours."""
        link.settimeout(0)
        try:
            said = link.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        what = "says something" if said else "has closed the connection"
        raise SinkUnavailableError(f"`{self.name}` {what}")

    def _down(self, error: OSError) -> SinkUnavailableError:
        advice = ""
        if isinstance(error, ssl.SSLCertVerificationError):
            advice = "its certificate must bear its name and be signed by `ca`"
        return SinkUnavailableError(
            f"`{self.name}` does not take records: {error}", advice=advice
        )
