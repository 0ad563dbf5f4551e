"""Claims as bytes: layout, lies, limits and round trips."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_condition import claims

from stead.codec.claim_binary import read_claim, write_claim
from stead.errors import InvalidClaimError
from stead.model.claim import Claim, ClaimFlags, ClaimType
from stead.model.well_known import ADMINISTRATORS

STRINGS = Claim("Dept", ClaimType.STRING, ("HR", ""), ClaimFlags.VALUE_CASE_SENSITIVE)
STRING_BYTES = bytes.fromhex(
    "18000000 0300 0000 02000000 02000000"  # name, type, reserved, flags, count
    "22000000 28000000"  # offsets, not aligned
    "4400650070007400 0000"
    "48005200 0000"
    "0000"
    "0000"  # padding
)


def claim_bytes(*, kind=3, flags=0, offsets=(), name_at=None, body=b"x\0\0\0"):
    """Return a claim whose parts may lie; the body begins after the offsets."""
    begin = 16 + 4 * len(offsets)
    header = struct.pack(
        "<IHHII", begin if name_at is None else name_at, kind, 0, flags, len(offsets)
    )
    return header + struct.pack(f"<{len(offsets)}I", *offsets) + body


def refused(binary, message):
    with pytest.raises(InvalidClaimError, match=message):
        read_claim(binary)


def test_strings_are_laid_out_one_after_another():
    assert STRING_BYTES == write_claim(STRINGS)
    assert STRINGS == read_claim(STRING_BYTES)


@pytest.mark.parametrize(
    ("kind", "values", "body"),
    [
        (ClaimType.INT64, (-2,), "feffffffffffffff"),
        (ClaimType.UINT64, (2**64 - 1,), "ffffffffffffffff"),
        (ClaimType.BOOLEAN, (True, False), "0100000000000000 0000000000000000"),
        (ClaimType.OCTET_STRING, (b"\x01\x02\x03",), "03000000 010203"),
        (
            ClaimType.SID,
            (ADMINISTRATORS,),
            "10000000 0102000000000005 20000000 20020000",
        ),
    ],
)
def test_a_value_follows_the_name_and_zeros_pad_it(kind, values, body):
    claim = Claim("x", kind, values)
    binary = write_claim(claim)
    expected = b"x\0\0\0" + bytes.fromhex(body)
    begin = 16 + 4 * len(values)
    assert expected == binary[begin:].rstrip(b"\0").ljust(len(expected), b"\0")
    assert begin + len(expected) <= len(binary) < begin + len(expected) + 4
    assert claim == read_claim(binary)


def test_a_claim_may_have_no_values():
    assert Claim("x", ClaimType.SID) == read_claim(claim_bytes(kind=5))


def test_parts_may_stand_in_another_order_and_reserved_bytes_are_ignored():
    binary = bytearray(claim_bytes(offsets=(20,), name_at=24, body=b"a\0\0\0n\0\0\0"))
    binary[6] = 1
    assert Claim("n", ClaimType.STRING, ("a",)) == read_claim(bytes(binary))


@pytest.mark.parametrize(
    ("binary", "message"),
    [
        (b"", "cannot have 0 bytes"),
        (claim_bytes() + bytes(0x10000), "cannot have"),
        (claim_bytes(kind=4), "type `4` is unknown"),
        (struct.pack("<IHHII", 16, 3, 0, 0, 1), "no room for 1 values"),
        (struct.pack("<IHHII", 16, 3, 0, 0, 2**32 - 1), "no room"),
        (claim_bytes(name_at=0), "no value can begin at offset `0`"),
        (claim_bytes(name_at=2**32 - 1), "no value can begin"),
        (claim_bytes(body=b"x\0"), "has no end"),
        (claim_bytes(body=b"\0\0"), "has a name"),
        (claim_bytes(body=b"\0\xd8\0\0"), "not utf-16"),
        (claim_bytes(offsets=(20,)), "share bytes"),
        (claim_bytes(offsets=(15,)), "no value can begin"),
        (claim_bytes(kind=1, offsets=(24,), body=b"x\0\0\0" + bytes(7)), "cut off"),
        (
            claim_bytes(kind=6, offsets=(24,), body=b"x\0\0\0\x02" + bytes(7)),
            "neither true nor false",
        ),
        (
            claim_bytes(kind=16, offsets=(24,), body=b"x\0\0\0\x01\0\0\0"),
            "cut off",
        ),
        (
            claim_bytes(kind=5, offsets=(24,), body=b"x\0\0\0\x01\0\0\0\x01"),
            "sid",
        ),
    ],
)
def test_lies_are_refused(binary, message):
    refused(binary, message)


def test_many_offsets_of_one_value_are_refused():
    count = 8000
    body = b"x\0\0\0" + b"a\0" * 15_000 + b"\0\0"
    refused(claim_bytes(offsets=(20 + 4 * count,) * count, body=body), "share bytes")


def test_the_end_of_a_string_is_a_whole_character():
    body = "\u0100\u0001".encode("utf-16-le") + b"\0\0"
    assert "\u0100\u0001" == read_claim(claim_bytes(body=body)).name


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        (Claim("a\0b", ClaimType.INT64), "null characters"),
        (Claim("a", ClaimType.STRING, ("a\0b",)), "null characters"),
        (Claim("\ud800", ClaimType.INT64), "not unicode"),
        (Claim("a", ClaimType.OCTET_STRING, (bytes(0xFFFF),)), "does not fit"),
    ],
)
def test_what_has_no_bytes_is_refused(claim, message):
    with pytest.raises(InvalidClaimError, match=message):
        write_claim(claim)


@given(claims())
def test_what_is_written_reads_back(claim):
    binary = write_claim(claim)
    assert 0 == len(binary) % 4
    assert claim == read_claim(binary)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_raise_our_error_alone(binary):
    try:
        claim = read_claim(binary)
    except InvalidClaimError:
        return
    assert claim == read_claim(write_claim(claim))


@given(claims(), st.data())
def test_one_changed_byte_raises_our_error_alone(claim, data):
    binary = bytearray(write_claim(claim))
    at = data.draw(st.integers(0, len(binary) - 1))
    binary[at] = data.draw(st.integers(0, 255))
    try:
        read_claim(bytes(binary))
    except InvalidClaimError:
        return
