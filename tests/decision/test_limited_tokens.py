"""Limited tokens: the answer without limits, less what the limits do not leave."""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests import strategies_full
from tests.decision.cases import (
    ALICE,
    BOB,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    STAFF,
    SYSTEM_SECURITY,
    WRITE,
    allow,
    deny,
    guarded,
    token,
)
from tests.strategies import descriptors, desires, tokens
from tests.strategies_limits import circumstances, limits

from stead.decision.access_check import access_check, decide
from stead.decision.audit_check import audit_check
from stead.decision.causes import is_answered
from stead.decision.changes import Changes, smallest_changes
from stead.decision.effective import effective_rights, what_can, who_can
from stead.decision.explain import explain, sentence
from stead.decision.fast import granted_mask, is_granted, pure_is_granted
from stead.decision.limiting import find_limiting, is_over, limit_token, rights_within
from stead.decision.many import Shelf, many
from stead.decision.privilege_check import privilege_check
from stead.decision.restricting import restrict_token
from stead.decision.token_access import open_token
from stead.decision.token_ops import adjust_groups, adjust_privileges, duplicate_token
from stead.decision.undoing import causes_of, undone
from stead.errors import AccessDeniedError, InvalidRequestError, SteadError
from stead.model.access_mask import AccessMask
from stead.model.ace import AceFlags, SystemAuditAce
from stead.model.acl import Acl
from stead.model.decision import Rule
from stead.model.limits import (
    ANY_NAME,
    EVERY_KIND,
    Circumstances,
    KindRights,
    NamePattern,
    TokenLimits,
)
from stead.model.luid import Luid
from stead.model.privilege import Privilege, TokenPrivilege
from stead.model.token import ImpersonationLevel, TokenType

NOW = Circumstances("Doc", "plan", 5)
GRANT = Luid(0x77)
law = settings(max_examples=200, deadline=None)


def lent(rights=READ, *, to="plan", kind="Doc", until=10, **fields):
    return TokenLimits(
        expires=until,
        rights=(KindRights(kind, rights),),
        objects=(NamePattern(to),),
        grant=fields.pop("grant", GRANT),
        **fields,
    )


def limited(*layers, who=None):
    made = token(STAFF) if who is None else who
    for layer in layers or (lent(),):
        made = limit_token(made, layer)
    return made


OPEN = guarded(allow(ALICE, READ | WRITE))


# --- the law --------------------------------------------------------------------------


@law
@given(strategies_full.questions(), st.lists(limits(), min_size=1, max_size=3),
       circumstances())  # fmt: skip
def test_the_answer_is_the_one_without_limits_less_what_they_do_not_leave(
    question, layers, about
):
    who = question.token
    for layer in layers:
        who = limit_token(who, layer)
    free = replace(question, token=replace(question.token, privileges=who.privileges))
    asked = replace(question, token=who, circumstances=about)
    try:
        expected, found = decide(free), decide(asked)
    except (SteadError, ValueError):  # a question without an answer; a failing callback
        assume(False)
        raise
    left = rights_within(who, question.mapping, about)
    required = question.desired & ~MAXIMUM
    most = expected.granted & left
    assert (0 if required & ~most else most) == found.granted
    assert set(found.privileges_used) <= set(expected.privileges_used)
    for node, free_node in zip(
        found.object_results, expected.object_results, strict=True
    ):
        assert 0 == node.granted & ~(free_node.granted & left)


@law
@given(tokens(), descriptors(), desires(), limits())
def test_whoever_does_not_say_what_and_when_is_granted_nothing(
    who, what, desired, layer
):
    who = limit_token(who, layer)
    with suppress(SteadError):
        assert not access_check(who, what, desired, MAPPING)
    for judge in (is_granted, pure_is_granted):
        with suppress(SteadError):
            assert not judge(who, what, desired, MAPPING)
            assert not judge(who, what, desired, MAPPING)  # what is kept too
    with suppress(SteadError):
        assert (
            0
            == granted_mask(who, what, MAPPING)
            == effective_rights(who, what, MAPPING)
        )
    with suppress(SteadError):
        assert [False] * 2 == many(who, [what, what], desired, MAPPING)
        assert [False] == Shelf([what], MAPPING).granted(who, desired)


@law
@given(tokens(), st.lists(descriptors(), max_size=4), desires(), limits(),
       st.lists(circumstances(), min_size=4, max_size=4))  # fmt: skip
def test_lists_are_judged_as_each_of_them_is(who, whats, desired, layer, abouts):
    who, abouts = limit_token(who, layer), abouts[: len(whats)]
    assume(who.level > ImpersonationLevel.ANONYMOUS and not desired >> 28)

    def one(what, about):
        with suppress(SteadError):
            return access_check(
                who, what, desired, MAPPING, circumstances=about
            ).allowed
        return False

    expected = [one(*pair) for pair in zip(whats, abouts, strict=True)]
    assert expected == many(who, whats, desired, MAPPING, circumstances=abouts)
    shelf = Shelf(whats, MAPPING)
    assert expected == shelf.granted(who, desired, circumstances=abouts)


# --- nothing widens or drops them -------------------------------------------------


def _duplicate(who, draw):
    level = draw(st.sampled_from(ImpersonationLevel))
    return duplicate_token(who, type=draw(st.sampled_from(TokenType)), level=level)


def _restrict(who, draw):
    sids = draw(st.sampled_from([(), (ALICE,), (STAFF, INTERNS)]))
    return restrict_token(
        who,
        restricting_sids=sids,
        write_restricted=draw(st.booleans()),
        deny_only=draw(st.sampled_from([(), (STAFF,)])),
        disable_max_privilege=draw(st.booleans()),
    )


def _enable(who, draw):
    held = [entry.privilege for entry in who.privileges]
    some = draw(st.sampled_from([*held, *Privilege]))
    return adjust_privileges(who, {some: draw(st.booleans())})


def _groups(who, draw):
    sids = [group.sid for group in who.groups]
    return adjust_groups(
        who, {draw(st.sampled_from([*sids, BOB])): draw(st.booleans())}
    )


def _again(who, draw):
    return limit_token(who, draw(limits()))


def _grant_itself(who, draw):
    held = (*who.privileges, TokenPrivilege(draw(st.sampled_from(Privilege))))
    return replace(who, privileges=held)


def _travel(who, _draw):
    return pickle.loads(pickle.dumps(who))  # noqa: S301 - our own


STEPS = (_duplicate, _restrict, _enable, _groups, _again, _grant_itself, _travel)


@law
@given(tokens(), limits(), descriptors(), st.data())
def test_no_sequence_of_operations_leaves_more_than_the_first_limits(
    who, layer, what, data
):
    first = who = limit_token(who, layer)
    kept = first.limits
    for step in data.draw(st.lists(st.sampled_from(STEPS), max_size=8)):
        before = who
        with suppress(SteadError):
            who = step(who, data.draw)
        about = data.draw(circumstances())
        left = rights_within(before, MAPPING, about)
        most = rights_within(first, MAPPING, about)
        with suppress(SteadError):
            found = access_check(who, what, MAXIMUM, MAPPING, circumstances=about)
            assert 0 == found.granted & ~most
        assert kept in tuple(who.limits.layers())
        assert rights_within(who, MAPPING, about) & ~left == 0
        assert set(before.limits.layers()) <= set(who.limits.layers())
        assert {p.privilege for p in who.privileges} <= layer.privileges


def test_limits_are_put_within_a_token_s_own():
    who = limited(lent(READ | WRITE), lent(READ, to="plan", grant=Luid(2)))
    assert [Luid(2), GRANT] == [layer.grant for layer in who.limits.layers()]
    with pytest.raises(InvalidRequestError, match="not within others"):
        limit_token(token(), who.limits)
    assert Luid(9) == limit_token(token(), lent(), token_id=Luid(9)).token_id


# --- reasons ------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(strategies_full.questions(), st.lists(limits(), min_size=1, max_size=3),
       circumstances() | st.none())  # fmt: skip
def test_undoing_all_causes_turns_a_limited_answer_and_undoing_fewer_does_not(
    question, layers, about
):
    who = question.token
    for number, layer in enumerate(layers, 1):
        who = limit_token(who, replace(layer, grant=Luid(number)))
    try:
        decision = decide(replace(question, token=who, circumstances=about))
        reasons = explain(decision)
    except (SteadError, ValueError):
        assume(False)
        raise
    for reason in reasons:
        if not reason.right or not reason.is_complete:
            continue
        assert sentence(reason)
        asked, causes = decision.question, reason.causes
        assert reason.granted != is_answered(undone(asked, causes), reason.right)
        for size in range(len(causes)):
            for fewer in combinations(causes, size):
                kept = undone(asked, fewer)
                assert reason.granted == is_answered(kept, reason.right)


def said(who, right, about=NOW, what=OPEN):
    (reason,) = explain(access_check(who, what, right, MAPPING, circumstances=about))
    assert not reason.granted
    return [sentence(cause) for cause in reason.causes]


def test_a_refusal_by_a_grant_names_it_and_why():
    who = limited(lent(READ, purpose="summary"))
    start = "0x2 is denied because the token is limited by grant 0x77 (summary)"
    assert [f"{start}: it is not among its rights"] == said(who, WRITE)
    elsewhere = replace(NOW, name="pay")
    (other,) = said(who, READ, elsewhere)
    assert other.endswith("the object is not among its targets")
    (late,) = said(who, READ, replace(NOW, time=10))
    assert late.endswith(", which expired at 1970-01-01T00:00:00+00:00")
    (untold,) = said(who, READ, None)
    assert untold.endswith(", and nobody said what is asked about and when")


def test_limits_and_list_are_causes_together():
    found = access_check(
        limited(), guarded(deny(ALICE, WRITE)), WRITE, MAPPING, circumstances=NOW
    )
    (reason,) = explain(found)
    assert [Rule.OUTSIDE_RIGHTS, Rule.DENIED_BY_ACE, Rule.NOT_GRANTED] == [
        cause.rule for cause in reason.causes
    ]
    lifted = undone(found.question, reason.causes[:1])
    assert None is lifted.token.limits
    assert lifted == undone(lifted, reason.causes[:1])  # nothing is left to lift


def test_no_change_of_lists_or_groups_turns_what_limits_refuse():
    who = limited()
    for right, about in ((WRITE, NOW), (READ, None), (MAXIMUM, None)):
        refused = access_check(who, guarded(), right, MAPPING, circumstances=about)
        assert Changes(()) == smallest_changes(refused)
    within = access_check(who, guarded(), READ, MAPPING, circumstances=NOW)
    assert smallest_changes(within).sets
    free = access_check(token(STAFF), guarded(), WRITE, MAPPING)
    assert smallest_changes(free).sets


def test_each_layer_that_refuses_is_a_cause():
    who = limited(lent(READ, grant=Luid(1)), lent(READ, to="pay", grant=Luid(2)))
    found = access_check(who, OPEN, WRITE, MAPPING, circumstances=NOW)
    causes = causes_of(found.question, WRITE)
    assert [(Rule.OUTSIDE_RIGHTS, Luid(1)), (Rule.OUTSIDE_TARGETS, Luid(2))] == [
        (cause.rule, cause.grant.grant) for cause in causes
    ]
    assert None is find_limiting(replace(found.question, token=token()), WRITE)


def test_a_privilege_that_was_not_left_is_what_is_missing():
    who = limited(
        lent(int(SYSTEM_SECURITY)), who=token(privileges=(Privilege.SECURITY,))
    )
    found = access_check(who, OPEN, SYSTEM_SECURITY, MAPPING, circumstances=NOW)
    (reason,) = explain(found)
    assert [Rule.DENIED_WITHOUT_PRIVILEGE] == [c.rule for c in reason.causes]
    twice = limited(lent(int(SYSTEM_SECURITY), grant=Luid(2)), who=who)
    found = access_check(twice, OPEN, SYSTEM_SECURITY, MAPPING, circumstances=NOW)
    (reason,) = explain(found)
    assert is_answered(undone(found.question, reason.causes), SYSTEM_SECURITY)


# --- single answers -----------------------------------------------------------------


def test_generic_limits_mean_what_each_kind_says():
    who = limited(lent(int(AccessMask.GENERIC_READ), kind=EVERY_KIND))
    for kind in ("Doc", "Mail"):
        about = replace(NOW, kind=kind)
        found = access_check(who, OPEN, MAXIMUM, MAPPING, circumstances=about)
        assert READ == found.granted


def test_rights_of_one_kind_are_none_of_another():
    who = limited(lent(READ))
    about = replace(NOW, kind="Mail")
    assert access_check(who, OPEN, READ, MAPPING, circumstances=NOW)
    assert not access_check(who, OPEN, READ, MAPPING, circumstances=about)


def test_the_owner_of_an_object_is_held_to_the_limits_too():
    who, what = limited(lent(READ)), guarded(allow(ALICE, READ), owner=ALICE)
    assert access_check(token(), what, READ_CONTROL, MAPPING)
    assert not access_check(who, what, READ_CONTROL, MAPPING, circumstances=NOW)


def test_effective_rights_are_those_that_are_left():
    who = limited(lent(READ | int(READ_CONTROL)))
    assert READ == effective_rights(who, OPEN, MAPPING, circumstances=NOW)
    holders = who_can([("me", who)], OPEN, READ, MAPPING, circumstances=NOW)
    assert [("me", READ)] == [(one.key, one.granted) for one in holders]
    assert [] == list(who_can([("me", who)], OPEN, READ, MAPPING))
    things = [("plan", OPEN), ("pay", OPEN)]
    reached = what_can(
        who, things, READ, MAPPING, circumstances=lambda key: replace(NOW, name=key)
    )
    assert ["plan"] == [one.key for one in reached]
    assert [] == list(what_can(who, things, READ, MAPPING))


def test_many_take_circumstances_for_each():
    who = limited()
    with pytest.raises(InvalidRequestError, match="circumstances of its own"):
        many(who, [OPEN, OPEN], READ, MAPPING, circumstances=[NOW])
    broken = replace(OPEN, owner=None)
    assert [True, False] == many(
        who, [OPEN, broken], READ, MAPPING, circumstances=[NOW, NOW]
    )


def test_privileges_are_held_in_time_and_as_far_as_they_were_left():
    held = (Privilege.BACKUP, Privilege.RESTORE)
    who = limited(
        lent(privileges=frozenset({Privilege.BACKUP})), who=token(privileges=held)
    )
    assert {Privilege.BACKUP} == who.enabled_privileges
    assert privilege_check(who, [Privilege.BACKUP], time=9)
    assert not privilege_check(who, [Privilege.RESTORE], time=9)
    assert not privilege_check(who, [Privilege.BACKUP], time=10)
    assert not privilege_check(who, [Privilege.BACKUP])
    assert privilege_check(token(privileges=held), held)
    assert not is_over(token(), None)


def test_a_refusal_by_limits_is_recorded_where_the_object_asks_for_it():
    failures = SystemAuditAce(ALICE, READ, AceFlags.FAILED_ACCESS)
    what = replace(OPEN, sacl=Acl((failures,)))
    about = replace(NOW, name="pay")
    found = access_check(limited(), what, READ, MAPPING, circumstances=about)
    assert audit_check(found)
    assert not audit_check(access_check(token(), what, READ, MAPPING))


def test_a_limited_token_opens_no_tokens():
    assert open_token(token(), caller=token(), desired=8)
    with pytest.raises(AccessDeniedError):
        open_token(token(), caller=limited(), desired=8)


def test_no_name_is_read_as_a_pattern():
    who = limited(lent(to="plan*"))
    assert not access_check(who, OPEN, READ, MAPPING, circumstances=NOW)
    any_name = limit_token(token(), replace(lent(), objects=(ANY_NAME,)))
    assert access_check(any_name, OPEN, READ, MAPPING, circumstances=NOW)
