from __future__ import annotations

import pytest

from stead.authority import tokens
from stead.model import well_known
from stead.model.acl import Acl
from stead.model.logon_record import LogonType
from stead.model.luid import Luid
from stead.model.privilege import Privilege
from stead.model.token import (
    ENABLED_GROUP,
    GroupAttributes,
    ImpersonationLevel,
    TokenType,
)

LOGON = Luid(0x1_0000_0007)


def token_of(identity, level=ImpersonationLevel.IMPERSONATION):
    return tokens.client_token(
        identity,
        level=level,
        logon_id=LOGON,
        token_id=Luid(8),
    )


def test_a_services_sid_is_the_one_that_windows_gives_its_name():
    expected = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
    assert expected == str(tokens.service_sid("TrustedInstaller"))
    assert expected == str(tokens.service_sid("trustedinstaller"))


def test_a_peers_token_without_an_account_holds_what_the_kernel_vouches_for(
    identify_uid,
):
    token = token_of(identify_uid(70001, 70001, (50,)))
    assert [
        well_known.EVERYONE,
        well_known.NETWORK,
        well_known.AUTHENTICATED_USERS,
        well_known.logon_sid(1, 7),
        well_known.unix_group(70001),
        well_known.unix_group(50),
    ] == [group.sid for group in token.groups]
    assert well_known.unix_user(70001) == token.user
    assert well_known.unix_group(70001) == token.primary_group
    assert (TokenType.IMPERSONATION, LOGON) == (token.type, token.logon_id)


def test_an_accounts_token_holds_users_and_its_bare_uid_too(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    token = token_of(identify("alice"))
    assert alice.sid == token.user
    assert token.group(well_known.USERS) is not None
    assert token.group(well_known.unix_user(70001)) is not None


def test_the_logon_sid_is_marked_as_one(identify_uid):
    group = token_of(identify_uid(70001)).group(well_known.logon_sid(1, 7))
    assert ENABLED_GROUP | GroupAttributes.LOGON_ID == group.attributes


def test_no_group_is_held_twice(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    store.add_member(well_known.ADMINISTRATORS, alice.sid)
    host_groups = [group.sid for group in token_of(identify("alice")).groups]
    assert len(set(host_groups)) == len(host_groups)


def test_an_administrator_has_high_integrity_and_may_own_for_the_group(store, identify):
    store.add_account("bob", None, None)
    alice = store.add_account("alice", None, None)
    store.add_member(well_known.ADMINISTRATORS, alice.sid)
    token = token_of(identify("alice"))
    assert well_known.HIGH_LEVEL == token.integrity
    group = token.group(well_known.ADMINISTRATORS)
    assert group.attributes & GroupAttributes.OWNER
    assert well_known.MEDIUM_LEVEL == token_of(identify("bob")).integrity


def test_privileges_are_those_given_and_what_everybody_holds_all_enabled(
    store, identify
):
    alice = store.add_account("alice", None, None)
    store.add_right(alice.sid, "SeBackupPrivilege")
    store.add_right(alice.sid, "SeDenyBatchLogonRight")  # a right, no privilege
    token = token_of(identify("alice"))
    assert {Privilege.BACKUP, Privilege.CHANGE_NOTIFY} == token.enabled_privileges
    assert 2 == len(token.privileges)


def test_somebody_without_a_uid_creates_for_users(store, identify):
    store.add_account("alice", None, None)
    assert well_known.USERS == token_of(identify("alice")).primary_group


def test_a_client_that_comes_as_nobody_is_anonymous(store, identify):
    alice = store.add_account("alice", 70001, 70001)
    store.add_right(alice.sid, "SeBackupPrivilege")
    token = token_of(identify("alice"), ImpersonationLevel.ANONYMOUS)
    assert well_known.ANONYMOUS_LOGON == token.user
    assert {well_known.EVERYONE, well_known.NETWORK} == {
        group.sid for group in token.groups
    }
    assert frozenset() == token.enabled_privileges
    assert well_known.UNTRUSTED_LEVEL == token.integrity


def test_a_servers_token_is_primary_and_holds_what_it_is_told():
    token = tokens.server_token("notes", logon_id=LOGON, token_id=Luid(8))
    assert tokens.service_sid("notes") == token.user
    assert TokenType.PRIMARY is token.type
    assert set(tokens.SERVER_HOLDS) == token.enabled_privileges
    assert token.group(well_known.SERVICE) is not None
    assert well_known.SYSTEM_LEVEL == token.integrity


@pytest.mark.parametrize("sid", [well_known.EVERYONE, well_known.LOCAL_SYSTEM], ids=str)
def test_what_somebody_makes_is_theirs_alone(sid):
    dacl = tokens.default_dacl(sid)
    assert isinstance(dacl, Acl)
    assert [sid, well_known.LOCAL_SYSTEM] == [ace.trustee for ace in dacl]


PRIMARY_TYPES = {
    LogonType.INTERACTIVE: well_known.INTERACTIVE,
    LogonType.BATCH: well_known.BATCH,
    LogonType.SERVICE: well_known.SERVICE,
}


@pytest.mark.parametrize("logon_type", PRIMARY_TYPES)
def test_other_types_than_network_give_a_primary_token(store, identify, logon_type):
    store.add_account("alice", None, None)
    token = token_of(identify("alice", logon_type=logon_type))
    assert (TokenType.PRIMARY, ImpersonationLevel.IMPERSONATION) == (
        token.type,
        token.level,
    )
    assert token.group(PRIMARY_TYPES[logon_type]) is not None
    assert token.group(well_known.NETWORK) is None
    assert token.group(well_known.logon_sid(1, 7)) is not None


def test_a_primary_token_holds_most_privileges_disabled(store, identify):
    alice = store.add_account("alice", None, None)
    held = {
        Privilege.BACKUP,
        Privilege.CHANGE_NOTIFY,
        Privilege.IMPERSONATE,
        Privilege.CREATE_GLOBAL,
    }
    for privilege in held:
        store.add_right(alice.sid, privilege.value)
    token = token_of(identify("alice", logon_type=LogonType.INTERACTIVE))
    assert held == {entry.privilege for entry in token.privileges}
    assert held - {Privilege.BACKUP} == token.enabled_privileges
    assert held == token_of(identify("alice")).enabled_privileges
