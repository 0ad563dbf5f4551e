"""Mandatory integrity ([MS-DTYP] 2.5.3.3), before the DACL and whatever it says."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    DELETE,
    INHERIT_ONLY,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    allow,
    check,
    guarded,
    label,
    token,
)

from stead.decision.mandatory import EVERY_RIGHT, find_label, rights_past_label
from stead.model.ace import SystemAuditAce
from stead.model.acl import NULL_DACL, Acl
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import MandatoryPolicy
from stead.model.well_known import (
    EVERYONE,
    HIGH_LEVEL,
    LOW_LEVEL,
    MEDIUM_LEVEL,
    SYSTEM_LEVEL,
    UNTRUSTED_LEVEL,
)

NO_WRITE, NO_READ, NO_EXECUTE = 1, 2, 4
ALL = allow(ALICE, 0x1F0007)


def labelled(*labels, owner=EVERYONE, dacl=None):
    return guarded(ALL, owner=owner, sacl=Acl(labels), dacl=dacl)


@pytest.mark.parametrize(
    ("integrity", "writes"),
    [
        (UNTRUSTED_LEVEL, False),
        (LOW_LEVEL, False),
        (MEDIUM_LEVEL, True),
        (HIGH_LEVEL, True),
        (SYSTEM_LEVEL, True),
    ],
)
def test_an_object_without_a_label_is_medium_and_not_written_from_below(
    integrity, writes
):
    who = token(integrity=integrity)
    assert writes == check(who, guarded(ALL), WRITE).allowed
    assert check(who, guarded(ALL), READ)


@pytest.mark.parametrize("right", [READ, WRITE, RUN])
@pytest.mark.parametrize("policy", range(8))
def test_each_policy_closes_its_own_rights_to_whoever_is_below(policy, right):
    closed = {READ: NO_READ, WRITE: NO_WRITE, RUN: NO_EXECUTE}[right]
    what = labelled(label(HIGH_LEVEL, policy))
    assert (not policy & closed) == check(token(), what, right).allowed
    assert check(token(integrity=HIGH_LEVEL), what, right)


@pytest.mark.parametrize("right", [DELETE, WRITE_DAC, WRITE_OWNER])
@pytest.mark.parametrize("policy", range(8))
def test_what_only_generic_all_maps_to_is_never_open_from_below(policy, right):
    assert not check(token(), labelled(label(HIGH_LEVEL, policy)), right)


def test_the_maximum_from_below_is_what_the_label_leaves_open():
    what = labelled(label(HIGH_LEVEL, NO_WRITE))
    assert READ | READ_CONTROL | RUN == check(token(), what, MAXIMUM).granted
    closed = labelled(label(HIGH_LEVEL, NO_WRITE | NO_READ | NO_EXECUTE))
    assert not check(token(), closed, MAXIMUM)


def test_a_null_dacl_does_not_lift_a_label():
    what = labelled(label(HIGH_LEVEL, NO_WRITE), dacl=NULL_DACL)
    assert not check(token(), what, WRITE)
    assert check(token(), what, READ)
    assert READ | READ_CONTROL | RUN == check(token(), what, MAXIMUM).granted


def test_the_owner_below_the_label_reads_the_descriptor_and_does_not_write_it():
    what = labelled(label(HIGH_LEVEL, NO_WRITE), owner=ALICE)
    assert check(token(), what, READ_CONTROL)
    assert not check(token(), what, WRITE_DAC)
    assert (
        READ_CONTROL
        == check(token(), guarded(owner=ALICE, sacl=what.sacl), MAXIMUM).granted
    )


@pytest.mark.parametrize("policy", [MandatoryPolicy.OFF, MandatoryPolicy(2)])
def test_a_token_whose_policy_lacks_no_write_up_is_not_bound(policy):
    who = token(integrity=LOW_LEVEL, mandatory_policy=policy)
    assert check(who, labelled(label(HIGH_LEVEL, 7)), WRITE)
    assert EVERY_RIGHT == rights_past_label(who, guarded(), MAPPING)


def test_both_policies_together_bind():
    who = token(mandatory_policy=MandatoryPolicy(3))
    assert not check(who, labelled(label(HIGH_LEVEL, NO_WRITE)), WRITE)


def test_dominating_the_label_grants_nothing():
    what = guarded(sacl=Acl((label(LOW_LEVEL, NO_WRITE),)))
    assert not check(token(integrity=SYSTEM_LEVEL), what, READ)


def test_an_audit_entry_is_no_label():
    audit = SystemAuditAce(EVERYONE, 7)
    assert find_label(guarded(sacl=Acl((audit,)))) is None
    lowered = labelled(audit, label(LOW_LEVEL, NO_WRITE))
    assert (1, lowered.sacl.aces[1]) == find_label(lowered)
    assert check(token(integrity=LOW_LEVEL), lowered, WRITE)


def test_a_label_after_an_audit_entry_counts_and_an_empty_sacl_is_no_label():
    audit = SystemAuditAce(EVERYONE, 7)
    above = labelled(audit, label(HIGH_LEVEL, NO_WRITE))
    assert not check(token(), above, WRITE)
    assert check(token(), labelled(), WRITE)


def test_a_label_that_names_no_level_is_reached_by_nobody():
    for sid in (EVERYONE, Sid.from_string("S-1-16-1-2")):
        what = labelled(label(sid, 0))
        assert not check(token(integrity=SYSTEM_LEVEL), what, READ)


def test_ownership_cannot_be_taken_from_below():
    what = labelled(label(HIGH_LEVEL, NO_WRITE))
    taker = [Privilege.TAKE_OWNERSHIP]
    assert not check(token(privileges=taker), what, WRITE_OWNER)
    assert check(token(privileges=taker, integrity=HIGH_LEVEL), what, WRITE_OWNER)


def test_relabel_privilege_is_the_one_that_reaches_past_the_label():
    what = labelled(label(HIGH_LEVEL, NO_WRITE))
    who = token(privileges=[Privilege.TAKE_OWNERSHIP, Privilege.RELABEL])
    decision = check(who, what, WRITE_OWNER)
    assert (Privilege.RELABEL,) == decision.privileges_used
    for right in (WRITE, WRITE_DAC, DELETE):
        assert not check(who, what, right)


def test_the_sacl_is_not_opened_from_below():
    who = token(privileges=[Privilege.SECURITY])
    assert not check(who, labelled(label(HIGH_LEVEL, NO_WRITE)), SYSTEM_SECURITY)


def test_an_inherit_only_label_is_for_children():
    what = labelled(label(HIGH_LEVEL, 7, INHERIT_ONLY))
    assert check(token(), what, WRITE)
    assert find_label(what) is None
