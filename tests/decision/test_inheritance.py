"""A new object is its creator's, and never everybody's by default."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.decision.making import (
    ALICE,
    BOB,
    CI,
    INTERNS,
    IO,
    MAPPING,
    OWNING,
    READ,
    STAFF,
    WRITE,
    allow,
    deny,
    described,
    label,
    token,
)
from tests.strategies import tokens

from stead.decision.access_check import access_check
from stead.decision.inheritance import (
    new_object_descriptor,
    require_owner,
    require_sacl,
    rights_to_set,
)
from stead.errors import InvalidAclError, InvalidOwnerError, PrivilegeNotHeldError
from stead.model.access_mask import AccessMask
from stead.model.ace import AccessAllowedAce, AceFlags, OpaqueAce, SystemAuditAce
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl
from stead.model.privilege import Privilege
from stead.model.token import GroupAttributes, TokenGroup
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    HIGH_LEVEL,
    LOW_LEVEL,
    MEDIUM_LEVEL,
)

DENY_ONLY = GroupAttributes.USE_FOR_DENY_ONLY
MAXIMUM = int(AccessMask.MAXIMUM_ALLOWED)
AUDIT = SystemAuditAce(EVERYONE, 1 << 31, AceFlags.FAILED_ACCESS)


class PuzzleAce(AccessAllowedAce):
    """An entry of a kind that a program made up."""

    __slots__ = ()


def check(who, what, desired):
    return access_check(who, what, desired, MAPPING)


def made(who, **given_parts):
    return new_object_descriptor(who, mapping=MAPPING, **given_parts)


# --- owner and group -----------------------------------------------------------------


def test_owner_and_group_default_to_the_tokens():
    what = made(token())
    assert (ALICE, ALICE) == (what.owner, what.group)
    who = token(TokenGroup(STAFF, OWNING), owner=STAFF, primary_group=INTERNS)
    what = made(who)
    assert (STAFF, INTERNS) == (what.owner, what.group)


def test_the_user_may_own_even_when_deny_only():
    require_owner(token(user_is_deny_only=True), ALICE)


def test_an_enabled_group_with_the_owner_attribute_may_own():
    what = made(token(TokenGroup(STAFF, OWNING)), owner=STAFF, group=INTERNS)
    assert (STAFF, INTERNS) == (what.owner, what.group)


@pytest.mark.parametrize(
    "groups",
    [
        (),
        (TokenGroup(STAFF),),
        (TokenGroup(STAFF, GroupAttributes.OWNER),),
        (TokenGroup(STAFF, OWNING | DENY_ONLY),),
        (TokenGroup(STAFF, OWNING), TokenGroup(STAFF, DENY_ONLY)),
        (TokenGroup(INTERNS, OWNING), TokenGroup(STAFF)),
    ],
)
def test_nobody_else_may_own(groups):
    with pytest.raises(InvalidOwnerError):
        made(token(*groups), owner=STAFF)


def test_a_default_owner_is_held_to_the_same_rule():
    with pytest.raises(InvalidOwnerError):
        made(token(owner=BOB))


def test_restore_privilege_assigns_any_owner():
    what = made(token(privileges=[Privilege.RESTORE]), owner=BOB)
    assert BOB == what.owner


# --- the lists -----------------------------------------------------------------------


def test_a_given_dacl_is_taken_with_its_rights_mapped():
    given_dacl = Acl((deny(BOB, 1 << 28), allow(EVERYONE, 1 << 31 | WRITE)))
    what = made(token(default_dacl=Acl((allow(BOB, READ),))), dacl=given_dacl)
    expected = (deny(BOB, MAPPING.all), allow(EVERYONE, MAPPING.read | WRITE))
    assert expected == what.dacl.aces


def test_the_default_dacl_of_the_token_is_taken_where_none_is_given():
    what = made(token(default_dacl=Acl((allow(BOB, 1 << 31),))))
    assert (allow(BOB, MAPPING.read),) == what.dacl.aces


@pytest.mark.parametrize("default", [ABSENT_DACL, NULL_DACL])
def test_without_a_default_dacl_the_object_is_its_owners_alone(default):
    what = made(token(default_dacl=default))
    assert (allow(ALICE, MAPPING.all),) == what.dacl.aces
    assert MAPPING.all == check(token(), what, MAXIMUM).granted
    assert not check(token(EVERYONE, user=BOB), what, MAXIMUM)


def test_a_null_dacl_is_had_by_asking_for_it():
    assert NULL_DACL is made(token(), dacl=NULL_DACL).dacl


def test_an_empty_dacl_stays_empty():
    assert Acl() == made(token(), dacl=Acl()).dacl


def test_creator_entries_name_the_creator():
    given_dacl = Acl((allow(CREATOR_OWNER, READ), allow(CREATOR_GROUP, WRITE)))
    what = made(token(), group=STAFF, dacl=given_dacl)
    assert (allow(ALICE, READ), allow(STAFF, WRITE)) == what.dacl.aces


def test_an_inherit_only_entry_is_kept_for_the_children():
    entry = allow(CREATOR_OWNER, 1 << 28, CI | IO)
    assert (entry,) == made(token(), dacl=Acl((entry,))).dacl.aces


@pytest.mark.parametrize(
    "entry", [AUDIT, label(LOW_LEVEL, 1), PuzzleAce(BOB, READ), OpaqueAce()]
)
def test_a_dacl_holds_allow_and_deny_entries_alone(entry):
    with pytest.raises(InvalidAclError):
        made(token(), dacl=Acl((entry,)))


def test_a_sacl_holds_system_entries_of_known_kinds_alone():
    who = token(privileges=[Privilege.SECURITY])
    with pytest.raises(InvalidAclError):
        made(who, sacl=Acl((PuzzleAce(BOB, READ),)))
    with pytest.raises(InvalidAclError):
        made(who, sacl=Acl((OpaqueAce(),)))


def test_audit_entries_need_security_privilege():
    sacl = Acl((AUDIT,))
    with pytest.raises(PrivilegeNotHeldError) as caught:
        made(token(), sacl=sacl)
    assert (Privilege.SECURITY,) == caught.value.privileges
    what = made(token(privileges=[Privilege.SECURITY]), sacl=sacl)
    assert (replace(AUDIT, mask=MAPPING.read),) == what.sacl.aces


def test_a_label_up_to_the_tokens_own_needs_no_privilege():
    for level in (LOW_LEVEL, MEDIUM_LEVEL):
        sacl = Acl((label(level, 1),))
        assert sacl == made(token(), sacl=sacl).sacl


def test_a_label_above_the_token_needs_relabel_privilege():
    sacl = Acl((label(HIGH_LEVEL, 1),))
    with pytest.raises(PrivilegeNotHeldError) as caught:
        require_sacl(token(privileges=[Privilege.SECURITY]), sacl)
    assert (Privilege.RELABEL,) == caught.value.privileges
    require_sacl(token(privileges=[Privilege.RELABEL]), sacl)


def test_a_label_that_names_no_level_is_refused():
    with pytest.raises(InvalidAclError):
        made(token(), sacl=Acl((label(EVERYONE, 1),)))


@pytest.mark.parametrize("sacl", [ABSENT_SACL, NULL_SACL, Acl()])
def test_a_sacl_without_entries_needs_no_privilege(sacl):
    assert sacl == made(token(), sacl=sacl).sacl


@settings(max_examples=100, deadline=None)
@given(tokens())
def test_no_default_opens_an_object_to_a_stranger(who):
    who = replace(who, default_dacl=NULL_DACL)
    stranger = token(EVERYONE, user=EVERYONE)
    assert not check(stranger, made(who), MAXIMUM)


# --- changing a descriptor -----------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        ((), 0),
        (("owner",), AccessMask.WRITE_OWNER),
        (("group",), AccessMask.WRITE_OWNER),
        (("label",), AccessMask.WRITE_OWNER),
        (("dacl",), AccessMask.WRITE_DAC),
        (("sacl",), AccessMask.ACCESS_SYSTEM_SECURITY),
        (("owner", "dacl"), AccessMask.WRITE_OWNER | AccessMask.WRITE_DAC),
    ],
)
def test_each_part_of_a_descriptor_takes_its_own_right(parts, needed):
    assert needed == rights_to_set(**dict.fromkeys(parts, True))


def test_the_owner_may_change_the_dacl_and_not_the_owner():
    what = described(owner=ALICE)
    assert check(token(), what, rights_to_set(dacl=True))
    assert not check(token(), what, rights_to_set(owner=True))
