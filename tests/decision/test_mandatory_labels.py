"""Process trust labels and access filters: what they leave to whoever is below."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    DENY_ONLY,
    INHERIT_ONLY,
    INTERNS,
    MAXIMUM,
    READ,
    SYSTEM_SECURITY,
    WRITE,
    allow,
    check,
    guarded,
    token,
)

from stead.codec.condition_binary import write_condition
from stead.codec.condition_text import read_condition_text
from stead.model.access_mask import AccessMask
from stead.model.ace import AccessFilterAce, ProcessTrustLabelAce
from stead.model.acl import NULL_DACL, Acl
from stead.model.claim import Claim, ClaimType
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import TokenGroup
from stead.model.well_known import EVERYONE

LIGHT = Sid.from_string("S-1-19-512-4096")
FULL = Sid.from_string("S-1-19-1024-4096")
FULL_HIGHER = Sid.from_string("S-1-19-1024-8192")
LIGHT_HIGHER = Sid.from_string("S-1-19-512-8192")


def trusting(level, mask=READ, *more):
    sacl = Acl((ProcessTrustLabelAce(level, mask), *more))
    return guarded(allow(ALICE, READ | WRITE), sacl=sacl)


def filtered(text, mask=READ, flags=0, data=None):
    if data is None:
        data = write_condition(read_condition_text(text))
    entry = AccessFilterAce(EVERYONE, mask, flags, data)
    return guarded(allow(ALICE, READ | WRITE), sacl=Acl((entry,)))


# --- process trust --------------------------------------------------------------------


@pytest.mark.parametrize("trust", [None, LIGHT, LIGHT_HIGHER, FULL])
def test_who_is_below_the_trust_label_keeps_its_mask(trust):
    who, what = token(trust=trust), trusting(FULL_HIGHER)
    assert check(who, what, READ)
    assert not check(who, what, WRITE)
    assert READ == check(who, what, MAXIMUM).granted


def test_both_numbers_of_the_trust_level_must_reach_the_label():
    assert check(token(trust=FULL_HIGHER), trusting(FULL_HIGHER), WRITE)
    assert check(token(trust=FULL_HIGHER), trusting(LIGHT), WRITE)
    assert not check(token(trust=FULL), trusting(LIGHT_HIGHER), WRITE)


def test_a_label_of_no_trust_binds_nobody():
    nobody = Sid.from_string("S-1-19-0-0")
    assert check(token(), trusting(nobody), WRITE)
    for barely in ("S-1-19-1-0", "S-1-19-0-1"):
        assert not check(token(), trusting(Sid.from_string(barely)), WRITE)


def test_a_trust_label_that_names_no_level_is_reached_by_nobody():
    assert not check(token(trust=FULL_HIGHER), trusting(EVERYONE), WRITE)


def test_the_first_trust_label_that_is_not_inherit_only_counts():
    lower = ProcessTrustLabelAce(FULL, READ | WRITE)
    assert not check(token(), trusting(FULL, READ, lower), WRITE)
    inherited = ProcessTrustLabelAce(FULL, READ, INHERIT_ONLY)
    what = guarded(allow(ALICE, WRITE), sacl=Acl((inherited,)))
    assert check(token(), what, WRITE)


def test_generic_rights_of_a_trust_label_are_mapped():
    what = trusting(FULL, int(AccessMask.GENERIC_READ))
    assert check(token(), what, READ)
    assert not check(token(), what, WRITE)


def test_a_trust_label_leaves_the_sacl_to_its_privilege():
    who = token(privileges=[Privilege.SECURITY])
    assert check(who, trusting(FULL, 0), SYSTEM_SECURITY)


def test_a_null_dacl_does_not_lift_a_trust_label():
    sacl = Acl((ProcessTrustLabelAce(FULL, READ),))
    assert not check(token(), guarded(dacl=NULL_DACL, sacl=sacl), WRITE)


# --- access filters -------------------------------------------------------------------


def test_who_a_filter_s_condition_is_true_for_is_not_bound():
    who = token(user_claims=(Claim("Ring", ClaimType.INT64, (0,)),))
    assert check(who, filtered("(@User.Ring == 0)"), WRITE)


@pytest.mark.parametrize("ring", [None, 3])
def test_who_it_is_false_or_unknown_for_keeps_the_filter_s_mask(ring):
    claims = () if ring is None else (Claim("Ring", ClaimType.INT64, (ring,)),)
    who, what = token(user_claims=claims), filtered("(@User.Ring == 0)")
    assert check(who, what, READ)
    assert not check(who, what, WRITE)
    assert READ == check(who, what, MAXIMUM).granted


def test_an_inherit_only_filter_is_for_children():
    what = filtered("(@User.Ring == 0)", flags=INHERIT_ONLY)
    assert check(token(), what, WRITE)


def test_a_filter_without_a_condition_is_true_for_nobody():
    assert not check(token(), filtered("", data=b"nope"), WRITE)


def test_a_filter_leaves_the_sacl_to_its_privilege():
    who = token(privileges=[Privilege.SECURITY])
    assert check(who, filtered("(Exists Ring)", mask=0), SYSTEM_SECURITY)


def test_who_is_only_denied_by_a_group_is_no_member_where_a_filter_asks():
    what = filtered(f"(Member_of {{SID({INTERNS})}})")
    assert check(token(INTERNS), what, WRITE)
    assert not check(token(TokenGroup(INTERNS, DENY_ONLY)), what, WRITE)


def test_every_filter_binds():
    ring = write_condition(read_condition_text("(@User.Ring == 0)"))
    sacl = Acl(
        tuple(AccessFilterAce(EVERYONE, mask, 0, ring) for mask in (READ, WRITE))
    )
    what = guarded(allow(ALICE, READ | WRITE), sacl=sacl)
    assert not check(token(), what, MAXIMUM)
