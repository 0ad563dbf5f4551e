"""Credentials for other machines: kept, new, explicit; and where none is found."""

from __future__ import annotations

import copy
import gc
import pickle
from dataclasses import replace
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from stead.adapters.argon2 import Argon2Verifier
from stead.authority.lockout import Lockout, LockoutPolicy
from stead.authority.logon import Logon
from stead.authority.password_credentials import PasswordCredentials
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    CredentialsExpiredError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonFailureError,
    LogonSessionEndedError,
    NoCredentialsError,
    WrongIdentityError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.limits import Host
from stead.model.logon_record import LogonType
from stead.model.privilege import LogonRight
from stead.model.secret import Secret
from stead.model.token import ImpersonationLevel, TokenType
from stead.model.well_known import NETWORK
from stead.monitor.effective import effective_token
from stead.server.admission import Arrival

CLEARTEXT = LogonType.NETWORK_CLEARTEXT
ARRIVAL = Arrival("local", "uid 0", "42", "password", "itself")
FILES, OTHER = Host("files.example", 445), Host("other.example", 445)


@pytest.fixture
def door(server):
    """The server's door, with a verifier that costs little."""
    given = server._house.admission
    cheap = PasswordHasher(time_cost=1, memory_cost=16, parallelism=2)
    credentials = given.logon._passwords.credentials
    logon = Logon(
        given.store,
        credentials,
        verifier=Argon2Verifier(cheap),
        host=given.host,
        lockout=Lockout(credentials, LockoutPolicy(), given.logon.lockout.clock),
        monotonic=given.logon._monotonic,
    )
    desk = replace(server.accounts, logon=logon)
    desk.set_password("alice", Secret("correct zebra"))
    return replace(given, logon=logon, sleep=lambda _seconds: None)


@pytest.fixture
def log_on(server, door):
    def make(logon_type=CLEARTEXT):
        if logon_type in {LogonType.SERVICE, LogonType.BATCH}:
            server.accounts.grant("alice", LogonRight[logon_type.name])
        secret = Secret("correct zebra")
        return door.log_on("alice", secret, logon_type, arrival=ARRIVAL)

    return make


@pytest.fixture
def live(server):
    return server._house.guard.liveness


def corp(password="battery staple"):  # noqa: S107 - a test's own
    return PasswordCredentials(r"CORP\alice", Secret(password))


def shown(credentials):
    with credentials.revealed() as content:
        return content


# --- what a session keeps -------------------------------------------------------------


@pytest.mark.parametrize("logon_type", [
    LogonType.INTERACTIVE, LogonType.BATCH, LogonType.SERVICE, CLEARTEXT,
])  # fmt: skip
def test_a_session_keeps_the_password_it_was_opened_with(log_on, logon_type):
    with log_on(logon_type) as session:
        kept = session.credentials_for("password")
        assert ("alice", b"correct zebra") == (kept.principal, shown(kept))
        assert kept is session.require_credentials("password", seconds=86_400)
    assert kept.is_closed


def test_a_logon_from_the_network_keeps_none(log_on):
    with (
        log_on(LogonType.NETWORK) as session,
        pytest.raises(NoCredentialsError, match="has no password"),
    ):
        session.credentials_for("password")


def test_network_cleartext_is_a_primary_token_of_the_network(server, log_on):
    server.accounts.grant("alice", LogonRight.BATCH)
    with log_on() as session:
        token = session.token
        assert TokenType.PRIMARY is token.type
        assert token.group(NETWORK) is not None
        assert all(e.is_enabled for e in token.privileges)
        assert CLEARTEXT is session.record.logon_type


def test_network_cleartext_needs_the_right_to_log_on_from_the_network(server, log_on):
    server.accounts.grant("alice", LogonRight.DENY_NETWORK)
    with pytest.raises(LogonFailureError):
        log_on()
    log_on(LogonType.INTERACTIVE).close()


ENDS = {
    "closed": lambda _server, session: session.close(),
    "logged off": lambda _server, session: session.log_off(),
    "disabled": lambda server, _session: server.accounts.disable("alice"),
    "deleted": lambda server, _session: server.accounts.delete("alice"),
    "ended": lambda server, session: server.sessions.end(session.record.logon_id),
    "all ended": lambda server, _session: server.sessions.end_all("alice"),
    "stopped": lambda server, _session: server.close(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_whatever_ends_a_session_wipes_what_it_has_to_show(server, log_on, end):
    session = log_on()
    kept = session.credentials_for("password")
    end(server, session)
    assert kept.is_closed
    with pytest.raises(CredentialsExpiredError):
        shown(kept)
    with pytest.raises(LogonSessionEndedError):
        session.credentials_for("password")


def test_a_session_that_is_forgotten_wipes_them_too(log_on):
    kept = log_on().credentials_for("password")
    gc.collect()
    assert kept.is_closed


@pytest.mark.parametrize("failing", [
    "stead.monitor.recorder.Recorder.record", "stead.authority.sessions.Sessions._keep",
    "stead.server.session_opening.SessionOpening._record_special",
])  # fmt: skip
@pytest.mark.parametrize("error", [LedgerUnavailableError, KeyboardInterrupt])
@pytest.mark.bypasses_the_law  # what fails here is the record itself
def test_an_interrupted_logon_leaves_no_session_and_no_password(
    server, log_on, live, monkeypatch, failing, error
):
    made, before = [], live.records()
    init = PasswordCredentials.__init__
    monkeypatch.setattr(
        PasswordCredentials,
        "__init__",
        lambda self, *given: (init(self, *given), made.append(self))[0],
    )

    def fail(*_given, **_named):
        raise error("now")

    with monkeypatch.context() as broken:
        broken.setattr(failing, fail)
        with pytest.raises((error, LogonFailureError)):
            log_on()
    [kept] = made
    assert kept.is_closed
    assert before == live.records()


def test_nobody_finds_the_password_in_a_session(log_on, server):
    with log_on() as session:
        for tried in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(InvalidRequestError):
                tried(session)
        [found] = [
            s
            for s in server._house.guard.liveness._table.by_id.values()
            if s.record == session.record
        ]
        printed = f"{session!r} {found!r} {session.client!r} {session.record!r}"
        assert "zebra" not in printed
        assert "zebra" not in repr(session.credentials_for("password"))
        text = [o for o in gc.get_objects() if isinstance(o, dict | list | tuple)]
        assert not [o for o in text if _holds(o, b"correct zebra")]


def _holds(whole, wanted):
    inside = whole.values() if isinstance(whole, dict) else whole
    return any(type(one) is bytes and one == wanted for one in list(inside))


def test_nothing_of_the_password_is_written_down(server, log_on):
    with log_on() as session, session.client.with_new_credentials(corp()):
        pass
    told = [repr(record) for _, record in server.trail.find(Query())]
    assert not [text for text in told if "zebra" in text or "staple" in text]


# --- new credentials ------------------------------------------------------------------


def test_new_credentials_are_the_client_here_and_somebody_else_elsewhere(
    server, alice, plan, rights, trail
):
    with alice.with_new_credentials(corp()) as session:
        assert LogonType.NEW_CREDENTIALS is session.record.logon_type
        assert (
            replace(
                alice.token,
                logon_id=session.token.logon_id,
                token_id=session.token.token_id,
            )
            == session.token
        )
        kept = session.credentials_for("password")
        assert (r"CORP\alice", b"battery staple") == (kept.principal, shown(kept))
        server.require(session.client, plan, rights.READ)
        with session.impersonate():
            assert alice.sid == effective_token().user
    assert kept.is_closed
    [used] = trail(AuditEvent.EXPLICIT_CREDENTIALS)
    assert ("alice", r"CORP\alice") == (used.client.name, used.object_name)
    logon = trail(AuditEvent.LOGON)[-1]
    assert {
        "logon type": "new_credentials", "network account": r"CORP\alice",
        "within": str(alice.token.logon_id),
    }.items() <= logon.detail.items()  # fmt: skip
    assert logon.client.logon_id == session.record.logon_id
    assert session.record.logon_id in [
        r.client.logon_id for r in trail(AuditEvent.LOGOFF)
    ]


def test_the_clients_own_credentials_stay_its_own(log_on):
    """A naive lookup by the account or the outermost session shows the wrong ones."""
    with log_on() as session, session.client.with_new_credentials(corp()) as new:
        own, other = (s.credentials_for("password") for s in (session, new))
        assert ("alice", r"CORP\alice") == (own.principal, other.principal)
        limited = new.client.limited(expires=timedelta(minutes=1))
        sessions = new.client._acting._sessions
        assert (other,) == sessions.credentials_of(limited.token)
        assert new.token.logon_id == sessions.credentials_session(limited.token)
        assert session.token.logon_id == sessions.credentials_session(session.token)
        limited.close()
    assert own.is_closed
    assert other.is_closed


def test_what_ends_the_client_ends_its_new_credentials(server, alice):
    session = alice.with_new_credentials(corp())
    kept = session.credentials_for("password")
    alice.close()  # it is held by what lies within
    assert not kept.is_closed
    server.accounts.disable("alice")
    assert kept.is_closed
    with pytest.raises(LogonSessionEndedError):
        session.impersonate().__enter__()


def test_a_session_with_new_credentials_ends_by_itself(server, alice, live):
    before = live.records()
    session = alice.with_new_credentials(corp())
    session.log_off()
    assert before == live.records()
    live.require_live(alice.token)
    twice = alice.with_new_credentials(corp())
    with twice.client.with_new_credentials(corp("third")) as third:
        assert b"third" == shown(third.credentials_for("password"))
        twice.close()
        live.require_live(third.token)
    assert before == live.records()


def test_who_may_only_be_identified_uses_no_credentials(server, client_of, live):
    alice = client_of(server, "alice", level=ImpersonationLevel.IDENTIFICATION)
    before, new, explicit = live.records(), corp(), corp()
    with pytest.raises(BadImpersonationLevelError):
        alice.with_new_credentials(new)
    with (
        pytest.raises(BadImpersonationLevelError),
        alice.explicit_credentials(explicit, target=FILES),
    ):
        raise AssertionError
    assert new.is_closed
    assert explicit.is_closed
    assert before == live.records()


def test_new_credentials_are_some_and_of_a_client_that_lives(server, alice):
    with pytest.raises(InvalidRequestError, match="has some"):
        alice.with_new_credentials()
    alice.close()
    late = corp()
    with pytest.raises(LogonSessionEndedError):
        alice.with_new_credentials(late)
    assert late.is_closed


@pytest.mark.parametrize("event", [
    AuditEvent.EXPLICIT_CREDENTIALS, AuditEvent.LOGON,
])  # fmt: skip
@pytest.mark.bypasses_the_law  # what fails here is the record itself
def test_what_cannot_be_recorded_opens_no_session(
    server, alice, live, monkeypatch, event
):
    recorder, before, new = server._house.guard.recorder, live.records(), corp()
    record = type(recorder).record

    def fail(self, what, *given, **named):
        if what is event:
            raise LedgerUnavailableError("full")
        return record(self, what, *given, **named)

    monkeypatch.setattr(type(recorder), "record", fail)
    with pytest.raises(LedgerUnavailableError):
        alice.with_new_credentials(new)
    assert new.is_closed
    assert before == live.records()


# --- explicit credentials for one machine ---------------------------------------------


def test_explicit_credentials_are_recorded_and_open_no_session(alice, live, trail):
    before = live.records()
    with alice.explicit_credentials(corp(), target=FILES) as explicit:
        [record] = trail(AuditEvent.EXPLICIT_CREDENTIALS)
        assert before == live.records()
        assert (r"CORP\alice", "password", None) == (
            explicit.principal, explicit.package, explicit.expires
        )  # fmt: skip
        explicit.renew_for(60)
        assert b"battery staple" == shown(explicit.require_for(FILES))
        assert r"ExplicitCredentials('CORP\\alice', 'files.example:445')" == repr(
            explicit
        )
        with pytest.raises(InvalidRequestError):
            pickle.dumps(explicit)
    assert ("alice", r"CORP\alice", "files.example:445") == (
        record.client.name, record.object_name, record.detail["target server"]
    )  # fmt: skip
    for use in (lambda: explicit.require_for(FILES), lambda: explicit.renew_for(1)):
        with pytest.raises(CredentialsExpiredError, match="were wiped"):
            use()


def test_explicit_credentials_are_shown_to_no_other_machine(alice):
    """A naive pool that is keyed by the account shows the password to whoever asks."""
    naive = corp()
    assert b"battery staple" == shown(naive)  # whoever it is for
    with (
        alice.explicit_credentials(naive, target=FILES) as explicit,
        pytest.raises(WrongIdentityError, match="not for `other"),
    ):
        explicit.require_for(OTHER)


@pytest.mark.parametrize("target", ["files.example:445", "files.example", None])
def test_explicit_credentials_are_for_a_host(alice, trail, target):
    credentials = corp()
    with (
        pytest.raises(InvalidRequestError, match="one machine") as caught,
        alice.explicit_credentials(credentials, target=target),
    ):
        pass
    assert "Host(" in caught.value.advice
    assert [] == trail(AuditEvent.EXPLICIT_CREDENTIALS)
    with pytest.raises(CredentialsExpiredError, match="was wiped"):
        shown(credentials)


def test_explicit_credentials_end_with_the_session(server, alice):
    with alice.explicit_credentials(corp(), target=FILES) as explicit:
        server.accounts.disable("alice")
        with pytest.raises(CredentialsExpiredError):
            explicit.require_for(FILES)


def test_limits_bound_where_explicit_credentials_are_shown(alice, trail):
    kept = corp()
    lent = alice.limited(expires=timedelta(minutes=1), targets=[FILES])
    with lent.explicit_credentials(corp(), target=FILES) as explicit:
        explicit.require_for(FILES)
    with (
        pytest.raises(AccessDeniedError, match="do not name"),
        lent.explicit_credentials(kept, target=OTHER),
    ):
        raise AssertionError
    assert kept.is_closed
    refused = trail(AuditEvent.EXPLICIT_CREDENTIALS)[-1]
    assert Outcome.FAILURE is refused.outcome


# --- time that is left ----------------------------------------------------------------


def test_work_that_outlasts_the_session_is_an_error_before_it(server, log_on):
    end = server._house.guard.clock() + 3_600_000_000_000
    with log_on() as session:
        sessions = session.client._acting._sessions
        sessions._set_end(sessions.of(session.token), end)
        session.require_credentials("password", seconds=3000)
        with pytest.raises(CredentialsExpiredError, match="ends in 3600 seconds"):
            session.require_credentials("password", seconds=4000)


def test_credentials_that_end_sooner_are_renewed_before_the_work(server, alice):
    class Ticket:
        package, principal, expires = "kerberos", "alice@EXAMPLE.TEST", 1

        def __init__(self):
            self.asked, self.is_closed = [], False

        def renew_for(self, seconds):
            self.asked.append(seconds)
            if seconds > 600:
                raise CredentialsExpiredError("cannot be renewed")

        def close(self):
            self.is_closed = True

    ticket = Ticket()
    with alice.with_new_credentials(ticket, corp()) as session:
        assert ticket is session.require_credentials("kerberos", seconds=300)
        with pytest.raises(CredentialsExpiredError):
            session.require_credentials("kerberos", seconds=900)
    assert [300, 900] == ticket.asked
    assert ticket.is_closed


# --- a password where it lies ---------------------------------------------------------


def test_a_password_is_lent_where_it_lies_and_reads_as_nothing_once_wiped():
    held = corp("a password")
    with held.lent() as content:
        assert b"a password" == bytes(content)
        held.close()
        assert bytes(10) == bytes(content)
        assert held.is_closed
    with pytest.raises(CredentialsExpiredError), held.lent():
        raise AssertionError
    held.close()


def test_what_is_open_by_a_password_ends_with_it():
    held, ended = corp(), []
    held.at_close(lambda: ended.append("first"))
    forget = held.at_close(lambda: ended.append("forgotten"))
    forget()
    held.close()
    held.close()
    assert ["first"] == ended
    held.at_close(lambda: ended.append("late"))
    assert ["first", "late"] == ended
