"""Lists, and what is not a list."""

import copy
from dataclasses import replace
from pickle import dumps, loads

import pytest

from stead.errors import InvalidAclError
from stead.model.ace import (
    AccessAllowedAce,
    AccessAllowedObjectAce,
    AccessDeniedAce,
    OpaqueAce,
)
from stead.model.acl import (
    ABSENT_DACL,
    ABSENT_SACL,
    MAXIMUM_ACL_SIZE,
    NULL_DACL,
    NULL_SACL,
    Acl,
    NoAcl,
    checked_acl,
    lowest_revision,
    unlooked_at_acl,
)
from stead.model.explicit_access import allow
from stead.model.well_known import EVERYONE

ALLOW = AccessAllowedAce(EVERYONE, 1)
DENY = AccessDeniedAce(EVERYONE, 1)
OBJECT = AccessAllowedObjectAce(EVERYONE, 1)
COMPOUND = OpaqueAce(type_number=0x04)
UNKNOWN = OpaqueAce(type_number=0x16)


def test_a_list_keeps_its_order():
    acl = Acl([DENY, ALLOW])
    assert [DENY, ALLOW] == list(acl)
    assert (DENY, ALLOW) == acl.aces
    assert 2 == len(acl)


def test_an_empty_list_is_a_list_and_true():
    assert Acl()
    assert 0 == len(Acl())


def test_what_is_not_a_list_is_neither_absent_nor_null_by_accident():
    assert NoAcl.NULL is NULL_DACL
    assert NoAcl.ABSENT is ABSENT_DACL
    assert NULL_DACL is not ABSENT_DACL
    assert NULL_DACL is NULL_SACL
    assert ABSENT_DACL is ABSENT_SACL
    assert "NULL_ACL" == repr(NULL_DACL)


def test_a_name_is_resolved_before_it_is_listed():
    with pytest.raises(InvalidAclError, match="resolve names first"):
        Acl((allow("Users", 1),))


@pytest.mark.parametrize("revision", [1, 5])
def test_an_unknown_revision_is_refused(revision):
    with pytest.raises(InvalidAclError, match="revision"):
        Acl((), revision)


def test_a_list_holds_just_64_kib():
    assert 3276 == len(Acl((ALLOW,) * 3276))
    with pytest.raises(InvalidAclError, match="64 KiB"):
        Acl((ALLOW,) * 3277)


@pytest.mark.parametrize(
    ("aces", "expected"),
    [
        ((), 2),
        ((ALLOW, DENY), 2),
        ((UNKNOWN,), 2),
        ((ALLOW, COMPOUND), 3),
        ((COMPOUND, UNKNOWN), 3),
        ((OBJECT,), 4),
        ((COMPOUND, OBJECT), 4),
        ((OBJECT, COMPOUND), 4),
    ],
)
def test_a_list_has_the_lowest_revision_that_its_entries_allow(aces, expected):
    assert expected == lowest_revision(aces)
    assert expected == Acl(aces).revision


@pytest.mark.parametrize("revision", [2, 3, 4])
def test_a_revision_that_is_given_is_kept(revision):
    assert revision == Acl((ALLOW,), revision).revision
    assert revision == Acl((OBJECT,), revision).revision


def test_entries_of_any_size_count_for_the_size_of_a_list():
    half = OpaqueAce(body=bytes(MAXIMUM_ACL_SIZE // 2 - 2 - 8))
    rest = OpaqueAce(body=bytes(MAXIMUM_ACL_SIZE - 8 - half.size - 4))
    assert 2 == len(Acl((half, rest)))
    with pytest.raises(InvalidAclError, match="an acl of 65536 bytes"):
        Acl((half, rest, UNKNOWN))


@pytest.mark.parametrize("revision", [2, 3, 4])
def test_a_list_of_checked_parts_is_the_one_that_checks_them(revision):
    made = checked_acl((ALLOW, OBJECT), revision)
    assert Acl((ALLOW, OBJECT), revision) == made
    assert hash(Acl((ALLOW, OBJECT), revision)) == hash(made)


def unlooked_at():
    """Return a list that nobody has looked at, and what tells how often it is made."""
    made = []

    def make_aces():
        made.append(1)
        return DENY, ALLOW

    kinds = frozenset({type(DENY), type(ALLOW)})
    return unlooked_at_acl(make_aces, kinds, 2), made


def test_entries_are_made_once_and_when_somebody_looks():
    acl, made = unlooked_at()
    assert frozenset({type(DENY), type(ALLOW)}) == acl.kinds
    assert made == []
    assert [DENY, ALLOW] == [*acl]
    assert acl.aces is acl.aces
    assert made == [1]


@pytest.mark.parametrize(
    "through",
    [copy.copy, copy.deepcopy, replace, lambda acl: loads(dumps(acl))],  # noqa: S301 - our own
)
def test_a_list_that_nobody_looked_at_is_like_any_other(through):
    acl, whole = unlooked_at()[0], Acl((DENY, ALLOW))
    assert whole == through(acl)
    assert whole.kinds == through(unlooked_at()[0]).kinds
    assert hash(whole) == hash(through(unlooked_at()[0]))
    assert repr(whole) == repr(through(unlooked_at()[0]))


def test_a_list_has_no_other_attributes():
    for acl in (Acl(), unlooked_at()[0]):
        with pytest.raises(AttributeError, match="entries"):
            acl.entries  # noqa: B018 - looking is what is tested
