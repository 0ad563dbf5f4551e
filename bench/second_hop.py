"""The second hop over pooled connections, beside the bare client libraries.

Each bare one keeps its connection too, and authenticates as ours does: by a ticket for
each request of HTTP, whose answer it checks, and once for each connection elsewhere.
What ours does beside: it asks whether the session lives, takes a connection of the
session's pool, and gives it back as it was.
"""

from __future__ import annotations

import base64
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench import Bench

from stead.authority.issuers import Issuer
from stead.authority.packages import Authenticated
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import EnforcementUnavailableError
from stead.model.limits import Host
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from stead.testing.domain import Domain
from stead.testing.postgres import Postgres
from stead.testing.realm import Realm

if TYPE_CHECKING:
    from stead.adapters.kerberos.credentials import KerberosCredentials
    from stead.server.logon_session import LogonSession
    from stead.testing.tickets import TicketDomain

_LIBRARIES = ("gssapi", "krb5", "httpx", "psycopg", "smbprotocol")
_WEB = str(Path(__file__).with_name("hop_web.py"))
_MUTUAL = 0x2
_PAIRS = 20
_PASSWORD = "alice-pw"  # noqa: S105 - in a realm that lives for a minute


def measure(bench: Bench) -> None:
    """Measure HTTP and PostgreSQL in a realm, and SMB in a domain."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        bench.leave_out("the second hop", f"`{missing[0]}` is not installed")
        return
    try:
        with Realm() as realm:
            _measure_in_realm(bench, realm)
        _measure_by_password(bench)
        with Domain() as domain:
            _measure_in_domain(bench, domain)
    except EnforcementUnavailableError as error:
        bench.leave_out("the second hop", str(error))


def _measure_in_realm(bench: Bench, realm: Realm) -> None:
    realm.add_principal("alice", _PASSWORD)
    web = realm.add_service("HTTP/localhost")
    keys = realm.add_service(Postgres.principal)
    with _session(realm, _PASSWORD) as (session, tickets):
        with _serving(web) as url:
            _measure_http(bench, session, tickets, url)
        with _apart(Postgres(domain=realm, keytab=keys)) as database:
            database.add_role("alice")
            _measure_postgres(bench, session, tickets, database)


@contextmanager
def _apart(stopped: Postgres) -> Iterator[Postgres]:
    """Run a database on another processor than this thread.

    Each connection has a process of the database's. One that the kernel places with
    its client answers in half the time, and stays there: that would be measured.
    """
    with ExitStack() as stack:
        with _on_processor(-1):
            database = stack.enter_context(stopped)
        stack.enter_context(_on_processor(0))
        yield database


@contextmanager
def _on_processor(place: int) -> Iterator[None]:
    """Keep this thread, and what it starts, on one of its processors."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {sorted(usual)[place]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def _measure_in_domain(bench: Bench, domain: Domain) -> None:
    with _session(domain, domain.password_of("alice")) as (session, tickets):
        _measure_smb(bench, session, tickets, domain.address)


@contextmanager
def _session(
    domain: TicketDomain, password: str
) -> Iterator[tuple[LogonSession, KerberosCredentials]]:
    """Give a session that alice delegated her tickets to, and the same tickets bare."""
    import gssapi  # noqa: PLC0415 - an extra's, as is what follows

    from stead.adapters.kerberos.credentials import (  # noqa: PLC0415
        KerberosCredentials,
    )

    before = dict(os.environ)
    os.environ.update(domain.environment())
    try:
        cache = domain.log_on("alice", password)
        shown = gssapi.Credentials(usage="initiate", store={"ccache": cache})
        bare = KerberosCredentials.keep(shown)
        issuer = Issuer(domain.name, names_accounts=True)
        with ProtectedServer(
            "bench", enforcement=Enforcement.TOKEN, issuers=[issuer]
        ) as server:
            server.accounts.add("alice")
            client = Authenticated(
                package="kerberos", issuer=domain.name, name="alice",
                level=ImpersonationLevel.DELEGATION,
                credentials=KerberosCredentials.keep(shown),
            )  # fmt: skip
            with server.admit(client) as session:
                yield session, bare
        bare.close()
    finally:
        os.environ.clear()
        os.environ.update(before)


def _compare(
    bench: Bench,
    what: str,
    ours: Callable[[], object],
    *,
    to: tuple[str, Callable[[], object]],
) -> None:
    """Measure both in turn, one time each: a server's pace changes with its machine's.

    Another process answers, and much of the time is its own.
    """
    taken: list[list[float]] = [[], []]
    for _ in range(_PAIRS * bench.rounds):
        for act, found in zip((to[1], ours), taken, strict=True):
            began = time.perf_counter()
            act()
            found.append(time.perf_counter() - began)
    bare, own = map(statistics.median, taken)
    bench.add(what, own, to=(to[0], bare))


@contextmanager
def _serving(keytab: Path) -> Iterator[str]:
    with subprocess.Popen(
        [sys.executable, _WEB, str(keytab)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            yield f"http://localhost:{int(process.stdout.readline())}/"
        finally:
            process.terminate()


def _measure_http(
    bench: Bench, session: LogonSession, tickets: KerberosCredentials, url: str
) -> None:
    import httpx  # noqa: PLC0415 - an extra's

    def bare() -> None:
        context = tickets.initiate("HTTP@localhost")
        shown = base64.b64encode(context.step() or b"").decode()
        got = client.get(url, headers={"Authorization": f"Negotiate {shown}"})
        context.step(base64.b64decode(got.headers["WWW-Authenticate"][10:]))
        if not int(context.actual_flags) & _MUTUAL:
            raise SystemExit("the server has not shown who it is")

    with httpx.Client(trust_env=False) as client, session.http() as ours:
        _compare(bench,
            "second hop: HTTP request, pooled", lambda: ours.get(url),
            to=("httpx, a ticket each", bare),
        )  # fmt: skip


def _measure_postgres(
    bench: Bench,
    session: LogonSession,
    tickets: KerberosCredentials,
    database: Postgres,
) -> None:
    import psycopg  # noqa: PLC0415 - an extra's

    dsn = database.conninfo("alice", gssencmode="require")
    hop = session.postgres(dsn)

    def ours() -> None:
        with hop.connection() as connection:
            connection.execute("select 1").fetchone()

    with tickets.on_this_thread():
        made = psycopg.connect(dsn)

    def bare() -> None:
        made.execute("select 1").fetchone()
        made.commit()

    _compare(
        bench,
        "second hop: SQL transaction, pooled",
        ours,
        to=("psycopg, connected", bare),
    )
    made.close()

    def connect() -> None:
        hop.connect().close()

    def connect_bare() -> None:
        with tickets.on_this_thread():
            psycopg.connect(dsn).close()

    _compare(bench, "second hop: SQL connect", connect, to=("psycopg", connect_bare))


def _measure_by_password(bench: Bench) -> None:
    """Measure a database that knows the password itself, under TLS on both sides."""
    import psycopg  # noqa: PLC0415 - an extra's, as is what follows
    from cryptography import x509  # noqa: PLC0415

    from stead.testing.certificates import SERVER, Authority  # noqa: PLC0415

    authority = Authority()
    shown = authority.issue("localhost", x509.DNSName("localhost"), use=[SERVER])
    with (
        _apart(Postgres(certificate=shown)) as database,
        ProtectedServer("bench", enforcement=Enforcement.TOKEN) as server,
    ):
        database.add_role("alice", _PASSWORD)
        server.accounts.add("alice")
        client = server.client_for("alice", authenticated_by="a benchmark")
        held = PasswordCredentials("alice", Secret(_PASSWORD))
        anchor = authority.anchor(database.folder / "anchor.pem")
        anchor.chmod(0o644)
        tls = {"sslrootcert": str(anchor), "sslmode": "verify-full"}
        target = Host("localhost", database.port)
        with client.explicit_credentials(held, target=target) as reached:
            hop = reached.postgres(database.conninfo(**tls))
            dsn = database.conninfo("alice", gssencmode="disable", **tls)
            made = psycopg.connect(dsn, password=_PASSWORD)

            def ours() -> None:
                with hop.connection() as connection:
                    connection.execute("select 1").fetchone()

            def bare() -> None:
                made.execute("select 1").fetchone()
                made.commit()

            _compare(bench,
                "second hop: SQL transaction by password, pooled", ours,
                to=("psycopg, connected", bare),
            )  # fmt: skip
            made.close()
            _compare(bench,
                "second hop: SQL connect by password", lambda: hop.connect().close(),
                to=("psycopg",
                    lambda: psycopg.connect(dsn, password=_PASSWORD).close()),
            )  # fmt: skip


def _measure_smb(
    bench: Bench, session: LogonSession, tickets: KerberosCredentials, host: str
) -> None:
    import smbclient  # noqa: PLC0415 - an extra's
    import spnego  # noqa: PLC0415

    files = session.smb(host)
    with files.open("data/bench.txt", "wb") as file:
        file.write(b"x" * 1000)

    def ours() -> None:
        with files.open("data/bench.txt", "rb") as file:
            file.read()

    own: dict[str, object] = {}
    with tickets.on_this_thread() as cache:
        shown = spnego.KerberosCCache(cache, tickets.principal)
        way = {
            "username": shown, "auth_protocol": "kerberos", "connection_cache": own,
        }  # fmt: skip
        smbclient.register_session(host, **way)

    def bare() -> None:
        name = rf"\\{host}\data\bench.txt"
        with smbclient.open_file(name, "rb", share_access="rwd", **way) as file:
            file.read()

    _compare(bench,
        "second hop: SMB open, read and close, pooled", ours,
        to=("smbclient, its own pool", bare),
    )  # fmt: skip
    smbclient.reset_connection_cache(connection_cache=own)
