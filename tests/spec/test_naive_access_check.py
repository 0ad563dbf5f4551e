"""The judge, its fast door and the naive specification answer alike."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies_full
from tests.spec.naive_access_check import Answer, bits, naive_access_check
from tests.strategies import (
    SMALL_MAPPING,
    acls,
    descriptors,
    desires,
    mappings,
    sacls,
    tokens,
)
from tests.strategies_limits import circumstances, limits

from stead.decision.access_check import decide
from stead.decision.fast import is_granted
from stead.decision.limiting import limit_token
from stead.errors import SteadError
from stead.model.access_mask import GenericMapping
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.decision import AccessQuestion
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken, ImpersonationLevel


class PuzzleAce(AccessAllowedAce):
    """An entry of a kind that the judge cannot know."""

    __slots__ = ()


class PuzzleLabel(MandatoryLabelAce):
    """A label of a kind that the judge cannot know."""

    __slots__ = ()


def judged(question: AccessQuestion) -> Answer:
    try:
        decision = decide(question)
    except SteadError as error:
        return Answer(error=error.win32_name)
    return Answer(
        allowed=decision.allowed,
        granted=bits(decision.granted),
        privileges=frozenset(decision.privileges_used),
        nodes=tuple((r.allowed, bits(r.granted)) for r in decision.object_results),
    )


def judged_fast(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> tuple[str, bool]:
    try:
        return "", is_granted(token, descriptor, desired, mapping)
    except SteadError as error:
        return error.win32_name, False


def agree(
    token: AccessToken,
    descriptor: SecurityDescriptor,
    desired: int,
    mapping: GenericMapping,
) -> None:
    question = AccessQuestion(descriptor, token, desired, mapping)
    expected = naive_access_check(question)
    assert expected == judged(question)
    fast = judged_fast(token, descriptor, desired, mapping)
    assert (expected.error, expected.allowed) == fast


@settings(max_examples=300, deadline=None)
@given(tokens(), descriptors(), desires(), mappings())
def test_both_doors_of_the_judge_answer_as_the_specification(
    token, descriptor, desired, mapping
):
    agree(token, descriptor, desired, mapping)


@settings(max_examples=100, deadline=None)
@given(
    tokens(),
    descriptors(
        dacl=acls(AccessAllowedAce, AccessDeniedAce, PuzzleAce),
        sacl=st.one_of(sacls(), acls(SystemAuditAce, PuzzleLabel, max_size=2)),
    ),
    desires(),
    mappings(),
)
def test_entries_of_unknown_kinds_are_judged_alike(token, descriptor, desired, mapping):
    agree(token, descriptor, desired, mapping)


@settings(max_examples=50, deadline=None)
@given(
    tokens(levels=st.sampled_from(ImpersonationLevel)),
    descriptors(),
    desires(),
    st.sampled_from(((False, True), (True, False), (False, False), (True, True))),
)
def test_a_question_without_an_answer_is_refused_alike(
    token, descriptor, desired, present
):
    has_owner, has_group = present
    bare = SecurityDescriptor(
        dacl=descriptor.dacl,
        owner=descriptor.owner if has_owner else None,
        group=descriptor.group if has_group else None,
    )
    agree(token, bare, desired, SMALL_MAPPING)


@settings(max_examples=300, deadline=None)
@given(strategies_full.questions(), st.lists(limits(), max_size=3),
       circumstances() | st.none())  # fmt: skip
def test_a_limited_question_is_answered_as_the_specification(question, layers, about):
    if isinstance(question.callback, strategies_full.MaskCallback):
        callback = replace(question.callback, fails_at=0)
        question = replace(question, callback=callback)
    token = question.token
    for layer in layers:
        token = limit_token(token, layer)
    question = replace(question, token=token, circumstances=about)
    assert naive_access_check(question) == judged(question)


@settings(max_examples=400, deadline=None)
@given(strategies_full.questions())
def test_a_question_with_every_side_is_answered_as_the_specification(question):
    if isinstance(question.callback, strategies_full.MaskCallback):
        # What a callback raises passes through, from whichever entry is asked first.
        callback = replace(question.callback, fails_at=0)
        question = replace(question, callback=callback)
    assert naive_access_check(question) == judged(question)
    fast = judged_fast(
        question.token, question.descriptor, question.desired, question.mapping
    )
    bare = naive_access_check(
        AccessQuestion(
            question.descriptor, question.token, question.desired, question.mapping
        )
    )
    assert (bare.error, bare.allowed) == fast
