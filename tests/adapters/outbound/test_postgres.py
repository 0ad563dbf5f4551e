"""PostgreSQL as a client: each connection is the client's, or it is closed."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace

import asyncpg
import gssapi
import psycopg
import pytest
from cryptography import x509
from gssapi.raw.ext_krb5 import krb5_ccache_name
from tests.listening import Relay

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.outbound import gss
from stead.adapters.outbound import postgres as module
from stead.adapters.outbound.postgres_connection import Connection
from stead.errors import (
    AccessDeniedError,
    CredentialsExpiredError,
    InvalidRequestError,
    LogonSessionEndedError,
    LoopThreadError,
    NoCredentialsError,
    ServerUnavailableError,
    UnknownDatabaseError,
    WrongIdentityError,
)
from stead.model.limits import Host
from stead.testing.certificates import SERVER, Authority
from stead.testing.postgres import Postgres

WHO = "select current_user, principal from pg_stat_gssapi where pid = pg_backend_pid()"
ALICE, BOB = ("alice", "alice@STEAD.TEST"), ("bob", "bob@STEAD.TEST")


def dsn(database, **words):
    said = {
        "host": "localhost", "port": database.port, "dbname": "postgres", **words,
    }  # fmt: skip
    return " ".join(f"{name}={value}" for name, value in said.items())


def backends(database):
    """Return who has connections to the database, as it sees it."""
    said = database.execute(
        "select usename from pg_stat_activity where backend_type = 'client backend' "
        "and usename in ('alice', 'bob', 'front')"
    )
    return sorted(said)


def eventually(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never happens"
        time.sleep(0.02)


def test_a_database_takes_each_session_for_its_own_client(sessions, database, server):
    database.execute("truncate notes")
    for name, session in sessions.items():
        hop = session.postgres(dsn(database))
        for _ in range(3):
            with hop.connection() as connection:
                connection.execute("insert into notes (body) values ('mine')")
        with hop.connection() as connection:
            rows = connection.execute("select owner, count(*) from notes group by 1")
            assert [(name, 3)] == rows.fetchall()
    assert ["alice|3", "bob|3"] == database.execute(
        "select owner, count(*) from notes group by 1 order by 1"
    )


def test_connections_of_one_session_are_its_own_and_used_again(sessions, database):
    def backend(session):
        with session.postgres(dsn(database)).connection() as connection:
            return connection.info.backend_pid

    alice, bob = backend(sessions["alice"]), backend(sessions["bob"])
    assert alice != bob
    assert alice == backend(sessions["alice"])
    assert bob == backend(sessions["bob"])


def test_what_is_kept_for_a_session_is_bounded_whatever_its_requests_say(
    sessions, database, monkeypatch
):
    """Each connection string is one of its own, and each request's may have a word."""

    def backend(session, number):
        text = dsn(database, application_name=f"request-{number}")
        with session.postgres(text).connection() as connection:
            return connection.info.backend_pid

    pids = [backend(sessions["alice"], number) for number in range(12)]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MOST_IDLE", 99)  # as if bounded for each alone
        for number in range(12):
            backend(sessions["bob"], number)
    eventually(lambda: 8 == backends(database).count("alice"))
    eventually(lambda: 12 == backends(database).count("bob"))
    assert pids[-8:] == [backend(sessions["alice"], number) for number in range(4, 12)]
    assert pids[0] != backend(sessions["alice"], 0)


def test_a_connection_that_is_given_back_after_the_end_is_not_kept(sessions, database):
    hop = sessions["alice"].postgres(dsn(database))
    pool = sessions["alice"].client._hop.way().reach.postgres_pool()
    connection = hop.connect()
    pool.close()
    pool.give("a database", connection)
    assert connection.closed
    assert pool.take("a database") is None


def test_a_pool_lends_nothing_when_the_tickets_have_ended(
    server, admit, stage, database, monkeypatch
):
    """The database goes on: it asks for a ticket when somebody connects, and once."""
    cache = stage.realm.log_on("alice", "alice-pw", options="-l 150s")
    shown = gssapi.Credentials(
        usage="initiate", store={"ccache": cache}, mechs=[gssapi.MechType.kerberos]
    )
    tickets = KerberosCredentials.keep(shown)
    with admit(server, credentials=tickets) as session:
        hop = session.postgres(dsn(database))
        with hop.connection() as connection:
            assert ALICE == connection.execute(WHO).fetchone()
        # As if so much time had passed that less than a minute is left.
        monkeypatch.setattr(
            gss, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + 91 * 10**9)
        )
        # As a pool does that looks at its connections alone.
        naive = hop._pool.take(hop._conninfo)
        assert ALICE == naive.execute(WHO).fetchone()
        naive.rollback()
        hop._pool.give(hop._conninfo, naive)
        with pytest.raises(CredentialsExpiredError), hop.connection():
            pass

        async def ask():
            async with module.AsyncPostgresHop(hop).connection():
                pass

        with pytest.raises(CredentialsExpiredError):
            asyncio.run(ask())


# It is about those that nobody closes, on which the library remarks.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_of_a_connection_that_nobody_has_any_more_nothing_is_kept(sessions, database):
    hop = sessions["alice"].postgres(dsn(database))
    line = sessions["alice"].client._hop.way().line

    def kept(*, is_naive):
        for _ in range(3):
            connection = hop.connect()
            if is_naive:
                connection.forget.detach()
            del connection
        gc.collect()
        return sum(copy.fileno() >= 0 for copy in line._cuts.values())

    assert 0 == kept(is_naive=False)
    assert 3 == kept(is_naive=True)


def break_in_role(hop):
    with hop.connection() as connection:
        connection.execute("set role team")
        connection.commit()
        raise ZeroDivisionError


def test_a_role_that_was_set_is_not_handed_on(sessions, database):
    database.execute("create role team; grant team to alice")
    hop = sessions["alice"].postgres(dsn(database))
    try:
        with hop.connection() as connection:
            connection.execute("set role team")
        with hop.connection() as connection:
            connection.autocommit = True
            connection.execute("set role team")
            connection.autocommit = False
        with pytest.raises(ZeroDivisionError):
            break_in_role(hop)
        with hop.connection() as connection:
            assert ALICE == connection.execute(WHO).fetchone()
    finally:
        sessions["alice"].log_off()
        eventually(lambda: "alice" not in backends(database))
        database.execute("drop role team")


def test_what_is_reset_keeps_no_later_query_alive(sessions, database):
    """A database looks whether its client is there where it is told to, and no longer
    once that is reset; the query of a session that has ended would run on."""
    asked = "show client_connection_check_interval"
    with sessions["alice"].postgres(dsn(database)).connection() as connection:
        connection.autocommit = True
        connection.execute("discard all")
        assert ("0",) == connection.execute(asked).fetchone()
    with sessions["alice"].postgres(dsn(database)).connection() as connection:
        assert ("1s",) == connection.execute(asked).fetchone()

    async def work():
        async with await sessions["bob"].aio.postgres(dsn(database)) as hop:
            async with hop.connection() as connection:
                await connection.execute("reset all")
            async with hop.connection() as connection:
                return await (await connection.execute(asked)).fetchone()

    assert ("1s",) == asyncio.run(work())


def divide(hop, used):
    with hop.connection() as connection:
        connection.execute("insert into notes (body) values ('lost')")
        used.append(connection.info.backend_pid)
        connection.execute("select 1/0")


def test_what_fails_is_rolled_back_and_the_connection_used_again(sessions, database):
    database.execute("truncate notes")
    hop = sessions["alice"].postgres(dsn(database))
    used = []
    with pytest.raises(psycopg.errors.DivisionByZero):
        divide(hop, used)
    with hop.connection() as connection:
        assert used == [connection.info.backend_pid]
        assert [] == connection.execute("select * from notes").fetchall()


def test_what_cannot_be_committed_is_an_error_and_leaves_nothing(sessions, database):
    database.execute(
        "create table once (n int unique deferrable initially deferred);"
        "grant all on once to alice"
    )
    hop = sessions["alice"].postgres(dsn(database))
    with pytest.raises(psycopg.errors.UniqueViolation):
        twice(hop)
    with hop.connection() as connection:
        assert [] == connection.execute("select * from once").fetchall()
    # What failed and was caught is rolled back, as `commit` does.
    with hop.connection() as connection:
        connection.execute("insert into once values (1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1/0")
    with hop.connection() as connection:
        assert [] == connection.execute("select * from once").fetchall()
    sessions["alice"].log_off()
    database.execute("drop table once")


def twice(hop):
    with hop.connection() as connection:
        connection.execute("insert into once values (1), (1)")


# --- traps --------------------------------------------------------------------------


def test_trap_2_a_library_with_its_own_kerberos_is_refused(stage, database, tmp_path):
    """`psycopg-binary` does not see the thread's ticket, and shows the server's."""
    database.execute(
        'do $$ begin create role "HTTP/front.stead.test" login; '
        "exception when duplicate_object then null; end $$"
    )
    cache = stage.realm.log_on("alice", "alice-pw")
    # The naive way works in a test: there is one ticket, and it is alice's. On a server
    # it is the server's own that lies about, and the database takes it.
    naive = f"""
import psycopg
from gssapi.raw.ext_krb5 import krb5_ccache_name
krb5_ccache_name({cache.encode()!r})
role = "HTTP/front.stead.test"
with psycopg.connect({dsn(database)!r} + " gssencmode=disable user=" + role) as made:
    print(psycopg.pq.__impl__, made.execute({WHO!r}).fetchone()[1])
"""
    ours = """
from stead.adapters.outbound.libpq import require_shared_kerberos
from stead.errors import EnforcementUnavailableError
try:
    require_shared_kerberos()
except EnforcementUnavailableError as error:
    print(error, error.advice)
"""
    environment = dict(os.environ, PSYCOPG_IMPL="binary", PGPASSWORD="")
    environment["KRB5CCNAME"] = own_cache(stage, tmp_path)

    def run(code):
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, text=True,
            capture_output=True, check=True,
        ).stdout  # fmt: skip

    assert "binary HTTP/front.stead.test@STEAD.TEST\n" == run(naive)
    refusal = run(ours)
    assert "would show the server's" in refusal
    assert "psycopg[c]" in refusal


def test_what_a_newer_libpq_takes_is_not_said_unless_it_is_known_here():
    """One that is loaded tomorrow knows words that no list of today's refuses."""
    naive = {
        "password", "passfile", "service", "sslcert", "sslkey", "sslpassword",
        "gsslib", "replication", "options", "hostaddr", "gssdelegation",
    }  # fmt: skip
    code = f"""
from psycopg import pq
from stead.adapters.outbound.libpq import parameters
from stead.errors import InvalidRequestError
assert pq.version() >= 180000
words = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
let = []
for word in words:
    try:
        parameters("host=localhost port=1 krbsrvname=postgres " + word + "=1")
        let.append(word)
    except InvalidRequestError as error:
        if "is not said" not in str(error):
            let.append(word)
print(*sorted(set(words) - {naive!r} - set(let)))
print(*sorted(set(let) & {naive!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ, PSYCOPG_IMPL="binary"),
        text=True, check=True, capture_output=True,
    )  # fmt: skip
    more, less = done.stdout.split("\n")[:2]
    assert {"sslkeylogfile", "scram_client_key", "oauth_client_secret"} <= set(
        more.split()
    )
    assert "" == less


def test_a_connection_string_that_is_none_is_quoted_nowhere(sessions):
    said = "host=localhost hunter2"
    with pytest.raises(psycopg.ProgrammingError, match="hunter2"):
        psycopg.conninfo.conninfo_to_dict(said)
    with pytest.raises(InvalidRequestError) as caught:
        sessions["alice"].postgres(said)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_a_connection_string_takes_no_ticket_to_whom_nobody_named(
    open_server, admit, stage
):
    """It asks for another service's ticket, and to show it at another address."""
    with listening("127.9.9.9") as (port, shown):
        words = f"host=localhost hostaddr=127.9.9.9 port={port} krbsrvname=HTTP"
        server = open_server(delegation=[f"postgres://localhost:{port}"])
        tickets = stage.tickets("alice")
        with tickets.on_this_thread(), pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{words} gssencmode=disable sslmode=disable user=alice")
        tickets.close()
        # Whoever listens there shows it to the web server, and is alice.
        keys = gssapi.Credentials(
            usage="accept", store={"keytab": f"FILE:{stage.web}"},
            mechs=[gssapi.MechType.kerberos],
        )  # fmt: skip
        there = gssapi.SecurityContext(creds=keys, usage="accept")
        there.step(shown.pop())
        assert "alice@STEAD.TEST" == str(there.initiator_name)
        with admit(server) as session:
            for said in (words, words.replace("hostaddr=127.9.9.9 ", "")):
                with pytest.raises(InvalidRequestError):
                    session.postgres(said).connect()
        assert [] == shown


@contextmanager
def listening(address):
    """A database that asks for a ticket; yields its port, and the tokens shown."""
    shown = []
    with socket.create_server((address, 0)) as server:

        def work():
            try:
                taken = server.accept()[0]
            except OSError:
                return
            with taken:
                taken.recv(4096)
                taken.sendall(b"R" + struct.pack("!II", 8, 7))  # AuthenticationGSS
                message = taken.recv(1 << 16)
                shown.append(message[5:])

        thread = threading.Thread(target=work)
        thread.start()
        yield server.getsockname()[1], shown
        server.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def test_a_query_is_cancelled_by_whoever_shows_nobody(stage, database, tmp_path):
    """From libpq 17 on, the server's own ticket would be shown to cancel a query."""
    alice = stage.realm.log_on("alice", "alice-pw")
    caches = [own_cache(stage, tmp_path, name) for name in ("naive", "ours")]
    by_socket = f"host={database.folder} port={database.port} dbname=postgres"
    code = f"""
import os, threading, time
import psycopg
from psycopg import pq
from stead.adapters.outbound.postgres_connection import Connection
assert pq.version() >= 170000
said = {dsn(database)!r} + " gssencmode=require user=alice"
announced = []
watch = psycopg.connect("{by_socket} user={database.folder.owner()}", autocommit=True)

def cancel_once_it_is_asked():
    asked = "state = 'active' and usename = 'alice' and query like '%pg_sleep(20)%'"
    while not watch.execute("select from pg_stat_activity where " + asked).fetchall():
        time.sleep(0.01)
    made.cancel_safe()

for kind, own in zip((psycopg.Connection, Connection), {caches!r}):
    os.environ["KRB5CCNAME"] = {alice!r}
    made = kind(pq.PGconn.connect(said.encode()))
    made.announce = lambda: announced.append(kind)
    assert {ALICE!r} == made.execute({WHO!r}).fetchone()
    os.environ["KRB5CCNAME"] = own
    cancel = threading.Thread(target=cancel_once_it_is_asked)
    cancel.start()
    try:
        made.execute("select pg_sleep(20)")
    except psycopg.errors.QueryCanceled:
        print("cancelled", len(announced))
    cancel.join()
    made.close()
"""
    environment = dict(os.environ, PSYCOPG_IMPL="binary", PGPASSWORD="")
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, check=True,
        capture_output=True,
    )  # fmt: skip
    assert "cancelled 0\ncancelled 1\n" == done.stdout

    def shown(cache):
        said = subprocess.run(
            ["klist", "-c", cache], capture_output=True, text=True, check=True
        )
        return "postgres/localhost" in said.stdout

    assert [True, False] == [shown(cache) for cache in caches]


def test_what_cancels_a_query_is_recorded_before(sessions, database, hops, server):
    async def ask():
        async with await sessions["alice"].aio.postgres(dsn(database)) as hop:
            async with hop.connection() as connection:
                before = len(hops(server))
                query = connection.execute("select pg_sleep(20)")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(query, 0.3)
            return before, len(hops(server))

    before, after = asyncio.run(ask())
    assert before + 1 == after


def own_cache(stage, folder, name="own"):
    """Return a cache with the server's own tickets in it."""
    cache = f"FILE:{folder}/{name}.ccache"
    gssapi.Credentials(
        name=gssapi.Name("HTTP/front.stead.test", gssapi.NameType.kerberos_principal),
        usage="initiate",
        store={"ccache": cache, "client_keytab": f"FILE:{stage.front}"},
    )
    return cache


# What the other library leaves behind when its connects fail is not ours.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_trap_3_concurrent_connects_do_not_mix(stage, sessions, database):
    """In one event loop all share one thread, and so one ticket: the last one named."""
    caches = {name: stage.realm.log_on(name, f"{name}-pw") for name in sessions}

    async def naive(name):
        krb5_ccache_name(caches[name].encode())
        try:
            connection = await asyncpg.connect(
                host="localhost", port=database.port, user=name, database="postgres",
                krbsrvname="postgres", ssl=False,
            )  # fmt: skip
        except Exception as error:
            return f"{name}: {error}"
        finally:
            krb5_ccache_name(None)
        try:
            return tuple(await connection.fetchrow(WHO))
        finally:
            await connection.close()

    async def ours(name):
        hop = await sessions[name].aio.postgres(dsn(database))
        async with hop.connection() as connection:
            return await (await connection.execute(WHO)).fetchone()

    async def all_at_once(connect):
        return await asyncio.gather(*map(connect, ["alice", "bob"] * 5))

    mixed = asyncio.run(all_at_once(naive))
    assert [ALICE, BOB] * 5 != mixed
    assert [ALICE, BOB] * 5 == asyncio.run(all_at_once(ours))


def test_threads_that_connect_at_once_do_not_mix(sessions, database):
    seen, hops = [], {n: s.postgres(dsn(database)) for n, s in sessions.items()}

    def work(name):
        for _ in range(5):
            connection = hops[name].connect()
            seen.append((name, connection.execute(WHO).fetchone()))
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in [*hops] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 30 == len(seen)
    assert {("alice", ALICE), ("bob", BOB)} == set(seen)


def test_no_authorities_of_the_servers_home_are_believed_by_a_ticket_either(
    stage, sessions, tmp_path, monkeypatch
):
    """By itself libpq believes whom a file in the server's home says."""
    homes, machines = Authority(), Authority()
    certificate = homes.issue("localhost", x509.DNSName("localhost"), use=[SERVER])
    home = tmp_path / "home"
    (home / ".postgresql").mkdir(parents=True)
    homes.anchor(home / ".postgresql" / "root.crt")
    believed = tmp_path / "machines.pem"
    machines.anchor(believed)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SSL_CERT_FILE", str(believed))
    with Postgres(
        domain=stage.realm, keytab=stage.database, certificate=certificate
    ) as there:
        there.add_role("alice")
        where = dsn(there, sslmode="verify-full", user="alice")
        tickets = stage.tickets("alice")
        with tickets.on_this_thread():
            naive = psycopg.connect(f"{where} gssencmode=disable")
        assert "alice" == naive.execute("select session_user").fetchone()[0]
        naive.close()
        tickets.close()
        with pytest.raises(ServerUnavailableError, match="certificate verify failed"):
            sessions["alice"].postgres(where).connect()
        homes.anchor(believed)
        with sessions["alice"].postgres(where).connection() as connection:
            assert ALICE == connection.execute(WHO).fetchone()


class Between(Relay):
    """Whoever stands between us and the database, and has us ask something else."""

    def changed(self, content, *, is_answer):
        return content.replace(b"'her own'", b"'another'")


@pytest.fixture
def between(database):
    with Between(("127.0.0.1", database.port)) as made:
        yield made


def test_what_a_ticket_opens_is_not_left_to_who_stands_between(
    sessions, between, stage
):
    asks = "select 'her own'"
    open_to_all = dsn(between, gssencmode="disable", sslmode="disable", user="alice")
    tickets = stage.tickets("alice")
    with tickets.on_this_thread():
        naive = psycopg.connect(open_to_all)
    assert ("another",) == naive.execute(asks).fetchone()
    naive.close()
    tickets.close()
    for words in (
        {"gssencmode": "disable", "sslmode": "disable"},
        {"gssencmode": "prefer"},
        {"gssencmode": "disable", "sslmode": "require"},
    ):
        with pytest.raises(InvalidRequestError, match="whoever stands between"):
            sessions["alice"].postgres(dsn(between, **words))
    for words in ({}, {"gssencmode": "require"}):
        hop = sessions["alice"].postgres(dsn(between, **words))
        with hop.connection() as connection:
            assert ("her own",) == connection.execute(asks).fetchone()


# --- who the database takes us for ---------------------------------------------------


def test_another_role_than_the_principals_is_asked_for_in_vain(sessions, database):
    with pytest.raises(NoCredentialsError, match="refuses the client") as caught:
        sessions["alice"].postgres(dsn(database, user="bob")).connect()
    assert "double hop" in caught.value.advice
    assert caught.value.record


def asked_in_vain(session, database, kind, **words):
    with pytest.raises(kind) as caught:
        session.postgres(dsn(database, **words)).connect()
    assert "double hop" not in caught.value.advice
    return caught.value


def test_what_is_not_about_credentials_is_said_as_the_database_says_it(
    sessions, database, hops, server
):
    """The ticket was taken: who reads of the double hop looks in the wrong place."""
    alice = sessions["alice"]
    error = asked_in_vain(alice, database, UnknownDatabaseError, dbname="noets")
    assert 'database "noets" does not exist' in str(error)
    assert (1065, 1065) == (error.status, hops(server)[-1].status)
    assert error.record
    assert "noets" not in error.public
    database.execute(
        "create database closed; revoke connect on database closed from public"
    )
    try:
        error = asked_in_vain(alice, database, AccessDeniedError, dbname="closed")
        assert "User does not have CONNECT privilege" in str(error)
        database.execute("alter database closed connection limit 0")
        database.execute("grant connect on database closed to alice")
        error = asked_in_vain(alice, database, ServerUnavailableError, dbname="closed")
        assert "too many connections" in str(error)
        database.execute("alter role alice nologin")
        error = asked_in_vain(alice, database, AccessDeniedError)
        assert "not permitted to log in" in str(error)
        assert (5, 5) == (error.status, hops(server)[-1].status)
    finally:
        database.execute("alter role alice login; drop database closed")
    before = rules(database, "hostgssenc all bob 127.0.0.1/32 trust")
    try:
        error = asked_in_vain(alice, database, AccessDeniedError)
        assert "pg_hba.conf" in str(error)
    finally:
        back(database, before)


def rules(database, *lines):
    """Have the database go by other rules than tickets; return those that it had."""
    file = database.folder / "data" / "pg_hba.conf"
    before = file.read_text()
    local = before.splitlines()[0]
    file.write_text("\n".join([local, *lines, ""]))
    read_anew(database)
    return before


def back(database, before):
    (database.folder / "data" / "pg_hba.conf").write_text(before)
    read_anew(database)


def read_anew(database):
    """Have the database read its files; whoever connects from now on meets them."""
    asked = "select pg_conf_load_time()"
    before = database.execute(asked)
    database.execute("select pg_reload_conf()")
    eventually(lambda: before != database.execute(asked))


def test_a_database_that_believes_what_it_is_told_is_not_believed(
    sessions, database, hops, server
):
    before = rules(database, "hostgssenc all all 127.0.0.1/32 trust")
    try:
        naive = psycopg.connect(dsn(database, user="alice", gssencmode="require"))
        assert ("alice",) == naive.execute("select session_user").fetchone()
        naive.close()
        with pytest.raises(WrongIdentityError, match="whoever we say we are"):
            sessions["alice"].postgres(dsn(database)).connect()
    finally:
        back(database, before)
    assert WrongIdentityError.status == hops(server)[-1].status
    eventually(lambda: "alice" not in backends(database))


def test_a_database_says_who_we_are_by_its_own_words_and_not_its_owners(
    sessions, database
):
    """Its owner says where names are looked for, and may have put answers there."""
    database.execute(
        "create schema evil; grant usage on schema evil to public;"
        "create view evil.pg_stat_gssapi as select pg_backend_pid() as pid,"
        " true as gss_authenticated, 'alice@STEAD.TEST'::text as principal;"
        "grant select on evil.pg_stat_gssapi to public;"
        "alter database postgres set search_path to evil, pg_catalog"
    )
    before = rules(database, "hostgssenc all all 127.0.0.1/32 trust")
    try:
        naive = psycopg.connect(dsn(database, user="alice", gssencmode="require"))
        assert ALICE == naive.execute(WHO).fetchone()
        naive.close()
        with pytest.raises(WrongIdentityError, match="whoever we say we are"):
            sessions["alice"].postgres(dsn(database)).connect()
    finally:
        back(database, before)
        database.execute(
            "alter database postgres reset search_path; drop schema evil cascade"
        )


def test_what_a_database_says_makes_no_line_of_a_log(sessions, database, stage):
    """A role may be called anything, and an error goes where others read lines."""
    line = "x\n2026-11-27 alice was let in\x1b[2J"
    database.execute(
        f'create role "{line}"; grant "{line}" to alice; alter role alice set role to '
        f"'{line}'"
    )
    tickets = stage.tickets("alice")
    try:
        with tickets.on_this_thread():
            naive = psycopg.connect(dsn(database, user="alice", gssencmode="require"))
        said = naive.execute("select current_user").fetchone()[0]
        assert 2 == len(f"it takes us for {said}".splitlines())
        naive.close()
        with pytest.raises(WrongIdentityError, match="takes us for") as caught:
            sessions["alice"].postgres(dsn(database)).connect()
        assert str(caught.value.args[0]).isprintable()
    finally:
        tickets.close()
        database.execute(f'alter role alice reset role; drop role "{line}"')


def test_a_database_that_maps_the_client_to_another_is_not_believed(sessions, database):
    ident = database.folder / "data" / "pg_ident.conf"
    ident.write_text("all /^(.*)@STEAD.TEST$ bob\n")
    before = rules(
        database,
        "hostgssenc all all 127.0.0.1/32 gss map=all",
    )
    try:
        # What the operator's map says is the operator's to say: alice is bob here.
        hop = sessions["alice"].postgres(dsn(database, user="bob"))
        with hop.connection() as connection:
            assert ("bob", "alice@STEAD.TEST") == connection.execute(WHO).fetchone()
        # But a role that the database sets by itself is not who was asked for.
        database.execute("grant alice to bob; alter role bob set role = alice")
        with pytest.raises(WrongIdentityError, match="takes us for"):
            sessions["alice"].postgres(dsn(database, user="bob")).connect()
    finally:
        database.execute("alter role bob reset role; revoke alice from bob")
        back(database, before)


# --- the server's own identity --------------------------------------------------------


def test_nothing_is_taken_from_the_servers_surroundings(
    sessions, database, monkeypatch, tmp_path
):
    """A database that asks for a password gets none, though the server has one."""
    database.execute("create role front login password 'the servers own'")
    before = rules(
        database,
        "host all front 127.0.0.1/32 scram-sha-256",
        "hostgssenc all all 127.0.0.1/32 scram-sha-256",
    )
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:the servers own\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setenv("PGPASSWORD", "the servers own")
    monkeypatch.setenv("PGUSER", "front")
    try:
        naive = psycopg.connect(dsn(database))
        assert ("front",) == naive.execute("select session_user").fetchone()
        naive.close()
        for user in ({}, {"user": "front"}):
            with pytest.raises((NoCredentialsError, ServerUnavailableError)):
                sessions["alice"].postgres(dsn(database, **user)).connect()
    finally:
        back(database, before)
        database.execute("drop role front")


def test_a_service_in_the_servers_environment_is_refused(
    sessions, database, monkeypatch
):
    monkeypatch.setenv("PGSERVICE", "other")
    with pytest.raises(NoCredentialsError, match="PGSERVICE"):
        sessions["alice"].postgres(dsn(database))


@pytest.mark.parametrize(
    "text",
    [
        "host=localhost password=x", "host=localhost passfile=/x", "service=x",
        "host=localhost sslcert=/x", "host=localhost options='-c role=postgres'",
        "dbname=notes", "host=/run/postgresql", "host=a,b", "host=@x",
        "host=a hostaddr=127.0.0.1", "host=a port=1,2", "host=a krbsrvname=HTTP",
        "nonsense",
    ],
)  # fmt: skip
def test_what_is_no_database_to_reach_as_a_client_is_refused(sessions, text):
    with pytest.raises(InvalidRequestError):
        sessions["alice"].postgres(text)


# --- the session's end ----------------------------------------------------------------


def test_what_is_under_way_fails_when_the_session_ends(sessions, database):
    session, failed = sessions["alice"], []
    hop = session.postgres(dsn(database))
    begun = threading.Event()

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
    time.sleep(0.1)
    session.log_off()
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == [type(error) for error in failed]
    with pytest.raises(LogonSessionEndedError), hop.connection():
        raise AssertionError
    with pytest.raises(LogonSessionEndedError):
        hop.connect()
    eventually(lambda: "alice" not in backends(database))


def test_idle_connections_end_with_the_session(sessions, database):
    with sessions["alice"].postgres(dsn(database)).connection():
        pass
    own = sessions["alice"].postgres(dsn(database)).connect()
    eventually(lambda: 2 == backends(database).count("alice"))
    sessions["alice"].log_off()
    eventually(lambda: "alice" not in backends(database))
    for _ in range(2):
        with pytest.raises(LogonSessionEndedError):
            own.execute("select 1")
    own.close()


def test_what_a_connection_of_ones_own_is_asked_fails_as_in_a_pool(sessions, database):
    """psycopg by itself says that the server closed the connection, as if it had."""
    session, failed = sessions["alice"], []
    connection = session.postgres(dsn(database)).connect()
    naive = session.postgres(dsn(database)).connect()
    naive.explain = None

    def work(one):
        try:
            one.execute("select pg_sleep(20)")
        except Exception as error:
            failed.append((one, type(error)))

    async def work_async():
        async with await session.aio.postgres(dsn(database)) as hop:
            one = await hop.connect()
            asyncio.get_running_loop().call_later(0.3, session.log_off)
            for _ in range(2):
                with pytest.raises(LogonSessionEndedError):
                    await one.execute("select pg_sleep(20)")
            await one.close()

    threads = [threading.Thread(target=work, args=(o,)) for o in (connection, naive)]
    for thread in threads:
        thread.start()
    asyncio.run(work_async())
    for thread in threads:
        thread.join(60)
    said = dict(failed)
    assert LogonSessionEndedError is said[connection]
    assert issubclass(said[naive], psycopg.OperationalError)
    for one in (connection, naive):
        one.close()


def test_another_process_that_disables_the_account_ends_what_is_under_way(
    open_server, admit, database, tmp_path
):
    here = open_server(store=tmp_path / "store.db")
    session = admit(here)
    there = open_server.again(tmp_path / "store.db")
    failed = []

    def work():
        try:
            with session.postgres(dsn(database)).connection() as connection:
                connection.execute("select pg_sleep(20)")
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: "alice" in backends(database))
    there.accounts.disable("alice")
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == [type(error) for error in failed]


# --- who may --------------------------------------------------------------------------


def test_the_policy_names_what_may_be_reached(open_server, admit, database):
    server = open_server(delegation=[f"postgres://localhost:{database.port}"])
    session = admit(server)
    with session.postgres(dsn(database)).connection() as connection:
        assert ALICE == connection.execute(WHO).fetchone()
    with pytest.raises(NoCredentialsError, match="may not reach") as caught:
        session.postgres("host=other.example")
    assert f"postgres://localhost:{database.port}" in caught.value.advice


def test_a_limited_client_reaches_the_hosts_that_are_named(sessions, database):
    client = sessions["alice"].client
    minute = timedelta(minutes=1)
    named = Host("localhost", database.port)
    with client.limited(expires=minute, targets=[named]) as lent:
        with lent.postgres(dsn(database)).connection() as connection:
            assert ALICE == connection.execute(WHO).fetchone()
        hop = lent.postgres(dsn(database))
    with pytest.raises(LogonSessionEndedError), hop.connection():
        raise AssertionError
    with client.limited(expires=minute) as lent, pytest.raises(AccessDeniedError):
        lent.postgres(dsn(database))


def test_it_waits_so_a_loops_thread_is_refused(sessions, database):
    hop = sessions["alice"].postgres(dsn(database))

    async def connect():
        with pytest.raises(LoopThreadError):
            hop.connect()
        with pytest.raises(LoopThreadError), hop.connection():
            raise AssertionError
        with pytest.raises(LoopThreadError, match=r"aio\.postgres"):
            sessions["alice"].postgres(dsn(database))

    asyncio.run(connect())
    with sessions["alice"].impersonate(), pytest.raises(InvalidRequestError):
        hop.connect()


def wait_until_connected():
    for thread in threading.enumerate():
        if thread.name == "stead-postgres":
            thread.join(60)


def forget(held):
    held.clear()
    gc.collect()


def test_a_task_that_is_cancelled_leaves_no_connection(sessions, database):
    async def give_up():
        async with await sessions["alice"].aio.postgres(dsn(database)) as hop:
            task = asyncio.ensure_future(hop.connect())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(give_up())
    wait_until_connected()  # before, there is nothing to be left
    assert sessions["alice"].client._hop.way().line.is_idle
    eventually(lambda: "alice" not in backends(database))


def test_a_task_that_is_cancelled_before_its_thread_begins_leaves_none_either(
    sessions, database, monkeypatch
):
    begin = threading.Event()

    class Late(threading.Thread):
        def run(self):
            assert begin.wait(60)
            super().run()

    monkeypatch.setattr(
        module, "threading", SimpleNamespace(Thread=Late, Lock=threading.Lock)
    )
    hop = sessions["alice"].postgres(dsn(database))
    connecting = hop.connecting(Connection)
    # Cancelled, it would hand what is connected to nobody, who cannot close it.
    assert not connecting.cancel()
    begin.set()
    connection = connecting.result(60)
    way = sessions["alice"].client._hop.way()
    assert not way.line.is_idle
    connection.close()
    assert way.line.is_idle


def test_who_is_interrupted_while_it_connects_leaves_no_connection(sessions, database):
    hop = sessions["alice"].postgres(dsn(database))
    line = sessions["alice"].client._hop.way().line
    waited_for = [hop.connecting(Connection)]
    wait_until_connected()
    assert not line.is_idle
    with pytest.warns(ResourceWarning, match="still open"):
        forget(waited_for)
    assert line.is_idle
    eventually(lambda: "alice" not in backends(database))


def test_asyncio_lends_connections_as_threads_do(sessions, database):
    async def work():
        async with await sessions["alice"].aio.postgres(dsn(database)) as hop:
            pids = set()
            for _ in range(2):
                async with hop.connection() as connection:
                    await connection.execute("set application_name to notes")
                    pids.add(connection.info.backend_pid)
            with pytest.raises(psycopg.errors.DivisionByZero):
                await divide_async(hop)
            async with hop.connection() as connection:
                pids.add(connection.info.backend_pid)
                return pids, await (await connection.execute(WHO)).fetchone()

    pids, who = asyncio.run(work())
    assert 1 == len(pids)
    assert ALICE == who


def test_asyncio_takes_few_connections_back_and_as_they_were_lent(sessions, database):
    async def lent(hop, enough):
        async with hop.connection() as connection:
            await connection.set_autocommit(True)
            await enough.wait()
            return connection

    async def work():
        enough = asyncio.Barrier(10)
        hop = await sessions["alice"].aio.postgres(dsn(database))
        used = await asyncio.gather(*(lent(hop, enough) for _ in range(10)))
        kept = [one for one in used if not one.closed]
        modes = [one.autocommit for one in kept]
        async with hop.connection() as connection:
            await hop.close()
        return modes, connection.closed

    assert ([False] * 8, True) == asyncio.run(work())


async def divide_async(hop):
    async with hop.connection() as connection:
        await connection.execute("select 1/0")


def test_a_forked_process_has_no_part_in_connections(sessions, database):
    hop = sessions["alice"].postgres(dsn(database))
    with hop.connection() as connection:
        pid = os.fork()
        if not pid:
            try:
                sessions["alice"].client._hop.way().line.end()
                hop.connect()
            except LogonSessionEndedError as error:
                os._exit(0 if "forked" in str(error) else 1)
            finally:
                os._exit(2)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        # Its end has not cut what is the parent's.
        assert ALICE == connection.execute(WHO).fetchone()


@pytest.mark.parametrize("leave", ["by its end", "by an error"])
def test_a_forked_process_that_leaves_a_block_ends_nothing_of_the_parent_s(
    sessions, database, leave
):
    """It shares the socket: the naive one commits, rolls back and closes for both."""
    parent = os.getpid()

    def forked():
        if child := os.fork():
            os.waitpid(child, 0)
        elif leave == "by an error":
            sys.exit()
        return not child

    def work(block):
        try:
            with block as connection:
                connection.execute("insert into notes (body) values ('forked')")
                if forked():
                    return
                connection.execute("insert into notes (body) values ('forked')")
        finally:
            if parent != os.getpid():
                os._exit(0)

    def written():
        return database.execute("select count(*) from notes where body = 'forked'")

    database.execute("delete from notes where body = 'forked'")
    hop = sessions["alice"].postgres(dsn(database))
    with hop.connect() as ours, pytest.raises(psycopg.OperationalError):
        work(psycopg.Connection(ours.pgconn))
    assert ["1" if leave == "by its end" else "0"] == written()
    database.execute("delete from notes where body = 'forked'")
    work(hop.connection())
    assert ["2"] == written()
    # A connection of one's own is closed by its own process, too.
    with hop.connect() as connection:
        if not (child := os.fork()):
            connection.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert ALICE == connection.execute(WHO).fetchone()
