"""Restricted and write-restricted tokens: a second pass that must grant as well."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    BOB,
    DELETE,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    RUN,
    STAFF,
    SYSTEM_SECURITY,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    allow,
    check,
    deny,
    guarded,
    token,
)

from stead.decision.access_check import access_check
from stead.model.access_mask import GenericMapping
from stead.model.acl import ABSENT_DACL, NULL_DACL
from stead.model.privilege import Privilege
from stead.model.token import TokenGroup
from stead.model.well_known import NULL_SID, OWNER_RIGHTS, PRINCIPAL_SELF


def restricted(*sids, groups=(), **fields):
    return token(*groups, restricting_sids=sids, **fields)


def write_restricted(*sids, **fields):
    return restricted(*sids, is_write_restricted=True, **fields)


def test_what_the_token_alone_is_granted_is_refused():
    what = guarded(allow(ALICE, READ))
    assert not check(restricted(INTERNS), what, READ)


def test_what_the_restricting_sids_alone_are_granted_is_refused():
    what = guarded(allow(INTERNS, READ))
    assert not check(restricted(INTERNS), what, READ)


def test_what_both_are_granted_is_granted():
    what = guarded(allow(ALICE, READ | WRITE), allow(INTERNS, READ | RUN))
    assert check(restricted(INTERNS), what, READ)
    assert READ == check(restricted(INTERNS), what, MAXIMUM).granted


def test_a_deny_entry_about_a_restricting_sid_refuses():
    what = guarded(deny(INTERNS, READ), allow(ALICE, READ), allow(INTERNS, READ))
    assert not check(restricted(INTERNS), what, READ)


def test_a_restricting_sid_counts_by_presence():
    group = TokenGroup(INTERNS, 0x10)
    what = guarded(allow(ALICE, READ), allow(INTERNS, READ))
    assert check(restricted(INTERNS, groups=(group,)), what, READ)


@pytest.mark.parametrize("dacl", [NULL_DACL, ABSENT_DACL])
def test_without_a_list_a_restricted_token_is_granted_too(dacl):
    assert check(restricted(INTERNS), guarded(dacl=dacl), READ)


@pytest.mark.parametrize(("sids", "allowed"), [((ALICE,), True), ((INTERNS,), False)])
def test_the_owner_must_be_in_both_lists(sids, allowed):
    what = guarded(owner=ALICE)
    assert allowed == check(restricted(*sids), what, READ_CONTROL).allowed


def test_an_owner_in_one_list_gains_nothing_from_an_entry_in_the_other():
    what = guarded(allow(INTERNS, READ_CONTROL), owner=ALICE)
    assert not check(restricted(INTERNS), what, READ_CONTROL)


def test_an_owner_rights_entry_means_a_restricting_owner_too():
    what = guarded(allow(OWNER_RIGHTS, READ), owner=ALICE)
    assert check(restricted(ALICE), what, READ)
    assert not check(restricted(INTERNS), what, READ)


def test_self_must_be_among_the_restricting_sids():
    what = guarded(allow(PRINCIPAL_SELF, READ))
    for sids, allowed in (((ALICE,), True), ((INTERNS,), False)):
        found = access_check(restricted(*sids), what, READ, MAPPING, self_sid=ALICE)
        assert allowed == found.allowed


def test_a_privilege_is_not_restricted():
    who = restricted(INTERNS, privileges=[Privilege.TAKE_OWNERSHIP])
    assert check(who, guarded(), WRITE_OWNER)


def test_write_restricted_tokens_read_without_their_restricting_sids():
    what = guarded(allow(ALICE, READ | WRITE))
    assert check(write_restricted(INTERNS), what, READ)
    assert not check(write_restricted(INTERNS), what, WRITE)


def test_write_restricted_tokens_write_what_both_may():
    what = guarded(allow(ALICE, WRITE), allow(INTERNS, WRITE))
    assert check(write_restricted(INTERNS), what, WRITE)


@pytest.mark.parametrize("right", [DELETE, WRITE_DAC, WRITE_OWNER])
def test_deleting_and_rewriting_the_descriptor_are_writing(right):
    what = guarded(allow(ALICE, right))
    assert not check(write_restricted(INTERNS), what, right)


def test_what_reading_shares_with_writing_is_no_writing():
    mapping = GenericMapping(READ | RUN, RUN | WRITE, 0, READ | WRITE | RUN)
    what = guarded(allow(ALICE, READ | WRITE | RUN))
    assert access_check(write_restricted(INTERNS), what, RUN, mapping)
    assert not access_check(write_restricted(INTERNS), what, WRITE, mapping)
    mapping = GenericMapping(READ, RUN | WRITE, RUN, READ | WRITE | RUN)
    assert access_check(write_restricted(INTERNS), what, RUN, mapping)


def test_what_no_generic_right_but_all_maps_to_is_no_writing():
    mapping = GenericMapping(READ, WRITE, 0, READ | WRITE | RUN)
    what = guarded(allow(ALICE, READ | WRITE | RUN))
    assert access_check(write_restricted(INTERNS), what, RUN, mapping)


def test_what_a_privilege_or_ownership_grants_restricts_nothing_beside_it():
    what = guarded(allow(ALICE, READ), owner=INTERNS)
    who = write_restricted(INTERNS, groups=(INTERNS,))
    assert check(who, what, WRITE_DAC | READ)
    who = write_restricted(INTERNS, privileges=[Privilege.TAKE_OWNERSHIP])
    assert check(who, what, WRITE_OWNER | READ)


def test_no_entry_hands_a_restricted_token_what_only_privileges_grant():
    everything = READ | SYSTEM_SECURITY | MAXIMUM
    what = guarded(allow(ALICE, everything))
    for who in (restricted(ALICE), write_restricted(ALICE)):
        assert READ == check(who, what, MAXIMUM).granted


def test_a_request_that_mixes_is_restricted_as_a_whole():
    what = guarded(allow(ALICE, READ | WRITE), allow(INTERNS, WRITE))
    assert check(write_restricted(INTERNS), what, READ)
    assert check(write_restricted(INTERNS), what, WRITE)
    assert not check(write_restricted(INTERNS), what, READ | WRITE)


def test_the_maximum_of_a_write_restricted_token_is_found_right_by_right():
    what = guarded(allow(ALICE, READ | WRITE | RUN), allow(INTERNS, RUN))
    assert READ | RUN == check(write_restricted(INTERNS), what, MAXIMUM).granted


def test_what_is_named_beside_the_maximum_is_restricted_as_a_whole():
    what = guarded(allow(ALICE, READ | WRITE), allow(INTERNS, WRITE))
    assert check(write_restricted(INTERNS), what, MAXIMUM | WRITE)
    assert not check(write_restricted(INTERNS), what, MAXIMUM | READ | WRITE)


def test_the_maximum_itself_names_nothing_that_writes():
    what = guarded(allow(ALICE, READ | WRITE))
    assert READ == check(write_restricted(INTERNS), what, MAXIMUM | READ).granted


def test_the_null_sid_among_the_restricting_ones_is_nobody():
    what = guarded(allow(ALICE, READ), allow(NULL_SID, READ))
    assert not check(restricted(NULL_SID), what, READ)
    what = guarded(deny(NULL_SID, READ), allow(ALICE, READ), allow(INTERNS, READ))
    assert check(restricted(NULL_SID, INTERNS), what, READ)


def test_others_are_not_restricted():
    what = guarded(allow(STAFF, READ), allow(BOB, READ))
    assert check(token(STAFF), what, READ)
