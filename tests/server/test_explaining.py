from __future__ import annotations

import pytest

from stead.errors import AccessDeniedError, UnknownAccountError
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.privilege import Privilege


@pytest.fixture
def shared(server, rights):
    """An object that alice may read by way of two groups."""
    server.accounts.add_group("staff")
    server.accounts.add_group("everybody here")
    server.accounts.add_member("staff", "alice")
    server.accounts.add_member("everybody here", "staff")
    return server.protect(
        "shared", rights, [allow("everybody here", rights.READ)], owner="bob"
    )


def test_the_path_to_the_group_that_decides_is_told(server, bob, shared, rights):
    told = server.explain(bob, "alice", shared, rights.READ)
    assert told.allowed
    [reason] = told.reasons
    assert ("alice", "staff", "everybody here") == reason.path
    assert "everybody here" in reason.sentence
    assert [
        "alice asks shared for READ: granted",
        f"  {reason.sentence}",
        "    by membership: alice -> staff -> everybody here",
    ] == list(told.lines())


def test_an_entry_for_the_account_itself_has_no_path(server, bob, plan, rights):
    [reason] = server.explain(bob, "alice", plan, rights.READ).reasons
    assert () == reason.path


def test_an_entry_for_everybody_is_told_as_such(server, bob, rights):
    made = server.protect("open", rights, [allow("Everyone", rights.READ)], owner="bob")
    [reason] = server.explain(bob, "alice", made, rights.READ).reasons
    assert ("alice", "Everyone") == reason.path


def test_a_refusal_is_explained_too(server, bob, plan, rights):
    told = server.explain(bob, "alice", plan, rights.WRITE)
    assert not told.allowed
    assert "refused" in told.lines()[0]


def test_a_bare_uid_may_be_asked_about(server, bob, rights):
    made = server.protect("uid", rights, [allow("uid 70077", rights.READ)], owner="bob")
    told = server.explain(bob, "uid 70077", made, rights.READ)
    assert (True, "uid 70077") == (told.allowed, told.account)


def test_who_may_not_read_the_descriptor_may_not_ask(server, alice, plan, rights):
    with pytest.raises(AccessDeniedError):
        server.explain(alice, "bob", plan, rights.READ)


def test_who_may_not_ask_does_not_learn_who_exists(server, alice, plan, rights):
    with pytest.raises(AccessDeniedError):
        server.explain(alice, "mallory", plan, rights.READ)


def test_backup_reads_any_descriptor_and_is_recorded(
    server, client_of, plan, rights, trail
):
    server.accounts.grant("alice", Privilege.BACKUP)
    server.explain(client_of(server, "alice"), "bob", plan, rights.READ)
    assert "explain plan" == trail(AuditEvent.PRIVILEGED_SERVICE)[-1].operation


@pytest.mark.parametrize("account", ["mallory", "readers", "Everyone"])
def test_only_accounts_are_asked_about(server, bob, plan, rights, account):
    with pytest.raises(UnknownAccountError):
        server.explain(bob, account, plan, rights.READ)


def test_asking_is_recorded_with_whom_it_is_about(server, bob, plan, rights, trail):
    server.explain(bob, "alice", plan, rights.READ)
    [record] = trail(AuditEvent.DECISION_EXPLAINED)
    assert ("bob", "alice", "plan") == (
        record.client.name,
        record.detail["about"],
        record.object_name,
    )


def test_explaining_leaves_no_session_behind(server, bob, plan, rights):
    before = server._house.guard.liveness.records()
    server.explain(bob, "alice", plan, rights.READ)
    assert before == server._house.guard.liveness.records()
