"""The server of `make demo-domain`: it keeps nothing, and reaches all as its clients.

It is told of its surroundings by a line of JSON on standard input, says on standard
output where it listens, and ends with its input. Clients come by HTTP and show tickets
(Negotiate). For each of them it writes a report to a file server and to a database,
neither of which knows this server: both see the client.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from stead import ProtectedServer
from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.kerberos.proof import TrustedRealm
from stead.adapters.kerberos.service import KerberosService
from stead.authority.issuers import Issuer
from stead.errors import SteadError
from stead.gates.negotiate import session_of
from stead.gates.negotiate_wsgi import NegotiateWsgiMiddleware
from stead.gates.wsgi import Environ, StartResponse, WsgiApp
from stead.model.sid import Sid
from stead.server.enforcement import Enforcement

_WHO: Final = "select principal from pg_stat_gssapi where pid = pg_backend_pid()"


class Listener(ThreadingMixIn, WSGIServer):
    """The standard library's server, a thread for each connection."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Says nothing of requests: the trail does."""

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the input ends."""
    said = json.loads(sys.stdin.readline())
    with opened(said) as server:
        app = NegotiateWsgiMiddleware(
            application(said),
            begin=partial(server.begin_logon, "negotiate", gate="http"),
        )
        listener = Listener(("127.0.0.1", 0), Quiet)
        listener.set_app(app)
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


def application(said: dict[str, Any]) -> WsgiApp:
    """Return what answers requests; who asks, the gate has seen to."""

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        session: Any = session_of(environ)
        act = _ACTS[environ["REQUEST_METHOD"]]
        try:
            found, status = act(session, said, environ["PATH_INFO"]), HTTPStatus.OK
        except SteadError as error:
            found, status = {"refused": error.public}, HTTPStatus.FORBIDDEN
        except PermissionError as error:  # what the file server itself says
            found, status = {"refused": error.strerror}, HTTPStatus.FORBIDDEN
        body = json.dumps({"client": session.name, **found}).encode()
        headers = [("Content-Type", "application/json"),
                   ("Content-Length", str(len(body)))]  # fmt: skip
        start_response(f"{status.value} {status.phrase}", headers)
        return [body]

    return answer


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


_ACTS: Final = {"POST": write_report, "GET": read_file}

if __name__ == "__main__":
    main()
