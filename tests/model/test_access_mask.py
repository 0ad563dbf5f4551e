"""Masks, mappings and rights."""

import pytest

from stead.errors import InvalidAccessMaskError
from stead.model.access_mask import (
    FILE_MAPPING,
    AccessMask,
    FileRights,
    GenericMapping,
    Rights,
    TokenRights,
    format_mask,
    name_rights,
)


class Doc(Rights):
    READ = 0x1
    WRITE = 0x2
    PRINT = 0x8


def test_generic_rights_map_each_to_its_own():
    mapping = GenericMapping(read=1, write=2, execute=4, all=0xF)
    assert 1 == mapping.map(AccessMask.GENERIC_READ)
    assert 2 == mapping.map(AccessMask.GENERIC_WRITE)
    assert 4 == mapping.map(AccessMask.GENERIC_EXECUTE)
    assert 0xF == mapping.map(AccessMask.GENERIC_ALL)
    assert 0x17 == mapping.map(0xE000_0010)


def test_a_mask_without_generic_rights_stays_as_it_is():
    assert 0x0312_3456 == FILE_MAPPING.map(0x0312_3456)


@pytest.mark.parametrize("mask", [0x8000_0000, -1, 1 << 32])
def test_a_mapping_maps_to_no_generic_right(mask):
    with pytest.raises(InvalidAccessMaskError):
        GenericMapping(read=1, write=2, execute=4, all=mask)


def test_a_kind_s_rights_map_by_their_names():
    mapping = Doc.generic_mapping()
    assert 0x2_0001 == mapping.read
    assert 0x2_0002 == mapping.write
    assert 0x2_0000 == mapping.execute
    assert 0xF_000B == mapping.all


@pytest.mark.parametrize("bits", [0, 0x1_0000, -1])
def test_a_kind_s_own_rights_are_bits_0_to_15(bits):
    with pytest.raises(InvalidAccessMaskError, match="bits 0 to 15"):
        type(Rights)("Bad", (Rights,), _members("Bad", bits))


def test_a_kind_s_own_right_has_no_name_that_every_object_s_rights_have():
    with pytest.raises(InvalidAccessMaskError, match="every object has") as refused:
        type(Rights)("Bad", (Rights,), _members("Bad", 4, name_of_it="DELETE"))
    assert "AccessMask.DELETE" in refused.value.advice


def _members(name, bits, name_of_it="WRONG"):
    members = type(Rights).__prepare__(name, (Rights,))
    members[name_of_it] = bits
    return members


def test_the_rights_of_files_are_those_of_smb():
    assert 0x0012_0089 == FILE_MAPPING.map(AccessMask.GENERIC_READ)
    assert 0x0012_0116 == FILE_MAPPING.map(AccessMask.GENERIC_WRITE)
    assert 0x0012_00A0 == FILE_MAPPING.map(AccessMask.GENERIC_EXECUTE)
    assert 0x001F_01FF == FILE_MAPPING.map(AccessMask.GENERIC_ALL)


@pytest.mark.parametrize("kind", [FileRights, TokenRights])
def test_all_access_is_every_right_of_the_kind(kind):
    every = 0
    for right in kind:
        every |= right & 0xFFFF
    assert every == kind.ALL_ACCESS & 0xFFFF


def test_a_mask_prints_as_windows_logs_print_it():
    assert "0x001F01FF" == format_mask(0x1F01FF)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (0, "nothing"),
        (0x1, "READ"),
        (0x4_0003, "READ | WRITE | WRITE_DAC"),
        (0x10, "0x10"),
        (0x8000_0010, "GENERIC_READ | 0x10"),
    ],
)
def test_rights_are_spelled_with_their_names(mask, expected):
    names = {"READ": 1, "WRITE": 2, "NONE": 0}
    assert expected == name_rights(mask, names)
