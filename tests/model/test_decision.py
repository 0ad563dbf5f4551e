"""What the judge answers, and what is recorded, as values."""

import copy
import pickle
from dataclasses import replace

import pytest

from stead.errors import (
    AccountDisabledError,
    AccountLockedOutError,
    LogonFailureError,
    LogonTypeNotGrantedError,
    PasswordMismatchError,
    UnknownAccountError,
)
from stead.model.access_mask import FILE_MAPPING
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.decision import (
    AccessDecision,
    AccessQuestion,
    Intent,
    ObjectResult,
    ObjectType,
    Reason,
    Rule,
    StagedDifference,
    Whom,
)
from stead.model.guid import Guid
from stead.model.logon_record import LogonRecord, LogonType, sub_status
from stead.model.luid import NO_LUID, Luid
from stead.model.policy import CentralAccessRule
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.token import AccessToken
from stead.model.well_known import LOCAL_SYSTEM, USERS

QUESTION = AccessQuestion(
    SecurityDescriptor(Acl()), AccessToken(USERS), 1, FILE_MAPPING
)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_decision_is_as_true_as_it_allows(allowed):
    assert allowed is bool(AccessDecision(QUESTION, allowed=allowed, granted=0))


def test_a_record_names_the_server_and_says_nothing_it_does_not_know():
    server = Principal(LOCAL_SYSTEM, "SYSTEM")
    record = AuditRecord(
        event=AuditEvent.LOGON, outcome=Outcome.SUCCESS, time=1, server=server
    )
    assert NO_LUID == record.server.logon_id
    assert None is record.client
    assert {} == record.detail


def test_events_of_ours_have_numbers_above_those_of_windows():
    ours = [event for event in AuditEvent if event > 65_535]
    assert ours
    assert 100_000 < min(ours)


def test_a_logon_session_s_record_is_a_value():
    first, second = (
        LogonRecord(Luid(1), USERS, "ann", LogonType.NETWORK, "peer", "kernel", 1)
        for _ in range(2)
    )
    assert first == second
    assert 3 == first.logon_type


def test_a_question_is_about_the_whole_object_unless_it_says_more():
    assert () == QUESTION.object_types
    assert None is QUESTION.self_sid
    assert Intent.NONE is QUESTION.intent
    assert () == QUESTION.policies
    assert None is QUESTION.callback


@pytest.mark.parametrize("allowed", [True, False])
def test_an_answer_about_one_type_is_as_true_as_it_allows(allowed):
    assert allowed is bool(ObjectResult(allowed, 0))


def test_a_decision_that_says_no_more_used_nothing_and_staged_nothing():
    decision = AccessDecision(QUESTION, allowed=False, granted=0)
    assert () == decision.privileges_used
    assert () == decision.object_results
    assert () == decision.staged


def test_nodes_and_differences_are_values():
    guid = Guid(bytes(16))
    assert ObjectType(0, guid) == ObjectType(0, guid)
    assert ObjectType(0, guid) != ObjectType(1, guid)
    rule = CentralAccessRule(Acl())
    assert 1 == len({StagedDifference(USERS, rule, 1, 2) for _ in range(2)})


def test_a_reason_alone_is_its_only_cause():
    reason = Reason(1, granted=False, rule=Rule.NOT_GRANTED)
    assert (reason,) == reason.causes
    assert Whom.TOKEN is reason.whom


def test_causes_are_listed_in_the_order_in_which_they_are_met():
    second = Reason(1, granted=False, rule=Rule.NOT_GRANTED, whom=Whom.PACKAGE)
    third = Reason(1, granted=False, rule=Rule.DENIED_BY_POLICY, policy=USERS)
    first = Reason(1, granted=False, rule=Rule.DENIED_BY_ACE, also=(second, third))
    alone = Reason(1, granted=False, rule=Rule.DENIED_BY_ACE)
    assert (alone, second, third) == first.causes
    assert all(() == cause.also for cause in first.causes)


def test_every_rule_is_spelled_in_words_of_its_own():
    assert len(Rule) == len({rule.value for rule in Rule})


PARTS = (QUESTION.descriptor, QUESTION.token, 1, FILE_MAPPING)


@pytest.mark.parametrize("granted", [0, 1])
def test_a_decision_made_of_parts_is_the_one_made_of_its_question(granted):
    def made():
        return AccessDecision.of_parts(PARTS, granted)

    expected = AccessDecision(QUESTION, allowed=granted != 0, granted=granted)
    assert bool(granted) is bool(made())
    assert expected == made()
    assert hash(expected) == hash(made())
    assert repr(expected) == repr(made())


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, replace, lambda d: pickle.loads(pickle.dumps(d))],  # noqa: S301
    ids=["copy", "deepcopy", "replace", "pickle"],
)
def test_a_decision_made_of_parts_is_copied_whole(again):
    made = again(AccessDecision.of_parts(PARTS, 1))
    assert AccessDecision(QUESTION, allowed=True, granted=1) == made
    assert QUESTION == made.question


def test_the_question_is_put_together_once():
    made = AccessDecision.of_parts(PARTS, 1)
    assert made.question is made.question
    assert () == made.privileges_used == made.object_results == made.staged


def test_what_a_decision_does_not_have_is_not_made_up():
    with pytest.raises(AttributeError, match="reasons"):
        AccessDecision.of_parts(PARTS, 1).reasons  # noqa: B018


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UnknownAccountError("x"), 0xC000_0064),
        (PasswordMismatchError("x"), 0xC000_006A),
        (AccountLockedOutError("x"), 0xC000_0234),
        (AccountDisabledError("x"), 0xC000_0072),
        (LogonTypeNotGrantedError("x"), 0xC000_015B),
        (LogonFailureError(), 0xC000_006D),
    ],
)
def test_the_cause_of_a_failed_logon_has_the_number_of_windows(error, expected):
    assert expected == sub_status(error)
