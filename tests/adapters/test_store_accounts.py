"""Accounts, groups, memberships and rights in a store."""

from __future__ import annotations

import sys
import threading

import pytest

from stead.adapters.store import Store
from stead.adapters.store.naming import name_key
from stead.authority.ports import NOTHING_ASSIGNED, Alias
from stead.errors import (
    AccountExistsError,
    InvalidNameError,
    InvalidRequestError,
    StoreUnavailableError,
    UnknownAccountError,
)
from stead.model.luid import Luid
from stead.model.sid import Sid
from stead.model.well_known import (
    ADMINISTRATORS,
    BACKUP_OPERATORS,
    EVERYONE,
    USERS,
    unix_user,
)

NOBODY = Sid.from_string("S-1-5-21-9-9-9-9")


def groups_of(accounts, sid):
    return list(accounts.assignments_of((sid,))[sid].groups)


@pytest.fixture
def accounts(store):
    return store.accounts


def test_an_account_is_found_by_name_sid_and_uid(accounts):
    alice = accounts.add_account("Alice", 70_001, 70_002)
    assert accounts.domain().with_rid(1000) == alice.sid
    assert ("Alice", 70_001, 70_002, False, 1) == (
        alice.name,
        alice.uid,
        alice.gid,
        alice.is_disabled,
        alice.version,
    )
    assert alice == accounts.account_by_name("ALICE")
    assert alice == accounts.account_by_sid(alice.sid)
    assert alice == accounts.account_by_uid(70_001)


def test_an_account_without_a_uid_is_kept_so(accounts):
    alice = accounts.add_account("alice", None, None)
    bob = accounts.add_account("bob", None, None)
    assert (None, None) == (alice.uid, alice.gid)
    assert (alice, bob) == accounts.accounts()


def test_what_is_not_there_is_none(accounts):
    accounts.add_group("staff", None)
    assert accounts.account_by_name("staff") is None
    assert accounts.account_by_name("x\0y") is None
    assert accounts.account_by_name("\udc80") is None
    assert accounts.account_by_sid(ADMINISTRATORS) is None
    assert accounts.account_by_uid(70_001) is None
    assert accounts.account_by_uid(-1) is None
    assert accounts.account_by_uid(1 << 70) is None
    assert accounts.group_by_name("alice") is None
    assert accounts.group_by_name("\udc80") is None
    assert accounts.group_by_sid(NOBODY) is None


def test_a_group_is_found_by_name_and_sid(accounts):
    staff = accounts.add_group("Staff", 70_003)
    assert staff == accounts.group_by_name("staff")
    assert staff == accounts.group_by_sid(staff.sid)
    assert 70_003 == staff.gid


def test_every_store_has_its_builtin_groups_and_its_founder(accounts):
    names = {group.sid: group.name for group in accounts.groups()}
    assert {
        ADMINISTRATORS: "Administrators",
        USERS: "Users",
        BACKUP_OPERATORS: "Backup Operators",
    } == names
    founder = unix_user(accounts.founder())
    assert (founder,) == accounts.members(ADMINISTRATORS)
    assert [ADMINISTRATORS] == [group.sid for group in groups_of(accounts, founder)]


@pytest.mark.parametrize("taken", ["alice", "ALICE", "\uff41lice", "staff", "users"])
def test_a_name_is_taken_whatever_its_case_or_kind(accounts, taken):
    accounts.add_account("Alice", None, None)
    accounts.add_group("Staff", None)
    for add in (accounts.add_account, accounts.add_group):
        arguments = (None, None) if add == accounts.add_account else (None,)
        with pytest.raises(AccountExistsError, match=f"name `{taken}` is taken"):
            add(taken, *arguments)
    assert 1 == len(accounts.accounts())
    assert 4 == len(accounts.groups())


def test_a_uid_belongs_to_one_account_and_a_gid_to_one_group(accounts):
    accounts.add_account("alice", 70_001, 70_009)
    accounts.add_account("bob", 70_002, 70_009)  # a primary group may be shared
    accounts.add_group("staff", 70_009)
    with pytest.raises(AccountExistsError, match="uid `70001`"):
        accounts.add_account("mallory", 70_001, 70_009)
    with pytest.raises(AccountExistsError, match="gid `70009`"):
        accounts.add_group("crew", 70_009)


def test_a_refused_account_takes_no_rid(accounts):
    accounts.add_account("alice", None, None)
    with pytest.raises(AccountExistsError):
        accounts.add_account("alice", None, None)
    assert 1001 == accounts.add_group("staff", None).sid.rid


@pytest.mark.parametrize("uid", [-1, 1 << 32, 1 << 70])
def test_a_number_that_is_no_uid_is_refused(accounts, uid):
    with pytest.raises(InvalidRequestError):
        accounts.add_account("alice", uid, 1)
    with pytest.raises(InvalidRequestError):
        accounts.add_account("alice", 1, uid)
    with pytest.raises(InvalidRequestError):
        accounts.add_group("staff", uid)


def test_a_uid_without_a_gid_is_refused_by_the_schema(accounts):
    with pytest.raises(InvalidRequestError, match="uid_with_gid"):
        accounts.add_account("alice", 70_001, None)
    assert () == accounts.accounts()


@pytest.mark.parametrize("name", ["\0", "a\udc80"])
def test_a_name_that_no_database_can_hold_is_refused(accounts, name):
    with pytest.raises(InvalidNameError):
        accounts.add_account(name, None, None)
    with pytest.raises(InvalidNameError):
        accounts.add_group(name, None)
    with pytest.raises(InvalidNameError):
        accounts.add_right(NOBODY, name)


def test_names_stay_equal_to_their_own_keys():
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if not 0xD800 <= code <= 0xDFFF and code:
            key = name_key(char)
            assert key == name_key(key), hex(code)


def test_disabling_counts_as_a_change_only_once(accounts):
    alice = accounts.add_account("alice", None, None)
    once = accounts.set_account_disabled(alice.sid, is_disabled=True)
    assert (True, 2) == (once.is_disabled, once.version)
    assert once == accounts.set_account_disabled(alice.sid, is_disabled=True)
    again = accounts.set_account_disabled(alice.sid, is_disabled=False)
    assert (False, 3) == (again.is_disabled, again.version)
    assert again == accounts.account_by_name("alice")


@pytest.mark.parametrize("sid", [NOBODY, ADMINISTRATORS])
def test_only_accounts_can_be_disabled(accounts, sid):
    with pytest.raises(UnknownAccountError):
        accounts.set_account_disabled(sid, is_disabled=True)


def test_accounts_and_groups_are_listed_by_name(accounts):
    for name in ("bob", "Alice", "carol"):
        accounts.add_account(name, None, None)
    assert ["Alice", "bob", "carol"] == [one.name for one in accounts.accounts()]
    accounts.add_group("auditors", None)
    assert ["Administrators", "auditors", "Backup Operators", "Users"] == [
        group.name for group in accounts.groups()
    ]


def test_members_come_and_go(accounts):
    alice = accounts.add_account("alice", None, None)
    staff = accounts.add_group("staff", None)
    assert accounts.add_member(staff.sid, alice.sid)
    assert not accounts.add_member(staff.sid, alice.sid)
    assert accounts.add_member(USERS, alice.sid)
    assert accounts.add_member(staff.sid, unix_user(70_001))
    assert {alice.sid, unix_user(70_001)} == set(accounts.members(staff.sid))
    both = [staff, accounts.group_by_sid(USERS)]
    assert both == groups_of(accounts, alice.sid)
    assert accounts.remove_member(staff.sid, alice.sid)
    assert not accounts.remove_member(staff.sid, alice.sid)
    assert (unix_user(70_001),) == accounts.members(staff.sid)


def test_only_a_group_has_members(accounts):
    alice = accounts.add_account("alice", None, None)
    for sid in (alice.sid, NOBODY):
        with pytest.raises(UnknownAccountError):
            accounts.add_member(sid, EVERYONE)
    assert () == accounts.members(NOBODY)


def test_a_new_store_lets_accounts_log_on_as_windows_does(accounts):
    assert {
        (EVERYONE, "SeNetworkLogonRight"),
        (USERS, "SeInteractiveLogonRight"),
        (ADMINISTRATORS, "SeInteractiveLogonRight"),
        (BACKUP_OPERATORS, "SeInteractiveLogonRight"),
        (ADMINISTRATORS, "SeBatchLogonRight"),
        (BACKUP_OPERATORS, "SeBatchLogonRight"),
    } == set(accounts.all_rights())


def test_rights_come_and_go(accounts):
    begun = accounts.all_rights()
    someone, other = NOBODY.with_rid(1), NOBODY.with_rid(2)
    assert accounts.add_right(other, "SeNetworkLogonRight")
    assert not accounts.add_right(other, "SeNetworkLogonRight")
    assert accounts.add_right(someone, "SeChangeNotifyPrivilege")
    both = (
        (someone, "SeChangeNotifyPrivilege"),
        (other, "SeNetworkLogonRight"),
    )
    assert set(both) == set(accounts.all_rights()) - set(begun)
    assigned = accounts.assignments_of((other, NOBODY, someone))
    assert {other, NOBODY, someone} == assigned.keys()
    assert NOTHING_ASSIGNED == assigned[NOBODY]
    assert {*both} == {
        (who, right) for who in assigned for right in assigned[who].rights
    }
    assert both[1][1:] == accounts.assignments_of((other,))[other].rights
    assert {} == accounts.assignments_of(())
    assert accounts.remove_right(other, "SeNetworkLogonRight")
    assert not accounts.remove_right(other, "SeNetworkLogonRight")
    assert not accounts.remove_right(other, "\udc80")
    assert set(both[:1]) == set(accounts.all_rights()) - set(begun)


def test_groups_of_very_many_members_are_found(accounts):
    members = [NOBODY.with_rid(rid) for rid in range(1, 301)]
    last, first = accounts.add_group("last", None), accounts.add_group("first", 70_003)
    for group, member in ((last, members[0]), (first, members[0]), (last, members[-1])):
        accounts.add_member(group.sid, member)
    found = accounts.assignments_of(members)
    assert members == list(found)
    assert ((first, last), (last,)) == (
        found.pop(members[0]).groups, found.pop(members[-1]).groups,
    )  # fmt: skip
    assert {NOTHING_ASSIGNED} == {*found.values()}


def test_what_a_sid_is_in_and_holds_is_one_answer(accounts):
    group, member = accounts.add_group("staff", None), NOBODY.with_rid(1)
    accounts.add_member(group.sid, member)
    accounts.add_right(member, "SeNetworkLogonRight")
    accounts.add_right(member, "SeBackupPrivilege")
    [assigned] = accounts.assignments_of((member,)).values()
    assert (group,) == assigned.groups
    assert {"SeNetworkLogonRight", "SeBackupPrivilege"} == {*assigned.rights}


def test_who_is_somebody_is_told_within_a_bound(accounts):
    begun = accounts.assigned_to(100)
    assert {str(EVERYONE), str(USERS), str(ADMINISTRATORS)} <= {*begun}
    alice = accounts.add_account("alice", None, None).sid
    group = accounts.add_group("staff", None).sid
    accounts.add_member(group, alice)
    accounts.add_right(alice, "SeBackupPrivilege")
    assert sorted([*begun, str(alice), str(alice)]) == sorted(accounts.assigned_to(100))
    assert 2 == len(accounts.assigned_to(2))
    for name in ("one", "two", "three"):
        accounts.add_alias(alice, Alias("issuer", name))
    assert {"one", "two", "three"} == {*accounts.alias_names("issuer", 3)}
    assert 2 == len(accounts.alias_names("issuer", 2))
    for issuer in ("another", "\udc80"):
        assert [] == accounts.alias_names(issuer, 3)


def test_of_two_names_the_first_that_is_an_accounts_counts(accounts):
    sids = [accounts.add_account(name, None, None).sid for name in ("al", "bo")]
    for sid, name in zip(sids, ("one", "two"), strict=True):
        accounts.add_alias(sid, Alias("issuer", name))
    for names, expected in (
        (("one", "two"), "al"), (("two", "one"), "bo"), (("none", "two"), "bo"),
        (("two", "none"), "bo"), (("two",), "bo"), (("\udc80", "one"), "al"),
    ):  # fmt: skip
        assert expected == accounts.account_by_alias("issuer", *names).name
    assert accounts.account_by_alias("issuer", "none", "\udc80") is None
    assert accounts.account_by_alias("another", "one", "two") is None


def test_ids_of_the_wrong_kind_of_principal_are_not_changed(accounts):
    staff, alice = accounts.add_group("staff", None), accounts.add_account("a", 7, 7)
    with pytest.raises(UnknownAccountError):
        accounts.set_account_ids(staff.sid, 70_001, 70_001)
    with pytest.raises(UnknownAccountError):
        accounts.set_group_gid(alice.sid, 70_001)
    assert (staff,) == tuple(g for g in accounts.groups() if g.name == "staff")
    assert alice == accounts.account_by_name("a")


def test_rights_of_very_many_holders_are_found(accounts):
    holders = (*(NOBODY.with_rid(rid) for rid in range(2000)), USERS)
    found = accounts.assignments_of(holders)
    assert ("SeInteractiveLogonRight",) == found.pop(USERS).rights
    assert {NOTHING_ASSIGNED} == {*found.values()}


CHANGES = {
    "add_account": lambda store, _sid: store.add_account("bob", None, None),
    "add_group": lambda store, _sid: store.add_group("staff", None),
    "disable": lambda store, sid: store.set_account_disabled(sid, is_disabled=True),
    "add_member": lambda store, sid: store.add_member(ADMINISTRATORS, sid),
    "remove_member": lambda store, sid: store.remove_member(USERS, sid),
    "add_right": lambda store, sid: store.add_right(sid, "SeBackupPrivilege"),
    "remove_right": lambda store, sid: store.remove_right(sid, "SeTcbPrivilege"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_generation_grows_with_each_change_and_with_nothing_else(accounts, change):
    alice = accounts.add_account("alice", None, None)
    accounts.add_member(USERS, alice.sid)
    accounts.add_right(alice.sid, "SeTcbPrivilege")
    before = accounts.generation()
    accounts.account_by_name("alice")
    accounts.allocate_luid()
    assert before == accounts.generation()
    change(accounts, alice.sid)
    assert before < accounts.generation()


def test_luids_are_never_given_out_twice(place):
    with Store.open(place) as one, Store.open(place) as other:
        luids = [store.accounts.allocate_luid() for store in (one, other) * 1500]
    with Store.open(place) as later:
        luids += [later.accounts.allocate_luid() for _ in range(2)]
    assert 3002 == len(set(luids))
    assert all(type(luid) is Luid and luid >= 0x1_0000 for luid in luids)


def test_threads_are_given_different_luids(accounts):
    luids = []
    threads = [
        threading.Thread(
            target=lambda: luids.extend([accounts.allocate_luid() for _ in range(1500)])
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 6000 == len(set(luids))


CRASH = """
import os, sys
from stead.adapters.store import Store
store = Store.open(sys.argv[1])
print(*[int(store.accounts.allocate_luid()) for _ in range(3)], flush=True)
os.kill(os.getpid(), 9)
"""


def test_luids_are_not_repeated_after_a_crash(place, run_program):
    luids = []
    for _ in range(2):
        luids += run_program(CRASH, place).communicate(timeout=120)[0].split()
    assert 6 == len(set(luids))


ADD = """
import sys
from stead.adapters.store import Store
from stead.errors import AccountExistsError
store = Store.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    try:
        print(number, store.accounts.add_account(f"user {number}", None, None).sid)
    except AccountExistsError:
        pass
"""


def test_two_processes_that_add_the_same_accounts_never_share_one(place, run_program):
    adding = [run_program(ADD, place, stdin=-1) for _ in range(2)]
    assert ["ready\n", "ready\n"] == [process.stdout.readline() for process in adding]
    for process in adding:
        process.stdin.write("go\n")
        process.stdin.flush()
    lines = [
        line
        for process in adding
        for line in process.communicate(timeout=120)[0].splitlines()
    ]
    numbers = [int(line.split()[0]) for line in lines]
    assert list(range(40)) == sorted(numbers)
    with Store.open(place) as store:
        kept = {one.name: str(one.sid) for one in store.accounts.accounts()}
    assert {f"user {line.split()[0]}": line.split()[1] for line in lines} == kept
    assert 40 == len(set(kept.values()))


def test_a_rid_is_not_used_again_after_its_owner_is_gone(place):
    with Store.open(place) as store:
        first = store.accounts.add_account("alice", None, None)
    with Store.open(place) as store:
        second = store.accounts.add_account("bob", None, None)
        assert first.sid.rid + 1 == second.sid.rid


def test_a_closed_store_refuses(accounts, store):
    store.close()
    store.close()
    with pytest.raises(StoreUnavailableError, match="the store is closed"):
        accounts.accounts()
