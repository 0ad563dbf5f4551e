"""The judge over the past: by the token of then, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.codec.token_text import DIGEST, TEXT, token_detail, token_digest
from stead.ledger.judging_again import PastJudge
from stead.model.access_mask import GenericMapping
from stead.model.audit_record import AuditEvent, Outcome
from stead.model.claim import Claim, ClaimType
from stead.model.limits import ANY_NAME, TokenLimits
from stead.model.luid import Luid
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.token import AccessToken, ImpersonationLevel, TokenGroup
from stead.model.well_known import EVERYONE

ALICE = Sid.from_string("S-1-5-21-1-2-3-1001")
TOKEN = AccessToken(ALICE, groups=(TokenGroup(EVERYONE),))
CLAIM = Claim("title", ClaimType.STRING, ("VP",))
MAPPING = GenericMapping(1, 2, 4, 7)
NOBODY = "O:SYG:SYD:"
CONDITION = 'O:SYG:SYD:(XA;;0x1;;;WD;(@USER.title=="VP"))'


def judged(record, token, sddl, *, detail=None, logons=None):
    """Judge one access with `token` again, whose logon record has `detail`."""
    told = token_detail(token) if detail is None else detail
    logon = record(event=AuditEvent.LOGON, detail=told)
    asked = []

    def find(query):
        asked.append(query)
        return iter([(1, logon)] if logons is None else logons)

    access = record(detail={DIGEST: token_digest(token)})
    others = [
        record(outcome=Outcome.FAILURE),
        record(event=AuditEvent.OBJECT_CREATED),
    ]
    judge = PastJudge(find, SecurityDescriptor.from_sddl(sddl), MAPPING)
    found = list(judge.judge([(7, access), (8, access), *enumerate(others, 9)]))
    assert [7, 8] == [one.number for one in found]
    assert 1 == len(asked)  # a token is looked for once
    return found[0]


@pytest.mark.parametrize(
    ("sddl", "lost"), [(NOBODY, 1), ("O:SYG:SYD:(A;;0x1;;;WD)", 0)]
)
def test_a_described_token_is_judged(record, sddl, lost):
    one = judged(record, TOKEN, sddl)
    assert (lost, bool(lost), "") == (one.lost, one.is_refused, one.unknown)


def test_claims_are_missed_only_where_they_may_be_asked_for(record):
    token = replace(TOKEN, user_claims=(CLAIM,))
    assert "claims" in judged(record, token, CONDITION).unknown
    assert 1 == judged(record, token, NOBODY).lost
    assert "" == judged(record, TOKEN, CONDITION).unknown


def test_limits_are_not_told(record):
    limits = TokenLimits(expires=1, objects=(ANY_NAME,), purpose="x", grant=Luid(7))
    token = replace(TOKEN, limits=limits)
    assert "limited" in judged(record, token, NOBODY).unknown


def test_a_token_that_is_too_large_is_named(record):
    found = judged(record, TOKEN, NOBODY, detail={DIGEST: token_digest(TOKEN)})
    assert "more groups than record 1 holds" in found.unknown


def test_another_token_of_the_session_is_not_taken_for_it(record):
    other = token_detail(AccessToken(ALICE))
    assert "no record" in judged(record, TOKEN, NOBODY, detail=other).unknown
    assert "no record" in judged(record, TOKEN, NOBODY, logons=[]).unknown


def test_a_text_that_was_changed_is_not_believed(record):
    detail = token_detail(TOKEN)
    detail[TEXT] = detail[TEXT].replace("S-1-1-0", "S-1-5-32-544")
    found = judged(record, TOKEN, NOBODY, detail=detail)
    assert "record 1 describes no token" in found.unknown


def test_a_token_of_any_level_is_judged(record):
    nobody = replace(TOKEN, level=ImpersonationLevel.IDENTIFICATION)
    found = judged(record, nobody, "O:SYG:SYD:(A;;GA;;;WD)")
    assert (0, "") == (found.lost, found.unknown)


def test_a_record_from_before_names_no_token(record):
    judge = PastJudge(iter, SecurityDescriptor.from_sddl(NOBODY), MAPPING)
    (one,) = judge.judge([(1, record())])
    assert "does not say which token" in one.unknown
