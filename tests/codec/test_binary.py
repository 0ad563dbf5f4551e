"""Bytes where a vector cannot say it: limits, parts on their own, messages."""

import pytest

from stead.codec.binary import (
    MAXIMUM_DESCRIPTOR_SIZE,
    read_ace,
    read_acl,
    read_security_descriptor,
    read_sid_at,
    write_ace,
    write_acl,
    write_security_descriptor,
)
from stead.errors import (
    InvalidAclError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import AccessAllowedAce, AceFlags, SystemAuditAce
from stead.model.acl import MAXIMUM_ACL_SIZE, Acl
from stead.model.security_descriptor import SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE, LOCAL_SYSTEM

LONGEST = Sid.from_parts(5, tuple(range(1, 16)))
FULL_COUNT = (MAXIMUM_ACL_SIZE - 8) // 20


def test_the_largest_descriptor_there_can_be_is_read():
    dacl = Acl((AccessAllowedAce(EVERYONE, 1),) * FULL_COUNT)
    sacl = Acl((SystemAuditAce(EVERYONE, 1),) * FULL_COUNT)
    sd = SecurityDescriptor(dacl, owner=LONGEST, group=LONGEST, sacl=sacl)
    written = write_security_descriptor(sd)
    assert MAXIMUM_DESCRIPTOR_SIZE - 40 < len(written) <= MAXIMUM_DESCRIPTOR_SIZE
    assert sd == read_security_descriptor(written)


def test_a_longer_descriptor_is_refused_before_it_is_read():
    with pytest.raises(InvalidSecurityDescriptorError, match="20 to "):
        read_security_descriptor(bytes(MAXIMUM_DESCRIPTOR_SIZE + 1))


def test_an_error_names_the_entry():
    good = write_ace(AccessAllowedAce(EVERYONE, 1))
    bad = bytes((0x05,)) + good[1:]
    size = (8 + 2 * len(good)).to_bytes(2, "little")
    acl = b"\x02\x00" + size + b"\x02\x00\x00\x00" + good + bad
    with pytest.raises(InvalidAclError) as caught:
        read_acl(acl)
    assert str(caught.value) == (
        "ace 1: aces of type `0x05` (ACCESS_ALLOWED_OBJECT) are not supported"
    )


def test_an_ace_on_its_own_is_read_as_it_was_written():
    ace = AccessAllowedAce(ADMINISTRATORS, 0xF000_0001, AceFlags.OBJECT_INHERIT)
    assert ace == read_ace(write_ace(ace))


def test_a_list_on_its_own_fills_its_bytes():
    acl = Acl((AccessAllowedAce(EVERYONE, 1),))
    assert acl == read_acl(write_acl(acl))
    with pytest.raises(InvalidAclError, match="claims 28 bytes of 32"):
        read_acl(write_acl(acl) + bytes(4))


@pytest.mark.parametrize("size", [0, 7])
def test_a_part_shorter_than_its_header_is_refused(size):
    with pytest.raises(InvalidAclError):
        read_acl(bytes(size))
    with pytest.raises(InvalidAclError):
        read_ace(bytes(size))


def test_a_sid_is_read_at_its_offset_whatever_follows():
    around = b"\xff" * 4 + ADMINISTRATORS + LOCAL_SYSTEM
    assert ADMINISTRATORS is read_sid_at(around, 4)
    assert LOCAL_SYSTEM is read_sid_at(around, 4 + len(ADMINISTRATORS))


@pytest.mark.parametrize("offset", [-1, 11, 12, 1 << 40])
def test_a_sid_that_is_not_there_is_refused(offset):
    with pytest.raises(InvalidSidError):
        read_sid_at(bytes(EVERYONE), offset)


def test_a_bytearray_reads_like_bytes():
    sd = SecurityDescriptor(Acl((AccessAllowedAce(EVERYONE, 1),)), owner=LOCAL_SYSTEM)
    assert sd == read_security_descriptor(bytearray(write_security_descriptor(sd)))
