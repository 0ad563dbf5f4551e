"""How values that hold nothing else become bytes, and back: see `plain_data`.

Every reader takes any bytes whatever, and in time that grows with their length only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath
from types import NoneType
from typing import Any, Final, NamedTuple, TypeGuard
from uuid import UUID

MISFITS: Final = (ValueError, ArithmeticError, struct.error)
"""What a value that cannot be said, or bytes that are no value, make these raise."""

_FLOAT: Final = struct.Struct("!d")
_COMPLEX: Final = struct.Struct("!dd")
_SPAN: Final = struct.Struct("!iii")
_MICROSECOND: Final = timedelta(microseconds=1)
_LONGEST_FRACTION: Final = 8192  # reducing one takes the square of its length
_LONGEST_PATH: Final = 4096  # a letter and a slash become a string of their own


class Scalar(NamedTuple):
    """How values that hold nothing else are written and read.

    Attributes:
        tag: its letter.
        type: exactly this type.
        write: returns the bytes; raises `ValueError` for what cannot be said.
        read: returns the value; raises one of `MISFITS`.
    """

    tag: str
    type: type
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


def _write_int(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)


def _read_int(body: bytes) -> int:
    return int.from_bytes(body, "big", signed=True)


def _write_text(value: str) -> bytes:
    # File names with stray bytes reach Python as lone surrogates.
    return value.encode("utf-8", "surrogatepass")


def _read_text(body: bytes) -> str:
    return body.decode("utf-8", "surrogatepass")


def _write_float(value: float) -> bytes:
    return _FLOAT.pack(value)


def _read_float(body: bytes) -> float:
    found: float = _FLOAT.unpack(body)[0]
    return found


def _write_complex(value: complex) -> bytes:
    return _COMPLEX.pack(value.real, value.imag)


def _read_complex(body: bytes) -> complex:
    return complex(*_COMPLEX.unpack(body))


def _write_span(value: timedelta) -> bytes:
    return _SPAN.pack(value.days, value.seconds, value.microseconds)


def _read_span(body: bytes) -> timedelta:
    return timedelta(*_SPAN.unpack(body))


def _write_decimal(value: Decimal) -> bytes:
    return str(value).encode("ascii")


def _read_decimal(body: bytes) -> Decimal:
    return Decimal(body.decode("ascii"))


def _write_fraction(value: Fraction) -> bytes:
    body = f"{value.numerator}/{value.denominator}".encode("ascii")
    _require_short(body, _LONGEST_FRACTION)
    return body


def _read_fraction(body: bytes) -> Fraction:
    _require_short(body, _LONGEST_FRACTION)
    # Not `Fraction(text)`: it reads exponents, and 1e999999999 is a large number.
    numerator, _, denominator = body.decode("ascii").partition("/")
    return Fraction(int(numerator), int(denominator))


def _require_short(body: bytes, longest: int) -> None:
    if len(body) > longest:
        raise ValueError(f"it takes more than {longest} bytes")


def _write_date(value: date) -> bytes:
    return value.isoformat().encode("ascii")


def _read_date(body: bytes) -> date:
    return date.fromisoformat(body.decode("ascii"))


def _write_moment(value: datetime | time) -> bytes:
    """Write a time, with or without its date; ISO 8601 has no letter for `fold`.

    The offset follows in microseconds: CPython reads an ISO offset of less than a
    second as UTC.
    """
    zone = value.tzinfo
    text = f"{value.fold}{value.replace(tzinfo=None).isoformat()}"
    if zone is not None:
        if not _is_plain_zone(zone):
            raise ValueError("a time zone that is no fixed offset")
        text += f"@{zone.utcoffset(None) // _MICROSECOND}"
    return text.encode("ascii")


def _is_plain_zone(zone: object) -> TypeGuard[timezone]:
    if type(zone) is not timezone:
        return False
    return zone.tzname(None) == timezone(zone.utcoffset(None)).tzname(None)


def _read_datetime(body: bytes) -> datetime:
    text, fold, zone = _read_moment(body)
    return datetime.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _read_time(body: bytes) -> time:
    text, fold, zone = _read_moment(body)
    return time.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _read_moment(body: bytes) -> tuple[str, int, timezone | None]:
    text, mark, offset = body.decode("ascii").partition("@")
    zone = timezone(int(offset) * _MICROSECOND) if mark else None
    return text[1:], int(text[:1]), zone


def _exactly(
    read: Callable[[bytes], Any], write: Callable[[Any], bytes]
) -> Callable[[bytes], Any]:
    """Return what reads a value and refuses every other way to spell it."""

    def checked(body: bytes) -> Any:
        found = read(body)
        if write(found) != body:
            raise ValueError("spelled another way")
        return found

    return checked


def _scalar(
    tag: str,
    kind: type,
    write: Callable[[Any], bytes],
    read: Callable[[bytes], Any],
) -> Scalar:
    return Scalar(tag, kind, write, _exactly(read, write))


def _path(tag: str, kind: type[PurePosixPath]) -> Scalar:
    def write(path: PurePosixPath) -> bytes:
        body = _write_text(str(path))
        _require_short(body, _LONGEST_PATH)
        return body

    def read(body: bytes) -> PurePosixPath:
        _require_short(body, _LONGEST_PATH)
        return kind(_read_text(body))

    return _scalar(tag, kind, write, read)


SCALARS: Final = (
    _scalar("N", NoneType, lambda _: b"", lambda _: None),
    _scalar("B", bool, lambda flag: b"\1" if flag else b"\0", lambda b: b == b"\1"),
    Scalar("I", int, _write_int, _read_int),
    Scalar("F", float, _write_float, _read_float),
    Scalar("C", complex, _write_complex, _read_complex),
    Scalar("S", str, _write_text, _read_text),
    Scalar("Y", bytes, bytes, bytes),
    Scalar("A", bytearray, bytes, bytearray),
    _scalar("D", date, _write_date, _read_date),
    _scalar("M", datetime, _write_moment, _read_datetime),
    _scalar("H", time, _write_moment, _read_time),
    _scalar("T", timedelta, _write_span, _read_span),
    _scalar("E", Decimal, _write_decimal, _read_decimal),
    _scalar("Q", Fraction, _write_fraction, _read_fraction),
    _scalar("U", UUID, lambda one: one.bytes, lambda b: UUID(bytes=b)),
    _path("P", PurePosixPath),
    _path("X", PosixPath),
)
