from __future__ import annotations

import pytest

from stead.adapters.store import Store
from stead.authority.identity import (
    identify_again,
    identify_peer,
    require_logon_right,
)
from stead.authority.tokens import client_token
from stead.errors import (
    AccountDisabledError,
    InvalidNameError,
    InvalidRequestError,
    LogonTypeNotGrantedError,
    UnknownAccountError,
)
from stead.model import well_known
from stead.model.logon_record import LogonType
from stead.model.luid import Luid
from stead.model.posix_identity import PosixIdentity
from stead.model.privilege import LogonRight
from stead.model.token import ImpersonationLevel


def names_of(identity):
    return {membership.group.name for membership in identity.memberships}


def test_a_peer_without_an_account_is_its_uid(identify_uid):
    identity = identify_uid(70001, 70001, (50,))
    assert well_known.unix_user(70001) == identity.user
    assert "uid 70001" == identity.name
    assert identity.account is None
    assert PosixIdentity(70001, 70001, (50,)) == identity.posix
    assert (
        well_known.unix_user(70001),
        well_known.unix_group(70001),
        well_known.unix_group(50),
    ) == identity.unix_sids


def test_a_peer_with_an_account_is_the_account(store, identify_uid):
    alice = store.add_account("alice", 70001, 70001)
    identity = identify_uid(70001, 70001)
    assert (alice.sid, "alice", alice) == (
        identity.user,
        identity.name,
        identity.account,
    )
    assert well_known.unix_user(70001) in identity.unix_sids


def test_an_account_is_found_by_any_spelling_of_its_name(store, identify):
    alice = store.add_account("Alice", None, None)
    assert (alice.sid, None) == (identify("aLICE").user, identify("alice").posix)


def test_nobody_is_an_error(identify):
    with pytest.raises(UnknownAccountError) as refused:
        identify("x" * 100_000)
    assert len(str(refused.value)) < 200


def test_a_disabled_account_is_nobody_however_it_comes(store, identify, identify_uid):
    alice = store.add_account("alice", 70001, 70001)
    store.set_account_disabled(alice.sid, is_disabled=True)
    with pytest.raises(AccountDisabledError):
        identify("alice")
    with pytest.raises(AccountDisabledError):
        identify_uid(70001)


def test_gids_of_groups_in_the_store_reach_the_kernel(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, alice.sid)
    identity = identify("alice")
    assert (70100,) == identity.posix.groups
    assert well_known.unix_group(70100) in identity.unix_sids


def test_groups_of_the_host_are_kept_since_dropping_one_can_grant(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, alice.sid)
    host = PosixIdentity(70001, 70001, (50, 60))
    identity = identify("alice", host=lambda uid: host if uid == 70001 else None)
    assert (50, 60, 70100) == identity.posix.groups


def test_a_gid_of_the_system_comes_from_the_kernel_or_the_host_alone(
    store, identify, identify_uid
):
    alice = store.add_account("alice", 70001, 42)
    with pytest.raises(InvalidNameError, match="gid 42"):
        identify("alice")
    host = PosixIdentity(70001, 42)
    assert host == identify("alice", host=lambda _uid: host).posix
    assert (42,) == identify_uid(70001, 70001, (42,)).posix.groups
    disk = store.add_group("disk", 6)
    store.add_member(disk.sid, alice.sid)
    with pytest.raises(InvalidNameError, match="gid 6"):
        identify("alice", host=lambda _uid: host)


def test_a_gid_that_a_group_gives_may_be_in_groups_itself(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, alice.sid)
    printers = store.add_group("printers", 70200)
    store.add_member(printers.sid, well_known.unix_group(70100))
    identity = identify("alice")
    assert {"staff", "printers"} <= names_of(identity)
    assert (70100, 70200) == identity.posix.groups


def test_an_account_without_a_uid_has_no_kernel_identity(store, identify):
    alice = store.add_account("alice", None, None)
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, alice.sid)
    identity = identify("alice")
    assert (None, ()) == (identity.posix, identity.unix_sids)
    assert "staff" in names_of(identity)


@pytest.mark.parametrize(
    "everybody",
    [well_known.EVERYONE, well_known.AUTHENTICATED_USERS, well_known.NETWORK],
    ids=str,
)
def test_groups_and_rights_of_everybody_are_everybodys(store, identify_uid, everybody):
    banned = store.add_group("banned", None)
    store.add_member(banned.sid, everybody)
    store.add_right(everybody, "SeDenyNetworkLogonRight")
    identity = identify_uid(70001)
    assert "banned" in names_of(identity)
    assert "SeDenyNetworkLogonRight" in identity.rights


def test_rights_of_users_are_accounts_and_not_bare_uids(store, identify, identify_uid):
    store.add_account("alice", 70001, 70001)
    store.add_right(well_known.USERS, "SeBackupPrivilege")
    assert "SeBackupPrivilege" in identify("alice").rights
    assert {"SeNetworkLogonRight"} == identify_uid(70002).rights


def test_rights_come_from_the_account_its_groups_and_its_gids(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    staff = store.add_group("staff", 70100)
    store.add_member(staff.sid, alice.sid)
    store.add_right(alice.sid, "SeBackupPrivilege")
    store.add_right(staff.sid, "SeRestorePrivilege")
    store.add_right(well_known.unix_group(70100), "SeSecurityPrivilege")
    assert {
        "SeBackupPrivilege",
        "SeRestorePrivilege",
        "SeSecurityPrivilege",
    } <= identify("alice").rights


TYPE_SIDS = {
    LogonType.INTERACTIVE: well_known.INTERACTIVE,
    LogonType.NETWORK: well_known.NETWORK,
    LogonType.BATCH: well_known.BATCH,
    LogonType.SERVICE: well_known.SERVICE,
}
OFFERED = {*TYPE_SIDS, LogonType.NETWORK_CLEARTEXT}


@pytest.mark.parametrize("logon_type", TYPE_SIDS)
def test_what_those_of_one_type_are_in_and_hold_counts_for_that_type_alone(
    store, identify, logon_type
):
    store.add_account("alice", None, None)
    callers = store.add_group("callers", None)
    store.add_member(callers.sid, TYPE_SIDS[logon_type])
    store.add_right(TYPE_SIDS[logon_type], "SeShutdownPrivilege")
    for other in TYPE_SIDS:
        identity = identify("alice", logon_type=other)
        is_it = other is logon_type
        assert is_it is ("callers" in names_of(identity))
        assert is_it is ("SeShutdownPrivilege" in identity.rights)


def test_each_type_needs_its_right_and_a_denial_overrides_it(store, identify):
    alice = store.add_account("alice", None, None)
    for logon_type in TYPE_SIDS:
        word = logon_type.name.capitalize()
        for sid, right in store.all_rights():
            store.remove_right(sid, right)
        with pytest.raises(LogonTypeNotGrantedError, match="is not given"):
            require_logon_right(identify("alice", logon_type=logon_type))
        store.add_right(alice.sid, f"Se{word}LogonRight")
        require_logon_right(identify("alice", logon_type=logon_type))
        store.add_right(well_known.EVERYONE, f"SeDeny{word}LogonRight")
        with pytest.raises(LogonTypeNotGrantedError, match="is denied"):
            require_logon_right(identify("alice", logon_type=logon_type))


@pytest.mark.parametrize("logon_type", set(LogonType) - OFFERED)
def test_other_types_are_not_offered(store, identify, logon_type):
    store.add_account("alice", None, None)
    with pytest.raises(InvalidRequestError) as refused:
        identify("alice", logon_type=logon_type)
    assert "offered are interactive, network, network_cleartext" in refused.value.advice


def test_an_account_that_is_gone_is_nobody(store, identify):
    store.add_account("alice", None, None)
    before = identify("alice")
    with Store.open(":memory:") as other, pytest.raises(UnknownAccountError):
        identify_again(other.accounts, before)


def test_a_peer_whom_a_service_sends_is_marked_and_stays_so(store):
    """What is denied to clients that others vouch for is denied at every gate."""
    sent = well_known.SERVICE_ASSERTED_IDENTITY
    store.add_account("alice", 70001, 70001)
    peer = PosixIdentity(70001, 70001, ())
    herself, brought = (
        identify_peer(store, peer, is_sent=is_sent) for is_sent in (False, True)
    )
    held = [
        client_token(
            each, level=ImpersonationLevel.IMPERSONATION,
            logon_id=Luid(5), token_id=Luid(6),
        ).enabled_sids
        for each in (herself, brought, identify_again(store, brought))
    ]  # fmt: skip
    assert [False, True, True] == [sent in sids for sids in held]
    store.add_right(sent, LogonRight.DENY_NETWORK.value)
    require_logon_right(identify_again(store, herself))
    with pytest.raises(LogonTypeNotGrantedError):
        require_logon_right(identify_again(store, brought))
