"""The order of check, record and refusal."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    InvalidAccessMaskError,
    KernelRefusedError,
    LedgerUnavailableError,
    LogonSessionEndedError,
    PrivilegeNotHeldError,
    RevertOrderError,
    SteadError,
    StoreSilentError,
    StoreUnavailableError,
)
from stead.ledger.query import Query
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import audit
from stead.model.privilege import Privilege
from stead.model.token import ImpersonationLevel
from stead.monitor.effective import effective_token
from stead.monitor.frames import FrameKind
from stead.monitor.impersonation import Block
from stead.monitor.ports import Given
from stead.monitor.securable_object import SecurableObject


class Judged:
    """An enforcer that says the kernel judges, and how leaving goes."""

    def __init__(self, leave=lambda: None):
        self.leave = leave

    def enter(self, token):
        return Given(is_kernel=True, leave=self.leave)


@pytest.fixture
def record_of(server):
    """Give what returns the record of a number."""
    return lambda number: next(server.trail.find(Query(after=number - 1)))[1]


# --- require ----------------------------------------------------------------------


def test_what_is_granted_is_recorded_before_it_returns(
    guard, alice, plan, trail, rights
):
    decision = guard.require(alice.subject, plan, rights.READ)
    assert rights.READ == decision.granted
    record = trail(AuditEvent.OBJECT_ACCESS)[-2]  # the last one is this reading
    assert (Outcome.SUCCESS, "plan", 1, 1) == (
        record.outcome,
        record.object_name,
        record.desired,
        record.granted,
    )
    assert "alice" == record.client.name
    assert record.reasons


def test_a_refusal_holds_the_decision_and_the_number_of_its_record(
    guard, alice, plan, record_of, rights
):
    with pytest.raises(AccessDeniedError) as refused:
        guard.require(alice.subject, plan, rights.WRITE)
    assert not refused.value.decision
    assert "plan" == refused.value.object_name
    record = record_of(refused.value.record)
    assert (Outcome.FAILURE, AccessDeniedError.status) == (
        record.outcome,
        record.status,
    )
    assert "access is denied" == str(refused.value)


def test_no_rights_at_all_are_no_question_to_be_granted(guard, alice, plan):
    with pytest.raises(AccessDeniedError):
        guard.require(alice.subject, plan, 0)


def test_a_mask_that_is_none_is_refused_and_recorded(guard, alice, plan, record_of):
    with pytest.raises(InvalidAccessMaskError) as refused:
        guard.require(alice.subject, plan, 1 << 40)
    assert 1 << 40 == record_of(refused.value.record).desired


def test_who_is_refused_because_the_store_is_silent_waits_for_no_record(
    server, guard, alice, plan, trail, rights
):
    """The trail lies in the same store: a naive refusal is recorded first, for ever."""
    liveness = guard.liveness
    liveness.expire()
    liveness._leases._ask.__self__._patience = 0.05
    held, free = threading.Event(), threading.Event()

    def hold():
        with liveness._watcher._roster._asking._lock:
            held.set()
            free.wait(60)

    disk = threading.Thread(target=hold)
    disk.start()
    held.wait(60)
    try:
        with pytest.raises(StoreSilentError):
            guard.require(alice.subject, plan, rights.READ)
    finally:
        free.set()
        disk.join()
    liveness._leases._ask.__self__._patience = 60
    guard.require(alice.subject, plan, rights.READ)
    told = [
        (r.outcome, r.client.name)
        for r in trail(AuditEvent.OBJECT_ACCESS)
        if r.object_name == "plan"
    ]
    assert [(Outcome.FAILURE, "alice"), (Outcome.SUCCESS, "alice")] == told


def test_an_ended_session_is_refused_before_the_descriptor_is_looked_at(
    guard, alice, plan, record_of, rights
):
    alice.close()
    for judge in (guard.require, guard.check, guard.open):
        with pytest.raises(LogonSessionEndedError) as refused:
            judge(alice.subject, plan, rights.READ)
        assert LogonSessionEndedError.status == record_of(refused.value.record).status


def test_an_anonymous_token_is_not_judged(guard, client_for, plan, record_of, rights):
    nobody = client_for("alice", level=ImpersonationLevel.ANONYMOUS)
    with pytest.raises(BadImpersonationLevelError) as refused:
        guard.check(nobody.subject, plan, rights.READ)
    assert "plan" == record_of(refused.value.record).object_name


def test_a_descriptor_that_cannot_be_read_again_judges_nothing(
    guard, alice, plan, rights
):
    def fail(securable):
        raise StoreUnavailableError("the disk is gone")

    lost = SecurableObject("plan", plan.kind, plan.descriptor, renew=fail)
    with pytest.raises(StoreUnavailableError) as refused:
        guard.require(alice.subject, lost, rights.READ)
    assert refused.value.record is not None


# --- check ------------------------------------------------------------------------


def test_a_check_is_recorded_only_if_the_sacl_asks(server, alice, plan, trail, rights):
    watched = server.protect("watched", rights, [audit("alice", rights.WRITE)])
    before = len(trail(AuditEvent.OBJECT_ACCESS))
    for securable, right in ((plan, 2), (watched, 1), (watched, 2)):
        server.check(alice, securable, right)
    asked = [
        (record.object_name, record.desired)
        for record in trail(AuditEvent.OBJECT_ACCESS)[before:]
        if record.detail.get("sacl") and record.client
    ]
    assert [("watched", 2)] == asked


def test_a_check_whose_record_is_demanded_and_fails_answers_nothing(
    speechless, server, alice, rights
):
    watched = server.protect("watched", rights, [audit("alice", rights.WRITE)])
    with pytest.raises(LedgerUnavailableError):
        speechless.check(alice.subject, watched, rights.WRITE)


# --- a ledger that fails ----------------------------------------------------------


def test_without_a_ledger_nothing_is_granted(speechless, alice, plan, rights):
    with pytest.raises(LedgerUnavailableError) as refused:
        speechless.require(alice.subject, plan, rights.READ)
    assert "free some space" == refused.value.advice
    with pytest.raises(LedgerUnavailableError):
        speechless.open(alice.subject, plan, rights.READ)
    with pytest.raises(LedgerUnavailableError):
        speechless.files.ask(alice.subject, "/etc/passwd", os.O_RDONLY)
    with pytest.raises(LedgerUnavailableError):
        speechless.require_privilege(
            alice.subject, (Privilege.CHANGE_NOTIFY,), operation="walk"
        )


@pytest.mark.parametrize("kind", [FrameKind.CLIENT, FrameKind.SERVER])
def test_without_a_ledger_no_block_runs(speechless, server, alice, kind):
    subject = alice.subject if kind is FrameKind.CLIENT else None
    with (
        pytest.raises(LedgerUnavailableError),
        Block(kind, subject, speechless),
    ):
        pytest.fail("the block ran")
    assert server.token == effective_token()


def test_without_a_ledger_a_refusal_is_a_refusal_still(speechless, client_for, plan):
    alice = client_for("alice", level=ImpersonationLevel.IDENTIFICATION)
    with (
        pytest.raises(LedgerUnavailableError),
        Block(FrameKind.CLIENT, alice.subject, speechless),
    ):
        pytest.fail("the block ran")
    alice.close()
    with pytest.raises(LedgerUnavailableError):
        speechless.check(alice.subject, plan, 1)


# --- privileges -------------------------------------------------------------------


def test_a_privilege_that_is_held_is_recorded(server, client_for, trail):
    server.accounts.grant("alice", Privilege.BACKUP)
    alice = client_for("alice")
    number = server.require_privilege(alice, Privilege.BACKUP, operation="archive")
    [record] = trail(AuditEvent.PRIVILEGED_SERVICE)
    assert number > 0
    assert ("archive", ("SeBackupPrivilege",)) == (record.operation, record.privileges)


def test_a_privilege_that_is_not_held_is_refused_and_recorded(server, alice, record_of):
    with pytest.raises(PrivilegeNotHeldError) as refused:
        server.require_privilege(alice, Privilege.BACKUP, operation="archive")
    record = record_of(refused.value.record)
    assert PrivilegeNotHeldError.status == record.status


def test_an_ended_session_has_no_privileges(server, alice, record_of):
    alice.close()
    with pytest.raises(LogonSessionEndedError) as refused:
        server.require_privilege(alice, Privilege.CHANGE_NOTIFY, operation="walk")
    assert "walk" == record_of(refused.value.record).operation


# --- files ------------------------------------------------------------------------


def test_an_ended_session_asks_for_no_file(guard, alice, record_of):
    alice.close()
    with pytest.raises(LogonSessionEndedError) as refused:
        guard.files.ask(alice.subject, "/etc/passwd", os.O_RDONLY)
    assert "/etc/passwd" == record_of(refused.value.record).object_name


def test_the_kernels_refusal_ends_the_block_as_an_error_of_ours(
    guard, alice, record_of
):
    judged = replace(guard, enforcer=Judged())
    with (
        pytest.raises(KernelRefusedError) as refused,
        Block(FrameKind.CLIENT, alice.subject, judged),
    ):
        raise PermissionError(13, "Permission denied", "/etc/shadow")
    assert (13, "/etc/shadow") == (refused.value.errno, refused.value.object_name)
    assert "kernel" == record_of(refused.value.record).detail["judge"]
    assert isinstance(refused.value.__cause__, PermissionError)


def test_refusals_of_our_own_and_other_errors_pass_a_judged_block_unchanged(
    guard, alice
):
    judged = replace(guard, enforcer=Judged())
    for error in (AccessDeniedError(), FileNotFoundError("plan")):
        with (
            pytest.raises(type(error)) as raised,
            Block(FrameKind.CLIENT, alice.subject, judged),
        ):
            raise error
        assert error is raised.value


def test_where_the_kernel_does_not_judge_its_refusals_pass_unchanged(alice):
    error = PermissionError(13, "Permission denied")
    with pytest.raises(PermissionError) as raised, alice.impersonate():
        raise error
    assert error is raised.value


@pytest.mark.leaks_identity
def test_an_enforcer_that_finds_disorder_is_heard_and_recorded(
    server, guard, alice, trail
):
    def leave():
        raise RevertOrderError("a block was left while one inside it was open")

    judged = replace(guard, enforcer=Judged(leave))
    with (
        pytest.raises(RevertOrderError),
        Block(FrameKind.CLIENT, alice.subject, judged),
    ):
        pass
    assert server.token == effective_token()
    assert 1 == len(trail(AuditEvent.IDENTITY_LEAKED))


def test_a_server_without_the_privilege_asks_for_no_file(open_server):
    server = open_server(privileges=(Privilege.TCB,))
    server.accounts.add("alice")
    alice = server.client_for("alice", authenticated_by="test")
    with pytest.raises(PrivilegeNotHeldError):
        server._house.guard.files.ask(alice.subject, "/etc/passwd", os.O_RDONLY)


# --- handles ----------------------------------------------------------------------


def test_opening_and_closing_a_handle_are_recorded(server, alice, plan, trail, rights):
    with server.open_object(alice, plan, rights.READ) as handle:
        assert rights.READ == handle.granted
    [opened] = trail(AuditEvent.HANDLE_REQUESTED)
    [closed] = trail(AuditEvent.HANDLE_CLOSED)
    assert "plan" == opened.object_name
    assert str(handle.number) == closed.detail["opened by"]


def test_a_handle_that_is_refused_has_its_record(server, alice, plan, rights):
    with pytest.raises(AccessDeniedError) as refused:
        server.open_object(alice, plan, rights.WRITE)
    assert refused.value.record is not None


def test_a_session_that_ends_in_its_own_finalizer_names_nobody_else(
    client_for, bob, trail, chain_of
):
    alice = client_for("alice")
    with bob.impersonate():
        alice.close()
    [logoff] = trail(AuditEvent.LOGOFF)
    assert ["notes", "alice"] == chain_of(logoff)


def test_a_subject_of_two_users_is_none(alice, bob):
    with pytest.raises(SteadError, match="two users"):
        replace(alice.subject, token=bob.token)
