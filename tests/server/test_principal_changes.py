"""Accounts and groups are renamed, mapped and deleted; recorded first."""

from __future__ import annotations

import pytest

from stead.errors import (
    AccountExistsError,
    InvalidNameError,
    InvalidSidError,
    LogonSessionEndedError,
    UnknownAccountError,
)
from stead.model.audit_policy import AccountAuditing, Auditing, Subcategory
from stead.model.audit_record import AuditEvent
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret


def told(record):
    return record.object_name, {
        name: text for name, text in record.detail.items() if name != "sid"
    }


@pytest.fixture
def desk(server):
    return server.accounts


def test_each_change_is_recorded_with_what_was_and_what_is(desk, trail):
    alice = desk.store.account_by_name("alice")
    desk.map("alice", uid=70009)
    desk.map("alice", uid=None)
    desk.rename("alice", "alicia")
    desk.map_group("readers", gid=70300)
    desk.rename_group("readers", "writers")
    desk.delete("alicia")
    desk.delete_group("writers")
    mapped, unmapped = trail(AuditEvent.ACCOUNT_CHANGED)
    old, new = "uid 70001 gid 70001", "uid 70009 gid 70009"
    assert ("alice", {"old": old, "new": new}) == told(mapped)
    assert ("alice", {"old": new, "new": "uid none gid none"}) == told(unmapped)
    renamed, group = trail(AuditEvent.ACCOUNT_RENAMED)
    assert ("alice", {"new": "alicia"}) == told(renamed)
    assert ("readers", {"new": "writers"}) == told(group)
    (changed,) = trail(AuditEvent.GROUP_CHANGED)
    assert ("readers", {"old": "gid none", "new": "gid 70300"}) == told(changed)
    (deleted,), (gone,) = map(
        trail, (AuditEvent.ACCOUNT_DELETED, AuditEvent.GROUP_DELETED)
    )
    assert ("alicia", "writers") == (deleted.object_name, gone.object_name)
    assert {str(alice.sid)} == {r.detail["sid"] for r in (mapped, renamed, deleted)}


def test_rights_to_log_on_and_privileges_have_events_of_their_own(desk, trail):
    for right in (LogonRight.BATCH, Privilege.BACKUP):
        desk.grant("alice", right)
        desk.revoke("alice", right)
    logon = trail(AuditEvent.LOGON_RIGHT_GRANTED) + trail(
        AuditEvent.LOGON_RIGHT_REMOVED
    )
    told = {"sid": str(desk.store.account_by_name("alice").sid)}
    told |= {"right": "SeBatchLogonRight"}
    assert [told] * 2 == [r.detail for r in logon]
    assert 1 == len(trail(AuditEvent.RIGHT_ASSIGNED))
    assert 1 == len(trail(AuditEvent.RIGHT_REMOVED))


@pytest.mark.bypasses_the_law
def test_of_a_deleted_account_nothing_is_left_and_its_sid_is_not_given_again(
    server, desk
):
    sid = desk.store.account_by_name("alice").sid
    desk.add_member("readers", "alice")
    desk.grant("alice", Privilege.BACKUP)
    desk.set_password("alice", Secret("tiger"))
    server.audit_policy.set_account(
        "alice",
        Subcategory.HANDLE_MANIPULATION,
        AccountAuditing(excluded=Auditing.SUCCESS),
    )
    desk.delete("alice")
    assert () == desk.members("readers")
    assert sid not in {holder for holder, _ in desk.rights()}
    assert frozenset() == desk.have_password()
    assert {} == server.audit_policy.policy().accounts
    assert sid != desk.add("alice").sid
    with pytest.raises(UnknownAccountError):
        desk.store.remove_principal(sid)


@pytest.mark.parametrize("act", ["delete", "map"])
def test_sessions_of_a_deleted_or_remapped_account_end(
    server, alice, plan, rights, act
):
    desk = server.accounts
    if act == "map":
        desk.map("alice", uid=70011)
    else:
        desk.delete("alice")
    with pytest.raises(LogonSessionEndedError):
        server.require(alice, plan, rights.READ)


def test_sessions_that_hold_a_deleted_group_end(server, client_of, plan, rights):
    server.accounts.add_member("readers", "alice")
    alice = client_of(server, "alice")
    server.require(alice, plan, rights.READ)
    server.accounts.delete_group("readers")
    with pytest.raises(LogonSessionEndedError):
        server.require(alice, plan, rights.READ)


def test_a_renamed_account_is_the_same_one(server, client_of, plan, rights):
    server.accounts.rename("alice", "Alice")  # the same name in another case is free
    server.accounts.rename("alice", "alicia")
    server.require(client_of(server, "alicia"), plan, rights.READ)
    with pytest.raises(UnknownAccountError):
        server.accounts.rename("alice", "anybody")


def test_names_and_ids_that_are_taken_or_none_are_refused(desk, trail):
    with pytest.raises(AccountExistsError):
        desk.rename("alice", "Bob")
    with pytest.raises(AccountExistsError):
        desk.rename("alice", "readers")
    with pytest.raises(AccountExistsError):
        desk.map("alice", uid=70002)
    with pytest.raises(InvalidNameError):
        desk.rename("alice", "a\n")
    with pytest.raises(InvalidNameError):
        desk.map("alice", uid=-1)
    with pytest.raises(InvalidNameError, match="without a uid"):
        desk.map("alice", uid=None, gid=5)
    assert 70001 == desk.store.account_by_name("alice").uid
    announced, failed = trail(AuditEvent.ACCOUNT_CHANGED)
    assert "announced by" in failed.detail
    assert "announced by" not in announced.detail


def test_the_groups_that_every_store_has_stay(desk):
    for act in (desk.delete_group, lambda name: desk.rename_group(name, "x")):
        with pytest.raises(InvalidNameError, match="every store"):
            act("Administrators")
    with pytest.raises(UnknownAccountError):
        desk.delete_group("nobody's")


def test_an_alias_is_recorded_in_full_before_it_counts(desk, trail):
    name = "x" * 1985
    assert desk.add_alias("alice", "https://issuer", name + "a")
    assert desk.add_alias("alice", "https://issuer", name + "b")
    assert not desk.add_alias("alice", "https://issuer", name + "b")
    with pytest.raises(AccountExistsError):
        desk.add_alias("bob", "https://issuer", name + "b")
    assert desk.remove_alias("alice", "https://issuer", name + "a")
    assert [name + "b"] == [alias.name for alias in desk.aliases("alice")]
    one, other, taken, _, gone = trail(AuditEvent.ACCOUNT_CHANGED)
    # Naive: a name that is cut is recorded like its neighbour.
    assert one.detail["new"][:1900] == other.detail["new"][:1900]
    assert f"alias {name}a of https://issuer" == one.detail["new"] == gone.detail["old"]
    assert f"alias {name}b of https://issuer" == other.detail["new"]
    assert "bob" == taken.object_name


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        ("", "alice"), ("REALM", ""), ("REALM", "x" * 1996), ("R", "\U0001f600" * 500),
        ("REALM", "s-1-5-21-1-2-3-1104"), ("REALM", "S-1-5-21-1-2-3-01104"),
        ("REALM", "\uff33-1-5-21-1-2-3-1104"), ("REALM", "S-1-anybody"),
    ],
)  # fmt: skip
def test_what_is_no_alias_is_refused(desk, issuer, name):
    with pytest.raises((InvalidNameError, InvalidSidError)):
        desk.add_alias("alice", issuer, name)
    assert () == desk.aliases("alice")
