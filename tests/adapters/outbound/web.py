"""A web server that takes Kerberos tickets, and says whom it takes the client for."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import gssapi
from gssapi.raw import ChannelBindings

CHANNEL_BOUND = 0x800  # GSS_C_CHANNEL_BOUND_FLAG


class Web(ThreadingHTTPServer):
    """One server; `shown` counts requests that came with credentials, by path.

    Attributes:
        remembers: whether it takes whoever showed a ticket once for the client of all
            that comes over that connection, as some servers do (RFC 4559 5).
    """

    daemon_threads = True

    def __init__(self, keytab, *, remembers=False, tls=None, address="127.0.0.1"):
        super().__init__((address, 0), _Handler)
        self.binding = self.demanded = None
        if tls is not None:
            self.secure(*tls)
        self.acceptor = gssapi.Credentials(
            usage="accept", store={"keytab": f"FILE:{keytab}"}
        )
        self.remembers = remembers
        self.seen = []
        self.peers = set()
        self.go_on = threading.Event()
        self.arrived = threading.Event()

    @property
    def port(self):
        return self.server_address[1]

    @property
    def url(self):
        scheme = "http" if self.demanded is None else "https"
        return f"{scheme}://localhost:{self.port}"

    def secure(self, certificate, key):
        """Speak TLS, and demand that tickets are bound to it (RFC 5929)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        binary = ssl.PEM_cert_to_DER_cert(certificate.read_text().split("\n\n")[0])
        digest = hashlib.sha256(binary).digest()
        self.demanded = b"tls-server-end-point:" + digest
        self.binding = ChannelBindings(application_data=self.demanded)


@contextmanager
def serving(keytab, **parts):
    with Web(keytab, **parts) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield web
        finally:
            web.go_on.set()
            web.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    known = None
    proof = b""

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, argument = self.path.partition("?")
        shown = self.headers.get("Authorization", "")
        self.server.seen.append((path, shown))
        self.server.peers.add(self.client_address)
        if path == "/basic":
            self.answer(401, b"", [("WWW-Authenticate", 'Basic realm="files"')])
        elif path == "/redirect":
            who = self.client(shown)
            self.answer(302, who or b"", [("Location", argument), *self.proven()])
        elif path == "/shown":
            self.answer(200, shown.encode(), [])
        elif path == "/sent":
            self.answer(302, b"", [("Location", argument)])
        elif path == "/unproven":
            self.answer(200, b"whoever", [])
        elif path == "/forged":
            forged = base64.b64encode(b"whoever").decode()
            self.answer(200, b"", [("WWW-Authenticate", f"Negotiate {forged}")])
        elif path == "/slow":
            self.server.arrived.set()
            self.server.go_on.wait(60)
            self.answer(200, self.client(shown) or b"nobody", self.proven())
        elif path == "/split":
            self.split(self.client(shown) or b"nobody", argument)
        elif path == "/long":
            self.long(shown)
        else:
            self.who(shown)

    do_POST = do_GET  # noqa: N815 - its base class finds it by this name

    def who(self, shown):
        who = self.client(shown)
        if who is None:
            self.answer(401, b"", [("WWW-Authenticate", "Negotiate")])
        else:
            self.answer(200, who, self.proven())

    def client(self, shown):
        """Return whom the client is taken for."""
        if not shown.lower().startswith("negotiate "):
            return self.known
        context = gssapi.SecurityContext(
            creds=self.server.acceptor, usage="accept",
            channel_bindings=self.server.binding,
        )  # fmt: skip
        self.proof = context.step(base64.b64decode(shown[10:])) or b""
        who = str(context.initiator_name).encode()
        if self.server.demanded and not int(context.actual_flags) & CHANNEL_BOUND:
            who = b"unbound"
        if self.server.remembers:
            self.known = who
        return who

    def proven(self):
        if not self.proof:
            return []
        blob, self.proof = base64.b64encode(self.proof).decode(), b""
        return [("WWW-Authenticate", f"Negotiate {blob}")]

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def split(self, body, beyond):
        """Have something follow an answer, as whoever can put lines into it does."""
        self.send_response(200)
        for name, value in self.proven():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
        if beyond == "record":  # of TLS, in the same segment
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            self.wfile.write(body)
            self.wfile.write(forged)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        else:
            self.wfile.write(body + forged)

    def long(self, shown):
        """Begin a body whose end is that of the connection, and wait in its midst."""
        self.client(shown)
        self.send_response(200)
        for name, value in self.proven():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"begun")
        self.server.arrived.set()
        self.server.go_on.wait(60)
        self.close_connection = True
