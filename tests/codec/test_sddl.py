"""SDDL where a vector cannot say it: domains, limits, messages."""

import pytest

from stead.codec.sddl import ace_to_sddl, read_sddl, write_sddl
from stead.codec.sid_text import read_sid
from stead.errors import InvalidSddlError
from stead.model.ace import AccessDeniedAce, AceFlags, MandatoryLabelAce
from stead.model.acl import ABSENT_DACL, NULL_DACL, Acl
from stead.model.security_descriptor import ControlFlags, SecurityDescriptor
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS, EVERYONE, HIGH_LEVEL

DOMAIN = Sid.from_string("S-1-5-21-10-20-30")
OTHER = Sid.from_string("S-1-5-21-10-20-31")


def refused(text, **kwargs):
    with pytest.raises(InvalidSddlError) as caught:
        read_sddl(text, **kwargs)
    return caught.value


def test_an_alias_of_a_domain_is_a_rid_within_it():
    read = read_sddl("O:DA", domain=DOMAIN)
    assert DOMAIN.with_rid(512) == read.owner


def test_an_alias_of_a_domain_is_printed_for_that_domain_alone():
    read = read_sddl("O:LAG:DU", domain=DOMAIN)
    assert "O:LAG:DU" == write_sddl(read, domain=DOMAIN)
    assert f"O:{DOMAIN}-500G:{DOMAIN}-513" == write_sddl(read, domain=OTHER)
    assert f"O:{DOMAIN}-500G:{DOMAIN}-513" == write_sddl(read)


def test_a_rid_without_an_alias_is_printed_whole():
    sd = SecurityDescriptor(ABSENT_DACL, owner=DOMAIN.with_rid(1000))
    assert f"O:{DOMAIN}-1000" == write_sddl(sd, domain=DOMAIN)


def test_an_alias_without_a_domain_says_what_is_missing():
    assert "alias `DA` is relative to a domain" == refused("O:DA").reason


def test_a_domain_that_has_no_room_for_a_rid_is_refused():
    full = Sid.from_parts(5, tuple(range(15)))
    error = refused("G:SYO:DA", domain=full)
    assert 6 == error.position
    assert "is no domain" in error.reason


def test_absent_null_and_empty_lists_stay_apart():
    assert ABSENT_DACL is read_sddl("O:BA").dacl
    assert NULL_DACL is read_sddl("D:NO_ACCESS_CONTROL").dacl
    assert Acl() == read_sddl("D:").dacl


def test_an_absent_list_prints_nothing_though_its_control_bits_are_set():
    sd = SecurityDescriptor(ABSENT_DACL, control=ControlFlags.DACL_PROTECTED)
    assert "" == write_sddl(sd)


def test_one_entry_is_printed_with_its_parentheses():
    ace = AccessDeniedAce(ADMINISTRATORS, 0x1_0000, AceFlags.CONTAINER_INHERIT)
    assert "(D;CI;SD;;;BA)" == ace_to_sddl(ace)
    mine = AccessDeniedAce(DOMAIN.with_rid(512), 0x1_0000)
    assert "(D;;SD;;;DA)" == ace_to_sddl(mine, domain=DOMAIN)


def test_a_label_that_is_as_wide_as_a_file_right_keeps_its_number():
    label = MandatoryLabelAce(HIGH_LEVEL, 0x1F_01FF)
    assert "(ML;;0x1f01ff;;;HI)" == ace_to_sddl(label)


def test_a_kind_that_is_not_judged_is_named_where_it_stands():
    error = refused("D:(A;;GR;;;WD)(OA;;CR;;;WD)")
    assert 15 == error.position
    assert "aces of type `OA` (ACCESS_ALLOWED_OBJECT) are not supported" == error.reason


def test_a_kind_that_does_not_exist_is_named_too():
    assert "`BOGUS` is no type of ace" == refused("D:(bogus;;GR;;;WD)").reason


def test_a_list_past_64_kib_is_refused_at_its_beginning():
    error = refused("O:BAD:" + "(A;;GR;;;WD)" * 4000)
    assert 6 == error.position
    assert "does not fit 64 KiB" in error.reason


@pytest.mark.parametrize(
    ("mask", "printed"),
    [
        ("9" * 10_000, "0xffffffff"),
        ("0x" + "f" * 10_000, "0xffffffff"),
        ("0" * 10_000, ""),
        ("-" + "9" * 10_000, "CC"),
    ],
    ids=["decimal", "hexadecimal", "zeros", "negative"],
)
def test_a_mask_of_ten_thousand_digits_is_read(mask, printed):
    assert f"D:(A;;{printed};;;WD)" == write_sddl(read_sddl(f"D:(A;;{mask};;;WD)"))


def test_a_sid_of_ten_thousand_digits_is_read_or_refused():
    assert "S-1-5-4294967295" == str(read_sid("S-1-5-" + "9" * 10_000))
    assert "S-1-5-0" == str(read_sid("S-1-5-" + "0" * 10_000))
    with pytest.raises(InvalidSddlError, match="does not fit 48 bits"):
        read_sid("S-1-" + "9" * 10_000 + "-1")


def test_a_sid_alone_ends_where_the_text_ends():
    with pytest.raises(InvalidSddlError) as caught:
        read_sid("BA ")
    assert 2 == caught.value.position


def test_the_same_text_reads_to_equal_values():
    assert read_sddl("D:(A;;GR;;;WD)") == read_sddl("D:(A;;0x80000000;;;S-1-1-0)")


def test_an_everyone_entry_is_everyone():
    read = read_sddl("D:(A;;GR;;;WD)")
    assert isinstance(read.dacl, Acl)
    assert EVERYONE is read.dacl.aces[0].trustee
