from __future__ import annotations

import gc

import pytest

from stead.authority.identity import identify_account
from stead.codec.token_text import token_detail
from stead.errors import (
    AccountDisabledError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonFailureError,
    LogonTypeNotGrantedError,
    PrivilegeNotHeldError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import LogonRight, Privilege
from stead.model.token import ImpersonationLevel


@pytest.fixture
def live(server):
    """Give what tells whose sessions live."""
    return lambda: [r.name for r in server._house.guard.liveness.records()]


def test_somebody_trusted_vouches_for_a_client_without_credentials(
    server, client_of, trail
):
    alice = client_of(server, "ALICE")
    assert ("alice", ImpersonationLevel.IMPERSONATION) == (alice.name, alice.level)
    [logon] = trail(AuditEvent.LOGON)
    expected = {
        "authenticated by": "test",
        "level": "impersonation",
        "logon type": "network",
        "package": "asserted",
        "uid": "70001",
    }
    assert expected | token_detail(alice.token) == logon.detail
    assert alice.token.logon_id == logon.client.logon_id


OTHER_SPELLINGS = [
    "\uff41\uff4c\uff49\uff43\uff45",  # wide
    "\u1d2c\u1d38\u1d35\u1d9c\u1d31",  # superscripts
    "\u24d0\u24db\u24d8\u24d2\u24d4",  # in circles
    "al\u2170ce",  # a Roman number
    "fa\u00e7ade\u0327",
]


@pytest.mark.parametrize("name", OTHER_SPELLINGS, ids=ascii)
def test_a_name_that_is_vouched_for_is_spelled_as_the_account_but_for_its_case(
    server, client_of, record_of, name
):
    """Somebody may have registered it at the service that authenticated them."""
    server.accounts.add("fa\u00e7ade\u0327")
    server.accounts.add("c\u00e9dille")
    store = server._house.admission.store
    naive = identify_account(store, name, host=lambda _uid: None)
    assert naive.name in {"alice", "fa\u00e7ad\u0229"}
    with pytest.raises(UnknownAccountError) as refused:
        client_of(server, name)
    assert "is spelled" in str(refused.value.args[0])
    assert UnknownAccountError.status == record_of(refused.value.record).status
    assert "c\u00e9dille" == client_of(server, "C\u00c9DILLE").name


def test_a_server_without_tcb_vouches_for_nobody(open_server, client_of):
    server = open_server(privileges=(Privilege.IMPERSONATE,))
    server.accounts.add("alice")
    with pytest.raises(PrivilegeNotHeldError) as refused:
        client_of(server, "alice")
    assert refused.value.record is not None


def test_who_vouches_must_be_said(server):
    with pytest.raises(InvalidRequestError):
        server.client_for("alice", authenticated_by=" ")


def test_each_failure_is_recorded_and_sounds_the_same_to_clients(
    server, client_of, record_of, live
):
    server.accounts.disable("alice")
    server.accounts.grant("bob", LogonRight.DENY_NETWORK)
    before = live()
    failures = {
        "mallory": UnknownAccountError,
        "alice": AccountDisabledError,
        "bob": LogonTypeNotGrantedError,
    }
    for name, failure in failures.items():
        with pytest.raises(failure) as refused:
            client_of(server, name)
        record = record_of(refused.value.record)
        assert (AuditEvent.LOGON_FAILED, name, failure.status) == (
            record.event,
            record.client.name,
            record.status,
        )
        assert "logon failure" == refused.value.public
    assert before == live()


def test_a_right_denied_to_everybody_is_denied_to_each(server, client_of):
    server.accounts.grant("Everyone", LogonRight.DENY_NETWORK)
    with pytest.raises(LogonTypeNotGrantedError):
        client_of(server, "alice")


def test_a_name_without_end_is_refused_and_recorded(server, client_of, record_of):
    with pytest.raises(UnknownAccountError) as refused:
        client_of(server, "x" * 1_000_000)
    assert "x" * 80 == record_of(refused.value.record).client.name


def test_a_peer_is_admitted_by_its_uid_with_or_without_an_account(server):
    alice = server.client_for_peer(PosixIdentity(70001, 70001, (50,)))
    stranger = server.client_for_peer(PosixIdentity(70099, 70099))
    assert ["alice", "uid 70099"] == [alice.name, stranger.name]
    assert alice.token.group(well_known.unix_group(50)) is not None


def test_a_peer_that_is_not_admitted_learns_no_cause(server, record_of):
    server.accounts.disable("alice")
    with pytest.raises(LogonFailureError) as refused:
        server.client_for_peer(PosixIdentity(70001, 70001))
    assert "logon failure" == str(refused.value)
    record = record_of(refused.value.record)
    assert (AccountDisabledError.status, "uid 70001") == (
        record.status,
        record.client.name,
    )


def test_a_session_whose_logon_cannot_be_recorded_does_not_live(
    server, client_of, live
):
    before = live()
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        client_of(server, "alice")
    with pytest.raises(LedgerUnavailableError):
        server.client_for_peer(PosixIdentity(70001, 70001))
    assert before == live()


def test_a_session_ends_when_its_client_is_closed_or_forgotten(
    server, client_of, live, trail
):
    with client_of(server, "alice") as alice:
        assert "alice" in live()
    alice.close()
    forgotten = client_of(server, "bob")
    del forgotten
    gc.collect()
    assert ["notes"] == live()
    assert ["alice", "bob"] == [r.client.name for r in trail(AuditEvent.LOGOFF)]


def test_a_session_lives_as_long_as_a_block_or_a_request_of_it(server, client_of, live):
    block = client_of(server, "alice").impersonate()
    request = client_of(server, "bob").with_correlation("1")
    gc.collect()
    assert ["notes", "alice", "bob"] == live()
    del block
    request.close()  # a request ends nobody's session
    assert ["notes", "bob"] == live()


def test_a_client_that_comes_as_nobody_is_recorded_as_nobody(server, client_of, trail):
    client = client_of(server, "alice", level=ImpersonationLevel.ANONYMOUS)
    assert "ANONYMOUS LOGON" == client.name
    assert "" == trail(AuditEvent.LOGON)[0].detail["uid"]
