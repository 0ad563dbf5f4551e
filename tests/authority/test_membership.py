from __future__ import annotations

import pytest

from stead.authority.membership import MAXIMUM_GROUPS, memberships
from stead.authority.ports import Group
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

    def memberships_of(self, members):
        return [(ALICE, group) for group in self.groups if ALICE in members]


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
    found = {m.group.name: m.path for m in memberships(store, (alice,))}
    assert {"staff": (alice, staff), "everybody": (alice, staff, everybody)} == found


def test_the_shortest_path_is_told(store, alice, group):
    inner = group("inner", alice)
    outer = group("outer", inner, alice)
    [path] = [m.path for m in memberships(store, (alice,)) if m.group.sid == outer]
    assert (alice, outer) == path


def test_groups_that_are_in_one_another_end(store, alice, group):
    one = group("one", alice)
    two = group("two", one)
    store.add_member(one, two)
    assert {one, two} == {m.group.sid for m in memberships(store, (alice,))}


def test_a_group_one_begins_with_is_not_found_again(store, alice, group):
    one = group("one", alice)
    two = group("two", one)
    assert [two] == [m.group.sid for m in memberships(store, (alice, one))]


def test_a_token_holds_1015_groups_and_no_more():
    assert MAXIMUM_GROUPS == len(memberships(ManyGroups(MAXIMUM_GROUPS), (ALICE,)))
    with pytest.raises(TooManyGroupsError, match="more than 1015"):
        memberships(ManyGroups(MAXIMUM_GROUPS + 1), (ALICE,))
