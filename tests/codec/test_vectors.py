"""The project's own vectors, and the tables of constants that they hold."""

import json
from pathlib import Path

import pytest

from stead import errors
from stead.codec.ace_types import SUPPORTED, UNSUPPORTED_NUMBERS, name_letters
from stead.codec.binary import read_security_descriptor, write_security_descriptor
from stead.codec.sddl import read_sddl, write_sddl
from stead.codec.sid_aliases import ALIASES, DOMAIN_RIDS, sid_to_sddl
from stead.codec.sid_text import read_sid
from stead.errors import InvalidSddlError, SteadError
from stead.model.ace import AccessAllowedAce, AceFlags, AceType
from stead.model.acl import Acl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import EVERYONE

VECTORS = Path(__file__).parent.parent / "vectors"
DOMAIN = "S-1-5-21-1-2-3"


def cases(name):
    read = json.loads((VECTORS / name).read_text("utf-8"))
    return [pytest.param(case, id=case["id"]) for case in read]


def rows(name):
    return json.loads((VECTORS / name).read_text("utf-8"))


@pytest.mark.parametrize("case", cases("sddl/valid/descriptors.json"))
def test_good_sddl_is_read_and_printed_as_windows_prints_it(case):
    assert case["expected"] == write_sddl(read_sddl(case["input"]))


@pytest.mark.parametrize("case", cases("sddl/invalid/descriptors.json"))
def test_bad_sddl_is_refused_at_its_position(case):
    with pytest.raises(InvalidSddlError) as caught:
        read_sddl(case["input"])
    assert case["expected"] == caught.value.position


@pytest.mark.parametrize("case", cases("security_descriptor/valid/self_relative.json"))
def test_good_bytes_are_read(case):
    read = read_security_descriptor(bytes.fromhex(case["input"]))
    assert case["expected"]["sddl"] == write_sddl(read)


@pytest.mark.parametrize("case", cases("security_descriptor/valid/self_relative.json"))
def test_what_was_read_is_written_in_the_layout_of_windows(case):
    read = read_security_descriptor(bytes.fromhex(case["input"]))
    written = write_security_descriptor(read)
    assert case["expected"]["canonical"] == (case["input"] == written.hex())
    assert read == read_security_descriptor(written)


@pytest.mark.parametrize(
    "case", cases("security_descriptor/invalid/self_relative.json")
)
def test_lying_bytes_are_refused(case):
    with pytest.raises(SteadError) as caught:
        read_security_descriptor(bytes.fromhex(case["input"]))
    assert getattr(errors, case["expected"]) is type(caught.value)


@pytest.mark.parametrize("case", cases("sid/valid/sddl.json"))
def test_sddl_reads_more_spellings_of_a_sid(case):
    assert case["expected"] == str(read_sid(case["input"]))


def test_every_number_of_an_ace_type_is_supported_or_refused_by_name():
    table = rows("constants/ace_types.json")
    for row in table:
        if row["expected"]["supported"]:
            assert row["id"] == AceType(row["input"]).name
        else:
            assert row["id"] == UNSUPPORTED_NUMBERS[row["input"]]
    assert len(table) == len(AceType) + len(UNSUPPORTED_NUMBERS)


def test_every_letter_of_an_ace_type_is_supported_or_refused_by_name():
    for row in rows("constants/ace_types.json"):
        letters = row["expected"]["sddl"]
        if row["expected"]["supported"]:
            assert row["input"] == SUPPORTED[letters]
        elif letters is not None:
            assert f"({row['id']})" in name_letters(letters)


def test_every_ace_flag_has_its_bit_and_its_letters():
    table = rows("constants/ace_flags.json")
    for row in table:
        flag = AceFlags[row["id"]]
        assert row["input"] == flag
        read = read_sddl(f"D:(A;{row['expected']};GR;;;WD)")
        assert Acl((AccessAllowedAce(EVERYONE, 0x8000_0000, flag),)) == read.dacl
    assert len(table) == len(AceFlags)


def test_every_control_flag_has_its_bit():
    table = rows("constants/control_flags.json")
    for row in table:
        assert row["input"] == ControlFlags[row["id"]]
    assert len(table) == len(ControlFlags)


def test_every_name_of_a_right_has_its_mask():
    for row in rows("constants/access_rights.json"):
        read = read_sddl(f"D:(A;;{row['input']};;;WD)")
        assert isinstance(read.dacl, Acl)
        assert row["expected"] == read.dacl.aces[0].mask


def test_every_alias_means_its_sid_and_is_printed_for_it():
    domain = Sid.from_string(DOMAIN)
    table = rows("constants/sid_aliases.json")
    for row in table:
        sid = Sid.from_string(row["expected"].replace("{domain}", DOMAIN))
        assert sid == read_sid(row["input"], domain=domain)
        assert row["input"] == sid_to_sddl(sid, domain=domain)
    assert len(table) == len(ALIASES) + len(DOMAIN_RIDS)


def test_the_descriptor_s_own_doors_are_the_codec_s():
    text = "O:BAG:SYD:P(A;;FA;;;BA)"
    read = SecurityDescriptor.from_sddl(text)
    assert text == read.to_sddl()
    assert read == SecurityDescriptor.from_bytes(read.to_bytes())
