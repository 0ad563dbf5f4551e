"""A small HTTPS server on the loopback, and a certificate that signs itself.

For `stead.testing.issuer`, which says what it answers.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LARGEST_FORM: Final = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """What the issuer answers to one request.

    Attributes:
        status: of HTTP.
        body: the bytes.
        headers: beside the length and the type.
        delay: seconds before it answers.
        drip: seconds between two bytes of the body.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0


Answer: TypeAlias = Callable[[str, list[tuple[str, str]], str], Reply]
"""Answers a path, a form, and what the request has as `Authorization`."""


class HttpsServer(ThreadingHTTPServer):
    """Serves each connection on a thread of its own, handshake included."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, place: tuple[str, int], answer: Answer, context: ssl.SSLContext
    ) -> None:
        """Listen.

        Args:
            place: address and port; 0 for a free one.
            answer: says what is answered.
            context: with its certificate.
        """
        self.answer = answer
        self.ends = threading.Event()
        super().__init__(place, _Connection)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    def stop(self) -> None:
        """Listen no more; who is answered late hears nothing more, either."""
        self.ends.set()
        self.shutdown()
        # Also where this process has forked: its children hold the socket too.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what some tests are about."""


class _Connection(BaseHTTPRequestHandler):
    """One connection."""

    server: HttpsServer  # pyright: ignore[reportIncompatibleVariableOverride] - it is always that
    timeout = 10.0

    def do_GET(self) -> None:
        """Answer with a document."""
        self._answer([])

    def do_POST(self) -> None:
        """Answer a form."""
        length = min(int(self.headers.get("content-length", "0")), _LARGEST_FORM)
        body = self.rfile.read(length).decode()
        self._answer(parse_qsl(body, keep_blank_values=True))

    def _answer(self, form: list[tuple[str, str]]) -> None:
        said = self.headers.get("authorization", "")
        reply = self.server.answer(self.path, form, said)
        if self.server.ends.wait(reply.delay):
            return
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not reply.drip:
            self.wfile.write(reply.body)
            return
        for byte in reply.body:
            self.wfile.write(bytes([byte]))
            if self.server.ends.wait(reply.drip):
                return

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Log nothing: tests count what was asked."""


def make_certificate(folder: Path) -> None:
    """Write a certificate for the loopback, and its key, which sign themselves."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Of its own: by one name, two of them would be taken for one authority.
    called = f"a test's issuer {secrets.token_hex(4)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called)])
    now = dt.datetime.now(dt.UTC)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "issuer.pem"
    file.touch(mode=0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
