"""A changed token is a new token, and never holds more than the old one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.cases import ALICE, DENY_ONLY, EDITORS, INTERNS, STAFF, token
from tests.strategies import tokens

from stead.decision.token_ops import (
    adjust_groups,
    adjust_privileges,
    duplicate_token,
    effective_part,
)
from stead.errors import (
    BadImpersonationLevelError,
    GroupNotAdjustableError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.acl import Acl
from stead.model.luid import Luid
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import (
    ENABLED_GROUP,
    GroupAttributes,
    ImpersonationLevel,
    TokenGroup,
    TokenType,
)

BACKUP, DEBUG, TCB = Privilege.BACKUP, Privilege.DEBUG, Privilege.TCB
ANONYMOUS, IDENTIFICATION, IMPERSONATION, DELEGATION = ImpersonationLevel
PRIMARY, THREAD = TokenType.PRIMARY, TokenType.IMPERSONATION
OPTIONAL = TokenGroup(EDITORS, GroupAttributes.ENABLED)

# --- duplicate_token -----------------------------------------------------------------


@pytest.mark.parametrize("before", ImpersonationLevel)
@pytest.mark.parametrize("after", ImpersonationLevel)
def test_a_copy_may_lower_the_level_and_never_raise_it(before, after):
    who = token(level=before)
    if after <= before:
        assert after is duplicate_token(who, level=after).level
        return
    with pytest.raises(BadImpersonationLevelError) as caught:
        duplicate_token(who, level=after)
    assert (before, after) == (caught.value.level, caught.value.needed)


@pytest.mark.parametrize("level", ImpersonationLevel)
def test_a_token_below_impersonation_cannot_become_primary(level):
    who = token(level=level)
    if level >= IMPERSONATION:
        made = duplicate_token(who, type=PRIMARY)
        assert (PRIMARY, IMPERSONATION) == (made.type, made.level)
        return
    with pytest.raises(BadImpersonationLevelError) as caught:
        duplicate_token(who, type=PRIMARY)
    assert (level, IMPERSONATION) == (caught.value.level, caught.value.needed)


def test_a_primary_token_is_never_made_below_impersonation():
    for who in (token(type=PRIMARY), token()):
        with pytest.raises(BadImpersonationLevelError):
            duplicate_token(who, type=PRIMARY, level=IDENTIFICATION)


@pytest.mark.parametrize("level", ImpersonationLevel)
def test_a_primary_token_may_be_copied_at_any_level(level):
    made = duplicate_token(token(type=PRIMARY), type=THREAD, level=level)
    assert (THREAD, level) == (made.type, made.level)


def test_a_copy_has_its_own_number_and_is_otherwise_the_same():
    who = token(INTERNS, privileges=[TCB], token_id=Luid(1), logon_id=Luid(9))
    made = duplicate_token(who, token_id=Luid(2))
    assert replace(who, token_id=Luid(2)) == made
    assert (Luid(1), who.enabled_sids) == (who.token_id, made.enabled_sids)


def test_who_may_open_a_token_may_not_therefore_open_its_copy():
    who = token(security=SecurityDescriptor(dacl=Acl(), owner=ALICE, group=ALICE))
    assert duplicate_token(who).security is None


# --- adjust_privileges ---------------------------------------------------------------


def test_privileges_are_enabled_and_disabled():
    who = adjust_privileges(token(privileges=[TCB, DEBUG]), {TCB: False})
    assert (False, True) == (who.has_privilege(TCB), who.has_privilege(DEBUG))
    again = adjust_privileges(who, {TCB: True, DEBUG: False})
    assert (True, False) == (again.has_privilege(TCB), again.has_privilege(DEBUG))


def test_attributes_say_the_same_as_booleans():
    who = token(privileges=[TCB])
    off = adjust_privileges(who, {TCB: PrivilegeAttributes.NONE})
    assert adjust_privileges(who, {TCB: False}) == off
    on = adjust_privileges(off, {TCB: PrivilegeAttributes.ENABLED})
    assert who == on
    by_default = PrivilegeAttributes.ENABLED_BY_DEFAULT
    assert not adjust_privileges(who, {TCB: by_default}).has_privilege(TCB)


def test_a_privilege_that_is_not_held_changes_nothing_at_all():
    who = token(privileges=[TCB])
    with pytest.raises(PrivilegeNotHeldError) as caught:
        adjust_privileges(who, {TCB: False, DEBUG: True, BACKUP: True})
    assert (DEBUG, BACKUP) == caught.value.privileges


@pytest.mark.parametrize("change", [True, False, PrivilegeAttributes.ENABLED])
def test_a_removed_privilege_never_comes_back(change):
    removed = adjust_privileges(
        token(privileges=[TCB]), {TCB: PrivilegeAttributes.REMOVED}
    )
    assert not removed.has_privilege(TCB)
    by_default = PrivilegeAttributes.ENABLED_BY_DEFAULT
    kept = by_default | PrivilegeAttributes.REMOVED
    assert kept == removed.privileges[0].attributes
    with pytest.raises(PrivilegeNotHeldError):
        adjust_privileges(removed, {TCB: change})


def test_a_removed_entry_beside_a_live_one_stays_removed():
    entries = (
        TokenPrivilege(TCB, PrivilegeAttributes.REMOVED),
        TokenPrivilege(TCB, PrivilegeAttributes.NONE),
    )
    who = adjust_privileges(replace(token(), privileges=entries), {TCB: True})
    assert entries[0] == who.privileges[0]
    assert who.has_privilege(TCB)


@settings(max_examples=50, deadline=None)
@given(tokens(), st.dictionaries(st.sampled_from(Privilege), st.booleans(), max_size=3))
def test_adjusting_never_adds_a_privilege(who, changes):
    held = {p.privilege for p in who.privileges}
    try:
        after = adjust_privileges(who, changes)
    except PrivilegeNotHeldError:
        return
    assert set(changes) <= held
    assert held == {p.privilege for p in after.privileges}
    assert all(after.has_privilege(p) == on for p, on in changes.items())


# --- adjust_groups -------------------------------------------------------------------


def test_an_optional_group_is_switched_off_and_on():
    who = token(INTERNS, OPTIONAL)
    off = adjust_groups(who, {EDITORS: False})
    assert EDITORS not in off.deny_sids
    assert INTERNS in off.enabled_sids
    assert who == adjust_groups(off, {EDITORS: True})


def test_a_mandatory_group_is_not_disabled():
    with pytest.raises(GroupNotAdjustableError) as caught:
        adjust_groups(token(INTERNS), {INTERNS: False})
    assert INTERNS == caught.value.group


def test_a_mandatory_group_may_be_enabled():
    held = TokenGroup(INTERNS, ENABLED_GROUP & ~GroupAttributes.ENABLED)
    enabled = adjust_groups(token(held), {INTERNS: True})
    assert INTERNS in enabled.enabled_sids
    assert ENABLED_GROUP == enabled.groups[0].attributes


def test_deny_only_is_irreversible():
    who = token(TokenGroup(INTERNS, DENY_ONLY))
    with pytest.raises(GroupNotAdjustableError):
        adjust_groups(who, {INTERNS: True})
    assert who == adjust_groups(who, {INTERNS: False})


def test_a_group_that_is_not_held_is_not_added():
    with pytest.raises(GroupNotAdjustableError):
        adjust_groups(token(OPTIONAL), {EDITORS: False, STAFF: True})


@settings(max_examples=50, deadline=None)
@given(tokens(), st.booleans())
def test_adjusting_groups_never_adds_a_sid(who, enable):
    present = {group.sid for group in who.groups} | {who.user}
    for group in who.groups:
        try:
            after = adjust_groups(who, {group.sid: enable})
        except SteadError:
            continue
        assert after.enabled_sids <= present
        assert not after.enabled_sids & {g.sid for g in who.groups if g.is_deny_only}


# --- what is effective ------------------------------------------------------------


def test_what_is_disabled_is_left_out_and_deny_only_stays():
    off = TokenGroup(INTERNS, GroupAttributes.NONE)
    who = replace(
        token(TokenGroup(STAFF), off, TokenGroup(EDITORS, DENY_ONLY)),
        privileges=(
            TokenPrivilege(BACKUP, PrivilegeAttributes.ENABLED),
            TokenPrivilege(DEBUG, PrivilegeAttributes.NONE),
        ),
    )
    part = effective_part(who)
    assert who.groups[:1] + who.groups[2:] == part.groups
    assert [BACKUP] == [entry.privilege for entry in part.privileges]


def test_the_effective_part_has_the_default_descriptor():
    own = SecurityDescriptor(dacl=Acl(), owner=ALICE, group=ALICE)
    assert effective_part(token(security=own)).security is None


@given(tokens())
def test_the_effective_part_matches_what_the_token_matches(who):
    part = effective_part(who)
    assert who.enabled_sids == part.enabled_sids
    assert who.deny_sids == part.deny_sids
    assert who.enabled_privileges == part.enabled_privileges
    assert part == effective_part(part)
