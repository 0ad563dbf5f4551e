from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.errors import InvalidNameError
from stead.model.logon_hours import ALWAYS, LogonHours

WEEKS = st.integers(0, (1 << 168) - 1).map(LogonHours)
HOUR = 3_600_000_000_000


def at(text):
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000


def test_the_week_begins_on_sunday_at_midnight_utc_with_the_lowest_bit():
    # As `net user /times` and LDAP's logonHours have it.
    first = LogonHours.from_bytes(bytes([1]) + bytes(20))
    assert first.allows(at("2026-11-22T00:00:00"))  # a Sunday
    assert first.allows(at("2026-11-22T00:59:59"))
    assert not first.allows(at("2026-11-22T01:00:00"))
    assert not first.allows(at("2026-11-21T23:59:59"))
    assert bytes(20) + bytes([0x80]) == LogonHours.from_string("sat 23-24").to_bytes()


def test_working_hours_are_bytes_as_windows_writes_them():
    hours = LogonHours.from_string("mon-fri 08-18")
    day = bytes.fromhex("00ff03")
    assert bytes(3) + 5 * day + bytes(3) == hours.to_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "always", "never", "mon-fri 08-18, sat 09-12", "mon 00-06, mon 20-24, tue-sun",
        "mon-sat", "sun", "wed 11-12",
    ],
)  # fmt: skip
def test_hours_are_printed_as_they_are_read(text):
    assert text == str(LogonHours.from_string(text))


def test_a_range_of_days_may_go_over_the_end_of_the_week():
    assert LogonHours.from_string("fri-mon") == LogonHours.from_string(
        " SUN-MON,  Fri-Sat "
    )
    assert LogonHours.from_string("sun-sat") == ALWAYS


@given(WEEKS)
def test_every_week_survives_text_and_bytes(hours):
    assert hours == LogonHours.from_string(str(hours))
    assert hours == LogonHours.from_bytes(hours.to_bytes())


@pytest.mark.parametrize(
    "text",
    ["", "mon,", "mon 8", "mon 18-08", "mon 08-08", "mon 08-25", "xyz", "mon-xyz 1-2",
     "mon 1-2 3-4", "allways"],
)  # fmt: skip
def test_what_names_no_hours_is_refused(text):
    with pytest.raises(InvalidNameError, match="names no hours"):
        LogonHours.from_string(text)


@pytest.mark.parametrize("data", [b"", bytes(20), bytes(22)])
def test_other_than_21_bytes_are_refused(data):
    with pytest.raises(InvalidNameError, match="21 bytes"):
        LogonHours.from_bytes(data)


@pytest.mark.parametrize("mask", [-1, 1 << 168])
def test_other_than_168_bits_are_refused(mask):
    with pytest.raises(InvalidNameError, match="168 bits"):
        LogonHours(mask)


@given(WEEKS, st.integers(0, 2**62))
def test_hours_end_where_they_allow_nothing_any_more(hours, time):
    end = hours.end_after(time)
    if end is None:
        assert hours == ALWAYS
    elif not hours.allows(time):
        assert time == end
    else:
        assert hours.allows(end - 1)
        assert not hours.allows(end)
        assert all(hours.allows(moment) for moment in range(time, end, HOUR))


def test_hours_that_are_always_have_no_end_and_those_that_are_over_end_at_once():
    time = at("2026-11-23T09:30:00")  # a Monday
    assert ALWAYS.end_after(time) is None
    assert time == LogonHours.from_string("never").end_after(time)
    hours = LogonHours.from_string("mon 09-11")
    assert at("2026-11-23T11:00:00") == hours.end_after(time)
