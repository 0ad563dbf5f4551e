"""Explicit credentials: one machine, with these and no others, until the block is left.

The client is bob here, with tickets of his own. What he shows explicitly is alice's.
"""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import gssapi
import pytest
from gssapi.raw import acquire_cred_with_password
from gssapi.raw.misc import GSSError
from tests.adapters.outbound.test_postgres import ALICE, BOB, WHO, dsn, eventually

from stead.adapters.kerberos.credentials import KerberosCredentials
from stead.adapters.outbound import by_password
from stead.authority.packages import Authenticated
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    CredentialsExpiredError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    LoopThreadError,
    NoCredentialsError,
    SteadError,
    WrongIdentityError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.limits import Host
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel

ENDED = (CredentialsExpiredError, LogonSessionEndedError)


def alices(password="alice-pw"):  # noqa: S107 - of a realm of the test's
    return PasswordCredentials("alice@STEAD.TEST", Secret(password))


def local(port):
    return Host("localhost", port)


@pytest.fixture
def bob(sessions):
    return sessions["bob"]


@pytest.fixture
def bare(server, stage):
    """A client that only showed who it is: of its own it has nothing."""
    shown = Authenticated(
        package="kerberos", issuer=stage.realm.name, name="bob",
        level=ImpersonationLevel.IMPERSONATION,
    )  # fmt: skip
    with server.admit(shown) as session:
        yield session.client


def who(reached, database):
    with reached.postgres(dsn(database)).connection() as connection:
        return connection.execute(WHO).fetchone()


def test_a_database_sees_the_explicit_account_and_the_client_as_ever(bob, database):
    target = local(database.port)
    assert BOB == who(bob, database)
    with bob.client.explicit_credentials(alices(), target=target) as shown:
        assert ALICE == who(shown, database)
        assert BOB == who(bob, database)
        assert ALICE == who(shown, database)
    assert BOB == who(bob, database)
    assert "bob@STEAD.TEST" == bob.credentials_for("kerberos").principal


def test_a_web_server_sees_the_explicit_account(bob, web):
    target = local(web.port)
    with bob.client.explicit_credentials(alices(), target=target) as shown:
        with shown.http(web.url) as http:
            assert "alice@STEAD.TEST" == http.get("/").text
        with bob.http(web.url) as http:
            assert "bob@STEAD.TEST" == http.get("/").text
    assert 2 == len(web.peers)


def test_a_service_sees_the_explicit_account(bare, stage):
    acceptor = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{stage.web}"})
    with bare.explicit_credentials(alices(), target=local(389)) as shown:
        with shown.gss("HTTP@localhost") as context:
            theirs = gssapi.SecurityContext(creds=acceptor, usage="accept")
            context.step(theirs.step(context.step()))
            assert context.is_complete
        assert "alice@STEAD.TEST" == str(theirs.initiator_name)
    with pytest.raises(ENDED):
        context.wrap(b"late")


def test_a_wrong_password_is_shown_once_and_locks_nobody(sessions, stage, web):
    """A realm locks whoever is guessed at; and each request would be a guess."""
    most = 3
    stage.realm._administer(f"addpol -maxfailure {most} -lockoutduration 1h strict")
    for name in ("naive", "ours"):
        stage.realm.add_principal(name, "right", options="-policy strict")
    kerberos = [gssapi.MechType.kerberos]

    def tickets(name, password):
        who = gssapi.Name(f"{name}@STEAD.TEST", gssapi.NameType.kerberos_principal)
        shown = acquire_cred_with_password(
            who, password.encode(), usage="initiate", mechs=kerberos
        )
        KerberosCredentials.keep(gssapi.Credentials(shown.creds)).close()

    for _ in range(most):
        with pytest.raises(GSSError):
            tickets("naive", "wrong")
    with pytest.raises(GSSError):
        tickets("naive", "right")  # it is locked

    wrong = PasswordCredentials("ours@STEAD.TEST", Secret("wrong"))
    with sessions["bob"].client.with_new_credentials(wrong) as session:
        http = session.http(web.url)
        for _ in range(most + 1):
            with pytest.raises(NoCredentialsError, match="the password is wrong"):
                http.get("/")
    tickets("ours", "right")
    assert [] == web.seen


def test_a_realm_of_short_tickets_is_not_asked_at_each_request(bob, stage, monkeypatch):
    """They never last until the moment at which others are renewed."""
    stage.realm.add_principal(
        "shortlived", "shortlived-pw", options='-maxlife "100 seconds"'
    )
    asked, ask = [], by_password._asked

    def counted(held):
        asked.append(held.principal)
        return ask(held)

    monkeypatch.setattr(by_password, "_asked", counted)

    def requests():
        del asked[:]
        brief = PasswordCredentials("shortlived@STEAD.TEST", Secret("shortlived-pw"))
        with bob.client.explicit_credentials(brief, target=local(389)) as shown:
            for _ in range(3):
                with shown.gss("HTTP@localhost") as context:
                    assert context.step()
        return len(asked)

    with monkeypatch.context() as patch:
        patch.setattr(by_password, "_due", lambda ends, renewed_at: ends - renewed_at)
        assert 3 == requests()
    assert 1 == requests()
    now = time.time()
    assert now + 36_000 - 180 == pytest.approx(
        by_password._due(now + 36_000, 180.0), abs=1
    )


def test_who_has_nothing_to_show_goes_by_what_is_explicit_alone(bare, database):
    with bare.explicit_credentials(alices(), target=local(database.port)) as shown:
        assert ALICE == who(shown, database)
        with pytest.raises(NoCredentialsError, match="has no credentials"):
            bare.postgres(dsn(database))


def test_each_use_is_recorded_before_beside_the_credentials(bob, database, server):
    with bob.client.explicit_credentials(
        alices(), target=local(database.port)
    ) as shown:
        who(shown, database)
        who(shown, database)
    events = {AuditEvent.EXPLICIT_CREDENTIALS, AuditEvent.DELEGATED}
    found = [
        record for _, record in server.trail.find(Query()) if record.event in events
    ]
    place = f"localhost:{database.port}"
    first, *others = sorted(found, key=lambda record: record.time)
    assert (AuditEvent.EXPLICIT_CREDENTIALS, "alice@STEAD.TEST", place) == (
        first.event, first.object_name, first.detail["target server"]
    )  # fmt: skip
    assert [("bob", f"postgres://{place}", Outcome.SUCCESS)] * 2 == [
        (record.client.name, record.object_name, record.outcome) for record in others
    ]


@pytest.mark.bypasses_the_law  # what fails here is the record itself
def test_what_cannot_be_recorded_does_not_go_out(bob, web, server):
    target = local(web.port)
    with (
        bob.client.explicit_credentials(alices(), target=target) as shown,
        shown.http(web.url) as http,
    ):
        server._house.guard.recorder.sink.close()
        with pytest.raises(LedgerUnavailableError):
            http.get("/")
    assert [] == web.seen


# --- one machine, and no other --------------------------------------------------------


@pytest.mark.parametrize("away", [("localhost", 1), ("127.0.0.1", 0)])
def test_another_host_or_port_is_refused_and_recorded(bob, web, hops, server, away):
    host, port = away[0], web.port + away[1]
    target = Host(host, port)
    with bob.client.explicit_credentials(alices(), target=target) as shown:
        for reach in (
            lambda: shown.http().get(web.url),
            lambda: shown.smb("localhost", port=web.port),
            lambda: shown.postgres(f"host=localhost port={web.port}"),
            lambda: shown.gss("HTTP@localhost", port=web.port),
        ):
            with pytest.raises(WrongIdentityError, match=f"are for `{host}:{port}`"):
                reach()
    assert [] == web.seen
    assert [Outcome.FAILURE] * 4 == [record.outcome for record in hops(server)]


def test_a_redirect_takes_them_nowhere(bob, web):
    target = local(web.port)
    elsewhere = f"http://127.0.0.1:{web.port}/"
    with (
        bob.client.explicit_credentials(alices(), target=target) as shown,
        shown.http(web.url, follow_redirects=True) as http,
        pytest.raises(NoCredentialsError, match="redirects there"),
    ):
        http.get(f"/redirect?{elsewhere}")
    assert 1 == len(web.seen)


def test_the_servers_own_policy_holds_for_them(open_server, admit, web):
    server = open_server(delegation=["https://files.example"])
    with (
        admit(server, "bob") as session,
        session.client.explicit_credentials(alices(), target=local(web.port)) as shown,
        shown.http(web.url) as http,
        pytest.raises(NoCredentialsError, match="may not reach"),
    ):
        http.get("/")
    assert [] == web.seen


def test_a_wrong_password_reaches_nobody_though_the_client_could(
    bob, web, hops, server
):
    target = local(web.port)
    with (
        bob.client.explicit_credentials(alices("wrong"), target=target) as shown,
        shown.http(web.url) as http,
        pytest.raises(NoCredentialsError, match="logs on"),
    ):
        http.get("/")
    assert [] == web.seen
    assert Outcome.FAILURE is hops(server)[-1].outcome


def test_a_name_without_a_realm_reaches_nobody(bob, database):
    held = PasswordCredentials(r"CORP\alice", Secret("alice-pw"))
    with (
        bob.client.explicit_credentials(held, target=local(database.port)) as shown,
        pytest.raises(NoCredentialsError, match="with the realm"),
    ):
        shown.postgres(dsn(database))


# --- until the block is left ----------------------------------------------------------


def backends(database):
    said = "select count(*) from pg_stat_activity where usename = 'alice'"
    return database.execute(said)


def of_blocks(client):
    """Return what blocks have open, apart from what is the session's own."""
    open_by_now = dict(client._acting.hops._reaches)
    open_by_now.pop(client.token.logon_id, None)
    return list(open_by_now.values())


def test_after_the_block_nothing_works_and_nothing_is_connected(bob, database, web):
    held = alices()
    with bob.client.explicit_credentials(held, target=local(database.port)) as shown:
        hop = shown.postgres(dsn(database))
        connection = hop.connect()
        with hop.connection():
            pass
        eventually(lambda: ["2"] == backends(database))
    assert held.is_closed
    for late in (
        lambda: shown.http(web.url),
        lambda: shown.smb("localhost"),
        lambda: shown.postgres(dsn(database)),
        lambda: shown.gss("HTTP@localhost"),
        hop.connect,
        hop.connection().__enter__,
    ):
        with pytest.raises(ENDED):
            late()
    with pytest.raises(LogonSessionEndedError, match="the block in which"):
        connection.execute("select 1")
    eventually(lambda: ["0"] == backends(database))
    eventually(lambda: not of_blocks(bob.client))
    assert BOB == who(bob, database)


def test_a_client_of_http_that_was_kept_shows_nothing_after_the_block(bob, web):
    target = local(web.port)
    with bob.client.explicit_credentials(alices(), target=target) as shown:
        http = shown.http(web.url)
        http.get("/")
    with pytest.raises(LogonSessionEndedError, match="the block in which"):
        http.get("/")
    http.close()
    assert 1 == len(web.seen)


@pytest.mark.parametrize("leave", ["block", "session"])
def test_what_is_under_way_is_cut_when_it_ends(bob, web, leave):
    failed = []

    def work(shown):
        try:
            with shown.http(web.url) as http:
                failed.append(http.get("/slow"))
        except SteadError as error:
            failed.append(error)

    target = local(web.port)
    with bob.client.explicit_credentials(alices(), target=target) as shown:
        thread = threading.Thread(target=work, args=(shown,))
        thread.start()
        assert web.arrived.wait(60)
        if leave == "session":
            bob.log_off()
            thread.join(60)
            assert not thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()
    assert [LogonSessionEndedError] == [type(error) for error in failed]


def test_a_limited_client_s_block_ends_with_its_grant(bob, web):
    target = local(web.port)
    lent = bob.client.limited(expires=timedelta(minutes=1), targets=[target])
    with lent.explicit_credentials(alices(), target=target) as shown:
        http = shown.http(web.url)
        assert "alice@STEAD.TEST" == http.get("/").text
        lent.revoke()
        with pytest.raises(ENDED):
            http.get("/")
        with pytest.raises(ENDED):
            shown.http(web.url)
    http.close()
    assert 1 == len(web.seen)


def test_a_loop_s_thread_is_sent_to_another(bob, web):
    async def work():
        with bob.client.explicit_credentials(alices(), target=local(web.port)) as shown:
            with pytest.raises(LoopThreadError):
                shown.http(web.url)
            http = await asyncio.to_thread(shown.http, web.url)
            got = await asyncio.to_thread(http.get, "/")
            http.close()
            return got.text

    assert "alice@STEAD.TEST" == asyncio.run(work())


def test_a_session_that_another_process_ends_is_seen(open_server, admit, tmp_path, web):
    server = open_server(store=tmp_path / "store.db")
    other = open_server.again(tmp_path / "store.db")
    with admit(server, "bob") as session:
        target = local(web.port)
        with session.client.explicit_credentials(alices(), target=target) as shown:
            http = shown.http(web.url)
            http.get("/")
            other.accounts.disable("bob")
            [within] = of_blocks(session.client)
            eventually(lambda: within.line.is_over)
            with pytest.raises(ENDED):
                http.get("/")
            http.close()
    assert 1 == len(web.seen)
