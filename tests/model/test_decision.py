"""What the judge answers, and what is recorded, as values."""

import pytest

from stead.model.access_mask import FILE_MAPPING
from stead.model.acl import Acl
from stead.model.audit_record import AuditEvent, AuditRecord, Outcome, Principal
from stead.model.decision import AccessDecision, AccessQuestion
from stead.model.logon_record import LogonRecord, LogonType
from stead.model.luid import NO_LUID, Luid
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
