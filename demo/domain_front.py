"""The server of `make demo-domain`: it keeps nothing, and reaches all as its clients.

It is told of its surroundings by a line of JSON on standard input, says on standard
output where it listens, and ends with its input. Clients come by HTTP and show tickets
(Negotiate). For each of them it writes a report to a file server and to a database,
neither of which knows this server: both see the client.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from stead import ProtectedServer
from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.errors import LogonFailureError, SteadError
from stead.model.sid import Sid
from stead.server.enforcement import Enforcement
from stead.server.logon_session import LogonSession

_SCHEME: Final = "Negotiate"
_WHO: Final = "select principal from pg_stat_gssapi where pid = pg_backend_pid()"


def main() -> None:
    """Serve until the input ends."""
    said = json.loads(sys.stdin.readline())
    with opened(said) as server:
        listener = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(server, said))
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        print(json.dumps({"port": listener.server_port}), flush=True)
        sys.stdin.read()
        listener.shutdown()
        listener.server_close()


def opened(said: dict[str, Any]) -> ProtectedServer:
    """Open the server: whose clients it believes, and where it may go for them."""
    service = KerberosService(
        said["keytab"],
        said["principal"],
        realms=[TrustedRealm(name=said["realm"], requires_pac=True)],
        replay_cache=said["replays"],
    )
    package = KerberosPackage(
        service,
        targets=tuple(said["targets"]),
        account=said["account"],
    )
    return ProtectedServer(
        "front",
        said["store"],
        enforcement=Enforcement.TOKEN,
        packages=[package],
        issuers=[Issuer(said["realm"], domains=(Sid.from_string(said["domain"]),))],
        delegation=said["delegation"],
    )


def handler_for(
    server: ProtectedServer, said: dict[str, Any]
) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Write a report, as the client."""
            self._answer(write_report)

        def do_GET(self) -> None:
            """Read somebody's file, as the client."""
            self._answer(read_file)

        def _answer(self, act: Any) -> None:
            session, reply = logged_on(server, self)
            if session is None:
                self._reply(HTTPStatus.UNAUTHORIZED, {}, _SCHEME)
                return
            with session:
                try:
                    found, status = act(session, said, self.path), HTTPStatus.OK
                except SteadError as error:
                    found, status = {"refused": error.public}, HTTPStatus.FORBIDDEN
                except PermissionError as error:  # what the file server itself says
                    found, status = {"refused": error.strerror}, HTTPStatus.FORBIDDEN
            proof = base64.b64encode(reply).decode()
            self._reply(status, {"client": session.name, **found}, f"{_SCHEME} {proof}")

        def _reply(self, status: int, found: dict[str, Any], shown: str) -> None:
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("WWW-Authenticate", shown)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            """Say nothing: the trail does."""

    return Handler


def logged_on(
    server: ProtectedServer, request: BaseHTTPRequestHandler
) -> tuple[LogonSession | None, bytes]:
    """Return the session of a request's client, and what proves the server to it."""
    scheme, _, blob = request.headers.get("Authorization", "").partition(" ")
    if scheme != _SCHEME:
        return None, b""
    peer = f"127.0.0.1:{request.client_address[1]}"
    try:
        exchange = server.begin_logon("negotiate", gate="http", peer=peer)
        reply = exchange.step(base64.b64decode(blob, validate=True))
    except (LogonFailureError, ValueError):
        return None, b""
    if exchange.session is None:  # it would take more rounds than a demo has
        exchange.close()
    return exchange.session, reply


def write_report(session: Any, said: dict[str, Any], path: str) -> dict[str, Any]:
    """Write to the file server and to the database; return what both think of us."""
    name = path.strip("/")
    with session.smb(said["files"]).open(f"data/{name}.txt", "w") as file:
        file.write(f"report {name}\n")
    with session.postgres(said["database"]).connection() as connection:
        connection.execute("insert into reports (body) values (%s)", [name])
        rows = connection.execute("select owner, body from reports").fetchall()
        ((principal,),) = connection.execute(_WHO).fetchall()
    return {"rows": rows, "principal": principal}


def read_file(session: Any, said: dict[str, Any], path: str) -> dict[str, Any]:
    """Read a file of the file server's."""
    with session.smb(said["files"]).open(f"data{path}.txt", "r") as file:
        return {"text": file.read()}


if __name__ == "__main__":
    main()
