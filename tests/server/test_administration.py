from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stead.authority.ports import Account
from stead.errors import (
    AccessDeniedError,
    AccountExistsError,
    AccountLockedOutError,
    EnforcementUnavailableError,
    InvalidNameError,
    InvalidRequestError,
    LedgerUnavailableError,
    LogonFailureError,
    LogonSessionEndedError,
    LoopThreadError,
    PasswordMismatchError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.audit_record import AuditEvent
from stead.model.posix_identity import MAXIMUM_ID
from stead.model.privilege import LogonRight, Privilege
from stead.model.secret import Secret
from stead.server.holdings import right_named

CHANGES = {
    "add": lambda desk: desk.add("carol"),
    "add_group": lambda desk: desk.add_group("staff"),
    "disable": lambda desk: desk.disable("bob"),
    "enable": lambda desk: desk.enable("bob"),
    "add_member": lambda desk: desk.add_member("Users", "bob"),
    "remove_member": lambda desk: desk.remove_member("Users", "bob"),
    "grant": lambda desk: desk.grant("bob", Privilege.BACKUP),
    "revoke": lambda desk: desk.revoke("bob", Privilege.BACKUP),
    "set_password": lambda desk: desk.set_password("bob", Secret("tiger")),
    "remove_password": lambda desk: desk.remove_password("bob"),
    "unlock": lambda desk: desk.unlock("bob"),
    "rename": lambda desk: desk.rename("bob", "robert"),
    "map": lambda desk: desk.map("bob", uid=70004),
    "delete": lambda desk: desk.delete("bob"),
    "rename_group": lambda desk: desk.rename_group("readers", "writers"),
    "map_group": lambda desk: desk.map_group("readers", gid=70200),
    "delete_group": lambda desk: desk.delete_group("readers"),
    "may change": lambda desk: desk.require_may_change(),
}
QUESTIONS = {
    "list": lambda desk: desk.list(),
    "groups": lambda desk: desk.groups(),
    "members": lambda desk: desk.members("Users"),
    "rights": lambda desk: desk.rights(),
    "have_password": lambda desk: desk.have_password(),
    "are_locked": lambda desk: desk.are_locked(),
    "locked_names": lambda desk: desk.locked_names(),
    "add, exists": lambda desk: desk.add("bob", exist_ok=True),
    "add_group, exists": lambda desk: desk.add_group("readers", exist_ok=True),
}
UNKNOWN = {
    "disable": lambda desk: desk.disable("mallory"),
    "enable": lambda desk: desk.enable("mallory"),
    "set_password": lambda desk: desk.set_password("mallory", Secret("tiger")),
    "remove_password": lambda desk: desk.remove_password("mallory"),
    "unlock": lambda desk: desk.unlock("mallory"),
    "add_member": lambda desk: desk.add_member("Users", "mallory"),
    "group": lambda desk: desk.add_member("wizards", "bob"),
    "remove_member": lambda desk: desk.remove_member("wizards", "mallory"),
    "grant": lambda desk: desk.grant("mallory", Privilege.BACKUP),
    "revoke": lambda desk: desk.revoke("mallory", Privilege.BACKUP),
    "members": lambda desk: desk.members("wizards"),
}
EVERYTHING = {**CHANGES, **{f"ask {name}": ask for name, ask in QUESTIONS.items()}}


# --- who may ----------------------------------------------------------------------


@pytest.mark.parametrize("act", EVERYTHING.values(), ids=EVERYTHING)
def test_administrators_and_the_server_may(server, administrator, act):
    act(server.accounts_for(administrator))


@pytest.mark.parametrize("act", EVERYTHING.values(), ids=EVERYTHING)
def test_nobody_else_may(server, alice, trail, act):
    with pytest.raises(AccessDeniedError):
        act(server.accounts_for(alice))
    assert "alice" in [
        record.client.name
        for record in trail(AuditEvent.OBJECT_ACCESS)
        if record.client
    ]


@pytest.mark.parametrize("act", UNKNOWN.values(), ids=UNKNOWN)
def test_who_may_not_ask_does_not_learn_who_exists(server, alice, act):
    with pytest.raises(UnknownAccountError):
        act(server.accounts)
    with pytest.raises(AccessDeniedError):
        act(server.accounts_for(alice))


def test_an_administrator_whose_session_ended_may_not(server, administrator):
    desk = server.accounts_for(administrator)
    administrator.close()
    with pytest.raises(LogonSessionEndedError):
        desk.add("carol")


# --- recorded first ---------------------------------------------------------------


def test_each_change_is_recorded_with_what_it_changes(server, trail):
    desk = server.accounts
    carol = str(desk.add("carol", uid=70003).sid)
    staff = str(desk.add_group("staff", gid=70100).sid)
    desk.add_member("staff", "carol")
    desk.remove_member("staff", "carol")
    desk.grant("carol", Privilege.BACKUP)
    desk.revoke("carol", Privilege.BACKUP)
    desk.disable("carol")
    desk.enable("carol")
    member = {"member": "carol", "member sid": carol}
    right = {"right": "SeBackupPrivilege"}
    expected = {
        AuditEvent.ACCOUNT_CREATED: ("carol", {"sid": carol, "uid": "70003"}),
        AuditEvent.GROUP_CREATED: ("staff", {"sid": staff, "gid": "70100"}),
        AuditEvent.GROUP_MEMBER_ADDED: ("staff", {"sid": staff} | member),
        AuditEvent.GROUP_MEMBER_REMOVED: ("staff", {"sid": staff} | member),
        AuditEvent.RIGHT_ASSIGNED: ("carol", {"sid": carol} | right),
        AuditEvent.RIGHT_REMOVED: ("carol", {"sid": carol} | right),
        AuditEvent.ACCOUNT_DISABLED: ("carol", {"sid": carol}),
        AuditEvent.ACCOUNT_ENABLED: ("carol", {"sid": carol}),
    }
    for event, (name, detail) in expected.items():
        record = trail(event)[-1]
        assert (name, detail) == (record.object_name, record.detail)


def test_whose_account_was_changed_is_told_though_the_name_is_anothers_now(
    server, trail
):
    desk, found = server.accounts, []
    for aside in ("first", "second"):
        found.append(str(desk.add("carol").sid))
        desk.disable("carol")
        desk.grant("carol", Privilege.BACKUP)
        desk.set_password("carol", Secret("tiger"))
        desk.rename("carol", aside)
    for event in (
        AuditEvent.ACCOUNT_CREATED,
        AuditEvent.ACCOUNT_DISABLED,
        AuditEvent.RIGHT_ASSIGNED,
        AuditEvent.PASSWORD_RESET,
    ):
        told = trail(event)[-2:]
        assert {"carol"} == {record.object_name for record in told}  # not enough
        assert found == [record.detail["sid"] for record in told]


def test_a_sid_that_came_to_nothing_is_given_to_nobody_else(server):
    desk = server.accounts
    lost = desk.store.new_sid()
    assert lost not in {desk.add("carol").sid, desk.add_group("staff").sid}


@pytest.mark.parametrize("act", CHANGES.values(), ids=CHANGES)
def test_what_cannot_be_recorded_is_not_changed(server, act):
    server.accounts.grant("bob", Privilege.RESTORE)
    store = server.accounts.store

    def state():
        passwords = server.accounts.logon.with_password()
        return store.accounts(), store.groups(), store.all_rights(), passwords

    before = state()
    server._house.guard.sink.close()
    with pytest.raises(LedgerUnavailableError):
        act(server.accounts)
    assert before == state()


# --- accounts ---------------------------------------------------------------------


def test_an_account_has_its_uid_as_gid_unless_told_otherwise(server):
    carol = server.accounts.add("carol", uid=70003)
    dora = server.accounts.add("dora", uid=70004, gid=70050)
    assert [(70003, 70003), (70004, 70050)] == [
        (account.uid, account.gid) for account in (carol, dora)
    ]
    erin = server.accounts.add("erin")
    assert (None, None) == (erin.uid, erin.gid)


@pytest.mark.parametrize("number", [-1, MAXIMUM_ID + 1])
def test_numbers_that_are_no_ids_are_refused(server, number):
    for act in (
        lambda: server.accounts.add("carol", uid=number),
        lambda: server.accounts.add("carol", uid=70003, gid=number),
        lambda: server.accounts.add_group("staff", gid=number),
    ):
        with pytest.raises(InvalidNameError):
            act()


def test_a_gid_without_a_uid_is_refused(server):
    with pytest.raises(InvalidNameError, match="without a uid"):
        server.accounts.add("carol", gid=50)


@pytest.mark.parametrize("gid", [0, 6, 42, 999, 65534])
def test_gids_of_the_system_are_given_to_nobody(server, gid):
    with pytest.raises(InvalidNameError, match=f"gid {gid} is"):
        server.accounts.add_group("wheel", gid=gid)
    with pytest.raises(InvalidNameError, match=f"gid {gid} is"):
        server.accounts.add("carol", uid=70003, gid=gid)


def test_a_name_is_taken_once_by_accounts_and_groups_alike(server):
    server.accounts.add_group("staff")
    for act in (
        lambda: server.accounts.add("ALICE"),
        lambda: server.accounts.add("Staff"),
        lambda: server.accounts.add_group("Alice"),
        lambda: server.accounts.add_group("STAFF"),
        lambda: server.accounts.add("carol", uid=70001),
    ):
        with pytest.raises(AccountExistsError):
            act()


def test_exist_ok_returns_what_is_there(server):
    alice = server.accounts.add("Alice", exist_ok=True)
    assert isinstance(alice, Account)
    assert alice == server.accounts.add("alice", uid=70001, exist_ok=True)
    staff = server.accounts.add_group("staff", gid=70100, exist_ok=True)
    assert staff == server.accounts.add_group("staff", exist_ok=True)


class Late:
    """A store whose first look at each name was before somebody else added it."""

    def __init__(self, store):
        self._store = store
        self._looked = set()

    def account_by_name(self, name):
        return self._late(("account", name), self._store.account_by_name)

    def group_by_name(self, name):
        return self._late(("group", name), self._store.group_by_name)

    def _late(self, what, look):
        is_first = what not in self._looked
        self._looked.add(what)
        return None if is_first else look(what[1])

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_exist_ok_returns_what_another_process_added_in_the_same_moment(server):
    alice = server.accounts.add("alice", uid=70001, exist_ok=True)
    staff = server.accounts.add_group("staff", gid=70100)
    desk = replace(server.accounts, store=Late(server.accounts.store))
    assert alice == desk.add("alice", uid=70001, exist_ok=True)
    assert staff == desk.add_group("staff", exist_ok=True)
    for act in (
        lambda desk: desk.add("alice"),
        lambda desk: desk.add("alice", uid=70002, exist_ok=True),
        lambda desk: desk.add("staff", exist_ok=True),
        lambda desk: desk.add_group("staff"),
        lambda desk: desk.add_group("alice", exist_ok=True),
    ):
        late = replace(server.accounts, store=Late(server.accounts.store))
        with pytest.raises(AccountExistsError):
            act(late)


def test_exist_ok_does_not_return_somebody_else(server):
    server.accounts.add_group("staff", gid=70100)
    for act in (
        lambda: server.accounts.add("alice", uid=70002, exist_ok=True),
        lambda: server.accounts.add("alice", uid=70001, gid=70050, exist_ok=True),
        lambda: server.accounts.add_group("staff", gid=70101, exist_ok=True),
    ):
        with pytest.raises(AccountExistsError, match="exists, and not with"):
            act()


def test_disabling_ends_sessions_here_and_now(server, alice, plan, rights):
    server.accounts.disable("alice")
    with pytest.raises(LogonSessionEndedError):
        server.require(alice, plan, rights.READ)
    assert server.accounts.list()[0].is_disabled
    assert not server.accounts.enable("alice").is_disabled


# --- groups and rights ------------------------------------------------------------


def test_a_group_is_not_its_own_member(server):
    server.accounts.add_group("staff")
    with pytest.raises(InvalidNameError, match="its own member"):
        server.accounts.add_member("staff", "STAFF")


def test_membership_is_told_and_told_apart(server):
    server.accounts.add_group("staff")
    assert server.accounts.add_member("staff", "alice")
    assert not server.accounts.add_member("staff", "alice")
    alice = server.accounts.list()[0]
    assert (alice.sid,) == server.accounts.members("staff")
    assert server.accounts.remove_member("staff", alice.sid)
    assert not server.accounts.remove_member("staff", alice.sid)
    assert "staff" in [group.name for group in server.accounts.groups()]


def test_rights_are_held_by_names_and_by_well_known_sids(server):
    assert server.accounts.grant("Everyone", LogonRight.DENY_NETWORK)
    assert not server.accounts.grant("Everyone", LogonRight.DENY_NETWORK)
    held = (well_known.EVERYONE, "SeDenyNetworkLogonRight")
    assert held in server.accounts.rights()
    assert server.accounts.revoke("Everyone", LogonRight.DENY_NETWORK)
    assert not server.accounts.revoke("Everyone", LogonRight.DENY_NETWORK)


def test_a_right_is_read_by_its_win32_name():
    assert Privilege.BACKUP is right_named("SeBackupPrivilege")
    assert LogonRight.DENY_NETWORK is right_named("SeDenyNetworkLogonRight")
    with pytest.raises(InvalidNameError, match="no privilege"):
        right_named("SeEverything")


# --- passwords --------------------------------------------------------------------


@pytest.fixture
def slept():
    return []


@pytest.fixture
def desk(server, slept):
    return replace(server.accounts, sleep=slept.append)


def knows(desk, name, word):
    return desk.logon.confirm(name, Secret(word)).error is None


def test_an_administrator_sets_and_takes_a_password(desk, trail):
    secret = Secret("tiger")
    desk.set_password("alice", secret)
    assert secret.is_wiped
    assert knows(desk, "alice", "tiger")
    [alice] = desk.have_password()
    assert desk.store.account_by_name("alice").sid == alice
    assert desk.remove_password("alice")
    assert not desk.remove_password("alice")
    assert not knows(desk, "alice", "tiger")
    sid = {"sid": str(alice)}
    assert [("alice", sid), ("alice", sid | {"to": "none"})] == [
        (record.object_name, record.detail)
        for record in trail(AuditEvent.PASSWORD_RESET)
    ]


class Asked:
    """Credentials that tell what they were asked."""

    def __init__(self, credentials, questions):
        self._credentials, self._questions = credentials, questions

    def __getattr__(self, name):
        self._questions.append(name)
        return getattr(self._credentials, name)


def test_one_password_is_taken_without_a_look_at_all_that_there_are(desk):
    """With a hundred thousand, that took a second for each."""
    desk.set_password("alice", Secret("tiger"))
    passwords, questions = desk.logon._passwords, []
    passwords.credentials = Asked(passwords.credentials, questions)
    assert desk.passwords.require_change("alice")
    assert desk.remove_password("alice")
    assert not desk.remove_password("alice")
    assert "accounts_with_password" not in questions
    assert frozenset() == desk.have_password()  # naive
    assert "accounts_with_password" in questions


def test_whoever_knows_a_password_may_change_it(desk, alice, trail):
    desk.set_password("alice", Secret("tiger"))
    own = replace(desk, subject=alice.subject)
    old, new = Secret("tiger"), Secret("lion")
    own.change_password("alice", old, new)
    assert (True, True) == (old.is_wiped, new.is_wiped)
    assert knows(desk, "alice", "lion")
    [record] = trail(AuditEvent.PASSWORD_CHANGED)
    assert ("alice", "alice") == (record.client.name, record.object_name)


def test_changing_a_password_is_no_way_to_guess_it(desk, alice, trail, slept):
    """Wrong ones are counted and answered late, and lock the name, as at a logon."""
    desk.set_password("alice", Secret("tiger"))
    own = replace(desk, subject=alice.subject)
    for _ in range(10):
        new = Secret("mine")
        with pytest.raises(LogonFailureError) as refused:
            own.change_password("alice", Secret("guess"), new)
        assert refused.value.__context__ is None
        assert new.is_wiped
    assert 10 == len(slept)
    with pytest.raises(LogonFailureError):
        own.change_password("alice", Secret("tiger"), Secret("mine"))
    [locked] = trail(AuditEvent.ACCOUNT_LOCKED_OUT)
    assert ("alice", str(alice.sid)) == (locked.object_name, locked.detail["sid"])
    statuses = {record.status for record in trail(AuditEvent.PASSWORD_CHANGED)}
    assert {PasswordMismatchError.status, AccountLockedOutError.status} == statuses
    alices = desk.store.account_by_name("alice").sid
    assert {alices} == desk.are_locked()
    assert desk.unlock("alice")
    assert not desk.unlock("alice")
    assert ["alice"] == [r.object_name for r in trail(AuditEvent.ACCOUNT_UNLOCKED)]
    own.change_password("alice", Secret("tiger"), Secret("lion"))


@pytest.mark.bypasses_the_law  # `knows` asks without a record
def test_a_new_password_that_none_can_be_changes_nothing(desk, alice):
    desk.set_password("alice", Secret("tiger"))
    for act in (
        lambda secret: desk.set_password("alice", secret),
        lambda secret: desk.change_password("alice", Secret("tiger"), secret),
    ):
        for word in ("", "x" * 2000):
            with pytest.raises(InvalidRequestError):
                act(Secret(word))
    assert knows(desk, "alice", "tiger")


@pytest.mark.bypasses_the_law  # `knows` asks without a record
def test_whose_session_ended_changes_no_password(desk, alice):
    desk.set_password("alice", Secret("tiger"))
    alice.close()
    own = replace(desk, subject=alice.subject)
    with pytest.raises(LogonSessionEndedError):
        own.change_password("alice", Secret("tiger"), Secret("lion"))
    assert knows(desk, "alice", "tiger")


def test_an_event_loop_never_waits_for_a_password(desk):
    async def main():
        secret = Secret("tiger")
        with pytest.raises(LoopThreadError):
            desk.set_password("alice", secret)
        assert secret.is_wiped

    asyncio.run(main())


def test_a_server_without_the_library_keeps_no_passwords(desk):
    poor = replace(desk, logon=None)
    with pytest.raises(EnforcementUnavailableError):
        poor.set_password("alice", Secret("tiger"))
    assert (frozenset(), frozenset()) == (poor.have_password(), poor.are_locked())
