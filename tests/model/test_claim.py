"""Claims as values."""

import pytest

from stead.errors import InvalidClaimError
from stead.model.claim import Claim, ClaimFlags, ClaimType, is_of_type
from stead.model.well_known import EVERYONE

LEAST, LARGEST, LARGEST_UNSIGNED = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1
VALUES = {
    ClaimType.INT64: (LEAST, 0, LARGEST),
    ClaimType.UINT64: (0, LARGEST_UNSIGNED),
    ClaimType.STRING: ("", "sales"),
    ClaimType.SID: (EVERYONE,),
    ClaimType.BOOLEAN: (True, False),
    ClaimType.OCTET_STRING: (b"", b"\x00\xff"),
}
WRONG = [
    (ClaimType.INT64, True),
    (ClaimType.INT64, LARGEST + 1),
    (ClaimType.INT64, LEAST - 1),
    (ClaimType.INT64, "1"),
    (ClaimType.INT64, 1.0),
    (ClaimType.UINT64, False),
    (ClaimType.UINT64, -1),
    (ClaimType.UINT64, LARGEST_UNSIGNED + 1),
    (ClaimType.STRING, b"sales"),
    (ClaimType.STRING, None),
    (ClaimType.SID, bytes(EVERYONE)),
    (ClaimType.SID, "S-1-1-0"),
    (ClaimType.BOOLEAN, 1),
    (ClaimType.OCTET_STRING, "00ff"),
    (ClaimType.OCTET_STRING, EVERYONE),
]


@pytest.mark.parametrize("kind", ClaimType)
def test_a_claim_holds_values_of_its_type(kind):
    claim = Claim("a", kind, VALUES[kind])
    assert VALUES[kind] == claim.values
    assert () == Claim("a", kind).values


@pytest.mark.parametrize(("kind", "value"), WRONG)
def test_a_value_of_another_type_is_refused(kind, value):
    assert not is_of_type(value, kind)
    good = VALUES[kind][0]
    with pytest.raises(
        InvalidClaimError, match=f"claim `a` is not of type `{kind.name}`"
    ):
        Claim("a", kind, (good, value))


def test_plain_numbers_become_a_type_and_flags():
    claim = Claim("a", 0x03, ["x"], 0x12)
    assert ClaimType.STRING is claim.type
    assert ClaimFlags.VALUE_CASE_SENSITIVE | ClaimFlags.DISABLED == claim.flags
    assert ("x",) == claim.values


@pytest.mark.parametrize("name", ["", None, b"a"])
def test_a_claim_has_a_name(name):
    with pytest.raises(InvalidClaimError, match="has a name"):
        Claim(name, ClaimType.STRING)


@pytest.mark.parametrize("flags", [-1, 1 << 32])
def test_flags_that_do_not_fit_32_bits_are_refused(flags):
    with pytest.raises(InvalidClaimError, match="32 bits"):
        Claim("a", ClaimType.STRING, (), flags)


def test_a_name_that_is_no_ascii_is_escaped_in_the_error():
    with pytest.raises(InvalidClaimError) as caught:
        Claim("\u2028é", ClaimType.STRING, (1,))
    assert str(caught.value).isascii()


@pytest.mark.parametrize("flag", ClaimFlags)
def test_flags_say_how_a_claim_is_used(flag):
    claim = Claim("a", ClaimType.STRING, (), flag)
    assert (ClaimFlags.VALUE_CASE_SENSITIVE == flag) is claim.is_case_sensitive
    assert (ClaimFlags.DISABLED == flag) is claim.is_disabled
    assert (ClaimFlags.USE_FOR_DENY_ONLY == flag) is claim.is_deny_only


def test_flags_that_have_no_name_are_kept():
    assert 0x8000_0040 == Claim("a", ClaimType.STRING, (), 0x8000_0040).flags


def test_a_value_is_of_its_very_type():
    class Sly(int):
        __hash__ = int.__hash__

        def __eq__(self, other):
            return True

    with pytest.raises(InvalidClaimError, match="not of type"):
        Claim("Ring", ClaimType.INT64, (Sly(3),))


@pytest.mark.parametrize("values", ["sales", b"sales"])
def test_a_text_is_not_taken_for_a_tuple_of_its_letters(values):
    with pytest.raises(InvalidClaimError, match="a tuple"):
        Claim("dept", ClaimType.STRING, values)
