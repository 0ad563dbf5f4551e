"""A web server that takes Kerberos tickets, for `second_hop.py`; prints its port.

usage: hop_web.py KEYTAB
"""

from __future__ import annotations

import base64
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import gssapi


class Handler(BaseHTTPRequestHandler):
    """Answers whom it takes the client for."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys: ClassVar[gssapi.Credentials | None] = None

    def do_GET(self) -> None:
        """Check one ticket, and answer with the proof of its own key."""
        context = gssapi.SecurityContext(creds=self.keys, usage="accept")
        shown = self.headers["Authorization"].removeprefix("Negotiate ")
        proof = base64.b64encode(context.step(base64.b64decode(shown)) or b"")
        body = str(context.initiator_name).encode()
        self.send_response(200)
        self.send_header("WWW-Authenticate", f"Negotiate {proof.decode()}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(keytab: str) -> None:
    """Serve until the input ends."""
    Handler.keys = gssapi.Credentials(
        usage="accept", store={"keytab": f"FILE:{keytab}", "rcache": "none:"}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
