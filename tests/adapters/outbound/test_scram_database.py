"""PostgreSQL by a password: a proof of it goes to who was named for it, and no more.

The client is bob here, with tickets of his own that no such database takes. What he
hands in is alice's name and password, which the database knows itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from tests.adapters.outbound.false_database import (
    OFFERS,
    READY,
    FalseDatabase,
    asking,
    error,
    message,
)
from tests.adapters.outbound.test_postgres import (
    back,
    backends,
    eventually,
    read_anew,
    rules,
)
from tests.memory_dump import environment

from stead.adapters.outbound import libpq_channel
from stead.authority.packages import Authenticated
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    CredentialsExpiredError,
    EnforcementUnavailableError,
    InvalidRequestError,
    LogonSessionEndedError,
    NoCredentialsError,
    ServerUnavailableError,
    SteadError,
    WrongIdentityError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.limits import Host
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel
from stead.testing.certificates import SERVER, Authority
from stead.testing.postgres import Postgres

PASSWORD = "alice's own words"
WHO = "select session_user, ssl from pg_stat_ssl where pid = pg_backend_pid()"
LATER = timedelta(minutes=1)
ENDED = (CredentialsExpiredError, LogonSessionEndedError)


@pytest.fixture(scope="session")
def authority():
    return Authority()


@pytest.fixture(scope="session")
def certificate(authority):
    return authority.issue("localhost", x509.DNSName("localhost"), use=[SERVER])


@pytest.fixture(scope="session")
def database(certificate):
    """A database that knows alice and bob by passwords, and no tickets."""
    with Postgres(certificate=certificate) as made:
        for name in ("alice", "bob"):
            made.add_role(name, PASSWORD.replace("'", "''").replace("alice", name))
        made.add_role("front", "the server''s own")
        made.add_owned_rows("notes", ("alice", "bob"))
        yield made


@pytest.fixture(autouse=True)
def believed(authority, monkeypatch, tmp_path):
    """Have this machine believe the authority."""
    anchor = authority.anchor(tmp_path / "authorities.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(anchor))
    return anchor


@pytest.fixture
def bob(sessions):
    return sessions["bob"].client


def held(password=PASSWORD, name="alice"):
    return PasswordCredentials(name, Secret(password))


def dsn(port, **words):
    said = {"host": "localhost", "port": port, "dbname": "postgres", **words}
    return " ".join(f"{name}={value}" for name, value in said.items())


def explicit(client, port, **words):
    target = Host("localhost", port)
    return client.explicit_credentials(held(**words), target=target)


def who(reached, port, **words):
    with reached.postgres(dsn(port, **words)).connection() as connection:
        return connection.execute(WHO).fetchone()


def records(server, *events):
    found = [record for _, record in server.trail.find(Query())]
    return [one for one in sorted(found, key=lambda r: r.time) if one.event in events]


# --- the client, or nobody ------------------------------------------------------------


def test_a_database_that_takes_passwords_sees_the_explicit_account(bob, database):
    with explicit(bob, database.port) as shown:
        hop = shown.postgres(dsn(database.port))
        with hop.connection() as connection:
            connection.execute("insert into notes (body) values ('hers')")
            assert ("alice", True) == connection.execute(WHO).fetchone()
    assert ["alice"] == database.execute("select owner from notes where body = 'hers'")
    with pytest.raises((NoCredentialsError, ServerUnavailableError)):
        who(bob, database.port)


def test_asyncio_reaches_it_as_threads_do(open_server, admit, database):
    async def work(session):
        hop = await session.aio.postgres(dsn(database.port))
        async with hop, hop.connection() as connection:
            return await (await connection.execute(WHO)).fetchone()

    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        session.client.with_new_credentials(held()) as other,
    ):
        assert ("alice", True) == asyncio.run(work(other))


def test_it_is_recorded_before_with_target_and_mechanism(bob, database, server):
    with explicit(bob, database.port) as shown:
        who(shown, database.port)
    place = f"localhost:{database.port}"
    entered, told, gone = records(
        server, AuditEvent.EXPLICIT_CREDENTIALS, AuditEvent.DELEGATED
    )
    assert ("alice", place) == (entered.object_name, entered.detail["target server"])
    assert (AuditEvent.EXPLICIT_CREDENTIALS, "alice", place, "scram-sha-256") == (
        told.event, told.object_name, told.detail["target server"],
        told.detail["mechanism"],
    )  # fmt: skip
    assert (AuditEvent.DELEGATED, "bob", Outcome.SUCCESS) == (
        gone.event, gone.client.name, gone.outcome
    )  # fmt: skip
    assert PASSWORD not in str(records(server, *AuditEvent))


def test_a_wrong_password_reaches_nobody_and_is_recorded(bob, database, hops, server):
    with explicit(bob, database.port, password="wrong") as shown:
        hop = shown.postgres(dsn(database.port))
        with pytest.raises(NoCredentialsError, match="authentication failed") as caught:
            hop.connect()
        # Who reads of the double hop looks in the wrong place: something was shown.
        assert caught.value.advice.startswith("see the name and the password")
        eventually(lambda: "alice" not in backends(database))
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_the_servers_own_passwords_are_never_tried(
    bob, database, tmp_path, monkeypatch
):
    """They lie about in its environment and its home, where libpq looks."""
    file = tmp_path / "pgpass"
    file.write_text("*:*:*:*:the server's own\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    monkeypatch.delenv("PGPASSWORD")
    naive = psycopg.connect(dsn(database.port, gssencmode="disable"))
    assert "front" == naive.execute("select session_user").fetchone()[0]
    naive.close()
    with explicit(bob, database.port, name="front", password="wrong") as shown:
        with pytest.raises(NoCredentialsError):
            shown.postgres(dsn(database.port)).connect()
        monkeypatch.setenv("PGSERVICE", "other")
        with pytest.raises(NoCredentialsError, match="PGSERVICE"):
            shown.postgres(dsn(database.port))


@pytest.mark.parametrize(
    "words",
    [
        {"user": "bob"}, {"password": "x"}, {"passfile": "/x"}, {"service": "x"},
        {"sslmode": "require"}, {"sslmode": "prefer"}, {"sslcert": "/x"},
        {"options": "-crole=bob"}, {"hostaddr": "127.0.0.1"},
    ],
)  # fmt: skip
def test_a_connection_string_says_nothing_of_who_comes(bob, database, words):
    with explicit(bob, database.port) as shown, pytest.raises(InvalidRequestError):
        shown.postgres(dsn(database.port, **words))


@pytest.mark.parametrize("name", ["alice\0", "alice\0x", "a'b\0"])
def test_a_name_does_not_cut_off_what_libpq_is_told(bob, database, name, monkeypatch):
    """Behind it stand the host and TLS, which then come from the environment."""
    monkeypatch.setenv("PGHOST", "elsewhere.example")
    cut = psycopg.conninfo.make_conninfo("", user="alice\0x", host="db.example")
    assert b"user=alice\0" in cut.encode()
    assert not psycopg.conninfo.conninfo_to_dict(cut).get("host")
    with explicit(bob, database.port, name=name) as shown:
        with pytest.raises(InvalidRequestError, match="NUL"):
            shown.postgres(dsn(database.port))
        with pytest.raises(InvalidRequestError, match="NUL"):
            shown.postgres(dsn(database.port, application_name="x\0"))


def test_no_authorities_of_the_servers_home_are_believed(bob, database):
    with explicit(bob, database.port) as shown:
        hop = shown.postgres(dsn(database.port, sslrootcert="''"))
        assert os.environ["SSL_CERT_FILE"] in hop._conninfo
        with hop.connection() as connection:
            assert ("alice", True) == connection.execute(WHO).fetchone()


def test_a_name_of_a_domain_is_no_role(bob, database, hops, server):
    with (
        explicit(bob, database.port, name=r"CORP\alice") as shown,
        pytest.raises(NoCredentialsError, match="with the realm"),
    ):
        shown.postgres(dsn(database.port))
    assert Outcome.FAILURE is hops(server)[-1].outcome


@pytest.mark.parametrize("password", ["pässwörd\u00a0x", "\u2168", "x" * 300])
def test_every_password_is_prepared_as_the_database_does(bob, database, password):
    database.execute(f"alter role alice password '{password}'")
    try:
        with explicit(bob, database.port, password=password) as shown:
            assert "alice" == who(shown, database.port)[0]
    finally:
        said = PASSWORD.replace("'", "''")
        database.execute(f"alter role alice password '{said}'")


# --- a false database -----------------------------------------------------------------

FALSE = {
    "clear": ([asking(3)], "asks for the password itself"),
    "md5": ([asking(5, b"salt")], "asks for the password's MD5"),
    "ticket": ([asking(7)], "asks for a ticket"),
    "lets in": ([asking(0) + READY], "whoever we say we are"),
    "not bound": ([asking(10, b"SCRAM-SHA-256\0\0")], "does not offer"),
    "no proof": ([asking(10, OFFERS), FalseDatabase.first, asking(0) + READY],
                 "whoever we say we are"),
    "few rounds": ([asking(10, OFFERS), asking(11, b"r=x,s=c2FsdA==,i=1")],
                   "does not keep to SCRAM"),
    "clear, later": ([asking(10, OFFERS), FalseDatabase.first,
                      lambda it: it.final() + asking(3)], "asks for more"),
    "ticket, later": ([asking(10, OFFERS), FalseDatabase.first,
                       lambda it: it.final() + asking(7)], "asks for more"),
    "wrong order": ([asking(12, b"v=eA==")], "where 10 is due"),
    "another protocol": ([b"SSH-2.0-x\r\n" + bytes(40)], "does not keep to SCRAM"),
    "short": ([b"R" + bytes(3) + b"\6" + bytes(2)], "does not keep to SCRAM"),
    "other words": ([message(b"K", bytes(8))], "none of a logon"),
}  # fmt: skip


@pytest.mark.parametrize(("acts", "why"), FALSE.values(), ids=FALSE)
def test_who_asks_for_anything_else_gets_nothing(
    bob, certificate, tmp_path, acts, why, hops, server
):
    """Its certificate is in order: whoever owns a name has one."""
    with FalseDatabase(acts, certificate, tmp_path) as there:
        with explicit(bob, there.port, password="alice-pw") as shown:
            hop = shown.postgres(dsn(there.port))
            with pytest.raises((NoCredentialsError, WrongIdentityError), match=why):
                hop.connect()
        assert ["alice"] == there.users
        assert not [said for said in there.said if b"alice-pw" in said]
        # Nothing but SCRAM's own two messages, and those only where it asked for them.
        assert {b"", b"SC", b"c="} >= {said[5:7] for said in there.said}
    assert Outcome.FAILURE is hops(server)[-1].outcome


@pytest.mark.parametrize("acts", [[asking(3)], [asking(5, b"salt")]])
def test_the_naive_call_hands_the_password_to_whoever_asks(
    certificate, tmp_path, believed, acts
):
    with FalseDatabase(acts, certificate, tmp_path) as there:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                dsn(there.port, sslmode="verify-full", sslrootcert=believed),
                user="alice", password="alice-pw", gssencmode="disable",
            )  # fmt: skip
        eventually(lambda: there.said)
        found = there.said[0]
    assert found == message(b"p", b"alice-pw\0") or found.startswith(b"p\0\0\0(md5")


def test_a_false_database_that_asks_for_a_ticket_gets_the_naive_servers_own(
    certificate, tmp_path, believed, stage
):
    with FalseDatabase([asking(7)], certificate, tmp_path) as there:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(
                dsn(there.port, sslmode="verify-full", sslrootcert=believed),
                user="alice", password="alice-pw", gssencmode="disable",
            )  # fmt: skip
        eventually(lambda: there.said)
        assert b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02" in there.said[0]  # Kerberos


def test_a_proof_that_is_passed_on_is_good_for_nothing(bob, database, tmp_path):
    """Whoever stands between has a certificate for the name, and the real database."""
    between = Authority().issue("localhost", x509.DNSName("localhost"), use=[SERVER])
    with FalseDatabase([asking(10, OFFERS)], between, tmp_path) as there:
        with (
            explicit(bob, there.port) as shown,
            pytest.raises(ServerUnavailableError, match="certificate verify failed"),
        ):
            shown.postgres(dsn(there.port)).connect()
        assert [] == there.users == there.said


def test_nothing_that_libpq_is_told_of_passwords_matters(bob, database):
    with explicit(bob, database.port) as shown:
        words = {"channel_binding": "require", "gssencmode": "prefer"}
        assert ("alice", True) == who(shown, database.port, **words)


def test_a_role_that_the_database_makes_somebody_else_is_refused(bob, database):
    database.execute("grant bob to alice; alter role alice set role = bob")
    try:
        with (
            explicit(bob, database.port) as shown,
            pytest.raises(WrongIdentityError, match="takes us for `bob`"),
        ):
            shown.postgres(dsn(database.port)).connect()
    finally:
        database.execute("alter role alice reset role; revoke bob from alice")
    eventually(lambda: "alice" not in backends(database))


def test_a_pooler_that_works_as_somebody_else_is_refused(bob, certificate, tmp_path):
    """It knows alice's password, and has connections of another's."""
    columns = b"".join(bytes([97 + n, 0]) + struct_zero() for n in range(4))
    values = [b"false", b"", b"mallory", b"mallory"]
    row = b"".join(len(v).to_bytes(4, "big") + v for v in values)
    answer = (
        message(b"T", b"\0\4" + columns) + message(b"D", b"\0\4" + row)
        + message(b"C", b"SELECT 1\0") + message(b"Z", b"I")
    )  # fmt: skip
    acts = [
        asking(10, OFFERS), FalseDatabase.first,
        lambda it: it.final() + asking(0) + READY, answer,
    ]  # fmt: skip
    with (
        FalseDatabase(acts, certificate, tmp_path) as there,
        explicit(bob, there.port, password="alice-pw") as shown,
        pytest.raises(WrongIdentityError, match="takes us for `mallory`"),
    ):
        shown.postgres(dsn(there.port)).connect()


def struct_zero():
    """Return a column's type: text, of no table."""
    return bytes(6) + (25).to_bytes(4, "big") + b"\xff\xff" + b"\xff" * 4 + bytes(2)


def test_a_database_that_is_not_ready_is_no_refusal(bob, certificate, tmp_path):
    said = [error(b"57P03", b"the database system is starting up\x1b[31m")]
    with (
        FalseDatabase(said, certificate, tmp_path) as there,
        explicit(bob, there.port) as shown,
        pytest.raises(ServerUnavailableError, match=r"starting up\?\[31m"),
    ):
        shown.postgres(dsn(there.port)).connect()


# --- TLS, or this machine -------------------------------------------------------------


def test_without_tls_it_goes_to_this_machine_alone_and_named_so(
    open_server, admit, database, hops
):
    clear = {"sslmode": "disable"}
    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, database.port) as shown,
    ):
        assert ("alice", False) == who(shown, database.port, **clear)
        assert ("alice", True) == who(shown, database.port)
    other = open_server()
    with (
        admit(other, "bob") as session,
        explicit(session.client, database.port) as shown,
        pytest.raises(NoCredentialsError, match="without TLS") as caught,
    ):
        shown.postgres(dsn(database.port, **clear))
    assert (
        "explicit_credentials" not in caught.value.advice
    )  # they are, and do not help
    assert f"name `postgres+scram://localhost:{database.port}`" in caught.value.advice
    assert Outcome.FAILURE is hops(other)[-1].outcome


def test_no_name_helps_a_password_to_another_machine_without_tls(open_server, admit):
    away = Host("192.0.2.7", 5432)
    server = open_server(delegation=["postgres+scram://192.0.2.7"])
    with (
        admit(server, "bob") as session,
        session.client.explicit_credentials(held(), target=away) as shown,
        pytest.raises(NoCredentialsError, match="without TLS") as caught,
    ):
        shown.postgres("host=192.0.2.7 dbname=postgres sslmode=disable")
    assert caught.value.advice.startswith("have the database speak TLS")
    assert "delegation=" not in caught.value.advice


@pytest.mark.parametrize(("acts", "why"), FALSE.values(), ids=FALSE)
def test_a_false_server_on_this_machine_gets_nothing_either(
    open_server, admit, acts, why
):
    if why == "does not offer":
        acts = [asking(10, b"SCRAM-SHA-1\0\0")]
    with FalseDatabase(acts) as there:
        server = open_server(delegation=[f"postgres+scram://localhost:{there.port}"])
        with (
            admit(server, "bob") as session,
            explicit(session.client, there.port, password="alice-pw") as shown,
            pytest.raises((NoCredentialsError, WrongIdentityError), match=why),
        ):
            shown.postgres(dsn(there.port, sslmode="disable")).connect()
        assert not [said for said in there.said if b"alice-pw" in said]
        assert {b"", b"SC", b"c="} >= {said[5:7] for said in there.said}


@pytest.fixture
def by_socket(database):
    """What makes the database ask all who come by its socket for something."""
    before = rules(
        database,
        "local all bob peer map=all",
        "local all all scram-sha-256",
        "hostssl all all 127.0.0.1/32 scram-sha-256",
    )
    yield {"host": database.folder, "port": database.port, "dbname": "postgres"}
    back(database, before)


def test_a_local_socket_is_this_machine_too(open_server, admit, database, by_socket):
    said = " ".join(f"{name}={value}" for name, value in by_socket.items())
    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, database.port) as shown,
    ):
        for more in ("", " requirepeer=postgres", " sslmode=verify-full"):
            with shown.postgres(said + more).connection() as connection:
                assert ("alice", False) == connection.execute(WHO).fetchone()
        with pytest.raises(ServerUnavailableError, match="requirepeer"):
            shown.postgres(f"{said} requirepeer=nobody").connect()
        with pytest.raises(InvalidRequestError):
            shown.postgres("host=@abstract dbname=postgres")
    # A ticket's client is not known there, but for the server's own uid.
    with admit(server, "bob") as session, pytest.raises(InvalidRequestError):
        session.postgres(said)


def test_a_socket_that_asks_for_the_servers_own_uid_is_not_believed(
    open_server, admit, database, by_socket
):
    said = " ".join(f"{name}={value}" for name, value in by_socket.items())
    ident = database.folder / "data" / "pg_ident.conf"
    ident.write_text("all root bob\n")
    read_anew(database)
    naive = psycopg.connect(f"{said} user=bob", password="a wrong password")
    assert ("bob",) == naive.execute("select session_user").fetchone()
    naive.close()
    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        explicit(session.client, database.port, name="bob", password="wrong") as shown,
        pytest.raises(WrongIdentityError, match="whoever we say we are"),
    ):
        shown.postgres(said).connect()


def test_a_name_of_this_machine_that_leads_elsewhere_is_shown_nothing():
    from stead.adapters.outbound.postgres_password import _require_here
    from stead.model.delegation_policy import NetworkTarget

    to = NetworkTarget("postgres", "localhost", 5432)
    for address in ("127.0.0.1", "::1"):
        _require_here(address, to)
    with pytest.raises(WrongIdentityError, match="not this machine"):
        _require_here("192.0.2.7", to)


def test_a_database_without_tls_is_not_reached(bob, private_postgres):
    private_postgres.add_role("alice", "alice-pw")
    with (
        explicit(bob, private_postgres.port, password="alice-pw") as shown,
        pytest.raises(ServerUnavailableError, match="does not support SSL") as caught,
    ):
        shown.postgres(dsn(private_postgres.port)).connect()
    assert "does it speak TLS" in caught.value.advice


def test_a_certificate_that_nobody_here_believes_is_said_to_be_why(
    bob, database, tmp_path
):
    anchor = Authority().anchor(tmp_path / "another.pem")
    with (
        explicit(bob, database.port) as shown,
        pytest.raises(ServerUnavailableError, match="verify failed") as caught,
    ):
        shown.postgres(dsn(database.port, sslrootcert=anchor)).connect()
    assert "sslrootcert" in caught.value.advice


def test_a_machine_that_believes_nobody_reaches_nobody(bob, database, monkeypatch):
    from stead.adapters.outbound import libpq

    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setattr(libpq, "_BUNDLES", ())
    with (
        explicit(bob, database.port) as shown,
        pytest.raises(InvalidRequestError, match="sslrootcert"),
    ):
        shown.postgres(dsn(database.port))


def test_a_certificate_that_nothing_can_be_tied_to_is_refused():
    from stead.adapters.outbound.postgres_scram import end_point
    from stead.model.delegation_policy import NetworkTarget

    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([])
    import datetime as dt

    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    made = made.public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now).not_valid_after(now + dt.timedelta(1))
    from cryptography.hazmat.primitives.serialization import Encoding

    der = made.sign(key, None).public_bytes(Encoding.DER)
    with pytest.raises(NoCredentialsError, match="no channel binding is defined"):
        end_point(der, NetworkTarget("postgres", "localhost", 5432))


def test_a_libpq_whose_tls_is_not_known_is_refused(monkeypatch):
    there = libpq_channel._FUNCTIONS
    monkeypatch.setattr(libpq_channel, "_FUNCTIONS", {**there, "SSL_is_odd": (None,)})
    with pytest.raises(EnforcementUnavailableError, match="none that is known"):
        libpq_channel._library()


# --- who is named for which password --------------------------------------------------


@pytest.fixture
def own_password(open_server):
    """Return what logs alice on to a server, with the password of its own store."""

    def log_on(kind=LogonType.NETWORK_CLEARTEXT, **settings):
        server = open_server(**settings)
        server.accounts.set_password("alice", Secret(PASSWORD))
        return server, server.log_on("alice", Secret(PASSWORD), kind)

    return log_on


def test_a_password_that_was_typed_here_is_not_for_every_database(
    own_password, database, hops
):
    server, session = own_password()
    with (
        session,
        pytest.raises(NoCredentialsError, match="typed for this server") as caught,
    ):
        session.postgres(dsn(database.port))
    assert f"postgres+scram://localhost:{database.port}" in caught.value.advice
    assert "what is not named is refused then" in caught.value.advice
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_a_service_that_is_named_for_tickets_is_not_named_for_passwords(
    own_password, database
):
    _, session = own_password(delegation=[f"postgres://localhost:{database.port}"])
    with session, pytest.raises(NoCredentialsError, match="typed for this server"):
        session.postgres(dsn(database.port))


def test_where_the_operator_names_it_the_password_of_this_server_goes(
    own_password, database
):
    named = [f"postgres+scram://localhost:{database.port}"]
    server, session = own_password(delegation=named)
    with session:
        assert ("alice", True) == who(session, database.port)
        with pytest.raises(NoCredentialsError):
            session.postgres("host=other.example dbname=postgres")
    [told, gone] = records(
        server, AuditEvent.EXPLICIT_CREDENTIALS, AuditEvent.DELEGATED
    )[-3:-1]
    assert ("alice", "scram-sha-256") == (told.object_name, told.detail["mechanism"])
    assert AuditEvent.DELEGATED is gone.event


def test_new_credentials_name_no_machine_so_the_operator_does(
    open_server, admit, database
):
    for named, reaches in (
        (None, False),
        ([f"postgres://localhost:{database.port}"], False),
        ([f"postgres+scram://localhost:{database.port}"], True),
    ):
        server = open_server(delegation=named)
        with (
            admit(server, "bob") as session,
            session.client.with_new_credentials(held()) as other,
        ):
            if reaches:
                assert "alice" == who(other, database.port)[0]
                with other.client.limited(
                    expires=LATER, targets=[Host("localhost", database.port)]
                ) as lent:
                    assert "alice" == who(lent, database.port)[0]
            else:
                with pytest.raises(NoCredentialsError, match="names none"):
                    other.postgres(dsn(database.port))


def test_what_is_named_for_passwords_takes_no_tickets(open_server, admit, database):
    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        pytest.raises(NoCredentialsError, match="may not reach"),
    ):
        session.postgres(dsn(database.port))


def test_a_client_that_only_identifies_shows_no_password(open_server, stage, database):
    server = open_server()
    shown = Authenticated(
        package="kerberos", issuer=stage.realm.name, name="bob",
        level=ImpersonationLevel.IDENTIFICATION,
    )  # fmt: skip
    with server.admit(shown) as session, pytest.raises(SteadError):
        explicit(session.client, database.port).__enter__()


# --- pools, and their end -------------------------------------------------------------


def test_a_pool_is_one_blocks_and_never_another_clients(sessions, database):
    """At the far end: each backend was only ever one client's."""
    seen = {name: set() for name in sessions}
    failed = []

    def work(name):
        client = sessions[name].client
        try:
            for _ in range(2):
                words = {"name": name, "password": PASSWORD.replace("alice", name)}
                with explicit(client, database.port, **words) as shown:
                    hop = shown.postgres(dsn(database.port))
                    pids = set()
                    for _ in range(4):
                        with hop.connection() as connection:
                            said = connection.execute(WHO).fetchone()
                            assert (name, True) == said
                            pids.add(connection.info.backend_pid)
                    assert 1 == len(pids)  # it was used again
                    assert not pids & seen[name]  # and not after its block
                    seen[name] |= pids
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == failed
    assert not seen["alice"] & seen["bob"]
    eventually(lambda: [] == backends(database))


def test_two_accounts_of_one_client_have_a_pool_each(bob, database):
    words = {"name": "bob", "password": PASSWORD.replace("alice", "bob")}
    with (
        explicit(bob, database.port) as one,
        explicit(bob, database.port, **words) as other,
    ):
        for _ in range(2):
            assert "alice" == who(one, database.port)[0]
            assert "bob" == who(other, database.port)[0]
        eventually(lambda: ["alice", "bob"] == backends(database))


def wipe(credentials, session, block):
    credentials.close()


def leave(credentials, session, block):
    block.__exit__(None, None, None)


def log_off(credentials, session, block):
    session.log_off()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (wipe, CredentialsExpiredError),
        (leave, LogonSessionEndedError),
        (log_off, LogonSessionEndedError),
    ],
)
def test_what_is_under_way_is_cut_when_the_password_goes(sessions, database, end, said):
    """It hears why, however soon it sees that its connection was cut."""
    failed, begun = [], threading.Event()
    session, credentials = sessions["bob"], held()
    target = Host("localhost", database.port)
    block = session.client.explicit_credentials(credentials, target=target)
    shown = block.__enter__()
    hop = shown.postgres(dsn(database.port))
    with hop.connection():
        pass

    def work():
        try:
            with hop.connection() as connection:
                begun.set()
                connection.execute("select pg_sleep(20)")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    credentials.at_close(lambda: thread.join(60))  # it is faster than whoever wipes
    end(credentials, session, block)
    thread.join(60)
    assert not thread.is_alive()
    assert [said] == [type(error) for error in failed]
    for again in (hop.connect, hop.connection().__enter__):
        with pytest.raises(ENDED):
            again()
    eventually(lambda: "alice" not in backends(database))
    if end is not leave:
        block.__exit__(None, None, None)


def test_the_end_of_a_session_is_why_its_own_password_s_connection_was_cut(
    own_password, database
):
    failed, begun = [], threading.Event()
    named = [f"postgres+scram://localhost:{database.port}"]
    _, session = own_password(delegation=named)

    def work():
        try:
            with session.postgres(dsn(database.port)).connection() as connection:
                begun.set()
                connection.execute("select pg_sleep(20)")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(60)
    session.credentials_for("password").at_close(lambda: thread.join(60))
    session.log_off()
    thread.join(60)
    assert [LogonSessionEndedError] == [type(error) for error in failed]


def test_a_session_that_ends_while_it_connects_connects_nobody(
    sessions, certificate, tmp_path
):
    """The database takes its time; nobody waits for it in vain."""
    arrived, go_on = threading.Event(), threading.Event()

    def slow(_it):
        arrived.set()
        assert go_on.wait(60)
        return asking(10, OFFERS)

    failed = []

    def work(hop):
        try:
            hop.connect()
        except SteadError as error:
            failed.append(error)

    with FalseDatabase([slow], certificate, tmp_path) as there:
        with explicit(sessions["bob"].client, there.port) as shown:
            hop = shown.postgres(dsn(there.port))
            thread = threading.Thread(target=work, args=(hop,))
            thread.start()
            assert arrived.wait(60)
            sessions["bob"].log_off()
            thread.join(60)
            assert not thread.is_alive()
        go_on.set()
    assert [LogonSessionEndedError] == [type(error) for error in failed]


@pytest.mark.parametrize("is_clear", [False, True])
def test_who_hangs_up_is_said_to_have(
    open_server, admit, certificate, tmp_path, is_clear
):
    tls = {} if is_clear else {"certificate": certificate, "folder": tmp_path}
    words = {"sslmode": "disable"} if is_clear else {}
    with FalseDatabase([], **tls) as there:
        server = open_server(delegation=[f"postgres+scram://localhost:{there.port}"])
        with (
            admit(server, "bob") as session,
            explicit(session.client, there.port) as shown,
            pytest.raises(ServerUnavailableError, match="hangs up"),
        ):
            shown.postgres(dsn(there.port, **words)).connect()


# --- where the password is ------------------------------------------------------------

PROGRAM = """
import faulthandler, logging, os, re, sys
faulthandler.dump_traceback_later(100, exit=True)
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
import psycopg
from stead.authority.password_credentials import PasswordCredentials
from stead.model.limits import Host
from stead.server.enforcement import Enforcement
from stead.server.protected_server import ProtectedServer
from tests.memory_dump import MASK, dumped, read_masked, typed

port = int(sys.argv[1])

masked = read_masked()
dsn = f"host=localhost port={port} dbname=postgres"
with ProtectedServer("notes", enforcement=Enforcement.TOKEN) as server:
    server.accounts.add("bob")
    bob = server.client_for("bob", authenticated_by="a test")
    with typed(masked) as secret:
        held = PasswordCredentials("alice", secret)
    with bob.explicit_credentials(held, target=Host("localhost", port)) as shown:
        with shown.postgres(dsn).connection() as connection:
            who = connection.execute("select session_user").fetchone()[0]
            print(who, dumped(masked))
        told = open("/proc/self/cmdline").read() + open("/proc/self/environ").read()
        print(told.encode().translate(MASK).count(masked))
    print(dumped(masked))
naive = psycopg.connect(
    f"{dsn} sslmode=verify-full user=alice gssencmode=disable sslrootcert="
    + os.environ["SSL_CERT_FILE"],
    password=bytes(byte ^ 0x55 for byte in masked).decode(),
)
print(dumped(masked))
naive.close()
"""


def test_no_dump_of_the_server_has_the_password_while_it_is_connected(
    database, believed
):
    """libpq keeps a password for as long as a connection lives; it never has ours."""
    password = "a-long-password-7d1f3b"
    database.execute(f"create role dumped login password '{password}'")
    database.execute(f"alter role alice password '{password}'")
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(database.port)],
            input=bytes(byte ^ 0x55 for byte in password.encode()),
            capture_output=True, timeout=120, check=False,
            env=environment(),
        )  # fmt: skip
    finally:
        said = PASSWORD.replace("'", "''")
        database.execute(f"alter role alice password '{said}'; drop role dumped")
    assert 0 == done.returncode, done.stderr.decode()[-2000:]
    assert password.encode() not in done.stderr
    connected, told, ended, naive = done.stdout.decode().split("\n")[:4]
    assert ("alice 0", "0", "0") == (connected, told, ended)
    assert int(naive) > 0


@pytest.mark.parametrize("library", ["binary", "python"])
def test_it_is_the_same_with_every_build_of_the_library(database, believed, library):
    """What libpq would not see, a ticket, is not shown here: any libpq serves."""
    program = PROGRAM.partition("naive =")[0].replace(
        "print(who, dumped(masked))", "print(who, psycopg.pq.__impl__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(database.port)],
        input=bytes(byte ^ 0x55 for byte in PASSWORD.encode()),
        capture_output=True, timeout=120, check=False,
        env=environment(PSYCOPG_IMPL=library),
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr.decode()[-2000:]
    assert f"alice {library}" == done.stdout.decode().splitlines()[0]


def test_a_forked_process_that_leaves_the_block_cuts_nothing(bob, database):
    with explicit(bob, database.port) as shown:
        connection = shown.postgres(dsn(database.port)).connect()
        if not (child := os.fork()):
            shown.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert ("alice", True) == connection.execute(WHO).fetchone()
        connection.close()


def test_a_loop_goes_on_while_a_database_takes_nothing(open_server, admit, database):
    """What is sent is more than the sockets between hold, and nobody reads it."""
    query = f"select length('{'x' * 50_000_000}')"

    def goes_on(session, seconds, *, blocks):
        ticked, found = threading.Event(), []

        def until_ticked(pid):
            found.append(ticked.wait(seconds))
            os.kill(pid, signal.SIGCONT)

        async def work():
            hop = await session.aio.postgres(dsn(database.port))
            async with hop, hop.connection() as connection:
                await connection.set_autocommit(True)
                if blocks:  # as libpq is unless it is told
                    connection.pgconn.nonblocking = 0
                pid = connection.info.backend_pid
                os.kill(pid, signal.SIGSTOP)
                waiting = threading.Thread(target=until_ticked, args=(pid,))
                waiting.start()
                asked = asyncio.ensure_future(connection.execute(query))
                await asyncio.sleep(0)
                ticked.set()
                await asked
                await asyncio.to_thread(waiting.join)

        asyncio.run(work())
        return found == [True]

    server = open_server(delegation=[f"postgres+scram://localhost:{database.port}"])
    with (
        admit(server, "bob") as session,
        session.client.with_new_credentials(held()) as other,
    ):
        assert not goes_on(other, 1, blocks=True)
        assert goes_on(other, 60, blocks=False)
