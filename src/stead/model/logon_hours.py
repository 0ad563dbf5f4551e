"""The hours of the week in which an account may log on ([MS-SAMR] 2.2.6.5).

Windows keeps one bit for each hour of a week that begins on Sunday at midnight, in UTC:
21 bytes, the lowest bit of each first. People write the days and hours:

    >>> hours = LogonHours.from_string("mon-fri 08-18, sat 09-12")
    >>> str(hours)
    'mon-fri 08-18, sat 09-12'
    >>> hours.allows(0)  # the epoch, a Thursday at midnight
    False
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from stead.errors import InvalidNameError

HOURS: Final = 168
_BYTES: Final = HOURS // 8
_DAY: Final = 24
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_HOUR: Final = 3_600_000_000_000
_EPOCH: Final = 4 * _DAY
"""The hour of the week at which the epoch lies."""
_ALWAYS: Final = "always"
_NEVER: Final = "never"
_PART: Final = re.compile(
    r"(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))?"
    r"(?: (?P<begin>[0-9]{1,2})-(?P<end>[0-9]{1,2}))?"
)


@dataclass(frozen=True, slots=True)
class LogonHours:
    """Hours of the week, in UTC.

    Attributes:
        mask: bit `n` says whether hour `n` after Sunday, 00:00 UTC, is one of them.
    """

    mask: int

    def __post_init__(self) -> None:
        if not 0 <= self.mask < 1 << HOURS:
            raise InvalidNameError("logon hours are 168 bits, one for each hour")

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read Windows' 21 bytes; raises `InvalidNameError`."""
        if len(data) != _BYTES:
            raise InvalidNameError(f"logon hours are 21 bytes, and not {len(data)}")
        return cls(int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """Return Windows' 21 bytes."""
        return self.mask.to_bytes(_BYTES, "little")

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Read `always`, `never`, or days with hours: `mon-fri 08-18, sat`.

        A range of days may go over the end of the week; the hours end before the one
        that is named last.

        Raises:
            InvalidNameError: it is none of these.
        """
        asked = " ".join(text.lower().split())
        if asked in {_ALWAYS, _NEVER}:
            return cls(ALWAYS.mask if asked == _ALWAYS else 0)
        mask = 0
        for part in asked.split(","):
            mask |= _read(part.strip())
        return cls(mask)

    def __str__(self) -> str:
        if self.mask in {0, ALWAYS.mask}:
            return _ALWAYS if self.mask else _NEVER
        days = [(self.mask >> _DAY * day) & _WHOLE_DAY for day in _FROM_MONDAY]
        shown: list[str] = []
        at = 0
        for bits, run in groupby(days):
            length = len(list(run))
            shown += [_days(at, length) + hours for hours in _ranges(bits)]
            at += length
        return ", ".join(shown)

    @property
    def is_always(self) -> bool:
        """Whether every hour is one of them."""
        return self.mask == ALWAYS.mask

    def allows(self, time: int) -> bool:
        """Tell whether a moment lies in one of them.

        Args:
            time: nanoseconds since the epoch, UTC.
        """
        return bool(self.mask >> _hour_of(time) & 1)

    def end_after(self, time: int) -> int | None:
        """Return when the hours that a moment lies in are over; None for never.

        Args:
            time: nanoseconds since the epoch, UTC; itself, if it lies in none of them.
        """
        hour, begun = _hour_of(time), time - time % _HOUR
        for ahead in range(HOURS):
            if not self.mask >> (hour + ahead) % HOURS & 1:
                return begun + ahead * _HOUR if ahead else time
        return None


ALWAYS: Final = LogonHours((1 << HOURS) - 1)
_WHOLE_DAY: Final = (1 << _DAY) - 1
_FROM_MONDAY: Final = (1, 2, 3, 4, 5, 6, 0)


def _hour_of(time: int) -> int:
    return (time // _HOUR + _EPOCH) % HOURS


def _read(part: str) -> int:
    found = _PART.fullmatch(part)
    if found is None:
        raise _invalid(part)
    first = _day(found["first"])
    last = first if found["last"] is None else _day(found["last"])
    begin, end = int(found["begin"] or 0), int(found["end"] or _DAY)
    if not begin < end <= _DAY:
        raise _invalid(part)
    hours = (1 << end) - (1 << begin)
    days = range((last - first) % len(_DAYS) + 1)
    return sum(hours << _DAY * ((first + more) % len(_DAYS)) for more in days)


def _day(name: str) -> int:
    if name not in _DAYS:
        raise _invalid(name)
    return _DAYS.index(name)


def _invalid(part: str) -> InvalidNameError:
    return InvalidNameError(
        f"`{part[:80]}` names no hours of the week",
        advice="such as `mon-fri 08-18, sat 09-12`, in UTC; `always`, or `never`",
    )


def _days(at: int, length: int) -> str:
    first = _DAYS[_FROM_MONDAY[at]]
    return first if length == 1 else f"{first}-{_DAYS[_FROM_MONDAY[at + length - 1]]}"


def _ranges(bits: int) -> list[str]:
    """Return the hours of one day as text, each with the blank before it."""
    if bits == _WHOLE_DAY:
        return [""]
    shown, at = [], 0
    for is_in, run in groupby(bits >> hour & 1 for hour in range(_DAY)):
        length = len(list(run))
        if is_in:
            shown.append(f" {at:02}-{at + length:02}")
        at += length
    return shown
