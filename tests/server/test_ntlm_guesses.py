"""Passwords that NTLM's clients try are counted, however they are tried."""

from __future__ import annotations

import pytest
import spnego
from tests.adapters.kerberos.stage import staged

from stead.adapters.kerberos.acceptor import KerberosPackage
from stead.adapters.negotiate import NegotiatePackage
from stead.adapters.ntlm import NtlmPackage
from stead.authority.issuers import Issuer
from stead.authority.lockout import LockoutPolicy
from stead.errors import LogonFailureError, PasswordMismatchError
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent
from stead.server import ground
from stead.server.authentication import AS_SHOWN

QUICK = LockoutPolicy(threshold=3, first_delay=0.001, longest_delay=0.002)
ALICE = "alice@EXAMPLE"
NTLM = spnego.NegotiateOptions.use_ntlm
GUESSES = ["lion", "bear", "wolf", "hare", "mole"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    file = tmp_path / "users"
    file.write_text("EXAMPLE:alice:tiger\n")
    file.chmod(0o600)
    monkeypatch.setenv("NTLM_USER_FILE", str(file))
    return NtlmPackage("EXAMPLE", allow_unbound=True)


@pytest.fixture
def opened(open_server):
    def make(package):
        server = open_server(
            packages=[package],
            lockout=QUICK,
            issuers=[Issuer("EXAMPLE", names_accounts=True)],
        )
        server.accounts.add("alice")
        return server

    return make


def talker(password, user="EXAMPLE\\alice"):
    return spnego.client(user, password, protocol="ntlm", options=NTLM)


def talk(exchange, password, user="EXAMPLE\\alice"):
    client = talker(password, user)
    reply = exchange.step(client.step())
    return exchange.step(client.step(getattr(reply, "reply", reply)))


def log_on(server, password, user="EXAMPLE\\alice"):
    [name] = server.packages
    with server.begin_logon(name, gate="test", peer="10.0.0.9:1") as exchange:
        talk(exchange, password, user)
    return exchange.session


def found_by_guessing(begin):
    for guess in [*GUESSES, "tiger"]:
        try:
            talk(begin(), guess)
        except (PasswordMismatchError, LogonFailureError):
            continue
        return guess
    return None


def events(server, event):
    return [entry for _, entry in server.trail.find(Query(event=event))]


def test_a_name_is_locked_by_guesses_of_ntlms(package, opened):
    """By itself the package lets anybody try as often as he likes."""
    assert "tiger" == found_by_guessing(lambda: package.begin(None))
    server = opened(package)
    log_on(server, "tiger").close()

    def begin():
        return server.begin_logon("ntlm", gate="test", peer="10.0.0.9:1")

    assert found_by_guessing(begin) is None
    [locked] = events(server, AuditEvent.ACCOUNT_LOCKED_OUT)
    assert ALICE == locked.object_name
    assert "sid" not in locked.detail, "its password is none of the store's"
    refused = events(server, AuditEvent.LOGON_FAILED)
    # 0xC0000234, STATUS_ACCOUNT_LOCKED_OUT, from the fourth one on.
    assert [False] * 3 + [True] * 3 == [
        "0xC0000234" == entry.detail["sub status"] for entry in refused
    ]
    assert {ALICE} == {entry.client.name for entry in refused}
    [name] = server.accounts.locked_names()
    assert "alice@example" == name.name
    assert server.accounts.unlock("EXAMPLE\\alice")
    log_on(server, "tiger").close()


def test_another_spelling_or_package_gives_no_more_guesses(package, opened):
    with staged() as realm:
        both = NegotiatePackage(KerberosPackage(realm.service()), package)
        server = opened(both)
        for user in ("EXAMPLE\\alice", "example\\ALICE", "EXAMPLE\\Alice"):
            with pytest.raises(LogonFailureError):
                log_on(server, "lion", user)
        with pytest.raises(LogonFailureError):
            log_on(server, "tiger")
    assert 1 == len(events(server, AuditEvent.ACCOUNT_LOCKED_OUT))


def test_a_right_password_of_who_may_not_come_counts_as_a_wrong_one(package, opened):
    """What did not count would tell that it was right."""
    server = opened(package)
    server.accounts.disable("alice")
    for password in ("lion", "tiger", "tiger", "tiger"):
        with pytest.raises(LogonFailureError):
            log_on(server, password)
    assert 1 == len(events(server, AuditEvent.ACCOUNT_LOCKED_OUT))
    assert ["0xC000006A", "0xC0000072", "0xC0000072", "0xC0000234"] == [
        entry.detail["sub status"] for entry in events(server, AuditEvent.LOGON_FAILED)
    ]


def test_what_is_no_guess_locks_nobody(package, opened):
    server = opened(package)
    for _ in range(5):
        with (
            server.begin_logon("ntlm", quality=AS_SHOWN, gate="test") as exchange,
            pytest.raises(LogonFailureError),
        ):
            exchange.step(b"NTLMSSP\0\3\0\0\0" + bytes(60))
    # A whole answer, to a question that nobody asked here.
    client, elsewhere = talker("lion"), package.begin(None)
    answer = client.step(elsewhere.step(client.step()).reply)
    for _ in range(5):
        with (
            server.begin_logon("ntlm", gate="http") as exchange,
            pytest.raises(LogonFailureError),
        ):
            exchange.step(answer)
    log_on(server, "tiger").close()


def test_guesses_are_counted_also_where_nothing_compares_passwords(
    package, opened, monkeypatch
):
    """Without argon2 the store's own accounts have none, and NTLM's have."""
    monkeypatch.setattr(ground, "find_spec", lambda _name: None)
    server = opened(package)
    for password in ("lion", "lion", "lion", "tiger"):
        with pytest.raises(LogonFailureError):
            log_on(server, password)
    assert 1 == len(events(server, AuditEvent.ACCOUNT_LOCKED_OUT))
