"""Entries, and how people write them by name."""

import pytest

from stead.errors import InvalidAccessMaskError, InvalidAclError, InvalidNameError
from stead.model.ace import (
    ACE_CLASSES,
    AccessAllowedAce,
    AccessDeniedAce,
    Ace,
    AceFlags,
    AceType,
    SystemAuditAce,
    allow,
    audit,
    deny,
)
from stead.model.well_known import EVERYONE, USERS


def test_every_type_has_a_class_that_says_so():
    assert set(AceType) == set(ACE_CLASSES)
    for kind, made in ACE_CLASSES.items():
        assert kind is made(EVERYONE, 1).type


def test_entries_of_two_kinds_are_never_equal():
    assert AccessAllowedAce(EVERYONE, 1) != AccessDeniedAce(EVERYONE, 1)
    assert AccessAllowedAce(EVERYONE, 1) == AccessAllowedAce(EVERYONE, 1)


def test_an_entry_without_a_kind_is_refused():
    with pytest.raises(InvalidAclError, match="of one kind"):
        Ace(EVERYONE, 1)


def test_a_trustee_that_is_no_sid_is_refused():
    with pytest.raises(InvalidAclError):
        AccessAllowedAce("S-1-1-0", 1)
    with pytest.raises(InvalidAclError):
        AccessAllowedAce(bytes(EVERYONE), 1)


@pytest.mark.parametrize("mask", [-1, 1 << 32, 1.0, "1"])
def test_a_mask_that_is_not_32_bits_is_refused(mask):
    with pytest.raises(InvalidAccessMaskError):
        AccessAllowedAce(EVERYONE, mask)


@pytest.mark.parametrize("flags", [-1, 0x100])
def test_flags_that_are_not_a_byte_are_refused(flags):
    with pytest.raises(InvalidAclError):
        AccessAllowedAce(EVERYONE, 1, flags)


def test_plain_numbers_become_flags_and_a_plain_mask():
    ace = AccessAllowedAce(EVERYONE, AceFlags.INHERITED, 8)
    assert AceFlags.INHERIT_ONLY is ace.flags
    assert int is type(ace.mask)


@pytest.mark.parametrize(
    ("flags", "expected"), [(AceFlags.NONE, False), (AceFlags.INHERIT_ONLY, True)]
)
def test_inherit_only_is_a_flag(flags, expected):
    assert expected is AccessAllowedAce(EVERYONE, 1, flags).is_inherit_only


def test_allow_and_deny_resolve_to_their_entries():
    assert AccessAllowedAce(USERS, 3) == allow("Users", 3).resolve(USERS)
    assert AccessDeniedAce(USERS, 3, AceFlags.OBJECT_INHERIT) == deny(
        USERS, 3, flags=AceFlags.OBJECT_INHERIT
    ).resolve(USERS)


@pytest.mark.parametrize(
    ("success", "failure", "flags"),
    [
        (True, True, AceFlags.SUCCESSFUL_ACCESS | AceFlags.FAILED_ACCESS),
        (True, False, AceFlags.SUCCESSFUL_ACCESS),
        (False, True, AceFlags.FAILED_ACCESS),
    ],
)
def test_audit_records_what_it_is_asked_to(success, failure, flags):
    entry = audit("Everyone", 1, success=success, failure=failure)
    assert SystemAuditAce(EVERYONE, 1, flags) == entry.resolve(EVERYONE)


def test_audit_of_neither_outcome_is_refused():
    with pytest.raises(InvalidAccessMaskError, match="success, failure or both"):
        audit("Everyone", 1, success=False, failure=False)


@pytest.mark.parametrize("trustee", ["", None, 7])
def test_a_trustee_is_a_sid_or_a_name(trustee):
    with pytest.raises(InvalidNameError):
        allow(trustee, 1)


def test_an_entry_by_name_needs_a_right():
    with pytest.raises(InvalidAccessMaskError, match="without rights"):
        deny("Users", 0)
