"""Where the sources differ: what was chosen, one test a question (docs/adr)."""

from __future__ import annotations

import pytest
from tests.decision.cases import (
    ALICE,
    DENY_ONLY,
    DISABLED,
    INHERIT_ONLY,
    INTERNS,
    MAPPING,
    MAXIMUM,
    READ,
    READ_CONTROL,
    WRITE,
    WRITE_DAC,
    WRITE_OWNER,
    allow,
    check,
    deny,
    guarded,
    label,
    token,
)

from stead.decision.access_check import access_check
from stead.decision.fast import is_granted
from stead.errors import (
    BadImpersonationLevelError,
    GenericNotMappedError,
    InvalidSecurityDescriptorError,
)
from stead.model.acl import ABSENT_DACL, NULL_DACL, Acl
from stead.model.privilege import Privilege
from stead.model.sid import Sid
from stead.model.token import ImpersonationLevel, TokenGroup, TokenType
from stead.model.well_known import HIGH_LEVEL, LOW_LEVEL


def test_a_request_for_nothing_is_refused():
    for what in (guarded(allow(ALICE, READ)), guarded(dacl=NULL_DACL)):
        assert not check(token(), what, 0)


def test_a_maximum_of_nothing_is_refused():
    assert not check(token(), guarded(allow(INTERNS, READ)), MAXIMUM)


def test_under_maximum_allowed_the_first_entry_that_names_a_bit_wins():
    granted_first = guarded(allow(ALICE, READ), deny(ALICE, READ | WRITE))
    assert READ == check(token(), granted_first, MAXIMUM).granted
    denied_first = guarded(deny(ALICE, READ), allow(ALICE, READ | WRITE))
    assert WRITE == check(token(), denied_first, MAXIMUM).granted


def test_maximum_allowed_does_not_draw_on_privileges_that_nobody_asked_for():
    everything = [Privilege.SECURITY, Privilege.TAKE_OWNERSHIP, Privilege.RELABEL]
    decision = check(token(privileges=everything), guarded(allow(ALICE, READ)), MAXIMUM)
    assert (READ, ()) == (decision.granted, decision.privileges_used)


@pytest.mark.parametrize("dacl", [NULL_DACL, ABSENT_DACL])
def test_no_dacl_and_a_null_dacl_grant_any_access(dacl):
    what = guarded(dacl=dacl)
    assert READ | WRITE_DAC == check(token(), what, READ | WRITE_DAC).granted
    assert MAPPING.all == check(token(), what, MAXIMUM).granted
    beyond = 0x100
    assert MAPPING.all | beyond == check(token(), what, MAXIMUM | beyond).granted


@pytest.mark.parametrize("bit", [28, 29, 30, 31])
def test_generic_bits_in_a_question_are_refused(bit):
    for door in (access_check, is_granted):
        with pytest.raises(GenericNotMappedError):
            door(token(), guarded(dacl=NULL_DACL), 1 << bit | READ, MAPPING)


def test_a_primary_token_is_judged_alike():
    what = guarded(allow(ALICE, READ))
    primary = token(type=TokenType.PRIMARY)
    assert READ == check(primary, what, READ).granted
    assert not check(primary, what, WRITE)


def test_level_identification_may_be_checked():
    who = token(level=ImpersonationLevel.IDENTIFICATION)
    assert check(who, guarded(allow(ALICE, READ)), READ)


def test_level_anonymous_may_not_be_checked():
    who = token(level=ImpersonationLevel.ANONYMOUS)
    for door in (access_check, is_granted):
        with pytest.raises(BadImpersonationLevelError) as caught:
            door(who, guarded(dacl=NULL_DACL), READ, MAPPING)
        assert ImpersonationLevel.IDENTIFICATION == caught.value.needed


@pytest.mark.parametrize("missing", ["owner", "group"])
def test_a_descriptor_without_owner_or_group_is_refused(missing):
    what = guarded(dacl=NULL_DACL, **{missing: None})
    for door in (access_check, is_granted):
        with pytest.raises(InvalidSecurityDescriptorError):
            door(token(), what, READ, MAPPING)


@pytest.mark.parametrize("attributes", [DENY_ONLY, DISABLED])
def test_a_deny_only_or_disabled_owner_has_no_owners_rights(attributes):
    who = token(TokenGroup(INTERNS, attributes))
    for desired in (READ_CONTROL, WRITE_DAC, MAXIMUM):
        assert not check(who, guarded(owner=INTERNS), desired)


def test_a_deny_only_user_has_no_owners_rights():
    who = token(user_is_deny_only=True)
    assert not check(who, guarded(owner=ALICE), WRITE_DAC)


def test_a_label_without_no_write_up_lets_lower_callers_write():
    what = guarded(allow(ALICE, WRITE), sacl=Acl((label(HIGH_LEVEL, 2),)))
    assert check(token(), what, WRITE)


def test_labels_of_odd_levels_are_compared_as_numbers():
    sacl = Acl((label(Sid.from_string("S-1-16-8191"), 1),))
    assert check(token(), guarded(allow(ALICE, WRITE), sacl=sacl), WRITE)
    below = token(integrity=Sid.from_string("S-1-16-8190"))
    assert not check(below, guarded(allow(ALICE, WRITE), sacl=sacl), WRITE)
    between = token(integrity=Sid.from_string("S-1-16-8448"))
    assert check(between, guarded(allow(ALICE, WRITE)), WRITE)


def test_of_several_labels_the_first_that_is_not_inherit_only_counts():
    labels = (
        label(LOW_LEVEL, 1, INHERIT_ONLY),
        label(HIGH_LEVEL, 1),
        label(LOW_LEVEL, 1),
    )
    assert not check(token(), guarded(allow(ALICE, WRITE), sacl=Acl(labels)), WRITE)
    swapped = Acl((labels[2], labels[1]))
    assert check(token(), guarded(allow(ALICE, WRITE), sacl=swapped), WRITE)


def test_reading_up_keeps_the_rights_that_reading_shares_with_writing():
    what = guarded(allow(ALICE, 0x1F0007), sacl=Acl((label(HIGH_LEVEL, 1),)))
    assert MAPPING.read & MAPPING.write == READ_CONTROL
    assert check(token(), what, READ | READ_CONTROL)


def test_relabel_privilege_grants_write_owner():
    who = token(privileges=[Privilege.RELABEL])
    what = guarded(sacl=Acl((label(HIGH_LEVEL, 1),)))
    decision = check(who, what, WRITE_OWNER)
    assert (Privilege.RELABEL,) == decision.privileges_used
