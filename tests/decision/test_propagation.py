"""A tree of objects follows its root, as far as nothing is protected from it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decision.making import (
    ALICE,
    BOB,
    CAROL,
    CI,
    FAILED,
    FOLDER,
    GENERIC_READ,
    ID,
    IO,
    MAPPING,
    NP,
    OI,
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

from stead.decision.ace_order import is_canonical
from stead.decision.auto_inherit_flags import AutoInheritFlags
from stead.decision.new_object import create_object_descriptor
from stead.decision.propagation import TreeNode, propagate
from stead.errors import InvalidAclError, SteadError
from stead.model.ace import AccessAllowedObjectAce
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl, NoAcl
from stead.model.security_descriptor import ControlFlags
from stead.model.well_known import CREATOR_OWNER, EVERYONE

Control = ControlFlags
BOTH = Control.DACL_PROTECTED | Control.SACL_PROTECTED


def node(key, parent, descriptor, *, holds=True, types=frozenset()):
    return TreeNode(key, parent, descriptor, is_container=holds, object_types=types)


def root(descriptor):
    return node("root", None, descriptor)


def spread(descriptor, *nodes, **how):
    return propagate(root(descriptor), nodes, mapping=MAPPING, **how)


# --- what is handed down -------------------------------------------------------------


def test_entries_go_down_the_tree_and_own_ones_stay_in_front():
    changed = spread(
        described(deny(CAROL, WRITE, OI | CI), allow(STAFF, READ, CI)),
        node("file", "folder", described(allow(BOB, READ)), holds=False),
        node("folder", "root", described(allow(BOB, WRITE, OI))),
    )
    assert {"folder", "file"} == set(changed)
    assert (
        allow(BOB, WRITE, OI),
        deny(CAROL, WRITE, OI | CI | ID),
        allow(STAFF, READ, CI | ID),
    ) == changed["folder"].dacl.aces
    assert (
        allow(BOB, READ),
        allow(BOB, WRITE, ID),
        deny(CAROL, WRITE, ID),
    ) == changed["file"].dacl.aces
    assert changed["file"].control & Control.DACL_AUTO_INHERITED


def test_what_the_parent_no_longer_has_goes():
    child = described(
        allow(BOB, READ), allow(STAFF, READ, ID), control=Control.DACL_AUTO_INHERITED
    )
    changed = spread(described(), node("child", "root", child))
    assert (allow(BOB, READ),) == changed["child"].dacl.aces


def test_only_what_changes_is_returned():
    child = described(allow(BOB, READ), allow(STAFF, READ, CI | ID))
    assert {} == spread(described(allow(STAFF, READ, CI)), node(1, "root", child))
    assert {} == spread(described(allow(STAFF, READ, CI)))


def test_an_object_below_an_unchanged_one_may_change():
    changed = spread(
        described(allow(STAFF, READ, CI)),
        node(1, "root", described(allow(STAFF, READ, CI | ID))),
        node(2, 1, described()),
    )
    assert {2} == set(changed)


def test_creators_are_each_objects_own_owner():
    changed = spread(
        described(allow(CREATOR_OWNER, GENERIC_READ, OI | CI)),
        node("folder", "root", described(owner=BOB)),
        node("file", "folder", described(owner=CAROL), holds=False),
    )
    assert (
        allow(BOB, MAPPING.read, ID),
        allow(CREATOR_OWNER, GENERIC_READ, OI | CI | IO | ID),
    ) == changed["folder"].dacl.aces
    assert (allow(CAROL, MAPPING.read, ID),) == changed["file"].dacl.aces


def test_the_servers_own_creator_sids_mean_its_token():
    changed = spread(
        described(
            allow(EVERYONE.from_string("S-1-3-2"), READ, CI | NP),
            allow(EVERYONE.from_string("S-1-3-3"), READ, CI | NP),
        ),
        node("folder", "root", described()),
        server=token(user=BOB, primary_group=STAFF),
    )
    assert (allow(BOB, READ, ID), allow(STAFF, READ, ID)) == changed["folder"].dacl.aces


def test_an_object_holds_nothing_unless_it_is_said_to():
    changed = spread(
        described(allow(STAFF, READ, OI | CI)), TreeNode("file", "root", described())
    )
    assert (allow(STAFF, READ, ID),) == changed["file"].dacl.aces


@pytest.mark.parametrize(
    ("above", "said"),
    [
        (described(allow(STAFF, READ, CI)), Control.DACL_AUTO_INHERITED),
        (system(audit(EVERYONE, READ, CI | FAILED)), Control.SACL_AUTO_INHERITED),
        (
            described(allow(STAFF, READ, CI), sacl=Acl((label(flags=CI),))),
            Control.DACL_AUTO_INHERITED | Control.SACL_AUTO_INHERITED,
        ),
    ],
)
def test_each_list_that_inherits_something_new_says_so(above, said):
    changed = spread(above, node("x", "root", described()))
    both = Control.DACL_AUTO_INHERITED | Control.SACL_AUTO_INHERITED
    assert said == changed["x"].control & both


def test_an_entry_for_a_kind_of_object_passes_the_folders_by():
    for_users = AccessAllowedObjectAce(BOB, READ, CI, inherited_object_type=USER)
    changed = spread(
        described(for_users),
        node("unit", "root", described(), types=frozenset({FOLDER})),
        node("user", "unit", described(), types=frozenset({USER})),
    )
    assert all(ace.is_inherit_only for ace in changed["unit"].dacl)
    assert not any(ace.is_inherit_only for ace in changed["user"].dacl)


# --- objects without a list ----------------------------------------------------------


@pytest.mark.parametrize("none", [ABSENT_DACL, NULL_DACL, Acl()])
def test_an_object_without_a_dacl_gets_one_and_is_closed_when_it_is_emptied(none):
    open_object = described(dacl=none)
    first = spread(described(allow(STAFF, READ, CI)), node("x", "root", open_object))
    assert (allow(STAFF, READ, CI | ID),) == first["x"].dacl.aces
    then = spread(described(), node("x", "root", first["x"]))
    assert Acl() == then["x"].dacl


def test_an_open_object_stays_open_where_nothing_is_inherited_or_it_is_protected():
    open_object = described(dacl=NULL_DACL, sacl=NULL_SACL)
    assert {} == spread(described(allow(STAFF, READ)), node("x", "root", open_object))
    protected = replace(open_object, control=Control.DACL_PROTECTED)
    above = described(allow(STAFF, READ, CI))
    assert {} == spread(above, node("x", "root", protected))


# --- protection ----------------------------------------------------------------------


def test_a_protected_list_and_all_below_it_stay():
    protected = described(allow(BOB, READ), control=Control.DACL_PROTECTED)
    below = described(allow(BOB, WRITE))
    above = described(
        allow(STAFF, READ, CI | OI), sacl=Acl((audit(EVERYONE, READ, CI | FAILED),))
    )
    changed = spread(
        above, node("folder", "root", protected), node("file", "folder", below)
    )
    # The other list is not protected, and goes on.
    assert protected.dacl is changed["folder"].dacl
    assert below.dacl is changed["file"].dacl
    assert (audit(EVERYONE, READ, CI | FAILED | ID),) == changed["file"].sacl.aces


def test_attributes_and_policies_alone_cross_a_protected_sacl():
    above = system(
        audit(EVERYONE, READ, CI | FAILED), label(flags=CI), attribute(CI), policy(CI)
    )
    protected = replace(
        system(audit(BOB, READ), policy(CI | ID)), control=Control.SACL_PROTECTED
    )
    changed = spread(
        above, node("folder", "root", protected), node("inner", "folder", described())
    )
    crossed = (attribute(CI | ID), policy(CI | ID))
    assert (audit(BOB, READ), *crossed) == changed["folder"].sacl.aces
    assert crossed == changed["inner"].sacl.aces
    then = spread(described(), node("folder", "root", changed["folder"]))
    assert (audit(BOB, READ),) == then["folder"].sacl.aces


def test_a_protected_object_without_a_sacl_gets_one_of_what_crosses():
    child = described(sacl=ABSENT_SACL, control=Control.SACL_PROTECTED)
    changed = spread(system(policy(CI)), node("x", "root", child))
    assert (policy(CI | ID),) == changed["x"].sacl.aces
    assert {} == spread(system(label(flags=CI)), node("x", "root", child))


# --- trees that are none -------------------------------------------------------------


def test_two_objects_with_one_key_are_refused():
    child = node("x", "root", described())
    with pytest.raises(SteadError, match="one key"):
        spread(described(), child, child)
    with pytest.raises(SteadError, match="one key"):
        spread(described(), node("root", "x", described()))


def test_an_object_that_is_not_below_the_root_is_refused():
    ring = (node("x", "y", described()), node("y", "x", described()))
    with pytest.raises(SteadError, match="not below"):
        spread(described(), *ring)
    with pytest.raises(SteadError, match="not below"):
        spread(described(), node("x", "elsewhere", described()))
    with pytest.raises(SteadError, match="not below"):
        spread(described(), node("x", "x", described()))


def test_a_list_that_gets_too_long_is_refused():
    long = described(*(allow(CREATOR_OWNER, GENERIC_READ, CI) for _ in range(2500)))
    with pytest.raises(InvalidAclError):
        spread(long, node("x", "root", described()))


def test_a_tree_may_be_as_deep_as_it_likes():
    deep = [node(0, "root", described())]
    deep += [node(depth, depth - 1, described()) for depth in range(1, 5000)]
    changed = spread(described(allow(STAFF, READ, CI)), *reversed(deep))
    assert 5000 == len(changed)


# --- laws ----------------------------------------------------------------------------


@st.composite
def trees(draw, **how):
    """Draw a root's descriptor and up to four objects, each below one before it."""
    size = draw(st.integers(0, 4))
    nodes = []
    for key in range(size):
        parent = draw(st.sampled_from(["root", *range(key)]))
        types = draw(st.sampled_from([frozenset(), frozenset({USER})]))
        holds = draw(st.sampled_from([True, True, False]))
        descriptor = draw(some_descriptors(**how))
        nodes.append(node(key, parent, descriptor, holds=holds, types=types))
    return draw(some_descriptors(**how)), nodes


def after(nodes, changed):
    return [replace(n, descriptor=changed.get(n.key, n.descriptor)) for n in nodes]


@settings(max_examples=60, deadline=None)
@given(trees())
def test_propagating_twice_changes_nothing_more(tree):
    above, nodes = tree
    changed = spread(above, *nodes)
    assert {} == spread(above, *after(nodes, changed))


@settings(max_examples=60, deadline=None)
@given(trees())
def test_what_is_returned_did_change_and_kept_its_own_entries(tree):
    above, nodes = tree
    before = {n.key: n.descriptor for n in nodes}
    for key, now in spread(above, *nodes).items():
        was = before[key]
        assert was != now
        assert (was.owner, was.group) == (now.owner, now.group)
        for old, new in ((was.dacl, now.dacl), (was.sacl, now.sacl)):
            assert own(old) == own(new)


def own(acl):
    return [] if isinstance(acl, NoAcl) else [a for a in acl if not a.flags & ID]


@settings(max_examples=60, deadline=None)
@given(trees(crossing=False), some_descriptors(crossing=False))
def test_a_protected_subtree_never_changes(tree, gate):
    above, nodes = tree
    gate = replace(gate, control=BOTH)
    moved = [replace(n, parent="gate") if n.parent == "root" else n for n in nodes]
    assert {} == spread(above, node("gate", "root", gate), *moved)


@settings(max_examples=60, deadline=None)
@given(some_descriptors(), some_descriptors(), st.booleans())
def test_a_new_object_is_in_step_with_its_parent(parent, creator, holds):
    flags = AutoInheritFlags.DACL_AUTO_INHERIT | AutoInheritFlags.SACL_AUTO_INHERIT
    flags |= AutoInheritFlags.AVOID_OWNER_CHECK | AutoInheritFlags.AVOID_PRIVILEGE_CHECK
    made = create_object_descriptor(
        parent, creator, token(), mapping=MAPPING, is_container=holds, flags=flags
    )
    assert {} == spread(parent, node("new", "root", made, holds=holds))


@settings(max_examples=60, deadline=None)
@given(trees())
def test_canonical_objects_stay_canonical(tree):
    above, nodes = tree
    for key, now in spread(above, *nodes).items():
        was = next(n.descriptor for n in nodes if n.key == key)
        old_own = Acl(tuple(own(was.dacl)))
        if isinstance(now.dacl, Acl) and is_canonical(old_own):
            flows = not was.control & Control.DACL_PROTECTED
            assert not flows or now.dacl is was.dacl or is_canonical(now.dacl)


def test_nearer_ancestors_come_first_and_deny_before_allow_in_each():
    changed = spread(
        described(deny(ALICE, 1, CI), allow(ALICE, 2, CI)),
        node(1, "root", described(deny(BOB, 1, CI), allow(BOB, 2, CI))),
        node(2, 1, described(deny(CAROL, 1), allow(CAROL, 2))),
    )
    assert [CAROL, CAROL, BOB, BOB, ALICE, ALICE] == [
        ace.trustee for ace in changed[2].dacl
    ]
    assert [1, 2] * 3 == [ace.mask for ace in changed[2].dacl]
