"""What an item's value may be: copied, bounded, and read back as it was."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidMessageError, InvalidRequestError
from stead.gates.dde.limits import FRAME_BYTES, DdeLimits
from stead.gates.dde.messages import (
    CLIENT_MESSAGES,
    Poke,
    data_of,
    read_message,
    value_of,
    write_message,
)
from stead.gates.dde.ports import DdeData
from stead.gates.dde.values import ITEM_BYTES, plain_copy

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def across(data):
    poke = Poke(conversation=1, transaction=1, item="i", value=value_of(data))
    body = write_message(poke)
    assert len(body) < FRAME_BYTES
    return data_of(read_message(body, CLIENT_MESSAGES, DdeLimits().socket).value)


@given(PLAIN | st.binary())
def test_a_value_comes_across_as_it_was(value):
    data = DdeData.of(value)
    assert data == across(data)
    assert type(value) is type(data.value)


@pytest.mark.parametrize(
    "value",
    [
        "\x01" * ITEM_BYTES,
        "\U0010ffff" * (ITEM_BYTES // 4 - 6),
        b"\xff" * ITEM_BYTES,
        [-1.2345678901234567e-300] * 2700,
        {"\x01" * 100: "\x01" * 100},
        ["\x01" * 8] * 2000,
    ],
)
def test_whatever_is_a_value_fits_a_frame(value):
    value = value[: ITEM_BYTES - 24] if isinstance(value, str) else value
    data = DdeData.of(value)
    assert data == across(data)


@pytest.mark.parametrize(
    "value",
    [
        "x" * (ITEM_BYTES + 1),
        b"x" * (ITEM_BYTES + 1),
        memoryview(bytearray(ITEM_BYTES + 1)),
        ["x" * (ITEM_BYTES // 2)] * 2,
        {"x" * ITEM_BYTES: 1},
        [0] * 5000,
        float("nan"),
        float("inf"),
        1 << 64,
        "\ud800",
        {"\ud800": 1},
        {1: 2},
        {1, 2},
        object(),
        [b"bytes"],
    ],
)
def test_what_is_no_value_is_refused(value):
    with pytest.raises(InvalidRequestError):
        DdeData.of(value)
    with pytest.raises(InvalidMessageError):
        value_of(DdeData(value))


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InvalidRequestError, match="too deep"):
        plain_copy(value)


def test_a_value_is_a_copy_made_of_plain_types():
    class Color(enum.StrEnum):
        RED = "red"

    given = {"list": [1, (2, Color.RED)]}
    data = DdeData.of(given)
    given["list"].append(3)
    assert {"list": [1, [2, "red"]]} == data.value
    assert str is type(data.value["list"][1][1])
    assert b"ab" == DdeData.of(bytearray(b"ab")).value


def test_a_format_follows_from_the_value_unless_it_is_given():
    formats = [DdeData.of(value).format for value in ("x", b"x", 1, None, [])]
    assert ["text", "bytes", "json", "json", "json"] == formats
    assert "csv" == DdeData.of("a;b", "csv").format
