"""A new object's descriptor, of its maker's, its parent's and the token's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.making import (
    ADMINS,
    ALICE,
    BOB,
    CI,
    FAILED,
    GENERIC_ALL,
    GENERIC_READ,
    ID,
    INTERNS,
    IO,
    MAPPING,
    OI,
    OWNING,
    READ,
    STAFF,
    USER,
    WRITE,
    allow,
    attribute,
    audit,
    deny,
    described,
    label,
    policy,
    some_descriptors,
    system,
    token,
)
from tests.strategies import tokens

from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.decision.new_object import create_object_descriptor
from stead.errors import (
    AccessDeniedError,
    InvalidAclError,
    InvalidOwnerError,
    InvalidSecurityDescriptorError,
    PrivilegeNotHeldError,
    SteadError,
)
from stead.model.access_mask import GENERIC_RIGHTS, AccessMask
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedObjectAce,
    AccessFilterAce,
    MandatoryLabelAce,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
)
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl, NoAcl
from stead.model.privilege import Privilege
from stead.model.security_descriptor import ControlFlags
from stead.model.sid import Sid
from stead.model.token import TokenGroup
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    HIGH_LEVEL,
    OWNER_RIGHTS,
)

Flag, Control = AutoInheritFlags, ControlFlags
AUTO = Flag.DACL_AUTO_INHERIT | Flag.SACL_AUTO_INHERIT
UNCHECKED = Flag.AVOID_OWNER_CHECK | Flag.AVOID_PRIVILEGE_CHECK
BLIND = UNCHECKED | Flag.AVOID_OWNER_RESTRICTION
AUDITOR = token(privileges=[Privilege.SECURITY])
DEFAULT = Acl((allow(BOB, GENERIC_READ), allow(CREATOR_OWNER, READ)))
WRITE_DAC = int(AccessMask.WRITE_DAC)


def made(parent=None, creator=None, who=None, **how):
    who = token() if who is None else who
    return create_object_descriptor(parent, creator, who, mapping=MAPPING, **how)


# --- owner and group -----------------------------------------------------------------

NOBODYS = described(allow(BOB, READ), owner=None, group=None)


def test_owner_and_group_are_the_makers_word_first():
    who = token(TokenGroup(STAFF, OWNING))
    what = made(described(owner=BOB), described(owner=STAFF, group=INTERNS), who)
    assert (STAFF, INTERNS) == (what.owner, what.group)


def test_owner_and_group_default_to_the_tokens():
    who = token(TokenGroup(STAFF, OWNING), owner=STAFF, primary_group=INTERNS)
    what = made(described(owner=BOB, group=ADMINS), NOBODYS, who)
    assert (STAFF, INTERNS) == (what.owner, what.group)


def test_owner_and_group_come_from_the_parent_if_a_flag_says_so():
    flags = Flag.DEFAULT_OWNER_FROM_PARENT | Flag.DEFAULT_GROUP_FROM_PARENT
    parent = described(owner=STAFF, group=ADMINS)
    who = token(TokenGroup(STAFF, OWNING))
    what = made(parent, NOBODYS, who, flags=flags)
    assert (STAFF, ADMINS) == (what.owner, what.group)
    named = made(parent, described(owner=ALICE, group=INTERNS), who, flags=flags)
    assert (ALICE, INTERNS) == (named.owner, named.group)


@pytest.mark.parametrize("parent", [None, NOBODYS])
def test_a_parent_without_owner_or_group_has_none_to_give(parent):
    for flags in (Flag.DEFAULT_OWNER_FROM_PARENT, UNCHECKED):
        with pytest.raises(InvalidOwnerError, match="no owner to take"):
            made(parent, flags=flags | Flag.DEFAULT_OWNER_FROM_PARENT)
    with pytest.raises(InvalidSecurityDescriptorError):
        made(parent, flags=Flag.DEFAULT_GROUP_FROM_PARENT)


def test_the_token_must_be_one_that_may_assign_the_owner_wherever_it_came_from():
    for parent, creator, flags in (
        (None, described(owner=BOB), 0),
        (described(owner=BOB), None, Flag.DEFAULT_OWNER_FROM_PARENT),
    ):
        with pytest.raises(InvalidOwnerError):
            made(parent, creator, flags=flags)
        assert BOB == made(parent, creator, flags=flags | UNCHECKED).owner
    with pytest.raises(InvalidOwnerError):
        made(who=token(owner=BOB))


# --- the DACL ------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, AUTO])
@pytest.mark.parametrize("default", [ABSENT_DACL, NULL_DACL])
def test_without_any_list_the_object_is_its_owners_alone(default, flags):
    who = token(default_dacl=default)
    assert (allow(ALICE, MAPPING.all),) == made(who=who, flags=flags).dacl.aces


@pytest.mark.parametrize("parent", [None, described(allow(BOB, READ)), described()])
def test_where_nothing_is_inherited_the_tokens_default_is_taken(parent):
    who = token(default_dacl=DEFAULT)
    for flags in (Flag.NONE, Flag.SACL_AUTO_INHERIT):
        assert (allow(BOB, MAPPING.read), allow(CREATOR_OWNER, READ)) == (
            made(parent, who=who, flags=flags).dacl.aces
        )
    assert (allow(BOB, MAPPING.read), allow(ALICE, READ)) == (
        made(parent, who=who, flags=AUTO).dacl.aces
    )


def test_a_default_lists_entries_are_the_objects_own():
    who = token(default_dacl=Acl((deny(BOB, READ, ID),)))
    assert (deny(BOB, READ),) == made(who=who).dacl.aces


def test_entries_that_this_child_does_not_inherit_leave_the_default():
    who = token(default_dacl=DEFAULT)
    assert 2 == len(made(described(allow(BOB, WRITE, CI)), who=who).dacl)
    inherited = made(described(allow(BOB, WRITE, CI)), who=who, is_container=True)
    assert (allow(BOB, WRITE, CI),) == inherited.dacl.aces


def test_inherited_entries_are_marked_and_the_list_says_so_when_that_is_automatic():
    parent = described(allow(CREATOR_GROUP, GENERIC_READ, OI))
    what = made(parent, flags=AUTO, who=token(primary_group=STAFF))
    assert (allow(STAFF, MAPPING.read, ID),) == what.dacl.aces
    assert what.control & Control.DACL_AUTO_INHERITED
    what = made(parent, who=token(primary_group=STAFF))
    assert (allow(STAFF, MAPPING.read),) == what.dacl.aces
    assert not what.control & Control.DACL_AUTO_INHERITED


def test_a_makers_list_is_merged_with_what_is_inherited_when_that_is_automatic():
    parent = described(allow(BOB, WRITE, OI | CI), deny(STAFF, READ, OI))
    creator = described(
        allow(CREATOR_OWNER, GENERIC_READ, CI), allow(BOB, READ, ID), deny(BOB, 4)
    )
    what = made(parent, creator, flags=AUTO, is_container=True)
    assert (
        allow(ALICE, MAPPING.read),
        allow(CREATOR_OWNER, GENERIC_READ, CI | IO),
        deny(BOB, 4),
        allow(BOB, WRITE, OI | CI | ID),
        deny(STAFF, READ, OI | IO | ID),
    ) == what.dacl.aces


def test_a_makers_list_is_taken_as_it_is_when_nothing_is_automatic():
    parent = described(allow(BOB, WRITE, OI | CI))
    creator = described(
        allow(CREATOR_OWNER, GENERIC_READ, CI),
        allow(CREATOR_OWNER, GENERIC_READ, CI | IO),
        allow(BOB, READ, ID),
    )
    what = made(parent, creator, is_container=True)
    assert (
        allow(CREATOR_OWNER, MAPPING.read, CI),
        allow(CREATOR_OWNER, GENERIC_READ, CI | IO),
    ) == what.dacl.aces


@pytest.mark.parametrize("flags", [0, AUTO])
def test_a_protected_list_inherits_nothing_and_owns_all_it_holds(flags):
    parent = described(allow(BOB, WRITE, OI))
    creator = described(allow(BOB, READ, ID), control=Control.DACL_PROTECTED)
    what = made(parent, creator, flags=flags)
    assert (allow(BOB, READ),) == what.dacl.aces
    assert what.control & Control.DACL_PROTECTED
    assert bool(flags) == bool(what.control & Control.DACL_AUTO_INHERITED)


def test_a_null_dacl_is_had_by_asking_for_it_and_closed_by_what_is_inherited():
    parent = described(allow(BOB, WRITE, OI))
    asked = described(dacl=NULL_DACL)
    protected = replace(asked, control=Control.DACL_PROTECTED)
    assert NULL_DACL is made(None, asked).dacl
    assert NULL_DACL is made(parent, asked).dacl
    assert NULL_DACL is made(parent, protected, flags=AUTO).dacl
    assert (allow(BOB, WRITE, ID),) == made(parent, asked, flags=AUTO).dacl.aces


def test_an_empty_list_stays_empty():
    assert Acl() == made(described(allow(BOB, WRITE, OI)), described()).dacl


def test_protection_without_a_list_protects_nothing():
    creator = described(
        dacl=ABSENT_DACL, control=Control.DACL_PROTECTED | Control.SACL_PROTECTED
    )
    what = made(described(allow(BOB, WRITE, OI)), creator, flags=AUTO)
    assert (allow(BOB, WRITE, ID),) == what.dacl.aces
    assert not what.control & (Control.DACL_PROTECTED | Control.SACL_PROTECTED)


def test_a_list_marked_as_default_gives_way_to_any_inherited_entry():
    creator = described(allow(ALICE, READ), control=Control.DACL_DEFAULTED)
    assert (allow(BOB, WRITE),) == made(
        described(allow(BOB, WRITE, OI)), creator
    ).dacl.aces
    what = made(described(allow(BOB, WRITE, CI)), creator)
    assert (allow(ALICE, READ),) == what.dacl.aces
    assert not what.control & Control.DACL_DEFAULTED


def test_a_default_descriptor_gives_way_to_entries_for_the_kind_of_object():
    flags = Flag.DEFAULT_DESCRIPTOR_FOR_OBJECT
    creator = described(allow(ALICE, READ))
    plain = allow(BOB, WRITE, OI)
    for_users = AccessAllowedObjectAce(BOB, WRITE, OI, inherited_object_type=USER)
    given = {"flags": flags, "object_types": [USER]}
    what = made(described(plain), creator, **given)
    assert (allow(ALICE, READ),) == what.dacl.aces
    what = made(described(plain, for_users), creator, **given)
    assert (allow(BOB, WRITE), allow(BOB, WRITE)) == what.dacl.aces
    what = made(described(for_users), creator, flags=flags)
    assert (allow(ALICE, READ),) == what.dacl.aces
    given["flags"] = Flag.SACL_AUTO_INHERIT
    what = made(described(for_users), creator, **given)
    assert (allow(ALICE, READ),) == what.dacl.aces


def test_the_servers_own_creator_sids_mean_its_token():
    server = token(user=BOB, primary_group=ADMINS)
    parent = described(
        allow(EVERYONE.from_string("S-1-3-2"), READ, OI),
        allow(EVERYONE.from_string("S-1-3-3"), READ, OI),
    )
    what = made(parent, server=server)
    assert (allow(BOB, READ), allow(ADMINS, READ)) == what.dacl.aces


def test_entries_of_unknown_kinds_are_kept_and_made_up_ones_refused():
    class PuzzleAce(AccessAllowedAce):
        __slots__ = ()

    unknown = OpaqueAce(body=b"1234")
    assert (unknown,) == made(None, described(unknown)).dacl.aces
    with pytest.raises(InvalidAclError, match="PuzzleAce"):
        made(None, described(PuzzleAce(BOB, READ)))


# --- what a parent withholds from owners ---------------------------------------------


def test_owners_whose_rights_the_parent_limits_cannot_name_another_dacl():
    parent = described(allow(OWNER_RIGHTS, READ, OI), allow(BOB, READ, OI))
    for flags in (Flag.NONE, AUTO):
        with pytest.raises(AccessDeniedError) as caught:
            made(parent, described(allow(ALICE, READ)), flags=flags)
    assert WRITE_DAC == caught.value.decision.question.desired
    assert 2 == len(made(parent).dacl)
    flags = Flag.AVOID_OWNER_RESTRICTION
    assert 1 == len(made(parent, described(allow(ALICE, READ)), flags=flags).dacl)


def test_owners_who_keep_write_dac_may_name_one():
    for parent in (
        described(allow(OWNER_RIGHTS, WRITE_DAC, OI)),
        described(allow(OWNER_RIGHTS, READ, OI), allow(ALICE, WRITE_DAC, OI)),
        described(allow(OWNER_RIGHTS, READ)),
    ):
        assert 1 == len(made(parent, described(allow(ALICE, READ))).dacl)
    passed_on = described(allow(OWNER_RIGHTS, READ, OI))
    what = made(passed_on, described(allow(ALICE, READ)), is_container=True)
    assert (allow(ALICE, READ),) == what.dacl.aces


def test_entries_for_the_owners_of_its_children_do_not_bind_a_container():
    parent = described(allow(OWNER_RIGHTS, READ, OI))
    creator = described(allow(ALICE, READ), owner=BOB)
    restorer = token(privileges=[Privilege.RESTORE])
    assert BOB == made(parent, creator, restorer, is_container=True).owner
    with pytest.raises(AccessDeniedError):
        made(parent, creator, restorer)
    assert BOB == made(described(allow(STAFF, READ, OI)), creator, restorer).owner


# --- the SACL ------------------------------------------------------------------------


def test_without_any_entries_there_is_no_sacl():
    assert ABSENT_SACL is made(system(audit(EVERYONE, READ))).sacl
    assert NULL_SACL is made(None, described(sacl=NULL_SACL)).sacl
    assert Acl() == made(None, described(sacl=Acl())).sacl
    claimed = system(audit(BOB, READ, FAILED | ID))
    assert Acl() == made(None, claimed, AUDITOR).sacl


def test_inherited_audit_entries_take_no_privilege():
    parent = system(audit(EVERYONE, GENERIC_ALL, OI | FAILED))
    assert (audit(EVERYONE, MAPPING.all),) == made(parent).sacl.aces
    what = made(parent, flags=AUTO)
    assert (audit(EVERYONE, MAPPING.all, FAILED | ID),) == what.sacl.aces
    assert what.control & Control.SACL_AUTO_INHERITED


def test_a_makers_audit_entries_take_security_privilege():
    creator = system(audit(EVERYONE, GENERIC_READ))
    for flags in (Flag.NONE, AUTO):
        with pytest.raises(PrivilegeNotHeldError):
            made(None, creator, flags=flags)
    for who, flags in ((AUDITOR, 0), (token(), Flag.AVOID_PRIVILEGE_CHECK)):
        what = made(None, creator, who, flags=flags)
        assert (audit(EVERYONE, MAPPING.read),) == what.sacl.aces


def test_a_makers_label_above_the_token_takes_relabel_privilege():
    creator = system(label(HIGH_LEVEL))
    with pytest.raises(PrivilegeNotHeldError):
        made(None, creator, AUDITOR)
    assert (
        creator.sacl == made(None, creator, token(privileges=[Privilege.RELABEL])).sacl
    )


CROSSING = (attribute(OI | CI), policy(OI | CI))


@pytest.mark.parametrize("control", [Control.NONE, Control.SACL_PROTECTED])
def test_attributes_and_policies_reach_a_list_that_inherits_nothing_else(control):
    parent = system(audit(BOB, READ, OI | FAILED), *CROSSING)
    creator = system(audit(ALICE, READ), control=control)
    what = made(parent, creator, AUDITOR)
    assert (audit(ALICE, READ), attribute(), policy()) == what.sacl.aces
    assert control & Control.SACL_PROTECTED == what.control & Control.SACL_PROTECTED


def test_a_protected_list_inherits_attributes_and_policies_alone():
    parent = system(audit(BOB, READ, OI | FAILED), *CROSSING)
    creator = system(audit(ALICE, READ, FAILED | ID), control=Control.SACL_PROTECTED)
    what = made(parent, creator, AUDITOR, flags=AUTO)
    assert (audit(ALICE, READ), attribute(ID), policy(ID)) == what.sacl.aces


def test_a_makers_audit_entries_are_merged_when_that_is_automatic():
    parent = system(audit(BOB, READ, OI | FAILED))
    what = made(parent, system(audit(ALICE, READ)), AUDITOR, flags=AUTO)
    assert (audit(ALICE, READ), audit(BOB, READ, FAILED | ID)) == what.sacl.aces
    what = made(parent, described(sacl=NULL_SACL), AUDITOR, flags=AUTO)
    assert (audit(BOB, READ, FAILED | ID),) == what.sacl.aces


def test_a_default_sacl_gives_way_too():
    parent = system(audit(BOB, READ, OI | FAILED))
    creator = system(audit(ALICE, READ), control=Control.SACL_DEFAULTED)
    assert (audit(BOB, READ),) == made(parent, creator, AUDITOR).sacl.aces
    above = system(audit(BOB, READ))
    assert (audit(ALICE, READ),) == made(above, creator, AUDITOR).sacl.aces
    protected = replace(creator, control=creator.control | Control.SACL_PROTECTED)
    assert (audit(ALICE, READ),) == made(parent, protected, AUDITOR).sacl.aces


BINDING = system(
    audit(EVERYONE, READ, OI | FAILED),
    ProcessTrustLabelAce(Sid.from_string("S-1-19-1024-8192"), 0, OI),
    AccessFilterAce(EVERYONE, 0, OI),
    label(HIGH_LEVEL, flags=OI),
    *CROSSING,
)
SHUT = Control.SACL_PROTECTED
BOTH = (Privilege.SECURITY, Privilege.RELABEL)
NO_SACL = described(sacl=NULL_SACL)
SHUT = Control.SACL_PROTECTED


@pytest.mark.parametrize(
    ("creator", "flags", "needed", "left"),
    [
        (system(), Flag.NONE, BOTH, 2),
        (system(), AUTO, (), 6),
        (NO_SACL, Flag.NONE, BOTH, 2),
        (NO_SACL, AUTO, (), 6),
        (system(control=SHUT), Flag.NONE, BOTH, 2),
        (system(control=SHUT), AUTO, BOTH, 2),
        (replace(NO_SACL, control=SHUT), Flag.NONE, BOTH, 2),
        (replace(NO_SACL, control=SHUT), AUTO, BOTH, 2),
        (system(label()), Flag.NONE, BOTH, 3),
        (system(label()), AUTO, BOTH[1:], 7),
        (system(label(), control=SHUT), AUTO, BOTH, 3),
    ],
)
def test_a_maker_without_privileges_cannot_shake_off_what_binds(
    creator, flags, needed, left
):
    for held in ((), BOTH[:1], BOTH[1:]):
        lacking = tuple(each for each in needed if each not in held)
        if lacking:
            with pytest.raises(PrivilegeNotHeldError) as caught:
                made(BINDING, creator, token(privileges=held), flags=flags)
            assert lacking == caught.value.privileges
    what = made(BINDING, creator, token(privileges=needed), flags=flags)
    assert left == len(what.sacl)
    unchecked = flags | Flag.AVOID_PRIVILEGE_CHECK
    assert what == made(BINDING, creator, flags=unchecked)


@pytest.mark.parametrize("flags", [Flag.NONE, AUTO])
def test_a_maker_who_names_no_sacl_or_a_mere_default_takes_what_comes(flags):
    default = system(control=Control.SACL_DEFAULTED)
    assert 6 == len(made(BINDING, flags=flags).sacl)
    assert 6 == len(made(BINDING, default, flags=flags).sacl)
    assert 7 == len(made(BINDING, flags=flags | Flag.MACL_NO_WRITE_UP).sacl)
    for crossing in (NO_SACL, system(control=SHUT)):
        assert 2 == len(made(system(*CROSSING), crossing, flags=flags).sacl)


@settings(max_examples=150, deadline=None)
@given(some_descriptors(), some_descriptors(), st.sampled_from([0, 3]), st.booleans())
def test_without_privileges_a_maker_gets_rid_of_nothing(parent, creator, flags, holds):
    who, flags = token(), flags | Flag.AVOID_OWNER_CHECK
    flags |= Flag.AVOID_OWNER_RESTRICTION
    try:
        what = made(parent, creator, who, flags=flags, is_container=holds)
    except PrivilegeNotHeldError:
        return
    unnamed = replace(creator, sacl=ABSENT_SACL)
    due = made(parent, unnamed, who, flags=flags, is_container=holds).sacl
    if isinstance(due, Acl):
        assert {replace(a, flags=a.flags & ~ID) for a in due} <= {
            replace(a, flags=a.flags & ~ID) for a in what.sacl
        }


@pytest.mark.parametrize(
    ("flag", "bits"),
    [
        (Flag.MACL_NO_WRITE_UP, 1),
        (Flag.MACL_NO_READ_UP, 2),
        (Flag.MACL_NO_EXECUTE_UP, 4),
        (Flag.MACL_NO_WRITE_UP | Flag.MACL_NO_EXECUTE_UP, 5),
    ],
)
def test_a_label_of_the_tokens_integrity_stands_for_the_makers(flag, bits):
    who = token(integrity=HIGH_LEVEL)
    wanted = MandatoryLabelAce(HIGH_LEVEL, bits)
    parent = system(label(flags=OI))
    creator = system(label(), attribute())
    assert (wanted,) == made(None, None, who, flags=flag).sacl.aces
    assert (wanted, label()) == made(parent, None, who, flags=flag).sacl.aces
    assert (wanted, attribute()) == made(None, creator, who, flags=flag).sacl.aces
    what = made(None, described(sacl=NULL_SACL), who, flags=flag)
    assert (wanted,) == what.sacl.aces


# --- the rest ------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0x80, 0x800, 0x2000, -1])
def test_an_unknown_flag_is_refused(flags):
    with pytest.raises(SteadError, match="unknown flags"):
        made(flags=flags)


def test_the_resource_managers_byte_goes_with_the_makers_descriptor():
    control = Control.RM_CONTROL_VALID | Control.DACL_TRUSTED
    creator = replace(described(control=control), resource_manager_control=7)
    what = made(None, creator)
    assert 7 == what.resource_manager_control
    assert not made().control & Control.RM_CONTROL_VALID
    assert what.control & Control.RM_CONTROL_VALID
    assert not what.control & Control.DACL_TRUSTED


def test_a_list_that_gets_too_long_is_refused():
    long = described(*(allow(CREATOR_OWNER, GENERIC_READ, CI) for _ in range(2500)))
    with pytest.raises(InvalidAclError):
        made(long, is_container=True)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.none(), some_descriptors()),
    st.one_of(st.none(), some_descriptors()),
    tokens(),
    st.sampled_from([0, 1, 2, 3, 4, 7, 0x101]),
    st.booleans(),
)
def test_no_entry_that_counts_has_generic_rights(parent, creator, who, flags, holds):
    what = made(parent, creator, who, flags=flags | BLIND, is_container=holds)
    without_rights = MandatoryLabelAce, ResourceAttributeAce, ScopedPolicyIdAce
    for acl in (what.dacl, what.sacl):
        for ace in () if isinstance(acl, NoAcl) else acl:
            assert (
                ace.is_inherit_only
                or isinstance(ace, without_rights)
                or not ace.mask & GENERIC_RIGHTS
            )


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.none(), some_descriptors()), tokens(), st.sampled_from([0, 3]))
def test_no_default_opens_an_object(parent, who, flags):
    who = replace(who, default_dacl=NULL_DACL)
    what = made(parent, None, who, flags=flags | BLIND)
    assert isinstance(what.dacl, Acl)


@pytest.mark.parametrize("flags", [Flag.NONE, AUTO])
def test_a_list_that_nobody_protected_is_not_protected(flags):
    what = made(described(), described(allow(BOB, READ)), flags=flags)
    assert not what.control & Control.DACL_PROTECTED


def test_a_protected_list_gives_way_to_nothing_default_or_not():
    defaulted = Control.DACL_DEFAULTED | Control.DACL_PROTECTED
    creator = described(allow(ALICE, READ), control=defaulted)
    what = made(described(allow(BOB, READ, OI)), creator, flags=AUTO)
    assert (allow(ALICE, READ),) == what.dacl.aces


def test_only_automatic_inheritance_marks_a_sacl_as_its_own():
    parent = system(audit(BOB, READ, OI | FAILED))
    for flags, marked in ((BLIND, False), (BLIND | AUTO, True)):
        what = made(parent, who=AUDITOR, flags=flags)
        assert marked == bool(what.control & Control.SACL_AUTO_INHERITED)


def test_a_protected_sacl_may_be_automatic_too():
    creator = system(audit(ALICE, READ, FAILED), control=Control.SACL_PROTECTED)
    what = made(None, creator, AUDITOR, flags=AUTO)
    assert what.control & Control.SACL_PROTECTED
    assert what.control & Control.SACL_AUTO_INHERITED
