"""Object types: who may read one property may not therefore read the object."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    BOB,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    SYSTEM_SECURITY,
    WRITE,
    allow,
    deny,
    guarded,
    token,
)

from stead.decision.access_check import access_check
from stead.decision.callbacks import Callbacks
from stead.decision.dacl_walk import walk_dacl
from stead.decision.object_tree import build_tree
from stead.decision.principals import token_principal
from stead.errors import InvalidObjectTypesError
from stead.model.ace import AccessAllowedObjectAce, AccessDeniedObjectAce
from stead.model.acl import Acl
from stead.model.decision import AccessQuestion, ObjectType
from stead.model.guid import Guid
from stead.model.privilege import Privilege
from stead.model.security_descriptor import SecurityDescriptor

ROOT, SET, NAME, MAIL, OTHER, PHONE, STRANGE = (
    Guid(bytes((number,)) * 16) for number in range(1, 8)
)
#: The object; a property set with two properties; another with one.
TREE = tuple(
    ObjectType(level, guid)
    for level, guid in (
        (0, ROOT),
        (1, SET),
        (2, NAME),
        (2, MAIL),
        (1, OTHER),
        (2, PHONE),
    )
)


def may(kind, mask=READ, who=ALICE):
    return AccessAllowedObjectAce(who, mask, object_type=kind)


def may_not(kind, mask=READ, who=ALICE):
    return AccessDeniedObjectAce(who, mask, object_type=kind)


def masks(*entries, desired, types=TREE, **fields):
    decision = access_check(
        token(), guarded(*entries, **fields), desired, MAPPING, object_types=types
    )
    return [result.granted for result in decision.object_results]


def answers(*entries, desired=READ, types=TREE, **fields):
    decision = access_check(
        token(), guarded(*entries, **fields), desired, MAPPING, object_types=types
    )
    assert decision.allowed == decision.object_results[0].allowed
    if decision:
        assert decision.granted == decision.object_results[0].granted
    return [bool(result) for result in decision.object_results]


def test_a_plain_entry_is_about_every_node():
    assert [True] * 6 == answers(allow(ALICE, READ))


def test_an_entry_about_a_property_set_is_about_its_properties():
    assert [False, True, True, True, False, False] == answers(may(SET))


def test_an_entry_about_a_property_is_about_it_alone():
    assert [False, False, True, False, False, False] == answers(may(NAME))


def test_a_right_to_the_last_property_does_not_climb():
    assert [False, False, False, True, False, False] == answers(may(MAIL))
    assert [False] * 4 + [True] * 2 == answers(may(PHONE))


def test_no_part_is_granted_what_nobody_asked_for():
    everything = allow(ALICE, READ | WRITE | RUN)
    assert [READ] * 6 == masks(may(NAME, WRITE), everything, desired=READ)
    assert [READ] * 6 == masks(may_not(NAME, WRITE), everything, desired=READ)


def test_what_is_settled_for_a_part_stays_so_whatever_else_is_settled():
    entries = (may_not(NAME, WRITE), allow(ALICE, READ), allow(ALICE, WRITE))
    both, read = READ | WRITE, READ
    assert [read, read, read, both, both, both] == masks(*entries, desired=MAXIMUM)
    entries = (
        may_not(NAME, WRITE),
        may_not(NAME, READ),
        deny(ALICE, RUN),
        allow(ALICE, both | RUN),
    )
    assert [0, 0, 0, both, both, both] == masks(*entries, desired=MAXIMUM)


def test_a_right_to_all_properties_climbs_to_their_set():
    assert [False, True, True, True, False, False] == answers(may(NAME), may(MAIL))


def test_a_right_that_every_part_has_climbs_to_the_object():
    assert [True] * 6 == answers(may(NAME), may(MAIL), may(PHONE))


def test_a_denied_property_denies_what_holds_it():
    assert [False, False, False, True, True, True] == answers(
        may_not(NAME), allow(ALICE, READ)
    )


def test_a_denied_set_denies_its_properties_and_the_object():
    assert [False, False, False, False, True, True] == answers(
        may_not(SET), allow(ALICE, READ)
    )


def test_at_each_node_the_first_entry_wins():
    assert [True] * 6 == answers(allow(ALICE, READ), may_not(NAME))
    assert [False, False, True, False, False, False] == answers(
        may(NAME), may_not(SET), deny(ALICE, READ)
    )


def test_a_denied_node_is_not_reached_by_climbing():
    found = answers(may_not(SET), may(NAME), may(MAIL), may(PHONE))
    assert [False, False, False, False, True, True] == found


def test_an_entry_about_a_type_that_nobody_asked_for_is_ignored():
    assert [True] * 6 == answers(may_not(STRANGE), allow(ALICE, READ))
    assert [False] * 6 == answers(may(STRANGE))


def test_an_object_entry_without_a_type_is_a_plain_one():
    assert [True] * 6 == answers(may(None))
    assert [False] * 6 == answers(may_not(None), allow(ALICE, READ))


def test_an_entry_about_somebody_else_says_nothing():
    assert [False] * 6 == answers(may(SET, who=BOB))


def test_the_owner_s_rights_hold_at_every_node():
    assert [True] * 6 == answers(desired=READ_CONTROL, owner=ALICE)


def test_no_privilege_was_used_where_the_object_is_refused():
    who = token(privileges=[Privilege.SECURITY])
    decision = access_check(
        who,
        guarded(may(PHONE)),
        SYSTEM_SECURITY | READ,
        MAPPING,
        object_types=TREE,
    )
    assert decision.object_results[-1]
    assert (False, ()) == (decision.allowed, decision.privileges_used)


def test_who_listens_hears_which_entries_settled_rights_of_the_object():
    entries = (may(PHONE), allow(BOB, READ), allow(ALICE, READ), deny(ALICE, 3))
    question = AccessQuestion(guarded(*entries), token(), READ | WRITE, MAPPING)
    heard = []
    walk_dacl(
        question.descriptor.dacl,
        token_principal(question),
        tree=build_tree(TREE),
        wanted=question.desired,
        mapping=MAPPING,
        callbacks=Callbacks(question),
        note=lambda *what: heard.append(what),
    )
    assert [(2, entries[2], True, READ), (3, entries[3], False, WRITE)] == heard


def test_a_node_that_is_refused_tells_which_of_the_rights_it_has():
    entries = (may_not(ROOT, READ_CONTROL | READ), may_not(SET, WRITE), may(NAME, READ))
    found = access_check(
        token(),
        guarded(*entries, owner=ALICE),
        READ_CONTROL | READ,
        MAPPING,
        object_types=TREE,
    )
    assert (False, 0) == (found.allowed, found.granted)
    assert [(False, READ_CONTROL)] * 6 == [
        (node.allowed, node.granted) for node in found.object_results
    ]


def test_a_node_that_lacks_a_named_right_is_refused_whatever_its_maximum_is():
    found = access_check(
        token(),
        guarded(may(NAME, WRITE), allow(ALICE, READ)),
        MAXIMUM | WRITE,
        MAPPING,
        object_types=TREE,
    )
    assert [
        (False, READ),
        (False, READ),
        (True, READ | WRITE),
        *[(False, READ)] * 3,
    ] == [(node.allowed, node.granted) for node in found.object_results]


def test_a_list_that_is_no_tree_is_refused_before_the_descriptor_is():
    nobodys = SecurityDescriptor(Acl(()))
    with pytest.raises(InvalidObjectTypesError):
        access_check(
            token(), nobodys, READ, MAPPING, object_types=[ObjectType(1, ROOT)]
        )


def test_the_maximum_is_found_node_by_node():
    decision = access_check(
        token(),
        guarded(may(SET, WRITE), allow(ALICE, READ)),
        MAXIMUM,
        MAPPING,
        object_types=TREE,
    )
    expected = [READ] + [READ | WRITE] * 3 + [READ] * 2
    assert expected == [result.granted for result in decision.object_results]


def test_without_object_types_typed_entries_grant_nothing_and_deny_everything():
    who = token()
    assert not access_check(who, guarded(may(SET)), READ, MAPPING)
    what = guarded(may_not(SET), allow(ALICE, READ))
    assert not access_check(who, what, READ, MAPPING)
    assert access_check(who, guarded(may(None)), READ, MAPPING)


@pytest.mark.parametrize(
    ("levels", "why"),
    [
        ((1,), "level 0"),
        ((0, 0), "level 0"),
        ((0, 1, 0), "level 0"),
        ((0, 2), "skips"),
        ((0, 1, 3), "skips"),
        ((0, 5), "0 to 4"),
        ((-1,), "0 to 4"),
    ],
)
def test_levels_that_make_no_tree_are_refused(levels, why):
    types = [
        ObjectType(level, Guid(bytes(15) + bytes((n,))))
        for n, level in enumerate(levels)
    ]
    with pytest.raises(InvalidObjectTypesError, match=why) as caught:
        access_check(token(), guarded(), READ, MAPPING, object_types=types)
    assert 87 == caught.value.status


def test_a_type_that_stands_twice_is_refused():
    types = (ObjectType(0, ROOT), ObjectType(1, SET), ObjectType(1, SET))
    with pytest.raises(InvalidObjectTypesError, match="twice"):
        build_tree(types)


def test_a_tree_may_be_five_levels_deep_and_narrow_again():
    levels = (0, 1, 2, 3, 4, 1, 2)
    types = [
        ObjectType(level, Guid(bytes(15) + bytes((n,))))
        for n, level in enumerate(levels)
    ]
    tree = build_tree(types)
    assert (-1, 0, 1, 2, 3, 0, 5) == tree.parents
    assert (7, 5, 5, 5, 5, 7, 7) == tree.ends
    assert [1, 5] == tree.children(0)
