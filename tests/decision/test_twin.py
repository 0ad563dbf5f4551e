"""The twin in C answers what the reference in Python answers."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import sys
from array import array
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies, strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    DENY_ONLY,
    INTERNS,
    MAPPING,
    READ,
    WRITE,
    allow,
    deny,
    guarded,
    token,
)

from stead.decision import many, plain_list, twin
from stead.decision.fast import is_granted, pure_is_granted
from stead.errors import SteadError
from stead.model.ace import AccessAllowedAce, AccessDeniedAce
from stead.model.acl import Acl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, TokenGroup

TWIN = twin.TWIN
native = pytest.mark.skipif(TWIN is None, reason="the twin was not built")
DOMAIN = Sid.from_string("S-1-5-21-7-8-9")


def answered(door, *question):
    try:
        return door(*question)
    except SteadError as error:
        return type(error), str(error)


def agree(who, what, desired, mapping):
    """Ask both, each with values that keep nothing yet, and twice."""
    mine, theirs = (replace(who), replace(what)), (replace(who), replace(what))
    for _ in range(2):
        expected = answered(pure_is_granted, *mine, desired, mapping)
        assert expected == answered(is_granted, *theirs, desired, mapping)
    expected = plain_list.plain_mask(*mine, mapping)
    assert expected == twin.plain_mask(*theirs, mapping)


@native
@settings(max_examples=500)
@given(
    strategies.tokens(),
    strategies.descriptors(),
    strategies.desires(),
    strategies.mappings(),
)
def test_the_twin_answers_like_the_reference(who, what, desired, mapping):
    agree(who, what, desired, mapping)


@native
@given(
    strategies_full.tokens(),
    strategies_full.descriptors(),
    strategies.desires(),
    strategies_full.mappings(),
)
def test_the_twin_leaves_to_python_what_is_not_plain(who, what, desired, mapping):
    agree(who, what, desired, mapping)


@st.composite
def long_lists(draw: st.DrawFn) -> SecurityDescriptor:
    """Lists of up to 150 entries about few or many, some of them often."""
    numbers = st.integers(0, draw(st.sampled_from((3, 60))))
    entries = st.builds(
        lambda kind, number, mask: kind(DOMAIN.with_rid(number), mask),
        st.sampled_from((AccessAllowedAce, AccessDeniedAce)),
        numbers,
        strategies.masks(),
    )
    aces = draw(st.lists(entries, min_size=25, max_size=150))
    owner = DOMAIN.with_rid(draw(numbers))
    return SecurityDescriptor(dacl=Acl(tuple(aces)), owner=owner, group=owner)


@native
@given(
    long_lists(),
    st.lists(st.integers(0, 60), max_size=40),
    st.lists(st.integers(0, 60), max_size=5),
    strategies.desires(),
)
def test_long_lists_are_answered_alike(what, held, deny_only, desired):
    groups = [TokenGroup(DOMAIN.with_rid(n)) for n in held]
    groups += [TokenGroup(DOMAIN.with_rid(n), DENY_ONLY) for n in deny_only]
    agree(AccessToken(ALICE, tuple(groups)), what, desired, MAPPING)


@native
@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 63, 64, 65, 128, 1800])
def test_lists_of_any_length_are_answered_alike(count):
    others = tuple(allow(DOMAIN.with_rid(n), READ) for n in range(count))
    what = guarded(*others, deny(INTERNS, READ), allow(ALICE, READ | WRITE))
    for who in (token(), token(INTERNS), token(TokenGroup(INTERNS, DENY_ONLY))):
        agree(who, what, READ, MAPPING)
        agree(who, what, WRITE, MAPPING)


@native
@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9),
    st.lists(st.integers(0, 8), max_size=9),
    st.integers(0, 0x01FF_FFFF),
    st.booleans(),
)
def test_places_are_settled_alike(missing, places, bits, grants):
    mine, theirs = array("I", missing), array("I", missing)
    within = array("I", [place % len(missing) for place in places])
    many.pure_settle(mine, within, bits, grants)
    TWIN.settle(theirs, within, bits, grants)
    assert mine == theirs
    assert many.pure_answers(mine) == TWIN.answers(theirs)


# --- what it is given -----------------------------------------------------------------


@native
def test_a_place_that_is_not_there_is_passed_over():
    missing = array("I", [READ])
    TWIN.settle(missing, array("I", [7]), READ, True)
    TWIN.settle(missing, array("I", [7]), READ, False)
    assert [READ] == missing.tolist()


@native
@pytest.mark.parametrize(
    "call",
    [
        lambda: TWIN.is_granted(token()),
        lambda: TWIN.plain_mask(token()),
        lambda: TWIN.settle(1),
        lambda: TWIN.answers(1),
        lambda: TWIN.connect(1, 2, 3),
        lambda: TWIN.Kept(1),
        lambda: TWIN.Kept(((1, 1, True),), ALICE, 1, 0),
        lambda: TWIN.Kept((), None, 1, 0),
        lambda: TWIN.Kept((), [], 0, 0),
        lambda: TWIN.Kept(((ALICE, 1, True),) * 4097, ALICE, 1, 0),
        lambda: TWIN.Kept((), None, 0, 0).keep(1),
    ],
)
def test_wrong_arguments_are_errors(call):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        call()


@native
def test_values_that_are_no_values_are_errors():
    what = guarded(allow(ALICE, 1 << 31))
    with pytest.raises(AttributeError):
        is_granted(None, what, READ, MAPPING)
    with pytest.raises(AttributeError):
        is_granted(token(), None, READ, MAPPING)
    with pytest.raises(AttributeError):
        is_granted(token(), what, READ, None)
    with pytest.raises(AttributeError):
        twin.plain_mask(token(), None, MAPPING)


@native
def test_what_somebody_else_keeps_is_left_to_python():
    who, what = token(), guarded(allow(ALICE, READ))
    plain_list.index_of(what)
    assert twin.plain_mask(who, what, MAPPING) is None
    assert is_granted(who, what, READ, MAPPING)
    fresh = guarded(allow(ALICE, READ))
    plain_list.standing_of(who)
    assert is_granted(who, fresh, READ, MAPPING)
    twin.prepare(fresh)
    object.__setattr__(who, "kept_standing", fresh.kept_index)
    assert is_granted(who, fresh, READ, MAPPING)


@native
def test_importing_it_makes_the_twin_ready():
    TWIN.connect(None)
    importlib.reload(twin)
    assert READ == twin.plain_mask(token(), guarded(allow(ALICE, READ)), MAPPING)


@native
def test_what_cannot_be_prepared_is_an_error(monkeypatch):
    def fail(value):
        raise RuntimeError(value)

    TWIN.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            is_granted(token(), guarded(), READ, MAPPING)
    finally:
        TWIN.connect(twin.prepare)


# --- what it holds --------------------------------------------------------------------


@native
def test_asking_holds_on_to_nothing_but_the_last_answer():
    who, what = token(), guarded(allow(ALICE, 1 << 31), owner=BOB)

    def counted():
        return [sys.getrefcount(one) for one in (who, MAPPING, ALICE, BOB)]

    is_granted(who, what, READ, MAPPING)
    before = counted()
    for _ in range(1000):
        is_granted(who, what, READ, MAPPING)
        twin.plain_mask(who, what, MAPPING)
    assert before == counted()
    is_granted(token(), what, READ, MAPPING)
    assert before[0] - 1 == counted()[0]


@native
def test_a_token_that_is_asked_about_itself_can_be_collected():
    marked = DOMAIN.with_rid(77)
    before = sys.getrefcount(marked)
    own = guarded(allow(marked, READ))
    who = token(user=marked, security=own)
    assert is_granted(who, own, READ, MAPPING)
    del own, who
    gc.collect()
    assert before == sys.getrefcount(marked)


@native
@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda token: pickle.loads(pickle.dumps(token))],  # noqa: S301
)
def test_what_the_twin_keeps_stays_behind_when_a_token_is_copied(again):
    who = token(INTERNS)
    assert is_granted(who, guarded(allow(ALICE, READ)), READ, MAPPING)
    copied = again(who)
    assert who == copied
    assert copied.kept_standing is None
    assert is_granted(copied, guarded(allow(INTERNS, READ)), READ, MAPPING)


def test_without_the_twin_python_answers(monkeypatch):
    assert twin.load("stead.decision._nobody") is None
    monkeypatch.setattr(twin, "TWIN", None)
    assert twin.natively("plain_mask", plain_list.plain_mask) is plain_list.plain_mask
    assert twin.natively("connect", twin.ignore)(twin.prepare) is None
