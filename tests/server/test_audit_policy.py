"""What is recorded beyond what always is: who may change it, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.errors import (
    AccessDeniedError,
    HandleClosedError,
    InvalidRequestError,
    LedgerUnavailableError,
    PrivilegeNotHeldError,
    StoreUnavailableError,
    UnknownAccountError,
    UnknownObjectError,
)
from stead.ledger.exporting import of_detail
from stead.ledger.query import Query
from stead.model.access_mask import AccessMask
from stead.model.acl import ABSENT_SACL
from stead.model.audit_policy import AccountAuditing, Auditing, Subcategory
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.explicit_access import allow, audit
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.server.auditing import StoredRules

HANDLES, APPLICATION, READINGS = (
    Subcategory.HANDLE_MANIPULATION,
    Subcategory.APPLICATION_GENERATED,
    Subcategory.OTHER_OBJECT_ACCESS,
)


@pytest.fixture
def auditor(server, client_of):
    """An administrator who holds SeSecurityPrivilege."""
    server.accounts.grant("root of the store", Privilege.SECURITY)
    return client_of(server, "root of the store")


@pytest.fixture
def desk(server, auditor):
    return server.audit_policy_for(auditor)


@pytest.fixture
def accesses(trail):
    """Give what returns the accesses of clients: reading the trail is one as well."""
    return lambda: [r for r in trail(AuditEvent.OBJECT_ACCESS) if r.client]


def told(record):
    """Return a record's details, without who vouches for its client."""
    return {k: v for k, v in record.detail.items() if k != "authenticated by"}


# --- who may, and what is recorded of it ------------------------------------------


def test_only_who_may_changes_or_reads_the_policy(server, alice, accesses):
    desk = server.audit_policy_for(alice)
    for act in (
        desk.policy,
        desk.require_may_change,
        lambda: desk.set_everybody(HANDLES, Auditing.FAILURE),
        lambda: desk.set_account("alice", HANDLES, AccountAuditing()),
        lambda: desk.set_losable([AuditEvent.HANDLE_CLOSED]),
    ):
        with pytest.raises(AccessDeniedError):
            act()
    assert "stead:audit policy" == accesses()[-1].object_name


def test_each_change_is_recorded_before_with_what_was_and_what_is(desk, trail):
    desk.set_everybody(HANDLES, Auditing.FAILURE)
    desk.set_losable([AuditEvent.HANDLE_CLOSED])
    setting, losable = trail(AuditEvent.AUDIT_POLICY_CHANGED)
    assert "Handle Manipulation" == setting.object_name
    assert {"old": "success and failure", "new": "failure"} == told(setting)
    assert {"old": "nothing", "new": "handle_closed"} == told(losable)
    assert frozenset({AuditEvent.HANDLE_CLOSED}) == desk.policy().losable

    desk.set_account("bob", HANDLES, AccountAuditing(excluded=Auditing.SUCCESS))
    (own,) = trail(AuditEvent.ACCOUNT_AUDIT_CHANGED)
    assert "bob" == own.detail["account"]
    assert "include nothing, exclude success" == own.detail["new"]


def test_a_change_that_cannot_be_recorded_is_not_made(server, desk):
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        desk.set_everybody(HANDLES, Auditing.FAILURE)
    assert {} == server._house.audit_desk.store.policy().settings


def test_what_the_law_demands_cannot_be_switched_off(desk, trail):
    with pytest.raises(InvalidRequestError, match="always recorded"):
        desk.set_everybody(Subcategory.LOGON, Auditing.NONE)
    with pytest.raises(InvalidRequestError, match="always recorded"):
        desk.set_account("bob", READINGS, AccountAuditing(excluded=Auditing.FAILURE))
    with pytest.raises(InvalidRequestError, match="never lost"):
        desk.set_losable([AuditEvent.LOGON])
    with pytest.raises(UnknownAccountError):
        desk.set_account("mallory", HANDLES, AccountAuditing())
    assert [] == trail(AuditEvent.AUDIT_POLICY_CHANGED)


@pytest.mark.bypasses_the_law
def test_what_another_process_changes_counts_after_a_lease(server):
    store, moment = server._house.audit_desk.store, [0]
    rules = StoredRules(store, monotonic=lambda: moment[0])
    store.set_everybody(HANDLES, Auditing.FAILURE)
    assert {} == rules.in_force().settings
    moment[0] += 2_000_000_000
    assert {HANDLES: Auditing.FAILURE} == rules.in_force().settings
    assert {HANDLES: Auditing.FAILURE} == rules.known().settings


def test_a_policy_that_cannot_be_read_again_stays_in_force():
    class Failing:
        def policy(self):
            if moment[0]:
                raise StoreUnavailableError("gone")
            return kept

    moment, kept = [0], object()
    rules = StoredRules(Failing(), monotonic=lambda: moment[0])
    moment[0] += 2_000_000_000
    assert kept is rules.in_force()
    with pytest.raises(StoreUnavailableError):
        StoredRules(Failing(), monotonic=lambda: moment[0])


# --- what it changes --------------------------------------------------------------


def test_handle_closes_can_be_left_out_and_openings_cannot(
    server, desk, alice, plan, rights, trail
):
    desk.set_everybody(HANDLES, Auditing.FAILURE)
    server.open_object(alice, plan, rights.READ).close()
    assert 1 == len(trail(AuditEvent.HANDLE_REQUESTED))
    assert [] == trail(AuditEvent.HANDLE_CLOSED)


def test_answers_that_only_a_sacl_asks_for_can_be_left_out_and_acts_cannot(
    server, desk, auditor, alice, plan, rights, accesses
):
    server.set_audit(auditor, plan, [audit("Everyone", rights.READ)])
    server.check(alice, plan, rights.READ)
    desk.set_everybody(APPLICATION, Auditing.NONE)
    server.check(alice, plan, rights.READ)
    server.require(alice, plan, rights.READ)
    found = [r for r in accesses() if r.object_name == "plan"]
    assert [{"sacl": "asked"}] * 2 == [
        {"sacl": r.detail["sacl"]} for r in found if r.client.name == "alice"
    ]


def test_a_collector_s_readings_can_be_left_out_the_opening_of_the_trail_cannot(
    server, desk, bob, administrator, trail, accesses
):
    held = server.find_object("stead:trail")
    entries = [*held.descriptor.dacl, allow("bob", 0x1)]
    server.set_entries(administrator, held, entries)
    desk.set_account("bob", READINGS, AccountAuditing(excluded=Auditing.SUCCESS))
    list(server.trail_for(bob).find(Query(limit=1)))
    assert not [r for r in trail(AuditEvent.TRAIL_READ) if r.client]
    opened = accesses()[-1]
    assert ("bob", "stead:trail") == (opened.client.name, opened.object_name)


# --- SACLs ------------------------------------------------------------------------


def test_a_sacl_is_set_by_who_holds_the_privilege_and_recorded_with_old_and_new(
    server, auditor, bob, plan, rights, trail
):
    with pytest.raises(AccessDeniedError):  # its owner, and that is not enough
        server.set_audit(bob, plan, [audit("alice", rights.READ)])
    server.set_audit(auditor, plan, [audit("alice", rights.READ, failure=False)])
    record = trail(AuditEvent.OBJECT_SACL_CHANGED)[-1]
    assert ("plan", True) == (record.object_name, "S:" not in record.detail["old"])
    assert "S:(AU;SA;CC;;;" in record.detail["new"]
    server.set_audit(auditor, plan, [])
    assert plan.descriptor.sacl is ABSENT_SACL
    with pytest.raises(InvalidRequestError, match="audit entries alone"):
        server.set_audit(auditor, plan, [allow("alice", rights.READ)])


def test_entries_that_bring_audit_entries_record_both(
    server, auditor, plan, rights, trail
):
    owned = [allow("root of the store", AccessMask.GENERIC_ALL)]
    made = server.protect("mine", rights, owned, owner="Administrators")
    server.set_entries(auditor, made, [*owned, audit("bob", rights.WRITE)])
    assert "mine" == trail(AuditEvent.PERMISSIONS_CHANGED)[-1].object_name
    assert "mine" == trail(AuditEvent.OBJECT_SACL_CHANGED)[-1].object_name


def test_a_global_sacl_counts_for_every_object_of_its_kind(
    server, desk, auditor, alice, plan, rights, trail, accesses
):
    desk.set_global_sacl(plan.kind, [audit("alice", rights.READ)])
    server.check(alice, plan, rights.READ)
    assert "plan" == accesses()[-1].object_name
    (changed,) = trail(AuditEvent.GLOBAL_SACL_CHANGED)
    assert ("Doc", "") == (changed.object_name, changed.detail["old"])
    assert desk.global_sacl(plan.kind).aces[0].mask == rights.READ
    desk.set_global_sacl(plan.kind, [])
    assert desk.global_sacl(plan.kind) is None
    before = accesses()
    server.check(alice, plan, rights.READ)
    assert before == accesses()


def test_a_global_sacl_takes_the_privilege(server, administrator, plan, rights):
    desk = server.audit_policy_for(administrator)
    with pytest.raises(PrivilegeNotHeldError):
        desk.set_global_sacl(plan.kind, [audit("alice", rights.READ)])
    with pytest.raises(PrivilegeNotHeldError):
        desk.global_sacl(plan.kind)


# --- handles ----------------------------------------------------------------------


@pytest.fixture
def draft(server, auditor, rights):
    """An object that alice may do anything with, and whose SACL asks about WRITE."""
    made = server.protect("draft", rights, [allow("alice", AccessMask.GENERIC_ALL)])
    server.set_audit(auditor, made, [audit("Everyone", rights.WRITE, failure=False)])
    return made


def test_open_use_close_and_delete_are_tied_by_the_handle_s_number(
    server, alice, draft, rights, trail, accesses
):
    wanted = rights.READ | rights.WRITE | AccessMask.DELETE
    with server.open_object(alice, draft, wanted) as handle:
        for right in (rights.READ, rights.WRITE, rights.WRITE):
            handle.require(right)
        server.delete_object(alice, draft, handle=handle)
    opened = trail(AuditEvent.HANDLE_REQUESTED)[-1]
    assert {"process id", "image", "sacl", "token"} == set(told(opened))
    (used,) = [r for r in accesses() if "opened by" in r.detail]
    assert rights.WRITE == used.granted
    (closed,) = trail(AuditEvent.HANDLE_CLOSED)
    (deleted,) = trail(AuditEvent.OBJECT_DELETED)
    number = str(handle.number)
    assert [number] * 3 == [
        record.detail["opened by"] for record in (used, closed, deleted)
    ]


def test_a_use_that_cannot_be_recorded_is_refused_and_told_the_next_time(
    server, alice, draft, rights
):
    handle = server.open_object(alice, draft, rights.READ | rights.WRITE)
    server._house.guard.sink.close()
    handle.require(rights.READ)
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError):
            handle.require(rights.WRITE)


def test_an_object_is_deleted_by_who_may_and_is_gone(
    server, alice, bob, draft, rights, accesses
):
    with pytest.raises(AccessDeniedError):
        server.delete_object(bob, draft)
    with server.open_object(alice, draft, rights.READ) as handle:
        with pytest.raises(AccessDeniedError):
            server.delete_object(alice, draft, handle=handle)
        server.delete_object(alice, draft)
        handle.require(rights.READ)  # as on Windows, until it is closed
    with pytest.raises(HandleClosedError):
        handle.require(rights.READ)
    with pytest.raises(UnknownObjectError):
        server.find_object("draft")
    with pytest.raises(UnknownObjectError, match="was deleted"):
        server.require(alice, draft, rights.READ)
    assert Outcome.FAILURE is accesses()[-1].outcome


def test_a_handle_deletes_what_it_is_to_and_nothing_else(server, alice, draft, rights):
    precious = server.protect("precious", rights, [allow("bob", rights.READ)])
    with (
        server.open_object(alice, draft, AccessMask.DELETE) as handle,
        pytest.raises(AccessDeniedError),
    ):
        server.delete_object(alice, precious, handle=handle)
    assert precious is server.find_object("precious")


def test_nobody_buries_what_he_does_under_many_entries(server, alice, draft, trail):
    buried = "O:BAG:BAD:" + "(A;;CC;;;S-1-5-32-545)" * 200 + "(A;;GA;;;WD)"
    assert len(buried) > 4000
    aces = SecurityDescriptor.from_sddl(buried).dacl.aces
    server.set_entries(alice, draft, aces)
    (changed,) = trail(AuditEvent.PERMISSIONS_CHANGED)
    told_whole = of_detail(changed, "new")
    assert len(told_whole) > 2048
    assert told_whole.count("(A;;CC;;;BU)") == 200
    assert ";;;WD)" in told_whole
    assert all(len(text) <= 2048 for text in changed.detail.values())


def test_an_object_of_the_same_name_is_another(server, alice, draft, rights):
    server.delete_object(alice, draft)
    again = server.protect("draft", rights, [allow("bob", rights.READ)])
    assert again.version > draft.version
    with pytest.raises(UnknownObjectError):
        server.require(alice, draft, rights.READ)


@pytest.mark.bypasses_the_law
def test_what_another_process_makes_again_of_another_kind_is_another_object(
    server, alice, draft, rights
):
    objects = server._house.objects
    kept = objects._store.object_by_name("draft")
    objects._store.remove_object("draft", version=kept.version)
    objects._store.add_object(replace(kept, rights={"READ": 2, "WRITE": 1}))
    objects._leases["draft"] = 0
    with pytest.raises(UnknownObjectError, match="was deleted"):
        server.require(alice, draft, rights.READ)
    assert {"READ": 2, "WRITE": 1} == server.find_object("draft").kind.rights


def test_every_setting_that_is_taken_leaves_something_out(
    server, desk, client_of, trail
):
    """What may be left out is recorded in places that ask the policy."""
    server.accounts.grant("bob", Privilege.SECURITY)
    desk.set_everybody(Subcategory.SPECIAL_LOGON, Auditing.FAILURE)
    desk.set_everybody(Subcategory.OTHER_LOGON, Auditing.FAILURE)
    before = len(trail(AuditEvent.SPECIAL_PRIVILEGES))
    with client_of(server, "bob").impersonate():
        pass
    assert before == len(trail(AuditEvent.SPECIAL_PRIVILEGES))
    assert 1 == len(trail(AuditEvent.IMPERSONATION_ENTERED))
    assert [] == trail(AuditEvent.IMPERSONATION_LEFT)


@pytest.mark.bypasses_the_law
def test_what_another_process_deletes_and_makes_again_is_another_one(
    server, alice, draft, rights
):
    objects = server._house.objects
    kept = objects._store.object_by_name("draft")
    objects._store.remove_object("draft", version=kept.version)
    objects._leases["draft"] = 0
    with pytest.raises(UnknownObjectError):
        server.require(alice, draft, rights.READ)


def test_the_server_s_own_objects_are_not_deleted(server, administrator):
    with pytest.raises(InvalidRequestError, match="guards the server"):
        server.delete_object(administrator, server.find_object("stead:trail"))
