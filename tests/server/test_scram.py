"""Clients that log on to a server by SCRAM: one answer to every failure."""

from __future__ import annotations

import pytest

from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.authority.lockout import LockoutPolicy
from stead.authority.packages import ChannelBinding
from stead.errors import (
    EnforcementUnavailableError,
    InvalidRequestError,
    LogonFailureError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.logon_record import LogonType
from stead.model.secret import Secret
from stead.server import ground

QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.01)
BINDING = ChannelBinding("tls-exporter", b"material of the channel")
RIGHT = "tiger"


@pytest.fixture
def opened(open_server):
    def make(**settings):
        settings = {"packages": [Scram(iterations=4096)], "lockout": QUICK, **settings}
        server = open_server(**settings)
        server.accounts.add("alice")
        server.accounts.set_password("alice", Secret(RIGHT))
        return server

    return make


def talk(server, name="alice", secret=RIGHT, theirs=None, ours=None):
    client = ScramClient(name, Secret(secret), theirs)
    with server.begin_logon(
        "scram-sha-256", gate="test", peer="10.0.0.9:1", binding=ours
    ) as exchange:
        final = exchange.step(client.answer(exchange.step(client.first())))
        client.require_server(final)
    return exchange.session


def records(server, event):
    return [entry for _, entry in server.trail.find(Query(event=event))]


def test_a_client_that_proves_itself_has_a_session(opened):
    server = opened()
    assert ("scram-sha-256",) == server.packages
    with talk(server, theirs=BINDING, ours=BINDING) as session:
        assert ("alice", LogonType.NETWORK) == (session.name, session.record.logon_type)
        assert server.accounts.list()[0].sid == session.sid
    entry = records(server, AuditEvent.LOGON)[-1]
    assert ("scram-sha-256", "tls-exporter", "test") == (
        entry.detail["package"], entry.detail["channel binding"], entry.gate,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "secret", "theirs", "sub_status"),
    [
        ("alice", "lion", None, "0xC000006A"),
        ("mallory", RIGHT, None, "0xC0000064"),
        ("disabled", RIGHT, None, "0xC0000072"),
        ("alice", RIGHT, BINDING, None),
    ],
)
def test_every_failure_is_one_to_the_client_and_the_trail_has_the_cause(
    opened, name, secret, theirs, sub_status
):
    server = opened()
    server.accounts.add("disabled")
    server.accounts.set_password("disabled", Secret(RIGHT))
    server.accounts.disable("disabled")
    with pytest.raises(LogonFailureError) as refused:
        talk(server, name, secret, theirs)
    assert refused.value.__cause__ is None
    assert str(LogonFailureError()) == str(refused.value)
    entry = records(server, AuditEvent.LOGON_FAILED)[-1]
    assert refused.value.record is not None
    # Whom it said that it was, if that is anybody.
    assert ("mallory" != name) == (name == entry.client.name)
    if sub_status:
        assert sub_status == entry.detail["sub status"]


def test_guesses_lock_the_name_and_that_is_recorded(opened):
    server = opened()
    for _ in range(3):
        with pytest.raises(LogonFailureError):
            talk(server, secret="lion")
    (locked,) = records(server, AuditEvent.ACCOUNT_LOCKED_OUT)
    assert ("alice", str(server.lookup("alice").sid)) == (
        locked.object_name, locked.detail["sid"],
    )  # fmt: skip
    with pytest.raises(LogonFailureError):
        talk(server)
    with pytest.raises(LogonFailureError):
        server.log_on("alice", RIGHT)  # by the other door, too
    assert server.accounts.unlock("alice")
    assert "alice" == talk(server).name


def test_a_password_that_was_changed_is_known_at_once(opened):
    server = opened()
    server.accounts.change_password("alice", Secret(RIGHT), Secret("lion"))
    with pytest.raises(LogonFailureError):
        talk(server)
    assert "alice" == talk(server, secret="lion").name
    server.accounts.remove_password("alice")
    with pytest.raises(LogonFailureError):
        talk(server, secret="lion")


def test_an_account_from_before_can_use_it_once_its_password_was_shown(
    open_server, world
):
    (world / "store").mkdir(mode=0o700)
    place = world / "store" / "notes.db"
    before = open_server(store=place, lockout=QUICK)
    before.accounts.add("bob")
    before.accounts.set_password("bob", Secret(RIGHT))
    server = open_server(store=place, packages=[Scram(iterations=4096)], lockout=QUICK)
    with pytest.raises(LogonFailureError):
        talk(server, "bob")
    server.log_on("bob", RIGHT).close()
    (renewed,) = records(server, AuditEvent.VERIFIER_RENEWED)
    assert "bob" == renewed.object_name
    assert "bob" == talk(server, "bob").name


def test_a_password_that_is_set_elsewhere_is_known_to_scram(opened, open_server, world):
    """The command line opens a server that offers nothing."""
    (world / "store").mkdir(mode=0o700)
    place = world / "store" / "notes.db"
    server, other = opened(store=place), open_server(store=place)
    other.accounts.set_password("alice", Secret("lion"))
    other.accounts.add("carol")
    other.accounts.set_password("carol", Secret("wolf"))
    assert "alice" == talk(server, secret="lion").name
    assert "carol" == talk(server, "carol", "wolf").name


def test_a_store_keeps_verifiers_for_one_package(open_server):
    with pytest.raises(InvalidRequestError, match="one such package"):
        open_server(packages=[Scram(), Scram()])


def test_without_what_compares_passwords_there_is_none(open_server, monkeypatch):
    monkeypatch.setattr(ground, "find_spec", lambda _name: None)
    with pytest.raises(EnforcementUnavailableError, match="compares passwords"):
        open_server(packages=[Scram()])
