"""The preferred order: own before inherited, and in what is own deny before allow."""

from __future__ import annotations

from hypothesis import given
from tests.decision.making import (
    ALICE,
    BOB,
    CI,
    ID,
    IO,
    READ,
    WRITE,
    allow,
    audit,
    dacl_aces,
    deny,
    lists,
)

from stead.decision.ace_order import canonical_order, is_canonical
from stead.model.ace import OpaqueAce
from stead.model.acl import Acl

UNKNOWN = OpaqueAce(body=b"1234")


def test_own_entries_come_first_and_those_that_deny_before_those_that_allow():
    acl = Acl((
        allow(ALICE, READ, ID), deny(ALICE, READ, ID), allow(BOB, READ),
        deny(BOB, WRITE, CI | IO), allow(ALICE, READ), UNKNOWN, deny(ALICE, READ),
    ))  # fmt: skip
    assert not is_canonical(acl)
    assert (
        deny(BOB, WRITE, CI | IO), UNKNOWN, deny(ALICE, READ),
        allow(BOB, READ), allow(ALICE, READ),
        allow(ALICE, READ, ID), deny(ALICE, READ, ID),
    ) == canonical_order(acl).aces  # fmt: skip


def test_inherited_entries_keep_the_order_in_which_they_came():
    # A parent's allow stands before a grandparent's deny, and belongs there.
    acl = Acl((deny(ALICE, 1), allow(ALICE, 2), allow(BOB, 1, ID), deny(BOB, 2, ID)))
    assert is_canonical(acl)
    assert acl is canonical_order(acl)


def test_an_allow_entry_before_a_deny_entry_is_out_of_order():
    assert not is_canonical(Acl((allow(ALICE, READ), deny(BOB, READ))))
    assert not is_canonical(Acl((allow(ALICE, READ, ID), allow(BOB, READ))))


def test_a_system_list_has_its_own_entries_first():
    acl = Acl((audit(ALICE, READ, ID), audit(BOB, READ)))
    assert (audit(BOB, READ), audit(ALICE, READ, ID)) == canonical_order(acl).aces


def test_an_empty_list_is_in_order():
    assert is_canonical(Acl())


@given(lists(dacl_aces()))
def test_ordering_makes_a_list_canonical_and_loses_nothing(acl):
    if not isinstance(acl, Acl):
        return
    made = canonical_order(acl)
    assert is_canonical(made)
    assert made is canonical_order(made)
    assert sorted(map(repr, acl)) == sorted(map(repr, made))
