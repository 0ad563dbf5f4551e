"""The short ways answer what the whole judge answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests import strategies, strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    INTERNS,
    MAPPING,
    READ,
    READ_CONTROL,
    WRITE,
    allow,
    deny,
    guarded,
    token,
)

from stead.codec.claim_binary import write_claim
from stead.decision import twin
from stead.decision.access_check import access_check, decide
from stead.decision.fast import granted_mask, has_twin, is_granted, pure_is_granted
from stead.decision.plain_list import (
    EVERY_NAMED_RIGHT,
    Index,
    index_of,
    plain_mask,
    standing_of,
)
from stead.errors import SteadError
from stead.model.access_mask import FILE_MAPPING, FileRights, GenericMapping
from stead.model.ace import AceFlags, ResourceAttributeAce, SystemAuditAce
from stead.model.acl import NULL_SACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.decision import AccessDecision, AccessQuestion
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken
from stead.model.well_known import EVERYONE, OWNER_RIGHTS

PLAIN = {
    "who": strategies.tokens(),
    "what": strategies.descriptors(
        dacl=strategies.acls(
            *{type(allow(ALICE, 1)), type(deny(ALICE, 1))}, max_size=20
        ),
        sacl=st.just(guarded().sacl),
    ),
    "desired": strategies.desires(),
    "mapping": strategies.mappings(),
}
ANY = {
    "who": strategies_full.tokens(),
    "what": strategies_full.descriptors(),
    "desired": strategies.desires(),
    "mapping": strategies_full.mappings(),
}


def answered(door, *question):
    """Return what a door answers, or which error it raises."""
    try:
        return door(*question)
    except SteadError as error:
        return type(error), str(error)


def judged(who, what, desired, mapping):
    return decide(AccessQuestion(what, who, desired, mapping))


def agree(who, what, desired, mapping):
    expected = answered(judged, who, what, desired, mapping)
    if isinstance(expected, AccessDecision):
        expected = expected.allowed
    for door in (pure_is_granted, is_granted):
        fresh = replace(what)
        for _ in range(2):
            assert expected == answered(door, who, fresh, desired, mapping)


@settings(max_examples=150)
@given(**PLAIN)
def test_the_fast_door_answers_like_the_judge_where_lists_are_plain(**question):
    agree(**question)


@given(**ANY)
def test_the_fast_door_answers_like_the_judge_whatever_is_asked(**question):
    agree(**question)


@given(ANY["who"], PLAIN["who"], PLAIN["what"], st.lists(strategies.desires()))
def test_what_is_kept_for_one_token_is_not_told_to_another(one, other, what, desires):
    for desired in desires:
        for who in (one, other):
            expected = answered(judged, replace(who), replace(what), desired, MAPPING)
            found = answered(pure_is_granted, who, what, desired, MAPPING)
            if isinstance(expected, AccessDecision):
                expected = expected.allowed
            assert expected == found


@settings(max_examples=150)
@given(**PLAIN)
def test_the_short_way_to_a_decision_gives_the_judges_where_lists_are_plain(
    who, what, desired, mapping
):
    question = (who, what, desired, mapping)
    assert answered(judged, *question) == answered(access_check, *question)


@settings(max_examples=150)
@given(strategies_full.questions())
def test_the_short_way_to_a_decision_gives_the_judges_whatever_is_asked(question):
    def short(asked):
        return access_check(
            asked.token,
            asked.descriptor,
            asked.desired,
            asked.mapping,
            object_types=asked.object_types,
            self_sid=asked.self_sid,
            intent=asked.intent,
            policies=asked.policies,
            callback=asked.callback,
        )

    try:
        expected = answered(decide, question)
    except ValueError:  # what the callback raises passes through
        with pytest.raises(ValueError, match=r"\d"):
            short(question)
    else:
        assert expected == answered(short, question)


def test_a_decision_made_the_short_way_is_a_decision_like_any_other():
    who, what = token(), guarded(allow(ALICE, READ))
    short = access_check(who, what, READ, MAPPING)
    long = judged(who, what, READ, MAPPING)
    assert (repr(long), hash(long)) == (repr(short), hash(short))
    assert replace(long) == replace(short)
    assert short.question is short.question
    assert ((), (), ()) == (short.privileges_used, short.object_results, short.staged)
    with pytest.raises(AttributeError, match="reasons"):
        short.reasons  # noqa: B018 - it is not there
    with pytest.raises(AttributeError):
        short.allowed = False


# --- plain lists ----------------------------------------------------------------------


@given(**PLAIN)
def test_every_right_of_a_plain_mask_is_granted_if_named_and_no_other(
    who, what, desired, mapping
):
    del desired
    mask = plain_mask(who, what, mapping)
    if mask is not None:
        assert mask == granted_mask(who, replace(what), mapping)
        decision = access_check(who, what, EVERY_NAMED_RIGHT & ~mask, mapping)
        assert not decision
        assert not mask or judged(who, what, mask, mapping)


@example(count=1)
@given(st.integers(1, 200))
def test_entries_about_one_token_are_judged_in_their_order(count):
    aces = [deny(BOB, READ)] * count
    aces += [allow(INTERNS, READ), deny(ALICE, READ | WRITE), allow(ALICE, WRITE)]
    what = guarded(*aces)
    assert READ == plain_mask(token(INTERNS), what, MAPPING)
    assert 0 == plain_mask(token(), what, MAPPING)
    aces = [deny(BOB, READ)] * count
    aces += [allow(ALICE, READ), deny(INTERNS, READ | WRITE), allow(ALICE, WRITE)]
    assert READ == plain_mask(token(INTERNS), guarded(*aces), MAPPING)


def test_a_sacl_that_leaves_everything_open_leaves_a_list_plain():
    data = write_claim(Claim("Level", ClaimType.INT64, (3,)))
    entries = (
        SystemAuditAce(EVERYONE, READ, AceFlags.FAILED_ACCESS),
        ResourceAttributeAce(EVERYONE, 0, application_data=data),
    )
    for sacl in (NULL_SACL, Acl(), Acl(entries)):
        what = guarded(allow(ALICE, READ), sacl=sacl)
        assert READ == plain_mask(token(), what, MAPPING)


def test_what_is_kept_is_worked_out_once():
    what, who = guarded(allow(ALICE, READ)), token()
    assert index_of(what) is index_of(what)
    assert standing_of(who) is standing_of(who)
    for fresh in (what, guarded(allow(ALICE, READ))):
        assert pure_is_granted(who, fresh, READ, MAPPING)
        assert (who, MAPPING, READ) == index_of(fresh).answer


def test_what_is_kept_of_a_list_answers_a_first_question_too():
    what = guarded(allow(ALICE, READ))
    index_of(what)
    assert pure_is_granted(token(), what, READ, MAPPING)


@pytest.mark.parametrize("door", [is_granted, pure_is_granted])
def test_what_is_kept_is_told_to_nobody_else_and_of_no_other_kind_of_object(door):
    who, what = token(), guarded(allow(ALICE, 1 << 31))
    other = GenericMapping(WRITE, READ, 0, READ | WRITE)
    for _ in range(2):
        assert door(who, what, READ, MAPPING)
        assert not door(who, what, WRITE, MAPPING)
        assert not door(token(user=BOB), what, READ, MAPPING)
        assert door(who, what, READ, MAPPING)
        assert not door(who, what, READ, other)
        assert door(who, what, WRITE, other)


def test_an_index_says_what_a_list_is_about():
    inherited = allow(BOB, READ, AceFlags.INHERIT_ONLY)
    index = index_of(guarded(allow(ALICE, READ), inherited, deny(ALICE, WRITE)))
    assert frozenset((ALICE,)) == index.trustees
    assert [(0, READ, True, ALICE), (1, WRITE, False, ALICE)] == index.about[ALICE]
    assert not index.owner_speaks


def test_an_owner_for_whom_an_entry_speaks_is_left_to_the_judge():
    what = guarded(allow(OWNER_RIGHTS, READ), owner=ALICE)
    assert plain_mask(token(), what, MAPPING) is None
    assert 0 == plain_mask(token(user=BOB), what, MAPPING)
    assert READ == granted_mask(token(), what, MAPPING)


def test_members_of_an_enum_are_asked_for_like_their_numbers():
    what = guarded(allow(ALICE, FileRights.GENERIC_READ | READ_CONTROL))
    for door in (is_granted, pure_is_granted):
        for _ in range(2):
            assert door(token(), what, FileRights.READ_DATA, FILE_MAPPING)
            assert not door(token(), what, FileRights.WRITE_DATA, FILE_MAPPING)


def test_what_is_kept_of_a_list_is_linear_in_it():
    many = 1800
    aces = tuple(allow(ALICE, READ) for _ in range(many))
    what = SecurityDescriptor(dacl=Acl(aces), owner=BOB, group=BOB)
    assert many == len(Index(what).about[ALICE])
    assert READ == plain_mask(AccessToken(ALICE), what, MAPPING)


def test_what_is_kept_of_a_token_serves_every_list():
    who = token()
    assert READ == plain_mask(who, guarded(allow(ALICE, READ)), MAPPING)
    assert WRITE == plain_mask(who, guarded(allow(ALICE, WRITE)), MAPPING)


def test_the_twin_says_whether_it_is_there():
    assert has_twin() is (twin.TWIN is not None)
