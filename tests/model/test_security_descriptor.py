"""Descriptors as values."""

import pytest

from stead.errors import InvalidSecurityDescriptorError
from stead.model.ace import (
    AccessAllowedAce,
    AccessDeniedAce,
    MandatoryLabelAce,
    SystemAuditAce,
)
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.well_known import ADMINISTRATORS, EVERYONE, HIGH_LEVEL

PRESENT = ControlFlags.DACL_PRESENT | ControlFlags.SACL_PRESENT


@pytest.mark.parametrize(
    ("dacl", "sacl", "present"),
    [
        (ABSENT_DACL, ABSENT_SACL, ControlFlags.NONE),
        (NULL_DACL, ABSENT_SACL, ControlFlags.DACL_PRESENT),
        (ABSENT_DACL, NULL_SACL, ControlFlags.SACL_PRESENT),
        (Acl(), Acl(), PRESENT),
    ],
)
@pytest.mark.parametrize("claimed", [ControlFlags.NONE, PRESENT])
def test_the_control_bits_say_what_is_present(dacl, sacl, present, claimed):
    sd = SecurityDescriptor(dacl, sacl=sacl, control=claimed)
    assert present | ControlFlags.SELF_RELATIVE == sd.control


def test_other_control_bits_are_kept():
    sd = SecurityDescriptor(Acl(), control=ControlFlags.DACL_PROTECTED)
    assert ControlFlags.DACL_PROTECTED in sd.control


@pytest.mark.parametrize("missing", [None, (), "D:"])
def test_a_list_is_never_none(missing):
    with pytest.raises(InvalidSecurityDescriptorError, match="a dacl is"):
        SecurityDescriptor(missing)
    with pytest.raises(InvalidSecurityDescriptorError, match="a sacl is"):
        SecurityDescriptor(Acl(), sacl=missing)


@pytest.mark.parametrize("field", ["owner", "group"])
@pytest.mark.parametrize("sid", ["BA", bytes(ADMINISTRATORS)])
def test_owner_and_group_are_sids(field, sid):
    with pytest.raises(InvalidSecurityDescriptorError, match="owner and group"):
        SecurityDescriptor(Acl(), **{field: sid})


@pytest.mark.parametrize("kind", [SystemAuditAce, MandatoryLabelAce])
def test_an_entry_of_the_system_list_has_no_place_in_a_dacl(kind):
    acl = Acl((kind(HIGH_LEVEL, 1),))
    assert acl == SecurityDescriptor(Acl(), sacl=acl).sacl
    with pytest.raises(InvalidSecurityDescriptorError, match="no place in a dacl"):
        SecurityDescriptor(acl)


@pytest.mark.parametrize("kind", [AccessAllowedAce, AccessDeniedAce])
def test_an_entry_that_allows_or_denies_has_no_place_in_a_sacl(kind):
    acl = Acl((kind(EVERYONE, 1),))
    assert acl == SecurityDescriptor(acl).dacl
    with pytest.raises(InvalidSecurityDescriptorError, match="no place in a sacl"):
        SecurityDescriptor(Acl(), sacl=acl)


@pytest.mark.parametrize("control", [-1, 0x1_0000])
def test_control_bits_that_do_not_fit_are_refused(control):
    with pytest.raises(InvalidSecurityDescriptorError, match="16 bits"):
        SecurityDescriptor(Acl(), control=control)


@pytest.mark.parametrize("byte", [-1, 256])
def test_a_resource_manager_s_byte_is_a_byte(byte):
    with pytest.raises(InvalidSecurityDescriptorError, match="not a byte"):
        SecurityDescriptor(Acl(), resource_manager_control=byte)
