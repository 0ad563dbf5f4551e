"""The laws of the access check ([MS-DTYP] 2.5.3.2), by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.decision.cases import (
    ALICE,
    BOB,
    DELETE,
    DENY_ONLY,
    DISABLED,
    INHERIT_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    STAFF,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    PuzzleAce,
    allow,
    check,
    deny,
    guarded,
    token,
)

from stead.decision.access_check import access_check
from stead.decision.fast import is_granted, pure_is_granted
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidAccessMaskError,
)
from stead.model.access_mask import FILE_MAPPING, FileRights
from stead.model.ace import AceFlags, MandatoryLabelAce
from stead.model.acl import NULL_DACL, NULL_SACL, Acl
from stead.model.decision import AccessDecision, AccessQuestion
from stead.model.privilege import Privilege, PrivilegeAttributes, TokenPrivilege
from stead.model.token import ImpersonationLevel, TokenGroup
from stead.model.well_known import (
    EVERYONE,
    HIGH_LEVEL,
    LOCAL_SYSTEM,
    OWNER_RIGHTS,
    PRINCIPAL_SELF,
)

# --- the walk ------------------------------------------------------------------------


def test_an_allow_entry_grants_what_it_names():
    assert READ == check(token(), guarded(allow(ALICE, READ)), READ).granted


def test_what_no_entry_names_is_denied():
    assert 0 == check(token(), guarded(allow(ALICE, READ)), READ | WRITE).granted


def test_grants_accumulate_over_entries():
    what = guarded(allow(ALICE, READ), allow(INTERNS, WRITE))
    assert READ | WRITE == check(token(INTERNS), what, READ | WRITE).granted


def test_explicit_deny_beats_later_allow():
    assert not check(token(), guarded(deny(ALICE, WRITE), allow(ALICE, WRITE)), WRITE)


def test_an_earlier_allow_beats_a_later_deny():
    assert check(token(), guarded(allow(ALICE, WRITE), deny(ALICE, WRITE)), WRITE)


def test_denials_accumulate_over_entries():
    many = READ | WRITE | SYSTEM_SECURITY
    what = guarded(deny(ALICE, READ), deny(ALICE, WRITE), allow(ALICE, many))
    for right in (READ, WRITE, SYSTEM_SECURITY):
        assert not check(token(), what, right)


def test_a_deny_of_another_right_does_not_matter():
    what = guarded(deny(ALICE, WRITE), allow(ALICE, READ | WRITE))
    assert READ == check(token(), what, READ).granted
    assert not check(token(), what, READ | WRITE)


def test_entries_of_others_do_not_matter():
    what = guarded(deny(BOB, READ), allow(STAFF, WRITE), allow(ALICE, READ))
    assert READ == check(token(), what, READ).granted
    assert not check(token(), what, WRITE)


def test_empty_dacl_denies():
    for desired in (READ, READ_CONTROL, MAXIMUM):
        assert not check(token(), guarded(), desired)


def test_an_inherit_only_entry_decides_nothing():
    assert not check(token(), guarded(allow(ALICE, READ, INHERIT_ONLY)), READ)
    what = guarded(deny(ALICE, READ, INHERIT_ONLY), allow(ALICE, READ))
    assert check(token(), what, READ)
    assert check(token(integrity=HIGH_LEVEL), guarded(*what.dacl, owner=ALICE), READ)


def test_an_inherited_entry_decides_like_any_other():
    assert check(token(), guarded(allow(ALICE, READ, AceFlags.INHERITED)), READ)


def test_disabled_group_never_allows():
    who = token(TokenGroup(INTERNS, DISABLED))
    assert not check(who, guarded(allow(INTERNS, READ)), READ)


def test_a_disabled_group_never_denies():
    who = token(TokenGroup(INTERNS, DISABLED))
    assert check(who, guarded(deny(INTERNS, READ), allow(ALICE, READ)), READ)


def test_a_deny_only_group_denies_and_never_allows():
    who = token(TokenGroup(INTERNS, DENY_ONLY))
    assert not check(who, guarded(allow(INTERNS, READ)), READ)
    assert not check(who, guarded(deny(INTERNS, READ), allow(ALICE, READ)), READ)


def test_a_deny_only_user_denies_and_never_allows():
    who = token(EVERYONE, user_is_deny_only=True)
    assert not check(who, guarded(allow(ALICE, READ)), READ)
    assert not check(who, guarded(deny(ALICE, READ), allow(EVERYONE, READ)), READ)
    assert check(who, guarded(allow(EVERYONE, READ)), READ)


def test_everyone_is_who_holds_everyone():
    assert not check(token(), guarded(allow(EVERYONE, READ)), READ)
    assert check(token(EVERYONE), guarded(allow(EVERYONE, READ)), READ)


def test_generic_rights_of_an_entry_are_those_of_the_mapping():
    what = guarded(allow(ALICE, 0x80000000))
    assert READ | READ_CONTROL == check(token(), what, READ | READ_CONTROL).granted
    assert not check(token(), what, WRITE)
    assert not check(token(), guarded(deny(ALICE, 1 << 28), allow(ALICE, 7)), READ)


def test_members_of_a_rights_enum_may_be_asked_for():
    decision = access_check(
        token(), guarded(allow(ALICE, 3)), FileRights.READ_DATA, FILE_MAPPING
    )
    assert (1, int) == (decision.granted, type(decision.granted))
    assert is_granted(
        token(), guarded(allow(ALICE, 3)), FileRights.READ_DATA, FILE_MAPPING
    )


def test_a_decision_keeps_its_question():
    who, what = token(), guarded(allow(ALICE, READ))
    question = AccessQuestion(what, who, READ, MAPPING)
    assert AccessDecision(question, True, READ) == check(who, what, READ)


def test_a_null_sacl_is_no_label():
    assert check(token(), guarded(allow(ALICE, READ), sacl=NULL_SACL), READ)


# --- questions that have no answer ----------------------------------------------------


@pytest.mark.parametrize("desired", [-1, 1 << 32, "1"])
def test_a_question_that_is_no_mask_is_refused(desired):
    for door in (access_check, is_granted):
        with pytest.raises(InvalidAccessMaskError):
            door(token(), guarded(), desired, MAPPING)


@pytest.mark.parametrize("desired", ["1", 1.0, None])
def test_a_question_that_is_no_mask_is_refused_however_often_others_were_asked(desired):
    who, what = token(), guarded(allow(ALICE, READ))
    for door in (access_check, is_granted, pure_is_granted):
        assert door(who, what, READ, MAPPING)
        with pytest.raises(InvalidAccessMaskError):
            door(who, what, desired, MAPPING)


@pytest.mark.parametrize("bit", [28, 29, 30, 31])
def test_generic_rights_are_refused_however_often_others_were_asked(bit):
    who, what = token(), guarded(allow(ALICE, READ))
    for door in (access_check, is_granted, pure_is_granted):
        assert door(who, what, READ, MAPPING)
        with pytest.raises(GenericNotMappedError):
            door(who, what, 1 << bit, MAPPING)
        with pytest.raises(GenericNotMappedError):
            door(who, guarded(allow(ALICE, READ)), READ | 1 << bit, MAPPING)


def test_an_anonymous_token_is_judged_by_no_door():
    who, what = token(level=ImpersonationLevel.ANONYMOUS), guarded(allow(ALICE, READ))
    for door in (access_check, is_granted, pure_is_granted):
        with pytest.raises(BadImpersonationLevelError) as caught:
            door(who, what, READ, MAPPING)
        levels = (ImpersonationLevel.ANONYMOUS, ImpersonationLevel.IDENTIFICATION)
        assert levels == (caught.value.level, caught.value.needed)


# --- the owner ------------------------------------------------------------------------


def test_the_owner_reads_and_rewrites_the_descriptor_whatever_the_dacl():
    what = guarded(deny(ALICE, READ_CONTROL | WRITE_DAC), owner=ALICE)
    both = READ_CONTROL | WRITE_DAC
    assert both == check(token(), what, both).granted
    assert not check(token(), what, READ)
    assert not check(token(), what, DELETE)
    assert both == check(token(), what, MAXIMUM).granted


def test_an_enabled_group_that_owns_makes_an_owner():
    assert check(token(INTERNS), guarded(owner=INTERNS), WRITE_DAC)


def test_who_owns_keeps_what_privileges_grant():
    privileges = [Privilege.SECURITY, Privilege.TAKE_OWNERSHIP]
    who, asked = token(privileges=privileges), SYSTEM_SECURITY | WRITE_OWNER | WRITE_DAC
    assert asked == check(who, guarded(owner=ALICE), asked).granted


def test_an_owner_rights_entry_replaces_the_owners_rights():
    what = guarded(allow(OWNER_RIGHTS, READ), owner=ALICE)
    assert READ == check(token(), what, MAXIMUM).granted
    assert not check(token(), what, WRITE_DAC)


def test_an_owner_rights_entry_means_the_owner_alone():
    what = guarded(allow(OWNER_RIGHTS, READ), owner=BOB)
    assert not check(token(), what, READ)
    assert check(token(user=BOB), what, READ)


def test_an_owner_rights_deny_binds_the_owner():
    what = guarded(deny(OWNER_RIGHTS, READ), allow(ALICE, READ), owner=ALICE)
    assert not check(token(), what, READ)
    assert check(token(), replace(what, owner=BOB), READ)


def test_an_owner_rights_deny_binds_a_deny_only_owner():
    what = guarded(deny(OWNER_RIGHTS, READ), allow(ALICE, READ), owner=INTERNS)
    assert not check(token(TokenGroup(INTERNS, DENY_ONLY)), what, READ)


def test_an_inherit_only_owner_rights_entry_replaces_nothing():
    what = guarded(allow(OWNER_RIGHTS, READ, INHERIT_ONLY), owner=ALICE)
    assert check(token(), what, WRITE_DAC)
    assert not check(token(), what, READ)


def test_an_object_that_owner_rights_owns_is_nobody_s():
    what = guarded(allow(OWNER_RIGHTS, READ), owner=OWNER_RIGHTS)
    for right in (READ, WRITE_DAC):
        assert not check(token(OWNER_RIGHTS), what, right)


def test_a_token_that_holds_owner_rights_is_no_owner():
    who = token(OWNER_RIGHTS)
    assert not check(who, guarded(allow(OWNER_RIGHTS, READ)), READ)
    assert not check(who, guarded(allow(OWNER_RIGHTS, READ)), MAXIMUM)
    assert check(who, guarded(deny(OWNER_RIGHTS, READ), allow(ALICE, READ)), READ)


def test_a_self_entry_means_whom_it_stands_for_and_not_the_owner():
    what = guarded(allow(PRINCIPAL_SELF, READ), owner=ALICE)
    assert not check(token(), what, READ)
    for myself, allowed in ((BOB, False), (ALICE, True)):
        found = access_check(token(), what, READ, MAPPING, self_sid=myself)
        assert allowed == found.allowed


def test_a_token_that_holds_self_is_nobody_by_it():
    what = guarded(allow(PRINCIPAL_SELF, READ))
    assert not check(token(PRINCIPAL_SELF), what, READ)
    what = guarded(deny(PRINCIPAL_SELF, READ), allow(ALICE, READ))
    assert check(token(PRINCIPAL_SELF), what, READ)


# --- privileges -----------------------------------------------------------------------


def test_only_security_privilege_opens_the_sacl():
    what = guarded(allow(ALICE, 0xFFFFFFFF), owner=ALICE)
    assert not check(token(), what, SYSTEM_SECURITY)
    decision = check(token(privileges=[Privilege.SECURITY]), what, SYSTEM_SECURITY)
    assert SYSTEM_SECURITY == decision.granted
    assert (Privilege.SECURITY,) == decision.privileges_used


def test_no_entry_takes_the_sacl_from_security_privilege():
    what = guarded(deny(ALICE, 0xFFFFFFFF))
    assert check(token(privileges=[Privilege.SECURITY]), what, SYSTEM_SECURITY)


def test_a_null_dacl_does_not_open_the_sacl():
    assert not check(token(), guarded(dacl=NULL_DACL), SYSTEM_SECURITY)


@pytest.mark.parametrize(
    "attributes", [PrivilegeAttributes.NONE, PrivilegeAttributes(6)]
)
def test_a_privilege_that_is_not_enabled_grants_nothing(attributes):
    held = (TokenPrivilege(Privilege.SECURITY, attributes),)
    who = replace(token(), privileges=held)
    assert not check(who, guarded(), SYSTEM_SECURITY)


@pytest.mark.parametrize("privilege", [Privilege.TAKE_OWNERSHIP, Privilege.RELABEL])
def test_a_privilege_gives_write_owner_and_nothing_else(privilege):
    who, what = token(privileges=[privilege]), guarded(deny(ALICE, 0xFFFFFFFF))
    decision = check(who, what, WRITE_OWNER)
    assert (WRITE_OWNER, (privilege,)) == (decision.granted, decision.privileges_used)
    assert not check(who, what, WRITE_OWNER | DELETE)


def test_write_owner_needs_no_privilege_where_the_dacl_grants_it():
    decision = check(token(), guarded(allow(ALICE, WRITE_OWNER)), WRITE_OWNER)
    assert (WRITE_OWNER, ()) == (decision.granted, decision.privileges_used)


def test_a_refusal_used_no_privilege():
    who = token(privileges=[Privilege.SECURITY, Privilege.TAKE_OWNERSHIP])
    decision = check(who, guarded(), SYSTEM_SECURITY | WRITE_OWNER | READ)
    assert (0, ()) == (decision.granted, decision.privileges_used)


def test_privileges_are_used_in_the_order_of_the_check():
    used = (Privilege.SECURITY, Privilege.TAKE_OWNERSHIP)
    who = token(privileges=reversed(used))
    decision = check(who, guarded(), SYSTEM_SECURITY | WRITE_OWNER)
    assert used == decision.privileges_used


@pytest.mark.parametrize(
    "privilege",
    sorted(
        set(Privilege)
        - {Privilege.SECURITY, Privilege.TAKE_OWNERSHIP, Privilege.RELABEL},
        key=lambda privilege: privilege.value,
    ),
)
def test_no_other_privilege_opens_anything(privilege):
    for desired in (READ, WRITE_OWNER, SYSTEM_SECURITY, MAXIMUM):
        assert not check(token(privileges=[privilege]), guarded(), desired)


# --- MAXIMUM_ALLOWED ------------------------------------------------------------------


def test_maximum_allowed_collects_what_the_entries_grant():
    what = guarded(allow(ALICE, READ), deny(ALICE, WRITE), allow(INTERNS, WRITE | RUN))
    assert READ | RUN == check(token(INTERNS), what, MAXIMUM).granted


def test_what_is_asked_for_beside_maximum_allowed_must_be_granted():
    what = guarded(allow(ALICE, READ))
    assert READ == check(token(), what, MAXIMUM | READ).granted
    assert not check(token(), what, MAXIMUM | WRITE)


def test_a_privilege_counts_toward_the_maximum_when_its_right_is_asked_for():
    who = token(privileges=[Privilege.SECURITY, Privilege.TAKE_OWNERSHIP])
    asked = SYSTEM_SECURITY | WRITE_OWNER
    assert asked == check(who, guarded(), MAXIMUM | asked).granted


def test_an_entry_cannot_hand_out_the_sacl_under_maximum_allowed():
    what = guarded(allow(ALICE, SYSTEM_SECURITY | MAXIMUM | READ))
    assert READ == check(token(), what, MAXIMUM).granted


# --- entries that nobody can judge ----------------------------------------------------


def test_an_unknown_entry_denies_what_is_undecided():
    puzzle = PuzzleAce(ALICE, READ | WRITE)
    what = guarded(allow(ALICE, READ), puzzle, allow(ALICE, WRITE))
    assert check(token(), what, READ)
    assert not check(token(), what, WRITE)
    assert READ == check(token(), what, MAXIMUM).granted


def test_an_unknown_entry_about_somebody_else_denies_too():
    what = guarded(PuzzleAce(BOB, RUN, INHERIT_ONLY), allow(ALICE, READ))
    assert not check(token(), what, READ)


def test_an_unknown_entry_in_the_sacl_refuses_everything():
    class PuzzleLabel(MandatoryLabelAce):
        __slots__ = ()

    sacl = Acl((PuzzleLabel(HIGH_LEVEL, 1),))
    who = token(privileges=[Privilege.SECURITY])
    for desired in (READ, SYSTEM_SECURITY, MAXIMUM):
        assert not check(who, guarded(dacl=NULL_DACL, sacl=sacl), desired)


def test_the_system_itself_is_judged_like_anybody():
    assert not check(token(user=LOCAL_SYSTEM), guarded(owner=ALICE), READ)
