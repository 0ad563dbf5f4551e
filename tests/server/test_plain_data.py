from __future__ import annotations

import array
import enum
import math
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import NotPlainDataError
from stead.server.workers.plain_data import (
    DEEPEST,
    LONGEST_KEY,
    MOST_VALUES,
    read_plain,
    write_plain,
)

TEXT = st.text(st.characters(exclude_categories=()))
OFFSETS = st.builds(
    timezone,
    st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)),
)
ZONES = st.none() | st.just(UTC) | OFFSETS
PATHS = TEXT.filter(lambda text: "\0" not in text)
KEYS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT,
    st.binary(), st.complex_numbers(allow_nan=False), st.dates(),
    st.datetimes(timezones=ZONES), st.times(timezones=ZONES), st.timedeltas(),
    st.decimals(allow_nan=False), st.fractions(), st.uuids(),
    st.builds(PurePosixPath, PATHS), st.builds(PosixPath, PATHS),
)  # fmt: skip
LEAVES = KEYS | st.builds(bytearray, st.binary())
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.sets(KEYS),
        st.frozensets(KEYS),
        st.dictionaries(KEYS | st.tuples(KEYS, st.frozensets(KEYS)), inner),
    ),
    max_leaves=20,
)


def spelled(value):
    """Return a value with every type in it, where equality alone would not tell."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, [(spelled(key), spelled(value[key])) for key in value]
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, map(spelled, value)))
    if isinstance(value, list | tuple):
        return kind, list(map(spelled, value))
    if isinstance(value, datetime | time):
        return kind, value.isoformat(), value.fold
    return kind, repr(value)


@given(VALUES)
def test_what_is_written_is_read_as_it_was_with_every_type(value):
    assert spelled(value) == spelled(read_plain(write_plain(value)))


@given(st.binary())
def test_noise_is_a_value_or_an_error_of_ours(data):
    try:
        value = read_plain(data)
    except NotPlainDataError:
        return
    assert spelled(value) == spelled(read_plain(write_plain(value)))


@given(VALUES, st.data())
def test_a_value_cut_short_is_none(value, data):
    whole = write_plain(value)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(NotPlainDataError):
        read_plain(whole[:length])
    with pytest.raises(NotPlainDataError, match="something follows it"):
        read_plain(whole + b"N")


@pytest.mark.parametrize(
    "value",
    [
        math.nan, -0.0, math.inf, Decimal("NaN123"), Decimal("sNaN"), Decimal("-0E+3"),
        Decimal("1E+999999999999999999"), -(2**63), 0, -1, "\udc80\ud800",
        time(tzinfo=timezone(timedelta(microseconds=-1))),
        datetime.min.replace(tzinfo=UTC, fold=1), datetime.max.replace(tzinfo=UTC),
        {-1: "a", -2: "b"}, {(-1, 0), (-2, 0)}, {2**n for n in range(200)},
    ],
)  # fmt: skip
def test_odd_values_come_back_as_they_were(value):
    assert spelled(value) == spelled(read_plain(write_plain(value)))


def test_a_number_may_be_of_any_size():
    large = 2**100_000
    assert [large, -large] == read_plain(write_plain([large, -large]))


def test_true_and_one_are_two_values():
    assert [True, 1, 1.0] == (found := read_plain(write_plain([True, 1, 1.0])))
    assert [bool, int, float] == list(map(type, found))


class Color(enum.IntEnum):
    RED = 1


class Shout(str):
    __slots__ = ()


@dataclass(frozen=True)
class Point:
    x: int


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Color.RED, "Color"),
        (Shout("a"), "Shout"),
        (Point(1), "Point"),
        (Pair(1, 2), "Pair"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (object(), "object"),
        (int, "type"),
        (len, "builtin_function_or_method"),
        (array.array("i"), "array.array"),
        (memoryview(b""), "memoryview"),
        (PureWindowsPath("a"), "pathlib.PureWindowsPath"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo("UTC")), "datetime.datetime"),
        (time(1, tzinfo=timezone(timedelta(hours=1), "CET")), "datetime.time"),
        (ValueError("no"), "ValueError"),
        (range(3), "range"),
    ],
)
def test_anything_else_is_refused_by_the_name_of_its_type(value, name):
    for holder in (value, [value], {"key": (value,)}):
        with pytest.raises(NotPlainDataError, match=f"{name}` does not cross") as no:
            write_plain(holder)
        assert "turn other values into these" in no.value.advice


def test_a_value_that_holds_itself_is_refused():
    circle = []
    circle.append({"again": circle})
    with pytest.raises(NotPlainDataError, match="or in itself"):
        write_plain(circle)


def test_values_lie_only_so_deep():
    def nested(depth):
        value = []
        for _ in range(depth - 1):
            value = [value]
        return value

    deepest = write_plain(nested(DEEPEST))
    assert nested(DEEPEST) == read_plain(deepest)
    with pytest.raises(NotPlainDataError, match="more than 64 deep"):
        write_plain(nested(DEEPEST + 1))
    with pytest.raises(NotPlainDataError, match="more than 64 deep"):
        read_plain(b"l\0\0\0\1" * 100_000)


def test_there_are_only_so_many_values():
    most = [None] * (MOST_VALUES - 1)
    whole = write_plain(most)
    assert most == read_plain(whole)
    with pytest.raises(NotPlainDataError, match="more than 1048576 values"):
        write_plain([*most, None])
    more = struct.pack("!BI", ord("l"), MOST_VALUES) + whole[5:] + write_plain(None)
    with pytest.raises(NotPlainDataError, match="more than 1048576 values"):
        read_plain(more)
    with pytest.raises(NotPlainDataError, match="more than 1048576 values"):
        read_plain(write_plain([[]])[:5] + struct.pack("!BI", ord("s"), 2**32 - 1))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"?\0\0\0\0", b"N\0\0\0\1x", b"B\0\0\0\1\2", b"F\0\0\0\7" + bytes(7),
        b"S\0\0\0\1\xff", b"D\0\0\0\x0a2026-13-01", b"D\0\0\0\x0820260101",
        b"E\0\0\0\1x", b"E\0\0\0\x031_0", b"E\0\0\0\x0b1E9" + b"9" * 8,
        b"Q\0\0\0\x032/4", b"Q\0\0\0\x031/0", b"Q\0\0\0\x03+/2", b"Q\0\0\0\1/",
        b"U\0\0\0\x0f" + bytes(15), b"T\0\0\0\x0c" + b"\x7f\xff\xff\xff" * 3,
        b"P\0\0\0\4a//b", b"M\0\0\0\x0b02026-01-01", b"H\0\0\0\x06201:00",
        b"H\0\0\0\0", b"m\0\0\0\1N\0\0\0\0", b"Y\xff\xff\xff\xff",
        b"s\0\0\0\2N\0\0\0\0N\0\0\0\0", b"s\0\0\0\1l\0\0\0\0",
        b"s\0\0\0\1E\0\0\0\4sNaN",
        b"m\0\0\0\2B\0\0\0\1\1I\0\0\0\1\1" + b"N\0\0\0\0" * 2,
    ],
)  # fmt: skip
def test_bytes_that_nothing_writes_are_no_value(data):
    with pytest.raises(NotPlainDataError, match="the bytes are no plain value"):
        read_plain(data)


def test_whatever_the_threads_decimal_context_bytes_of_none_are_none():
    with localcontext() as context:
        context.clear_traps()
        with pytest.raises(NotPlainDataError):
            read_plain(b"E\0\0\0\1x")


# --- attacks: each falls on a naive reader, and not on ours ---------------------------


def test_bytes_run_no_code(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    bomb = pickle.dumps(Bomb())
    with pytest.raises(NotPlainDataError):
        read_plain(bomb)
    assert not (tmp_path / "made").exists()
    pickle.loads(bomb)  # noqa: S301 - the naive reader
    assert (tmp_path / "made").exists()


COLLIDE = """
import struct, sys
from stead.errors import NotPlainDataError
from stead.server.workers import plain_data

class Careless(plain_data._Lookups):
    def allow(self, keys, weights):
        pass

    def weigh(self, tag, size):
        pass

if sys.argv[1] == "naive":
    plain_data._Lookups = Careless
P = sys.hash_info.modulus

def number(n):
    body = (n * P).to_bytes(16, "big", signed=True)
    return b"I" + struct.pack("!I", 16) + body

def forest(depth, last):
    if depth == 0:
        return number(last)
    # An even number of members of one hash: the hash of every such set is the same.
    members = [forest(depth - 1, n) for n in (*range(1, 64), 64 + last)]
    return b"z" + struct.pack("!I", 64) + b"".join(members)

if sys.argv[2] == "numbers":
    data = b"s" + struct.pack("!I", 200_000) + b"".join(map(number, range(200_000)))
elif sys.argv[2] == "a large number and decimals":
    # The large one is converted, in the square of its length, for each of the others.
    large = ((1 << 800_000) // P * P).to_bytes(100_001, "big", signed=True)
    few = [str(P * n).encode() for n in range(1, 400)]
    keys = [b"E" + struct.pack("!I", len(one)) + one for one in few]
    keys.append(b"I" + struct.pack("!I", len(large)) + large)
    data = b"s" + struct.pack("!I", len(keys)) + b"".join(keys)
else:
    data = b"s" + struct.pack("!I", 2) + forest(3, 0) + forest(3, 1)
try:
    plain_data.read_plain(data)
except NotPlainDataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("numbers", "too many keys in it have one hash"),
        ("sets of sets", "too many keys in it have one hash"),
        ("a large number and decimals", "`I` is none"),
    ],
)
def test_keys_made_to_collide_are_refused_before_they_are_compared(kind, why):
    def read(way, seconds):
        program = [sys.executable, "-c", COLLIDE, way, kind]
        return subprocess.run(
            program, capture_output=True, text=True, check=False, timeout=seconds
        )

    ours = read("ours", 120)
    assert f"the bytes are no plain value: {why}\n" == ours.stdout, ours.stderr
    # Minutes to hours of comparing; that it is not done at once is all we need.
    with pytest.raises(subprocess.TimeoutExpired):
        read("naive", 5)


def test_a_fraction_is_not_reduced_for_ever():
    long = "1" + "0" * 10_000
    with pytest.raises(NotPlainDataError):
        read_plain(b"Q" + struct.pack("!I", len(long) + 2) + f"{long}/3".encode())
    with pytest.raises(NotPlainDataError):
        write_plain(Fraction(1, 10**10_000))
    with pytest.raises(NotPlainDataError):
        read_plain(b"Q\0\0\0\x0b1e999999999")


@pytest.mark.parametrize(
    "large",
    [
        1 << 8 * LONGEST_KEY, Decimal("1" * (LONGEST_KEY + 1)),
        Fraction(1, 10**LONGEST_KEY),
    ],
)  # fmt: skip
def test_a_large_number_is_no_key_nor_in_one(large):
    assert [large, {0: large}] == read_plain(write_plain([large, {0: large}]))
    for value in ({large}, {large: 0}, {(0, large): 0}, {frozenset({(large,)}): 0}):
        with pytest.raises(NotPlainDataError, match="more than 1024 bytes in a key"):
            write_plain(value)
    body = write_plain([large])[5:]
    for holder in (b"s\0\0\0\1", b"s\0\0\0\1t\0\0\0\1", b"m\0\0\0\1"):
        with pytest.raises(NotPlainDataError, match="is none"):
            read_plain(holder + body + b"N\0\0\0\0")
    fits = 1 << 8 * LONGEST_KEY - 2
    assert {fits: fits} == read_plain(write_plain({fits: fits}))


def test_numbers_of_two_types_weigh_what_it_takes_to_compare_them():
    # Each of the floats becomes a decimal number for each of the decimal ones.
    floats = [2.0 ** (61 * power) for power in range(-17, 17)]
    decimals = [Decimal(n * sys.hash_info.modulus + 1) for n in range(1, 400)]
    assert {1} == set(map(hash, floats + decimals))
    write_plain({*floats, *decimals[:150]})
    data = b"".join(write_plain(one) for one in floats + decimals)
    head = struct.pack("!BI", ord("s"), len(floats + decimals))
    assert len(data) ** 2 < 1 << 28  # by its bytes alone it would do
    with pytest.raises(NotPlainDataError, match="too many keys in it have one hash"):
        read_plain(head + data)


def test_a_path_is_no_longer_than_the_kernel_takes():
    longest = PurePosixPath("a/" * 2047 + "bc")
    assert longest == read_plain(write_plain(longest))
    for path in (longest / "d", PosixPath(longest / "d")):
        with pytest.raises(NotPlainDataError, match="more than 4096 bytes"):
            write_plain(path)
        body = str(path).encode()
        tag = b"X" if isinstance(path, PosixPath) else b"P"
        with pytest.raises(NotPlainDataError, match="is none"):
            read_plain(tag + struct.pack("!I", len(body)) + body)


def test_a_claimed_length_is_not_believed():
    with pytest.raises(NotPlainDataError, match="it ends too early"):
        read_plain(b"Y\xff\xff\xff\xff" + b"x")


def test_values_of_every_type_are_plain():
    plain = [
        None, True, 1, 1.5, 2j, "a", b"b", bytearray(b"c"), [1], (2,), {"d": 3}, {4},
        frozenset({5}), date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC),
        time(4, 5), timedelta(6), Decimal("7.80"), Fraction(9, 10), UUID(int=11),
        PurePosixPath("/12"), PosixPath("13"),
    ]  # fmt: skip
    found = read_plain(write_plain(plain))
    assert plain == found
    assert list(map(type, plain)) == list(map(type, found))
