from __future__ import annotations

import random
from itertools import pairwise

import pytest

from stead.authority.membership import MAXIMUM_GROUPS, Assigned, memberships
from stead.authority.ports import Assignments, Group
from stead.errors import TooManyGroupsError
from stead.model.sid import Sid

ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")
DOMAIN = Sid.from_string("S-1-5-21-1-2-3")


class ManyGroups:
    """A store in which alice is in a number of groups."""

    def __init__(self, count):
        self.groups = tuple(
            Group(DOMAIN.with_rid(2000 + n), f"group {n}") for n in range(count)
        )

    def assignments_of(self, sids):
        return {sid: Assignments(self.groups if sid == ALICE else ()) for sid in sids}


def memberships_of(store, starts):
    return memberships(Assigned(store.assignments_of), starts)


@pytest.fixture
def alice(store):
    return store.add_account("alice", None, None).sid


@pytest.fixture
def group(store):
    return lambda name, *members: _made(store, name, members)


def _made(store, name, members):
    made = store.add_group(name, None)
    for member in members:
        store.add_member(made.sid, member)
    return made.sid


def test_groups_in_groups_are_found_with_their_paths(store, alice, group):
    staff = group("staff", alice)
    everybody = group("everybody", staff)
    found = {m.group.name: m.path for m in memberships_of(store, (alice,))}
    assert {"staff": (alice, staff), "everybody": (alice, staff, everybody)} == found


def test_the_shortest_path_is_told(store, alice, group):
    inner = group("inner", alice)
    outer = group("outer", inner, alice)
    [path] = [m.path for m in memberships_of(store, (alice,)) if m.group.sid == outer]
    assert (alice, outer) == path


def test_groups_that_are_in_one_another_end(store, alice, group):
    one = group("one", alice)
    two = group("two", one)
    store.add_member(one, two)
    assert {one, two} == {m.group.sid for m in memberships_of(store, (alice,))}


def test_a_group_one_begins_with_is_not_found_again(store, alice, group):
    one = group("one", alice)
    two = group("two", one)
    assert [two] == [m.group.sid for m in memberships_of(store, (alice, one))]


@pytest.mark.parametrize("seed", range(8))
def test_as_many_are_found_as_by_asking_of_each_alone(store, alice, group, seed):
    """The naive walk asks of one SID after the other; paths are as short as can be."""
    chance = random.Random(seed)  # noqa: S311 - a graph, no secret
    groups = [group(f"group {number}") for number in range(24)]
    for _ in range(40):
        member = chance.choice([alice, *groups])
        store.add_member(chance.choice(groups), member)
    steps, edge = {alice: 0}, [alice]
    for member in edge:
        for found in store.assignments_of([member])[member].groups:
            if found.sid not in steps:
                steps[found.sid] = steps[member] + 1
                edge.append(found.sid)
    found = memberships_of(store, (alice,))
    assert {alice: 0} | {m.group.sid: len(m.path) - 1 for m in found} == steps
    for membership in found:
        for member, into in pairwise(membership.path):
            assert member in store.members(into)


def test_a_token_holds_1015_groups_and_no_more():
    assert MAXIMUM_GROUPS == len(memberships_of(ManyGroups(MAXIMUM_GROUPS), (ALICE,)))
    with pytest.raises(TooManyGroupsError, match="more than 1015"):
        memberships_of(ManyGroups(MAXIMUM_GROUPS + 1), (ALICE,))
