"""Each connection that is made as a client has its record before, and a request none.

The law of the trail watches all of it (`stead.testing.law_of_hops`); below, adapters
that are made naive are found by it.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.adapters.outbound.test_explicit import alices, local
from tests.adapters.outbound.test_postgres import ALICE, WHO, dsn, eventually

from stead.adapters.outbound import passage
from stead.adapters.outbound.libpq_asking import is_idle
from stead.errors import LedgerUnavailableError, NoCredentialsError
from stead.server.network_credentials import NetworkCredentials
from stead.server.way_out import Way

bypasses_the_law = pytest.mark.bypasses_the_law
CLOSE = {"Connection": "close"}


def who(hop):
    with hop.connection() as connection:
        return connection.execute(WHO).fetchone()


def end_backends(database):
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'"
    )


def test_an_http_connection_is_recorded_and_a_pooled_request_is_not(
    sessions, web, hops, server
):
    with sessions["alice"].http(web.url) as http:
        for headers in ({}, {}, CLOSE, {}, {}, CLOSE, {}):
            assert "alice@STEAD.TEST" == http.get("/", headers=headers).text
    assert 3 == len(web.peers) == len(hops(server))
    assert {"kerberos"} == {record.detail["mechanism"] for record in hops(server)}


def test_requests_at_once_have_a_record_for_each_connection(
    sessions, web, hops, server
):
    with sessions["alice"].http(web.url) as http, ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(http.get, "/slow") for _ in range(6)]
        eventually(lambda: len(web.peers) > 1)  # nobody's is free for another yet
        web.go_on.set()
        assert {"alice@STEAD.TEST"} == {each.result().text for each in waiting}
    assert 1 < len(web.peers) <= len(hops(server))


def test_asyncio_s_connections_are_recorded_as_well(sessions, web, hops, server):
    async def ask():
        async with await sessions["alice"].aio.http(web.url) as http:
            for headers in ({}, CLOSE, {}, {}):
                await http.get("/", headers=headers)

    asyncio.run(ask())
    assert 2 == len(web.peers) == len(hops(server))


def test_a_database_connection_is_recorded_and_a_pooled_one_is_not(
    sessions, database, hops, server
):
    hop = sessions["alice"].postgres(dsn(database))
    assert [ALICE] * 3 == [who(hop) for _ in range(3)]
    assert 1 == len(hops(server))
    end_backends(database)
    (idle,) = hop._pool._idle.values()
    eventually(lambda: not is_idle(idle[0].pgconn))
    assert ALICE == who(hop)  # what was lost is not lent again
    assert 2 == len(hops(server))
    for _ in range(2):
        hop.connect().close()
    assert 4 == len(hops(server))
    assert {"kerberos"} == {record.detail["mechanism"] for record in hops(server)}


def test_what_cannot_be_recorded_is_not_connected_again(sessions, database, server):
    hop = sessions["alice"].postgres(dsn(database))
    assert ALICE == who(hop)
    server._house.guard.sink.close()
    assert ALICE == who(hop)  # nothing new goes out
    with pytest.raises(LedgerUnavailableError):
        hop.connect()
    end_backends(database)


# --- naive ones are found -------------------------------------------------------------


@pytest.fixture
def forgetful(monkeypatch):
    """Adapters that say once for each object that it reaches a service, as they did."""
    monkeypatch.setattr(passage.Use, "connecting", lambda _use: None)


@bypasses_the_law
def test_a_pool_that_connects_again_unrecorded_is_found(
    sessions, web, database, law, forgetful
):
    with sessions["alice"].http(web.url) as http:
        http.get("/", headers=CLOSE)
        assert [] == law.take()
        http.get("/")
    assert [f"port {web.port}"] == [where(breach) for breach in law.take()]
    hop = sessions["bob"].postgres(dsn(database))
    hop.connect().close()
    assert [] == law.take()
    hop.connect().close()
    assert [f"port {database.port}"] == [where(breach) for breach in law.take()]


@bypasses_the_law
def test_a_loop_that_connects_again_unrecorded_is_found(sessions, web, law, forgetful):
    async def ask():
        async with await sessions["alice"].aio.http(web.url) as http:
            await http.get("/", headers=CLOSE)
            assert [] == law.take()
            await http.get("/")

    asyncio.run(ask())
    assert [f"port {web.port}"] == [where(breach) for breach in law.take()]


def where(breach):
    assert breach.endswith("and no durable DELEGATED announced it")
    return breach.partition("connected to ")[2].partition(",")[0]


@bypasses_the_law
def test_a_connect_before_its_record_is_found(sessions, web, law, monkeypatch):
    begin = Way.begin

    # It is compiled as a part of `stead.server.way_out`, as its author would write it.
    planted = compile(
        "def early(way, target, *how):\n"
        "    socket.create_connection((target.host, target.port)).close()\n"
        "    begin(way, target, *how)\n",
        Way.begin.__code__.co_filename, "exec",
    )  # fmt: skip
    names = {"socket": socket, "begin": begin, "__name__": Way.__module__}
    exec(planted, names)  # noqa: S102 - written above
    monkeypatch.setattr(Way, "begin", names["early"])
    with sessions["alice"].http(web.url) as http:
        assert "alice@STEAD.TEST" == http.get("/").text
    (breach,) = law.take()
    assert breach.startswith(
        f"stead.server.way_out connects to ('localhost', {web.port}"
    )


@bypasses_the_law
def test_a_socket_that_is_made_by_hand_is_found(sessions, web, law, monkeypatch):
    with sessions["bob"].http(web.url) as http:
        http.get("/")
    line = (
        sessions["alice"]
        .client._acting.hops.reach_of(sessions["alice"].client.token)
        .line
    )
    assert [] == law.take()
    with socket.socket() as made:
        made.connect(("127.0.0.1", web.port))
        line.keep(made)
    assert [f"port {web.port}"] == [where(breach) for breach in law.take()]


@bypasses_the_law
@pytest.mark.parametrize("verb", ["gss", "http", "postgres"])
def test_tickets_that_are_shown_unrecorded_are_found(
    sessions, web, database, law, monkeypatch, verb
):
    monkeypatch.setattr(Way, "begin", lambda *_: None)
    alice = sessions["alice"]
    if verb == "gss":
        alice.gss("HTTP@localhost").step()
    elif verb == "http":
        alice.http(web.url).get("/")
    else:
        alice.postgres(dsn(database)).connect().close()
    assert any(
        breach.startswith("`initiate` of") and "@localhost" in breach
        for breach in law.take()
    )


@bypasses_the_law
def test_a_record_of_another_client_s_or_host_s_announces_nothing(
    sessions, web, law, monkeypatch
):
    with sessions["bob"].http(web.url) as http:
        http.get("/")
    assert [] == law.take()
    monkeypatch.setattr(Way, "begin", lambda *_: None)
    with sessions["alice"].http(web.url) as http:
        http.get("/")
    assert 2 == len(law.take())  # her ticket, and her connection
    sessions["bob"].gss("HTTP@127.0.0.1").step()
    assert 1 == len(law.take())


@bypasses_the_law
def test_a_password_that_is_shown_unrecorded_is_found(
    sessions, database, law, monkeypatch
):
    target = local(database.port)
    bob = sessions["bob"].client
    with bob.explicit_credentials(alices(), target=target) as shown:
        shown.postgres(dsn(database)).connect().close()
    assert [] == law.take()
    carol = sessions["alice"].client
    monkeypatch.setattr(NetworkCredentials, "_record_use", lambda *_: None)
    monkeypatch.setattr(Way, "begin", lambda *_: None)
    with carol.explicit_credentials(alices(), target=target) as shown:
        shown.postgres(dsn(database)).connect().close()
    found = law.take()
    assert found[0].startswith("`revealed` of")
    assert "DELEGATED or EXPLICIT_CREDENTIALS" in found[0]


def test_what_a_program_shows_by_itself_is_its_own(sessions, law):
    held = sessions["alice"].credentials_for("kerberos")
    held.initiate("HTTP@localhost").step()
    assert [] == law.take()


def test_the_law_refuses_nothing_that_is_refused(sessions, web, law):
    client = sessions["alice"].client
    target = local(web.port)
    with (
        client.explicit_credentials(alices("wrong"), target=target) as shown,
        shown.http(web.url) as http,
        pytest.raises(NoCredentialsError),
    ):
        http.get("/")
    assert [] == law.take()
