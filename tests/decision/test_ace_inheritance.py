"""What a child inherits of one entry, by its flags, its kind and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from tests.decision.making import (
    ADMINS,
    ALICE,
    BOB,
    CI,
    CONDITION,
    FAILED,
    FOLDER,
    GENERIC_ALL,
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
    label,
    lists,
    policy,
)

from stead.decision.ace_inheritance import (
    CREATOR_GROUP_SERVER,
    CREATOR_OWNER_SERVER,
    Child,
    concrete,
    has_entries_for_kind,
    inherit_acl,
    map_aces,
    map_rights,
    rebuild,
    settle_aces,
)
from stead.model.access_mask import GENERIC_RIGHTS, GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedCallbackAce,
    AccessAllowedCallbackObjectAce,
    AccessAllowedObjectAce,
    AccessDeniedObjectAce,
    AccessFilterAce,
    AceFlags,
    AceType,
    MandatoryLabelAce,
    ObjectAce,
    OpaqueAce,
    ProcessTrustLabelAce,
    ResourceAttributeAce,
    ScopedPolicyIdAce,
    SystemAuditObjectAce,
)
from stead.model.ace_kinds import ACE_CLASSES
from stead.model.acl import NULL_DACL, Acl
from stead.model.sid import Sid
from stead.model.well_known import CREATOR_GROUP, CREATOR_OWNER, EVERYONE

LEAF = Child(MAPPING, owner=ALICE, group=STAFF)
CONTAINER = Child(MAPPING, is_container=True, owner=ALICE, group=STAFF)

# The table of [MS-DTYP] 2.5.3.4.4, row by row: what a container gets, what a leaf gets.
# INHERIT_ONLY on the parent changes nothing in it.
NOTHING = None
TABLE = {
    NONE: (NOTHING, NOTHING),
    NP: (NOTHING, NOTHING),
    OI: (IO | OI, NONE),
    OI | NP: (NOTHING, NONE),
    CI: (CI, NOTHING),
    CI | NP: (NONE, NOTHING),
    CI | OI: (CI | OI, NONE),
    CI | OI | NP: (NONE, NONE),
}


def one(ace, child, **how):
    return inherit_acl(Acl((ace,)), child, **how)


def naive(ace, *, is_container):
    """Say in the table's words what a child gets of an entry about ALICE."""
    cell = TABLE[ace.flags & (OI | CI | NP)][0 if is_container else 1]
    if cell is NOTHING:
        return ()
    generic = ace.mask == GENERIC_READ or ace.trustee == CREATOR_OWNER
    mapped = MAPPING.read if ace.mask == GENERIC_READ else ace.mask
    if cell & IO:
        return (allow(ace.trustee, ace.mask, cell | ID),)
    if generic and cell:
        return (allow(ALICE, mapped, ID), allow(ace.trustee, ace.mask, cell | IO | ID))
    return (allow(ALICE, mapped, cell | ID),)


@pytest.mark.parametrize("is_container", [False, True])
@pytest.mark.parametrize("bits", range(32))
@pytest.mark.parametrize("mask", [READ, GENERIC_READ])
@pytest.mark.parametrize("trustee", [ALICE, CREATOR_OWNER])
def test_the_table_of_flags_holds_for_every_combination(
    trustee, mask, bits, is_container
):
    ace = allow(trustee, mask, AceFlags(bits))
    child = CONTAINER if is_container else LEAF
    assert naive(ace, is_container=is_container) == one(ace, child)


@pytest.mark.parametrize("child", [LEAF, CONTAINER])
@given(acl=lists(dacl_aces()))
def test_inherited_entries_are_marked_only_if_that_is_asked_for(child, acl):
    marked = inherit_acl(acl, child)
    bare = inherit_acl(acl, child, is_marked=False)
    assert all(ace.flags & ID for ace in marked)
    assert not any(ace.flags & ID for ace in bare)
    assert [ace.mask for ace in marked] == [ace.mask for ace in bare]


@pytest.mark.parametrize("child", [LEAF, CONTAINER])
@given(acl=lists(dacl_aces()))
def test_what_counts_on_a_child_has_no_generic_rights(child, acl):
    for ace in inherit_acl(acl, child):
        assert ace.is_inherit_only or not ace.mask & GENERIC_RIGHTS
        assert child.is_container or not ace.flags & (OI | CI | NP | IO)


def test_no_list_hands_nothing_down():
    assert () == inherit_acl(NULL_DACL, CONTAINER)


def test_entries_keep_their_order_and_a_split_one_its_place():
    parent = Acl(
        (allow(BOB, READ, CI), allow(BOB, GENERIC_READ, CI), allow(BOB, 2, CI))
    )
    assert [READ, MAPPING.read, GENERIC_READ, WRITE] == [
        ace.mask for ace in inherit_acl(parent, CONTAINER)
    ]


@pytest.mark.parametrize(
    "kind",
    [kind for number, kind in ACE_CLASSES.items() if not issubclass(kind, ObjectAce)],
)
def test_every_kind_is_inherited_with_its_data_and_its_other_flags(kind):
    kept = AceFlags.FAILED_ACCESS | AceFlags.CRITICAL
    ace = kind(BOB, 0, OI | CI | kept, bytes(16))
    assert (kind(BOB, 0, ID | kept, bytes(16)),) == one(ace, LEAF)


@pytest.mark.parametrize(
    ("trustee", "meant"),
    [
        (CREATOR_OWNER, ALICE),
        (CREATOR_GROUP, STAFF),
        (CREATOR_OWNER_SERVER, BOB),
        (CREATOR_GROUP_SERVER, ADMINS),
        (EVERYONE, EVERYONE),
    ],
)
def test_creators_are_named_where_an_entry_counts(trustee, meant):
    child = Child(
        MAPPING, owner=ALICE, group=STAFF, server_owner=BOB, server_group=ADMINS
    )
    assert (allow(meant, READ, ID),) == one(allow(trustee, READ, OI), child)


@pytest.mark.parametrize(
    "trustee",
    [CREATOR_OWNER, CREATOR_GROUP, CREATOR_OWNER_SERVER, CREATOR_GROUP_SERVER],
)
def test_a_creator_that_nobody_knows_stays_unnamed_and_unsplit(trustee):
    child = Child(MAPPING, is_container=True)
    ace = allow(trustee, READ, CI)
    assert (allow(trustee, READ, CI | ID),) == one(ace, child)


def test_an_audit_entry_is_split_like_any_other():
    ace = audit(EVERYONE, GENERIC_ALL, CI | FAILED)
    assert (
        audit(EVERYONE, MAPPING.all, FAILED | ID),
        audit(EVERYONE, GENERIC_ALL, CI | IO | FAILED | ID),
    ) == one(ace, CONTAINER)


@pytest.mark.parametrize("kind", [ProcessTrustLabelAce, AccessFilterAce])
def test_the_rights_of_trust_labels_and_filters_are_mapped(kind):
    assert (kind(BOB, MAPPING.read, ID),) == one(kind(BOB, GENERIC_READ, OI), LEAF)


# --- kinds of child ------------------------------------------------------------------


def typed(kind, flags, *, about=None, heir=None, mask=READ, data=b""):
    return kind(BOB, mask, flags, data, object_type=about, inherited_object_type=heir)


@pytest.mark.parametrize("types", [{USER}, {USER, PHONE}])
def test_an_entry_for_a_kind_counts_on_children_of_that_kind(types):
    child = Child(MAPPING, is_container=True, object_types=frozenset(types))
    ace = typed(AccessAllowedObjectAce, CI | IO, about=PHONE, heir=USER)
    kept = typed(AccessAllowedObjectAce, CI | ID, about=PHONE, heir=USER)
    assert (kept,) == one(ace, child)
    assert has_entries_for_kind(Acl((ace,)), child)


def test_an_entry_for_a_kind_passes_through_containers_of_another():
    child = Child(MAPPING, is_container=True, object_types=frozenset({FOLDER}))
    ace = typed(AccessDeniedObjectAce, CI, heir=USER)
    assert (typed(AccessDeniedObjectAce, CI | IO | ID, heir=USER),) == one(ace, child)
    assert () == one(typed(AccessDeniedObjectAce, CI | NP, heir=USER), child)
    assert not has_entries_for_kind(Acl((ace,)), child)


def test_an_entry_for_a_kind_is_not_inherited_by_leaves_of_another():
    ace = typed(AccessAllowedObjectAce, OI | CI, heir=USER)
    assert () == one(ace, LEAF)


def test_an_object_entry_for_any_kind_is_inherited_like_a_plain_one():
    ace = typed(AccessAllowedObjectAce, OI | CI, about=PHONE)
    assert (typed(AccessAllowedObjectAce, ID, about=PHONE),) == one(ace, LEAF)
    assert not has_entries_for_kind(Acl((ace, allow(BOB, READ, OI))), LEAF)
    assert not has_entries_for_kind(NULL_DACL, LEAF)


def test_a_copy_that_only_counts_forgets_the_kind_of_child():
    child = Child(MAPPING, is_container=True, object_types=frozenset({USER}))
    ace = typed(AccessAllowedObjectAce, CI, about=PHONE, heir=USER, mask=GENERIC_READ)
    assert (
        typed(AccessAllowedObjectAce, ID, about=PHONE, mask=MAPPING.read),
        typed(
            AccessAllowedObjectAce,
            CI | IO | ID,
            about=PHONE,
            heir=USER,
            mask=GENERIC_READ,
        ),
    ) == one(ace, child)


OBJECT_KINDS = {
    AceType.ACCESS_ALLOWED_OBJECT: AceType.ACCESS_ALLOWED,
    AceType.ACCESS_DENIED_OBJECT: AceType.ACCESS_DENIED,
    AceType.SYSTEM_AUDIT_OBJECT: AceType.SYSTEM_AUDIT,
    AceType.SYSTEM_ALARM_OBJECT: AceType.SYSTEM_ALARM,
    AceType.ACCESS_ALLOWED_CALLBACK_OBJECT: AceType.ACCESS_ALLOWED_CALLBACK,
    AceType.ACCESS_DENIED_CALLBACK_OBJECT: AceType.ACCESS_DENIED_CALLBACK,
    AceType.SYSTEM_AUDIT_CALLBACK_OBJECT: AceType.SYSTEM_AUDIT_CALLBACK,
    AceType.SYSTEM_ALARM_CALLBACK_OBJECT: AceType.SYSTEM_ALARM_CALLBACK,
}


@pytest.mark.parametrize(("number", "plain"), OBJECT_KINDS.items())
def test_a_copy_about_the_whole_object_becomes_a_plain_entry(number, plain):
    child = Child(MAPPING, object_types=frozenset({USER}))
    ace = typed(ACE_CLASSES[number], OI, heir=USER, data=CONDITION)
    assert (ACE_CLASSES[plain](BOB, READ, ID, CONDITION),) == one(ace, child)


def test_a_made_up_object_kind_stays_what_it_is():
    class PuzzleObjectAce(AccessAllowedObjectAce):
        __slots__ = ()

    child = Child(MAPPING, object_types=frozenset({USER}))
    ace = typed(PuzzleObjectAce, OI, heir=USER)
    assert (typed(PuzzleObjectAce, ID),) == one(ace, child)


# --- kinds whose mask is no rights ---------------------------------------------------


@pytest.mark.parametrize("make", [label, policy, attribute])
def test_labels_policies_and_attributes_are_never_split(make):
    (made,) = one(make(flags=OI | CI), CONTAINER)
    assert make(flags=OI | CI | ID) == made


def test_an_attribute_that_says_so_is_not_inherited():
    assert () == one(attribute(OI | CI, claim_flags=0x1), CONTAINER)
    assert 1 == len(one(attribute(OI | CI, claim_flags=0x2), CONTAINER))


def test_an_attribute_whose_flags_cannot_be_read_is_inherited():
    ace = ResourceAttributeAce(EVERYONE, 0, OI, bytes(4))
    assert 1 == len(one(ace, LEAF))


@pytest.mark.parametrize(("bits", "cells"), TABLE.items())
def test_an_entry_of_an_unknown_kind_is_inherited_by_its_flags_as_bytes(bits, cells):
    ace = OpaqueAce(flags=bits, type_number=0x77, body=b"12345678")
    for child, cell in zip((CONTAINER, LEAF), cells, strict=True):
        made = one(ace, child)
        if cell is NOTHING:
            assert () == made
        else:
            flags = cell | ID
            assert (OpaqueAce(flags=flags, type_number=0x77, body=b"12345678"),) == made


# --- an object's own entries ---------------------------------------------------------


def test_own_entries_are_split_where_they_count_and_are_passed_on():
    own = (
        allow(CREATOR_OWNER, GENERIC_READ, CI | NP),
        allow(CREATOR_OWNER, READ),
        allow(BOB, READ, CI),
        allow(CREATOR_OWNER, GENERIC_READ, CI | IO),
        label(flags=CI),
    )
    assert (
        allow(ALICE, MAPPING.read),
        allow(CREATOR_OWNER, GENERIC_READ, CI | NP | IO),
        allow(ALICE, READ),
        *own[2:],
    ) == tuple(settle_aces(own, CONTAINER))


def test_an_own_entry_of_a_leaf_is_not_kept_for_children():
    own = (allow(BOB, GENERIC_READ, OI),)
    assert (allow(BOB, MAPPING.read),) == tuple(settle_aces(own, LEAF))


def test_mapping_alone_leaves_creators_and_flags():
    own = (allow(CREATOR_OWNER, GENERIC_READ, CI), allow(BOB, GENERIC_READ, CI | IO))
    assert (allow(CREATOR_OWNER, MAPPING.read, CI), own[1]) == tuple(
        map_aces(own, MAPPING)
    )


def test_generic_rights_mean_no_more_than_generic_all_does():
    mapping = GenericMapping(read=0x11, write=0x22, execute=0x44, all=0x0F)
    for bit, meant in ((31, 0x1), (30, 0x2), (29, 0x4), (28, 0xF)):
        assert meant == map_rights(1 << bit, mapping)


def test_rights_that_are_named_stay_whatever_the_mapping_holds():
    mapping = GenericMapping(read=0x1, write=0x2, execute=0x4, all=0x7)
    assert 0x0100_0011 == map_rights(0x8100_0010, mapping)
    assert 0x0100_0010 == map_rights(0x0100_0010, mapping)


def test_a_rebuilt_list_keeps_a_higher_revision_and_itself_if_the_same():
    acl = Acl((allow(BOB, READ),), 4)
    assert acl is rebuild(acl, acl.aces)
    assert 4 == rebuild(acl, ()).revision
    assert 2 == rebuild(NULL_DACL, acl.aces).revision
    typed_ace = AccessAllowedObjectAce(BOB, READ, object_type=PHONE)
    assert 4 == rebuild(Acl(), (typed_ace,)).revision


def test_the_servers_creator_sids_are_the_documented_ones():
    assert Sid.from_string("S-1-3-2") == CREATOR_OWNER_SERVER
    assert Sid.from_string("S-1-3-3") == CREATOR_GROUP_SERVER


@pytest.mark.parametrize("flags", [CI, CI | OI, OI])
@pytest.mark.parametrize(
    "kind", [AccessAllowedCallbackAce, AccessAllowedCallbackObjectAce]
)
def test_a_condition_goes_with_both_halves_of_a_split(kind, flags):
    ace = kind(CREATOR_OWNER, GENERIC_READ, flags, CONDITION)
    made = one(ace, CONTAINER)
    assert (2 if flags & CI else 1) == len(made)
    assert all(CONDITION == half.application_data for half in made)


def test_flags_of_auditing_stay_on_object_entries_too():
    ace = SystemAuditObjectAce(BOB, READ, OI | FAILED, object_type=PHONE)
    (made,) = one(ace, LEAF)
    assert FAILED | ID == made.flags
    assert not isinstance(made, AccessAllowedAce)


@pytest.mark.parametrize(
    "kind", [MandatoryLabelAce, ResourceAttributeAce, ScopedPolicyIdAce]
)
def test_what_has_no_rights_has_none_to_map_and_nobody_to_name(kind):
    ace = kind(CREATOR_OWNER, GENERIC_ALL | READ)
    assert ace is concrete(ace, CONTAINER)
    plain = AccessAllowedAce(CREATOR_OWNER, GENERIC_ALL)
    assert AccessAllowedAce(ALICE, MAPPING.all) == concrete(plain, CONTAINER)


def test_only_an_attribute_s_data_says_whether_it_may_be_inherited():
    data = CONDITION + (1).to_bytes(4, "little")
    ace = AccessAllowedCallbackAce(ALICE, READ, CI, data)
    assert (ace,) == one(ace, CONTAINER, is_marked=False)


def test_an_object_entry_that_names_no_type_stays_one():
    ace = AccessAllowedObjectAce(ALICE, READ, OI)
    assert (replace(ace, flags=NONE),) == one(ace, LEAF, is_marked=False)


def test_one_entry_for_a_kind_among_others_is_enough():
    child = replace(CONTAINER, object_types=frozenset({USER}))
    for_users = AccessAllowedObjectAce(ALICE, READ, CI, inherited_object_type=USER)
    assert has_entries_for_kind(Acl((allow(ALICE, READ, CI), for_users)), child)


def test_an_own_entry_that_nobody_inherits_is_not_split():
    ace = allow(CREATOR_OWNER, GENERIC_READ, ID)
    assert [allow(ALICE, MAPPING.read, ID)] == list(settle_aces([ace], CONTAINER))
