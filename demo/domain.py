"""`make demo-domain`: one request crosses two machines, and both see the client.

A private domain controller with a file server, a private PostgreSQL and a server of
Stead's stand on loopback addresses. Clients come to the server by HTTP with tickets of
the domain, and ask it to write a report. It has no right to any file or row, and there
is no password of theirs: it reaches both as whoever asks, where the domain allows it
(constrained delegation). What is claimed is looked up where it happened: the owner of
the file at the file server, the owner of the row in the database, the hop in the trail.

Everything lies in a temporary folder and is gone afterwards. Ends with 1 if anything
is not as it is claimed. It needs root, for the domain controller.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from stead.adapters.store import Store
from stead.errors import SteadError
from stead.ledger.chain import verify
from stead.ledger.query import Query, find
from stead.model.audit_record import AuditEvent, AuditRecord
from stead.testing.domain import Domain
from stead.testing.postgres import Postgres

_FRONT: Final = Path(__file__).with_name("domain_front.py")
_LIBRARIES: Final = ("gssapi", "krb5", "smbprotocol", "psycopg", "sqlalchemy")
_PROGRAMS: Final = {"curl": "curl", "kinit": "krb5-user"}
_CURL: Final = ("curl", "-sS", "--negotiate", "-u", ":")
_CLIENTS: Final = ("alice", "bob", "protected")


@dataclass
class Claims:
    """What the demo says, and whether it is so.

    Attributes:
        false: what was claimed and is not so.
    """

    false: list[str] = field(default_factory=list)

    def that(self, what: str, *, is_so: bool) -> None:
        """Print a claim, marked."""
        print(f"  {'yes' if is_so else 'NO '}  {what}")
        if not is_so:
            self.false.append(what)


@dataclass
class Stage:
    """Where it plays."""

    domain: Domain
    database: Postgres
    folder: Path
    port: int

    def ask(self, who: str, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Have a client's own process ask the server; return status and answer."""
        cache = "MEMORY:none"
        if who != "nobody":
            cache = self.domain.log_on(who, self.domain.password_of(who))
        url = f"http://localhost:{self.port}/{path}"
        done = subprocess.run(
            [*_CURL, "-X", method, "-w", "\n%{http_code}", url],
            env={**os.environ, **self.domain.environment(cache)},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body or "{}")

    def file(self, name: str) -> Path:
        """Return a file of the file server's share."""
        return self.domain.shares["data"] / f"{name}.txt"

    def records(self) -> list[AuditRecord]:
        """Return the server's trail, verified."""
        with Store.open(self.folder / "front.db", create=False) as store:
            verify(store.ledger.entries(), store.accounts.domain().to_bytes())
            return [record for _, record in find(store.ledger, Query())]


def main() -> int:
    """Show it, and check what is shown."""
    missing = list(_missing())
    for line in missing:
        print(line, file=sys.stderr)
    if missing:
        return 1
    claims = Claims()
    try:
        with _staged() as stage:
            _introduce(stage)
            _act(stage, claims)
            _look_at_the_trail(stage, claims)
    except SteadError as error:
        print(f"the demo cannot go on: {error}", file=sys.stderr)
        return 1
    print()
    if claims.false:
        print(f"{len(claims.false)} of the claims did not hold")
        return 1
    print("all of it held")
    return 0


def _missing() -> Iterator[str]:
    """Yield what has to be installed; the fixtures say it of their own."""
    for name in _LIBRARIES:
        if importlib.util.find_spec(name) is None:
            yield f"the library `{name}` is missing: make dev"
    for name, package in _PROGRAMS.items():
        if shutil.which(name) is None:
            yield f"the program `{name}` is missing: apt-get install {package}"


@contextmanager
def _staged() -> Iterator[Stage]:
    """Start the domain, the database and the server."""
    with ExitStack() as stack:
        print("starting a domain controller, a PostgreSQL and the server ...")
        domain = stack.enter_context(Domain())
        keys = domain.add_service("sql", Postgres.principal)
        database = stack.enter_context(Postgres(domain=domain, keytab=keys))
        for name in _CLIENTS:
            database.add_role(name)
        database.add_owned_rows("reports", _CLIENTS)
        domain.add_service_names("front", ["HTTP/localhost"])
        domain.set_delegation("front", [f"cifs/{domain.address}", Postgres.principal])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        said = _told(domain, database, folder)
        port = stack.enter_context(_front(domain, said))
        yield Stage(domain, database, folder, port)


def _told(domain: Domain, database: Postgres, folder: Path) -> dict[str, Any]:
    """Return what the server is told: no password is among it."""
    return {
        "realm": domain.name,
        "domain": str(domain.sid),
        "keytab": str(domain.export_keytab("HTTP/localhost", "front")),
        "principal": "HTTP/localhost",
        "account": f"front@{domain.name}",
        "targets": [f"cifs@{domain.address}", "postgres@localhost"],
        "files": domain.address,
        "database": database.conninfo(),
        "delegation": [
            f"smb://{domain.address}",
            f"postgres://localhost:{database.port}",
        ],
        "store": str(folder / "front.db"),
        "replays": str(folder / "replays"),
    }


@contextmanager
def _front(domain: Domain, said: dict[str, Any]) -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, str(_FRONT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **domain.environment()},
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise SteadError("the server has no input and output")
        process.stdin.write(json.dumps(said) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SteadError("the server did not start; it says why above")
        yield json.loads(line)["port"]
        process.stdin.close()
        process.wait(60)


def _introduce(stage: Stage) -> None:
    domain = stage.domain
    print(f"domain {domain.name} ({domain.sid}) at {domain.address}")
    for name in _CLIENTS:
        print(f"  {name:10} {domain.sid_of(name)}")
    allowed = domain.attributes("front", "msDS-AllowedToDelegateTo")
    print("the domain lets the server act for its clients at")
    for name in allowed["msDS-AllowedToDelegateTo"]:
        print(f"  {name}")
    print()


def _act(stage: Stage, claims: Claims) -> None:
    """Have clients ask, one after the other."""
    print("alice asks the server for a report; it writes a file and a row:")
    _have_written(stage, claims, "alice")
    print("\nbob asks for his own, in the same server, and sees his rows alone:")
    _have_written(stage, claims, "bob")
    print("\nbob asks the server for alice's file, which she keeps for herself:")
    alice = stage.domain.sid_of("alice")
    stage.domain.set_access(
        stage.file("alice-q3"), f"O:{alice}G:DUD:P(A;;FA;;;{alice})"
    )
    status, found = _shown(stage, "bob", "GET", "alice-q3")
    is_refused = status == HTTPStatus.FORBIDDEN and "text" not in found
    claims.that("the file server refuses bob", is_so=is_refused)
    _, found = _shown(stage, "alice", "GET", "alice-q3")
    is_read = found.get("text") == "report alice-q3\n"
    claims.that("and lets alice read it", is_so=is_read)
    print(
        "\nprotected, whom the domain lends to nobody, and nobody, who has no ticket:"
    )
    expected = {"protected": HTTPStatus.FORBIDDEN, "nobody": HTTPStatus.UNAUTHORIZED}
    for who, refusal in expected.items():
        status, _ = _shown(stage, who, "POST", f"{who}-q3")
        claims.that(f"{who} gets nothing done", is_so=status == refusal)
    rows = stage.database.execute("select owner, body from reports order by owner")
    two = ["alice|alice-q3", "bob|bob-q3"]
    claims.that("two rows are there, and no more", is_so=rows == two)


def _shown(
    stage: Stage, who: str, method: str, path: str
) -> tuple[int, dict[str, Any]]:
    """Ask as a client, and print what it hears."""
    status, found = stage.ask(who, method, path)
    print(f"  {who}: {status} {json.dumps(found)}")
    return status, found


def _have_written(stage: Stage, claims: Claims, who: str) -> None:
    """Have a report written; look up, at both machines, whose file and row are."""
    name, domain = f"{who}-q3", stage.domain
    _, found = _shown(stage, who, "POST", name)
    file = stage.file(name)
    owner = domain.owner_of(file) if file.exists() else None
    claims.that(f"{who} owns the file ({owner})", is_so=owner == domain.sid_of(who))
    owners = stage.database.execute(f"select owner from reports where body = '{name}'")
    claims.that(f"{who} owns the row", is_so=owners == [who])
    is_seen = found.get("principal") == f"{who}@{domain.name}"
    claims.that(f"the database saw {who}@{domain.name}", is_so=is_seen)
    is_alone = found.get("rows") == [[who, name]]
    claims.that(f"and {who} saw no row of another's", is_so=is_alone)


def _look_at_the_trail(stage: Stage, claims: Claims) -> None:
    """Print who logged on and went on to where, as the trail has it, and check it."""
    print("\nthe trail, verified; the logons and hops in it:")
    wanted = (AuditEvent.LOGON, AuditEvent.LOGON_FAILED, AuditEvent.DELEGATED)
    records = [record for record in stage.records() if record.event in wanted]
    for record in records:
        event, how = record.event.name.lower(), record.outcome.value
        client = "-" if record.client is None else record.client.name
        said = f"{event:13} {how:8} client {client:24} server {record.server.name}"
        print(f"  {said}  {record.object_name or ''}".rstrip())
        for reason in record.reasons:
            print(f"      {reason}")
    for who in ("alice", "bob"):
        client = f"{who}@{stage.domain.name}"
        hops = {record.object_name for record in records if _is_hop_of(record, client)}
        is_so = hops == {f"smb://{stage.domain.address}:445",
                         f"postgres://localhost:{stage.database.port}"}  # fmt: skip
        claims.that(f"it names {who}, the server and both hops", is_so=is_so)


def _is_hop_of(record: AuditRecord, client: str) -> bool:
    return (
        record.event is AuditEvent.DELEGATED
        and record.outcome.value == "success"
        and record.client is not None
        and record.client.name == client
        and record.server.name == "front"
    )


if __name__ == "__main__":
    sys.exit(main())
