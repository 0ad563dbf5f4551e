"""Security identifiers."""

import copy
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidSidError
from stead.model import sid as sid_module
from stead.model.sid import Sid, checked_sid

VECTORS = Path(__file__).parent.parent / "vectors" / "sid"
DOMAIN = Sid.from_string("S-1-5-21-1-2-3")


def cases(name):
    read = json.loads((VECTORS / name).read_text("utf-8"))
    return [pytest.param(case, id=case["id"]) for case in read]


@pytest.mark.parametrize("case", cases("valid/text.json"))
def test_a_sid_s_text_and_bytes_are_those_of_the_specification(case):
    sid = Sid.from_string(case["input"])
    assert case["expected"]["hex"] == sid.to_bytes().hex()
    assert case["expected"]["text"] == str(sid)
    assert sid == Sid.from_bytes(bytes.fromhex(case["expected"]["hex"]))


@pytest.mark.parametrize("case", cases("invalid/text.json"))
def test_what_is_no_sid_is_refused(case):
    with pytest.raises(InvalidSidError):
        Sid.from_string(case["input"])


@given(
    st.integers(0, 0xFFFF_FFFF_FFFF),
    st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=15).map(tuple),
)
def test_numbers_text_and_bytes_say_the_same(authority, parts):
    sid = Sid.from_parts(authority, parts)
    assert (authority, parts) == (sid.authority, sid.sub_authorities)
    assert sid == Sid.from_string(str(sid))
    assert sid == Sid.from_bytes(sid.to_bytes())


@given(st.text(max_size=40))
def test_any_text_is_a_sid_or_refused_in_one_line(text):
    said = ""
    try:
        Sid.from_string(text)
    except InvalidSidError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


@pytest.mark.parametrize(
    ("authority", "parts"),
    [(-1, (1,)), (1 << 48, (1,)), (5, ()), (5, (1,) * 16), (5, (-1,)), (5, (1 << 32,))],
)
def test_numbers_that_do_not_fit_are_refused(authority, parts):
    with pytest.raises(InvalidSidError):
        Sid.from_parts(authority, parts)


@pytest.mark.parametrize(
    "binary",
    [
        b"",
        b"\x01\x01\x00\x00\x00\x00\x00",
        b"\x02\x01" + bytes(10),
        b"\x01\x00" + bytes(6),
        b"\x01\x10" + bytes(6 + 64),
        b"\x01\x01" + bytes(6 + 3),
        b"\x01\x01" + bytes(6 + 5),
    ],
    ids=["empty", "short", "revision", "none", "sixteen", "cut", "longer"],
)
def test_bytes_that_are_no_sid_are_refused(binary):
    with pytest.raises(InvalidSidError):
        Sid(binary)


@pytest.mark.parametrize("binary", ["S-1-5-18", bytearray(DOMAIN), memoryview(DOMAIN)])
def test_only_bytes_make_a_sid(binary):
    with pytest.raises(InvalidSidError, match="made of bytes"):
        Sid(binary)


def test_equal_sids_are_one_object():
    assert Sid.from_string("S-1-5-18") is Sid.from_parts(5, (18,))


def test_a_full_table_only_costs_the_sharing(monkeypatch):
    monkeypatch.setattr(sid_module, "_INTERN_LIMIT", 0)
    first, second = (Sid.from_string("S-1-9-9-9-9-1") for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first is not second


def test_a_subclass_gets_its_own_objects():
    class Marked(Sid):
        __slots__ = ()

    marked = Marked.from_string("S-1-5-18")
    assert Marked is type(marked)
    assert Sid is type(Sid.from_string("S-1-5-18"))
    assert marked == Sid.from_string("S-1-5-18")


def test_a_sid_is_copied_and_pickled_to_itself():
    assert DOMAIN is copy.deepcopy(DOMAIN)
    assert DOMAIN is pickle.loads(pickle.dumps(DOMAIN))  # noqa: S301 - our own bytes


def test_a_rid_is_one_more_number():
    user = DOMAIN.with_rid(1000)
    assert "S-1-5-21-1-2-3-1000" == str(user)
    assert 1000 == user.rid
    assert user.is_within(DOMAIN)


@pytest.mark.parametrize(
    "other",
    ["S-1-5-21-1-2-3", "S-1-5-21-1-2-4-7", "S-1-6-21-1-2-3-7", "S-1-5-21-1-2-3-4-7"],
)
def test_what_is_not_one_rid_below_a_domain_is_not_within_it(other):
    assert not Sid.from_string(other).is_within(DOMAIN)


def test_repr_says_how_it_reads():
    assert "Sid('S-1-5-21-1-2-3')" == repr(DOMAIN)


def test_plain_bytes_come_back_as_bytes():
    assert bytes is type(DOMAIN.to_bytes())


def test_a_sid_of_checked_bytes_is_the_one_that_checks_them():
    binary = bytes.fromhex("010200000000000520000000efbeadde")
    made = checked_sid(binary)
    assert Sid is type(made)
    assert Sid(binary) == made
    assert Sid(binary) is checked_sid(binary)


@pytest.mark.parametrize("rid", [-1, 1 << 32])
def test_a_rid_that_does_not_fit_is_refused(rid):
    with pytest.raises(InvalidSidError, match="32 bits"):
        DOMAIN.with_rid(rid)


def test_a_sixteenth_part_is_refused():
    full = Sid.from_parts(5, tuple(range(15)))
    assert full == Sid.from_parts(5, tuple(range(14))).with_rid(14)
    assert "S-1-5-0-1-2-3-4-5-6-7-8-9-10-11-12-13-14" == str(full)
    with pytest.raises(InvalidSidError, match="fifteen"):
        full.with_rid(15)


def test_nothing_is_within_itself_or_within_what_is_below_it():
    user = DOMAIN.with_rid(1000)
    assert user.is_within(DOMAIN)
    assert not DOMAIN.is_within(DOMAIN)
    assert not DOMAIN.is_within(user)
    assert not user.is_within(user)
