"""A password that is typed where the name belongs is written down nowhere."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from stead.adapters.scram import Scram
from stead.adapters.scram_client import ScramClient
from stead.authority.lockout import LockoutPolicy
from stead.errors import LogonFailureError, PasswordMismatchError, UnknownAccountError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.model.secret import Secret

TYPED = "Correct-Horse 93"
QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.002)
MARK = re.compile("unknown name [0-9a-f]{8}")


class Realm:
    """A directory that knows alice."""

    name, domains = "realm", ("EXAMPLE.COM",)

    def log_on(self, name, domain, secret, *, keep):
        if name != "alice":
            raise UnknownAccountError(f"the realm knows no `{name}`")
        raise PasswordMismatchError(f"the password is not that of `{name}`")


@pytest.fixture
def opened(open_server, world):
    (world / "store").mkdir(mode=0o700)

    def make(**settings):
        server = open_server(
            store=world / "store" / "notes.db", lockout=QUICK,
            packages=[Scram(iterations=4096)], password_authorities=[Realm()],
            **settings,
        )  # fmt: skip
        server.accounts.add("alice", exist_ok=True)
        server.accounts.set_password("alice", Secret("tiger"))
        return server

    return make


def shown_by_scram(server, name):
    client = ScramClient(name, Secret("tiger"), None)
    with server.begin_logon("scram-sha-256", gate="test") as exchange:
        exchange.step(client.answer(exchange.step(client.first())))


def typed_everywhere(server):
    """Type it in each place where a name is asked for, three times."""
    bob = server.client_for("alice", authenticated_by="test")
    for _ in range(3):
        for act in (
            lambda: server.log_on(TYPED, Secret("x")),
            lambda: server.log_on(TYPED, Secret("x"), via=bob),
            lambda: server.log_on(f"{TYPED}\n", Secret("x")),  # none could have it
            lambda: shown_by_scram(server, TYPED),
            lambda: server.accounts.change_password(TYPED, Secret("x"), Secret("y")),
        ):
            with suppress(LogonFailureError):
                act()
                raise AssertionError("nobody has this name")


def written(world):
    """Return all that a server wrote, in one case."""
    files = [path for path in (world / "store").iterdir() if path.is_file()]
    assert files
    return b"".join(path.read_bytes() for path in files).lower()


def names(server, event):
    return [entry.client.name for _, entry in server.trail.find(Query(event=event))]


def test_a_thief_of_the_store_and_the_trail_finds_no_name_that_nobody_has(
    opened, world
):
    """With names as they were given, the trail of one server holds it for years."""
    server = opened()
    typed_everywhere(server)
    server.close()
    assert TYPED.lower().encode() not in written(world)
    assert b"unknown name " in written(world)
    naive = opened(records_unknown_names=True)
    typed_everywhere(naive)
    naive.close()
    assert TYPED.lower().encode() in written(world)


def test_one_name_has_one_mark_and_accounts_have_their_names(opened):
    server = opened()
    for name in (TYPED, TYPED.upper(), "another", "alice", "Alice"):
        with pytest.raises(LogonFailureError):
            server.log_on(name, Secret("x"))
    one, same, other, *known = names(server, AuditEvent.LOGON_FAILED)
    assert one == same != other
    assert MARK.fullmatch(one)
    assert ["alice", "Alice"] == known
    # A thief has no key of it: another process has others.
    later = opened()
    with pytest.raises(LogonFailureError):
        later.log_on(TYPED, Secret("x"))
    assert one != names(later, AuditEvent.LOGON_FAILED)[-1]


def test_a_directory_s_word_is_taken_for_who_is_nobody(opened):
    server = opened()
    for name in (f"{TYPED}@EXAMPLE.COM", "alice@EXAMPLE.COM"):
        with pytest.raises(LogonFailureError):
            server.log_on(name, Secret("x"))
    found = server.trail.find(Query(event=AuditEvent.LOGON_FAILED))
    nobody, alice = (entry for _, entry in found)
    assert MARK.fullmatch(nobody.client.name)
    assert "alice@example.com" == alice.client.name
    assert not any(TYPED in reason for reason in nobody.reasons)


@pytest.mark.parametrize("name", ["alice", "alice@EXAMPLE.COM", "alice@example.com"])
def test_what_a_client_hands_in_for_somebody_names_whom(opened, name):
    server = opened()
    client = server.client_for("alice", authenticated_by="test")
    with pytest.raises(LogonFailureError):
        server.log_on(name, Secret("x"), via=client)
    found = server.trail.find(Query(event=AuditEvent.EXPLICIT_CREDENTIALS))
    assert [name] == [entry.object_name for _, entry in found]


def test_a_name_that_nobody_has_is_locked_in_every_process_and_unlocked(opened):
    servers = opened(), opened()
    for server in (*servers, *servers):
        with pytest.raises(LogonFailureError):
            server.log_on("mallory", Secret("x"))
    assert (
        ["0xC0000234"]
        == [  # STATUS_ACCOUNT_LOCKED_OUT, of the fourth
            entry.detail["sub status"]
            for _, entry in servers[1].trail.find(Query(event=AuditEvent.LOGON_FAILED))
        ][-1:]
    )
    [locked] = servers[0].accounts.locked_names()
    assert re.fullmatch("unknown:[0-9a-f]{32}", locked.name)
    assert servers[0].accounts.unlock("MALLORY")
    assert () == servers[1].accounts.locked_names()
