"""Bytes where a vector cannot say it: limits, parts on their own, messages."""

import pytest

from stead.codec import ace_binary, binary
from stead.codec.ace_binary import read_ace, read_sid_at, write_ace
from stead.codec.binary import (
    MAXIMUM_DESCRIPTOR_SIZE,
    read_acl,
    read_security_descriptor,
    write_acl,
    write_security_descriptor,
)
from stead.errors import (
    InvalidAclError,
    InvalidSecurityDescriptorError,
    InvalidSidError,
)
from stead.model.ace import (
    MAXIMUM_ACE_SIZE,
    AccessAllowedAce,
    AccessAllowedObjectAce,
    AceFlags,
    AceType,
    OpaqueAce,
    SystemAuditAce,
)
from stead.model.acl import MAXIMUM_ACL_SIZE, Acl
from stead.model.guid import Guid
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
    bad = good[:8] + b"\x02" + good[9:]
    size = (8 + 2 * len(good)).to_bytes(2, "little")
    acl = b"\x02\x00" + size + b"\x02\x00\x00\x00" + good + bad
    with pytest.raises(InvalidAclError) as caught:
        read_acl(acl)
    assert str(caught.value).startswith("ace 1: ")


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


UNKNOWN = [number for number in range(256) if number not in set(AceType)]
BODIES = (b"", b"\0\0\0\0", bytes(range(256)))


def with_aces(*aces, revision=2):
    """Return a list of entries that are bytes already."""
    size = 8 + sum(map(len, aces))
    head = bytes((revision, 0)) + size.to_bytes(2, "little")
    return head + len(aces).to_bytes(2, "little") + bytes(2) + b"".join(aces)


def in_dacl(acl):
    """Return a descriptor that has this list alone, as bytes."""
    head = bytes.fromhex("01000480") + bytes(12) + (20).to_bytes(4, "little")
    return head + acl


def of_type(number, body, flags=0):
    size = (4 + len(body)).to_bytes(2, "little")
    return bytes((number, flags)) + size + body


@pytest.mark.parametrize("number", UNKNOWN)
def test_an_entry_of_an_unknown_type_is_kept_byte_for_byte(number):
    for body in BODIES:
        written = of_type(number, body, flags=0x5A)
        read = read_ace(written)
        assert OpaqueAce(flags=0x5A, type_number=number, body=body) == read
        assert written == write_ace(read)


def test_entries_of_every_unknown_type_stand_in_one_descriptor():
    aces = [of_type(number, b"body") for number in UNKNOWN]
    whole = in_dacl(with_aces(*aces))
    read = read_security_descriptor(whole)
    assert UNKNOWN == [ace.number for ace in read.dacl]
    assert whole == write_security_descriptor(read)


def test_an_unknown_entry_is_as_long_as_an_entry_can_be():
    written = of_type(0x16, bytes(MAXIMUM_ACE_SIZE - 4))
    assert written == write_ace(read_ace(written))


@pytest.mark.parametrize("revision", [2, 3, 4])
def test_a_list_keeps_its_revision_whatever_its_entries_are(revision):
    ace = AccessAllowedObjectAce(EVERYONE, 1, object_type=Guid(bytes(16)))
    written = with_aces(write_ace(ace), revision=revision)
    read = read_acl(written)
    assert revision == read.revision
    assert written == write_acl(read)


def test_room_after_the_last_entry_is_read_and_not_written():
    ace = write_ace(AccessAllowedAce(EVERYONE, 1))
    roomy = bytearray(with_aces(ace)) + bytes(8)
    roomy[2:4] = len(roomy).to_bytes(2, "little")
    read = read_acl(bytes(roomy))
    assert Acl((AccessAllowedAce(EVERYONE, 1),)) == read
    assert with_aces(ace) == write_acl(read)


@pytest.mark.parametrize("count", [2, 0xFFFF])
def test_more_entries_than_there_are_is_refused(count):
    written = bytearray(with_aces(write_ace(AccessAllowedAce(EVERYONE, 1))))
    written[4:6] = count.to_bytes(2, "little")
    with pytest.raises(InvalidAclError, match=f"claims {count} aces and holds 1"):
        read_acl(bytes(written))


@pytest.mark.parametrize("size", [0, 3, 16, 21, 24, 0xFFFF])
def test_an_entry_whose_size_lies_is_refused(size):
    good = write_ace(AccessAllowedAce(EVERYONE, 1))
    lying = good[:2] + size.to_bytes(2, "little") + good[4:]
    for acl in (with_aces(lying), with_aces(good, lying)):
        read_ace(good)  # that it is known helps nobody
        with pytest.raises(InvalidAclError, match=r"^ace [01]: "):
            read_acl(acl)


def test_what_was_read_lately_is_the_same_object():
    whole = in_dacl(with_aces(write_ace(AccessAllowedAce(EVERYONE, 7))))
    _, second, third = [read_security_descriptor(whole) for _ in range(3)]
    assert second is third


def test_an_entry_that_stands_in_two_lists_is_one_object():
    ace = write_ace(AccessAllowedAce(EVERYONE, 7))
    lists = [read_acl(with_aces(ace, ace)) for _ in range(2)]
    assert lists[0].aces[1] is lists[1].aces[0]
    assert lists[0].aces[1] is lists[1].aces[1]


def test_what_is_long_is_not_kept():
    long_ace = of_type(0x16, bytes(ace_binary._KEPT_ACE_SIZE))
    whole = in_dacl(with_aces(*[long_ace] * 16))
    assert len(whole) > binary._KEPT_DESCRIPTOR_SIZE
    _, first, second = [read_security_descriptor(whole) for _ in range(3)]
    assert first == second
    assert first is not second
    assert first.dacl.aces[0] is not second.dacl.aces[0]
    assert binary._known_descriptors.get(whole) is None
    assert ace_binary._known_aces.get(long_ace) is None


def test_what_is_refused_is_not_kept():
    lying = in_dacl(with_aces(b"\0\0\x08\0\0\0\0\0"))
    for _ in range(2):
        with pytest.raises(InvalidAclError):
            read_security_descriptor(lying)
    assert binary._known_descriptors.get(lying) is None
