"""Conditions as bytes: the specification's example, lies, limits and round trips."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies_condition import any_shape

from stead.codec.condition_binary import read_condition, write_condition
from stead.codec.condition_tree import MAXIMUM_DEPTH, MAXIMUM_TOKENS
from stead.errors import InvalidConditionError
from stead.model.condition import (
    Attribute,
    AttributeSource,
    Binary,
    Composite,
    Integer,
    IntegerBase,
    IntegerSign,
    IntegerWidth,
    OctetString,
    Operator,
    SidLiteral,
    String,
    Unary,
)
from stead.model.sid import Sid
from stead.model.well_known import ADMINISTRATORS

TITLE = Attribute(AttributeSource.LOCAL, "Title")
# [MS-DTYP] 2.4.4.17.9, example 1: (Title=="VP").
EXAMPLE = bytes.fromhex(
    "61727478f80a0000005400690074006c0065001004000000560050008000 0000"
)
NAME = bytes.fromhex("f802000000 7800")


def refused(tokens, message):
    with pytest.raises(InvalidConditionError, match=message):
        read_condition(b"artx" + tokens)


def unwritable(condition, message):
    with pytest.raises(InvalidConditionError, match=message):
        write_condition(condition)


def nested(depth):
    condition = TITLE
    for _ in range(depth):
        condition = Unary(Operator.NOT, condition)
    return condition


def test_the_example_of_the_specification_is_read_and_written():
    condition = Binary(Operator.EQUAL, TITLE, String("VP"))
    assert condition == read_condition(EXAMPLE)
    assert EXAMPLE == write_condition(condition)


def test_an_integer_keeps_its_width_sign_and_base():
    # [MS-DTYP] 2.4.4.17.5: -1 as a signed 64-bit integer.
    minus_one = Integer(-1, IntegerWidth.INT64, IntegerSign.MINUS)
    tokens = bytes.fromhex("04ffffffffffffffff0202")
    assert b"artx" + tokens + b"\0" == write_condition(minus_one)
    assert minus_one == read_condition(b"artx" + tokens)


def test_a_negative_integer_is_always_written_with_its_minus():
    assert write_condition(
        Integer(-1, IntegerWidth.INT64, IntegerSign.MINUS)
    ) == write_condition(Integer(-1))


def test_a_hexadecimal_number_without_a_sign_has_all_64_bits():
    largest = Integer(2**64 - 1, base=IntegerBase.HEXADECIMAL)
    tokens = bytes.fromhex("04ffffffffffffffff0303")
    assert b"artx" + tokens + b"\0" == write_condition(largest)
    assert largest == read_condition(b"artx" + tokens)


@pytest.mark.parametrize(
    ("value", "fields"),
    [
        (2**64, {"base": IntegerBase.HEXADECIMAL}),
        (2**63, {"base": IntegerBase.DECIMAL}),
        (2**63, {"base": IntegerBase.OCTAL}),
        (2**63, {"base": IntegerBase.HEXADECIMAL, "sign": IntegerSign.PLUS}),
        (2**63, {"base": IntegerBase.HEXADECIMAL, "width": IntegerWidth.INT32}),
    ],
)
def test_no_other_number_has_more_than_63_bits(value, fields):
    with pytest.raises(InvalidConditionError, match="does not fit 64 bits"):
        Integer(value, **fields)


def test_operands_stand_before_their_operator_from_left_to_right():
    condition = Binary(
        Operator.AND, Unary(Operator.EXISTS, TITLE), SidLiteral(ADMINISTRATORS)
    )
    binary = write_condition(condition)
    places = [binary.index(bytes((code,))) for code in (0xF8, 0x87, 0x51, 0xA0)]
    assert sorted(places) == places
    assert condition == read_condition(binary)


@given(any_shape())
def test_what_is_written_reads_back(condition):
    binary = write_condition(condition)
    assert 0 == len(binary) % 4
    assert condition == read_condition(binary)


@given(st.binary(max_size=80))
def test_arbitrary_tokens_raise_our_error_alone(tokens):
    try:
        condition = read_condition(b"artx" + tokens)
    except InvalidConditionError:
        return
    assert condition == read_condition(write_condition(condition))


@given(any_shape(), st.data())
def test_one_changed_byte_raises_our_error_alone(condition, data):
    binary = bytearray(write_condition(condition))
    at = data.draw(st.integers(0, len(binary) - 1))
    binary[at] = data.draw(st.integers(0, 255))
    try:
        read_condition(bytes(binary))
    except InvalidConditionError:
        return


def test_a_condition_needs_its_signature():
    with pytest.raises(InvalidConditionError, match="begins with `artx`"):
        read_condition(b"artyf8")


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (b"", "leaves 0 values"),
        (NAME + NAME, "leaves 2 values"),
        (b"\x87", "`EXISTS` lacks an operand"),
        (NAME + b"\xa0", "`AND` lacks an operand"),
        (b"\x05", "`0x05` begins no literal"),
        (b"\xf8\x02\x00\x00", "at offset `4` is cut off"),
        (b"\xf8\x04\x00\x00\x00x\x00", "claims 4 bytes of 2"),
        (b"\xf8\x00\x00\x00\x00", "has a name"),
        (b"\xf8\x02\x00\x00\x00\x00\x00", "has a name"),
        (b"\xf8\x01\x00\x00\x00x", "not utf-16"),
        (b"\x10\x02\x00\x00\x00\x00\xd8", "not utf-16"),
        (b"\x04\x01\x02", "cut off"),
        (b"\x04" + bytes(8) + b"\x04\x02", "no sign and base"),
        (b"\x04" + bytes(8) + b"\x03\x00", "no sign and base"),
        (b"\x04\x01" + bytes(7) + b"\x02\x02", "minus sign"),
        (b"\x04" + b"\xff" * 8 + b"\x03\x02", "contradicts its sign"),
        (b"\x04" + b"\xff" * 8 + b"\x01\x03", "contradicts its sign"),
        (b"\x03" + b"\xff" * 8 + b"\x03\x03", "contradicts its sign"),
        (b"\x01\x80" + bytes(7) + b"\x03\x02", "does not fit `INT8`"),
        (b"\x51\x02\x00\x00\x00\x01\x01", "sid"),
        (b"\x50\x05\x00\x00\x00\x50\x00\x00\x00\x00", "`0x50` begins no literal"),
        (b"\x50\x07\x00\x00\x00" + NAME, "`0xf8` begins no literal"),
        (b"\x50\x05\x00\x00\x00\x10\x02\x00\x00\x00a\x00", "claims 2 bytes of 0"),
        (NAME + b"\x00\x01", "no token begins"),
        (NAME + bytes(4), "no token begins"),
    ],
)
def test_lies_are_refused(tokens, message):
    refused(tokens, message)


def test_no_more_than_an_ace_can_hold_is_read():
    refused(NAME * 10_000, "does not fit an ace")


def test_a_long_condition_is_read_without_being_remembered():
    condition = OctetString(bytes(5000))
    binary = write_condition(condition)
    assert condition == read_condition(binary)
    assert read_condition(binary) is not read_condition(binary)


def test_a_short_condition_is_read_once():
    assert read_condition(EXAMPLE) is read_condition(bytes(bytearray(EXAMPLE)))


def test_the_deepest_condition_can_be_read_compared_and_shown():
    deepest = nested(MAXIMUM_DEPTH)
    assert deepest == read_condition(write_condition(deepest))
    assert repr(deepest)


def test_a_deeper_condition_is_neither_written_nor_read():
    unwritable(nested(MAXIMUM_DEPTH + 1), "within one another")
    refused(NAME + b"\xa2" * (MAXIMUM_DEPTH + 1), "within one another")


def test_a_tree_that_grows_without_end_is_not_written():
    condition = TITLE
    for _ in range(MAXIMUM_TOKENS.bit_length()):
        condition = Binary(Operator.AND, condition, condition)
    unwritable(condition, "does not fit an ace")


def test_what_does_not_fit_an_ace_is_not_written():
    unwritable(OctetString(bytes(0xFFFF)), "does not fit an ace")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Attribute(AttributeSource.USER, ""), "has a name"),
        (Attribute(AttributeSource.USER, "a\0b"), "has a name"),
        (String("\ud800"), "not unicode"),
        (Composite((Composite(()),)), "no composite"),
        (Integer(128, IntegerWidth.INT8), "does not fit `INT8`"),
        (Integer(-129, IntegerWidth.INT8), "does not fit `INT8`"),
        (Integer(5, IntegerWidth.INT64, IntegerSign.MINUS), "minus sign"),
    ],
)
def test_what_has_no_bytes_is_refused(condition, message):
    unwritable(condition, message)


def test_every_width_takes_its_smallest_and_largest_value():
    for width, bits in zip(IntegerWidth, (8, 16, 32, 64), strict=True):
        for value, sign in (
            (-(1 << (bits - 1)), IntegerSign.MINUS),
            ((1 << (bits - 1)) - 1, IntegerSign.NONE),
        ):
            literal = Integer(value, width, sign, IntegerBase.HEXADECIMAL)
            assert literal == read_condition(write_condition(literal))


def test_a_composite_holds_literals_of_different_kinds():
    sid = Sid.from_string("S-1-5-21-1-2-3-4")
    composite = Composite((String("a"), Integer(1), OctetString(b""), SidLiteral(sid)))
    binary = write_condition(composite)
    assert struct.unpack_from("<I", binary, 5)[0] == 7 + 11 + 5 + 5 + len(sid)
    assert composite == read_condition(binary)
