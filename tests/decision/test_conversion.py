"""Entries that were inherited before anybody marked them are found by their meaning."""

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
    GENERIC_READ,
    ID,
    IO,
    MAPPING,
    NONE,
    NP,
    OI,
    PHONE,
    READ,
    STAFF,
    USER,
    WRITE,
    allow,
    attribute,
    audit,
    dacl_aces,
    deny,
    described,
    label,
    policy,
    some_descriptors,
    system,
    token,
)

from stead.codec.claim_binary import write_claim
from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.decision.access_check import access_check
from stead.decision.ace_inheritance import Child, inherit_acl
from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.decision.conversion import convert_to_auto_inherit
from stead.decision.new_object import create_object_descriptor
from stead.decision.propagation import TreeNode, propagate
from stead.model.access_mask import AccessMask
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedObjectAce,
    AceFlags,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    SystemAlarmAce,
)
from stead.model.acl import ABSENT_SACL, NULL_DACL, NULL_SACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.security_descriptor import ControlFlags
from stead.model.sid import Sid
from stead.model.well_known import (
    CREATOR_GROUP,
    CREATOR_OWNER,
    EVERYONE,
    MEDIUM_LEVEL,
)

Control = ControlFlags
DACL = Control.DACL_PROTECTED | Control.DACL_AUTO_INHERITED
SACL = Control.SACL_PROTECTED | Control.SACL_AUTO_INHERITED


def converted(parent, current, **how):
    return convert_to_auto_inherit(parent, current, mapping=MAPPING, **how)


def dacl_of(parent, current, **how):
    """Convert; return the entries and whether the list had to be protected."""
    what = converted(parent, current, **how)
    assert what.control & Control.DACL_AUTO_INHERITED
    return what.dacl.aces, bool(what.control & Control.DACL_PROTECTED)


# --- DACLs ---------------------------------------------------------------------------


def test_entries_that_the_parent_would_hand_down_are_marked_and_moved_behind():
    parent = described(allow(STAFF, READ, OI | CI), allow(BOB, WRITE, OI))
    current = described(allow(STAFF, READ), allow(ALICE, READ), allow(BOB, WRITE))
    assert (
        (allow(ALICE, READ), allow(STAFF, READ, ID), allow(BOB, WRITE, ID)),
        False,
    ) == dacl_of(parent, current)


def test_reading_and_writing_is_reading_and_writing():
    parent = described(allow(STAFF, READ | WRITE, OI))
    current = described(allow(STAFF, READ), allow(STAFF, WRITE))
    assert ((allow(STAFF, READ | WRITE, ID),), False) == dacl_of(parent, current)
    parent = described(allow(STAFF, READ, OI), allow(STAFF, WRITE, OI))
    current = described(allow(STAFF, READ | WRITE))
    assert ((allow(STAFF, READ, ID), allow(STAFF, WRITE, ID)), False) == (
        dacl_of(parent, current)
    )


def test_one_that_counts_and_is_passed_on_is_two():
    parent = described(allow(CREATOR_OWNER, GENERIC_READ, OI | CI))
    both = (
        allow(ALICE, MAPPING.read, ID),
        allow(CREATOR_OWNER, GENERIC_READ, OI | CI | IO | ID),
    )
    current = described(*(replace(ace, flags=ace.flags & ~ID) for ace in both))
    assert (both, False) == dacl_of(parent, current, is_container=True)
    parent = described(allow(STAFF, READ, CI))
    current = described(allow(STAFF, READ, CI | IO), allow(STAFF, READ))
    assert ((allow(STAFF, READ, CI | ID),), False) == (
        dacl_of(parent, current, is_container=True)
    )


@pytest.mark.parametrize(
    "current",
    [
        described(allow(STAFF, READ)),
        described(allow(STAFF, READ, ID), allow(BOB, 4)),
        described(allow(STAFF, READ), deny(BOB, WRITE)),
        described(allow(STAFF, READ), allow(BOB, WRITE, CI)),
        described(allow(STAFF, READ), allow(BOB, WRITE, CI | NP | IO)),
        described(),
    ],
)
def test_a_list_that_lacks_something_stays_and_is_protected(current):
    parent = described(allow(STAFF, READ, CI | NP), allow(BOB, WRITE, CI | NP))
    aces, is_protected = dacl_of(parent, current, is_container=True)
    assert is_protected
    assert not any(ace.flags & ID for ace in aces)
    assert [ace.mask for ace in current.dacl] == [ace.mask for ace in aces]


def test_one_that_goes_a_single_level_down_is_not_one_that_goes_all_the_way():
    parent = described(allow(STAFF, READ, CI))
    current = described(allow(STAFF, READ, CI | NP))
    assert (current.dacl.aces, True) == dacl_of(parent, current, is_container=True)


@pytest.mark.parametrize(
    ("above", "current"),
    [
        (allow(STAFF, READ | WRITE, CI), allow(STAFF, WRITE, CI)),
        (allow(STAFF, READ | WRITE, OI), allow(STAFF, WRITE, OI | IO)),
        (allow(STAFF, GENERIC_READ, OI), allow(STAFF, 0, OI | IO)),
        (allow(STAFF, READ, CI), allow(STAFF, READ, CI | IO)),
    ],
)
def test_a_part_of_what_would_be_inherited_is_not_it(above, current):
    aces, is_protected = dacl_of(
        described(above), described(current), is_container=True
    )
    assert ((current,), True) == (aces, is_protected)


def test_an_entry_that_says_more_than_is_inherited_is_the_objects_own():
    parent = described(allow(STAFF, READ, CI))
    for more in (allow(STAFF, READ, OI | CI), allow(BOB, 0, OI | IO)):
        current = described(allow(STAFF, READ, CI), more)
        aces, is_protected = dacl_of(parent, current, is_container=True)
        assert ((more, allow(STAFF, READ, CI | ID)), False) == (aces, is_protected)


def test_entries_that_deny_may_pass_one_another():
    parent = described(deny(BOB, READ, OI))
    current = described(allow(ALICE, READ), deny(BOB, READ), deny(STAFF, READ))
    assert (
        (allow(ALICE, READ), deny(STAFF, READ), deny(BOB, READ, ID)),
        False,
    ) == dacl_of(parent, current)


def test_what_others_are_denied_between_does_not_change_places():
    parent = described(allow(STAFF, READ, OI), deny(BOB, READ, OI))
    current = described(
        allow(STAFF, READ), deny(BOB, READ), allow(BOB, READ), deny(STAFF, READ)
    )
    assert (current.dacl.aces, True) == dacl_of(parent, current)


def test_nothing_that_allows_is_moved_past_anything_that_denies():
    parent = described(allow(STAFF, READ, OI), deny(BOB, READ, OI))
    for current, is_convertible in (
        (described(allow(STAFF, READ), deny(BOB, READ)), True),
        (described(allow(ALICE, READ), allow(STAFF, READ), deny(BOB, READ)), True),
        (described(allow(STAFF, READ), allow(ALICE, READ), deny(BOB, READ)), True),
        (described(deny(BOB, READ), allow(STAFF, READ)), False),
        (described(allow(STAFF, READ), deny(BOB, READ), allow(ALICE, READ)), False),
        (described(allow(STAFF, READ), deny(ALICE, READ), deny(BOB, READ)), False),
    ):
        aces, is_protected = dacl_of(parent, current)
        assert is_convertible is not is_protected
        assert is_convertible or current.dacl.aces == aces


def test_an_entry_of_an_unknown_kind_keeps_its_place():
    unknown = OpaqueAce(flags=OI, body=b"1234")
    here = replace(unknown, flags=IO & 0)
    parent = described(unknown, allow(STAFF, READ, OI))
    current = described(allow(BOB, READ), here, allow(STAFF, READ))
    assert (
        (allow(BOB, READ), replace(unknown, flags=ID), allow(STAFF, READ, ID)),
        False,
    ) == dacl_of(parent, current)
    current = described(here, allow(BOB, READ), allow(STAFF, READ))
    assert (current.dacl.aces, True) == dacl_of(parent, current)
    other = replace(here, body=b"1235")
    current = described(other, allow(STAFF, READ))
    assert (current.dacl.aces, True) == dacl_of(parent, current)


def test_an_entry_of_a_made_up_kind_keeps_its_place():
    class PuzzleAce(AccessAllowedAce):
        __slots__ = ()

    parent = described(allow(STAFF, READ, OI))
    current = described(allow(STAFF, READ), PuzzleAce(BOB, READ))
    assert (current.dacl.aces, True) == dacl_of(parent, current)


def test_an_entry_that_only_claims_to_be_inherited_is_the_objects_own():
    parent = described(allow(STAFF, READ, OI | CI))
    current = described(deny(ALICE, READ, ID), allow(STAFF, READ))
    what = converted(parent, current)
    assert (deny(ALICE, READ), allow(STAFF, READ, ID)) == what.dacl.aces
    assert in_step(parent, what, holds=False)
    above = system(audit(EVERYONE, READ, OI | FAILED))
    strays = system(audit(BOB, READ, FAILED | ID), audit(EVERYONE, READ))
    assert (audit(BOB, READ), audit(EVERYONE, READ, FAILED | ID)) == (
        converted(above, strays).sacl.aces
    )


def test_a_creator_that_counts_is_nobody_and_not_the_owner():
    parent = described(allow(CREATOR_OWNER, READ, OI | CI))
    for flags in (NONE, ID, OI | CI):
        current = described(allow(CREATOR_OWNER, READ, flags))
        aces, is_protected = dacl_of(parent, current, is_container=True)
        assert ((allow(CREATOR_OWNER, READ, flags & ~ID),), True) == (
            aces,
            is_protected,
        )


def test_object_entries_are_compared_with_their_types():
    for_users = AccessAllowedObjectAce(
        BOB, READ, OI, object_type=PHONE, inherited_object_type=USER
    )
    parent = described(for_users)
    found = AccessAllowedObjectAce(BOB, READ, ID, object_type=PHONE)
    for current in (
        replace(found, flags=ID),
        replace(found, inherited_object_type=USER, flags=ID & 0),
    ):
        aces, is_protected = dacl_of(parent, described(current), object_types=[USER])
        assert ((found,), False) == (aces, is_protected)
    other = AccessAllowedObjectAce(BOB, READ, object_type=USER)
    assert dacl_of(parent, described(other), object_types=[USER])[1]
    for_phones = AccessAllowedObjectAce(BOB, READ, CI, inherited_object_type=PHONE)
    for_users = AccessAllowedObjectAce(BOB, READ, CI | IO, inherited_object_type=USER)
    current = described(for_users)
    assert dacl_of(described(for_phones), current, is_container=True)[1]


def test_an_entry_that_says_nothing_is_the_objects_own():
    idle = allow(BOB, READ, IO)
    parent = described(allow(STAFF, READ, OI))
    aces, _ = dacl_of(parent, described(allow(STAFF, READ), idle))
    assert (idle, allow(STAFF, READ, ID)) == aces


@pytest.mark.parametrize("parent", [None, described(), described(allow(BOB, READ))])
def test_a_list_in_which_nothing_is_inherited_is_protected(parent):
    current = described(allow(STAFF, READ))
    assert (current.dacl.aces, True) == dacl_of(parent, current)
    open_object = converted(parent, described(dacl=NULL_DACL))
    assert NULL_DACL is open_object.dacl
    assert open_object.control & Control.DACL_PROTECTED


def test_the_servers_own_creator_sids_mean_its_token():
    parent = described(
        allow(EVERYONE.from_string("S-1-3-2"), READ, OI),
        allow(EVERYONE.from_string("S-1-3-3"), READ, OI),
    )
    current = described(allow(BOB, READ), allow(ADMINS, READ))
    server = token(user=BOB, primary_group=ADMINS)
    assert not dacl_of(parent, current, server=server)[1]
    assert dacl_of(parent, current)[1]


def test_the_creator_group_is_the_objects_own_group():
    parent = described(allow(CREATOR_GROUP, READ, OI))
    assert not dacl_of(parent, described(allow(STAFF, READ)))[1]
    assert dacl_of(parent, described(allow(STAFF, READ), group=ADMINS))[1]


def test_what_else_a_descriptor_says_stays():
    current = described(allow(STAFF, READ), control=Control.DACL_TRUSTED)
    assert converted(None, current).control & Control.DACL_TRUSTED


def test_a_list_that_was_protected_stays_so():
    above = Acl((audit(EVERYONE, READ, OI | FAILED), policy(OI)))
    parent = described(allow(STAFF, READ, OI), sacl=above)
    current = described(
        allow(STAFF, READ, ID),
        sacl=Acl((audit(EVERYONE, READ), policy())),
        control=Control.DACL_PROTECTED | Control.SACL_PROTECTED,
    )
    what = converted(parent, current)
    assert (allow(STAFF, READ),) == what.dacl.aces
    assert (audit(EVERYONE, READ), policy(ID)) == what.sacl.aces
    assert DACL | SACL == what.control & (DACL | SACL)


# --- SACLs ---------------------------------------------------------------------------


def test_a_sacl_is_converted_likewise():
    parent = system(audit(EVERYONE, READ, OI | FAILED))
    what = converted(parent, system(audit(EVERYONE, READ), audit(BOB, READ)))
    assert (audit(BOB, READ), audit(EVERYONE, READ, FAILED | ID)) == what.sacl.aces
    assert Control.SACL_AUTO_INHERITED == what.control & SACL
    for above in (parent, None):
        what = converted(above, system(audit(BOB, READ)))
        assert SACL == what.control & SACL


@pytest.mark.parametrize(
    "other",
    [
        audit(EVERYONE, READ, AceFlags.SUCCESSFUL_ACCESS),
        SystemAlarmAce(EVERYONE, READ, FAILED),
    ],
)
def test_system_entries_are_compared_with_their_kind_and_what_they_note(other):
    what = converted(system(audit(EVERYONE, READ, OI | FAILED)), system(other))
    assert (other,) == what.sacl.aces
    assert SACL == what.control & SACL


def test_a_system_entry_of_an_unknown_kind_keeps_its_place():
    unknown = OpaqueAce(type_number=0x20)
    parent = system(replace(unknown, flags=OI))
    current = system(unknown, audit(BOB, READ))
    what = converted(parent, current)
    assert current.sacl == what.sacl
    assert SACL == what.control & SACL


def test_a_label_that_counts_and_is_passed_on_is_two():
    parent = system(label(flags=CI))
    current = system(label(flags=CI | IO), label())
    what = converted(parent, current, is_container=True)
    assert (label(flags=CI | ID),) == what.sacl.aces
    assert Control.SACL_AUTO_INHERITED == what.control & SACL


def test_the_label_that_counts_stays_the_first():
    parent = system(label(flags=OI))
    what = converted(parent, system(audit(BOB, READ), label()))
    assert (audit(BOB, READ), label(flags=ID)) == what.sacl.aces
    current = system(label(), label(MEDIUM_LEVEL))
    what = converted(parent, current)
    assert current.sacl == what.sacl
    assert SACL == what.control & SACL


def test_what_crosses_protection_is_converted_apart():
    parent = system(audit(EVERYONE, READ, OI | FAILED), policy(OI), attribute(OI))
    what = converted(parent, system(policy(), attribute(), audit(BOB, READ)))
    assert (audit(BOB, READ), policy(ID), attribute(ID)) == what.sacl.aces
    assert SACL == what.control & SACL
    what = converted(parent, system(policy(), audit(EVERYONE, READ)))
    assert (policy(), audit(EVERYONE, READ, FAILED | ID)) == what.sacl.aces
    assert Control.SACL_AUTO_INHERITED == what.control & SACL


def secret(*values, flags=NONE, name="Secret"):
    """Make one entry for each value of an attribute."""
    for value in values:
        data = write_claim(Claim(name, ClaimType.INT64, (value,)))
        yield ResourceAttributeAce(EVERYONE, 0, flags, data)


def trusted(mask, flags=NONE):
    return ProcessTrustLabelAce(Sid.from_string("S-1-19-1024-8192"), mask, flags)


def test_the_attribute_that_counts_stays_the_first_of_its_name():
    parent = system(*secret(1, flags=OI))
    condition = write_condition(read_condition_text("(@Resource.Secret == 0)"))
    reader = AccessAllowedCallbackAce(ALICE, READ, application_data=condition)
    current = described(reader, sacl=Acl(tuple(secret(1, 0))))
    what = converted(parent, current)
    assert current.sacl == what.sacl
    for each in (current, what):
        assert not access_check(token(), each, READ, MAPPING)
    other = described(reader, sacl=Acl(tuple(secret(0, 1))))
    what = converted(parent, other)
    assert (*secret(0), *secret(1, flags=ID)) == what.sacl.aces
    for each in (other, what):
        assert access_check(token(), each, READ, MAPPING)


def test_the_trust_label_that_counts_stays_the_first():
    parent = system(trusted(READ, OI))
    mine = allow(ALICE, MAPPING.all)
    current = described(mine, sacl=Acl((trusted(READ), trusted(MAPPING.all))))
    what = converted(parent, current)
    assert current.sacl == what.sacl
    assert SACL == what.control & SACL
    for each in (current, what):
        assert not access_check(token(), each, WRITE, MAPPING)
    other = system(trusted(READ), audit(BOB, READ))
    what = converted(parent, other)
    assert (audit(BOB, READ), trusted(READ, ID)) == what.sacl.aces


@pytest.mark.parametrize("none", [ABSENT_SACL, NULL_SACL, Acl()])
def test_no_sacl_is_protected_only_if_it_lacks_something(none):
    current = described(sacl=none)
    what = converted(system(policy(OI)), current)
    assert none == what.sacl
    assert Control.SACL_AUTO_INHERITED == what.control & SACL
    what = converted(system(audit(EVERYONE, READ, OI)), current)
    assert none == what.sacl
    assert SACL == what.control & SACL


# --- laws ----------------------------------------------------------------------------

FLAT = some_descriptors(crossing=False)


def in_step(parent, current, *, holds):
    child = TreeNode("x", "root", current, is_container=holds)
    above = TreeNode("root", None, parent, is_container=True)
    return {} == propagate(above, [child], mapping=MAPPING)


@settings(max_examples=150, deadline=None)
@given(FLAT, FLAT, st.booleans())
def test_converting_then_propagating_changes_nothing(parent, current, holds):
    what = converted(parent, current, is_container=holds)
    assert in_step(parent, what, holds=holds)


@settings(max_examples=150, deadline=None)
@given(FLAT, FLAT, st.booleans(), st.booleans())
def test_an_object_made_without_automatic_inheritance_is_converted(
    parent, creator, holds, names
):
    flags = AutoInheritFlags.AVOID_OWNER_CHECK | AutoInheritFlags.AVOID_PRIVILEGE_CHECK
    made = create_object_descriptor(
        parent, creator if names else None, token(),
        mapping=MAPPING, is_container=holds, flags=flags,
    )  # fmt: skip
    what = converted(parent, made, is_container=holds)
    assert in_step(parent, what, holds=holds)
    again = converted(parent, what, is_container=holds)
    assert what == again


@settings(max_examples=150, deadline=None)
@given(FLAT, FLAT)
def test_converting_changes_nobodys_access(parent, current):
    current = replace(current, owner=ALICE, group=STAFF)
    # What counts is mapped already on any object that is guarded.
    dacl = current.dacl
    if isinstance(dacl, Acl):
        aces = (replace(ace, mask=MAPPING.map(ace.mask)) for ace in dacl)
        current = replace(current, dacl=Acl(tuple(aces)))
    what = converted(parent, current)
    for who in (token(STAFF, EVERYONE), token(EVERYONE, user=BOB)):
        desired = int(AccessMask.MAXIMUM_ALLOWED)
        old = access_check(who, current, desired, MAPPING)
        new = access_check(who, what, desired, MAPPING)
        assert old.granted == new.granted


@st.composite
def strayed(draw, entries, handed_down):
    """Draw what a child inherited, among own entries that may claim to be inherited."""
    aces = list(handed_down)
    for ace in draw(st.lists(entries, max_size=4)):
        aces.insert(draw(st.integers(0, len(aces))), ace)
    return tuple(aces)


@settings(max_examples=200, deadline=None)
@given(st.data(), FLAT, st.booleans())
def test_converting_then_propagating_never_loses_a_deny(data, parent, holds):
    child = Child(MAPPING, is_container=holds, owner=ALICE, group=STAFF)
    due = inherit_acl(parent.dacl, child, is_marked=False)
    aces = data.draw(strayed(dacl_aces(), due))
    # What counts is mapped already on any object that is guarded.
    current = described(*(replace(ace, mask=MAPPING.map(ace.mask)) for ace in aces))
    what = converted(parent, current, is_container=holds)
    assert in_step(parent, what, holds=holds)
    for who in (token(STAFF, EVERYONE), token(EVERYONE, user=BOB)):
        desired = int(AccessMask.MAXIMUM_ALLOWED)
        old = access_check(who, current, desired, MAPPING)
        new = access_check(who, what, desired, MAPPING)
        assert old.granted == new.granted
