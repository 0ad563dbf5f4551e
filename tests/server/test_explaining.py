from __future__ import annotations

import pytest

from stead.errors import AccessDeniedError, UnknownAccountError
from stead.model.access_mask import AccessMask
from stead.model.audit_record import AuditEvent
from stead.model.explicit_access import allow
from stead.model.posix_identity import PosixIdentity
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


def test_the_path_to_the_group_that_decides_is_told(server, inquirer, shared, rights):
    told = server.explain(inquirer, "alice", shared, rights.READ)
    assert told.allowed
    [reason] = told.reasons
    assert ("alice", "staff", "everybody here") == reason.path
    assert "everybody here" in reason.sentence
    assert [
        "alice asks shared for READ: granted",
        f"  {reason.sentence}",
        "    by membership: alice -> staff -> everybody here",
    ] == list(told.lines())


def test_an_entry_for_the_account_itself_has_no_path(server, inquirer, plan, rights):
    [reason] = server.explain(inquirer, "alice", plan, rights.READ).reasons
    assert () == reason.path


def test_an_entry_for_everybody_is_told_as_such(server, inquirer, rights):
    made = server.protect("open", rights, [allow("Everyone", rights.READ)], owner="bob")
    [reason] = server.explain(inquirer, "alice", made, rights.READ).reasons
    assert ("alice", "Everyone") == reason.path


def test_a_refusal_is_explained_too(server, inquirer, plan, rights):
    told = server.explain(inquirer, "alice", plan, rights.WRITE)
    assert not told.allowed
    assert "refused" in told.lines()[0]


def test_a_bare_uid_may_be_asked_about(server, inquirer, rights):
    made = server.protect("uid", rights, [allow("uid 70077", rights.READ)], owner="bob")
    told = server.explain(inquirer, "uid 70077", made, rights.READ)
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
    server.explain(client_of(server, "alice"), "alice", plan, rights.READ)
    assert "explain plan" == trail(AuditEvent.PRIVILEGED_SERVICE)[-1].operation


def test_asking_about_somebody_else_takes_reading_the_accounts(
    server, client_of, bob, plan, rights, trail
):
    server.accounts.grant("bob", Privilege.BACKUP)
    for asker in (bob, client_of(server, "bob")):
        heard = set()
        for account in ("alice", "mallory", "readers", "uid 70001", "uid 7", "S-1-5"):
            for ask in (
                lambda name, who=asker: server.explain(who, name, plan, rights.READ),
                lambda name, who=asker: server.questions_for(who).effective(name, plan),
            ):
                with pytest.raises(AccessDeniedError) as refused:
                    ask(account)
                error = refused.value
                heard.add((str(error), error.object_name, error.advice))
        assert 1 == len(heard)
        assert "stead:accounts" == heard.pop()[1]
    assert [] == trail(AuditEvent.DECISION_EXPLAINED)


def test_a_client_cannot_probe_for_accounts(server, bob, plan):
    heard = set()
    for account in ("alice", "mallory"):
        for operation, more in (
            ("stead.explain", {"rights": ["READ"]}),
            ("stead.effective", {}),
        ):
            with pytest.raises(AccessDeniedError) as refused:
                server.call(bob, operation, account=account, name="plan", **more)
            heard.add(refused.value.public)
    assert {"access is denied"} == heard


def test_everybody_may_ask_about_themselves_however_they_are_called(
    server, bob, plan, rights
):
    for name in ("bob", "BOB", str(bob.token.user), "uid 70002"):
        assert "bob" == server.explain(bob, name, plan, rights.READ).account
        assert "bob" == server.questions_for(bob).effective(name, plan).account


def test_who_has_no_account_may_ask_about_themselves(server, rights):
    made = server.protect(
        "uid", rights, [allow("uid 70077", AccessMask.READ_CONTROL)], owner="bob"
    )
    peer = server.client_for_peer(PosixIdentity(70077, 70077))
    assert "uid 70077" == server.explain(peer, "uid 70077", made, 1).account


def test_a_reason_with_very_many_causes_says_that_there_may_be_more(
    server, bob, rights
):
    made = server.protect("m", rights, [allow("bob", rights.READ)] * 20, owner="bob")
    lines = server.explain(bob, "bob", made, rights.READ).lines()
    assert 1 + 12 + 1 == len(lines)
    assert "    ... and perhaps more: not all causes were looked for" == lines[-1]


@pytest.mark.parametrize("account", ["mallory", "readers", "Everyone"])
def test_only_accounts_are_asked_about(server, inquirer, plan, rights, account):
    with pytest.raises(UnknownAccountError):
        server.explain(inquirer, account, plan, rights.READ)


def test_asking_is_recorded_with_whom_it_is_about(
    server, inquirer, plan, rights, trail
):
    server.explain(inquirer, "alice", plan, rights.READ)
    [record] = trail(AuditEvent.DECISION_EXPLAINED)
    assert ("bob", "alice", "plan") == (
        record.client.name,
        record.detail["about"],
        record.object_name,
    )


def test_explaining_leaves_no_session_behind(server, inquirer, plan, rights):
    before = server._house.guard.liveness.records()
    server.explain(inquirer, "alice", plan, rights.READ)
    assert before == server._house.guard.liveness.records()
