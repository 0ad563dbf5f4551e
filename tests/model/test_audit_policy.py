"""The audit policy as a value: what it may leave out, and what it never may."""

from __future__ import annotations

import pytest

from stead.errors import InvalidRequestError
from stead.model.audit_policy import (
    EVERYTHING,
    LOSABLE,
    OPTIONAL,
    AccountAuditing,
    Auditing,
    AuditPolicy,
    Category,
    Subcategory,
    can_leave_out,
    subcategory_of,
)
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.sid import Sid

ALICE, BOB = (Sid.from_string(f"S-1-5-21-1-2-3-{rid}") for rid in (1000, 1001))
HANDLES, APPLICATION = (
    Subcategory.HANDLE_MANIPULATION,
    Subcategory.APPLICATION_GENERATED,
)


def wants(policy, event, outcome=Outcome.SUCCESS, user=ALICE, *, admin=False):
    return policy.wants(event, outcome, user, is_administrator=admin)


def test_every_event_belongs_to_one_subcategory():
    events = [event for sub in Subcategory for event in sub.events]
    assert sorted(AuditEvent) == sorted(events)
    for event in AuditEvent:
        assert event in subcategory_of(event).events


def test_names_categories_and_guids_are_windows_own():
    assert Category.OBJECT_ACCESS is HANDLES.category
    assert "0cce9223-69ae-11d9-bed3-505054503030" == str(HANDLES.guid).lower()
    assert len(Subcategory) == len({sub.guid for sub in Subcategory})
    assert Subcategory("Token Right Adjusted Events").category is (
        Category.DETAILED_TRACKING
    )


def test_nothing_said_everything_is_recorded():
    for event in AuditEvent:
        for outcome in Outcome:
            assert wants(AuditPolicy(), event, outcome)


def test_what_may_be_left_out_is_left_out_for_everybody():
    policy = AuditPolicy().with_setting(HANDLES, Auditing.FAILURE)
    assert not wants(policy, AuditEvent.HANDLE_CLOSED)
    assert wants(policy, AuditEvent.HANDLE_CLOSED, Outcome.FAILURE)
    # The opening announces what is done through the handle.
    assert wants(policy, AuditEvent.HANDLE_REQUESTED)


def test_failures_that_only_a_sacl_asks_for_may_be_left_out_too():
    policy = AuditPolicy().with_setting(APPLICATION, Auditing.NONE)
    for outcome in Outcome:
        assert not wants(policy, AuditEvent.OBJECT_ACCESS, outcome)
        assert wants(policy, AuditEvent.APPLICATION_OPERATION, outcome)


def test_a_setting_that_would_leave_out_what_the_law_demands_is_refused():
    with pytest.raises(InvalidRequestError, match="failure of `Handle Manipulation`"):
        AuditPolicy().with_setting(HANDLES, Auditing.SUCCESS)
    free = {sub for sub in Subcategory if can_leave_out(sub, of_account=False)}
    for sub in set(Subcategory) - free:
        for wanted in (Auditing.NONE, Auditing.SUCCESS, Auditing.FAILURE):
            with pytest.raises(InvalidRequestError, match="always recorded"):
                AuditPolicy().with_setting(sub, wanted)
        assert EVERYTHING is AuditPolicy().with_setting(sub, EVERYTHING).of(sub)


def test_an_account_is_included_or_excluded_beside_everybody():
    policy = AuditPolicy().with_setting(HANDLES, Auditing.FAILURE)
    included = policy.with_account(ALICE, HANDLES, AccountAuditing(Auditing.SUCCESS))
    assert wants(included, AuditEvent.HANDLE_CLOSED)
    assert not wants(included, AuditEvent.HANDLE_CLOSED, user=BOB)
    excluded = AuditPolicy().with_account(
        ALICE, HANDLES, AccountAuditing(excluded=Auditing.SUCCESS)
    )
    assert not wants(excluded, AuditEvent.HANDLE_CLOSED)
    assert wants(excluded, AuditEvent.HANDLE_CLOSED, user=BOB)
    assert wants(excluded, AuditEvent.HANDLE_CLOSED, admin=True)
    again = excluded.with_account(ALICE, HANDLES, AccountAuditing())
    assert AuditPolicy() == again


def test_nobody_is_both_included_and_excluded():
    both = AccountAuditing(Auditing.SUCCESS, Auditing.SUCCESS)
    with pytest.raises(InvalidRequestError, match="excluded too"):
        AuditPolicy().with_account(ALICE, HANDLES, both)


def test_an_account_cannot_be_excluded_from_what_the_law_demands():
    excluded = AccountAuditing(excluded=EVERYTHING)
    with pytest.raises(InvalidRequestError, match="failure of"):
        AuditPolicy().with_account(ALICE, HANDLES, excluded)
    with pytest.raises(InvalidRequestError, match="success and failure of"):
        AuditPolicy().with_account(ALICE, Subcategory.LOGON, excluded)


def test_readings_of_the_trail_are_left_out_for_a_named_account_only():
    readings = Subcategory.OTHER_OBJECT_ACCESS
    with pytest.raises(InvalidRequestError):
        AuditPolicy().with_setting(readings, Auditing.FAILURE)
    policy = AuditPolicy().with_account(
        BOB, readings, AccountAuditing(excluded=Auditing.SUCCESS)
    )
    assert not wants(policy, AuditEvent.TRAIL_READ, user=BOB)
    assert wants(policy, AuditEvent.TRAIL_READ)


def test_only_what_changes_nothing_may_be_lost():
    some = frozenset({AuditEvent.HANDLE_CLOSED, AuditEvent.OBJECT_ACCESS})
    assert some == AuditPolicy().with_losable(some).losable
    for event in set(AuditEvent) - LOSABLE:
        with pytest.raises(InvalidRequestError, match="never lost"):
            AuditPolicy().with_losable(frozenset({event}))


def test_what_may_be_left_out_can_be_lost_unless_it_tells_of_powers():
    assert {AuditEvent.SPECIAL_PRIVILEGES} == set(OPTIONAL) - LOSABLE
