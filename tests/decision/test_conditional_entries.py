"""Callback entries: conditions over claims, and the application's own."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    BOB,
    INHERIT_ONLY,
    INTERNS,
    MAPPING,
    READ,
    STAFF,
    allow,
    check,
    guarded,
    token,
)

from stead.codec.claim_binary import write_claim
from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.decision.access_check import access_check
from stead.decision.audit_check import audit_check
from stead.errors import SteadError
from stead.model.ace import (
    AccessAllowedCallbackAce,
    AccessDeniedCallbackAce,
    AceFlags,
    ResourceAttributeAce,
    SystemAuditCallbackAce,
)
from stead.model.acl import ABSENT_SACL, Acl
from stead.model.claim import Claim, ClaimFlags, ClaimType
from stead.model.token import GroupAttributes, TokenGroup
from stead.model.well_known import EVERYONE, OWNER_RIGHTS, PRINCIPAL_SELF

TRUE = Claim("Title", ClaimType.STRING, ("PM",))
FALSE = Claim("Title", ClaimType.STRING, ("Dev",))
TITLE = '(@User.Title == "PM")'


def data(text):
    return write_condition(read_condition_text(text))


def may(text, trustee=ALICE):
    return AccessAllowedCallbackAce(trustee, READ, application_data=data(text))


def may_not(text, trustee=ALICE):
    return AccessDeniedCallbackAce(trustee, READ, application_data=data(text))


def attributes(*claims, flags=0):
    return Acl(
        tuple(
            ResourceAttributeAce(EVERYONE, 0, flags, write_claim(claim))
            for claim in claims
        )
    )


@pytest.mark.parametrize(
    ("claims", "allowed", "denied"),
    [((TRUE,), True, True), ((FALSE,), False, False), ((), False, True)],
    ids=["true", "false", "unknown"],
)
def test_an_allow_needs_truth_and_a_deny_is_stopped_by_falsehood_alone(
    claims, allowed, denied
):
    who = token(user_claims=claims)
    assert allowed == check(who, guarded(may(TITLE)), READ).allowed
    what = guarded(may_not(TITLE), allow(ALICE, READ))
    assert denied != check(who, what, READ).allowed


def test_a_condition_about_somebody_else_does_not_matter():
    who = token(user_claims=(TRUE,))
    assert not check(who, guarded(may(TITLE, BOB)), READ)


def test_a_condition_that_cannot_be_read_grants_nothing_and_denies():
    broken = b"artx\xff\xff\xff\xff"
    who = token()
    entry = AccessAllowedCallbackAce(ALICE, READ, application_data=broken)
    assert not check(who, guarded(entry), READ)
    entry = AccessDeniedCallbackAce(ALICE, READ, application_data=broken)
    assert not check(who, guarded(entry, allow(ALICE, READ)), READ)


def test_device_claims_and_groups_are_the_machine_s():
    who = token(
        device_claims=(Claim("Ring", ClaimType.INT64, (1,)),),
        device_groups=(TokenGroup(STAFF),),
    )
    assert check(who, guarded(may("(@Device.Ring == 1)")), READ)
    assert check(who, guarded(may(f"(Device_Member_of {{SID({STAFF})}})")), READ)
    assert not check(who, guarded(may(f"(Member_of {{SID({STAFF})}})")), READ)


def test_a_deny_only_group_is_a_member_for_deny_entries_only():
    held = TokenGroup(STAFF, GroupAttributes.USE_FOR_DENY_ONLY)
    text = f"(Member_of {{SID({STAFF})}})"
    assert not check(token(held), guarded(may(text)), READ)
    assert not check(token(held), guarded(may_not(text), allow(ALICE, READ)), READ)
    text = f"(Device_Member_of {{SID({STAFF})}})"
    who = token(device_groups=(held,))
    assert not check(who, guarded(may(text)), READ)
    assert not check(who, guarded(may_not(text), allow(ALICE, READ)), READ)


def test_a_deny_only_claim_is_seen_by_deny_entries_only():
    claim = Claim("Title", ClaimType.STRING, ("PM",), ClaimFlags.USE_FOR_DENY_ONLY)
    who = token(user_claims=(claim,))
    assert not check(who, guarded(may(TITLE)), READ)
    assert not check(who, guarded(may_not(TITLE), allow(ALICE, READ)), READ)
    claim = Claim("Title", ClaimType.STRING, ("Dev",), ClaimFlags.USE_FOR_DENY_ONLY)
    who = token(user_claims=(claim,))
    assert check(who, guarded(may_not(TITLE), allow(ALICE, READ)), READ)


def test_a_bare_name_is_the_token_s_own_claim():
    ring = Claim("Ring", ClaimType.INT64, (1,))
    assert check(token(local_claims=(ring,)), guarded(may("(Ring == 1)")), READ)
    assert not check(token(user_claims=(ring,)), guarded(may("(Ring == 1)")), READ)


def test_in_the_second_pass_member_of_asks_the_restricting_sids():
    text = f"(Member_of {{SID({STAFF})}})"
    entries = (may(text), may(text, INTERNS))
    who = token(STAFF, restricting_sids=(INTERNS,))
    assert not check(who, guarded(*entries), READ)
    who = token(STAFF, restricting_sids=(INTERNS, STAFF))
    assert check(who, guarded(*entries), READ)


def test_resource_attributes_come_from_the_sacl():
    secret = Claim("Level", ClaimType.INT64, (3,))
    what = guarded(may("(@Resource.Level == 3)"), sacl=attributes(secret))
    assert check(token(), what, READ)
    what = guarded(
        may("(@Resource.Level == 3)"), sacl=attributes(secret, flags=INHERIT_ONLY)
    )
    assert not check(token(), what, READ)


def test_an_attribute_that_cannot_be_read_leaves_what_names_the_object_unknown():
    broken = Acl((ResourceAttributeAce(EVERYONE, 0, application_data=b"junk"),))
    who, level = token(user_claims=(TRUE,)), "(@Resource.Level == 3)"
    assert not check(who, guarded(may(level), sacl=broken), READ)
    what = guarded(may_not(level), allow(ALICE, READ), sacl=broken)
    assert not check(who, what, READ)
    assert check(who, guarded(may(TITLE), sacl=broken), READ)
    assert check(who, guarded(may(TITLE), sacl=ABSENT_SACL), READ)


def test_a_claim_that_says_a_value_twice_makes_its_entry_unknown():
    twice = Claim("Title", ClaimType.STRING, ("PM", "pm"))
    who = token(user_claims=(twice,))
    assert not check(who, guarded(may(TITLE)), READ)
    assert not check(who, guarded(may_not(TITLE), allow(ALICE, READ)), READ)
    assert check(who, guarded(may(TITLE), allow(ALICE, READ)), READ)


# --- the application's own ------------------------------------------------------------


def asked(answer, *entries):
    heard = []

    def callback(ace, who):
        heard.append((ace, who))
        return answer

    what, who = guarded(*entries), token()
    decision = access_check(who, what, READ, MAPPING, callback=callback)
    return decision.allowed, heard


def test_the_application_says_whether_its_entries_count():
    entry = AccessAllowedCallbackAce(ALICE, READ, application_data=b"mine")
    assert (True, [(entry, token())]) == asked(True, entry)
    assert (False, [(entry, token())]) == asked(False, entry)
    entry = AccessDeniedCallbackAce(ALICE, READ, application_data=b"mine")
    assert not asked(True, entry, allow(ALICE, READ))[0]
    assert asked(False, entry, allow(ALICE, READ))[0]


def test_the_application_is_not_asked_about_others_or_about_conditions():
    other = AccessAllowedCallbackAce(BOB, READ, application_data=b"mine")
    assert (False, []) == asked(True, other, may(TITLE))


def test_the_application_is_not_asked_once_everything_is_settled():
    entry = AccessAllowedCallbackAce(ALICE, READ, application_data=b"mine")
    assert (True, []) == asked(False, allow(ALICE, READ), entry)


def test_where_nobody_can_be_asked_an_allow_is_ignored_and_a_deny_counts():
    entry = AccessAllowedCallbackAce(ALICE, READ, application_data=b"mine")
    assert not check(token(), guarded(entry), READ)
    entry = AccessDeniedCallbackAce(ALICE, READ, application_data=b"mine")
    assert not check(token(), guarded(entry, allow(ALICE, READ)), READ)


def test_what_the_application_raises_passes_through():
    def callback(_ace, _who):
        raise LookupError("no directory")

    entry = AccessAllowedCallbackAce(ALICE, READ, application_data=b"mine")
    with pytest.raises(LookupError, match="no directory"):
        access_check(token(), guarded(entry), READ, MAPPING, callback=callback)


@pytest.mark.parametrize("answer", [None, 1, "yes", [True]])
def test_an_answer_that_is_neither_true_nor_false_is_an_error(answer):
    entry = AccessDeniedCallbackAce(ALICE, READ, application_data=b"mine")
    with pytest.raises(SteadError, match="answers `True` or `False`"):
        asked(answer, entry, allow(ALICE, READ))


def test_a_token_that_carries_a_stand_in_is_no_member_of_it():
    for sid in (OWNER_RIGHTS, PRINCIPAL_SELF):
        who = token(sid)
        assert not check(who, guarded(may(f"(Member_of {{SID({sid})}})")), READ)


# --- audit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "demanded"), [((TRUE,), True), ((FALSE,), False), ((), True)]
)
def test_a_conditional_audit_entry_is_silent_only_where_its_condition_is_false(
    claims, demanded
):
    entry = SystemAuditCallbackAce(EVERYONE, READ, AceFlags.FAILED_ACCESS, data(TITLE))
    who = token(EVERYONE, user_claims=claims)
    decision = check(who, guarded(sacl=Acl((entry,))), READ)
    assert demanded == bool(audit_check(decision))
