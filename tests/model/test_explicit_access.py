"""Entries as people write them, by name."""

import pytest

from stead.errors import InvalidAccessMaskError, InvalidNameError
from stead.model.ace import AccessAllowedAce, AccessDeniedAce, AceFlags, SystemAuditAce
from stead.model.explicit_access import ANY_ACCESS, allow, audit, deny
from stead.model.well_known import EVERYONE, USERS


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


@pytest.mark.parametrize("mask", [-1, 1 << 32, "1"])
def test_an_entry_by_name_has_a_mask_of_32_bits(mask):
    with pytest.raises(InvalidAccessMaskError, match="32 bits"):
        allow("Users", mask)


def test_any_access_is_the_generic_right_to_all():
    assert 0x1000_0000 == ANY_ACCESS
