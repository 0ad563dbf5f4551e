"""Descriptors as values."""

import copy
import pickle
from dataclasses import replace

import pytest

from stead.errors import InvalidSecurityDescriptorError
from stead.model.ace import AccessAllowedAce, OpaqueAce
from stead.model.ace_kinds import DACL_KINDS, SACL_KINDS
from stead.model.acl import ABSENT_DACL, ABSENT_SACL, NULL_DACL, NULL_SACL, Acl
from stead.model.security_descriptor import (
    ControlFlags,
    SecurityDescriptor,
    checked_descriptor,
)
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE, HIGH_LEVEL

DOMAIN = Sid.from_string("S-1-5-21-1-2-3")
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


@pytest.mark.parametrize("kind", sorted(SACL_KINDS, key=lambda kind: kind.type))
def test_an_entry_of_the_system_list_has_no_place_in_a_dacl(kind):
    acl = Acl((kind(HIGH_LEVEL, 1),))
    assert acl == SecurityDescriptor(Acl(), sacl=acl).sacl
    with pytest.raises(InvalidSecurityDescriptorError, match="no place in a dacl"):
        SecurityDescriptor(acl)


@pytest.mark.parametrize("kind", sorted(DACL_KINDS, key=lambda kind: kind.type))
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


def test_an_entry_of_an_unknown_kind_has_its_place_in_either_list():
    acl = Acl((OpaqueAce(type_number=0x16),))
    sd = SecurityDescriptor(acl, sacl=acl)
    assert acl is sd.dacl
    assert acl is sd.sacl


def test_a_kind_that_is_derived_has_the_place_of_its_kind():
    class OwnAce(AccessAllowedAce):
        __slots__ = ()

    acl = Acl((OwnAce(EVERYONE, 1), OwnAce(EVERYONE, 2)))
    assert acl is SecurityDescriptor(acl).dacl
    with pytest.raises(InvalidSecurityDescriptorError, match="no place in a sacl"):
        SecurityDescriptor(Acl(), sacl=acl)


def kept_of(sd):
    return sd.kept_binary, sd.kept_sddl, sd.kept_index


def make():
    return SecurityDescriptor(
        Acl((AccessAllowedAce(EVERYONE, 1),)),
        owner=ADMINISTRATORS,
        group=EVERYONE,
        sacl=NULL_SACL,
        control=ControlFlags.DACL_PROTECTED | ControlFlags.RM_CONTROL_VALID,
        resource_manager_control=7,
    )


def used():
    """Return a descriptor that was written, printed and judged."""
    sd = make()
    sd.to_bytes()
    sd.to_sddl()
    object.__setattr__(sd, "kept_index", object())
    return sd


def test_what_was_written_and_printed_is_kept():
    sd = used()
    assert sd.to_bytes() is sd.to_bytes()
    assert sd.to_sddl() is sd.to_sddl()
    assert (sd.to_bytes(), (None, sd.to_sddl())) == kept_of(sd)[:2]


def test_what_is_kept_for_one_domain_is_not_printed_for_another():
    sd = SecurityDescriptor(ABSENT_DACL, owner=DOMAIN.with_rid(512))
    assert "O:S-1-5-21-1-2-3-512" == sd.to_sddl()
    assert "O:DA" == sd.to_sddl(domain=DOMAIN)
    assert "O:S-1-5-21-1-2-3-512" == sd.to_sddl()


def test_what_is_kept_is_no_part_of_the_value():
    assert make() == used()
    assert hash(make()) == hash(used())
    assert repr(make()) == repr(used())


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        replace,
        lambda sd: pickle.loads(pickle.dumps(sd)),  # noqa: S301 - our own bytes
    ],
    ids=["copy", "deepcopy", "replace", "pickle"],
)
def test_what_is_kept_stays_behind_when_a_descriptor_is_copied(again):
    made = again(used())
    assert used() == made
    assert (None, None, None) == kept_of(made)
    assert used().to_bytes() == made.to_bytes()


def test_a_changed_copy_is_written_as_what_it_is():
    changed = replace(used(), owner=EVERYONE)
    assert "O:WD" == changed.to_sddl()[:4]
    assert changed == SecurityDescriptor.from_bytes(changed.to_bytes())


def test_what_is_kept_cannot_be_handed_in():
    with pytest.raises(TypeError):
        SecurityDescriptor(Acl(), kept_binary=b"")


@pytest.mark.parametrize("dacl", [ABSENT_DACL, NULL_DACL, Acl()])
@pytest.mark.parametrize("sacl", [ABSENT_SACL, NULL_SACL, Acl()])
@pytest.mark.parametrize("control", [0, 0xFFFF, PRESENT])
def test_a_descriptor_of_checked_parts_is_the_one_that_checks_them(dacl, sacl, control):
    made = checked_descriptor(dacl, (ADMINISTRATORS, None), sacl, control, 7)
    expected = SecurityDescriptor(
        dacl,
        owner=ADMINISTRATORS,
        sacl=sacl,
        control=ControlFlags(control),
        resource_manager_control=7,
    )
    assert expected == made
    assert ControlFlags is type(made.control)
    assert (None, None, None) == kept_of(made)
    assert expected.to_bytes() == made.to_bytes()


def test_even_of_checked_parts_an_entry_has_its_place():
    acl = Acl((AccessAllowedAce(EVERYONE, 1),))
    with pytest.raises(InvalidSecurityDescriptorError, match="no place in a sacl"):
        checked_descriptor(Acl(), (None, None), acl, 0, 0)
