"""Tokens are securable objects: who may open one, and for what."""

from __future__ import annotations

import pytest
from tests.decision.cases import ALICE, BOB, STAFF, token

from stead.decision.token_access import (
    TOKEN_MAPPING,
    TokenHandle,
    default_token_security,
    open_thread_token,
    open_token,
)
from stead.errors import (
    AccessDeniedError,
    BadImpersonationLevelError,
    CannotOpenAnonymousError,
    PrivilegeNotHeldError,
)
from stead.model.access_mask import AccessMask, GenericMapping, TokenRights
from stead.model.ace import AccessAllowedAce
from stead.model.acl import Acl
from stead.model.luid import Luid
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import ImpersonationLevel, TokenGroup, TokenType
from stead.model.well_known import LOCAL_SYSTEM

QUERY = int(TokenRights.QUERY)
MAXIMUM = int(AccessMask.MAXIMUM_ALLOWED)
SYSTEM = token(user=LOCAL_SYSTEM)


def opened(*rights, who=None, **fields):
    held = 0
    for right in rights:
        held |= right
    return TokenHandle(token(**fields) if who is None else who, int(held))


def test_its_user_and_the_system_open_a_token_and_nobody_else():
    alice = token()
    for caller in (alice, SYSTEM):
        handle = open_token(alice, caller=caller, desired=MAXIMUM)
        assert int(TokenRights.ALL_ACCESS) == handle.granted
    with pytest.raises(AccessDeniedError, match="QUERY") as caught:
        open_token(alice, caller=token(user=BOB), desired=QUERY)
    assert caught.value.decision is not None
    assert not caught.value.decision


def test_a_token_s_own_descriptor_says_who():
    mine = SecurityDescriptor(
        owner=ALICE, group=ALICE, dacl=Acl((AccessAllowedAce(BOB, QUERY),))
    )
    who = token(security=mine)
    assert open_token(who, caller=token(user=BOB), desired=QUERY).query() is who
    with pytest.raises(AccessDeniedError):
        open_token(who, caller=who, desired=QUERY)


def test_the_system_s_token_names_the_system_once():
    assert 1 == len(default_token_security(SYSTEM).dacl)


def test_generic_rights_are_those_of_winnt():
    assert GenericMapping(0x20008, 0x200E0, 0x20004, 0xF01FF) == TOKEN_MAPPING


def test_generic_rights_are_mapped():
    handle = open_token(token(), caller=token(), desired=int(AccessMask.GENERIC_READ))
    assert TOKEN_MAPPING.read == handle.granted


def test_nobody_opens_an_anonymous_token():
    nobody = token(level=ImpersonationLevel.ANONYMOUS)
    with pytest.raises(CannotOpenAnonymousError) as caught:
        open_token(nobody, caller=SYSTEM, desired=QUERY)
    assert (1347, "ERROR_CANT_OPEN_ANONYMOUS") == (
        caught.value.status,
        caught.value.win32_name,
    )


def test_who_is_only_identified_opens_nothing_but_may_be_opened_as_self():
    carried = token(level=ImpersonationLevel.IDENTIFICATION)
    process = token(type=TokenType.PRIMARY)
    with pytest.raises(BadImpersonationLevelError) as caught:
        open_thread_token(
            carried, process_token=process, desired=QUERY, open_as_self=False
        )
    levels = (ImpersonationLevel.IDENTIFICATION, ImpersonationLevel.IMPERSONATION)
    assert levels == (caught.value.level, caught.value.needed)
    handle = open_thread_token(
        carried, process_token=process, desired=QUERY, open_as_self=True
    )
    assert carried is handle.query()


def test_a_thread_opens_its_own_token_as_whom_it_is():
    carried, process = token(), token(user=BOB)
    handle = open_thread_token(
        carried, process_token=process, desired=QUERY, open_as_self=False
    )
    assert carried is handle.token
    with pytest.raises(AccessDeniedError):
        open_thread_token(
            carried, process_token=process, desired=QUERY, open_as_self=True
        )


def test_a_handle_does_only_what_it_was_opened_for():
    handle = opened(TokenRights.QUERY)
    with pytest.raises(AccessDeniedError, match="without DUPLICATE"):
        handle.duplicate()
    with pytest.raises(AccessDeniedError, match="without ADJUST_PRIVILEGES"):
        handle.adjust_privileges({})
    with pytest.raises(AccessDeniedError, match="without ADJUST_GROUPS"):
        handle.adjust_groups({})
    with pytest.raises(AccessDeniedError, match="without QUERY"):
        opened(TokenRights.DUPLICATE).query()


def test_a_copy_has_a_descriptor_of_its_own():
    mine = default_token_security(token())
    handle = opened(TokenRights.DUPLICATE, security=mine)
    assert handle.duplicate().security is None
    other = default_token_security(SYSTEM)
    copy = handle.duplicate(
        level=ImpersonationLevel.IDENTIFICATION, security=other, token_id=Luid(4)
    )
    assert (other, Luid(4)) == (copy.security, copy.token_id)
    assert ImpersonationLevel.IDENTIFICATION is copy.level
    with pytest.raises(BadImpersonationLevelError):
        TokenHandle(copy, int(TokenRights.ALL_ACCESS)).duplicate(type=TokenType.PRIMARY)


def test_adjusting_through_a_handle_keeps_what_was_granted():
    handle = opened(
        TokenRights.ADJUST_PRIVILEGES,
        TokenRights.ADJUST_GROUPS,
        who=token(TokenGroup(STAFF, 4), privileges=[Privilege.BACKUP]),
    )
    poorer = handle.adjust_privileges({Privilege.BACKUP: False})
    assert not poorer.token.has_privilege(Privilege.BACKUP)
    assert handle.granted == poorer.granted
    assert STAFF not in handle.adjust_groups({STAFF: False}).token.enabled_sids
    with pytest.raises(PrivilegeNotHeldError):
        handle.adjust_privileges({Privilege.TCB: True})


def test_impersonating_takes_other_rights_of_a_primary_token():
    primary = token(type=TokenType.PRIMARY)
    query, duplicate = TokenRights.QUERY, TokenRights.DUPLICATE
    assert primary is opened(query, duplicate, who=primary).to_impersonate()
    with pytest.raises(AccessDeniedError, match="DUPLICATE"):
        opened(query, TokenRights.IMPERSONATE, who=primary).to_impersonate()
    carried = token()
    handle = opened(query, TokenRights.IMPERSONATE, who=carried)
    assert carried is handle.to_impersonate()
    with pytest.raises(AccessDeniedError, match="IMPERSONATE"):
        opened(query, duplicate, who=carried).to_impersonate()
    with pytest.raises(AccessDeniedError, match="QUERY"):
        opened(TokenRights.IMPERSONATE, who=carried).to_impersonate()


def test_assigning_to_a_process_takes_three_rights():
    primary = token(type=TokenType.PRIMARY)
    rights = (TokenRights.QUERY, TokenRights.DUPLICATE, TokenRights.ASSIGN_PRIMARY)
    assert primary is opened(*rights, who=primary).to_assign()
    for lacking in rights:
        others = [right for right in rights if right is not lacking]
        with pytest.raises(AccessDeniedError, match=f"without {lacking.name}$"):
            opened(*others, who=primary).to_assign()
